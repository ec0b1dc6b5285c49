"""Goals: the environments that have them, and what one of these says of goals that were not meant.

Such an environment shows a dictionary of `observation`, `achieved_goal` and `desired_goal`, and has a function
`compute_reward(achieved_goal, desired_goal, info)`, and often a `compute_terminated` alike.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from polyak.environments.history import generators_kept
from polyak.environments.spaces import WithGoals
from polyak.environments.values import Unfit, flag, number
from polyak.errors import TrainingError, UsageError
from polyak.settings.kinds import GoalEnds
from polyak.system.foreign import foreign, told
from polyak.types import Bool, Float

OBSERVATION, DESIRED, ACHIEVED = KEYS = ("observation", "desired_goal", "achieved_goal")
"""What is stored of an observation, in this order: learner and policy see all but the last."""
Asked = Callable[[Any, Any, dict[str, Any]], Any]
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far a batch's rewards may be from those of its rows: sums in another order round otherwise."""
ENDS = {
    "never": "never (a reached goal ends no episode)",
    "reward": "reward (a goal ends the episode once the greatest reward is given for it)",
}
PAIRS = 6
"""Of goals, on which the functions are tried."""
TRIED_STEPS = 10


class OfParts(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says which parts of the dictionary that it shows are read, and in which order; what it shows stays as it is."""

    def __init__(self, env: Any, space: spaces.Dict) -> None:
        super().__init__(env)
        self.observation_space = space


def with_goals(made: Any, name: str) -> Any:
    """An environment of which goals are read as `KEYS` says.

    Raises:
        UsageError: it has no goals.
    """
    why = _without_goals(made)
    if why:
        raise UsageError(
            f"environment {name!r} {why}; hindsight sets other goals, in environments with observation, "
            "achieved_goal, desired_goal and compute_reward (gymnasium_robotics:FetchReach-v4): leave --hindsight out"
        )
    return OfParts(made, WithGoals([(key, made.observation_space.spaces[key]) for key in KEYS]))


def of_parts(made: Any, keys: tuple[str, ...]) -> Any:
    """An environment that shows a dictionary, of which only `keys` are read, in this order, where it has them all."""
    space: Any = made.observation_space
    inner: dict[str, Any] = cast(Any, space).spaces if isinstance(space, spaces.Dict) else {}
    if not keys or [*inner] == [*keys] or not set(keys) <= inner.keys():
        return made
    return OfParts(made, spaces.Dict([(key, inner[key]) for key in keys]))


def _without_goals(made: Any) -> str:
    """Why no goals can be set in an environment; empty where they can."""
    if isinstance(made, VectorEnv):
        return "is a whole VectorEnv"
    space = made.observation_space
    inner: dict[str, Any] = cast(Any, space).spaces if isinstance(space, spaces.Dict) else {}
    missing = [key for key in (ACHIEVED, DESIRED, OBSERVATION) if key not in inner]
    if missing:
        return f"has no {missing[0]}: it observes {space!s:.100}"
    for key in (ACHIEVED, DESIRED):
        if not (isinstance(inner[key], spaces.Box) and np.issubdtype(inner[key].dtype, np.floating)):
            return f"has the {key} {inner[key]}, which is no Box of floats"
    if inner[ACHIEVED].shape != inner[DESIRED].shape:
        return f"achieves goals of shape {inner[ACHIEVED].shape}, but desires some of shape {inner[DESIRED].shape}"
    return "" if _function(made, "compute_reward") else "has no compute_reward"


def _function(made: Any, name: str) -> Asked | None:
    """That of the outermost layer which has one."""
    layer: Any = made
    while layer is not None:
        found = getattr(layer, name, None)
        if callable(found):
            return cast(Asked, found)
        layer = getattr(layer, "env", None)
    return None


class Goals:
    """What one environment says of goals: its rewards, and whether an episode ends, of which no info is known."""

    def __init__(self, made: Any, name: str, ends: GoalEnds, *, kept: bool = True) -> None:
        """Try the functions of an environment that is `with_goals`, which are asked row by row where they must be.

        One that is not `kept` for this takes no step.

        Raises:
            UsageError: nothing says whether a goal ends an episode, a function fails or needs an info, or rewards are
                not such that the greatest can end an episode.
        """
        self._made, self._name = made, name
        space = made.observation_space.spaces[DESIRED]
        self._shape, self._type = space.shape, space.dtype
        pairs = self._pairs()
        self._reward = self._tried("compute_reward", pairs, float)
        terminated = _function(made, "compute_terminated")
        if ends == "environment" and terminated is None:
            raise UsageError(
                f"environment {name!r} has no compute_terminated, so that nothing says whether a goal that is reached "
                f"ends an episode: choose --goal-ends {', or '.join(ENDS.values())}"
            )
        self._terminated = self._tried("compute_terminated", pairs, bool) if ends == "environment" else None
        self._greatest = self._greatest_of(pairs) if ends == "reward" else np.inf
        with generators_kept():
            self.more = self._more_in_rewards() if kept else ""
        """What a step's reward was that was another than `compute_reward` says, if one was."""

    @property
    def rows_apart(self) -> list[str]:
        """The functions that are asked row by row, as they do something else with a batch."""
        return [each.name for each in (self._reward, self._terminated) if each is not None and not each.at_once]

    def outcomes(self, achieved: Float, desired: Float) -> tuple[Float, Bool]:
        """What an environment gives for goals [n, G] that were achieved where others were desired: rewards and ends.

        Raises:
            TrainingError: a function raised, or gave something that is no finite number, or no truth value.
        """
        pair = self._shaped(achieved), self._shaped(desired)
        try:
            rewards = self._reward(*pair)
            ended = rewards >= self._greatest if self._terminated is None else self._terminated(*pair)
        except Exception as error:  # whatever a stranger's function raises
            raise TrainingError(f"environment {self._name!r}: {_raised(error)}") from error
        with np.errstate(over="ignore"):
            found = rewards.astype(np.float32)
        if not np.isfinite(found).all():
            raise TrainingError(f"environment {self._name!r}: its compute_reward gave a number that is not finite")
        return found, ended.astype(np.bool_)

    def _more_in_rewards(self) -> str:
        """Take a few random steps, and compare."""
        space = self._made.action_space
        with foreign(lambda error: f"environment {self._name!r} raised {type(error).__name__}{told(error)}"):
            self._made.reset(seed=0)
            space.seed(0)
            for _ in range(TRIED_STEPS):
                shown, reward, terminated, truncated, _ = self._made.step(space.sample())
                said = self._reward(*(np.asarray(shown[key])[np.newaxis] for key in (ACHIEVED, DESIRED)))
                if not np.allclose(said, reward, rtol=1e-4, atol=1e-6):
                    return f"a step gave {float(reward):.4g} where compute_reward says {float(said[0]):.4g}"
                if terminated or truncated:
                    break
        return ""

    def _shaped(self, goals: Float) -> NDArray[Any]:
        return goals.astype(self._type).reshape(len(goals), *self._shape)

    def _pairs(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Goals achieved and desired: some are reached, some are not."""
        numbers = np.random.default_rng(0).standard_normal((2, PAIRS, math.prod(self._shape)), np.float32)
        numbers[1, : PAIRS // 2] = numbers[0, : PAIRS // 2]
        return self._shaped(numbers[0]), self._shaped(numbers[1])

    def _tried(self, name: str, pairs: tuple[NDArray[Any], NDArray[Any]], kind: type[Any]) -> "_Function":
        function = _Function(name, cast(Asked, _function(self._made, name)), kind)
        with foreign(lambda error: f"environment {self._name!r}: {_raised(error, name)}"):
            function.try_on(*pairs)
        return function

    def _greatest_of(self, pairs: tuple[NDArray[Any], NDArray[Any]]) -> float:
        """The reward of a goal that is reached.

        Raises:
            UsageError: there are more than two rewards, or none is given for a goal that is reached alone.
        """
        rewards = self._reward(*pairs)
        reached, others = rewards[: PAIRS // 2], rewards[PAIRS // 2 :]
        if len({*reached.tolist()}) != 1 or len({*others.tolist()}) != 1 or not reached[0] > others[0]:
            raise UsageError(
                f"goal_ends is reward, but compute_reward of environment {self._name!r} gives other rewards than one "
                f"for a goal that is reached and a lower one elsewhere ({reached[0]:.4g}, {others[0]:.4g}, "
                f"{others[1]:.4g}): choose never"
            )
        return float(reached[0])


class _Function:
    """A function of goals, asked of many at once where that gives what it says of each alone."""

    def __init__(self, name: str, function: Asked, kind: type[Any]) -> None:
        self.name, self._function = name, function
        self._type, self._read = (np.float64, number) if kind is float else (np.bool_, flag)
        self.at_once = False

    def try_on(self, achieved: NDArray[Any], desired: NDArray[Any]) -> None:
        """Find out whether many can be asked for at once."""
        each = self(achieved, desired)
        with suppress(Exception):  # a stranger's function may do whatever it wants with a batch
            self.at_once = all(
                _alike(np.asarray(self._function(achieved[:count], desired[:count], {})), each[:count])
                for count in (1, len(each))
            )

    def __call__(self, achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[Any]:
        """Of goals [n, ...]: [n]."""
        if self.at_once:
            return np.asarray(self._function(achieved, desired, {}), self._type)
        rows = [self._read(self._function(one, other, {})) for one, other in zip(achieved, desired, strict=True)]
        return np.array(rows, self._type)


def _alike(together: NDArray[Any], each: NDArray[Any]) -> bool:
    return together.shape == each.shape and bool(np.allclose(together, each, RELATIVE, ABSOLUTE))


def _raised(error: BaseException, name: str = "its functions of goals") -> str:
    if isinstance(error, Unfit):
        return f"{name} gave what is none: {error}"
    return (
        f"{name}, asked with an empty info, raised {type(error).__name__}{told(error)}; goals that were not meant have "
        "no info of their own"
    )
