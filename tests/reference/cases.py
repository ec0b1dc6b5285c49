"""Problems for a learner of any framework, their solution by the oracle, and the one comparison that all tests use."""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak.algorithm import ERROR, Algorithm, drawn, first_state
from polyak.algorithms import algorithm
from polyak.settings.shared import Settings
from polyak.types import Batch, Learner, Spec
from reference import common
from reference.common import Array, Arrays


@dataclass(frozen=True)
class Case:
    """A starting state and the data of K updates, in numbers that float32 holds exactly: equal in every precision."""

    what: Algorithm
    spec: Spec
    config: Settings
    arrays: Arrays
    records: Array
    """[K, B, 2 O + A + 3]"""
    noise: Arrays
    """[K, B, A] each."""

    @property
    def algorithm(self) -> str:
        """Its name."""
        return self.what.name

    def cast(self, dtype: Any) -> "Case":
        """The same case in another precision; integers stay."""
        arrays, noise = ({name: _cast(x, dtype) for name, x in some.items()} for some in (self.arrays, self.noise))
        return dataclasses.replace(self, arrays=arrays, records=self.records.astype(dtype), noise=noise)

    def burst(self, start: int, stop: int) -> tuple[Batch, Arrays]:
        """The arguments of `Learner.update` for these updates."""
        batch = Batch(self.records[start:stop], self.spec.layout, weighted=True, wants_errors=True)
        return batch, {name: value[start:stop] for name, value in self.noise.items()}

    def batch(self, index: int) -> common.Batch:
        """The oracle's batch of one update."""
        o, a = self.spec.observation_size, self.spec.action_size
        observation, action, reward, following, discount, weight = np.split(
            self.records[index], [o, o + a, o + a + 1, 2 * o + a + 1, 2 * o + a + 2], axis=1
        )
        return common.Batch(observation, action, reward[:, 0], following, discount[:, 0], weight[:, 0])


def _cast(value: Array, dtype: Any) -> Array:
    return value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value


SIZES: dict[str, dict[str, Any]] = {
    "tqc": {"critics": 3, "quantiles": 5, "dropped_quantiles": 2},
    "crossq": {"batch_size": 64, "hidden_sizes": (10, 8)},
}
"""Of cases unless they say others. In CrossQ's, no hidden unit is active in all rows: before a norm, the bias of such a
one has no gradient but rounding, which Adam magnifies."""


def make_case(
    name: str,
    *,
    updates: int = 10,
    batch_size: int | None = None,
    observation_size: int = 5,
    action_size: int = 3,
    **settings: Any,
) -> Case:
    """A float64 case with terminated and other transitions, of several weights; targets differ from their networks."""
    generator = np.random.default_rng(7)
    ones = np.ones(action_size, np.float32)
    spec = Spec((observation_size,), (action_size,), -ones, 3 * ones)  # learners know normalized actions alone
    what = algorithm(name)
    unlike = {"actor_learning_rate": 5e-4, "critic_learning_rate": 1e-3}  # so that one in the other's place is seen
    sizes = {"batch_size": 16, "hidden_sizes": (16, 12)} | SIZES.get(name, {})
    given = settings if batch_size is None else settings | {"batch_size": batch_size}
    config = what.Config(**(sizes | unlike | given))
    batch_size = config.batch_size
    arrays = first_state(what.state(spec, config), generator)
    for path in arrays:
        norm = path.endswith(("/scale", "/offset")) and not path.startswith("adam_")  # so that they do something
        if norm or path.startswith("target_"):
            arrays[path] = arrays[path] + 0.1 * generator.standard_normal(arrays[path].shape, dtype=np.float32)
        if path.startswith("statistics_"):
            arrays[path] = _spread(arrays[path], path, generator)
    records = generator.standard_normal((updates, batch_size, 2 * observation_size + action_size + 2), dtype=np.float32)
    action = slice(observation_size, observation_size + action_size)
    records[..., action] = np.tanh(records[..., action])
    records[..., -1] = config.discount * (np.arange(batch_size) % 3 > 0)
    weight = np.resize(np.array([0.5, 1.0, 2.0, 1.0], np.float32), (updates, batch_size, 1))
    records = np.concatenate([records, weight], axis=-1)
    noise = drawn(what.draws(spec, config), generator, updates)
    case = Case(what, spec, config, arrays, records, noise).cast(np.float64)
    return _balanced(case) if "critic_2" in what.state(spec, config) and name != "crossq" else case


def _spread(statistic: Array, path: str, generator: np.random.Generator) -> Array:
    """A running statistic as another than a batch's, beyond where r and d are clipped, too."""
    if path.endswith("/steps"):
        return statistic
    drawn = generator.standard_normal(statistic.shape, dtype=np.float32)
    return statistic + drawn if path.endswith("/mean") else np.exp2(np.float32(3.0) * drawn)


def warmed_up(case: Case, calls: int = 100_000) -> Case:
    """The same after so many of the critics' calls in training; the actor's next is the last of its warm-up."""
    counts = {path: 99_999 if "actor" in path else calls for path in case.arrays if path.endswith("/steps")}
    arrays = case.arrays | {path: np.array(count, np.int32) for path, count in counts.items()}
    return dataclasses.replace(case, arrays=arrays)


def _balanced(case: Case) -> Case:
    """The second critic shifted so that neither is the minimum everywhere, as fresh ones would be."""
    arrays, batch = dict(case.arrays), case.batch(0)
    bias = f"{len(common.part(arrays, 'critic_1')) // 2 - 1}/bias"
    for name in ("critic", "target_critic"):
        q_1, q_2 = (
            common.q_value(common.part(arrays, f"{name}_{i}", case.config), batch.observation, batch.action)[0]
            for i in (1, 2)
        )
        shifted = arrays[f"{name}_2/{bias}"] + np.median(q_1 - q_2)
        arrays[f"{name}_2/{bias}"] = shifted.astype(np.float32).astype(np.float64)
    return dataclasses.replace(case, arrays=arrays)


def wide_policy(case: Case) -> Arrays:
    """SAC's actor with its three log sigmas around -25, 0 and 2: below the clamp, inside, on both sides of its top."""
    last = len(case.config.hidden_sizes)
    return common.part(case.arrays, "actor") | {f"{last}/bias": np.array([0.1, -0.2, 0.3, -25.0, 0.0, 2.1])}


def solve(case: Case) -> tuple[list[Arrays], dict[str, Array]]:
    """The oracle's state after each of the case's updates, and its metrics, [K] each."""
    oracle = importlib.import_module(f"reference.{case.algorithm}")
    state, states, rows = case.arrays, [], []
    for index in range(len(case.records)):
        noise = {name: value[index] for name, value in case.noise.items()}
        state, metrics = oracle.update(state, case.batch(index), noise, case.config)
        states.append(state)
        rows.append(metrics)
    return states, {name: np.array([row[name] for row in rows]) for name in rows[0] if name != ERROR}


def errors_of(case: Case) -> Array:
    """The errors of each transition that the oracle finds in the case's updates, [K, B]."""
    oracle = importlib.import_module(f"reference.{case.algorithm}")
    state, rows = case.arrays, []
    for index in range(len(case.records)):
        noise = {name: value[index] for name, value in case.noise.items()}
        state, metrics = oracle.update(state, case.batch(index), noise, case.config)
        rows.append(metrics[ERROR])
    return np.array(rows)


def play(learner: Learner, case: Case, bursts: Iterable[int]) -> dict[str, Array]:
    """Feed a learner the case's updates in bursts of these lengths; its metrics over all of them."""
    rows, start = [], 0
    for length in bursts:
        metrics = learner.update(*case.burst(start, start + length))
        rows.append(metrics.values)
        start += length
    return dict(zip(metrics.names, np.concatenate(rows).T, strict=True))


def relative_error(actual: Array, expected: Array) -> float:
    """The norm of the difference over the norm of the expected; infinite where shapes or the places of NaN differ."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape or not np.array_equal(np.isnan(actual), np.isnan(expected)):
        return np.inf
    known = ~np.isnan(expected)
    difference, scale = np.linalg.norm((actual - expected)[known]), np.linalg.norm(expected[known])
    return difference / scale if scale > 0.0 else (np.inf if difference > 0.0 else 0.0)


def assert_agree(actual: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float) -> float:
    """Every array agrees with the one of the same name, and there are no others; returns the worst relative error."""
    assert sorted(actual) == sorted(expected)
    errors = {name: relative_error(actual[name], expected[name]) for name in expected}
    worst = max(errors, key=lambda name: errors[name])
    assert errors[worst] <= tolerance, f"{worst} is off by {errors[worst]:.2e} relative, allowed are {tolerance:.0e}"
    return errors[worst]
