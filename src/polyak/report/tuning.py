"""The page about a search: what it found, how it came to it, what mattered, and what to do with it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from polyak.algorithms import titled
from polyak.errors import UsageError
from polyak.html import COLOURS, Chart, bars, document, grid, line, number, points, table, text, unbroken, write_page
from polyak.many.tune.outcome import Findings, Result, command

STEPS = "environment steps"
SCORE = "score (return)"
MOST_LINES = 60
"""Trials whose way is drawn; of more, the last and the best."""
NO_BREAK = "\N{NO-BREAK SPACE}"
"""Between the words of a reason: a narrow page scrolls its table, rather than to break it into a word a line."""
STATES = ("done", "pruned", "diverged", "failed", "running")


def write_search(found: Findings, path: Path, storage: str) -> Path:
    """Write the page of a study whose `storage` is told as it is given here, and return its path.

    Raises:
        UsageError: it cannot be written.
    """
    return write_page(path, page(found, path.parent / "best.toml", storage))


def page(found: Findings, preset: Path, storage: str) -> str:
    """The whole page; `preset` is where the best trial's settings are."""
    asked = found.asked
    title = f"Search: {titled(str(asked['algorithm']))} on {asked['environment']}"
    charts = [*_history(found), *_importance(found), *_ways(found)]
    slices = list(_slices(found))
    parts = [f"<h1>{unbroken(title)}</h1>", _summary(found, storage), *_best(found, preset)]
    parts += [f"<h2>{heading}</h2>{chart.html()}" for heading, chart in charts]
    parts += ["<h2>Slices</h2>", _SLICED, grid(slices)] if slices else []
    parts += ["<h2>Trials</h2>", _trials(found)]
    return document(title, "\n".join(parts), [*(chart for _, chart in charts), *slices])


_SLICED = (
    "<p>Each done or pruned trial at what was drawn for it. A search draws more often where it was good, so that the "
    "points are not spread evenly; a pruned trial stands at its last score.</p>"
)


def _summary(found: Findings, storage: str) -> str:
    asked = found.asked
    spent = sum(result.seconds or 0.0 for result in found.results)
    known = {
        "trials": f"{len(found.results)}: {found.counted()}",
        "seeds of each": ", ".join(map(str, found.seeds)),
        "steps of each run": f"{int(asked['steps']):,}",
        "given": " ".join(map(str, asked["words"])),
        "time in trials": f"{spent:,.0f} s",
        "study": f"{found.study} in {storage}",
    }
    return table(["", ""], list(known.items()))


def _best(found: Findings, preset: Path) -> Iterator[str]:
    if found.best is None:
        yield "<p>No trial is done yet.</p>"
        return
    best = found.best
    yield f"<h2>The best trial: number {best.number}, score {number(best.score)}</h2>"
    yield table(["setting", "value"], [(name, _shown(value)) for name, value in best.settings.items()])
    yield (
        "<p>The score is the mean of the last fifth of a run's evaluations, and of the seeds the mean of the lower "
        "half, so that one lucky seed makes no trial good. It is still the best of many, and so higher than what these "
        "settings will give: what they are worth, seeds tell that the search has not seen.</p>"
    )
    try:
        yield f'<p>Train with them:</p><div class="scroll"><pre>{text(command(found, preset))}</pre></div>'
    except UsageError as error:
        yield f'<p class="note">{text(error)}</p>'
    rows = [(f"seed {seed}", folder) for seed, folder in best.runs.items()]
    yield table(["run", "folder"], rows) if rows else ""


def _named(parameter: str) -> str:
    return parameter.removeprefix("1 - ")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, cast(tuple[Any, ...], value)))
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


# Charts


def _scored(found: Findings) -> list[tuple[Result, float]]:
    """Trials that stand somewhere: done at their score, pruned at the last one on their way."""
    known = [(each, each.score if each.score is not None else _last(each)) for each in found.results]
    return [(each, score) for each, score in known if score is not None and each.state in ("done", "pruned")]


def _last(result: Result) -> float | None:
    return result.steps[max(result.steps)] if result.steps and result.state == "pruned" else None


def _history(found: Findings) -> Iterator[tuple[str, Chart]]:
    scored = _scored(found)
    if not scored:
        return
    traces: list[Mapping[str, Any]] = []
    for colour, state in enumerate(("done", "pruned")):
        of = [(each.number, score) for each, score in scored if each.state == state]
        traces += [points(state, [n for n, _ in of], [score for _, score in of], colour)] if of else []
    best, so_far = float("-inf"), list[tuple[float, float]]()
    for each, score in scored:
        if each.state == "done":
            best = max(best, score)
            so_far.append((each.number, best))
    if so_far:
        (trace,) = line("best so far", [n for n, _ in so_far], [score for _, score in so_far], 2)
        traces.append({**trace, "line": {**trace["line"], "shape": "hv"}})
    caption = "Each trial in the order in which it was drawn; pruned ones at the score at which they were stopped."
    yield "How it went", Chart("history", "Scores", traces, "trial", SCORE, caption)


def _importance(found: Findings) -> Iterator[tuple[str, Chart]]:
    if not found.importance:
        return
    ranked = sorted(found.importance.items(), key=lambda pair: pair[1])
    traces = [bars("importance", [_named(name) for name, _ in ranked], [share for _, share in ranked])]
    caption = (
        "How differently the best tenth of the trials that are done is spread from all of them (PED-ANOVA, Watanabe et "
        f"al. 2023); the shares add up to 1. From {len([1 for each in found.results if each.state == 'done'])} trials: "
        "below some fifty, take it as a hint."
    )
    height = 8 + 2 * len(ranked)
    yield "What mattered", Chart("importance", "Importance", traces, "share", "", caption, height=height)


def _ways(found: Findings) -> Iterator[tuple[str, Chart]]:
    """Score over steps, of each trial."""
    there = [each for each in found.results if each.steps]
    best = found.best
    chosen = there[-MOST_LINES:]
    if best is not None and best.steps and all(each.number != best.number for each in chosen):
        chosen = [best, *chosen]
    number_of_best = None if best is None else best.number
    ordered = sorted(chosen, key=lambda result: result.number == number_of_best)  # drawn last, above the others
    traces = [_way(each, is_best=each.number == number_of_best) for each in ordered]
    if traces:
        caption = (
            "The mean of the lower half of the seeds at each evaluation, which pruning goes by; thick: the best trial."
        )
        if len(chosen) < len(there):
            caption += f" The last {MOST_LINES} of {len(there)} trials."
        yield "On the way", Chart("ways", "Scores at evaluations", traces, STEPS, SCORE, caption)


def _way(result: Result, *, is_best: bool) -> dict[str, Any]:
    steps = sorted(result.steps)
    (trace,) = line(f"trial {result.number}, {result.state}", steps, [result.steps[step] for step in steps], 0)
    colour = COLOURS[1] if is_best else COLOURS[STATES.index(result.state) and 2]
    style = {"color": colour, "width": 3 if is_best else 1, "dash": "dot" if result.state == "pruned" else "solid"}
    return {**trace, "line": style, "opacity": 1.0 if is_best else 0.55, "showlegend": is_best}


def _slices(found: Findings) -> Iterator[Chart]:
    """Score over each quantity that was drawn."""
    scored, spaces = _scored(found), cast(Mapping[str, Any], found.asked["space"])
    for index, (name, described) in enumerate(spaces.items()):
        traces = [_slice(name, state, colour, scored) for colour, state in enumerate(("done", "pruned"))]
        kept: Sequence[Any] = [trace for trace in traces if trace["x"]]
        if kept:
            yield Chart(f"slice-{index}", name, kept, _axis(name, described), SCORE, layout=_layout(described))


def _slice(name: str, state: str, colour: int, scored: Sequence[tuple[Result, float]]) -> dict[str, Any]:
    complement = f"1 - {name}"
    of = [(each, score) for each, score in scored if each.state == state and {name, complement} & each.params.keys()]
    trace = points(state, [0.0] * len(of), [score for _, score in of], colour)
    xs = [each.params.get(name, each.params.get(complement)) for each, _ in of]
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in xs)
    said = [f"trial {each.number}" for each, _ in of]
    return {
        **trace,
        "x": xs if numbers else list(map(str, xs)),
        "text": said,
        "hovertemplate": "%{text}: %{y:,.5~g} at %{x}",
    }


def _axis(name: str, described: Mapping[str, Any]) -> str:
    return f"1 - {name}" if described.get("scale") == "log of 1 - value" else name


def _layout(described: Mapping[str, Any]) -> dict[str, Any]:
    if "choices" in described:
        return {"xaxis": {"type": "category", "categoryorder": "array", "categoryarray": _categories(described)}}
    return {"xaxis": {"type": "linear" if described["scale"] == "linear" else "log"}}


def _categories(described: Mapping[str, Any]) -> list[str]:
    return [
        ", ".join(map(str, cast(list[Any], each))) if isinstance(each, list) else str(each)
        for each in described["choices"]
    ]


def _trials(found: Findings) -> str:
    names = list(dict.fromkeys(name for each in found.results for name in each.drawn))
    order = sorted(found.results, key=lambda each: -each.score if each.score is not None else float("inf"))
    rows = [
        (
            each.number,
            each.state,
            each.score,
            *(_shown(each.drawn.get(name, "")) for name in names),
            each.reason.replace(" ", NO_BREAK),
        )
        for each in order
    ]
    return table(["trial", "state", "score", *names, "why"], rows)
