"""What a network is made of: a body of layers in order, plain records that a policy's file can hold.

A body stands beside a network's arrays, because their names alone tell neither order nor activation. Layers that have
arrays are numbered from 0: `0/kernel` and `0/bias` of the first dense one, `1/scale` and `1/offset` of a norm after it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal, cast, get_args

ActivationKind = Literal["relu", "elu", "silu", "tanh"]
NetworkKind = Literal["mlp", "layer_norm"]
NormalizedKind = Literal[NetworkKind, "batch_renorm"]
"""And those whose layers keep running statistics, for algorithms that train them."""


@dataclass(frozen=True)
class Dense:
    """A product with a kernel [inputs, outputs], and a bias [outputs]."""

    outputs: int


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


Layer = Dense | Norm | BatchRenorm | Dropout | Activation
Body = tuple[Layer, ...]

_WORDS: dict[str, type[Layer]] = {"dense": Dense, "norm": Norm, "dropout": Dropout, "activation": Activation}


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
    layer, as DroQ does.
    """
    norm, renorm = ([Norm()] if network == "layer_norm" else []), ([BatchRenorm()] if network == "batch_renorm" else [])
    dropped = [Dropout(dropout)] if dropout else []
    layers: list[Layer] = [*renorm]
    for width in hidden_sizes:
        layers += [Dense(width), *dropped, *norm, Activation(activation), *renorm]
    return (*layers, Dense(outputs))


def plain(body: Body) -> bool:
    """Whether a body is dense layers with ReLU between them, which its arrays alone tell."""
    return body == body_of([layer.outputs for layer in body[:-1] if isinstance(layer, Dense)], outputs_of(body))


def outputs_of(body: Body) -> int:
    """The width of what comes out of a body."""
    return next((layer.outputs for layer in reversed(body) if isinstance(layer, Dense)), 0)


def keeps_statistics(body: Body) -> bool:
    """Whether a layer keeps running statistics."""
    return any(isinstance(layer, BatchRenorm) for layer in body)


def units_dropped(body: Body) -> int:
    """How many numbers of a row the layers may drop: one layer's, then the next one's."""
    found = width = 0
    for layer in body:
        width = layer.outputs if isinstance(layer, Dense) else width
        found += width if isinstance(layer, Dropout) else 0
    return found


def numbered(body: Body) -> Iterator[tuple[str, Layer]]:
    """Each layer and its number among those that have arrays; that of any other is empty."""
    count = 0
    for layer in body:
        if isinstance(layer, Activation | Dropout):
            yield "", layer
        else:
            yield str(count), layer
            count += 1


def to_json(body: Body) -> list[list[Any]]:
    """What `from_json` reads back."""
    words = {kind: word for word, kind in _WORDS.items()}
    return [[words[type(layer)], *astuple(layer)] for layer in body]


def from_json(described: Any) -> Body:
    """The inverse of `to_json`.

    Raises:
        ValueError: this is no body.
    """
    layers = [_layer(each) for each in cast(list[Any], described)] if isinstance(described, list) else []
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError(f"{str(cast(Any, described))[:60]!r} is no body that ends in a dense layer")
    return tuple(layers)


def _layer(described: Any) -> Layer:
    match described:
        case ["dense", int(outputs)] if not isinstance(outputs, bool) and 1 <= outputs < 2**31:
            return Dense(outputs)
        case ["norm", float(epsilon)] if 0.0 < epsilon < 1.0:
            return Norm(epsilon)
        case ["dropout", float(probability)] if 0.0 < probability < 1.0:
            return Dropout(probability)
        case ["activation", str(kind)] if kind in get_args(ActivationKind):
            return Activation(cast(ActivationKind, kind))
        case _:
            raise ValueError(f"{str(described)[:60]!r} is no layer")
