"""What an algorithm is, in NumPy alone: its state, its draws, its parts, declared once for every framework.

A framework's learner, the run and the files follow from an `Algorithm`; none of them knows one by name. How an update
is computed is a page, in each framework: a pure `update(state, batch, draws, due, config) -> (state, measured)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from polyak.draws import Bits as Bits  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.draws import Draw as Draw  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.draws import Draws as Draws  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.draws import Normal as Normal  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.draws import Subset as Subset  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.draws import drawn as drawn  # noqa: PLC0414 - whoever describes an algorithm takes it from here
from polyak.networks.folding import folded, folded_body
from polyak.networks.forward import Forward, forward
from polyak.networks.layers import Body, body_of
from polyak.networks.names import flattened, part
from polyak.networks.weights import first_statistics, first_weights, shapes, statistic_kind, statistics_shapes
from polyak.settings.shared import Settings
from polyak.types import Arrays, Bool, Float, Spec

SATURATED = 0.99
"""A component of a normalized action counts as saturated where its absolute value is above this."""

CRITIC_METRICS = ("critic_loss", "q", "q_std", "target", "critic_gradient_norm")
"""What every critic step measures: its loss; mean and standard deviation over the batch of (the first critic's)
Q(s, a); the mean target y; the Euclidean norm of the loss's gradient in all weights of the critics."""
ACTOR_METRICS = ("actor_loss", "actor_gradient_norm", "saturated")
"""What every actor step measures: its loss; the norm of its gradient; and the fraction of saturated components among
the policy's actions."""

ERROR = "error"
"""What an update may measure besides: how far each transition's value was from its target before it, [B], at least 0;
of several critics the furthest. It goes where a batch wants it: to priorities."""


# State


@dataclass(frozen=True)
class Net:
    """A network that is trained: its weights as NAME, Adam's moments and count as adam_NAME.

    With `copies` it is an ensemble, N networks alike in one entry: each array of floats has a first axis of N, and Adam
    counts once. Inputs [B, inputs], which all share, or [N, B, inputs] become [N, B, outputs]. First weights are drawn
    one member after another, each as those of a network of its own.
    Where its layers keep running statistics, these are statistics_NAME; an ensemble's cannot.
    """

    inputs: int
    body: Body
    copies: int | None = None


@dataclass(frozen=True)
class Parameter:
    """An array that is trained, such as a temperature's logarithm: NAME and adam_NAME."""

    first: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Copy:
    """Weights that begin as those of a network, and that the page moves: Polyak's targets, hard copies."""

    of: str


@dataclass(frozen=True)
class Variable:
    """Numbers that no gradient moves, such as a value's range; finite."""

    first: float
    shape: tuple[int, ...] = ()
    dtype: Literal["float32", "int32"] = "float32"
    """An int32 is a scalar: a count."""


def actor_of(spec: Spec, config: Settings, outputs: int) -> Net:
    """The network of a policy, of the width and kind that the settings say: O -> `outputs`."""
    return Net(spec.observation_size, body_of(config.hidden_sizes, outputs, config.network, config.activation))


def critic_of(spec: Spec, config: Settings, outputs: int = 1, copies: int | None = None) -> Net:
    """The network of a critic, or of an ensemble of them, likewise: observation and action, O + A -> `outputs`."""
    inputs, sizes = spec.observation_size + spec.action_size, config.critic_hidden_sizes or config.hidden_sizes
    return Net(inputs, body_of(sizes, outputs, config.network_of_critics, config.activation), copies)


Entry = Net | Parameter | Copy | Variable
Entries = Mapping[str, Entry]
"""An algorithm's state, by name, in the order in which its first numbers are drawn."""

STEP = "step"
"""The name of the count of updates, which is the learner's, among a state's arrays."""


def first_state(entries: Entries, generator: np.random.Generator) -> Arrays:
    """A whole state before the first update, by name: networks, copies equal to them, Adam's moments, the step."""
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        match entry:
            case Net():
                found[name] = first_weights(generator, entry.body, entry.inputs, entry.copies)
            case Copy():
                found[name] = {leaf: value.copy() for leaf, value in found[entry.of].items()}
            case Parameter():
                found[name] = np.full(entry.shape, entry.first, np.float32)
            case Variable():
                found[name] = np.full(entry.shape, entry.first, entry.dtype)
    for name, entry in entries.items():
        if isinstance(entry, Net | Parameter):
            found[f"adam_{name}"] = _first_moments(found[name])
        if isinstance(entry, Net):
            found[f"statistics_{name}"] = first_statistics(entry.body, entry.inputs)
    return flattened({**found, STEP: np.zeros((), np.int32)})


def expected_state(entries: Entries) -> Arrays:
    """Arrays of the names, kinds and shapes of a state, without memory of their own."""
    found: dict[str, Any] = {}
    for name, entry in entries.items():
        kind = np.dtype(entry.dtype if isinstance(entry, Variable) else np.float32)
        found[name] = _without_memory(shape_of(entries, name), kind)
    for name, entry in entries.items():
        if isinstance(entry, Net | Parameter):
            found[f"adam_{name}"] = {"count": np.zeros((), np.int32), "first": found[name], "second": found[name]}
        if isinstance(entry, Net):
            kept = statistics_shapes(entry.body, entry.inputs).items()
            found[f"statistics_{name}"] = {leaf: _without_memory(shape, statistic_kind(leaf)) for leaf, shape in kept}
    return flattened({**found, STEP: np.zeros((), np.int32)})


def shape_of(entries: Entries, name: str) -> Any:
    """The shape of an entry's array, or of each of its arrays by name."""
    entry = entries[name]
    if isinstance(entry, Copy):
        return shape_of(entries, entry.of)
    return shapes(entry.body, entry.inputs, entry.copies) if isinstance(entry, Net) else entry.shape


def networks_of(entries: Entries, arrays: Arrays) -> dict[str, Forward]:
    """Every network and copy of a state, as a function of NumPy: inputs [n, inputs] -> [n, outputs].

    An ensemble of N gives [N, n, outputs]. Where layers keep running statistics, it computes by these.
    """
    bodies = {name: body for name in entries if (body := body_in(entries, name)) is not None}
    return {name: forward(body, with_statistics(arrays, name)) for name, body in bodies.items()}


def with_statistics(arrays: Arrays, name: str) -> Arrays:
    """A network's arrays in a state, and beside them the running means and variances that its layers compute by."""
    kept = part(arrays, f"statistics_{name}").items()
    return part(arrays, name) | {leaf: value for leaf, value in kept if not leaf.endswith("/steps")}


def policy_body(entries: Entries) -> Body:
    """The layers of the policy's network: those of `actor`, without such as keep running statistics."""
    return folded_body(body_in(entries, "actor") or ())


def actor_in(entries: Entries, arrays: Arrays) -> Arrays:
    """The arrays of the policy's network: those of `actor` in a state, running statistics folded into its layers."""
    body = body_in(entries, "actor")
    return folded(body or (), with_statistics(arrays, "actor"))


def body_in(entries: Entries, name: str) -> Body | None:
    """The body of a network, or of what a copy is of; None of what is none."""
    entry = entries[name]
    if isinstance(entry, Copy):
        return body_in(entries, entry.of)
    return entry.body if isinstance(entry, Net) else None


def _first_moments(trained: Any) -> Arrays:
    """Adam's state before the first step: a count, first and second moments of zero."""
    named = cast(Arrays, trained if isinstance(trained, dict) else {"": trained})
    moments: Arrays = {"count": np.zeros((), np.int32)}
    for order in ("first", "second"):
        moments |= {f"{order}/{name}".rstrip("/"): np.zeros_like(value) for name, value in named.items()}
    return moments


def _without_memory(shape: Any, kind: np.dtype[Any]) -> Any:
    if isinstance(shape, dict):
        named = cast(dict[str, tuple[int, ...]], shape)
        return {name: np.broadcast_to(np.zeros((), kind), each) for name, each in named.items()}
    return np.broadcast_to(np.zeros((), kind), shape)


# What is due


def due(every: Mapping[str, int], count: int, updates: int) -> dict[str, Bool]:
    """Which parts run on which of the next K updates, [K] each, after `count` updates of the run."""
    numbers = count + 1 + np.arange(updates)
    return {name: numbers % period == 0 for name, period in every.items()}


# The policy


@dataclass(frozen=True)
class Head:
    """What becomes of the actor's outputs: tanh of them, or of a sample of the Gaussian that they say (8.16, 8.30)."""

    kind: Literal["deterministic", "squashed_gaussian"]
    noise: float = 0.0
    """Standard deviation of the exploration noise, where the policy has none of its own."""


LOG_SIGMA_LOW, LOG_SIGMA_HIGH = -20.0, 2.0
"""Between these the logarithm of a squashed Gaussian's sigma is clipped."""


# An algorithm

Page = Callable[..., tuple[Any, Mapping[str, Any]]]
"""`update(state, batch, draws, due, config) -> (state, measured)`: one update, pure, in a framework's own arrays."""


def _nothing(config: Any) -> dict[str, int]:
    return {}


@dataclass(frozen=True)
class Algorithm:
    """What is learned. A module of an algorithm has one of these, named `ALGORITHM`."""

    Config: type[Settings]
    """Its settings: a frozen dataclass, a docstring below every field, its limits in its annotation."""
    state: Callable[[Spec, Any], Entries]
    """(spec, config) -> its state."""
    draws: Callable[[Spec, Any], Draws]
    """(spec, config) -> what an update draws."""
    head: Callable[[Any], Head]
    """config -> what becomes of the outputs of the network `actor`."""
    value: Callable[[Mapping[str, Forward], Float, Float, Any], Float]
    """(networks by name, s [n, O], a [n, A], config) -> Q(s, a) [n], in NumPy, for `eval/q`."""
    metrics: tuple[str, ...]
    """What an update measures, `critic_loss` among them; what one leaves out is NaN."""
    every: Callable[[Any], Mapping[str, int]] = _nothing
    """config -> parts that run on each so-many-th update of the run, such as {"actor": 2}; `due` tells a page."""
    pages: Mapping[str, Page] = field(default_factory=dict[str, Page])
    """{"jax": update}; without, the page of a framework is `update` in `with_jax.py`, `with_torch.py`, ... beside."""
    presets: tuple[str, ...] = ()
    """Presets that work as names of their own, as `droq` does: this algorithm with what their files set."""
    needs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of such names: the option without which a run cannot be what it is called, `{"rlpd": "demonstrations"}`."""
    name: str = ""
    """As it is asked for, its own or that of a preset; told where it is found."""
