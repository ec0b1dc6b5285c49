"""The data that flows through polyak, with a shape on every field.

Letters in shapes: K updates, B batch, O observation, A action, N environments.
Observations and actions are float32; actions are normalized to [-1, 1] everywhere but in `Spec.to_environment`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from polyak.errors import UsageError

if TYPE_CHECKING:
    from polyak.policies.normalizer import Snapshot

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]
ONE = np.ones((), np.float32)
Arrays = dict[str, NDArray[Any]]
"""Named arrays, such as `critic_1/0/kernel`: the form in which a learner's state or a policy crosses an edge."""


@dataclass(frozen=True, eq=False)
class Spec:
    """What an environment shows and takes."""

    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    action_low: Float
    """[A], in environment units."""
    action_high: Float
    """[A], in environment units."""
    observation_parts: Any = None
    """Where the environment's own observation is no array: its parts, as `polyak.environments.parts` says them."""
    goal_size: int = 0
    """G, where goals are set in hindsight: the last 2 G of the O numbers are the desired goal and the achieved one."""

    def __post_init__(self) -> None:
        for name in ("observation_shape", "action_shape"):
            shape: Any = getattr(self, name)
            if not (isinstance(shape, tuple) and all(isinstance(size, int) and size >= 1 for size in cast(Any, shape))):
                raise UsageError(f"{name} is {shape!r:.100}, but must be a tuple of whole numbers of at least 1")
        for name in ("action_low", "action_high"):
            bound: Any = getattr(self, name)
            if not (isinstance(bound, np.ndarray) and cast(Any, bound).shape == (self.action_size,)):
                raise UsageError(f"{name} is {bound!r:.100}, but must be an array of shape ({self.action_size},)")
        if not _end_in_goals(self.observation_parts, self.goal_size, self.observation_size):
            raise UsageError(
                f"goal_size is {self.goal_size!r:.100}, but must be 0, or that of the goals in which the parts of the "
                "observation end: desired_goal, achieved_goal"
            )

    @cached_property
    def observation_size(self) -> int:
        """O: the length of the flattened observation."""
        return math.prod(self.observation_shape)

    @property
    def keys(self) -> tuple[str, ...]:
        """Where the environment's own observation is a dictionary, the keys that are read, in their order."""
        match self.observation_parts:
            case ["dict", [*pairs]]:
                return tuple(key for key, _ in pairs)
            case _:
                return ()

    @cached_property
    def seen(self) -> "Spec":
        """What learner and policy see of it: the same without the achieved goal, which is last; elsewhere, itself."""
        if not self.goal_size:
            return self
        kind, parts = self.observation_parts
        shape = (self.observation_size - self.goal_size,)
        return replace(self, observation_shape=shape, observation_parts=[kind, parts[:-1]], goal_size=0)

    @cached_property
    def action_size(self) -> int:
        """A: the length of the flattened action."""
        return math.prod(self.action_shape)

    @cached_property
    def layout(self) -> "Layout":
        """The columns of records of this environment."""
        return Layout(self.observation_size, self.action_size)

    @cached_property
    def action_half_range(self) -> Float:
        """[A]: half the width of the action box, in environment units."""
        return (self.action_high - self.action_low) / np.float32(2)

    def map_of(self, count: int | None = None) -> Callable[[Float], Float]:
        """`to_environment`, of actions [..., A], or only of actions [`count`, A], for whoever maps such at every step.

        NumPy computes with two small arrays of one shape in a third of the time that it takes to broadcast one.
        """
        vectors = self.action_low, self.action_half_range, self.action_high
        low, half_range, high = vectors if count is None else (np.tile(vector, (count, 1)) for vector in vectors)

        def mapped(action: Float) -> Float:
            scaled = (action + ONE) * half_range + low
            return np.minimum(np.maximum(scaled, low), high)  # rounding may step over the edge

        return mapped

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back, bit for bit."""
        parts = {} if self.observation_parts is None else {"observation_parts": self.observation_parts}
        parts |= {"goal_size": self.goal_size} if self.goal_size else {}
        return {
            "observation_shape": self.observation_shape,
            "action_shape": self.action_shape,
            "action_low": self.action_low.tolist(),
            "action_high": self.action_high.tolist(),
            **parts,
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "Spec":
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError: this is no Spec.
        """
        observation_shape, action_shape = tuple(described["observation_shape"]), tuple(described["action_shape"])
        if not all(type(size) is int and 1 <= size < 2**31 for size in (*observation_shape, *action_shape)):
            raise ValueError(f"shapes {str(observation_shape)[:40]} and {str(action_shape)[:40]}")
        low, high = (np.array(described[name], np.float32) for name in ("action_low", "action_high"))
        goal_size, parts = described.get("goal_size", 0), described.get("observation_parts")
        if not _end_in_goals(parts, goal_size, math.prod(observation_shape)):
            raise ValueError(f"goals of {str(goal_size)[:40]} numbers in {str(parts)[:60]}")
        spec = cls(observation_shape, action_shape, low, high, parts, goal_size)
        if not low.shape == high.shape == (spec.action_size,):
            raise ValueError(f"action bounds of shape {low.shape} and {high.shape} for {spec.action_size} actions")
        return spec

    def agrees_with(self, other: "Spec") -> bool:
        """Whether what one takes and gives suits the other: vectors as long, actions of a shape, the same bounds."""
        return (
            (self.observation_size, self.action_shape) == (other.observation_size, other.action_shape)
            and np.array_equal(self.action_low, other.action_low)
            and np.array_equal(self.action_high, other.action_high)
        )

    def to_environment(self, action: Float) -> Float:
        """Map normalized actions [..., A] in [-1, 1] to environment units, one affine map per dimension."""
        return self.map_of()(action)

    def to_normalized(self, action: Float) -> Float:
        """Map actions [..., A] in environment units to [-1, 1]; the inverse of `to_environment`."""
        normalized: Float = (action - self.action_low) / self.action_half_range - np.float32(1)
        return np.clip(normalized, np.float32(-1), np.float32(1))


def _end_in_goals(parts: Any, size: Any, observation_size: int) -> bool:
    """Whether an observation of so many numbers, by its parts, ends in two goals of `size` each, or `size` is 0."""
    if type(size) is not int or size <= 0:
        return type(size) is int and size == 0
    match parts:
        case ["dict", [_, ["desired_goal", ["array", [*desired], _]], ["achieved_goal", ["array", [*achieved], _]]]]:
            return 2 * size < observation_size and desired == achieved and math.prod(desired) == size
        case _:
            return False


class Transitions(NamedTuple):
    """Transitions as a collector emits them, one row each."""

    observation: Float
    """[n, O]"""
    action: Float
    """[n, A], normalized."""
    reward: Float
    """[n]"""
    next_observation: Float
    """[n, O]: the true successor, also where the episode ended."""
    terminated: Bool
    """[n]: True only where the environment terminated; a time limit is no termination."""
    truncated: Bool
    """[n]: True where the episode was cut off, as by a time limit."""
    episode: NDArray[np.int32]
    """[n]: the number of the episode, which no other of the run has."""

    def only(self, wanted: Bool) -> "Transitions":
        """The rows where `wanted` [n] is True."""
        return Transitions(*(cast(Any, column)[wanted] for column in self))


@dataclass(frozen=True)
class Layout:
    """The columns of a record: `[observation (O), action (A), reward, next_observation (O), discount, weight]`.

    In replay, where neither is settled yet, the last two are `terminated` and `truncated`, 1.0 or 0.0.
    """

    observation_size: int
    action_size: int

    @cached_property
    def observation(self) -> slice:
        """O columns."""
        return slice(0, self.observation_size)

    @cached_property
    def action(self) -> slice:
        """A columns."""
        return slice(self.observation_size, self.reward)

    @cached_property
    def reward(self) -> int:
        """One column."""
        return self.observation_size + self.action_size

    @cached_property
    def next_observation(self) -> slice:
        """O columns."""
        return slice(self.reward + 1, self.discount)

    @cached_property
    def discount(self) -> int:
        """One column."""
        return self.reward + 1 + self.observation_size

    @cached_property
    def weight(self) -> int:
        """One column."""
        return self.discount + 1

    @property
    def terminated(self) -> int:
        """One column, in replay."""
        return self.discount

    @property
    def truncated(self) -> int:
        """One column, in replay."""
        return self.weight

    @cached_property
    def width(self) -> int:
        """2 O + A + 3 columns."""
        return self.weight + 1

    def pack(self, transitions: Transitions, records: Float) -> None:
        """Write transitions [n] into records [n, 2 O + A + 3]; their episodes are kept beside these."""
        records[:, self.observation] = transitions.observation
        records[:, self.action] = transitions.action
        records[:, self.reward] = transitions.reward
        records[:, self.next_observation] = transitions.next_observation
        records[:, self.terminated] = transitions.terminated
        records[:, self.truncated] = transitions.truncated

    def unpacked(self, records: Float, episode: NDArray[np.int32]) -> Transitions:
        """The transitions of records [n, 2 O + A + 3] and their episodes [n], as views wherever that can be."""
        return Transitions(
            observation=records[:, self.observation],
            action=records[:, self.action],
            reward=records[:, self.reward],
            next_observation=records[:, self.next_observation],
            terminated=records[:, self.terminated] != 0,
            truncated=records[:, self.truncated] != 0,
            episode=episode,
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """K batches of B transitions in one contiguous array, so that they are gathered, and sent to a device, at once.

    The properties are views of the columns that `layout` names.
    """

    records: Float
    """[K, B, 2 O + A + 3]"""
    layout: Layout
    weighted: bool = False
    """Whether a weight may be another than 1."""
    snapshot: "Snapshot | None" = None
    """By what observations and rewards were normalized, if they were."""
    wants_errors: bool = False
    """Whether the errors that the updates find are to come back: `Learned.errors`."""

    @property
    def observation(self) -> Float:
        """[K, B, O]"""
        return self.records[..., self.layout.observation]

    @property
    def action(self) -> Float:
        """[K, B, A], normalized."""
        return self.records[..., self.layout.action]

    @property
    def reward(self) -> Float:
        """[K, B]"""
        return self.records[..., self.layout.reward]

    @property
    def next_observation(self) -> Float:
        """[K, B, O]"""
        return self.records[..., self.layout.next_observation]

    @property
    def discount(self) -> Float:
        """[K, B]: gamma, or 0.0 where the environment terminated: what the value of the next observation counts."""
        return self.records[..., self.layout.discount]

    @property
    def weight(self) -> Float:
        """[K, B]: how much the transition counts in the critics' losses, 1.0 for all that are drawn uniformly."""
        return self.records[..., self.layout.weight]


class Metrics(NamedTuple):
    """What K updates measured."""

    names: tuple[str, ...]
    values: Float
    """[K, len(names)]; NaN where an update did not compute that number (TD3's actor loss between delayed steps)."""


class Learned(NamedTuple):
    """What K updates brought."""

    metrics: Metrics
    actor: Arrays
    """The policy's network after the last of them (`0/kernel`, `0/bias`, ...): `polyak.algorithm.actor_in`."""
    errors: Float | None = None
    """[K, B]: how far each transition's value was from its target before the update, where the batch wants to know."""


class Learner(Protocol):
    """What every learner of every framework offers; only NumPy arrays cross this edge."""

    def launch(self, batches: Batch, draws: Mapping[str, NDArray[Any]]) -> Callable[[], Learned]:
        """Start K updates: `batches`, and every array of `draws` (`polyak.draws.drawn`), have a leading axis K.

        What is returned waits for them, where the framework computes while the caller goes on, and gives what they
        brought. More updates may be launched before.
        """
        ...

    def update(self, batches: Batch, draws: Mapping[str, NDArray[Any]]) -> Metrics:
        """`launch`, and wait."""
        ...

    def actor(self) -> Arrays:
        """The arrays of the policy's network (`0/kernel`, `0/bias`, ...), copied: `polyak.algorithm.actor_in`."""
        ...

    def arrays(self) -> Arrays:
        """The whole state, copied: weights, targets, Adam moments, temperature, step; equal names in all frameworks."""
        ...
