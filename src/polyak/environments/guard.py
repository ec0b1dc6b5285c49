"""Environments as polyak steps them: what they return is checked before any cast, and observations are flat."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from polyak.environments.infos import numbers_in, numbers_of_each
from polyak.environments.parts import box_reader
from polyak.environments.readers import reader_of
from polyak.environments.spaces import Flat
from polyak.environments.values import Unfit, described, flag, flags, number, numbers
from polyak.errors import UsageError
from polyak.types import Bool, Float

STEP = "(observation, reward, terminated, truncated, info)"
RESET = "(observation, info)"
OLD = "the old Gym interface"
OLD_ERRORS = {
    "reset": r"unexpected keyword argument '(seed|options)'|to unpack \(expected 2\b|cannot unpack",
    "step": r"to unpack \(expected 5\b|cannot unpack",
}
"""What a wrapper's `reset` and `step` raise that meet such an environment."""


class WrongAnswer(Exception):  # noqa: N818 - named for what happened, as Unfit is
    """What an environment returned is not what Gymnasium says; the message names the environment, and what is right."""


class Guard(gymnasium.Wrapper[Float, Any, Any, Any]):
    """Checks what an environment returns; gives float32 vectors [O] of their own memory, and plain numbers.

    It runs where the environment does, be it another process, so that all ways of stepping see the same. Of an `info`
    there are the numbers where an episode ends, and nothing elsewhere: what else is in it can end no run.
    """

    def __init__(
        self, environment: Any, index: int = 0, make: Callable[..., Any] | None = None, *, action_repeat: int = 1
    ) -> None:
        """Take the environment, which of N it is, and what makes it again with other settings, if that is wanted.

        Each action is taken for `action_repeat` of its steps.
        """
        super().__init__(environment)
        self._index, self._make, self._further = index, make, range(action_repeat - 1)
        self._settings: Mapping[str, Any] = {}
        self._wanted: Mapping[str, Any] = self._settings
        self._spaces = environment.observation_space, environment.action_space
        self._read = reader_of(environment.observation_space)
        flat = Flat(environment.observation_space)
        self.observation_space = cast(Any, flat)
        self.size = flat.size
        """O."""

    @property
    def changed(self) -> Mapping[str, Any]:
        """The settings that it is made with from its next episode on, over those that it was made with at first."""
        return self._wanted

    @changed.setter
    def changed(self, settings: Mapping[str, Any]) -> None:
        self._wanted = settings

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Float, dict[str, Any]]:
        """Begin an episode, in an environment that is made again where its settings are to be others.

        Raises:
            WrongAnswer: it returned something else than an observation of its space, and an info.
            RuntimeError: it cannot be made again.
        """
        if self._wanted != self._settings:
            self._make_again(self._wanted)
        try:
            answer: Any = self.env.reset(seed=seed, options=options or None)
        except (TypeError, ValueError) as error:
            if (told := self._of_old("reset", error)) is not None:
                raise told from error
            raise
        if not isinstance(answer, (tuple, list)) or len(cast("list[Any]", answer)) != 2:
            raise self._wrong(f"from reset {_shape_of(answer)}, but {RESET} is right ({OLD} gave only the observation)")
        return self._observation(cast("list[Any]", answer)[0]), {}

    def step(self, action: Any) -> tuple[Float, float, bool, bool, dict[str, Any]]:
        """Take an action in environment units; where it is repeated, until the episode ends at the latest.

        Rewards are summed then, and all else is that of the last of the environment's steps.

        Raises:
            WrongAnswer: it returned something else than an observation of its space, a number, two flags and an info.
        """
        observation, reward, terminated, truncated, info = self._stepped(action)
        for _ in self._further:
            if terminated or truncated:
                break
            observation, more, terminated, truncated, info = self._stepped(action)
            reward += more
        return observation, reward, terminated, truncated, info

    def _stepped(self, action: Any) -> tuple[Float, float, bool, bool, dict[str, Any]]:
        """One step of the environment, whose answer is checked."""
        try:
            answer: Any = self.env.step(action)
        except (TypeError, ValueError) as error:
            if (told := self._of_old("step", error)) is not None:
                raise told from error
            raise
        if not isinstance(answer, (tuple, list)) or len(cast("list[Any]", answer)) != 5:
            raise self._wrong(f"from step {_shape_of(answer)}, but {STEP} is right ({OLD} gave four)")
        observed, reward, terminated, truncated, info = cast("list[Any]", answer)
        observation, name = self._observation(observed), "reward"
        try:
            reward, name = number(reward), "terminated"
            terminated, name = flag(terminated), "truncated"
            truncated = flag(truncated)
        except Unfit as error:
            raise self._wrong(f"a wrong {name}: {error}") from error
        return observation, reward, terminated, truncated, numbers_in(info) if terminated or truncated else {}

    def _make_again(self, settings: Mapping[str, Any]) -> None:
        """The environment before is closed first, for there may be only one."""
        before = self.env.unwrapped
        with suppress(Exception):  # nothing depends on how it closes
            self.env.close()
        if self._make is None:
            raise RuntimeError("nobody has said how it is made again")
        try:
            self.env = self._make(index=self._index, changed=settings)
        except UsageError as error:  # which would be the caller's at the door, but not within a run
            raise RuntimeError(f"it cannot be made with {dict(settings)}: {error}") from error
        if self.env.unwrapped is before:
            raise RuntimeError(f"to be made with {dict(settings)}, it must be a new one, but it is the same again")
        spaces = self.env.observation_space, self.env.action_space
        if spaces != self._spaces:
            raise RuntimeError(f"made with {dict(settings)}, it has the spaces {spaces}, but had {self._spaces}")
        self._settings = settings

    def _observation(self, observed: Any) -> Float:
        try:
            return self._read(observed)
        except Unfit as error:
            raise self._wrong(f"a wrong observation: {error}") from error

    def _wrong(self, what: str) -> WrongAnswer:
        return WrongAnswer(f"environment {self._index} returned {what}")

    def _of_old(self, asked: str, error: Exception) -> WrongAnswer | None:
        """Whether one of Gymnasium's wrappers, or this one, met an environment of the interface before Gymnasium's."""
        traceback, innermost = error.__traceback__, None
        while traceback is not None:
            innermost, traceback = traceback.tb_frame, traceback.tb_next
        asker = innermost.f_locals.get("self") if innermost is not None else None
        if innermost is None or innermost.f_code.co_name != asked or not isinstance(asker, gymnasium.Wrapper):
            return None
        if re.search(OLD_ERRORS[asked], str(error)):
            right = f"reset(seed=..., options=...) and {RESET}" if asked == "reset" else STEP
            return self._wrong(f"from {asked} what belongs to {OLD} ({error}), but {right} is right")
        return None


class VectorGuard:
    """Checks what a vector environment of N returns; gives arrays of their own memory, and an info where one ended."""

    def __init__(self, vector: Any) -> None:
        """Take a vector environment whose single observation space is a flat Box."""
        self._vector: Any = vector
        self._count: int = vector.num_envs
        space = vector.single_observation_space
        self._shape = (self._count, *space.shape)
        self._read = box_reader(self._shape, space.dtype)
        self._read_one = box_reader(space.shape, space.dtype)
        self._last_info: Any = None

    def reset(self, *, seed: list[int | None], options: dict[str, Any] | None = None) -> tuple[Float, dict[str, Any]]:
        """Begin episodes: [N, O].

        Raises:
            WrongAnswer: it returned something else.
        """
        answer: Any = self._vector.reset(seed=seed, options=options)
        if not isinstance(answer, (tuple, list)) or len(cast("list[Any]", answer)) != 2:
            raise _wrong(f"from reset {_shape_of(answer)}, but (observations, infos) is right")
        return self._observations(cast("list[Any]", answer)[0]), {}

    def step(self, actions: Any) -> tuple[Float, NDArray[Any], Bool, Bool, dict[str, Any]]:
        """Take actions [N, *S] in environment units: observations [N, O], rewards, terminated and truncated, each [N].

        Raises:
            WrongAnswer: it returned something else.
        """
        answer: Any = self._vector.step(actions)
        if not isinstance(answer, (tuple, list)) or len(cast("list[Any]", answer)) != 5:
            raise _wrong(f"from step {_shape_of(answer)}, but {STEP} is right, each for all environments")
        observed, rewards, terminated, truncated, self._last_info = cast("list[Any]", answer)
        observation, name = self._observations(observed), "reward"
        try:
            rewards, name = numbers(rewards, self._count), "terminated"
            terminated, name = flags(terminated, self._count), "truncated"
            truncated = flags(truncated, self._count)
        except Unfit as error:
            raise _wrong(f"a wrong {name}: {error}") from error
        return observation, rewards, terminated, truncated, {}

    def last_observations(self, ended: Bool) -> Float:
        """[n, O]: where an episode has `ended` [N] in the last step (autoreset mode SAME_STEP), its last observation.

        Raises:
            WrongAnswer: the info does not have it.
        """
        info, rows = self._last_info, list[Float]()
        if not (isinstance(info, dict) and "final_obs" in info):
            raise _wrong(
                f"no final_obs in its info ({described(cast(Any, info))}) where an episode ended: the autoreset mode "
                "SAME_STEP asks for info['final_obs'], the last observation of each episode that has ended"
            )
        for index in np.flatnonzero(ended):
            try:
                rows.append(self._read_one(cast("Any", info)["final_obs"][index]))
            except (Unfit, LookupError, TypeError) as error:
                raise _wrong(
                    f"a wrong info['final_obs'] for environment {index}, whose episode ended: {error}"
                ) from error
        return np.stack(rows)

    def last_infos(self, ended: Bool, *, final: bool) -> dict[int, dict[str, float]]:
        """The numbers in the last info of each environment whose episode has `ended` [N] in the last step.

        `final`: they are in `final_info` (autoreset mode SAME_STEP); the rest belongs to the next episode.
        """
        info: Any = self._last_info
        if final:
            info = cast("dict[str, Any]", info).get("final_info") if isinstance(info, dict) else None
        return numbers_of_each(info, ended)

    def _observations(self, observed: Any) -> Float:
        try:
            return self._read(observed).reshape(self._shape)
        except Unfit as error:
            raise _wrong(f"a wrong observation: {error}") from error


def _wrong(what: str) -> WrongAnswer:
    return WrongAnswer(f"the vector environment returned {what}")


def _shape_of(answer: Any) -> str:
    if isinstance(answer, (tuple, list)):
        return f"{len(cast('list[Any]', answer))} values"
    return f"a {type(answer).__name__}"
