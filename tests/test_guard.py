"""What environments return: taken as it is, or refused by name at the first step, however they are stepped."""

import functools
import itertools
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import polyak
from polyak.environments.make import Environments, make_environments
from polyak.environments.readers import reader_of
from polyak.environments.values import Unfit
from polyak.errors import TrainingError, UsageError
from tiny import Diary, Numbers, Shown
from tiny_cli import SMALL, Tiny

ACTION = np.zeros((1, 1), np.float32)


class Saying(Tiny):
    """Says in `changed` what its step returns, and in `begun` what its reset does."""

    changed: Callable[..., Any] = staticmethod(lambda *answer: answer)
    begun: Callable[..., Any] = staticmethod(lambda *answer: answer)

    def reset(self, **options: Any) -> Any:
        return self.begun(*super().reset(**options))

    def step(self, action: Any) -> Any:
        return self.changed(*super().step(action))


def saying(changed: Callable[..., Any] | None = None, begun: Callable[..., Any] | None = None) -> type[Saying]:
    given = {"changed": changed, "begun": begun}
    return type("Saying", (Saying,), {name: staticmethod(what) for name, what in given.items() if what is not None})


def observing(space: Any, value: Any) -> Callable[[], gymnasium.Env[Any, Any]]:
    """Makes an environment that observes this value of this space from its first step on."""

    class Observing(Shown):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return value, 1.0, False, False, {}

    return lambda: Observing(space)


def made(environment: Any, count: int = 1, **options: Any) -> Environments:
    environments = make_environments(environment, count, Numbers, **options)
    environments.reset()
    return environments


def stepped(environment: Any, count: int = 1) -> Any:
    environments = made(environment, count)
    return environments.step(np.zeros((count, environments.spec.action_size), np.float32))


# Rewards, flags and info


@pytest.mark.parametrize(
    "reward",
    [-1, np.float16(-1), np.int8(-1), np.array(-1.0), np.array([-1.0], np.float32), [-1], Fraction(-1), Decimal(-1)],
    ids=repr,
)
def test_a_number_is_a_reward(reward: Any) -> None:
    assert stepped(saying(lambda o, r, te, tr, i: (o, reward, te, tr, i))).reward.tolist() == [-1.0]


@pytest.mark.parametrize("flag", [True, np.True_, 1, 1.0, np.array(True), np.array([1]), [True]], ids=repr)
def test_a_number_is_a_flag(flag: Any) -> None:
    step = stepped(saying(lambda o, r, te, tr, i: (o, r, flag, flag, i)))
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([True], [True])


@pytest.mark.parametrize("info", [None, {"x": 2**70}, {"_x": 1, "x": np.zeros(3)}, "text", {"final_obs": 1}], ids=repr)
@pytest.mark.parametrize("envs", [1, 2])
def test_nothing_in_an_info_matters(info: Any, envs: int) -> None:
    place = itertools.count()
    other = ["text", 1, {"x": np.zeros(2)}, np.zeros(3)]

    def told() -> Any:
        return info if next(place) % 2 else {"x": other[next(place) % 4]}

    environments = made(saying(lambda *a: (*a[:4], told()), lambda o, _: (o, told())), envs)
    for _ in range(8):
        environments.step(np.zeros((envs, 1), np.float32))
    assert environments.steps == 8 * envs


WRONG = {
    "a reward of two": (lambda o, r, te, tr, i: (o, np.array([r, r]), te, tr, i), r"reward: .*\(2,\).*is a number"),
    "a reward of text": (lambda o, r, te, tr, i: (o, "1.0", te, tr, i), "reward: str '1.0'; right is a number"),
    "no reward": (lambda o, r, te, tr, i: (o, None, te, tr, i), "reward: NoneType None; right is a number"),
    "a complex reward": (lambda o, r, te, tr, i: (o, 1j, te, tr, i), "reward: complex 1j; right is a number"),
    "a dict as reward": (lambda o, r, te, tr, i: (o, {"a": 1.0}, te, tr, i), "reward: dict .*; right is a number"),
    "two flags": (lambda o, r, te, tr, i: (o, r, np.array([te, te]), tr, i), r"terminated: .*\(2,\).*True or False"),
    "a flag of text": (lambda o, r, te, tr, i: (o, r, te, "False", i), "truncated: str 'False'; .*True or False"),
    "no flag": (lambda o, r, te, tr, i: (o, r, te, None, i), "truncated: NoneType None; right is True or False"),
    "not a flag": (lambda o, r, te, tr, i: (o, r, float("nan"), tr, i), "terminated: float nan; right is True or"),
    "four values": (lambda o, r, te, tr, i: (o, r, te or tr, i), "from step 4 values, .*the old Gym interface"),
    "six values": (lambda *a: (*a, 1), "from step 6 values"),
    "the observation alone": (lambda o, *_: o, "from step a ndarray"),
    "a longer observation": (lambda o, *a: (np.zeros(3), *a), r"observation: .*\(3,\).*float64; right .*\(2,\)"),
    "a row": (lambda o, *a: (o[None], *a), r"observation: ndarray of shape \(1, 2\)"),
    "a number": (lambda o, *a: (1.0, *a), "observation: float 1.0; right is an array of numbers of shape"),
    "no observation": (lambda o, *a: (None, *a), "observation: NoneType None"),
    "a dict": (lambda o, *a: ({"a": o}, *a), "observation: dict"),
    "ragged": (lambda o, *a: ([[1], [1, 2]], *a), "observation: list"),
    "text": (lambda o, *a: (["a", "b"], *a), "observation: list"),
    "objects": (
        lambda o, *a: (o.astype(object), *a),
        "observation: ndarray of shape .*object; right is an array of num",
    ),
    "masked": (lambda o, *a: (np.ma.masked_less(o, 9.0), *a), "observation: MaskedArray of shape"),
    "several lines": (lambda o, *a: ({"a": np.zeros((9, 9))}, *a), "observation: dict {'a': array.*; right"),
    "complex numbers": (lambda o, *a: (o + 1j, *a), "observation: ndarray of shape .* and type complex"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("envs", [1, 2])
def test_what_a_step_returns_wrongly_is_named(wrong: str, envs: int) -> None:
    changed, told = WRONG[wrong]
    environments = made(saying(changed), envs)
    with pytest.raises(TrainingError, match=f"environment 0 returned .*{told}.*after 0 environment steps"):
        environments.step(np.zeros((envs, 1), np.float32))


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (lambda o, _: o, r"from reset a ndarray, but \(observation, info\) is right \(the old Gym interface"),
        (lambda o, _: (o, {}, {}), "from reset 3 values"),
        (lambda o, _: (np.zeros(3), {}), r"a wrong observation: ndarray of shape \(3,\)"),
    ],
)
def test_what_a_reset_returns_wrongly_is_named(begun: Any, told: str) -> None:
    with pytest.raises(TrainingError, match=f"environment 0 returned {told}"):
        made(saying(begun=begun))


class Old(Tiny):
    """As environments were before Gymnasium."""

    def reset(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().reset()[0]

    def step(self, action: Any) -> Any:
        observation, reward, *_ = super().step(action)
        return observation, reward, False, {}


class OldStep(Old):
    def reset(self, **options: Any) -> Any:
        return Tiny.reset(self, **options)


@pytest.mark.parametrize("environment", [Old, OldStep])
@pytest.mark.parametrize(
    "wrapped",
    [None, RecordEpisodeStatistics, lambda each: TransformReward(each, float)],
    ids=["bare", "seen", "changed"],
)
@pytest.mark.parametrize("limit", [None, 7])
def test_the_old_interface_is_named_also_below_wrappers(environment: Any, wrapped: Any, limit: int | None) -> None:
    make = environment if wrapped is None else lambda: wrapped(environment())
    with pytest.raises(TrainingError, match=r"environment 0 returned from (step|reset) .*the old Gym interface"):
        made(make, max_episode_steps=limit).step(ACTION)


def test_a_fault_of_its_own_is_not_taken_for_the_old_interface() -> None:
    def own(*answer: Any) -> Any:
        one, two = answer
        return one, two

    with pytest.raises(TrainingError, match=r"the environment raised ValueError after 0 .*too many values to unpack"):
        stepped(saying(own))


def test_a_tensor_that_needs_gradients_is_named_and_another_is_taken() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([0.5, 2.0])
    assert stepped(saying(lambda o, r, *a: (tensor, tensor[0], *a))).next_observation.tolist() == [[0.5, 2.0]]
    held = tensor.requires_grad_()
    for changed, what in (
        (lambda o, *a: (held, *a), "observation"),
        (lambda o, r, *a: (o, held.sum(), *a), "reward"),
    ):
        with pytest.raises(TrainingError, match=f"a wrong {what}: Tensor of shape .*needs gradients.*detach"):
            stepped(saying(changed))


class Awry(Tiny):
    """Returns wrongly, each time something else; at module level, because workers import it."""

    wrong = ("a reward of two", "four values", "a longer observation")

    def reset(self, **options: Any) -> Any:
        return super().reset(**options)[0], {"x": np.zeros(self.taken), "y": "text" if self.taken % 2 else 1}

    def step(self, action: Any) -> Any:
        return WRONG[self.wrong[int(action[0])]][0](*super().step(action))


@pytest.mark.parametrize("which", range(3))
def test_workers_check_as_well(which: int) -> None:
    environments = made(Awry, 1, vectorization="async")
    try:
        with pytest.raises(TrainingError, match=f"environment 0 returned .*{WRONG[Awry.wrong[which]][1]}"):
            environments.step(np.full((1, 1), (which - 1) / 2, np.float32))  # which it gets as `which`
    finally:
        environments.close()


def test_every_number_of_a_run_is_one_that_was_returned(tmp_path: Any) -> None:
    """A run with a fault keeps a checkpoint and names the step."""
    environment = saying(lambda o, r, te, tr, i: (o if o[1] < 3 else o[:1], r, te, tr, i))
    with pytest.raises(TrainingError, match=r"a wrong observation: .*\(1,\).*, after 2 environment steps"):
        polyak.train("ddpg", environment, run_dir=tmp_path, backend="torch", **SMALL)
    assert len(list(tmp_path.rglob("checkpoint-*.json"))) >= 1


# Observations and what their space can hold

MIXED = spaces.Dict(
    speed=spaces.Box(-1.0, 1.0, (2,)), gear=spaces.Discrete(3), arms=spaces.Tuple([spaces.MultiBinary(2)])
)
HELD = [
    (spaces.Box(0, 1, (3, 1), np.int64), [[1.0], [0.0], [7.0]], [1, 0, 7]),
    (spaces.Box(-100, 100, (2,), np.int8), np.array([-128, 127]), [-128, 127]),
    (spaces.Box(0, 255, (2,), np.uint8), [True, 255], [1, 255]),
    (spaces.Box(-1.0, 1.0, (2,), np.float16), np.array([70000.0, -9.0]), [70000, -9]),
    (spaces.Box(-1.0, 1.0, (2,), np.float64), [5, -3], [5, -3]),
    (spaces.Box(-1.0, 1.0, ()), 0.5, [0.5]),
    (spaces.Box(-1.0, 1.0, ()), [0.5], [0.5]),
    (spaces.MultiBinary([2, 2]), [[1, 0], [True, 0.0]], [1, 0, 1, 0]),
    (spaces.Discrete(3, start=-1), np.array([1]), [0, 0, 1]),
    (spaces.Discrete(3), 1.0, [0, 1, 0]),
    (spaces.MultiDiscrete([2, 3], start=[5, 0]), (6, 2), [0, 1, 0, 0, 1]),
    (MIXED, {"speed": [1, 2], "gear": 2, "arms": ([1, 0],), "more": 1}, [1, 2, 0, 0, 1, 1, 0]),
]
NOT_HELD = [
    (spaces.Box(0, 1, (3, 1), int), [[0.3], [0.0], [1.0]], "0.3 at place 0; .*int64 can hold"),
    (spaces.Box(0, 1, (2,), np.int64), [0.0, np.nan], "nan at place 1"),
    (spaces.Box(0, 1, (2,), np.int64), [1e300, 0.0], "1e[+]300 at place 0"),
    (spaces.Box(-100, 100, (2,), np.int8), [1, 300], "300 at place 1; .*int8 can hold"),
    (spaces.Box(0, 255, (2,), np.uint8), [-1, 0], "-1 at place 0; .*uint8 can hold"),
    (
        spaces.Box(0, 1, (2, 1), np.float32),
        [0.0, 1.0],
        r"list \[0.0, 1.0\]; right is an array of numbers of shape \(2, 1\)",
    ),
    (spaces.MultiBinary(3), [0.3, 0, 1], "0.3 at place 0; right are zeros and ones"),
    (spaces.MultiBinary(3), [2, 0, 1], "2 at place 0; right are zeros and ones"),
    (spaces.Discrete(5), -1, "-1; right is one of the 5 numbers 0 to 4"),
    (spaces.Discrete(5), 5, "5; right is one of"),
    (spaces.Discrete(5), 0.3, "0.3 at place 0; right are whole numbers"),
    (spaces.Discrete(5, start=2), 1, "1; right is one of the 5 numbers 2 to 6"),
    (spaces.Discrete(5), [1, 2], "right is a number"),
    (spaces.MultiDiscrete([2, 3]), [1, 3], "3 at place 1; right is one of the 3 numbers 0 to 2"),
    (spaces.MultiDiscrete([2, 3]), [-1, 0], "-1 at place 0"),
    (spaces.MultiDiscrete([2, 3]), [1], r"\(2,\)"),
    (MIXED, {"speed": [1, 2], "gear": 3, "arms": ([1, 0],)}, r"part \['gear'\]: 3; right"),
    (MIXED, {"speed": [1, 2], "gear": 2, "arms": ([1, 2],)}, r"part \['arms'\]: in its part \[0\]: 2 at place 1"),
    (MIXED, {"speed": [1, 2], "gear": 2, "arms": ([1, 0], 1)}, r"part \['arms'\]: a tuple of 2; right is a tuple of 1"),
    (MIXED, {"speed": [1, 2], "gear": 2}, r"no 'arms'; right is a dict with \['speed', 'gear', 'arms'\]"),
    (MIXED, np.zeros(7), "no 'speed'"),
    (spaces.OneOf([spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,))]), (0, 2), r"part \[1\]: 2; right"),
    (spaces.OneOf([spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,))]), (2, 0), r"part \[0\]: 2; right"),
    (spaces.OneOf([spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,))]), 1, "right is a tuple of"),
]


@pytest.mark.parametrize(("space", "value", "stored"), HELD, ids=str)
def test_what_a_space_can_hold_is_stored_as_it_was_returned(space: Any, value: Any, stored: list[float]) -> None:
    environment = observing(spaces.Dict(within=space), {"within": value})
    assert stepped(observing(space, value)).next_observation.tolist() == [stored]
    assert stepped(environment).next_observation.tolist() == [stored]


@pytest.mark.parametrize(("space", "value", "told"), NOT_HELD, ids=str)
def test_what_a_space_cannot_hold_is_named(space: Any, value: Any, told: str) -> None:
    with pytest.raises(TrainingError, match=f"environment 0 returned a wrong observation: .*{told}.*after 0"):
        stepped(observing(space, value))
    with pytest.raises(TrainingError, match=f"part .'within'.: .*{told}"):
        stepped(observing(spaces.Dict(within=space), {"within": value}))


@pytest.mark.parametrize("space", [each for each, *_ in HELD + NOT_HELD], ids=str)
def test_samples_are_flattened_as_gymnasium_does(space: Any) -> None:
    space.seed(0)
    for _ in range(5):
        sample = space.sample()
        vector = reader_of(space)(sample)
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, spaces.flatten(space, sample).astype(np.float32))


@given(
    arrays.arrays(np.float64, (3,), elements=st.floats(allow_nan=True)), st.sampled_from(["int8", "uint16", "int64"])
)
def test_whole_numbers_are_kept_or_refused_never_changed(value: Any, dtype: str) -> None:
    try:
        stored = reader_of(spaces.Box(0, 100, (3,), np.dtype(dtype).type))(value)
    except Unfit:
        limits = np.iinfo(dtype)
        assert not ((value == np.floor(value)) & (value >= limits.min) & (value < limits.max)).all()
    else:
        np.testing.assert_array_equal(stored, value.astype(np.float32))


class Reused(Diary):
    """Shows one array, which belongs to all of them."""

    memory = np.zeros(5, np.float32)

    def _observation(self, action: Any) -> Any:
        Reused.memory[:] = super()._observation(action)
        return Reused.memory


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
def test_an_observations_memory_is_the_environments(mode: AutoresetMode) -> None:
    ours, theirs = (make_environments(kind, 3, Numbers, autoreset=mode) for kind in (Reused, Diary))
    action = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for _ in range(10):
        for one, other in zip(ours.step(action), theirs.step(action), strict=True):
            np.testing.assert_array_equal(one, other)


# Vector environments of the user's


class Many(SyncVectorEnv):
    """Two of Tiny; says in `changed` what its step returns."""

    changed: Callable[..., Any] = staticmethod(lambda *answer: answer)

    def __init__(self, mode: AutoresetMode = AutoresetMode.NEXT_STEP, length: int = 5) -> None:
        super().__init__([lambda: Tiny(length=length)] * 2, autoreset_mode=mode)

    def step(self, actions: Any) -> Any:
        return self.changed(*super().step(actions))


WRONG_OF_MANY = {
    "observations of one": (
        lambda o, *a: (o[0], *a),
        r"observation: .*\(2,\).*right is an array of numbers of shape \(2, 2\)",
    ),
    "rewards with an axis": (lambda o, r, *a: (o, r[:, None], *a), r"reward: .*\(2, 1\).*2 numbers, shape \(2,\)"),
    "one reward": (lambda o, r, *a: (o, 1.0, *a), "reward: float 1.0"),
    "rewards of text": (lambda o, r, *a: (o, ["a", "b"], *a), "reward: list"),
    "one flag": (lambda o, r, te, *a: (o, r, False, *a), "terminated: bool False"),
    "three flags": (lambda o, r, te, tr, i: (o, r, te, np.zeros(3, bool), i), r"truncated: .*\(3,\)"),
    "flags of text": (lambda o, r, te, tr, i: (o, r, ["no", "no"], tr, i), "terminated: list"),
    "flags that are no numbers": (lambda o, r, te, tr, i: (o, r, te, [np.nan, 0.0], i), "truncated: list"),
    "four values": (lambda o, r, te, tr, i: (o, r, te, i), "from step 4 values"),
    "a fraction": (lambda o, *a: (o[:, :1], *a), r"observation: .*\(2, 1\)"),
}


@pytest.mark.parametrize("wrong", WRONG_OF_MANY)
def test_what_a_vector_environment_returns_wrongly_is_named_at_once(wrong: str) -> None:
    changed, told = WRONG_OF_MANY[wrong]
    environments = made(type("Saying", (Many,), {"changed": staticmethod(changed)}))
    with pytest.raises(TrainingError, match=f"the vector environment returned .*{told}.*after 0 environment steps"):
        environments.step(np.zeros((2, 1), np.float32))


def test_a_vector_environments_tensors_are_taken_unless_they_need_gradients() -> None:
    torch = pytest.importorskip("torch")

    def tensors(*answer: Any, need: bool = False) -> Any:
        observation, *rest = (torch.as_tensor(each) for each in answer[:4])
        return observation.requires_grad_(need), *rest, None

    step = made(type("Saying", (Many,), {"changed": staticmethod(tensors)})).step(np.zeros((2, 1), np.float32))
    assert step.reward.shape == (2,)
    wrong = type("Saying", (Many,), {"changed": staticmethod(lambda *a: tensors(*a, need=True))})
    with pytest.raises(TrainingError, match=r"a wrong observation: Tensor .*needs gradients"):
        made(wrong).step(np.zeros((2, 1), np.float32))


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({}, r"no final_obs in its info \(dict \{\}\)"),
        (None, "no final_obs"),
        ({"final_observation": 1}, r"no final_obs in its info \(dict \{'final_observation': 1\}\)"),
        ({"final_obs": [None, None]}, r"a wrong info\['final_obs'\] for environment 0.*NoneType None"),
        ({"final_obs": np.zeros((2, 3))}, r"a wrong info\['final_obs'\] for environment 0.*\(3,\)"),
        ({"final_obs": []}, r"a wrong info\['final_obs'\] for environment 0"),
        ({"final_obs": 3}, r"a wrong info\['final_obs'\] for environment 0"),
    ],
)
def test_the_same_step_mode_without_its_last_observation_is_a_fault_with_a_checkpoint(
    info: Any, told: str, tmp_path: Any
) -> None:
    changed = staticmethod(lambda o, r, te, tr, i: (o, r, te, tr, info))
    kind = type("Saying", (Many,), {"changed": changed})
    settings = {**SMALL, "start_steps": 1000, "update_after": 1000}
    with pytest.raises(TrainingError, match=f"the vector environment returned {told}"):
        polyak.train("ddpg", lambda: kind(AutoresetMode.SAME_STEP), run_dir=tmp_path, backend="torch", **settings)
    (checkpoint,) = (tmp_path.rglob("checkpoint-*8*.json"),)
    assert checkpoint is not None


# The same object again


def wrapped_by_hand(environment: Any) -> gymnasium.Env[Any, Any]:
    class Mine(gymnasium.Env[Any, Any]):
        observation_space, action_space = environment.observation_space, environment.action_space

        def __init__(self) -> None:
            self.inner = environment

        def reset(self, **options: Any) -> Any:
            return self.inner.reset(**options)

        def step(self, action: Any) -> Any:
            return self.inner.step(action)

    return Mine()


@pytest.mark.parametrize("again", [lambda each: each, lambda each: TimeLimit(each, 9), wrapped_by_hand])
@pytest.mark.parametrize("options", [{"envs": 1}, {"envs": 3}, {"vectorization": "async"}], ids=str)
def test_a_callable_that_gives_the_same_environment_again_is_refused(again: Any, options: Any, tmp_path: Any) -> None:
    one = Tiny()
    with pytest.raises(UsageError, match=r"gives the same .* again.*lambda: gymnasium.make"):
        polyak.train("ddpg", lambda: again(one), run_dir=tmp_path, backend="torch", **options, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_gives_the_same_environment_again_is_refused(tmp_path: Any) -> None:
    one = Tiny()
    gymnasium.register("Same-v0", entry_point=lambda: one, max_episode_steps=9)
    try:
        with pytest.raises(UsageError, match="Same-v0 gives the same Tiny again"):
            polyak.train("ddpg", "Same-v0", run_dir=tmp_path, backend="torch", **SMALL)
    finally:
        gymnasium.registry.pop("Same-v0")


def test_a_vector_environment_given_again_or_of_one_environment_is_refused(tmp_path: Any) -> None:
    one, many = Tiny(), Many()
    for environment in (lambda: many, lambda: SyncVectorEnv([lambda: one] * 2)):
        with pytest.raises(UsageError, match=r"gives the same .* again"):
            polyak.train("ddpg", environment, run_dir=tmp_path, backend="torch", **SMALL)


def test_an_environment_may_be_given_again_once_it_is_closed() -> None:
    one = Tiny()
    for _ in range(2):
        made(lambda: one).close()
    kept = made(lambda: one)
    with pytest.raises(UsageError, match="gives the same Tiny again"):
        made(lambda: one)
    del kept
    made(lambda: one)


def test_environments_of_other_spaces_side_by_side_are_refused() -> None:
    sizes = itertools.count(2)
    with pytest.raises(UsageError, match=r"environment 1 .* observation_space Box\(-1.0, 1.0, \(3,\).*must be equal"):
        made(lambda: Shown(spaces.Box(-1.0, 1.0, (next(sizes),))), 2)


# Time limits below wrappers


class Hidden(gymnasium.Env[Any, Any]):
    """Holds an environment with a time limit, and is no wrapper."""

    def __init__(self) -> None:
        self.inner: Any = TimeLimit(Shown(), 6)
        self.observation_space, self.action_space = self.inner.observation_space, self.inner.action_space

    def reset(self, **options: Any) -> Any:
        return self.inner.reset(**options)

    def step(self, action: Any) -> Any:
        return self.inner.step(action)


LIMITED: dict[str, Callable[[], Any]] = {
    "below": lambda: RecordEpisodeStatistics(TimeLimit(Shown(), 6)),
    "far below": lambda: RecordEpisodeStatistics(TransformReward(TimeLimit(TimeLimit(Shown(), 9), 6), float)),
    "above and below": lambda: TimeLimit(RecordEpisodeStatistics(TimeLimit(Shown(), 6)), 7),
    "within another": Hidden,
}


def length_of_an_episode(environment: Any, **options: Any) -> int:
    environments = made(environment, **options)
    for length in itertools.count(1):
        if environments.step(np.zeros((1, 2), np.float32)).truncated[0]:
            return length
    raise AssertionError


@pytest.mark.parametrize("within", LIMITED)
@pytest.mark.parametrize(("limit", "length"), [(None, 6), (8, 8), (4, 4)])
def test_a_time_limit_below_wrappers_is_lifted(within: str, limit: int | None, length: int) -> None:
    assert length_of_an_episode(LIMITED[within], max_episode_steps=limit) == length


MORE = (RecordEpisodeStatistics.wrapper_spec(), TimeLimit.wrapper_spec(max_episode_steps=6))


@pytest.mark.parametrize(
    "options",
    [
        {"entry_point": LIMITED["below"]},
        {"entry_point": LIMITED["below"], "max_episode_steps": 7},
        {"entry_point": Shown, "additional_wrappers": MORE},
        {"entry_point": Shown, "additional_wrappers": MORE, "max_episode_steps": 6},
    ],
    ids=["its own", "its own and the id's", "a wrapper's", "a wrapper's and the id's"],
)
def test_a_time_limit_of_an_id_below_wrappers_is_lifted(options: Any) -> None:
    gymnasium.register("Limited-v0", **options)
    try:
        assert [length_of_an_episode("Limited-v0", max_episode_steps=limit) for limit in (None, 8, 4)] == [6, 8, 4]
    finally:
        gymnasium.registry.pop("Limited-v0")


class Stubborn(TimeLimit[Any, Any]):
    """Keeps its limit where nobody finds it."""

    def __init__(self, environment: Any, limit: int) -> None:
        super().__init__(environment, limit)
        del self._max_episode_steps


def test_a_time_limit_that_cannot_be_lifted_is_named() -> None:
    with pytest.raises(UsageError, match="max_episode_steps is 8, but the Stubborn within <RecordEpisodeStat"):
        made(lambda: RecordEpisodeStatistics(Stubborn(Shown(), 6)), max_episode_steps=8)


# Actions


@pytest.mark.parametrize(
    ("low", "high", "dtype", "taken"),
    [
        (1e8, 1e8 + 1, np.float64, False),
        (1e5, 1e5 + 1, np.float64, False),
        (-1e7 - 3, -1e7, np.float64, False),
        (1e8, 1e8 + 64, np.float32, True),  # whose own numbers are as far apart
        (273.0, 373.0, np.float64, True),
        (-1e-30, 1e-30, np.float64, True),
        (0.0, 1e30, np.float64, True),
    ],
)
def test_an_action_space_finer_than_float32_is_refused(low: float, high: float, dtype: Any, taken: bool) -> None:
    environment = functools.partial(Diary, spaces.Box(low, high, (1,), dtype))
    if taken:
        stepped(environment)
    else:
        with pytest.raises(
            UsageError, match=r"narrow beside its distance from zero: float32|no room in dimension \[0\]"
        ):
            made(environment)


def test_nothing_of_gymnasiums_vectors_is_needed_in_a_step() -> None:
    """A step of environments in this process is polyak's own: no spaces are iterated, nothing is batched."""
    environments = made(Tiny, 2)
    called: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "/gymnasium/vector/" in frame.f_code.co_filename:
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        environments.step(np.zeros((2, 1), np.float32))
    finally:
        sys.setprofile(None)
    assert called == []
