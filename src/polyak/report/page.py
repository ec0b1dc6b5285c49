"""The report: one HTML file about one run or many, with interactive charts, tables and video inside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from polyak.algorithms import titled
from polyak.errors import UnreadableError, UsageError
from polyak.html import Chart, document, grid, table, text, unbroken, video, write_page
from polyak.report import charts, facts, tables
from polyak.report.advice import advice, collectors_waited, time_spent
from polyak.report.groups import Group, grouped
from polyak.run.description import length_in
from polyak.run.folder import Run
from polyak.run.metrics import SIZE_LIMIT, best_evaluation
from polyak.settings.door import door
from polyak.settings.kinds import checked, require

METRICS_LIMIT, VIDEOS_LIMIT = 500_000_000, 300_000_000
"""Bytes of all runs' metrics that a page is made from, and of the videos of one environment in it, at most."""


@door
def write_report(runs: Run | Sequence[Run], output: str | Path | None = None) -> Path:
    """Write the page about one run or many, and return its path.

    Args:
        runs: one, or many, grouped by their settings; runs that differ in their seed alone are averaged.
        output: where to; by default `report.html` in the folder of the run, or here where there are several.

    Raises:
        UsageError: there is no run, a folder holds none, or the page cannot be written.
    """
    path: Path | None = checked("output", output, Path | None)
    runs = [runs] if isinstance(runs, Run) else runs
    require("runs", runs, _several(runs), "a run, or a list of runs")
    if not runs:
        raise UsageError("there are no runs to report on")
    for run in runs:
        require("runs", run, isinstance(cast(Any, run), Run), "runs, as polyak.train and polyak.load give them")
        run.require_no_links()
    sizes = [run.metrics_file.lstat().st_size for run in runs if run.metrics_file.exists()]
    if sum(size for size in sizes if size <= SIZE_LIMIT) > METRICS_LIMIT:  # a larger one is named when it is read
        raise UsageError(
            f"the metrics of {len(runs):,} runs hold more than {METRICS_LIMIT:,} bytes together: report on fewer runs"
        )
    return write_page(path or (runs[0].report_file if len(runs) == 1 else Path("report.html")), page(runs))


def _several(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def page(runs: Sequence[Run]) -> str:
    """The whole page."""
    groups = grouped(runs)
    environments = list(dict.fromkeys(group.environment for group in groups))
    title = _title(groups, environments)
    drawn: list[Chart] = []
    parts = [f"<h1>{unbroken(title)}</h1>", _summary(groups)]
    if len(environments) > 1:
        links = (f'<a href="#environment-{i}">{unbroken(name)}</a>' for i, name in enumerate(environments))
        parts.append(f"<nav>{' '.join(links)}</nav>")
        parts.append(tables.improvement_over_all(groups))
    for index, environment in enumerate(environments):
        own = [group for group in groups if group.environment == environment]
        if len(environments) > 1:
            parts.append(f'<h1 id="environment-{index}">{unbroken(environment)}</h1>')
        parts += _environment(own, f"e{index}", drawn)
    parts += ["<h2>Settings</h2>", facts.settings(groups)]
    parts += ["<h2>Versions and machine</h2>", facts.machines(groups), "<h2>Runs</h2>", facts.runs(groups)]
    return document(title, "\n".join(parts), drawn)


def _environment(groups: Sequence[Group], prefix: str, drawn: list[Chart]) -> Iterable[str]:
    """What there is to say about the groups of one environment; its charts are added to `drawn`."""

    def shown(chart: Chart | None) -> str:
        drawn.extend([chart] if chart else [])
        return chart.html() if chart else ""

    def section(heading: str, found: Iterable[Chart]) -> str:
        made = list(found)
        drawn.extend(made)
        return f"<h2>{heading}</h2>{grid(made)}" if made else ""

    def several(measures: Sequence[charts.Measure], heading: str) -> str:
        return section(heading, charts.all_measured(groups, measures, prefix))

    yield "<h2>Evaluation</h2>"
    if any(group.evaluated for group in groups):
        yield shown(charts.returns(groups, f"{prefix}-returns"))
        yield tables.evaluations(groups)
        yield tables.improvement(groups)
        yield shown(charts.measured(groups, charts.SUCCESS, f"{prefix}-success"))
    else:
        never = all(group.first.get("evaluate_in") == "never" for group in groups)
        yield f"<p>{'No evaluation: evaluate_in is never.' if never else 'No evaluation yet.'}</p>"
    yield from _videos(groups)
    critic = charts.measured(groups, charts.CRITIC, f"{prefix}-critic")
    if critic is not None:
        yield f"<h2>Is the critic right?</h2>{shown(critic)}{tables.bias(groups)}"
    yield several(charts.LEARNER, "Learning")
    yield several(charts.TRAINING, "Training episodes")
    yield section("What callbacks logged", charts.logged(groups, prefix))
    yield section("What the environment tells in its info", charts.asked_of_infos(groups, prefix))
    yield f"<h2>Time</h2>{shown(charts.time_shares(groups, f'{prefix}-time'))}"
    yield from _advice(groups)
    yield shown(charts.measured(groups, charts.SPEED, f"{prefix}-speed"))


def _advice(groups: Sequence[Group]) -> Iterable[str]:
    spent = {group.label: time_spent(group.records) for group in groups}
    waited = {group.label: collectors_waited(group.records) for group in groups}
    for label, seconds in spent.items():
        whose = f"{text(label)}: " if len(groups) > 1 else ""
        said = text(advice(seconds, waited[label])) if seconds else "where the time went was not measured."
        yield f'<p class="note">{whose}{said}</p>'
    if any(spent.values()):
        yield '<p class="faint">The learner\'s share holds the compilation of its first update.</p>'


def _videos(groups: Sequence[Group]) -> Iterable[str]:
    """All videos of a single run, or the newest one of each group."""
    films: list[tuple[str, Path]] = []
    for group in groups:
        found = [(run, film) for run in group.runs for film in sorted(run.videos.glob("*.mp4"), key=_age)]
        alone = len(groups) == 1 and len(group.runs) == 1
        films += [
            (f"{group.label}, seed {run.settings['seed']}: {film.name}", film)
            for run, film in (found if alone else found[:1])
        ]
    if films:
        yield "<h2>Video</h2>"
        room = VIDEOS_LIMIT
        for caption, film in films:
            room -= film.lstat().st_size
            if room < 0:
                said = f"{film} is left out: there are {VIDEOS_LIMIT:,} bytes of video already"
                yield f'<p class="note">{text(said)}</p>'
                continue
            try:
                yield video(film, caption)
            except UnreadableError as error:  # a report without it is better than none
                yield f'<p class="note">{text(error)}</p>'


def _age(film: Path) -> float:
    return -film.lstat().st_mtime


def _title(groups: Sequence[Group], environments: Sequence[str]) -> str:
    if len(groups) == 1:
        (group,) = groups
        who = titled(str(group.first["algorithm"]))
        numbers = [str(run.settings["seed"]) for run in group.runs]
        return f"{who} on {environments[0]}, seed{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
    algorithms = dict.fromkeys(titled(str(group.first["algorithm"])) for group in groups)
    return f"{', '.join(algorithms)} on {', '.join(environments)}"


def _summary(groups: Sequence[Group]) -> str:
    """Few facts: of a single run its own, of many how many there are."""
    runs = [run for group in groups for run in group.runs]
    if len(runs) > 1:
        count = f"{len(groups)} group{'s' * (len(groups) != 1)} of settings"
        left = sum(len(group.left_out) for group in groups)
        doubled = f" {left} more left out; the table of runs says why." if left else ""
        return f"<p>{len(runs)} runs in {count}.{doubled}</p>"
    (run,) = runs
    settings, records = run.settings, run.metrics
    best = best_evaluation(records)
    known: dict[str, Any] = {
        "preset": settings["preset"],
        "framework": f"{settings['backend']}, {settings['threads']} thread{'s' * (settings['threads'] != 1)}",
        "environments": f"{settings['envs']} ({settings['vectorization']})",
        "steps": f"{int(records[-1]['step']):,} of {length_in(settings):,}" if records else "none",
        "time": f"{records[-1]['seconds']:.0f} s" if records else "none",
        "best evaluation": f"{best[1]:.1f} at step {best[0]:,}" if best else "none",
        "folder": run.folder.resolve().name,
    }
    return table(["", ""], list(known.items()))
