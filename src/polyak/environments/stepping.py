"""Environments as the rest of polyak sees them: N behind one `reset` and `step`, in float32, every fault named."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from polyak.environments.answers import Answers
from polyak.environments.closing import close
from polyak.environments.distinct import Claim
from polyak.environments.guard import VectorGuard
from polyak.environments.infos import Info
from polyak.environments.sidebyside import SideBySide
from polyak.environments.spaces import needs_flattening, spec_of
from polyak.environments.traits import Traits
from polyak.errors import UsageError
from polyak.settings.kinds import checked
from polyak.system.randomness import episode_seed, go_on_from, state_of
from polyak.system.signals import Limit
from polyak.types import Bool, Float, Spec

GeneratorOf = Callable[[int], np.random.Generator]
"""Gives environment i of N its random stream."""


_NONE: Mapping[int, Info] = {}


UNKNOWN = Traits()


class Step(NamedTuple):
    """What one step of N environments gave."""

    observation: Float
    """[N, O]: what to act on next; the first of a new episode where one has ended."""
    next_observation: Float
    """[N, O]: the true successor, also where the episode ended."""
    reward: Float
    """[N]"""
    terminated: Bool
    """[N]"""
    truncated: Bool
    """[N]"""
    valid: Bool
    """[N]: False where the step was only a reset (autoreset mode NEXT_STEP) and is no transition."""
    ended: Bool
    """[N]: terminated or truncated, and valid."""
    infos: Mapping[int, Info]
    """For each environment whose episode has ended: the numbers in its last info."""


class Outcome(NamedTuple):
    """What the environments themselves answered to actions."""

    observation: Float
    """[N, O]"""
    reward: Float
    """[N]"""
    terminated: Bool
    """[N]"""
    truncated: Bool
    """[N]"""


class Environments:
    """N environments behind one `reset` and `step`, whatever their autoreset mode.

    Environments that polyak makes run without autoreset (DISABLED): every episode starts from a seed drawn from the
    environment's own stream. A vector environment of the user's keeps its mode and seeds its later episodes itself.
    """

    def __init__(
        self,
        vector: Any,
        generator_of: GeneratorOf,
        limit: Limit = nullcontext,
        claim: Claim | None = None,
        *,
        can_be_made_again: bool = False,
        traits: Traits = UNKNOWN,
        first: int = 0,
    ) -> None:
        """Take a vector environment, what gives each of its environments a random stream, and a limit to its answers.

        The environments are numbered from `first` on.

        `claim` is on the objects that it consists of, and released when they are closed. Where its environments can be
        made again, each has an attribute `changed`, as a `Guard` has it.

        Raises:
            UsageError: spaces that polyak does not take, or no autoreset mode in the metadata.
        """
        mode = vector.metadata.get("autoreset_mode")
        try:
            self._mode = AutoresetMode(mode)
        except ValueError as error:
            raise UsageError(
                "the vector environment does not say how it resets: set metadata['autoreset_mode'] "
                f"({mode!r}) to a value of gymnasium.vector.AutoresetMode"
            ) from error
        if needs_flattening(vector.single_observation_space):
            raise UsageError(
                f"the vector environment's observation space is {vector.single_observation_space}, but must be a flat "
                "Box: wrap it in gymnasium.wrappers.vector.FlattenObservation"
            )
        self.vector: Any = vector
        self._guarded: Any = vector if isinstance(vector, SideBySide) else VectorGuard(vector)
        self._claim = claim
        self.count: int = vector.num_envs
        self.spec: Spec = spec_of(self.vector.single_observation_space, self.vector.single_action_space)
        self._map = self.spec.map_of(self.count)
        self._action_shape = (self.count, *self.spec.action_shape)
        self._action_space: Any = vector.single_action_space
        self._takes_float32 = bool(self._action_space.dtype == np.float32)
        self.seeds: list[int] = [0] * self.count
        """The seed that each environment's running episode began with."""
        self.is_one_vector = False
        """Whether a caller's code made all of it at once, so that polyak knows nothing of the single environments."""
        self._generators = [generator_of(index) for index in range(first, first + self.count)]
        self._limit = limit
        self._answers = Answers(vector, limit, first)
        self.traits = traits
        """What is known of them before they are stepped."""
        self._can_be_made_again = can_be_made_again
        self._next: Mapping[str, Any] = {}
        self._running: list[Mapping[str, Any]] = [self._next] * self.count
        self._made_with: list[Mapping[str, Any]] = [self._next] * self.count
        """Settings that have changed: those of the next episodes, of each running one, of each environment."""
        self._ended: Bool = np.zeros(self.count, np.bool_)
        self._everywhere: Bool = np.ones(self.count, np.bool_)

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self._answers.steps

    @property
    def every_episode_has_a_seed(self) -> bool:
        """Whether each episode starts from one of `seeds`, so that it can be enacted again."""
        return self._mode is AutoresetMode.DISABLED

    @property
    def resets_take_steps(self) -> bool:
        """Whether an environment spends a step on each reset, so that the run's steps a call are of any number."""
        return self._mode is AutoresetMode.NEXT_STEP

    def beside(self, generator_of: GeneratorOf) -> "Environments":
        """The same environments with streams and counts of their own, for other episodes between those of these."""
        beside = Environments(self.vector, generator_of, self._limit, traits=self.traits)
        beside._made_with = self._made_with
        return beside

    def set(self, name: str, value: Any) -> None:
        """From each environment's next episode on, let the setting `name` of the environment be `value`.

        It is an argument of the environment's constructor, or of the callable that makes it: the environment is made
        again with it, once, where its next episode begins. An episode that is running goes on with what it began with,
        and is enacted again with that on resume: what each running episode has, and what the next ones get, is in
        `state`. Only these environments get it: those in which a policy is evaluated stay as they were made.

        What cannot be made with it ends the run where it is made, as a `TrainingError`.

        Args:
            name: of the argument.
            value: a number, a text, True, False, None, or lists and mappings of these.

        Raises:
            UsageError: the value is none of these; or polyak does not make these environments one by one (a VectorEnv,
                EnvPool's, an environment that was handed over), so that it cannot make them again.
        """
        if not (self._can_be_made_again and self.every_episode_has_a_seed):
            raise UsageError(
                f"the environment's setting {name!r} cannot be changed, because polyak does not make these "
                "environments one by one: train on an id, or on a callable that makes a single environment"
            )
        self._next = {**self._next, **checked("environment's settings", {name: value}, Mapping[str, Any])}

    @property
    def changed(self) -> Mapping[str, Any]:
        """The settings that have been `set`, as the next episodes get them."""
        return self._next

    def reset(self) -> Float:
        """Start a new episode everywhere: [N, O]."""
        observation = self.start_anew(self._everywhere)
        self._ended = np.zeros(self.count, np.bool_)
        return observation

    def start_anew(self, which: Bool) -> Float:
        """Start a new episode, from a fresh seed, in the environments `which` [N]: [N, O].

        Raises:
            TrainingError: as for `step`; the streams of seeds are then as before.
        """
        before = self.state()
        try:
            self._running = [
                self._next if wanted else running for running, wanted in zip(self._running, which, strict=True)
            ]
            seeds = [
                episode_seed(generator) if wanted else None
                for generator, wanted in zip(self._generators, which, strict=True)
            ]
            return self.start(seeds)
        except BaseException:
            self.restore(before)
            raise

    def start(self, seeds: Sequence[int | None]) -> Float:
        """Start an episode from each seed; an environment whose seed is None goes on with its own: [N, O].

        It has the settings that its running episode began with.
        """
        which = np.array([seed is not None for seed in seeds])
        wanted = [
            running if starts else now
            for running, now, starts in zip(self._running, self._made_with, which, strict=True)
        ]
        if wanted != self._made_with:
            self._answers.to(self.vector.set_attr, "changed", wanted)
            self._made_with[:] = wanted
        options = None if which.all() else {"reset_mask": which}
        observation, _ = self._answers.to(self._guarded.reset, seed=list(seeds), options=options)
        self._answers.require_finite("observation", observation)
        self.seeds = [now if now is not None else old for now, old in zip(seeds, self.seeds, strict=True)]
        return observation

    def step(self, action: Float) -> Step:
        """Take normalized actions [N, A]; environments whose episode ends begin the next one.

        Raises:
            TrainingError: an environment raised or did not answer, or an observation or a reward is not finite or has
                another shape; the step and the environment are named. Nothing has been counted or drawn then.
        """
        outcome = self.advance(action)
        observation = next_observation = outcome.observation
        valid, ended, infos = self._everywhere, outcome.terminated | outcome.truncated, _NONE
        if self._mode is AutoresetMode.NEXT_STEP:
            valid = ~self._ended
            ended &= valid
        if np.count_nonzero(ended):
            infos = self._guarded.last_infos(ended, final=self._mode is AutoresetMode.SAME_STEP)
            if self._mode is AutoresetMode.DISABLED:
                observation = self.start_anew(ended)
            elif self._mode is AutoresetMode.SAME_STEP:
                next_observation = observation.copy()
                next_observation[ended] = self._answers.to(self._guarded.last_observations, ended)
                self._answers.require_finite("observation", next_observation)
        self._ended = ended
        self._answers.steps += self.count if valid is self._everywhere else int(np.count_nonzero(valid))
        reward, terminated, truncated = outcome.reward, outcome.terminated, outcome.truncated
        return Step(observation, next_observation, reward, terminated, truncated, valid, ended, infos)

    def advance(self, action: Float) -> Outcome:
        """Take normalized actions [N, A] and leave it at that: no episode is started where one ended."""
        given = self._to_environment(action)
        observation, rewards, terminated, truncated, _ = self._answers.to(self._guarded.step, given)
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and refused as such
            reward = rewards.astype(np.float32)
        self._answers.require_finite("reward", reward)
        self._answers.require_finite("observation", observation)
        return Outcome(observation, reward, terminated, truncated)

    def state(self) -> dict[str, Any]:
        """Steps, and where the streams of seeds are; the episodes themselves are not in it, but for their settings."""
        changed = {"next": dict(self._next), "running": [dict(running) for running in self._running]}
        return {
            "steps": self.steps,
            "seeds": list(self.seeds),
            "streams": [state_of(generator) for generator in self._generators],
            **({"changed": changed} if self._next or any(self._running) else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`; the episodes go on where `start` and `advance` bring them.

        Raises:
            ValueError, TypeError, KeyError: this is no state of as many environments.
        """
        for generator, saved in zip(self._generators, state["streams"], strict=True):
            go_on_from(generator, saved)
        self._answers.steps = int(state["steps"])
        self.seeds = [int(seed) for _, seed in zip(self._generators, state["seeds"], strict=True)]
        changed = state.get("changed", {"next": {}, "running": [{}] * self.count})
        self._next = checked("changed", changed["next"], Mapping[str, Any])
        self._running = [
            checked("changed", running, Mapping[str, Any])
            for _, running in zip(self._generators, changed["running"], strict=True)
        ]

    def _to_environment(self, action: Float) -> Any:
        """Normalized actions [N, A] as the environment's own space takes them."""
        given = self._map(action).reshape(self._action_shape)
        if self._takes_float32:
            return given
        given = given.astype(self._action_space.dtype)  # whose bounds float32 may have rounded
        return np.clip(given, self._action_space.low, self._action_space.high)

    def told_as(self, moment: Callable[[], str]) -> AbstractContextManager[None]:
        """Let faults within this block say `moment()` instead of how many steps there have been."""
        return self._answers.told_as(moment)

    def close(self) -> None:
        """Close all environments and the processes they run in, as `closing.close` does."""
        if self._claim is not None:
            self._claim.release()
        close(self.vector, lost=self._answers.lost)
