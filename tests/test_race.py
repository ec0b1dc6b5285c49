"""The race: who runs in which order, what counts as arrived, and the page and README's lines from the results."""

import importlib
import json
import math
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny_cli import PATIENCE, untrained_run

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the source distribution has no benchmarks", allow_module_level=True)
with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(BENCHMARKS)
    races, racing, runs, standings, store, race, pages = (
        importlib.import_module(name)
        for name in (
            *("curves.races", "curves.racing", "curves.runs", "curves.standings", "curves.store"),
            *("race", "race_pages"),
        )
    )

PENDULUM = races.COURSES[0]


@pytest.fixture
def places(tmp_path: Path) -> Any:
    return runs.Places(store.Store(tmp_path / "results"), tmp_path / "runs", sys.executable)


def result(seconds: float, *, arrived: bool = True, steps: int = 4_000, fresh: float = -150.0) -> dict[str, Any]:
    """Of a run on Pendulum."""
    value = -180.0 if arrived else -900.0
    told = {"command": "a command", "versions": {"python": "3"}, "processor": "a processor", "busy_cores": 1.0}
    told |= {"curve": [[steps, seconds, value]], "seconds": seconds, "steps": steps, "return": value}
    return told | {"arrived": arrived} | ({"fresh_mean": fresh} if arrived else {})


def entry(name: str) -> Any:
    (found,) = races.entries(name)
    return found


# Who runs


def test_everybodys_seed_comes_before_the_next_and_every_library_runs_the_same_algorithms() -> None:
    names = [each.name for each in races.entries("Pendulum-v1")]
    kinds = [f"{algorithm}-Pendulum-v1-{library}" for algorithm in races.ALGORITHMS for library in races.LIBRARIES]
    assert names[:10] == [*(f"race/{kind}-0" for kind in kinds), f"race/{kinds[0]}-1"]
    assert len(names) == 5 * 9
    assert len({each.name for each in races.entries()}) == len(races.entries()) == 9 * (3 * 5 + 3 * 3)
    told = "--stop-at-return -200 --steps 20000 --steps-per-epoch 1000 --evaluation-episodes 10"
    command = entry("sac-Pendulum-v1-polyak-3").case.command(3)
    assert command == f"train sac Pendulum-v1 --seed 3 {told}".split()


def test_what_the_peers_race_with_says_where_it_was_published() -> None:
    found = list(races.sources())
    assert len(found) == len(races.COURSES) * len(races.ALGORITHMS)
    for environment, algorithm, values, source in found:
        assert bool(values) == ("hyperparams/" in source), (environment, algorithm)
        assert f"{algorithm}." in source or source.startswith("none: ")
    values, _ = races.published("LunarLanderContinuous-v3", "sac")
    assert (values["learning_rate"], values["policy_kwargs"]) == ("lin_7.3e-4", {"net_arch": [400, 300]})


# A run


def test_polyaks_time_is_that_at_which_its_command_told_of_the_evaluation(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(track: Any, arguments: list[str], folder: Path, limit: float) -> list[float]:
        assert arguments[:3] == ["train", "sac", "Pendulum-v1"]
        assert (arguments[-2], limit) == ("--run-dir", 180)
        untrained_run(Path(arguments[-1]), steps=24, steps_per_epoch=8)  # whose returns are far above the goal
        return [1.0, 2.0, 3.456]

    def polyak(*arguments: str, log: Path) -> str:
        assert arguments[0] == "evaluate"
        assert arguments[-5:] == ("--episodes", "50", "--seed", "1000", "--json")
        return json.dumps({"mean": -170.004, "std": 90.0})

    monkeypatch.setattr(racing, "timed", timed)
    monkeypatch.setattr(racing, "polyak", polyak)
    racer = entry("sac-Pendulum-v1-polyak-2")
    found = racing.raced(racer, places)
    assert (found["arrived"], found["steps"], found["seconds"]) == (True, 24, 3.46)
    assert [point[:2] for point in found["curve"]] == [[8, 1.0], [16, 2.0], [24, 3.46]]
    assert (found["fresh_mean"], found["fresh_episodes"], found["quiet"]) == (-170.0, 50, True)
    assert found["command"].startswith("polyak train sac Pendulum-v1 --seed 2 --stop-at-return -200")
    assert list(places.folder(racer).iterdir()) == []


@contextmanager
def instead(code: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a line of Python run in place of polyak's command."""
    with monkeypatch.context() as patched:
        patched.setattr(racing, "PROGRAM", [sys.executable, "-c", code])
        yield


def test_the_command_is_watched_until_it_ends_or_its_seconds_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = racing.Track()
    lines = r"import sys; sys.stderr.write('SAC\nstep 1/2 a\nstep 2/2 b\ndone\n')"
    with instead(lines, monkeypatch):
        first, second = racing.timed(track, [], tmp_path, 900.0)
    assert 0 < first <= second <= track.seconds
    with instead("import sys; sys.exit('out of luck')", monkeypatch), pytest.raises(RuntimeError, match="out of luck"):
        racing.timed(track, [], tmp_path, 900.0)
    with instead(r"import os, signal; os.write(2, b'step 1\n'); signal.pause()", monkeypatch):
        racing.timed(track, [], tmp_path, 0.0)
    with pytest.raises(RuntimeError, match="told of no evaluation"):
        track.told(-200)


@pytest.mark.parametrize(
    ("answers", "arrived", "end"),
    [
        ([["1000", "1", "-900"], ["2000", "2", "-150"], ["-160", "80"]], True, 2_000),
        ([[str(step), "1", "-900"] for step in range(1_000, 20_001, 1_000)], False, 20_000),
    ],
)
def test_a_peer_is_asked_for_fresh_episodes_where_it_arrived(
    places: Any, monkeypatch: pytest.MonkeyPatch, answers: list[list[str]], arrived: bool, end: int
) -> None:
    asked = list[tuple[str, dict[str, Any]]]()

    @contextmanager
    def trainer(name: str, job: dict[str, Any], peers: str, **options: Any) -> Generator[Any]:
        asked.append((name, {**job, **options}))
        words = iter([['{"torch":', '"2"}'], *answers])
        yield SimpleNamespace(answer=words.__next__, kill=lambda: None)
        assert not list(words)

    monkeypatch.setattr(racing, "trainer", trainer)
    found = racing.raced(entry("tqc-Pendulum-v1-SBX-1"), places)
    assert (found["arrived"], found["steps"], found.get("fresh_mean")) == (arrived, end, -160.0 if arrived else None)
    assert found["versions"] == {"torch": "2"}
    assert "tqc.yml" in found["source"]
    [(name, job)] = asked
    assert name == "SBX"
    assert job.items() >= {"seed": 1, "goal": -200, "look": 1_000, "episodes": 10, "limit": 20_000}.items()
    assert job["arguments"] == found["settings"] == races.published("Pendulum-v1", "tqc")[0]


def test_a_peer_that_is_too_slow_has_not_arrived_and_one_that_fails_is_run_again(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def trainer(*_: Any, **__: Any) -> Generator[Any]:
        killed, words = threading.Event(), iter([['{"torch":', '"2"}'], ["1000", "1", "-900"]])

        def answer() -> list[str]:
            for found in words:
                return found
            assert not waits or killed.wait(PATIENCE)
            raise RuntimeError("SBX ended")

        yield SimpleNamespace(answer=answer, kill=killed.set)

    waits = True
    monkeypatch.setattr(racing, "trainer", trainer)
    found = racing.theirs(entry("sac-Pendulum-v1-SBX-1"), PENDULUM, places, 0.0)
    assert (found["arrived"], found["return"]) == (False, -900.0)
    waits = False
    with pytest.raises(RuntimeError, match="SBX ended"):
        racing.theirs(entry("sac-Pendulum-v1-SBX-1"), PENDULUM, places, 180.0)


def test_a_run_is_ended_once_it_cannot_be_its_librarys_fastest(places: Any) -> None:
    def limit(name: str) -> float:
        return racing.hopeless(entry(name).case, PENDULUM, places.results)

    assert limit("tqc-Pendulum-v1-SBX-0") == 180
    put(places.results, "sac-Pendulum-v1-SBX", result(20.0), result(30.0))
    put(places.results, "sac-Pendulum-v1-polyak", result(5.0), result(9.0, arrived=False))
    assert limit("tqc-Pendulum-v1-SBX-0") == racing.LATE * 30
    assert limit("sac-Pendulum-v1-SBX-2") == 180  # no other algorithm has run
    assert limit("tqc-Pendulum-v1-polyak-0") == 180  # one that has not arrived is no measure
    put(places.results, "tqc-Pendulum-v1-SBX", result(100.0))
    assert limit("crossq-Pendulum-v1-SBX-0") == racing.LATE * 30


def test_none_is_begun_when_the_time_is_over_and_the_list_says_what_is_left(
    places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = races.entries("sac-Pendulum-v1")
    names = [each.name for each in chosen]
    places.results.write(names[0], result(4.0))
    places.results.write(names[1], result(20.0, arrived=False))
    assert runs.work(chosen, places, lambda *_: pytest.fail("begun"), time.monotonic()) == []
    done = list[str]()

    def run(one: Any, _: Any) -> dict[str, Any]:
        done.append(one.name)
        return result(1.0)

    assert runs.work(chosen[:3], places, run) == []
    assert done == names[2:3]
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["race.py", "--list", "--only", "sac-Pendulum-v1", *folders])
    assert race.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[-16].split()) == "done race/sac-Pendulum-v1-polyak-0 -180.0 after 4,000 steps, 4.0 s"
    assert lines[-15].endswith("-900.0 after 4,000 steps: not arrived")
    assert lines[-1] == "3 done, 12 left"


def test_what_another_processor_began_is_left_out_and_said(
    places: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(race, "processor", lambda: "this one")
    pendulum, lander = races.entries("sac-Pendulum-v1"), races.entries("sac-LunarLander")
    places.results.write(pendulum[0].name, result(4.0))
    places.results.write(lander[0].name, {**result(4.0), "processor": "this one"})
    assert race.comparable([*pendulum, *lander], places) == lander
    told = capsys.readouterr().err
    assert told == "Pendulum-v1 is left out: it was begun on a processor, and this is this one\n"
    assert race.comparable(pendulum[:1], places) == []  # nothing of it is left: no word
    assert capsys.readouterr().err == ""


def test_seeds_that_cannot_change_a_median_are_not_run(
    places: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, done = result(20.0, arrived=False), list[str]()
    chosen = races.entries("tqc-Pendulum-v1-SBX")
    put(places.results, "tqc-Pendulum-v1-SBX", lost, lost)

    def run(one: Any, _: Any) -> dict[str, Any]:
        done.append(one.name)
        return lost

    assert runs.work(chosen, places, run, needless=standings.needless) == []
    assert done == [chosen[2].name]  # with which three of five have not arrived
    (found,) = standings.runners(places.results, PENDULUM)
    assert (found.whole, found.settled, found.median) == (False, True, math.inf)
    assert "Pendulum-v1: 40 of 45" in pages.left(places.results)
    assert [race.standing(each, places) for each in chosen] == ["done"] * 3 + ["needless"] * 2
    monkeypatch.setattr(race, "processor", lambda: "another one")
    assert race.comparable(chosen, places) == []
    assert capsys.readouterr().err == ""  # nothing of it is left


# Standings


def put(made: Any, name: str, *results: dict[str, Any]) -> None:
    for seed, each in enumerate(results):
        made.write(f"race/{name}-{seed}", each)


def test_what_has_not_arrived_is_slower_than_all_that_has(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    lost = result(20.0, arrived=False)
    put(made, "sac-Pendulum-v1-polyak", lost, result(5.0), result(4.0), result(7.0, steps=5_000), lost)
    put(made, "tqc-Pendulum-v1-polyak", result(6.0), result(6.5))
    put(made, "sac-Pendulum-v1-SBX", lost, lost, result(3.0))
    found = standings.runners(made, PENDULUM)
    assert [(each.library, each.algorithm, each.median) for each in found] == [
        ("polyak", "TQC", 6.25),
        ("polyak", "SAC", 7.0),
        ("SBX", "SAC", math.inf),
    ]
    assert found[1].told("seconds", 1) == "7.0 (4.0 to not arrived)"
    assert found[1].told("steps", 0) == "5,000 (4,000 to not arrived)"
    assert {name: each.algorithm for name, each in standings.fastest(found).items()} == {"polyak": "TQC", "SBX": "SAC"}


def test_the_page_tells_of_lucky_evaluations_of_what_has_not_arrived_and_of_what_has_not_run(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    assert "## Pendulum-v1: -200" not in pages.page(made)
    assert pages.summary(made) == ""
    for case in PENDULUM.block.cases:
        several = range(5) if case.library == "polyak" else range(4)
        kind = case.name.removeprefix("race/")
        put(made, kind, *(result(3.0 + seed, fresh=-250.0 if seed == 0 else -150.0) for seed in several))
    text = pages.page(made)
    assert "| polyak, SAC | 5 | 5 | 5.0 (3.0 to 7.0) | 4,000 | -150 (-250 to -150) | 4 of 5 |" in text
    assert "| SBX, CrossQ | 4 of 5 | 4 | 4.5 (3.0 to 6.0) | 4,000 | -150 (-250 to -150) | 3 of 4 |" in text
    assert "| Pendulum-v1: -200 | **5.0** (SAC, 3.0 to 7.0) | **4.5** (SAC, 3.0 to 6.0, 4 of 5 seeds) |" in text
    assert "4 of 5 seeds) |  |  |\n" in text  # no ratio before all seeds have run
    assert "- Pendulum-v1: 6 of 45\n" in text
    assert pages.summary(made) == ""  # README speaks of a course that everybody has run to its end
    for case in PENDULUM.block.cases:
        made.write(case.named(4), result(20.0, arrived=False))
    assert "| 1.0 | 1.0 |\n" in pages.page(made)
    head = "<!-- race -->\n"
    shown = pages.marked(f"a\n{head}what was there\n<!-- end of race -->\nb", made)
    assert "| Pendulum-v1: -200 | 5.0 (SAC) | 5.0 (SAC) | 5.0 (SAC) |" in shown
    assert "what was there" not in shown
    assert pages.marked(shown, made) == shown
    pages.draw(made, tmp_path / "race.svg")
    assert "Stable-Baselines3, SAC" in (tmp_path / "race.svg").read_text()


def test_the_sites_page_and_readmes_lines_are_those_of_the_results() -> None:
    made = store.Store(ROOT / "docs" / "results")
    assert (ROOT / "docs" / "race.md").read_text(encoding="utf-8") == pages.page(made)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == pages.marked(readme, made)
    assert "<!-- race -->" in readme
