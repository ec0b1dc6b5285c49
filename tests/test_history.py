"""Environments that know more than their seed: told by the probe, kept apart, and resumed all the same."""

import random
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import polyak
from polyak import UsageError
from polyak.environments.history import SHARED, Isolation, generators_kept
from polyak.environments.make import make_environment, make_environments
from polyak.environments.probe import SECONDS, STEPS, Found, probe
from polyak.run import worlds
from polyak.system.randomness import Streams
from polyak.system.signals import NoAnswer
from remembering import (
    Counting,
    FirstDiffers,
    FromBoth,
    FromNumpy,
    FromPython,
    Numbered,
    SeedsItself,
    Unseeded,
)
from test_resume import Told
from tiny_cli import SMALL, Tiny, untrained_run
from whole_runs import assert_same, snapshots, without_times

SHORT: dict[str, Any] = {"steps": 30, "steps_per_epoch": 12, "backend": "torch"}
PRESETS = sorted(
    name
    for path in (Path(polyak.__file__).parent / "settings" / "presets").glob("*.toml")
    for name in tomllib.loads(path.read_text()).get("environments", [])
)


def tried(environment: Any, *, afresh: bool = False, **options: Any) -> Found:
    return probe(
        lambda isolation: make_environment(environment, isolation=isolation),
        afresh=afresh,
        **{"limit": nullcontext, **options},
    )


@pytest.fixture(autouse=True)
def generators_as_they_were() -> Iterator[None]:
    """Nothing here may move what the process shares, half a pair of normal numbers included."""
    np.random.seed(3)  # noqa: NPY002 - what is looked after
    np.random.randn()  # noqa: NPY002
    random.seed(3)
    before = shared()
    yield
    assert shared() == before


def shared() -> Any:
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    return state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"], state["gauss"], random.getstate()


# The probe


@pytest.mark.parametrize(
    ("environment", "draws", "told", "afresh"),
    [
        (Tiny, (), "", ""),
        (Counting, (), r"depends on those before it \(from step 2 on\).* not be exact: --fresh-environments", ""),
        (FirstDiffers, (), "first episode is another than later ones .*--fresh-environments", ""),
        (Numbered, (), "two instances give different episodes for one seed, from step 2", "two instances"),
        (Unseeded, (), "two instances give different episodes", "two instances"),
        (FromNumpy, ("np.random",), "draws from np.random instead of its own generator", "draws from np.random"),
        (SeedsItself, ("np.random",), "draws from np.random instead", "draws from np.random"),
        (FromPython, ("random",), "draws from random instead", "draws from random"),
        (FromBoth, SHARED, "draws from np.random and random instead", "draws from np.random and random"),
    ],
)
def test_what_an_episode_depends_on_is_said(environment: Any, draws: tuple[str, ...], told: str, afresh: str) -> None:
    import re

    for fresh, expected in ((False, told), (True, afresh)):
        found = tried(environment, afresh=fresh)
        assert found.draws == draws
        assert bool(found.said) == bool(expected)
        assert re.search(expected, found.said)
        assert "not be exact" not in found.said or "draws" not in found.said  # with its own state it is


def test_there_are_environments_with_presets() -> None:
    """Else the next test would be none, and be skipped."""
    assert len(PRESETS) > 5


@pytest.mark.parametrize("environment", PRESETS)
def test_every_environment_with_a_preset_plays_the_same_again(environment: str) -> None:
    name = environment if environment in gymnasium.registry else f"gymnasium_robotics:{environment}"
    made = make_environments(name, 1, Streams(0).environment)
    made.close()
    assert tried(name, afresh=environment == "BipedalWalker-v3") == Found()


def test_an_environment_that_remembers_shows_that_it_does() -> None:
    """Else the test above would hold whatever a probe plays."""
    assert "depends on those before it" in tried("BipedalWalker-v3").said


def test_a_probe_is_short_and_closes_what_it_makes() -> None:
    made: list[Tiny] = []

    def make(isolation: Isolation) -> Tiny:
        made.append(Tiny(length=10 * STEPS))
        return made[-1]

    assert probe(make, afresh=False, limit=nullcontext) == Found()
    assert [environment.taken for environment in made] == [5 * STEPS, STEPS]
    assert all(environment.closed for environment in made)


def test_the_clock_ends_a_probe_and_moves_no_number() -> None:
    """What an environment draws from is then not known; to keep it apart from what it does not draw from is nothing."""
    for late in (1, 3, 30):
        times = iter([0.0] * late + [2 * SECONDS] * 1000)
        found = tried(FromNumpy, clock=lambda times=times: next(times))
        assert found.draws == SHARED
        assert "cut short" in found.said
        assert "is not known" in found.said


def test_what_goes_wrong_in_a_probe_is_said_and_nothing_else() -> None:
    @contextmanager
    def no_answer() -> Iterator[None]:
        raise NoAnswer
        yield

    assert (
        "left out, because another instance raised RuntimeError (the simulator broke)"
        in tried(lambda: Tiny(raises_at=3)).said
    )
    assert "did not answer within the time limit" in tried(Tiny, limit=no_answer).said


# Kept apart


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("name", "isolation"),
    [
        ("Counting", Isolation(afresh=True)),
        ("FirstDiffers", Isolation(afresh=True)),
        ("FromNumpy", Isolation(draws=("np.random",))),
        ("FromBoth", Isolation(draws=SHARED)),
        ("FromBoth", Isolation(afresh=True, draws=SHARED)),
    ],
)
def test_an_episode_follows_from_its_seed(name: str, isolation: Isolation, vectorization: Any) -> None:
    made = make_environments(
        f"remembering:{name}-v0", 2, Streams(0).environment, vectorization=vectorization, isolation=isolation
    )
    try:
        shown: list[Any] = []
        for _ in range(3):
            made.start([5, 6])
            shown.append(np.stack([made.advance(np.ones((2, 1), np.float32)).observation for _ in range(4)]))
            made.start([7, 8])
            made.advance(np.ones((2, 1), np.float32))
    finally:
        made.close()
    assert (shown[0] == shown[1]).all()
    assert (shown[0] == shown[2]).all()
    assert (shown[0][:, 0] != shown[0][:, 1]).any()


# Resumed


def test_an_instance_whose_first_episode_differs_is_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing has been seen yet of an episode that is not the first: after 10 steps."""
    taken = snapshots(monkeypatch, tmp_path / "taken", 3, 11, 12, 13).taken
    whole = untrained_run(tmp_path / "whole", FirstDiffers, checkpoint_every=1, **SHORT)
    for folder in list(taken.values()):
        run = polyak.resume(folder, environment=FirstDiffers)
        assert_same(run, whole)
        assert run.settings["resumed"][0]["given_up"] == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Counting", {"fresh_environments": True}),
        ("Counting", {"fresh_environments": True, "envs": 2, "vectorization": "async"}),
        ("FirstDiffers", {"envs": 3}),
        ("FirstDiffers", {"evaluate_in": "training"}),
        ("FirstDiffers", {"evaluate_in": "process"}),
        ("FromNumpy", {}),
        ("FromPython", {"envs": 3}),
        ("FromBoth", {"envs": 2, "vectorization": "async"}),
        ("FromBoth", {"fresh_environments": True}),
        ("SeedsItself", {}),
    ],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = (14, 29) if options.get("envs", 1) == 1 else (7, 11)
    environment = f"remembering:{name}-v0"
    taken = snapshots(monkeypatch, tmp_path / "taken", *at).taken
    whole = untrained_run(tmp_path / "whole", environment, checkpoint_every=3, **SHORT, **options)
    again = untrained_run(tmp_path / "again", environment, checkpoint_every=3, **SHORT, **options)
    assert_same(again, whole)
    for folder in list(taken.values()):
        run = polyak.resume(folder)
        assert_same(run, whole)
        assert run.settings["resumed"][0]["given_up"] == 0
        assert run.settings["own_draws"] == whole.settings["own_draws"]


def test_an_environment_that_remembers_is_given_up_with_the_flag_that_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that flag helps from then on."""
    taken = snapshots(monkeypatch, tmp_path / "taken", 14).taken
    told = Told()
    untrained_run(tmp_path / "whole", Counting, checkpoint_every=1, **SHORT, observer=told)
    assert "--fresh-environments" in told.facts["probe"]
    run = polyak.resume(taken[14], environment=Counting, observer=told, fresh_environments=True)
    assert "--fresh" not in told.facts["given up"]
    assert told.facts["not exact"].startswith("fresh_environments False is True now")
    assert run.settings["fresh_environments"] is True
    polyak.resume(run.folder, environment=Counting, observer=told, steps=31)
    assert "given up" not in told.facts


def test_a_remembering_environment_that_has_a_preset_is_made_afresh(tmp_path: Path) -> None:
    whole = untrained_run(tmp_path, "BipedalWalker-v3", steps=300, steps_per_epoch=150, backend="torch")
    short = untrained_run(tmp_path, "BipedalWalker-v3", steps=150, steps_per_epoch=150, backend="torch")
    assert_same(polyak.resume(short.folder, steps=300), whole)
    assert whole.settings["own_draws"] == []


# Asked for, or not


def test_what_is_said_of_a_probe_that_is_left_out(tmp_path: Path) -> None:
    def vector() -> Any:
        return SyncVectorEnv([Tiny], autoreset_mode=AutoresetMode.DISABLED)

    told = Told()
    for options, said, draws in (
        ({"probe": False}, None, []),
        ({"environment": vector}, "left out: a VectorEnv", []),
        ({"evaluate_in": "never"}, "left out, because evaluate_in is never", list(SHARED)),
    ):
        run = untrained_run(tmp_path, **{"environment": FromNumpy, **SHORT, "observer": told, **options})
        assert told.facts.get("probe", "None").startswith(str(said))
        assert run.settings["own_draws"] == draws
    np.random.seed(3)  # noqa: NPY002 - moved by the first of these runs, which did not want to be kept from it
    np.random.randn()  # noqa: NPY002


def test_where_nobody_watches_what_is_found_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"FromNumpy: it draws from np\.random instead of its own generator") as warned:
        untrained_run(tmp_path, FromNumpy)
    assert len(warned) == 1
    untrained_run(tmp_path, Tiny)  # of one that is right, nothing is said


def test_whether_an_environment_was_tried_is_nothing_to_one_that_is_right(tmp_path: Path) -> None:
    """Neither that, nor what is kept for it in vain, nor an instance for each episode moves a number."""
    usual = untrained_run(tmp_path, **SHORT)
    for options in ({"probe": False}, {"fresh_environments": True}, {"evaluate_in": "process"}):
        run = untrained_run(tmp_path, **SHORT, **options)
        assert run.policy_file.read_bytes() == usual.policy_file.read_bytes()
        assert [*map(without_times, run.metrics)] == [*map(without_times, usual.metrics)]


def test_fresh_environments_are_for_single_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fresh_environments.* VectorEnv makes its own"):
        untrained_run(tmp_path, lambda: SyncVectorEnv([Tiny]), fresh_environments=True, **SHORT)
    with pytest.raises(UsageError, match=r"fresh_environments is for single environments.*choose sync or async"):
        untrained_run(tmp_path, fresh_environments=True, vectorization="envpool", **SHORT)


def test_runs_together_are_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Any] = []
    monkeypatch.setattr(worlds, "probe", lambda make, **options: tries.append(make) or probe(make, **options))
    small = {name: value for name, value in SMALL.items() if name != "update_after"}
    told = [Told(), Told()]
    together = polyak.train_together(
        "ddpg", FromNumpy, seeds=[0, 1], run_dir=tmp_path, observers=told, **small, update_after=1_000
    )
    assert len(tries) == 1
    assert [run.settings["own_draws"] for run in together] == [["np.random"]] * 2
    assert told[0].facts["probe"] == told[1].facts["probe"]


def test_evaluation_keeps_apart_what_training_did(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, FromBoth, fresh_environments=True, **SHORT)
    with generators_kept():  # what reads and draws pictures looks at random when it is imported
        import polyak.policies.recording  # noqa: F401
    once, twice = (run.evaluate(3, environment=FromBoth).returns for _ in range(2))
    assert once == twice
