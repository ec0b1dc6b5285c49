"""The report: statistics that others confirm, seeds rightly grouped, one page that needs nothing but itself."""

import base64
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import opened
from polyak import Run, UsageError, load
from polyak.report import charts, facts, tables
from polyak.report.advice import LEADS, advice, collectors_waited, time_spent
from polyak.report.groups import grouped
from polyak.report.page import page, write_report
from polyak.report.statistics import improvement_interval, interval, iqm, probability_of_improvement
from polyak.system.stopwatch import PARTS
from test_pages import Tags
from tiny_cli import untrained_run

HOSTILE = '<script>alert("1")</script>\'&'


def record(step: int, value: float, **more: float) -> dict[str, float]:
    return {"step": step, "seconds": step / 100, "eval/return": value, "eval/return_std": 1.0, **more}


RICH = {
    "eval/q": 5.0,
    "eval/discounted_return": 3.0,
    "train/return": -3.0,
    "train/length": 5.0,
    "learner/critic_loss": 0.25,
    "learner/actor_loss": -1.0,
    "learner/q": 1.5,
    "learner/target": 1.25,
    "learner/q_std": 0.5,
    "learner/critic_gradient_norm": 2.0,
    "learner/actor_gradient_norm": 0.1,
    "learner/saturated": 0.25,
    "learner/alpha": 0.2,
    "learner/entropy": -1.0,
    "speed/steps_per_second": 100.0,
    **dict(zip((f"time/{part}" for part in PARTS), (1.0, 0.5, 0.5, 7.0, 0.5, 0.5, 0.0), strict=True)),
}
"""What a record of SAC holds besides."""


def made(tmp_path: Path, seed: int, records: Sequence[dict[str, float]], **changed: Any) -> Run:
    """A run of these records; `settings` among what is changed are single settings."""
    tmp_path.mkdir(exist_ok=True)
    run = untrained_run(tmp_path / f"{len(list(tmp_path.iterdir()))}")
    table = {**run.settings, "seed": seed, **changed}
    table["settings"] = {**run.settings["settings"], **changed.get("settings", {})}
    run.settings_file.write_text(json.dumps(table))
    run.metrics_file.write_text("".join(json.dumps(each) + "\n" for each in records))
    return load(run.folder)


def two_groups(tmp_path: Path) -> list[Run]:
    """Three seeds each of DDPG, and of SAC with everything that it measures."""
    ddpg = [made(tmp_path, seed, [record(20, -9 + seed), record(40, -5 + seed)]) for seed in range(3)]
    sac = [
        made(tmp_path, seed, [record(20, -8 + seed, **RICH), record(40, -1 + seed, **RICH)], algorithm="sac")
        for seed in range(3)
    ]
    return [*ddpg, *sac]


def test_a_policy_that_cannot_leave_the_bounds_is_told(tmp_path: Path) -> None:
    dead = {"learner/actor_gradient_norm": 0.0, "learner/saturated": 1.0}
    alive = {"learner/actor_gradient_norm": 0.004, "learner/saturated": 1.0}
    inside = {"learner/actor_gradient_norm": 0.0, "learner/saturated": 0.5}
    untrained = record(10, -9.0)

    def told(*measured: dict[str, float]) -> str:
        rows = [record(20 + 10 * number, -5.0, **each) for number, each in enumerate(measured)]
        return facts.runs(grouped([made(tmp_path, 0, [untrained, *rows])]))

    said = "its policy gives the bounds of the action box and nothing else"
    assert f"since step 30 {said}" in told(alive, dead, dead)
    assert f"since step 20 {said}" in told(dead, dead, dead)
    for each in ((alive, dead), (dead, dead, alive), (inside, inside), (alive, alive), ()):
        assert said not in told(*each)


# Statistics, beside what rliable 1.2.0 gave for the same numbers (50,000 bootstrap samples; 20,000 for the second)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (
            [-109.2, -201.1, -141.6],
            [-154.2, -151.3, -145.4, -190.5],
            (-150.63333333333333, -152.75, 0.6666666666666666, (-201.1, -109.2), (0.0, 1.0)),
        ),
        (
            [-154.6, -167.3, -83.5, -145.5, -157.1],
            [-147.0, -156.7, -166.4, -149.8, -128.0, -146.0],
            (-152.4, -149.875, 0.4666666666666667, (-163.9, -104.16666666666667), (0.1, 0.8666666666666667)),
        ),
        (
            [-130.8, -154.0, -149.5, -119.1, -139.1, -160.1, -153.7, -139.2],
            [-91.6, -146.7, -146.1, -114.9, -162.2, -147.3, -117.9, -125.5, -137.7],
            (-145.375, -134.78, 0.3194444444444444, (-153.925, -132.075), (0.08333333333333333, 0.5972222222222222)),
        ),
    ],
    ids=["3 seeds", "5 seeds", "8 seeds"],
)
def test_statistics_are_those_of_rliable(ours: list[float], theirs: list[float], expected: Any) -> None:
    one, other = np.array(ours), np.array(theirs)
    mean, mean_of_theirs, chance, ends, ends_of_chance = expected
    assert iqm(one) == pytest.approx(mean)
    assert iqm(other) == pytest.approx(mean_of_theirs)
    assert probability_of_improvement(one, other) == pytest.approx(chance)
    assert interval(one) == pytest.approx(ends, abs=0.06 * (ends[1] - ends[0]))
    assert improvement_interval(one, other) == pytest.approx(ends_of_chance, abs=0.04)


def test_ties_count_one_half() -> None:
    assert probability_of_improvement(np.array([1.0, 2, 2, 3]), np.array([2.0, 2, 4])) == pytest.approx(1 / 3)
    assert probability_of_improvement(np.ones(3), np.ones(2)) == 0.5


def test_intervals_are_for_each_evaluation_by_itself() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 3))
    low, high = interval(scores)
    for column in range(3):
        alone = interval(scores[:, column])
        assert (low[column], high[column]) == pytest.approx(alone, abs=0.15)
    assert (low < iqm(scores)).all()
    assert (iqm(scores) < high).all()


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 experiments with 10 seeds each: a bootstrap with so few covers somewhat less than 95 %."""
    generator = np.random.default_rng(1)
    covered = [low < 0 < high for low, high in (interval(generator.normal(size=10)) for _ in range(200))]
    assert 0.85 < np.mean(covered) < 0.99


# Groups


def test_seeds_of_the_same_settings_are_one_group(tmp_path: Path) -> None:
    runs = two_groups(tmp_path)
    ddpg, sac = grouped(reversed(runs))[::-1]
    assert [run.settings["seed"] for run in ddpg.runs] == [0, 1, 2]
    assert (ddpg.label, sac.label) == ("DDPG", "SAC")
    assert len({ddpg.colour, sac.colour}) == 2
    steps, values = ddpg.column("eval/return")
    assert steps.tolist() == [20, 40]
    assert values.tolist() == [[-9, -5], [-8, -4], [-7, -3]]


@pytest.mark.parametrize(
    ("changed", "label"),
    [
        ({"backend": "torch"}, "DDPG, backend torch"),
        ({"settings": {"batch_size": 16}}, "DDPG, batch_size 16"),
        ({"envs": 2, "settings": {"discount": 0.9}}, "DDPG, envs 2, discount 0.9"),
    ],
)
def test_labels_say_what_differs(tmp_path: Path, changed: dict[str, Any], label: str) -> None:
    first, second = grouped([made(tmp_path, 0, []), made(tmp_path, 0, [], **changed)])
    assert second.label == label
    assert first.label != "DDPG"


@pytest.mark.parametrize(
    "changed", [{"threads": 7}, {"settings": {"steps": 90}}, {"versions": {"python": "4"}}, {"run_dir": "x"}]
)
def test_seeds_may_differ_in_what_changes_no_experiment(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert len(grouped([made(tmp_path, 0, []), made(tmp_path, 1, [], **changed)])) == 1


def test_a_seed_counts_once(tmp_path: Path) -> None:
    """The run that went furthest; the same folder twice is one run."""
    short, long = made(tmp_path, 3, [record(20, 1)]), made(tmp_path, 3, [record(20, 1), record(40, 2)])
    (group,) = grouped([short, long, Run(long.folder / ".." / long.folder.name)])
    assert (group.runs, group.left_out) == ((long,), (short,))
    assert "left out" in page([short, long])


def test_statistics_end_where_the_first_seed_did(tmp_path: Path) -> None:
    whole = [made(tmp_path, seed, [record(20, seed), record(40, seed)]) for seed in range(2)]
    short = made(tmp_path, 2, [record(20, 2)])
    (group,) = grouped([*whole, short])
    assert group.common("eval/return")[0].tolist() == [20]
    shown = tables.evaluations([group])
    assert "DDPG: seed 2 ended before step 40" in shown
    assert "<td>3 x 2</td><td>20</td>" in shown
    solid, dotted = charts.returns([group], "x").traces[-2:]
    assert (solid["x"], dotted["x"], dotted["y"]) == ([20], [40], [0.5])


def test_seed_without_evaluation_is_named_and_left_out(tmp_path: Path) -> None:
    runs = [made(tmp_path, seed, [record(20, seed)]) for seed in range(2)]
    failed = made(tmp_path, 2, [{"step": 10, "seconds": 1.0, "train/return": 1.0}])
    (group,) = grouped([*runs, failed])
    assert (group.runs, group.left_out) == (tuple(runs), (failed,))
    assert "seed 2 ended before its first evaluation" in tables.evaluations([group])
    assert "left out: no evaluation" in facts.runs([group])
    (alone,) = grouped([failed])
    assert (alone.runs, alone.left_out) == ((failed,), ())


def test_groups_are_compared_at_a_step_that_both_reached(tmp_path: Path) -> None:
    ddpg = [made(tmp_path, seed, [record(20, seed), record(40, 9)]) for seed in range(2)]
    sac = [made(tmp_path, seed, [record(20, seed + 1)], algorithm="sac") for seed in range(2)]
    shown = Tags(tables.improvement(grouped([*ddpg, *sac]))).words
    assert shown[shown.index("DDPG over SAC") + 1 :][:2] == ["20", "0.12"]  # 0.125: one tie among four pairs


def test_single_seeds_are_not_compared(tmp_path: Path) -> None:
    runs = [made(tmp_path, 0, [record(20, 1)]), made(tmp_path, 0, [record(20, 2)], algorithm="sac")]
    assert tables.improvement(grouped(runs)) == ""
    assert "One seed: there is no interval" in charts.returns(grouped(runs), "x").caption


def test_comparison_over_environments(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, seed, [record(20, seed + gain)], algorithm=name, environment=environment)
        for seed in range(2)
        for environment, better in (("A-v0", "sac"), ("B-v0", "ddpg"))
        for name in ("ddpg", "sac")
        for gain in [10 * (name == better)]
    ]
    groups = grouped(runs)
    assert [(group.label, group.first["environment"]) for group in groups] == [
        (label, environment) for environment in ("A-v0", "B-v0") for label in ("DDPG", "SAC")
    ]
    words = Tags(tables.improvement_over_all(groups)).words
    assert words[words.index("DDPG over SAC") + 1 :][:2] == ["2", "0.50"]
    shown = page(runs)
    assert shown.count('class="chart" id="e0-returns"') == shown.count('class="chart" id="e1-returns"') == 1


# Tables, charts and advice


def test_evaluation_table_states_seeds_and_episodes(tmp_path: Path) -> None:
    words = Tags(tables.evaluations(grouped(two_groups(tmp_path)))).words
    row = words[words.index("SAC") :][:8]
    assert row == ["SAC", "3 x 2", "40", "0", "0", "-1 to 1", "-1 to 1", "0"]
    assert any("Fewer than 5 seeds" in word for word in words)


def test_over_estimation_is_expected_minus_obtained(tmp_path: Path) -> None:
    words = Tags(tables.bias(grouped(two_groups(tmp_path)))).words
    assert words[words.index("SAC") :] == ["SAC", "5", "3", "2", "2 to 2"]
    assert "DDPG" not in words


def test_over_estimation_where_a_seed_ended_early(tmp_path: Path) -> None:
    """Over the steps that all seeds have; RICH is 2 too high, and later values do not count."""
    later = RICH | {"eval/q": 100.0}
    runs = [
        made(tmp_path, 0, [record(20, 0, **RICH)]),
        made(tmp_path, 1, [record(20, 0, **RICH), record(40, 0, **later)]),
    ]
    assert Tags(tables.bias(grouped(runs))).words[-2:] == ["2", "2 to 2"]
    assert page(runs)


def test_settings_that_differ_come_first_and_are_marked(tmp_path: Path) -> None:
    runs = [made(tmp_path, 0, []), made(tmp_path, 0, [], settings={"discount": 0.5})]
    shown = facts.settings(grouped(runs))
    assert "<tr class=differs><td>discount</td><td>0.99</td><td>0.5</td></tr>" in shown
    assert shown.count("class=differs") == 1
    assert shown.index("discount") < shown.index("batch_size")
    assert "class=differs" not in facts.settings(grouped(runs[:1]))


def test_a_single_seed_has_no_band(tmp_path: Path) -> None:
    run = made(tmp_path, 0, [record(20, 0, **{"learner/q": 1.0})])
    chart = charts.measured(grouped([run]), charts.Measure("Q", "reward", "learner/q"), "x")
    assert chart is not None
    assert len(chart.traces) == len(charts.returns(grouped([run]), "x").traces) == 1


def test_versions_that_differ_within_a_group_are_all_named(tmp_path: Path) -> None:
    runs = [made(tmp_path, seed, [], versions={"python": f"3.1{seed}"}) for seed in range(2)]
    assert "3.10, 3.11" in facts.machines(grouped(runs))


@pytest.mark.parametrize(("part", "enough"), [(part, enough) for part, enough, _ in LEADS])
def test_advice_is_about_the_part_that_takes_the_time(part: str, enough: float) -> None:
    others = [name for name in PARTS if name != part]
    spent = {name: (0.99 - enough) / len(others) for name in others} | {part: enough + 0.01}
    assert part in advice(spent)
    assert f"{100 * (enough + 0.01):.0f} % of the time" in advice(spent)


@pytest.mark.parametrize(("part", "told"), [("environment", "more of them"), ("learner", "fewer would do")])
def test_advice_about_collectors_says_who_waits(part: str, told: str) -> None:
    spent = {**dict.fromkeys(PARTS, 0.0), part: 6.0, "saving": 0.3, "replay": 3.7}
    records = [record(1, 0.0, **{"collectors/waiting": share}) for share in (0.2, 0.4)]
    waited = collectors_waited([records, [record(1, 0.0)]])
    assert waited == pytest.approx(0.3)
    said = advice(spent, waited)
    assert said.startswith("60 % of the time is the ")
    assert "the collectors wait 30 % of theirs" in said
    assert told in said
    assert "collectors" not in advice(spent)
    assert collectors_waited([[record(1, 0.0)]]) is None


def test_advice_where_nothing_stands_out() -> None:
    spent = {"environment": 25, "acting": 20, "replay": 10, "learner": 35, "evaluation": 5, "saving": 5}
    assert advice(spent).startswith("No part stands out")
    assert {*spent, "callbacks"} == set(PARTS)
    assert time_spent([[{"step": 1, "seconds": 1}]]) == {}


def test_bands_are_from_the_lowest_to_the_highest_seed(tmp_path: Path) -> None:
    runs = [made(tmp_path, seed, [record(20, 0, **{"learner/q": float(seed)})]) for seed in range(3)]
    chart = charts.measured(grouped(runs), charts.Measure("Q", "reward", "learner/q"), "x")
    assert chart is not None
    low, high, mean = chart.traces
    assert (low["y"], high["y"], mean["y"]) == ([0], [2], [1])
    assert charts.measured(grouped(runs), charts.Measure("a", "", "learner/alpha"), "x") is None


# Pages


def test_same_runs_give_the_same_page(tmp_path: Path) -> None:
    runs = two_groups(tmp_path)
    assert page(runs) == page([load(run.folder) for run in runs])


def test_page_of_one_run(tmp_path: Path) -> None:
    run = made(tmp_path, 0, [{"step": 10, "seconds": 1.0, "train/return": -9.0}, record(20, -4.25), record(40, -6.5)])
    words = Tags(page([run])).words
    for cell in ("DDPG on tiny_cli:Tiny-v0, seed 0", "40 of 40", "-4.2 at step 20", "hidden_sizes", "[4]", "gymnasium"):
        assert cell in words, cell


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    run = made(tmp_path, 0, [record(20, 1)], environment=HOSTILE, preset=HOSTILE, settings={HOSTILE: HOSTILE})
    other = made(tmp_path, 0, [record(20, 1)], environment=HOSTILE, backend=HOSTILE)
    run.videos.mkdir()
    (run.videos / "<script>&.mp4").write_bytes(b"")
    text = page([run, other])
    assert "<script>alert" not in text
    assert Tags(text).found.count("script") == 3
    assert "".join(Tags(text).words).count(HOSTILE) >= 5


def test_videos_are_all_of_a_run_or_the_newest_of_a_group(tmp_path: Path) -> None:
    runs = [made(tmp_path, seed, [record(20, 1)]) for seed in range(2)]
    for run in runs:
        run.videos.mkdir()
        for age, name in enumerate(("new.mp4", "old.mp4")):
            (run.videos / name).write_bytes(name.encode())
            os.utime(run.videos / name, (1_000 - age, 1_000 - age))
    alone, together = page(runs[:1]), page(runs)
    assert (alone.count("<video"), together.count("<video")) == (2, 1)
    assert alone.index("new.mp4") < alone.index("old.mp4")
    assert "DDPG, seed 0: new.mp4" in together


def test_video_that_is_no_plain_file_is_named(tmp_path: Path) -> None:
    """A pipe would be waited for, and what is linked to may have no end."""
    run = made(tmp_path, 0, [record(20, 1)])
    run.videos.mkdir()
    os.mkfifo(run.videos / "pipe.mp4")
    (run.videos / "link.mp4").symlink_to("/dev/zero")
    (run.videos / "lost.mp4").symlink_to(tmp_path / "nowhere")
    (run.videos / "film.mp4").write_bytes(b"film")
    shown = page([run])
    assert shown.count("<video") == 1
    assert [shown.count(name) for name in ("pipe.mp4", "link.mp4", "lost.mp4")] == [1, 1, 1]


def test_run_without_metrics_has_a_page(tmp_path: Path) -> None:
    run = made(tmp_path, 0, [])
    run.metrics_file.unlink()
    shown = Tags(page([run]))
    assert "No evaluation yet." in shown.words
    assert "script" not in shown.found


def test_what_is_not_finite_leaves_its_place_empty(tmp_path: Path) -> None:
    """Records leave out what JSON has no word for."""
    runs = [made(tmp_path, 0, [record(20, 1.0), {"step": 40, "seconds": 1.0, "learner/q": 2.0}])]
    assert page(runs)


def test_page_is_written_into_the_run_or_where_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = two_groups(tmp_path)
    assert write_report(runs[:1]) == runs[0].report_file
    elsewhere = tmp_path / "new" / "page.html"
    assert write_report(runs[:1], elsewhere) == elsewhere
    assert elsewhere.read_text(encoding="utf-8") == runs[0].report_file.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert write_report(runs) == Path("report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_nothing_to_report_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no runs"):
        write_report([])
    with pytest.raises(UsageError, match="is not a run"):
        write_report([Run(tmp_path)])
    assert not list(tmp_path.iterdir())


# In a real browser


def test_browser_shows_charts_values_and_the_video(tmp_path: Path) -> None:
    runs = two_groups(tmp_path)
    film = runs[0].record(1)  # whose policy is as its settings say
    other = made(tmp_path, 0, [record(20, 1)], environment="Other-v0")
    path = write_report([*runs, other], tmp_path / "report.html")
    assert base64.b64encode(film.read_bytes()).decode() in path.read_text()
    with opened(path, viewport={"width": 1200, "height": 900}) as tab:
        drawn = tab.page.locator(".chart").count()
        assert drawn == tab.page.locator(".chart.js-plotly-plot .main-svg").count() / 3  # Plotly draws in three layers
        assert drawn >= 14
        tab.page.hover("#e1-returns .nsewdrag", position={"x": 60, "y": 60})
        tab.page.wait_for_selector("#e1-returns .hoverlayer text")
        shown = tab.page.text_content("#e1-returns .hoverlayer").replace(chr(0x2212), "-")
        assert "SAC (3 seeds) : -7 [-8, -6]" in shown, shown
        video = tab.page.locator("video")
        assert video.count() == 1
        video.evaluate("video => video.play()")
        tab.page.wait_for_function("document.querySelector('video').currentTime > 0")
        assert video.evaluate("video => [video.videoWidth > 0, video.error]") == [True, None]
        assert tab.problems == []


def test_copied_report_needs_no_run(tmp_path: Path) -> None:
    runs = two_groups(tmp_path / "runs")
    path = write_report(runs, tmp_path / "report.html")
    shutil.rmtree(tmp_path / "runs")
    with opened(path, color_scheme="dark", viewport={"width": 390, "height": 844}) as tab:
        assert tab.page.locator(".js-plotly-plot").count() == tab.page.locator(".chart").count()
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
        assert tab.problems == []
