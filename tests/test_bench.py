"""The comparison with the peers: quotas, ratios, tables, the results' file, and the environment that keeps the time."""

import importlib
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import pytest

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"


@pytest.fixture(scope="module")
def cases() -> Any:
    return from_peers("cases")


@pytest.fixture(scope="module")
def clock() -> Any:
    return from_peers("clock")


def from_peers(name: str) -> ModuleType:
    """A module of benchmarks/peers, which is no package's."""
    sys.path.insert(0, str(PEERS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PEERS))
        sys.modules.pop(name, None)


# Quotas


@pytest.mark.parametrize(
    ("rhythm", "envs", "collect", "steps", "quota", "first"),
    [
        ("every-step", 1, 1, 200, 200, 1150),
        ("every-step", 8, 1, 200, 25, 144),
        ("bursts", 1, 50, 200, 200, 1150),
        ("bursts", 1, 50, 201, 250, 1150),
        ("bursts", 8, 6, 200, 30, 144),
        ("bursts", 100, 1, 200, 2, 12),
    ],
)
def test_a_round_is_whole_bursts(
    cases: Any, rhythm: str, envs: int, collect: int, steps: int, quota: int, first: int
) -> None:
    case = cases.Case("sac", "HalfCheetah-v5", rhythm, envs)
    job = case.job(threads=3)
    assert (case.collect, case.quota(steps)) == (collect, quota)
    assert case.aligned(steps) == quota * envs
    assert case.aligned(steps) % (collect * envs) == 0
    assert steps <= case.aligned(steps) < steps + collect * envs
    assert (job["quota"], job["collect"], job["threads"], job["start_steps"]) == (first, collect, 3, 1_000)


def test_a_contender_takes_part_or_says_why_not(cases: Any) -> None:
    sac, td3 = cases.Case("sac", "Pendulum-v1", "bursts", 1), cases.Case("td3", "Pendulum-v1", "every-step", 1)
    assert cases.absent("polyak", sac, []) == ""
    assert cases.absent("polyak lag 1", sac, ["steps", "lag"]) == ""
    assert cases.absent("polyak lag 1", sac, ["steps"]) == "polyak has no setting lag"
    assert cases.absent("skrl", sac, []) == "it updates at every step"
    assert cases.absent("Tianshou", td3, []) == "not set up for td3"
    assert all((PEERS / contender.script).is_file() for contender in cases.CONTENDERS.values())


# Numbers


def test_ratios_are_of_the_rounds_not_of_the_medians(cases: Any) -> None:
    assert cases.ratios([1.0, 10.0, 6.0], [1.0, 2.0, 3.0]) == {"median": 2.0, "lowest": 1.0, "highest": 5.0}
    with pytest.raises(ValueError, match="zip"):
        cases.ratios([1.0], [1.0, 2.0])


def test_a_case_compares_speeds_and_the_limit(cases: Any) -> None:
    seconds = {"polyak": [1.0, 2.0, 1.0], "SBX": [2.0, 3.0, 4.0]}
    found = cases.compared(seconds, steps=200, limit=[0.001, 0.002, 0.001])
    ours, theirs = found["contenders"]["polyak"], found["contenders"]["SBX"]
    assert found["limit_milliseconds"] == {"median": 1.0, "lowest": 1.0, "highest": 2.0}
    assert ours["steps_per_second"] == {"median": 200.0, "lowest": 100.0, "highest": 200.0}
    assert ours["fraction_of_limit"] == {"median": 0.2, "lowest": 0.2, "highest": 0.2}
    assert "ratio" not in ours
    assert theirs["ratio"] == {"median": 2.0, "lowest": 1.5, "highest": 4.0}
    assert theirs["fraction_of_limit"] == {"median": 0.1, "lowest": 0.05, "highest": 0.133}


def test_without_polyak_there_is_no_ratio(cases: Any) -> None:
    assert "ratio" not in cases.compared({"SBX": [1.0]}, 10, [0.001])["contenders"]["SBX"]


def test_the_table_has_a_row_a_contender_and_the_reasons(cases: Any) -> None:
    result = cases.compared({"polyak": [1.0], "SBX": [2.0]}, 200, [0.001])
    about = {"steps": 200, "rounds": 1, "limit_library": "numpy", "absent": {"skrl": "it has no bursts"}}
    text = cases.table("a case", {**result, **about})
    assert "| polyak | 200 (200 to 200) |  | 20% |" in text
    assert "| SBX | 100 (100 to 100) | 2 (2 to 2) | 10% |" in text
    assert "a case: 200 steps a round, 1 rounds; the products alone take 1 (1 to 1) (numpy) ms" in text
    assert text.endswith("\nskrl: it has no bursts.")


def test_results_of_other_cases_and_measures_stay(cases: Any, tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    cases.merged(path, {"machine": 1, "cases": {"a": 1, "b": 1}})
    cases.merged(path, {"startup": 2})
    after = cases.merged(path, {"machine": 3, "cases": {"b": 3, "c": 3}})
    assert after == {"machine": 3, "startup": 2, "cases": {"a": 1, "b": 3, "c": 3}}
    assert json.loads(path.read_text()) == after


def test_every_pin_is_exact_and_names_no_place() -> None:
    lines = [line for line in (PEERS / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), lines
    names = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert {"stable-baselines3", "sbx-rl", "tianshou", "torchrl", "skrl", "torch", "gymnasium"} <= names


# The clock


class Ticks:
    """A time of which every reading is one second after the last; whatever waits takes a hundred."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


class Asked(io.StringIO):
    """Standard input whose lines are waited for."""

    def __init__(self, lines: str, ticks: Ticks) -> None:
        super().__init__(lines)
        self._ticks = ticks

    def readline(self, size: int | None = -1, /) -> str:
        self._ticks.seconds += 100.0
        return super().readline(-1 if size is None else size)


class Still(gymnasium.Env[Any, Any]):
    """Counts its steps."""

    steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        return 0, 0.0, False, False, {}


def test_a_round_ends_when_one_step_more_is_asked_for(clock: Any) -> None:
    ticks, answers = Ticks(), io.StringIO()
    environment = clock.Clock(Still(), clock.Meter(3, Asked("2\n9\n", ticks), answers, ticks, ticks))
    for _ in range(3):
        environment.step(None)
    assert answers.getvalue() == ""  # the updates that belong to the third step are not done yet
    environment.step(None)
    assert answers.getvalue().startswith("clock 1.000000000 ")
    environment.step(None)
    assert answers.getvalue().count("clock") == 1
    ticks.seconds += 7.0
    environment.step(None)
    words = answers.getvalue().splitlines()[1].split()
    assert float(words[1]) == 8.0  # of this round alone, without the wait before it
    assert int(words[2]) > 1_000_000
    assert environment.env.steps == 6


def test_a_round_ends_when_no_thread_is_at_work(clock: Any) -> None:
    """Two windows with work, on one core and on a third of it, then one with next to none."""
    times, used = iter([10.0, 11.0, 12.0]), iter([0.0, 0.01, 0.01, 0.0133, 0.0133, 0.0134])
    waits: list[float] = []
    assert clock.settled(lambda: next(times), lambda: next(used), waits.append) == 12.0
    assert waits == [0.01] * 3


def test_only_the_environment_that_steps_first_is_clocked(clock: Any) -> None:
    ticks, answers = Ticks(), io.StringIO()
    meter = clock.Meter(2, Asked("5\n", ticks), answers, ticks, ticks)
    probe, first, second = (clock.Clock(Still(), meter) for _ in range(3))
    for _ in range(2):
        first.step(None)
        second.step(None)
    probe.step(None)
    assert answers.getvalue() == ""
    first.step(None)
    assert answers.getvalue().count("clock") == 1


def test_the_end_of_the_input_ends_the_process(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int) -> None:
        raise EOFError(code)

    monkeypatch.setattr(clock, "os", SimpleNamespace(_exit=ended))
    environment = clock.Clock(Still(), clock.Meter(0, io.StringIO(), io.StringIO()))
    with pytest.raises(EOFError, match="0"):
        environment.step(None)
    assert environment.env.steps == 0
