"""What passes between a control loop and its learner: packed arrays and plain data, through a pipe."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyak.environments.traits import Traits
from polyak.experience.rounds import Finished
from polyak.policies.policy import Policy
from polyak.types import Arrays, Float, Spec


class Beginning(NamedTuple):
    """All that a learner begins from."""

    run: Path
    """It goes on with this run, or begins one from it."""
    goes_on: bool
    environment: str
    """Its id, or what a callable is called."""
    is_callable: bool
    spec: Spec
    traits: Traits
    options: Mapping[str, Any]
    """Of a run that begins, as `polyak.train` takes them."""
    steps: int | None
    """Of the run in all, where they are to be others than before."""
    rate: float
    state: "State"
    """Of the collector, which has not begun."""


class State(NamedTuple):
    """Where a loop's collector stands: each as its own `state` says it."""

    collector: Mapping[str, Any]
    environments: Mapping[str, Any]
    arrays: Arrays


class Ready(NamedTuple):
    """The learner's first answer: the loop may begin."""

    folder: Path
    """Of the run."""
    state: State | None
    """Where the run's collector stood; None: it begins."""
    steps: int
    """That the run has done."""


class Newer(NamedTuple):
    """A policy, whenever the learner has another."""

    updates: int
    """That it has seen: its version."""
    fields: Mapping[str, Any]
    """Those of a `Policy`."""

    @classmethod
    def of(cls, updates: int, policy: Policy) -> "Newer":
        """One of a policy."""
        return cls(updates, {each.name: getattr(policy, each.name) for each in dataclasses.fields(policy)})

    @property
    def policy(self) -> Policy:
        """It."""
        return Policy(**self.fields)


class Taken(NamedTuple):
    """Steps that have been taken."""

    records: Float
    """[L, 2 O + A + 3], packed as replay has them."""
    episodes: NDArray[np.int32]
    """[L]: the numbers of their episodes."""
    finished: Sequence[Finished]
    """Those that have ended."""
    state: State
    """Where the collector stands after them."""
    dropped: int
    """Steps before these, since the last that were sent, for which there was no room."""


class Done(NamedTuple):
    """The learner has ended in order."""

    said: str
    """How the run stands."""
    steps: int
    updates: int
