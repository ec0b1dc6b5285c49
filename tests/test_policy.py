"""The policy in NumPy: what it does, its file, and every file that is none."""

import dataclasses
import functools
import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from polyak.errors import NonFiniteError, UsageError
from polyak.policies.contents import Kind
from polyak.policies.normalizer import Normalizer
from polyak.policies.policy import Policy
from polyak.types import Arrays, Spec
from tiny import constant_policy, make_policy

KINDS: tuple[Kind, ...] = ("deterministic", "squashed_gaussian")


def hand_made(kind: Kind, noise: float = 0.0) -> Policy:
    """One observation s, one hidden unit max(0, 2 s - 1); the mean is that unit / 2, log sigma is its negative."""
    arrays = {"0/kernel": [[2.0]], "0/bias": [-1.0], "1/kernel": [[0.5]], "1/bias": [0.0]}
    if kind == "squashed_gaussian":
        arrays |= {"1/kernel": [[0.5, -1.0]], "1/bias": [0.0, 0.0]}
    spec = Spec((1,), (1,), np.array([-1.0], np.float32), np.array([3.0], np.float32))
    return Policy({name: np.array(value, np.float32) for name, value in arrays.items()}, spec, kind, noise)


# Acting


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("observation", "mean"), [(0.25, 0.0), (1.0, 0.5), (2.0, 1.5)])  # the unit is off at 0.25
def test_the_action_is_the_tanh_of_the_mean_in_environment_units(kind: Kind, observation: float, mean: float) -> None:
    policy = hand_made(kind)
    np.testing.assert_allclose(policy.mean(np.array([[observation]], np.float32)), [[math.tanh(mean)]], rtol=1e-6)
    np.testing.assert_allclose(policy.act([observation]), [1.0 + 2.0 * math.tanh(mean)], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_act_takes_one_observation_or_many(spec: Spec, kind: Kind) -> None:
    policy = make_policy(spec, kind)
    observations = np.random.default_rng(0).normal(size=(5, 3))
    many = policy.act(observations)
    assert (many.shape, many.dtype) == ((5, 2), np.float32)
    assert (many >= spec.action_low).all()
    assert (many <= spec.action_high).all()
    for observation, action in zip(observations, many, strict=True):
        one = policy.act(observation)
        assert one.shape == (2,)
        np.testing.assert_allclose(one, action, rtol=1e-6)
    assert policy.act(observations[:0]).shape == (0, 2)


def test_act_keeps_the_shapes_of_observation_and_action() -> None:
    bounds = np.arange(6, dtype=np.float32)
    policy = make_policy(Spec((2, 2), (2, 3), -1 - bounds, 2 + bounds))
    assert policy.act(np.zeros((2, 2))).shape == (2, 3)
    assert policy.act(np.zeros((7, 2, 2))).shape == (7, 2, 3)


@pytest.mark.parametrize("shape", [(), (2,), (4,), (5, 2), (1, 5, 3), (3, 1)])
def test_an_observation_of_another_shape_is_refused(spec: Spec, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        make_policy(spec).act(np.zeros(shape))
    assert f"has shape {shape}, but this policy takes (3,) or (N, 3)" in str(caught.value)


# Seeing through a normalizer


def seeing(policy: Policy, mean: list[float], scale: list[float], clip: float = 10.0) -> Policy:
    """The same network, behind a normalizer."""
    numbers = [np.array(each, np.float32) for each in (mean, scale)]
    return dataclasses.replace(policy, normalizer=Normalizer(*numbers, clip))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_sees_what_a_normalizer_makes_of_observations(kind: Kind, spec: Spec) -> None:
    plain = make_policy(spec, kind, noise=0.2)
    policy = seeing(plain, [1.0, -2.0, 100.0], [0.5, 3.0, 1000.0])
    observation = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    observation[:, 2] += 100
    seen = np.clip((observation - [1.0, -2.0, 100.0]) * [0.5, 3.0, 1000.0], -10.0, 10.0).astype(np.float32)
    assert (np.abs(seen) == 10.0).any()
    noise = np.random.default_rng(1).standard_normal((5, 2), np.float32)
    np.testing.assert_allclose(policy.act(observation), plain.act(seen), rtol=1e-5)
    np.testing.assert_allclose(policy.act(observation[0]), plain.act(seen[0]), rtol=1e-5)
    np.testing.assert_allclose(policy.mean(observation), plain.mean(seen), rtol=1e-5)
    np.testing.assert_allclose(policy.explore(observation, noise), plain.explore(seen, noise), rtol=1e-5)
    if kind == "squashed_gaussian":
        np.testing.assert_allclose(policy.distribution(observation).std, plain.distribution(seen).std, rtol=1e-5)


def test_what_is_far_beyond_the_clip_is_clipped(spec: Spec) -> None:
    policy = seeing(make_policy(spec), [-3e38, 0.0, 0.0], [1e4, 1e4, 1e4], clip=2.0)
    np.testing.assert_array_equal(policy.act([3e38, -3e38, 1.0]), make_policy(spec).act([2.0, -2.0, 2.0]))


def test_a_normalizer_is_in_the_file_with_its_policy(spec: Spec, tmp_path: Path) -> None:
    policy = seeing(make_policy(spec, "squashed_gaussian"), [1.0, -2.0, 1e-30], [0.5, 3e30, 1e-38], clip=5.0)
    policy.save(tmp_path / "policy")
    read = Policy.load(tmp_path / "policy")
    assert policy.normalizer is not None
    assert policy.normalizer.same(read.normalizer)
    assert read.content() == policy.content()
    assert b'"version":"3"' in policy.content()
    assert b'"version":"1"' in make_policy(spec).content()  # what has none is the file that it always was


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((np.zeros(3), np.ones(3, np.float32), 10.0), "mean is"),
        ((np.zeros(3, np.float32), [1.0], 10.0), "scale is"),
        ((np.zeros(3, np.float32), np.ones((3, 1), np.float32), 10.0), "scale is"),
        ((np.zeros(3, np.float32), np.ones(3, np.float32), 0.0), "clip is 0"),
        ((np.zeros(3, np.float32), np.ones(3, np.float32), math.nan), "clip is nan"),
    ],
)
def test_a_normalizer_of_other_kinds_is_refused(numbers: Any, wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        Normalizer(*numbers)


def test_a_policy_takes_no_other_normalizer(spec: Spec) -> None:
    with pytest.raises(UsageError, match="normalizer is 3"):
        dataclasses.replace(make_policy(spec), normalizer=3)  # pyright: ignore[reportArgumentType]


# Acting otherwise


@pytest.mark.parametrize("kind", KINDS)
def test_an_action_that_is_drawn_is_what_exploring_gives(kind: Kind, spec: Spec) -> None:
    policy = make_policy(spec, kind, noise=0.3)
    observation = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    noise = np.random.default_rng(7).standard_normal((5, 2), np.float32)
    drawn = policy.act(observation, deterministic=False, generator=np.random.default_rng(7))
    np.testing.assert_array_equal(drawn, spec.to_environment(policy.explore(observation, noise)))
    assert (np.abs(drawn - policy.act(observation)) > 1e-3).any()
    one = policy.act(observation[0], deterministic=False, generator=np.random.default_rng(7))
    np.testing.assert_allclose(one, drawn[0], rtol=1e-5)


def test_what_is_drawn_without_a_generator_begins_alike_in_each_policy(spec: Spec) -> None:
    observation = np.zeros(3)
    first, second = (make_policy(spec, "squashed_gaussian") for _ in range(2))
    drawn = [first.act(observation, deterministic=False) for _ in range(3)]
    assert len({each.tobytes() for each in drawn}) == 3
    np.testing.assert_array_equal(drawn[0], second.predict(observation, deterministic=False)[0])


def test_a_policy_says_whether_it_draws(spec: Spec) -> None:
    assert [make_policy(spec, kind, noise=noise).draws for kind in KINDS for noise in (0.0, 0.1)] == [
        *(False, True),
        *(True, True),
    ]


def test_predict_gives_the_action_and_the_state_that_it_was_given(spec: Spec) -> None:
    policy = make_policy(spec, "squashed_gaussian")
    for observation in (np.zeros(3), np.ones((4, 3))):
        action, state = policy.predict(observation)
        np.testing.assert_array_equal(action, policy.act(observation))
        assert state is None
    kept = (np.zeros(2),)
    assert policy.predict(np.zeros((1, 3)), kept, np.ones(1, np.bool_))[1] is kept
    with pytest.raises(UsageError, match="the pair that reset returns"):
        policy.predict((np.zeros(3), {"info": 1}))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_an_observation_that_is_not_finite_is_an_error(bad: float, shape: tuple[int, ...], spec: Spec) -> None:
    policy = make_policy(spec, "squashed_gaussian")
    observation = np.zeros(shape)
    observation[..., 1] = bad
    for call in (policy.act, policy.predict, policy.distribution):
        with pytest.raises(NonFiniteError, match=f"the observation holds {bad} at place 1"):
            call(observation)
    assert issubclass(NonFiniteError, UsageError)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_an_action_that_would_not_be_finite_is_an_error() -> None:
    policy = hand_made("squashed_gaussian")
    policy.parameters["0/kernel"][:] = 3e38
    policy.parameters["1/kernel"][:] = [[-1.0, 1.0]]
    policy.parameters["1/bias"][:] = np.nan
    for call in (policy.act, lambda given: policy.act(given, deterministic=False), policy.distribution):
        with pytest.raises(NonFiniteError, match="computes a number that is not finite"):
            call([2.0])


def test_the_distribution_is_that_of_the_actions_drawn() -> None:
    policy = hand_made("squashed_gaussian")
    seen = policy.distribution([1.0])
    np.testing.assert_allclose(seen.mean, [0.5], rtol=1e-6)
    np.testing.assert_allclose(seen.std, [math.exp(-1.0)], rtol=1e-6)
    # its density integrates to 1 over the normalized actions, and its mean is that of the actions drawn
    edges = np.linspace(-1.0, 3.0, 20_001)
    middle, width = (edges[1:] + edges[:-1]) / 2, 2.0 / 20_000
    many = policy.distribution(np.ones((20_000, 1)))
    density = np.exp(many.log_prob(middle[:, None]))
    assert abs(density.sum() * width - 1.0) < 1e-6
    drawn = policy.act(np.ones((20_000, 1)), deterministic=False)
    assert abs((density * middle).sum() * width - drawn.mean()) < 0.02


def test_the_density_is_the_change_of_variables_and_finite_at_the_edge() -> None:
    policy = hand_made("squashed_gaussian")
    u, mean, std = 0.3, 0.5, math.exp(-1.0)
    normal = -0.5 * ((u - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))
    expected = normal - math.log(1 - math.tanh(u) ** 2)
    seen = policy.distribution([1.0])
    assert seen.log_prob([1.0 + 2.0 * math.tanh(u)]) == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(seen.log_prob([3.0]))
    with pytest.raises(UsageError, match=r"shape \(2,\), but this distribution is of actions \(1,\)"):
        seen.log_prob([1.0, 2.0])


def test_a_deterministic_policy_has_no_density() -> None:
    with pytest.raises(UsageError, match="deterministic"):
        hand_made("deterministic", noise=0.1).distribution([1.0])


# Exploring


def test_a_deterministic_policy_adds_noise_and_clips() -> None:
    policy = hand_made("deterministic", noise=0.5)
    observation = np.array([[1.0]] * 4, np.float32)
    noise = np.array([[0.0], [0.5], [10.0], [-10.0]], np.float32)
    expected = [[math.tanh(0.5)], [math.tanh(0.5) + 0.25], [1.0], [-1.0]]
    explored = policy.explore(observation, noise)
    assert explored.dtype == np.float32
    np.testing.assert_allclose(explored, expected, rtol=1e-6)


def test_a_squashed_gaussian_is_sampled() -> None:
    policy = hand_made("squashed_gaussian")
    observation = np.array([[1.0]] * 3, np.float32)
    noise = np.array([[0.0], [1.0], [-2.0]], np.float32)
    expected = np.tanh(0.5 + math.exp(-1.0) * noise)
    explored = policy.explore(observation, noise)
    assert explored.dtype == np.float32
    np.testing.assert_allclose(explored, expected, rtol=1e-6)


@pytest.mark.parametrize(("log_sigma", "limit"), [(100.0, 2.0), (-100.0, -20.0)])
def test_log_sigma_is_clamped(log_sigma: float, limit: float) -> None:
    policy = hand_made("squashed_gaussian")
    policy.parameters["1/bias"][1] = log_sigma
    noise = np.array([[0.1]], np.float32)
    expected = math.tanh(math.exp(limit) * 0.1)
    np.testing.assert_allclose(policy.explore(np.zeros((1, 1), np.float32), noise), [[expected]], rtol=1e-5)


@given(st.sampled_from(KINDS), st.integers(0, 1000))
def test_exploring_actions_are_normalized(kind: Kind, seed: int) -> None:
    spec = Spec((3,), (2,), np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
    generator = np.random.default_rng(seed)
    observation = 10 * generator.standard_normal((6, 3), dtype=np.float32)
    noise = 3 * generator.standard_normal((6, 2), dtype=np.float32)
    explored = make_policy(spec, kind, noise=0.7, seed=seed).explore(observation, noise)
    assert explored.shape == (6, 2)
    assert (np.abs(explored) <= 1.0).all()


def test_finite_sees_a_number_that_is_none(spec: Spec) -> None:
    policy = make_policy(spec)
    assert policy.finite()
    policy.parameters["1/bias"][0] = np.inf
    assert not policy.finite()


# The file


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_brings_every_bit_back(spec: Spec, kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    policy = make_policy(spec, kind, noise=0.1 + 1e-17)
    policy.save(path)
    loaded = Policy.load(str(path))
    assert list(tmp_path.iterdir()) == [path]
    assert loaded.parameters.keys() == policy.parameters.keys()
    for name, value in policy.parameters.items():
        assert loaded.parameters[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded.parameters[name], value)
    for field in dataclasses.fields(Spec):
        np.testing.assert_array_equal(getattr(loaded.spec, field.name), getattr(spec, field.name))
    assert (loaded.kind, loaded.exploration_noise) == (kind, policy.exploration_noise)
    observation = np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_array_equal(loaded.act(observation), policy.act(observation))


def test_shapes_of_several_axes_come_back(tmp_path: Path) -> None:
    bounds = np.arange(6, dtype=np.float32)
    policy = make_policy(Spec((2, 2), (2, 3), -1 - bounds, 2 + bounds))
    policy.save(tmp_path / "policy")
    loaded = Policy.load(tmp_path / "policy").spec
    assert (loaded.observation_shape, loaded.action_shape) == ((2, 2), (2, 3))


def test_saving_replaces_an_older_file_and_a_failure_leaves_it(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.safetensors"
    make_policy(spec, seed=1).save(path)
    make_policy(spec, seed=2).save(path)
    saved = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make_policy(spec, seed=3).save(path)
    assert path.read_bytes() == saved
    assert list(tmp_path.iterdir()) == [path]


def test_loading_and_acting_need_numpy_and_safetensors_alone(spec: Spec, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    make_policy(spec, "squashed_gaussian").save(path)
    program = (
        "import sys, polyak\n"
        "polyak.Policy.load(sys.argv[1]).act([0.0, 0.0, 0.0])\n"
        "heavy = {'jax', 'optax', 'gymnasium', 'matplotlib', 'rich', 'tyro', 'psutil', 'tensorboardX'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Files that are none: always a UsageError that names the file

Content = tuple[Arrays, dict[str, Any], dict[str, Any]]
"""Arrays, metadata, and the description that the metadata will hold as JSON."""


def good_content() -> Content:
    policy = make_policy(Spec((3,), (2,), np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32)))
    arrays = {f"actor/{name}": value for name, value in policy.parameters.items()}
    arrays |= {"action_low": policy.spec.action_low, "action_high": policy.spec.action_high}
    description = {"kind": "deterministic", "exploration_noise": 0.1, "observation_shape": [3], "action_shape": [2]}
    return arrays, {"format": "polyak-policy", "version": "1"}, description


def write(path: Path, content: Content) -> None:
    arrays, metadata, description = content
    path.write_bytes(save(arrays, metadata={"policy": json.dumps(description), **metadata}))


def replace(part: int, name: str, value: Any) -> Callable[[Content], None]:
    """Put `value` at `name` in the arrays (0), the metadata (1) or the description (2); None removes it."""

    def change(content: Content) -> None:
        if value is None:
            del content[part][name]
        else:
            content[part][name] = value

    return change


def array(*shape: int, dtype: Any = np.float32) -> Any:
    return np.ones(shape, dtype)


def refused(path: Path) -> str:
    """Load a file that is none; what the error says of it."""
    with pytest.raises(UsageError) as caught:
        Policy.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_content_that_is_broken_below_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "policy", good_content())
    assert Policy.load(tmp_path / "policy").act([0.0, 0.0, 0.0]).shape == (2,)


BROKEN: dict[str, Callable[[Content], object]] = {
    "no format": replace(1, "format", None),
    "another format": replace(1, "format", "else"),
    "no version": replace(1, "version", None),
    "a newer version": replace(1, "version", "4"),
    "a version in words": replace(1, "version", "one"),
    "a negative version": replace(1, "version", "-1"),
    "a version of no number": replace(1, "version", "²"),
    "a version of many digits": replace(1, "version", "1" * 5000),
    "a description that is no JSON": replace(1, "policy", "{"),
    "a description that is a list": replace(1, "policy", "[1, 2]"),
    "a description that is a number": replace(1, "policy", "3"),
    "a description nested deep": replace(1, "policy", "[" * 100_000),
    "no kind": replace(2, "kind", None),
    "an unknown kind": replace(2, "kind", "random"),
    "a kind that is NaN": replace(2, "kind", math.nan),
    "a kind that is a list": replace(2, "kind", ["deterministic"]),
    "the other kind": replace(2, "kind", "squashed_gaussian"),
    "no noise": replace(2, "exploration_noise", None),
    "noise in words": replace(2, "exploration_noise", "much"),
    "noise that is NaN": replace(2, "exploration_noise", math.nan),
    "noise that is infinite": replace(2, "exploration_noise", math.inf),
    "noise beyond floats": replace(2, "exploration_noise", 10**400),
    "negative noise": replace(2, "exploration_noise", -0.1),
    "no observation shape": replace(2, "observation_shape", None),
    "an observation shape that is a number": replace(2, "observation_shape", 3),
    "an observation shape in words": replace(2, "observation_shape", "abc"),
    "another observation shape": replace(2, "observation_shape", [4]),
    "a huge observation shape": replace(2, "observation_shape", [2**62, 2**62]),
    "an observation shape beyond int64": replace(2, "observation_shape", [10**30]),
    "an infinite observation shape": replace(2, "observation_shape", [math.inf]),
    "an observation shape that is NaN": replace(2, "observation_shape", [math.nan]),
    "a negative observation shape": replace(2, "observation_shape", [-3]),
    "an observation shape twice negative": replace(2, "observation_shape", [-3, -1]),
    "an observation shape with a fraction": replace(2, "observation_shape", [3.7]),
    "a huge action shape": replace(2, "action_shape", [2**40, 2**40]),
    "an action shape twice negative": replace(2, "action_shape", [-1, -2]),
    "another action shape": replace(2, "action_shape", [3]),
    "no lower bound": replace(0, "action_low", None),
    "no upper bound": replace(0, "action_high", None),
    "a bound of another length": replace(0, "action_low", array(3)),
    "a bound of another type": replace(0, "action_high", array(2, dtype=np.float64)),
    "a bound that is NaN": replace(0, "action_high", np.full(2, np.nan, np.float32)),
    "parts of another size": replace(2, "observation_parts", ["array", [4], "float32"]),
    "parts that are none": replace(2, "observation_parts", ["image", [3]]),
    "parts in words": replace(2, "observation_parts", "abc"),
    "parts of a type that is none": replace(2, "observation_parts", ["array", [3], "object"]),
    "parts of a record": replace(2, "observation_parts", ["array", [3], "f4,f4"]),
    "parts of a negative shape": replace(2, "observation_parts", ["array", [-3], "float32"]),
    "parts beyond int64": replace(2, "observation_parts", ["choices", [10**30], [0], []]),
    "choices without a first": replace(2, "observation_parts", ["choices", [3], [], []]),
    "parts whose key is none": replace(2, "observation_parts", ["dict", [[3, ["array", [3], "float32"]]]]),
    "parts nested deep": lambda content: content[2].update(
        observation_parts=functools.reduce(lambda parts, _: ["tuple", [parts]], range(400), ["array", [4], "float32"])
    ),
    "a bound that is infinite": replace(0, "action_high", np.full(2, np.inf, np.float32)),
    "bounds the wrong way round": replace(0, "action_high", np.full(2, -5.0, np.float32)),
    "no layer": lambda content: [content[0].pop(name) for name in list(content[0]) if "/" in name],
    "a kernel missing": replace(0, "actor/0/kernel", None),
    "a bias missing": replace(0, "actor/1/bias", None),
    "a layer too far": lambda content: content[0].update({"actor/3/kernel": array(2, 2), "actor/3/bias": array(2)}),
    "an array too many": replace(0, "actor/extra", array(1)),
    "a kernel of other inputs": replace(0, "actor/0/kernel", array(5, 4)),
    "a kernel of other outputs": replace(0, "actor/1/kernel", array(4, 3)),
    "a kernel of one axis": replace(0, "actor/0/kernel", array(12)),
    "a kernel of three axes": replace(0, "actor/0/kernel", array(3, 4, 1)),
    "a bias of another length": replace(0, "actor/0/bias", array(1)),
    "a bias of two axes": replace(0, "actor/0/bias", array(4, 1)),
    "a kernel in float64": replace(0, "actor/0/kernel", array(3, 4, dtype=np.float64)),
    "a kernel in float16": replace(0, "actor/0/kernel", array(3, 4, dtype=np.float16)),
    "a bias of integers": replace(0, "actor/1/bias", array(2, dtype=np.int64)),
    "a bias of truths": replace(0, "actor/1/bias", array(2, dtype=np.bool_)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_content_is_refused(name: str, tmp_path: Path) -> None:
    content = good_content()
    BROKEN[name](content)
    write(tmp_path / "policy", content)
    refused(tmp_path / "policy")


def normalized(clip: Any = 10.0, **arrays: Any) -> Callable[[Content], None]:
    """A normalizer beside the network, with other arrays than would be right; None removes one."""

    def change(content: Content) -> None:
        content[1]["version"], content[2]["normalizer"] = "3", {"clip": clip}
        found = {"mean": np.zeros(3, np.float32), "scale": np.ones(3, np.float32)} | arrays
        content[0].update({f"normalizer/{name}": value for name, value in found.items() if value is not None})

    return change


BROKEN_NORMALIZERS: dict[str, Callable[[Content], object]] = {
    "arrays without words": lambda content: [normalized()(content), content[2].pop("normalizer")],
    "no mean": normalized(mean=None),
    "no scale": normalized(scale=None),
    "an array too many": normalized(count=array(3)),
    "a mean of other observations": normalized(mean=array(4)),
    "a scale of two axes": normalized(scale=array(3, 1)),
    "a mean in float64": normalized(mean=array(3, dtype=np.float64)),
    "a mean that is NaN": normalized(mean=np.full(3, np.nan, np.float32)),
    "a scale that is infinite": normalized(scale=np.full(3, np.inf, np.float32)),
    "a scale of 0": normalized(scale=np.zeros(3, np.float32)),
    "a negative scale": normalized(scale=-array(3)),
    "a clip of 0": normalized(0.0),
    "a clip that is NaN": normalized(math.nan),
    "a clip that is infinite": normalized(math.inf),
    "a clip beyond float32": normalized(1e39),
    "a clip in words": normalized("much"),
    "words that are a number": lambda content: [normalized()(content), content[2].update(normalizer=10.0)],
}


def test_the_normalizer_that_is_broken_below_is_whole(tmp_path: Path) -> None:
    content = good_content()
    normalized()(content)
    write(tmp_path / "policy", content)
    assert Policy.load(tmp_path / "policy").normalizer is not None


@pytest.mark.parametrize("name", BROKEN_NORMALIZERS)
def test_a_broken_normalizer_is_refused(name: str, tmp_path: Path) -> None:
    content = good_content()
    BROKEN_NORMALIZERS[name](content)
    write(tmp_path / "policy", content)
    refused(tmp_path / "policy")


def test_a_newer_version_says_to_upgrade(tmp_path: Path) -> None:
    content = good_content()
    content[1]["version"] = "4"
    write(tmp_path / "policy", content)
    assert "format version 4, but this polyak reads up to 3: upgrade polyak" in refused(tmp_path / "policy")


def raw(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def with_tensor(dtype: str, shape: list[int], data: bytes) -> bytes:
    """The whole policy with its first kernel declared to be this."""
    arrays, metadata, description = good_content()
    header: dict[str, Any] = {"__metadata__": {**metadata, "policy": json.dumps(description)}}
    content = b""
    for name, value in arrays.items():
        kernel = name == "actor/0/kernel"
        bits = data if kernel else value.tobytes()
        offsets = [len(content), len(content) + len(bits)]
        header[name] = {"dtype": dtype if kernel else "F32", "shape": shape if kernel else value.shape}
        header[name]["data_offsets"] = offsets
        content += bits
    return raw(header, content)


def test_a_file_written_byte_by_byte_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(with_tensor("F32", [3, 4], bytes(48)))
    assert Policy.load(tmp_path / "policy").parameters["0/kernel"].shape == (3, 4)


FOREIGN = {
    "empty": b"",
    "a word": b"polyak",
    "zeros": bytes(100),
    "a pickle": b"\x80\x04\x95pickled" * 50,
    "a huge header": struct.pack("<Q", 2**63) + b"{}",
    "a header cut off": raw(b"{"),
    "a header that is a list": raw(b"[]"),
    "a header that is no text": raw(b"\xff\xfe"),
    "a header of nothing": raw({}),
    "no policy and no arrays": raw({"__metadata__": {"format": "polyak-policy", "version": "1"}}),
    "another program's": raw({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "an array beyond its file": raw({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
    "a kernel of huge shape": with_tensor("F32", [2**32, 2**32], bytes(48)),
    "a kernel larger than its data": with_tensor("F32", [4, 4], bytes(48)),
    "a kernel in bfloat16": with_tensor("BF16", [3, 4], bytes(24)),
    "a kernel in float8 (E5M2)": with_tensor("F8_E5M2", [3, 4], bytes(12)),
    "a kernel in float8 (E4M3)": with_tensor("F8_E4M3", [3, 4], bytes(12)),
    "a kernel of complex numbers": with_tensor("C64", [3, 4], bytes(96)),
    "a kernel of a type to come": with_tensor("FUTURE", [3, 4], bytes(48)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_another_kind_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(FOREIGN[name])
    refused(tmp_path / "policy")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "no policy file" in refused(tmp_path / "missing")
    refused(tmp_path)  # a folder
    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file" / "below")


def test_a_file_cut_off_anywhere_is_refused(spec: Spec, tmp_path: Path) -> None:
    path = tmp_path / "policy"
    make_policy(spec).save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"more")
    refused(path)


@given(st.integers(0), st.integers(0, 7))
def test_one_flipped_bit_gives_a_policy_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    write(path, good_content())
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    survives(path)


def test_a_bit_flipped_in_any_byte_of_the_header_gives_a_policy_or_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "flipped"
    write(path, good_content())
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    for place in range(8 + header):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        survives(path)


def survives(path: Path) -> None:
    """Load a damaged file: what is not refused can act (a changed weight cannot be told from a true one)."""
    try:
        policy = Policy.load(path)
    except UsageError:
        return
    with np.errstate(all="ignore"):  # a flipped bit may make a weight huge
        assert policy.act(np.zeros(policy.spec.observation_shape)).shape == policy.spec.action_shape


@pytest.mark.parametrize(
    "change",
    [{"kind": "unknown"}, {"kind": "squashed_gaussian"}, {"parameters": {}}],
    ids=["unknown kind", "other kind", "no parameters"],
)
def test_an_inconsistent_policy_is_found_out(spec: Spec, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"kind|layers|parameters"):
        dataclasses.replace(constant_policy(spec, [0.0, 0.0]), **change).require_consistent()
