"""The control loop: a collector's steps, each when it is due."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from gymnasium.vector import VectorEnv

from polyak.deploy.drive.asked import Asked
from polyak.deploy.drive.clock import Clock
from polyak.deploy.drive.observer import Observer
from polyak.deploy.drive.pilot import Acting, Pilot, TooLate
from polyak.deploy.drive.report import Drive
from polyak.deploy.drive.schedule import Schedule
from polyak.deploy.drive.steered import Ending, Steered
from polyak.deploy.drive.thinking import Thinking
from polyak.environments.closing import close
from polyak.environments.make import Environment, make_environment, make_environments
from polyak.environments.stepping import Environments, GeneratorOf
from polyak.errors import NonFiniteError, TrainingError, UsageError
from polyak.experience.collector import Collector, Episode
from polyak.policies.evaluation import require_same_spaces
from polyak.policies.player import Player
from polyak.policies.policy import Policy
from polyak.system.foreign import told
from polyak.system.signals import time_limit
from polyak.types import Float, Spec, Transitions


class Moving(NamedTuple):
    """The parts of a control loop."""

    environments: Environments
    steered: Steered
    schedule: Schedule
    ending: Ending


class Learning(Protocol):
    """Where a loop's transitions go, and where its policies come from, if it learns."""

    def newest(self) -> Policy:
        """The policy to act with."""
        ...

    def took(self, transitions: Transitions, episodes: Sequence[Episode]) -> None:
        """A step has been taken, in which these episodes ended."""
        ...


class Unchanging(Learning):
    """A policy that stays as it is."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def newest(self) -> Policy:
        """That."""
        return self._policy

    def took(self, transitions: Transitions, episodes: Sequence[Episode]) -> None:
        """Nobody learns from it."""


def made(
    stack: ExitStack, asked: Asked, player: Player, clock: Clock, signals: list[int], seeds: GeneratorOf
) -> Moving:
    """The environment, made and put into a loop that has not begun; `stack` closes it.

    Raises:
        UsageError: it cannot be made, is a whole VectorEnv, or does not fit the policy.
    """
    if player.additions.action_repeat > 1:
        raise UsageError(
            f"the policy was trained with action_repeat {player.additions.action_repeat}, but a control loop gives an "
            "action to each step: drive an environment whose step is as long as the policy's, with a Player of "
            "action_repeat=1"
        )
    environment = make_environment(
        cast(Environment, player.environment),
        max_episode_steps=player.max_episode_steps,
        isolation=player.kept_apart,
        additions=player.additions,
    )
    stack.callback(close, environment)
    if isinstance(environment, VectorEnv):
        raise UsageError("a control loop drives a single environment, but a whole VectorEnv was made: pass one that is")
    schedule, ending = Schedule(1 / asked.rate), Ending(asked.steps, asked.episodes, signals)
    steered = Steered(environment, clock, schedule, ending, asked.asks)
    limit = stack.enter_context(time_limit(asked.step_timeout))
    environments = make_environments(lambda: steered, 1, seeds, limit=limit)
    require_same_spaces(player.acting, environments)
    return Moving(environments, steered, schedule, ending)


def best(policy: Policy, observation: Float, noise: Float, spread: Float | None = None) -> Float:
    """The action that a policy takes for the best."""
    return policy.mean(observation)


def drawn(policy: Policy, observation: Float, noise: Float, spread: Float | None = None) -> Float:
    """One that it draws."""
    return policy.explore(observation, noise, spread)


def most_of(asked: Asked, spec: Spec) -> Float | None:
    """[A]: by how much an action may change in a step, in normalized units."""
    if asked.action_rate_limit is None:
        return None
    return (asked.action_rate_limit / asked.rate / spec.action_half_range).astype(np.float32)


class Control:
    """A loop, and what it comes to."""

    def __init__(
        self,
        asked: Asked,
        moving: Moving,
        collector: Collector,
        learning: Learning,
        acting: Acting,
        thinking: Thinking,
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Put it together; it has not begun."""
        self._asked, self._moving, self._collector = asked, moving, collector
        self._learning, self._clock, self._observer = learning, clock, observer
        most = most_of(asked, moving.environments.spec)
        self._pilot = Pilot(
            learning.newest, acting, thinking, clock, moving.schedule, when_late=asked.when_late, most=most
        )
        moving.steered.began = self._pilot.begin
        self._episodes: list[Episode] = []
        self._total = self._seconds = 0.0
        self.error: Exception | None = None
        """What ended it, if that is an error: to be raised once all has been put in order."""

    def run(self, begin: Callable[[], None]) -> None:
        """Begin, and step until it is to end, whatever ends it: `error` says what failed, if anything did."""
        began = self._clock.now()
        try:
            begin()
            while self._moving.ending.now() is None:
                self._step()
        except TooLate:
            self._moving.ending.reason = "late"
        except (TrainingError, NonFiniteError) as error:
            self._moving.ending.reason = "failed"
            self.error = error
        self._seconds = self._clock.now() - began

    def _step(self) -> None:
        transitions = self._collector.step(self._pilot)
        episodes = self._collector.finished()
        self._learning.took(transitions, episodes)
        self._total += float(transitions.reward[0])
        number, period = len(self._episodes) + 1, self._moving.schedule.period
        for each in episodes:
            self._episodes.append(each)
            self._total = 0.0
            self._observer.episode_ended(number, each.total_reward, each.length, each.length * period)
        if not episodes:
            length = int(self._collector.lengths[0])
            self._observer.stepped(number, self._total, length, length * period)
        fault = self._moving.steered.fault
        if fault is not None:
            said = f"stop_on raised {type(fault).__name__}{told(fault)} after step {self._moving.ending.steps:,}"
            raise TrainingError(f"{said}: the loop has ended") from fault

    def report(self, learning: Mapping[str, Any] | None, signals: Sequence[int]) -> Drive:
        """What it came to, once it has run; `learning` is what was learned meanwhile."""
        ended = self._moving.ending.now()
        return Drive(
            ended="failed" if ended is None else ended,
            steps=self._moving.ending.steps,
            returns=tuple(each.total_reward for each in self._episodes),
            lengths=tuple(each.length for each in self._episodes),
            seconds=self._seconds,
            rate=self._asked.rate,
            lateness=self._moving.schedule.lateness,
            overruns=self._moving.schedule.overruns,
            late=self._pilot.late,
            limited=self._pilot.limited,
            learning=learning,
            signal_number=signals[0] if ended == "interrupted" else None,
        )
