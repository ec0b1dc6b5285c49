"""Exploration noise that is held, and its spread: the law, the clocks, what an episode's end does, and the state."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import polyak
from polyak.environments.make import Environments, make_environments
from polyak.experience.collector import Collector
from polyak.experience.exploration import Exploration, Manner, chances
from polyak.policies.policy import Policy
from polyak.system.randomness import stream
from polyak.types import Spec
from tiny import Numbers, Shown, constant_policy, make_policy
from tiny_cli import TINY, untrained_run

ALL = np.ones(3, np.bool_)


def held(longest: int = 16, shape: tuple[int, int] = (3, 2), seed: int = 0, **manner: Any) -> Exploration:
    return Exploration(stream(seed, "exploration"), shape, Manner(hold=longest, **manner))


def made_by(exploration: Exploration, steps: int) -> Any:
    """[steps, N, A]"""
    exploration.begin()
    noise: list[Any] = []
    for _ in range(steps):
        noise.append(exploration.noise)
        exploration.go_on(np.ones(len(exploration.noise), np.bool_))
    return np.stack(noise)


# Held noise


def test_the_chances_are_those_of_the_paper() -> None:
    assert chances(16).sum() == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(chances(16)[:3], [0.6312, 0.1578, 0.0701], atol=5e-5)
    assert (np.arange(1, 17) * chances(16)).sum() == pytest.approx(2.13, abs=5e-3)
    assert chances(1).tolist() == [1.0]


def test_noise_is_held_as_often_as_the_law_says_and_is_standard_normal() -> None:
    noise = made_by(held(8, (200, 1)), 400)[..., 0]
    changed = np.flatnonzero((noise[1:] != noise[:-1]).T.ravel())
    lengths = Counter[int]()
    for row in noise.T:
        ends = np.flatnonzero(np.diff(row)) + 1
        lengths.update(np.diff(ends).tolist())  # those that are whole: neither the first nor the last
    assert len(changed) > sum(lengths.values()) > 20_000
    assert max(lengths) == 8
    found = np.array([lengths[length] for length in range(1, 9)]) / sum(lengths.values())
    np.testing.assert_allclose(found, chances(8), atol=0.012)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 1.0) < 0.03


def test_each_environment_has_a_clock_of_its_own() -> None:
    noise = made_by(held(shape=(2, 2)), 300)
    changed = (noise[1:] != noise[:-1]).any(axis=-1)
    assert (changed[:, 0] != changed[:, 1]).any()
    assert ((noise[1:] != noise[:-1]).all(axis=-1) == changed).all()  # all numbers of an action change together


def test_with_streams_of_their_own_it_matters_not_who_is_beside() -> None:
    streams = [stream(0, f"exploration/{index}") for index in range(3)]
    together = made_by(Exploration(streams, (3, 2), Manner(hold=5, spread=(0.1, 0.4))), 40)
    alone = made_by(Exploration([stream(0, "exploration/2")], (1, 2), Manner(hold=5, spread=(0.1, 0.4))), 40)
    np.testing.assert_array_equal(together[:, 2], alone[:, 0])


def test_the_clock_goes_on_over_the_ends_of_episodes() -> None:
    straight, broken = held(), held()
    straight.begin()
    broken.begin()
    for _ in range(50):
        np.testing.assert_array_equal(straight.noise, broken.noise)
        straight.go_on(ALL)
        broken.go_on(ALL)
        broken.episode_ended(1)


def test_a_step_that_is_only_a_reset_uses_nothing_up() -> None:
    noise = held(shape=(1, 2))
    noise.begin()
    for _ in range(40):
        before, state = noise.noise, noise.state()[0]
        noise.go_on(np.zeros(1, np.bool_))
        np.testing.assert_array_equal(noise.noise, before)
        assert noise.state()[0] == state
        noise.go_on(np.ones(1, np.bool_))


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
def test_a_policy_explores_with_what_is_held(mode: AutoresetMode) -> None:
    """Where episodes of two steps end, too; the transitions tell, of which a reset is none."""
    environments = make_environments(Shown, 1, Numbers, max_episode_steps=2, autoreset=mode)
    policy = noisy(environments.spec, 0.1)
    collector = collector_of(environments, Manner(hold=16))
    actions = np.concatenate([collector.step(policy).action for _ in range(90)])
    expected = made_by(held(shape=(1, 2), seed=3), len(actions))[:, 0]
    np.testing.assert_array_equal(actions, np.clip(np.float32(0.1) * expected, -1, 1))
    assert len(actions) == (90 if mode is AutoresetMode.DISABLED else 60)


# The spread


def collector_of(environments: Environments, manner: Manner) -> Collector:
    made = Collector(environments, stream(3, "warm-up"), stream(3, "exploration"), manner)
    made.begin()
    return made


def noisy(spec: Spec, noise: float) -> Policy:
    quiet = constant_policy(spec, [0.0] * spec.action_size)
    return Policy(quiet.parameters, quiet.spec, quiet.kind, exploration_noise=noise)


def test_each_environment_has_a_deviation_that_lasts_an_episode() -> None:
    low, high = 0.05, 0.15
    environments = make_environments(Shown, 4, Numbers, max_episode_steps=5)
    policy, collector = noisy(environments.spec, 0.7), collector_of(environments, Manner(spread=(low, high)))
    spreads: list[Any] = []
    for _ in range(50):
        spread = collector._exploration.spread
        assert spread is not None
        noise = collector._exploration.noise.copy()
        action = collector.step(policy).action
        np.testing.assert_array_equal(action, np.clip(spread * noise, -1, 1))  # and not 0.7 of it
        spreads.append(spread[:, 0])
    found = np.stack(spreads).reshape(10, 5, 4)
    assert (found == found[:, :1]).all()
    assert len(np.unique(found)) == 40
    assert ((low <= found) & (found <= high)).all()
    assert found.max() - found.min() > 0.8 * (high - low)


def test_a_squashed_gaussians_deviation_is_multiplied() -> None:
    spec = make_environments(Shown, 2, Numbers).spec
    policy, observation = make_policy(spec, "squashed_gaussian"), np.ones((2, 3), np.float32)
    noise = stream(0, "noise").standard_normal((2, 2), np.float32)
    one, two = np.float32([[1.0], [1.0]]), np.float32([[0.0], [2.0]])
    np.testing.assert_array_equal(policy.explore(observation, noise, one), policy.explore(observation, noise))
    spread = policy.explore(observation, noise, two)
    np.testing.assert_array_equal(spread[0], policy.mean(observation)[0])
    np.testing.assert_array_equal(spread[1], policy.explore(observation, 2 * noise)[1])


def test_equal_ends_are_one_deviation() -> None:
    exploration = held(1, spread=(0.3, 0.3))
    exploration.begin()
    assert exploration.spread is not None
    assert (exploration.spread == np.float32(0.3)).all()


# The state


@pytest.mark.parametrize("manner", [Manner(), Manner(0.5), Manner(hold=9), Manner(0.5, spread=(0.1, 0.2))], ids=str)
def test_what_goes_on_from_a_state_is_the_same(manner: Manner) -> None:
    one = Exploration(stream(0, "exploration"), (3, 2), manner)
    one.begin()
    for _ in range(7):
        one.go_on(ALL)
    counts, arrays = one.state()
    kept = counts, {name: value.copy() for name, value in arrays.items()}
    other = Exploration(stream(1, "exploration"), (3, 2), manner)
    other.restore(*kept)
    for _ in range(30):
        np.testing.assert_array_equal(one.noise, other.noise)
        np.testing.assert_array_equal(one.spread, other.spread)
        for each in (one, other):
            each.go_on(ALL)
            each.episode_ended(2)
    assert ("exploration_clock" in counts) == (manner.hold > 1)  # what is not used leaves no trace
    assert ("exploration_spread" in counts) == (manner.spread is not None)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("exploration_clock", [1, 2], "held for"),
        ("exploration_clock", [0, 1, 2], "held for"),
        ("exploration_clock", [1, 10, 2], "held for"),
        ("exploration_clock", [1, True, 2], "held for"),
        ("exploration_clock", [1, 2.0, 2], "held for"),
        ("exploration_spread", [0.1, 0.2], "beyond 0.1"),
        ("exploration_spread", [0.1, 0.2, 0.5], "beyond 0.1"),
        ("exploration_spread", [0.2, 0.2, float("nan")], "beyond 0.1"),
    ],
)
def test_a_state_that_cannot_be_is_refused(name: str, value: Any, told: str) -> None:
    exploration = held(9, spread=(0.1, 0.4))
    exploration.begin()
    counts, arrays = exploration.state()
    with pytest.raises(ValueError, match=told):
        exploration.restore(counts | {name: value}, arrays)
    del counts[name]
    with pytest.raises(KeyError):
        exploration.restore(counts, arrays)


# At the door


def test_noise_is_held_or_correlated_and_not_both() -> None:
    told = "exploration_hold is 4, but must be 1 where exploration_correlation is 0.5: to hold noise, set that to 0"
    with pytest.raises(polyak.UsageError, match=told):
        polyak.train("sac", TINY, exploration_hold=4, exploration_correlation=0.5)


def test_a_run_keeps_its_clocks_and_spreads_where_it_has_some(tmp_path: Any) -> None:
    run = untrained_run(tmp_path, exploration_correlation=0.0, exploration_hold=16, exploration_spread=(0.001, 0.4))
    assert run.settings["settings"]["exploration_spread"] == [0.001, 0.4]
    state = run.checkpoints  # the newest checkpoint has both
    newest = max(state.glob("checkpoint-*.json")).read_text()
    assert '"exploration_clock"' in newest
    assert '"exploration_spread"' in newest
    again = polyak.resume(run, steps=60)
    assert again.settings["settings"]["exploration_hold"] == 16
