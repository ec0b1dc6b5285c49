"""What a callback is shown of its run, and four that are there to be used, and to be read as examples.

A callback is any object with some of the methods `started`, `stepped`, `updated`, `evaluated` and `ended`, each of
which gets the run as a `Training`; with `state` and `restore` it goes on where the run does.
"""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polyak.environments.additions import Additions, require_names
from polyak.environments.handed import Given
from polyak.environments.make import make_environments
from polyak.errors import UsageError
from polyak.policies.evaluation import evaluate
from polyak.run.callbacks.view import Training
from polyak.settings.kinds import Count, Seed, checked
from polyak.system.files import write_atomically
from polyak.system.randomness import Streams

__all__ = ["Curriculum", "EvaluateElsewhere", "SavePolicies", "Stateless", "StopWhen", "Training"]


class Stateless:
    """For callbacks that have nothing to keep: a resumed run begins them anew, and nothing is lost by that."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From nothing."""


class StopWhen:
    """Ends the run once a number of its records is above or below a line: `StopWhen("eval/success_rate", above=0.95)`.

    It looks where a record is written, at the end of each epoch.
    """

    def __init__(self, metric: str, *, above: float | None = None, below: float | None = None) -> None:
        """Take the name that the number has in `metrics.jsonl`, and one line, which itself counts as crossed.

        Raises:
            UsageError: there is none, or there are two.
        """
        self.metric = checked("metric", metric, str)
        if (above is None) == (below is None):
            raise UsageError("StopWhen needs either above or below, as in StopWhen('eval/return', above=-200)")
        self._sign = 1.0 if below is None else -1.0
        self.line = checked("above" if below is None else "below", above if below is None else below, float)
        self._seen = False

    def evaluated(self, training: Training) -> None:
        """Look."""
        value = training.metrics.get(self.metric)
        self._seen = self._seen or value is not None
        if value is not None and self._sign * value >= self._sign * self.line:
            training.stop(f"{self.metric} is {value:g}, {'above' if self._sign > 0 else 'below'} {self.line:g}")

    def ended(self, training: Training) -> None:
        """Say so where the number was never there, as where its name is misspelt.

        Raises:
            UsageError: it never was.
        """
        if training.metrics and not self._seen:
            raise UsageError(f"no record had {self.metric!r}; the last one had {', '.join(training.metrics)}")

    def state(self) -> dict[str, Any]:
        """Whether the number has been there."""
        return {"seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was."""
        self._seen = bool(state["seen"])


class SavePolicies(Stateless):
    """Saves the policy that acts every so many environment steps, in `policies/` in the run's folder.

    `polyak.Policy.load` reads the files, `policy-000020000.safetensors` and so on. With several environments it is the
    first step at or after each multiple. The policy is that which has chosen the step's actions.
    """

    def __init__(self, every: int = 10_000, folder: str | Path = "policies") -> None:
        """Take the environment steps in between, and a folder, within that of the run if it is relative.

        Raises:
            UsageError: `every` is not at least 1.
        """
        self.every = checked("every", every, Count)
        self.folder = checked("folder", folder, Path)

    def stepped(self, training: Training) -> None:
        """Save it where a multiple has been reached with this step."""
        before = training.steps - len(training.transitions.reward)
        if training.steps // self.every > before // self.every:
            folder = training.folder / self.folder
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"policy-{training.steps:09}.safetensors", training.policy.content())


class EvaluateElsewhere(Stateless):
    """Evaluates the policy in another environment too, whenever the run is evaluated, and logs what that gave.

    `EvaluateElsewhere("Pendulum-v1", {"g": 12.0}, name="heavy")` logs `heavy/return`, `heavy/length` and, where the
    environment tells it, `heavy/success_rate`. Each evaluation has the same episodes, those of `seed`, in an
    environment that is made for it, where each action lasts for as long as in the run.
    """

    def __init__(
        self,
        environment: Given,
        environment_settings: Mapping[str, Any] | None = None,
        *,
        name: str = "elsewhere",
        episodes: int = 5,
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """Take an environment as `polyak.train` does, with arguments of its constructor and a time limit of its own.

        Raises:
            UsageError: a number is beyond its limit.
        """
        self.environment, self.name = environment, checked("name", name, str)
        self.episodes, self.seed = checked("episodes", episodes, Count), checked("seed", seed, Seed)
        self.max_episode_steps = checked("max_episode_steps", max_episode_steps, Count | None)
        self._added = Additions(checked("environment_settings", environment_settings or {}, Mapping[str, Any]))
        require_names(self._added, environment)

    def evaluated(self, training: Training) -> None:
        """Evaluate."""
        repeat, parts = training.settings.action_repeat, training.policy.spec.keys
        environments = make_environments(
            self.environment,
            1,
            Streams(self.seed).evaluation,
            max_episode_steps=self.max_episode_steps,
            additions=dataclasses.replace(self._added, action_repeat=repeat, parts=parts),
        )
        try:
            result = evaluate(training.policy, environments, self.episodes, occasion=f"in the evaluation {self.name!r}")
        finally:
            environments.close()
        training.log(f"{self.name}/return", result.mean)
        training.log(f"{self.name}/length", result.mean_length)
        if result.success_rate is not None:
            training.log(f"{self.name}/success_rate", result.success_rate)


class Curriculum:
    """Makes the environment harder as the policy gets better: one value of a setting after the other.

    `Curriculum("g", (2.0, 5.0, 10.0), above=-300.0)` trains with gravity 2 until the last ten training episodes return
    -300 or more on average, then with 5, then with 10. A new value holds from each environment's next episode on. The
    run is evaluated in the environment as it was asked for. `curriculum/g` in the records is the value.
    """

    def __init__(self, setting: str, values: Sequence[Any], *, above: float, episodes: int = 10) -> None:
        """Take an argument of the environment's constructor, its values, and the mean return over episodes to reach.

        Raises:
            UsageError: there is no value, or a number is beyond its limit.
        """
        self.setting, self.values = checked("setting", setting, str), tuple(values)
        self.above, self.stage = checked("above", above, float), 0
        self._returns = deque[float](maxlen=checked("episodes", episodes, Count))
        if not self.values:
            raise UsageError("Curriculum needs values, as in Curriculum('g', (2.0, 5.0, 10.0), above=-300.0)")

    def started(self, training: Training) -> None:
        """Begin with the first value; in a run that is resumed, it is in force already."""
        if training.steps == 0:
            training.set_environment(self.setting, self.values[0])

    def stepped(self, training: Training) -> None:
        """Look at the episodes that ended; those that the next value brings are counted anew."""
        self._returns.extend(episode.total_reward for episode in training.episodes)
        full = len(self._returns) == self._returns.maxlen
        if full and self.stage + 1 < len(self.values) and np.mean(self._returns) >= self.above:
            self.stage += 1
            self._returns.clear()
            training.set_environment(self.setting, self.values[self.stage])

    def evaluated(self, training: Training) -> None:
        """Log the value; where it is no number, how many came before it."""
        value = self.values[self.stage]
        training.log(f"curriculum/{self.setting}", value if isinstance(value, int | float) else self.stage)

    def state(self) -> dict[str, Any]:
        """Which value is in force, and the returns since."""
        return {"stage": self.stage, "returns": list(self._returns)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As it was."""
        self.stage = int(state["stage"])
        self._returns.extend(map(float, state["returns"]))
