"""Runs trained together in one process: what they equal, what one failure does to the others, what Ctrl-C leaves."""

import itertools
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Interrupted, Run, TrainingError, UsageError, frameworks
from polyak.algorithm import drawn, first_state
from polyak.algorithms import algorithm as algorithm_named
from polyak.algorithms import with_page
from polyak.cli import request
from polyak.frameworks.execution import Execution
from polyak.frameworks.jax import batched
from polyak.many.together import SomeFailedError
from polyak.types import Arrays, Batch, Spec
from tiny_cli import OPTIONS, SMALL, TINY, Tiny, Uneven, call_cli
from whole_runs import assert_same, contents, saved

SEEDS = (3, 0, 5)
TOLERANCE = 1e-4
"""Of each array, relative to its norm: what the order of sums makes of float32 in so many updates."""


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs' updates are one call on this CPU too, as they are on a GPU."""

    def make_group(execution: Execution) -> batched.Stacked:
        return batched.Stacked()

    monkeypatch.setattr("polyak.frameworks.jax.make_group", make_group)


def together(folder: Path, algorithm: str = "sac", environment: Any = TINY, **options: Any) -> list[Run]:
    untried = {"probe": False}  # some environments here count how many are made
    given: dict[str, Any] = {"seeds": SEEDS, "run_dir": folder, **SMALL, **untried, **options}
    return polyak.train_together(algorithm, environment, **given)


def alone(folder: Path, seed: int, algorithm: str = "sac", environment: Any = TINY, **options: Any) -> Run:
    given: dict[str, Any] = {**SMALL, **options}
    return polyak.train(algorithm, environment, seed=seed, run_dir=folder / "alone", **given)


def assert_close(ours: Arrays, theirs: Arrays) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert np.linalg.norm(ours[name] - value) <= TOLERANCE * np.linalg.norm(value) + 1e-7, name


# What they equal


def own_facts(run: Run) -> dict[str, Any]:
    """What no two runs have in common."""
    return {name: run.settings[name] for name in ("identity", "begun")}


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("ddpg", {"envs": 2}), ("td3", {"lag": 1}), ("sac", {})],
)
def test_on_a_cpu_each_equals_its_single_run_bit_for_bit(
    algorithm: str, options: dict[str, Any], tmp_path: Path
) -> None:
    runs = together(tmp_path, algorithm, **options)
    assert [run.settings["seed"] for run in runs] == list(SEEDS)
    for seed, run in zip(SEEDS, runs, strict=True):
        single = alone(tmp_path, seed, algorithm, **options)
        assert_same(run, single)
        assert run.settings == {**single.settings, **own_facts(run)}


@pytest.mark.usefixtures("stacked")
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("ddpg", {}), ("td3", {"lag": 1}), ("sac", {"envs": 2})],
)
def test_in_one_call_each_equals_its_single_run_to_rounding(
    algorithm: str, options: dict[str, Any], tmp_path: Path
) -> None:
    for seed, run in zip(SEEDS, together(tmp_path, algorithm, **options), strict=True):
        single = alone(tmp_path, seed, algorithm, **options)
        ours, theirs = saved(run), saved(single)
        assert_close(ours.learner, theirs.learner)
        assert_close({"replay": ours.replay.records(0, 40)}, {"replay": theirs.replay.records(0, 40)})
        assert ours.manifest.state["updates"] == theirs.manifest.state["updates"]
        assert [record.keys() for record in run.metrics] == [record.keys() for record in single.metrics]
        assert run.settings == {**single.settings, "together": 3, **own_facts(run)}


class Pairs:
    """A vector environment of two that resets itself in the step after an episode's end, which is no step of a run."""

    def __call__(self) -> Any:
        from gymnasium.vector import AutoresetMode, SyncVectorEnv

        return SyncVectorEnv([Uneven, Uneven], autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.mark.usefixtures("stacked")
def test_bursts_of_different_length_in_one_process(tmp_path: Path) -> None:
    options: dict[str, Any] = {"update_every": 1}
    runs = together(tmp_path, "ddpg", Pairs(), seeds=(3, 0), **options)
    for seed, run in zip((3, 0), runs, strict=True):
        assert_close(saved(run).learner, saved(alone(tmp_path, seed, "ddpg", Pairs(), **options)).learner)


def test_a_stack_goes_on_without_those_that_do_not_launch(spec: Spec) -> None:
    """A hundred bursts; learner 1 leaves for some of them, and learner 2's are longer for others."""
    algorithm = with_page(algorithm_named("td3"), "jax")  # whose delay must not get out of step
    generator = np.random.default_rng(0)
    config, execution = algorithm.Config(hidden_sizes=(8,), batch_size=8), frameworks.start("jax", Execution("cpu"))
    states = [first_state(algorithm.state(spec, config), np.random.default_rng(i)) for i in range(3)]
    group = batched.Stacked()
    ours = [group.learner(algorithm, spec, config, state, execution) for state in states]
    theirs = [frameworks.make_learner("jax", algorithm, spec, config, state, execution) for state in states]
    for burst in range(100):
        learned: list[Any] = []
        for index in range(3):
            if index == 1 and 30 <= burst < 60:
                continue
            updates = 2 if index == 2 and burst % 20 == 0 else 1
            records = generator.standard_normal((updates, 8, 2 * 3 + 2 + 3)).astype(np.float32)
            batch = Batch(records, spec.layout)
            noise = drawn(algorithm.draws(spec, config), generator, updates)
            learned.append((ours[index].launch(batch, noise), theirs[index].launch(batch, noise)))
        if burst % 2:
            group.launch()
        for mine, other in learned:
            np.testing.assert_allclose(mine().metrics.values, other().metrics.values, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(mine().actor["0/kernel"], other().actor["0/kernel"], atol=1e-4)
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine.arrays(), other.arrays())
        assert_close(mine.actor(), other.actor())


@pytest.mark.usefixtures("stacked")
def test_the_updates_of_all_runs_are_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    launch = batched.Stacked.launch

    def counted(self: batched.Stacked) -> None:
        rows.append(len(vars(self)["_waiting"]))
        launch(self)

    monkeypatch.setattr(batched.Stacked, "launch", counted)
    together(tmp_path, "ddpg")
    assert [count for count in rows if count] == [3] * 9


# When one ends before the others


def broken_for(seed: int, **how: Any) -> Callable[[], Tiny]:
    """Makes environments; the one in which that run trains is made otherwise. (Each run has another for evaluation.)"""
    count = itertools.count()

    def make() -> Tiny:
        return Tiny(**(how if next(count) == 2 * SEEDS.index(seed) else {}))

    return make


@pytest.mark.parametrize("way", ["apart", "stacked"])
def test_one_that_fails_stops_no_other(way: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if way == "stacked":
        request.getfixturevalue("stacked")
    with pytest.raises(
        SomeFailedError, match=r"1 of 3 runs failed, .* seed 0: the environment raised RuntimeError"
    ) as e:
        together(tmp_path, "td3", broken_for(0, raises_at=26))
    assert list(e.value.failures) == [0]
    for seed, run in zip(SEEDS, e.value.runs, strict=True):
        if seed == 0:
            assert saved(run).manifest.step == 25
            assert polyak.resume(run.folder, environment=Tiny).metrics[-1]["step"] == 40
            continue
        single = alone(tmp_path, seed, "td3", Tiny)
        if way == "apart":
            ours, theirs = contents(run), contents(single)
            assert {**ours, "settings": 0} == {**theirs, "settings": 0}
        else:
            assert_close(saved(run).learner, saved(single).learner)


def test_one_whose_first_episode_cannot_begin(tmp_path: Path) -> None:
    count = itertools.count()

    class Unready(Tiny):
        def reset(self, **options: Any) -> Any:
            raise RuntimeError("not ready")

    with pytest.raises(SomeFailedError, match=r"seed 3: .*not ready") as e:
        together(tmp_path, "ddpg", lambda: Tiny() if next(count) else Unready())
    assert [len(run.metrics) for run in e.value.runs] == [0, 2, 2]


def test_all_fail(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="3 of 3 runs failed"):
        together(tmp_path, "ddpg", lambda: Tiny(nan_at=12))


def test_each_stops_at_its_own_return(tmp_path: Path) -> None:
    returns = [run.metrics[0]["eval/return"] for run in together(tmp_path)]
    wanted = sorted(returns)[1]
    runs = together(tmp_path, stop_at_return=wanted)
    assert [len(run.metrics) for run in runs] == [1 if result >= wanted else 2 for result in returns]


class Signalled(Tiny):
    """Sends its process signals in its step 25."""

    numbers: tuple[int, ...] = ()

    def step(self, action: Any) -> Any:
        result = super().step(action)
        if self.taken == 25:
            for number in self.numbers:
                signal.raise_signal(number)
        return result


def signalled(*numbers: int) -> Callable[[], Tiny]:
    """As `broken_for` the run of seed 0, the second: it sends these."""
    count = itertools.count()

    def make() -> Tiny:
        made = Signalled()
        made.numbers = numbers if next(count) == 2 else ()
        return made

    return make


@pytest.mark.parametrize("lag", [0, 1])
def test_ctrl_c_saves_all_and_each_goes_on_alone(lag: int, tmp_path: Path) -> None:
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        together(tmp_path, "td3", signalled(signal.SIGINT), lag=lag)
    assert caught.value.signal_number == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) == usual
    runs = _runs(tmp_path)
    assert sorted(runs) == sorted(SEEDS)
    for seed, run in runs.items():
        assert 24 <= saved(run).manifest.step <= 28
        assert_same(polyak.resume(run.folder, environment=Tiny), alone(tmp_path, seed, "td3", Tiny, lag=lag))


def _runs(folder: Path) -> dict[int, Run]:
    runs = [polyak.load(path.parent) for path in folder.rglob("settings.json")]
    return {run.settings["seed"]: run for run in runs}


def test_a_second_ctrl_c_ends_all_at_once_with_what_was_saved_before(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        together(tmp_path, "ddpg", signalled(signal.SIGINT, signal.SIGINT))
    assert not isinstance(caught.value, Interrupted)
    for run in _runs(tmp_path).values():
        assert saved(run).manifest.step == 20
        assert run.metrics[-1]["step"] > 20  # what was measured since


@pytest.mark.usefixtures("stacked")
def test_a_run_of_a_stack_that_goes_on_alone_says_so_once(tmp_path: Path) -> None:
    (run, *_) = together(tmp_path, "ddpg", update_after=1_000)
    resumed = polyak.resume(run.folder, steps=45)
    assert resumed.settings["resumed"][0]["changed"] == ["together with 2 other runs is alone now"]
    assert polyak.resume(run.folder, steps=50).settings["resumed"][1]["changed"] == []


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "at least one seed"),
        ({"seeds": (1, 1)}, "each once"),
        ({"backend": "torch"}, "runs learn together in jax alone"),
        ({"learning": 1}, "no setting 'learning'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        together(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_replays_that_do_not_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyak.run.start.memory_free", lambda: 3_000)
    with pytest.raises(
        UsageError, match=r"3 runs together will need 4.3 kB for replay, but 3.0 kB are free: train fewer"
    ):
        together(tmp_path)  # 3 x 40 x 7 x 4 bytes


# The command


def trained(folder: Path, environment: str = TINY, *more: str) -> tuple[int, Sequence[str], str]:
    asked = ("--seeds", "0-2", "--together", "--run-dir", str(folder))
    code, output, errors = call_cli("train", "ddpg", environment, *OPTIONS, *asked, *more)
    return code, output.splitlines(), errors


def test_the_command_prints_folders_and_the_report(tmp_path: Path) -> None:
    code, lines, errors = trained(tmp_path)
    assert code == 0, errors
    assert [polyak.load(line).settings["seed"] for line in lines[:-1]] == [0, 1, 2]
    assert re.fullmatch(r"compare-\d{8}-\d{6}\.html", Path(lines[-1]).name)
    assert "seed 1  step        20/40  eval return" in errors
    assert "seed 2  done after 40 steps" in errors
    assert "3 of 3 runs done" in errors
    (said,) = re.findall(r"as by `polyak (.*) --seed N`, bit for bit", errors)
    code, single, _ = call_cli(*said.split(), "--seed", "1", "--run-dir", str(tmp_path / "alone"))
    assert code == 0
    assert_same(polyak.load(lines[1]), polyak.load(single.strip()))


def test_the_command_says_what_failed_and_how_to_go_on(tmp_path: Path) -> None:
    code, lines, errors = trained(tmp_path, "tiny_cli:Raises-v0")
    assert code == 1
    assert len(lines) == 4
    assert "seed 0  failed after 24 steps: the environment raised RuntimeError" in errors
    assert "  | RuntimeError: the simulator broke" in errors
    assert "0 of 3 runs done" in errors
    assert all(f"polyak resume {folder}\n" in errors for folder in lines[:-1])


def test_the_command_after_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Tiny.step

    def signalling(self: Tiny, action: Any) -> Any:
        if self.taken == 27:
            signal.raise_signal(signal.SIGINT)
        return step(self, action)

    monkeypatch.setattr(Tiny, "step", signalling)
    code, lines, errors = trained(tmp_path)
    assert code == 130
    assert "seed 0  interrupted after 28 steps" in errors
    assert "0 of 3 runs done" in errors
    assert all(f"polyak resume {folder}\n" in errors for folder in lines[:-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--together",), "say which seeds"),
        (("--together", "--seeds", "0-1", "--seed", "1"), "--seed and --seeds are both given"),
        (("--together", "--seeds", "0-1", "--jobs", "2"), "--together and --jobs 2 are both given"),
        (("--together", "--seeds", "0-1", "--backend", "tensorflow"), "in jax alone"),
    ],
)
def test_the_command_refuses(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    code, output, errors = call_cli("train", "sac", TINY, *arguments, "--run-dir", str(tmp_path))
    assert (code, output) == (2, "")
    assert message in errors
    assert not list(tmp_path.iterdir())


def test_the_command_knows_the_memory_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "memory_free", lambda: 3_000)
    code, _, errors = trained(Path("/dev/null/nowhere"))
    assert code == 2
    assert "3 runs together will need 4.3 kB for replay, but 3.0 kB are free: name fewer seeds" in errors
