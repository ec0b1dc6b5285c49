"""What a copy of a policy is made of, and what it says of itself; the same for every format."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polyak
from polyak.environments.parts import size_of
from polyak.errors import UsageError
from polyak.policies.policy import Policy

ROWS, LIMIT = 1_000, 1e-5
"""Observations of a check, and how far a copy's actions may be from the policy's, in ranges of the action."""


@dataclass(frozen=True)
class Copy:
    """A policy that is to be written in another format."""

    policy: Policy
    stochastic: bool = False
    """Whether an action is drawn: the noise, standard normal [A], is a further input."""
    checked: bool = True
    """Whether the copy is compared with the policy before it is written."""

    def __post_init__(self) -> None:
        if self.stochastic and self.policy.kind == "deterministic":
            raise UsageError(
                "stochastic is True (--stochastic), but this policy is deterministic: it has one action for an "
                "observation, and no distribution to draw from"
            )

    def told(self) -> dict[str, str]:
        """What the copy says of itself, by name; equal policies say the same."""
        spec, normalizer = self.policy.spec, self.policy.normalizer
        observation = "as the environment shows it"
        if spec.observation_parts is not None:
            columns = (f"{name} [{first}:{end}]" for name, first, end in columns_of(spec.observation_parts))
            observation = f"the vector of its parts: {', '.join(columns)}"
        return {
            **{name: str(mark) for name, mark in self.policy.made_for.items()},  # which may be a stranger's
            "polyak": polyak.__version__,
            "observation": observation,
            "action": f"in the environment's units, {'drawn by the noise' if self.stochastic else 'deterministic'}",
            "normalizer": "none" if normalizer is None else f"inside, clipped at {normalizer.clip:g}",
            "spec": json.dumps(spec.to_json()),
            "checked": f"{ROWS:,} observations against the NumPy policy, to {LIMIT:g} of the action's range"
            if self.checked
            else "no: exported with --unchecked",
        }


def columns_of(parts: Any, name: str = "", first: int = 0) -> Iterator[tuple[str, int, int]]:
    """Each part of an observation, as `goal.place` or `1`, with its first column and the one after its last."""
    match parts:
        case ["dict", pairs]:
            inner = [(str(key), each) for key, each in pairs]
        case ["tuple", several]:
            inner = [(str(place), each) for place, each in enumerate(several)]
        case _:
            yield name or "all", first, first + size_of(parts)
            return
    for key, each in inner:
        yield from columns_of(each, f"{name}.{key}" if name else key, first)
        first += size_of(each)


def plain_text(text: str) -> str:
    """A text of a stranger's as it may stand in a comment of C: on one line, ending and beginning nothing."""
    return re.sub(r"[^A-Za-z0-9 _.,:;=+\-()\[\]{}<>\"'/]|//", "_", text)
