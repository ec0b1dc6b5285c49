"""Episodes of a policy outside of training, and the return of each."""

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polyak.algorithm import Algorithm
from polyak.environments.infos import Info, averaged, success_in, success_rate
from polyak.environments.make import Environments
from polyak.environments.stepping import Step
from polyak.errors import UsageError
from polyak.policies.critic import value_of
from polyak.policies.normalizer import RAW, Snapshot
from polyak.policies.policy import Policy
from polyak.settings.kinds import Count, checked
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Float

MOST_STEPS = 10_000
"""Of an evaluation's episode, where no time limit is known: some environments end no episode by themselves."""
Watched = Callable[[Callable[[], str]], None]
"""Is called before each step of an evaluation with what tells how far it is."""

WITHOUT_END = 10**9
"""Episodes, where nobody says how many: three years of those that last a tenth of a second."""


@dataclass(frozen=True)
class Evaluation:
    """What the episodes of one evaluation gave."""

    returns: tuple[float, ...]
    """Undiscounted, one an episode."""
    lengths: tuple[int, ...]
    """In environment steps."""
    seed: int | None = None
    discounted_returns: tuple[float, ...] = ()
    """Of the same episodes, discounted; where a time limit cut one off, its rest is what `value` expected there."""
    values: tuple[float, ...] = ()
    """What `value` expected of each episode at its first observation."""
    successes: tuple[bool | None, ...] = ()
    """Of each episode, whether `is_success` (or `success`) in its last step's info was true; None where neither was."""
    cut_off: int = 0
    """Episodes that were cut off after `MOST_STEPS` steps, because no time limit of the environment is known."""
    info_metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of each number of infos that was asked for: its mean over the episodes whose last step's info had it."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns over episodes (population)."""
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        """Mean length in environment steps."""
        return float(np.mean(self.lengths))

    @property
    def success_rate(self) -> float | None:
        """The fraction of successes among the episodes that say whether they are; None where none does."""
        return success_rate(self.successes)

    def to_json(self) -> dict[str, Any]:
        """`mean`, `std`, `returns`, `lengths`, `seed`; `cut_off`, `success_rate`, `info_metrics`, if there are any."""
        rate, asked = self.success_rate, dict(self.info_metrics)
        return {
            "mean": self.mean,
            "std": self.std,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "seed": self.seed,
            **({"cut_off": self.cut_off} if self.cut_off else {}),
            **({} if rate is None else {"success_rate": rate}),
            **({"info_metrics": asked} if asked else {}),
        }


def _never() -> bool:
    return False


def evaluate(
    policy: Policy,
    environments: Environments,
    episodes: int,
    *,
    seed: int | None = None,
    discount: float = 1.0,
    value: Callable[[Float], Float] | None = None,
    info_metrics: Sequence[str] = (),
    generator: np.random.Generator | None = None,
    until: Callable[[], bool] = _never,
    occasion: str = "in the evaluation",
    watched: Watched | None = None,
) -> Evaluation:
    """Run `episodes` whole episodes with the deterministic policy, or with one that draws its actions.

    Every environment runs its fair share, fixed beforehand, so that short episodes are not preferred. Where no time
    limit of the environments is known, an episode is cut off after `MOST_STEPS` steps, as if one had been; in a vector
    that resets itself, the next one then begins where that was.

    Args:
        policy: acts.
        environments: where; they are not closed.
        episodes: how many.
        seed: noted in the result.
        discount: of the discounted returns.
        value: expects a discounted return of observations, [n, O] -> [n], for instance `critic_of` a learner; without
            it, the result has no `values` and no `discounted_returns`.
        info_metrics: numbers in the infos of the episodes' last steps, which the result is to have.
        generator: where actions are to be drawn (`Policy.explore`), what they are drawn from.
        until: asked after each step; once it says so, that is all, and the episodes that run count as cut off there.
        occasion: for the message of an error, and of what a Ctrl-C raises.
        watched: called before each step with what tells how far the evaluation is; what it raises ends it.

    Raises:
        UsageError: fewer than one episode, or spaces that are not the policy's.
        TrainingError: the environment raised, or returned a number that is not finite; the occasion, the episode and
            its step are named.
    """
    episodes = checked("episodes", episodes, Count)
    require_same_spaces(policy, environments)
    quota = np.full(environments.count, episodes // environments.count)
    quota[: episodes % environments.count] += 1
    results: list[list[_Episode]] = [[] for _ in range(environments.count)]
    running: list[_Episode] = []

    def moment() -> str:
        return _moment(results, running, episodes)

    with _told_as(environments, lambda: f"{occasion}, {moment()}"):
        observation = _seen(policy, environments.reset())
        running += [_Episode(first) for first in observation]
        while any(len(result) < share for result, share in zip(results, quota, strict=True)):
            if watched is not None:
                watched(moment)
            step = _step_seen(policy, environments.step(_actions(policy, observation, generator)))
            for index in np.flatnonzero(step.valid):
                running[index].add(float(step.reward[index]), discount)
            too_long = _too_long(environments, step, running)
            for index in np.flatnonzero(step.ended | too_long):
                running[index].end(step, int(index), too_long=bool(too_long[index]))
                if len(results[index]) < quota[index]:
                    results[index].append(running[index])
            observation = step.observation
            if too_long.any() and environments.every_episode_has_a_seed:
                observation = _seen(policy, environments.start_anew(too_long))
            for index in np.flatnonzero(step.ended | too_long | ~step.valid):
                running[index] = _Episode(observation[index])  # a reset step gives the first observation once more
            if until():
                _cut_off(results, running, quota, observation)
                break
    return _result([episode for result in results for episode in result], seed, value, info_metrics)


def _seen(policy: Policy, observation: Float) -> Float:
    """Of observations [N, O], what the policy sees: all but the achieved goal, which is last where there is one."""
    size = policy.spec.observation_size
    return observation if observation.shape[1] == size else observation[:, :size]


def _step_seen(policy: Policy, step: Step) -> Step:
    shown = {name: _seen(policy, getattr(step, name)) for name in ("observation", "next_observation")}
    return step._replace(**shown)


def _actions(policy: Policy, observation: Float, generator: np.random.Generator | None) -> Float:
    """Normalized actions, [N, A]."""
    if generator is None:
        return policy.mean(observation)
    return policy.explore(
        observation, generator.standard_normal((len(observation), policy.spec.action_size), np.float32)
    )


def _cut_off(results: "list[list[_Episode]]", running: "list[_Episode]", quota: Any, observation: Float) -> None:
    """Let the episodes that run count as cut off where they are."""
    for index, episode in enumerate(running):
        if episode.length and len(results[index]) < quota[index]:
            episode.cut_off_at = observation[index].copy()
            results[index].append(episode)


def _too_long(environments: Environments, step: Step, running: "list[_Episode]") -> Bool:
    """[N]: where an episode that nothing limits is to be cut off."""
    if environments.traits.time_limited:
        return np.zeros(environments.count, np.bool_)
    return ~step.ended & [episode.length >= MOST_STEPS for episode in running]


@contextmanager
def _told_as(environments: Environments, moment: Callable[[], str]) -> Generator[None]:
    """Let faults within this block say when they were, and a Ctrl-C when it came, in a note."""
    try:
        with environments.told_as(moment):
            yield
    except KeyboardInterrupt as error:
        error.add_note(moment())
        raise


def _moment(results: "list[list[_Episode]]", running: "list[_Episode]", episodes: int) -> str:
    """How far an evaluation is: in which episode, or where several run side by side, how many have ended."""
    ended = sum(map(len, results))
    if len(results) == 1:
        steps = running[0].length if running else 0
        of = "" if episodes >= WITHOUT_END else f" of {episodes}"
        return f"in episode {ended + 1}{of}, after {steps:,} of its steps"
    steps = sum(episode.length for result in (*results, running) for episode in result)
    return f"after {ended} of {episodes} episodes and {steps:,} steps in all"


class _Episode:
    """One episode's sums."""

    def __init__(self, first_observation: Float) -> None:
        self.first_observation = first_observation.copy()
        self.total_reward, self.discounted, self.weight, self.length = 0.0, 0.0, 1.0, 0
        self.cut_off_at: Float | None = None
        self.too_long = False
        self.info: Info = {}

    def add(self, reward: float, discount: float) -> None:
        """Count a step."""
        self.total_reward += reward
        self.discounted += self.weight * reward
        self.weight *= discount
        self.length += 1

    def end(self, step: Step, index: int, *, too_long: bool) -> None:
        """Keep how it ended, in a step of environments of which its own has this index."""
        self.info, self.too_long = step.infos.get(index, {}), too_long
        if not step.terminated[index]:
            self.cut_off_at = step.next_observation[index].copy()


def _result(
    episodes: list[_Episode], seed: int | None, value: Callable[[Float], Float] | None, info_metrics: Sequence[str]
) -> Evaluation:
    returns = tuple(episode.total_reward for episode in episodes)
    lengths = tuple(episode.length for episode in episodes)
    infos = [episode.info for episode in episodes]
    told: dict[str, Any] = {
        "successes": tuple(map(success_in, infos)),
        "cut_off": sum(episode.too_long for episode in episodes),
        "info_metrics": averaged(infos, info_metrics),
    }
    if value is None:
        return Evaluation(returns, lengths, seed, **told)
    expected = value(np.stack([episode.first_observation for episode in episodes]))
    discounted = [
        episode.discounted
        + (0.0 if episode.cut_off_at is None else episode.weight * float(value(episode.cut_off_at[None])[0]))
        for episode in episodes
    ]
    return Evaluation(returns, lengths, seed, tuple(discounted), tuple(expected.tolist()), **told)


def warn_of_averages(environments: Environments) -> None:
    """Say that a policy is shown other numbers than it was trained on, where a wrapper averages what it has seen."""
    for name in environments.traits.averages:
        warnings.warn(
            f"{name} normalizes by running averages, which begin anew here: the policy is shown other numbers than it "
            "was trained on, and the returns mean little; train without it, with --normalize-observations",
            RuntimeWarning,
            stacklevel=3,
        )


def critic_of(
    algorithm: Algorithm, config: Settings, learner: Arrays, policy: Policy, snapshot: Snapshot = RAW
) -> Callable[[Float], Float]:
    """Q(s, mu(s)) as a learner expects it of the deterministic policy mu, in units of the reward: [n, O] -> [n].

    Args:
        algorithm: what is learned, with these settings.
        config: the settings.
        learner: the learner's whole state, as `Learner.arrays()` gives it.
        policy: the policy mu.
        snapshot: what it learned through.
    """
    value = value_of(algorithm, config, policy.spec, learner, snapshot)
    return lambda observation: value(observation, policy.mean(observation))


def require_same_spaces(policy: Policy, environments: Environments) -> None:
    """Check that a policy and environments speak of the same observations and actions.

    Raises:
        UsageError: they do not; both are named.
    """
    ours, theirs = policy.spec, environments.spec.seen
    if ours.observation_size != theirs.observation_size or ours.action_shape != theirs.action_shape:
        raise UsageError(
            f"the policy takes observations {ours.observation_shape} and gives actions {ours.action_shape}, but the "
            f"environment has {theirs.observation_shape} and {theirs.action_shape}"
        )
    same_low = np.array_equal(ours.action_low, theirs.action_low)
    if not (same_low and np.array_equal(ours.action_high, theirs.action_high)):
        raise UsageError(
            f"the policy was trained for action bounds {ours.action_low} to {ours.action_high}, but the environment's "
            f"are {theirs.action_low} to {theirs.action_high}"
        )
