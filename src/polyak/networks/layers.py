"""What a network is made of: a body of layers in order, plain records that a policy's file can hold.

A body stands beside a network's arrays, because their names alone tell neither order nor activation. Layers that have
arrays are numbered from 0: `0/kernel` and `0/bias` of the first dense one, `1/scale` and `1/offset` of a norm after it.
Those within a `Residual` are counted where it stands, so that names have no depth.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import cache
from typing import Any, Literal, cast, get_args

ActivationKind = Literal["relu", "elu", "silu", "tanh"]
FirstKind = Literal["uniform", "orthogonal", "he_normal"]
NetworkKind = Literal["mlp", "layer_norm", "simba"]
NormalizedKind = Literal[NetworkKind, "batch_renorm"]
"""And those whose layers keep running statistics, for algorithms that train them."""


@dataclass(frozen=True)
class Dense:
    """A product with a kernel [inputs, outputs], and a bias [outputs]."""

    outputs: int
    first: FirstKind = field(default="uniform", compare=False)
    """How its first weights are drawn, see `networks.weights`; no part of what it computes, nor of a file."""


@dataclass(frozen=True)
class Norm:
    """Layer normalization (Ba et al. 2016, arXiv 1607.06450): rows of mean 0 and variance 1, then scale and offset."""

    epsilon: float = 1e-5
    """Added to the variance, under the root."""


@dataclass(frozen=True)
class BatchRenorm:
    """Batch renormalization (Ioffe 2017, arXiv 1702.03275): columns of mean 0 and variance 1, then scale and offset.

    In training these are the batch's mean and deviation; after the warm-up they are corrected by r and d, which no
    gradient passes, toward the running ones, so that both modes compute the same. The layer keeps running statistics.
    """

    epsilon: float = 1e-3
    """Added to the variance, under the root."""
    decay: float = 0.99
    """Of the running mean and variance, at each call in training."""
    most_scaled: float = 3.0
    """r_max: r, the batch's deviation over the running one, is clipped to [1 / r_max, r_max]."""
    most_shifted: float = 5.0
    """d_max: d, the batch's mean from the running one in running deviations, is clipped to +- this."""
    warm_up: int = 100_000
    """Calls in training before r and d count; until then this is batch normalization (Ioffe and Szegedy 2015)."""


@dataclass(frozen=True)
class Dropout:
    """Each number 0 with this probability p, else over 1 - p (Srivastava et al. 2014); where nothing is told, as it is.

    Which are dropped is drawn outside, as booleans.
    """

    probability: float


@dataclass(frozen=True)
class Activation:
    """A function of each number."""

    kind: ActivationKind = "relu"


@dataclass(frozen=True)
class TanhBounds:
    """The second half of a row within bounds, low + (high - low) / 2 (1 + tanh x); the first half as it is.

    Behind mean and log sigma of a Gaussian, it bounds log sigma with a gradient everywhere.
    """

    low: float = -10.0
    high: float = 2.0


@dataclass(frozen=True)
class Residual:
    """x + body(x): layers around which their input goes (He et al. 2016, 1512.03385); as wide behind as before."""

    body: "Body"


Single = Dense | Norm | BatchRenorm | Dropout | Activation | TanhBounds
Layer = Single | Residual
Body = tuple[Layer, ...]

_WORDS: dict[type[Layer], str] = {
    Dense: "dense",
    Norm: "norm",
    Dropout: "dropout",
    Activation: "activation",
    TanhBounds: "tanh_bounds",
    Residual: "residual",
}
MOST_NESTED = 8
"""Residual layers within each other that a body from a file may have."""


def body_of(
    hidden_sizes: Sequence[int],
    outputs: int,
    network: NormalizedKind = "mlp",
    activation: ActivationKind = "relu",
    dropout: float = 0.0,
) -> Body:
    """Dense layers of these widths, each with an activation behind it, and one of `outputs` without.

    `layer_norm` normalizes between a hidden layer and its activation, as RLPD and DroQ do; `batch_renorm` the inputs,
    and behind each activation, as CrossQ does. With a `dropout` above 0, units are dropped right behind their dense
    layer, as DroQ does. `simba` is another network: as many blocks as there are widths, see `simba_of`.

    Raises:
        ValueError: widths that differ, none, or a dropout, of a simba network.
    """
    if network == "simba":
        return simba_of(hidden_sizes, outputs, activation, dropout)
    norm, renorm = ([Norm()] if network == "layer_norm" else []), ([BatchRenorm()] if network == "batch_renorm" else [])
    dropped = [Dropout(dropout)] if dropout else []
    layers: list[Layer] = [*renorm]
    for width in hidden_sizes:
        layers += [Dense(width), *dropped, *norm, Activation(activation), *renorm]
    return (*layers, Dense(outputs))


def simba_of(widths: Sequence[int], outputs: int, activation: ActivationKind = "relu", dropout: float = 0.0) -> Body:
    """SimBa's network (Lee et al. 2024, arXiv 2410.09754): a block of this width for each, d of them all.

    Dense(d) -> blocks x + Dense(d)(activation(Dense(4 d)(norm(x)))) -> norm -> Dense(outputs). First weights are those
    of the authors' code, as is epsilon; the norm of the observation is no layer (`normalize_observations`).
    """
    if len(set(widths)) != 1 or dropout:
        raise ValueError(f"a simba network has blocks of one width without dropout, not {(*widths,)} and {dropout}")
    norm, width = Norm(1e-6), widths[0]
    wide, narrow = Dense(4 * width, "he_normal"), Dense(width, "he_normal")
    block = Residual((norm, wide, Activation(activation), narrow))
    return (Dense(width, "orthogonal"), *[block] * len(widths), norm, Dense(outputs, "orthogonal"))


def plain(body: Body) -> bool:
    """Whether a body is dense layers with ReLU between them, which its arrays alone tell."""
    return body == body_of([layer.outputs for layer in body[:-1] if isinstance(layer, Dense)], outputs_of(body))


def outputs_of(body: Body) -> int:
    """The width of what comes out of a body."""
    return next((layer.outputs for layer in reversed(unnested(body)) if isinstance(layer, Dense)), 0)


def keeps_statistics(body: Body) -> bool:
    """Whether a layer keeps running statistics."""
    return any(isinstance(layer, BatchRenorm) for layer in unnested(body))


def units_dropped(body: Body) -> int:
    """How many numbers of a row the layers may drop: one layer's, then the next one's."""
    found = width = 0
    for layer in unnested(body):
        width = layer.outputs if isinstance(layer, Dense) else width
        found += width if isinstance(layer, Dropout) else 0
    return found


def unnested(body: Body) -> tuple[Single, ...]:
    """The layers in their order, those of each `Residual` in its place."""
    layers: list[Single] = []
    for layer in body:
        layers += unnested(layer.body) if isinstance(layer, Residual) else [layer]
    return tuple(layers)


def numbered(body: Body, first: int = 0) -> Iterator[tuple[str, Layer]]:
    """Each layer and its number among those that have arrays, from `first` on; of others it is empty.

    The number of a `Residual` is that of its first layer: `numbered(layer.body, int(number))` goes on within it.
    """
    count = first
    for layer in body:
        having = sum(not isinstance(each, Activation | Dropout | TanhBounds) for each in unnested((layer,)))
        yield (str(count) if having or isinstance(layer, Residual) else ""), layer
        count += having


def passed(body: Body, inputs: Any, through: Callable[[str, Single, Any], Any], first: int = 0) -> Any:
    """What comes out of a body: `through(number, layer, hidden)` of one layer after another.

    Around the layers of a `Residual` goes their input, which is added to what comes out of them.
    """
    hidden = inputs
    for number, layer in steps_of(body, first):
        if isinstance(layer, Residual):
            hidden = hidden + passed(layer.body, hidden, through, int(number))
        else:
            hidden = through(number, layer, hidden)
    return hidden


@cache
def steps_of(body: Body, first: int = 0) -> tuple[tuple[str, Layer], ...]:
    """`numbered`, once a body and not at each call; not for first weights, in which equal bodies may differ."""
    return tuple(numbered(body, first))


def to_json(body: Body) -> list[list[Any]]:
    """What `from_json` reads back."""
    return [[_WORDS[type(layer)], *_numbers(layer)] for layer in body]


def _numbers(layer: Layer) -> tuple[Any, ...]:
    if isinstance(layer, Dense):
        return (layer.outputs,)
    return (to_json(layer.body),) if isinstance(layer, Residual) else astuple(layer)


def from_json(described: Any) -> Body:
    """The inverse of `to_json`.

    Raises:
        ValueError: this is no body.
    """
    layers = _layers(described, MOST_NESTED)
    last = layers[-2:-1] if layers and isinstance(layers[-1], TanhBounds) else layers[-1:]
    if not last or not isinstance(last[0], Dense):
        raise ValueError(f"{str(described)[:60]!r} is no body that ends in a dense layer")
    return layers


def _layers(described: Any, deep: int) -> Body:
    return tuple(_layer(each, deep) for each in cast(list[Any], described)) if isinstance(described, list) else ()


def _layer(described: Any, deep: int) -> Layer:
    match described:
        case ["dense", int(outputs)] if not isinstance(outputs, bool) and 1 <= outputs < 2**31:
            return Dense(outputs)
        case ["norm", float(epsilon)] if 0.0 < epsilon < 1.0:
            return Norm(epsilon)
        case ["dropout", float(probability)] if 0.0 < probability < 1.0:
            return Dropout(probability)
        case ["activation", str(kind)] if kind in get_args(ActivationKind):
            return Activation(cast(ActivationKind, kind))
        case ["tanh_bounds", float(low), float(high)] if -1e3 <= low < high <= 1e3:
            return TanhBounds(low, high)
        case ["residual", [_, *_] as inner] if deep > 0:
            return Residual(_layers(inner, deep - 1))
        case _:
            raise ValueError(f"{str(described)[:60]!r} is no layer")
