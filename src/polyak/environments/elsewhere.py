"""Environments that are in the processes of collectors, as the run's own process knows them."""

import json
from collections.abc import Mapping
from typing import Any

from polyak.environments.traits import Traits
from polyak.settings.kinds import checked
from polyak.types import Spec


class Elsewhere:
    """Those of all collectors, numbered through: what they are, how far they are, what their settings are to be."""

    resets_take_steps = False
    is_one_vector = False
    every_episode_has_a_seed = True

    def __init__(self, count: int, spec: Spec, traits: Traits, make: bytes, vector: Any) -> None:
        """Know `count` environments that `make`, packed, makes; `vector` has their spaces, as a VectorEnv has."""
        self.count, self.spec, self.traits, self.make, self.vector = count, spec, traits, make, vector
        self.steps = 0
        """Environment steps so far, summed over all of them."""
        self.states: list[bytes] = []
        """Of each collector, the newest `Round.state`."""
        self._next: Mapping[str, Any] = {}

    def set(self, name: str, value: Any) -> None:
        """As `Environments.set`: it is sent with the next order to each collector.

        Raises:
            UsageError: the value is nothing that JSON can hold.
        """
        self._next = {**self._next, **checked("environment's settings", {name: value}, Mapping[str, Any])}

    @property
    def changed(self) -> Mapping[str, Any]:
        """The settings that have been `set`, as the next episodes get them."""
        return self._next

    def state(self) -> dict[str, Any]:
        """Steps, the seeds of the running episodes, changed settings; all else is in the collectors' states."""
        seeds = [seed for state in self.states for seed in json.loads(state)["environments"]["seeds"]]
        return {"steps": self.steps, "seeds": seeds, **({"changed": {"next": dict(self._next)}} if self._next else {})}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`.

        Raises:
            ValueError, TypeError, KeyError: this is none.
        """
        self.steps = int(state["steps"])
        self._next = checked("changed", state.get("changed", {"next": {}})["next"], Mapping[str, Any])

    def close(self) -> None:
        """There is nothing of them in this process."""
