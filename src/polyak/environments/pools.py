"""EnvPool's environments, which threads of C++ step, as a vector environment."""

import importlib
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode

from polyak.environments.spaces import needs_flattening, spec_of
from polyak.errors import UsageError

OTHERWISE = "choose the vectorization sync or async for a new run"
UNLIMITED = 2**31 - 2
"""Steps of an episode without a time limit: EnvPool counts in 32 bits, one more than this included."""


class Pool:
    """N environments of EnvPool, with what polyak uses of `gymnasium.vector.VectorEnv`.

    EnvPool by itself reports an end in the last step that the time limit allows as truncation only, and spends a step
    on each new episode. Here the limit is kept outside, so that both ends are told apart, and a new episode begins
    within the step that ended the last one.
    """

    metadata: ClassVar[Mapping[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, name: str, count: int, limit: int | None) -> None:
        """Take an id that EnvPool has, N, and the time limit in steps.

        Raises:
            UsageError: EnvPool is missing or does not have the id.
        """
        self._envpool = _imported()
        if name not in self._envpool.list_all_envs():
            raise UsageError(f"EnvPool has no environment {name!r}: {OTHERWISE}, or an id of `envpool.list_all_envs()`")
        self._name, self._limit = name, limit or UNLIMITED
        with _rounding_bounds():
            spec = self._envpool.make_spec(name)
            self.single_observation_space: Any = spec.gymnasium_observation_space
            self.single_action_space: Any = spec.gymnasium_action_space
        self.num_envs = count
        self._pool: Any = None

    def reset(self, *, seed: Sequence[int], options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin everywhere, each environment from its seed: [N, O].

        Its later episodes follow from that seed: EnvPool takes seeds only when it makes environments, so they are
        made anew.
        """
        with _rounding_bounds():
            self._pool = self._envpool.make_gymnasium(
                self._name, num_envs=self.num_envs, seed=list(seed), max_episode_steps=self._limit + 1
            )
            return self._pool.reset()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take actions [N, A] in environment units; `final_obs` and `final_info` are in the info where one ended."""
        observation, reward, terminated, _, info = self._pool.step(actions)
        truncated = info["elapsed_step"] >= self._limit
        ended = np.flatnonzero(terminated | truncated)
        if not len(ended):
            return observation, reward, terminated, truncated, {}
        shown = observation.copy()
        fresh, begun = self._pool.reset(ended)
        shown[begun["env_id"]] = fresh
        return shown, reward, terminated, truncated, {"final_obs": observation, "final_info": info}

    def close(self) -> None:
        """End the threads."""
        self._pool = None


def make_pool(environment: Any, count: int, alone: Any) -> Pool:
    """`count` environments of EnvPool that do as `alone` does, Gymnasium's environment of the same id.

    Raises:
        UsageError: EnvPool is missing, does not have the environment, or has another one by that id.
    """
    if not isinstance(environment, str):
        raise UsageError(f"EnvPool makes environments by their id, but the environment is {environment!r}: {OTHERWISE}")
    pool = Pool(environment, count, alone.spec.max_episode_steps)
    ours, theirs = pool.single_observation_space, pool.single_action_space
    if needs_flattening(ours):
        raise UsageError(f"EnvPool's {environment} observes {ours}, but a flat Box is needed: {OTHERWISE}")
    in_pool, expected = spec_of(ours, theirs).to_json(), spec_of(alone.observation_space, alone.action_space).to_json()
    if in_pool != expected:
        raise UsageError(
            f"EnvPool's {environment} is not Gymnasium's, in which the policy is evaluated: {in_pool} instead of "
            f"{expected}; {OTHERWISE}"
        )
    return pool


def _imported() -> Any:
    try:
        return importlib.import_module("envpool")
    except ImportError as error:
        raise UsageError(
            f'the vectorization envpool needs EnvPool ({error}): pip install "polyak[envpool]", or {OTHERWISE}'
        ) from error


@contextmanager
def _rounding_bounds() -> Generator[None]:
    """Do not warn that bounds of spaces, which EnvPool gives in float64, are rounded to float32."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*precision lowered by casting", UserWarning)
        yield
