"""Steps the environments with a policy and emits transitions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polyak.environments.infos import Info
from polyak.environments.stepping import Environments, Step
from polyak.errors import TrainingError
from polyak.experience.draws import Draws
from polyak.experience.exploration import WHITE, Exploration, Manner
from polyak.system.stopwatch import no_lap
from polyak.types import Arrays, Bool, Float, Transitions

EPISODES = 2**31
"""Numbers of episodes begin anew after so many: nobody's replay holds the earlier one still."""


@dataclass(frozen=True)
class Episode:
    """A finished training episode."""

    step: int
    """Environment steps taken in the run when it ended."""
    total_reward: float
    """The undiscounted return."""
    length: int
    """Steps of the episode."""
    terminated: bool
    """False where only a time limit ended it."""
    info: Info = field(default_factory=dict[str, float])
    """The numbers in the info of its last step."""


class Explorer(Protocol):
    """Who acts: a policy, or whoever is asked like one."""

    def explore(self, observation: Float, noise: Float, spread: Float | None = None) -> Float:
        """An exploring action, normalized: observation [N, O], standard normal noise [N, A] -> [N, A] in [-1, 1].

        `spread` [N, 1] is as `Policy.explore` has it.
        """
        ...


class Collector:
    """Acts in N environments: at random while warming up, else with a policy's exploration.

    Environment i numbers its episodes i, N + i, 2 N + i, ..., whenever the others' end. One that is given up has a
    number of its own as well: what follows is another's.
    """

    def __init__(
        self,
        environments: Environments,
        warm_up: np.random.Generator | Sequence[np.random.Generator],
        exploration: np.random.Generator | Sequence[np.random.Generator],
        manner: Manner = WHITE,
        *,
        first: int = 0,
        among: int | None = None,
    ) -> None:
        """Step these environments, which are numbers `first` to `first` + N - 1 `among` those of the run.

        Uniform actions and noise come from one stream for all environments, or from N, one for each; `manner` says how
        noise is made.
        """
        self.environments = environments
        self._shape = (environments.count, environments.spec.action_size)
        self._warm_up = Draws(warm_up, self._shape)
        self._exploration = Exploration(exploration, self._shape, manner)
        self._total_reward = np.zeros(environments.count)
        self.lengths: NDArray[np.int64] = np.zeros(environments.count, np.int64)
        """[N]: steps of the running episodes."""
        self._stride = environments.count if among is None else among
        self._numbers: NDArray[np.int32] = np.arange(first, first + environments.count, dtype=np.int32)
        """[N]: the numbers of the running episodes; its emitted ones keep their array."""
        self._episodes: list[Episode] = []
        self._observation: Float = np.zeros((environments.count, environments.spec.observation_size), np.float32)
        self._hidden = environments.spec.goal_size
        """Of how many numbers at an observation's end the policy knows nothing."""

    def begin(self) -> None:
        """Start the first episodes; a collector that is `restore`d goes on with those that were running.

        Raises:
            TrainingError: as for `step`.
        """
        self._observation = self.environments.reset()
        self._exploration.begin()

    @property
    def steps(self) -> int:
        """Environment steps so far, summed over all environments."""
        return self.environments.steps

    def step(self, policy: Explorer | None, lap: Callable[[str], None] = no_lap) -> Transitions:
        """Take one step in every environment, with `policy`'s exploration or, where it is None, uniformly at random.

        `lap` is told when acting and the environments have taken their time.

        Raises:
            TrainingError: the environment is at fault, as `Environments.step` says; the collector is as it was before
                the step.
        """
        if policy is None:
            before = self._warm_up.state()
            action = self._warm_up.uniform()
            lap("acting")
            try:
                result = self.environments.step(action)
            except TrainingError:
                self._warm_up.restore(before)
                raise
            lap("environment")
        else:
            seen = self._observation[:, : -self._hidden] if self._hidden else self._observation
            action = policy.explore(seen, self._exploration.noise, self._exploration.spread)
            lap("acting")
            result = self.environments.step(action)
            lap("environment")
            self._exploration.go_on(result.valid)
        transitions = Transitions(
            observation=self._observation,
            action=action,
            reward=result.reward,
            next_observation=result.next_observation,
            terminated=result.terminated,
            truncated=result.truncated,
            episode=self._numbers,
        )
        everywhere = np.count_nonzero(result.valid) == len(result.valid)
        if not everywhere:
            transitions = transitions.only(result.valid)
        self._observation = result.observation
        self._count(result, everywhere)
        lap("acting")
        return transitions

    def finished(self) -> list[Episode]:
        """The episodes finished since the last call, in order."""
        episodes, self._episodes = self._episodes, []
        return episodes

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """What `restore` needs, as JSON can hold it and as arrays; the environments' own state is theirs to tell."""
        explored, noise = self._exploration.state()
        counts: dict[str, Any] = {
            "total_rewards": self._total_reward.tolist(),
            "lengths": self.lengths.tolist(),
            "episode_numbers": self._numbers.tolist(),
            "warm_up": self._warm_up.state(),
            **explored,
        }
        return counts, {**noise, "observation": self._observation}

    def restore(self, counts: Mapping[str, Any], arrays: Arrays) -> None:
        """Go on from a `state()`, in environments that have been brought to where they were.

        Raises:
            ValueError, TypeError, KeyError: this is no state of a collector in as many environments.
        """
        total_reward, lengths = np.array(counts["total_rewards"], np.float64), np.array(counts["lengths"], np.int64)
        if total_reward.shape != self._total_reward.shape or lengths.shape != self.lengths.shape or (lengths < 0).any():
            raise ValueError(f"{len(counts['lengths'])} episodes in {len(self.lengths)} environments")
        numbers = counts.get("episode_numbers", range(len(lengths)))  # those stored before format 5 have none
        if len(numbers) != len(lengths) or not all(type(each) is int and 0 <= each < EPISODES for each in numbers):
            raise ValueError(f"numbers of episodes: {str(numbers)[:40]}")
        self._total_reward, self.lengths, self._numbers = total_reward, lengths, np.array(numbers, np.int32)
        self._warm_up.restore(counts["warm_up"])
        self._exploration.restore(counts, arrays)
        self._observation = arrays["observation"]

    def begin_again(self) -> None:
        """Start the episodes that have just begun once more, from the same seeds, after others were played here.

        Raises:
            TrainingError: as for `step`.
        """
        self._observation = self.environments.start(self.environments.seeds)

    def cut(self) -> None:
        """What the running episodes bring from now on follows none of what they have brought: it has been lost."""
        self._numbers = ((self._numbers.astype(np.int64) + self._stride) % EPISODES).astype(np.int32)

    def start_anew(self, which: Bool) -> None:
        """Give up the running episodes of the environments `which` [N] and start others there.

        Raises:
            TrainingError: as for `step`.
        """
        self._observation = self.environments.start_anew(which)
        for index in np.flatnonzero(which):
            self._forget(int(index))

    def _count(self, result: Step, everywhere: bool) -> None:
        if everywhere:
            self._total_reward += result.reward
            self.lengths += 1
        else:
            np.add(self._total_reward, result.reward, out=self._total_reward, where=result.valid)
            self.lengths += result.valid
        for index in result.ended.nonzero()[0] if np.count_nonzero(result.ended) else ():
            episode = Episode(
                step=self.steps,
                total_reward=float(self._total_reward[index]),
                length=int(self.lengths[index]),
                terminated=bool(result.terminated[index]),
                info=result.infos.get(int(index), {}),
            )
            self._episodes.append(episode)
            self._forget(int(index))

    def _forget(self, index: int) -> None:
        """Begin to count anew, with another number; exploration is told."""
        self._total_reward[index] = 0.0
        self.lengths[index] = 0
        self._numbers = self._numbers.copy()
        self._numbers[index] = (int(self._numbers[index]) + self._stride) % EPISODES
        self._exploration.episode_ended(index)
