"""The evaluations of a run: of its newest policy, where the plan says, given up as a whole where a signal comes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyak.environments.infos import recorded
from polyak.environments.stepping import Environments
from polyak.experience.collector import Collector
from polyak.policies.evaluation import Evaluation, critic_of, evaluate
from polyak.policies.policy import Policy
from polyak.run.collecting import Collecting
from polyak.run.learning import Updates
from polyak.run.plan import Plan
from polyak.run.progress import Progress
from polyak.types import Float


class GivenUp(Exception):  # noqa: N818 - named for what happened
    """A signal came during an evaluation."""


@dataclass
class Evaluations:
    """Evaluates a run's newest policy."""

    plan: Plan
    environments: Environments | None
    """Where, if anywhere."""
    collector: Collecting
    updates: Updates
    progress: Progress
    """Told how far an evaluation is."""

    @property
    def may_begin(self) -> bool:
        """Whether no episode runs where the evaluation is to be."""
        if self.plan.evaluate_in != "training" or not isinstance(self.collector, Collector):
            return True
        return bool(self.collector.lengths[0] == 0)

    def evaluated(self, signals: list[int]) -> Evaluation | None:
        """The newest policy's evaluation; None where the plan wants none.

        Raises:
            GivenUp: a signal has been noted; the environments' seeds are as before it, as after any other error.
            TrainingError: an environment failed.
        """
        environments, policy = self.environments, self.updates.policy
        if environments is None:
            return None

        def watched(moment: Callable[[], str]) -> None:
            self.progress.evaluating = moment
            if signals:
                raise GivenUp

        before = environments.state()
        try:
            result = evaluate(
                policy,
                environments,
                self.plan.config.evaluation_episodes,
                discount=self.plan.config.discount,
                value=self._critic(policy),
                info_metrics=self.plan.info_metrics,
                occasion=f"in the evaluation at step {self.collector.steps:,} of the run",
                watched=watched,
            )
            if self.plan.evaluate_in == "training" and isinstance(self.collector, Collector) and self.may_begin:
                self.collector.begin_again()
        except BaseException:
            environments.restore(before)  # so that a run that goes on evaluates with the same seeds
            raise
        else:
            return result
        finally:
            self.progress.evaluating = None

    def _critic(self, policy: Policy) -> Callable[[Float], Float]:
        """What the learner expects of the policy, whose burst has been waited for."""
        updates, plan = self.updates, self.plan
        return critic_of(plan.algorithm, plan.config, updates.learner.arrays(), policy, updates.batches.snapshot)

    def state(self) -> dict[str, Any] | None:
        """What `restore` needs, as JSON can hold it."""
        return None if self.environments is None else self.environments.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is no state of the environments.
        """
        if self.environments is not None:
            self.environments.restore(state)


def measured(evaluation: Evaluation | None) -> dict[str, float]:
    """What a record holds of an evaluation."""
    if evaluation is None:
        return {}
    return {
        "eval/return": evaluation.mean,
        "eval/return_std": evaluation.std,
        "eval/length": evaluation.mean_length,
        **({"eval/cut_off": evaluation.cut_off} if evaluation.cut_off else {}),
        "eval/discounted_return": float(np.mean(evaluation.discounted_returns)),
        "eval/q": float(np.mean(evaluation.values)),
        **recorded(evaluation.success_rate, evaluation.info_metrics, "eval"),
    }
