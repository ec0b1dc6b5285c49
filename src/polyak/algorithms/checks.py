"""Whether what a module calls an algorithm is one: said at the door, before anything is made of it.

Each function below the two that are called tells what is wrong, one by one; the first is raised and ends it, so that
what follows may take for granted what came before.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from itertools import chain
from typing import Any, cast, get_type_hints

from polyak.algorithm import (
    STEP,
    Algorithm,
    Bits,
    Copy,
    Entries,
    Head,
    Net,
    Normal,
    Parameter,
    Subset,
    Variable,
    body_in,
)
from polyak.errors import UsageError
from polyak.networks.folding import folded_body
from polyak.networks.layers import Body, keeps_statistics, outputs_of
from polyak.networks.weights import shapes
from polyak.settings.kinds import checked
from polyak.settings.options import BACKENDS
from polyak.settings.options import KINDS as OPTIONS
from polyak.settings.shared import Settings
from polyak.system.foreign import foreign, told
from polyak.types import Spec

OUTPUTS = {"deterministic": 1, "squashed_gaussian": 2}
"""Of the network `actor`, for each number of an action, by the head's kind."""
LOSS = "critic_loss"
"""The metric by which a run is known to have diverged."""
TOLD = ("updates", "reward_scale")
"""What records say of the learner already, beside what an update measures."""
TAKEN = (
    *(*OPTIONS, "algorithm", "environment", "config", "progress", "observer", "observers", "seeds"),
    *("together", "jobs", "gpus", "plain"),
)
"""What `train` and its command line take besides settings."""
KINDS = "int, float, bool, str, a Literal or a tuple of one of them, with `| None` or limits where need be"
"""Of settings."""


def require_declared(algorithm: Algorithm) -> None:
    """Check what can be seen without an environment: settings, metrics, pages.

    Raises:
        UsageError: one of them is not what it must be; the message says which, and what it must be.
    """
    metrics, pages = _in_metrics(algorithm.metrics), _in_pages(algorithm.pages)
    for fault in chain(_in_functions(algorithm), _in_settings(algorithm), metrics, pages):
        raise UsageError(f"algorithm {algorithm.name!r}: {fault}")


def require_parts(algorithm: Algorithm, spec: Spec, config: Settings) -> None:
    """Check what the algorithm's functions say of an environment and settings; nothing takes memory.

    Raises:
        UsageError: one raises, which is told with the line, or says what cannot be.
    """
    for fault in _in_parts(algorithm, spec, config):
        raise UsageError(f"algorithm {algorithm.name!r}: {fault}")


# What is declared


def _in_functions(algorithm: Algorithm) -> Iterator[str]:
    for part in ("state", "draws", "head", "value", "every"):
        if not callable(getattr(algorithm, part)):
            yield f"{part} must be a function"


def _in_settings(algorithm: Algorithm) -> Iterator[str]:
    kind: Any = algorithm.Config
    if not isinstance(kind, type) or not issubclass(kind, Settings):
        yield f"Config is {kind!r}, but must extend polyak.settings.shared.Settings"
    declared: Any = cast(Any, kind).__dict__.get("__dataclass_params__")
    if declared is None or not declared.frozen:
        yield "Config must be a frozen dataclass: write @dataclass(frozen=True, kw_only=True) above it"
    with foreign(lambda error: raised(algorithm, "Config", error)):
        hints = get_type_hints(algorithm.Config, include_extras=True)
    for field in fields(algorithm.Config):
        yield from _in_setting(field, hints[field.name])
    with foreign(lambda error: raised(algorithm, "Config()", error)):
        algorithm.Config()


def _in_setting(field: "Field[Any]", kind: Any) -> Iterator[str]:
    if field.name in (*TAKEN, "help"):
        yield f"it has a setting {field.name!r}, which is what `train` takes besides settings: choose another name"
    if field.name in {*dir(Settings)} - {each.name for each in fields(Settings)}:
        yield f"it has a setting {field.name!r}, as a function of Settings is named: choose another name"
    default: Any = field.default if field.default_factory is MISSING else field.default_factory()
    if default is MISSING:
        yield f"its setting {field.name!r} has no default"
    try:
        checked(field.name, default, kind)
    except UsageError as error:
        fault = f"the default of its setting {error}"
    except (KeyError, ValueError, TypeError):
        fault = f"its setting {field.name!r} is a {kind!r}, but must be {KINDS}"
    else:
        return
    yield fault


def _in_metrics(metrics: Any) -> Iterator[str]:
    if not isinstance(metrics, tuple):
        yield f"metrics is {metrics!r}, but must be a tuple of names"
    yield from _in_names("metrics", cast(tuple[Any, ...], metrics))
    if LOSS not in metrics:
        yield f"metrics must have {LOSS!r} among them: it tells whether a run diverges"
    for name in TOLD:
        if name in metrics:
            yield f"metrics has {name!r}, which records say already"


def _in_pages(pages: Any) -> Iterator[str]:
    if not isinstance(pages, Mapping):
        yield 'pages must be a mapping, as {"jax": update}'
    for framework, page in cast(Mapping[Any, Any], pages).items():
        if framework not in BACKENDS:
            yield f"pages has {framework!r}, but polyak has {', '.join(BACKENDS)}"
        if not callable(page):
            yield f"pages has no function for {framework}, but a {type(page).__name__}"


# What its functions say


def _in_parts(algorithm: Algorithm, spec: Spec, config: Settings) -> Iterator[str]:
    entries = called(algorithm, "state", spec, config)
    yield from _in_mapping("state", entries)
    for name in entries:
        yield from _in_entry(entries, name)
    yield from _in_actor(entries, spec, called(algorithm, "head", config))
    draws = called(algorithm, "draws", spec, config)
    yield from _in_mapping("draws", draws)
    for name, draw in draws.items():
        yield from _in_draw(name, draw, config.batch_size)
    every = called(algorithm, "every", config)
    yield from _in_mapping("every", every)
    for name, period in every.items():
        if type(period) is not int or period < 1:
            yield f"every has {name!r} each {period!r} updates, but must have a whole number of at least 1"


def _in_entry(entries: Entries, name: str) -> Iterator[str]:
    entry, names = entries[name], [*entries]
    if name == STEP or _is_of_another(entries, name):
        yield f"state has {name!r}, as the learner names an array of its own"
    match entry:
        case Copy(of):
            if of not in names[: names.index(name)] or not isinstance(entries[of], Net | Copy):
                yield f"state has {name!r}, a copy of {of!r}, but no network {of!r} before it"
            if keeps_statistics(body_in(entries, of) or ()):
                yield f"state has {name!r}, a copy of {of!r}, whose layers keep running statistics: a copy has none"
        case Net():
            yield from _in_net(name, entry)
        case Parameter(first, shape) | Variable(first, shape):
            if not _is_shape(shape) or not math.isfinite(first):
                yield f"state has {name!r} of shape {shape!r} from {first}, but must be finite, its axes whole"
            if isinstance(entry, Variable) and entry.dtype == "int32" and shape:
                yield f"state has {name!r}, an int32 of shape {shape}, but such must be scalars"
        case _:
            kind = type(cast(Any, entry)).__name__
            yield f"state has {name!r}, a {kind}, but takes Net, Parameter, Copy and Variable"


def _in_net(name: str, net: Net) -> Iterator[str]:
    if net.inputs < 1 or outputs_of(net.body) < 1:
        yield f"state has {name!r}, a network without inputs or outputs"
    try:
        shapes(net.body, net.inputs)
    except ValueError as error:
        yield f"state has {name!r}: {error}"
    if net.copies is not None and (type(net.copies) is not int or net.copies < 1):
        yield f"state has {name!r}, an ensemble of {net.copies!r}, but must have a whole number of at least 1"
    if net.copies is not None and keeps_statistics(net.body):
        yield f"state has {name!r}, an ensemble whose layers keep running statistics: make each member a Net"


def _is_of_another(entries: Entries, name: str) -> bool:
    """Whether the learner has an array of this name for another entry."""
    prefix, _, of = name.partition("_")
    kinds = {"adam": Net | Parameter, "statistics": Net}
    return prefix in kinds and isinstance(entries.get(of), kinds[prefix])


def _in_actor(entries: Entries, spec: Spec, head: Any) -> Iterator[str]:
    if not isinstance(head, Head) or head.kind not in OUTPUTS:
        yield f"head is {head!r}, but must be a Head, of kind {' or '.join(OUTPUTS)}"
    if not 0 <= head.noise < math.inf:
        yield f"head has noise {head.noise}, but must have a finite one of at least 0"
    actor = entries.get("actor")
    if not isinstance(actor, Net):
        yield f"state has no network 'actor', which acts: it has {', '.join(entries) or 'nothing'}"
        return
    if actor.copies is not None:
        yield f"the network 'actor' is an ensemble of {actor.copies}, but one network acts: leave its copies None"
    wanted = spec.observation_size, OUTPUTS[head.kind] * spec.action_size
    if (actor.inputs, outputs_of(actor.body)) != wanted:
        yield (
            f"the network 'actor' is {actor.inputs} -> {outputs_of(actor.body)}, but a {head.kind} head takes "
            f"{wanted[0]} -> {wanted[1]} in this environment"
        )
    yield from _in_policy(actor.body)


def _in_policy(body: Body) -> Iterator[str]:
    try:
        folded_body(body)
    except ValueError as error:
        yield f"the network 'actor' cannot be folded into a policy: {error}"


def _in_draw(name: str, draw: Any, batch_size: int) -> Iterator[str]:
    match draw:
        case Normal(shape):
            if not _is_shape(shape) or shape[:1] != (batch_size,):
                yield f"draws has {name!r} of shape {shape!r}, but the first axis must be batch_size, here {batch_size}"
        case Subset(size, of):
            if not (type(size) is type(of) is int and 1 <= size <= of < 2**31):
                yield f"draws has {name!r}, {size!r} of {of!r}, but takes at least one, and not more than there are"
        case Bits(shape, probability):
            if not _is_shape(shape) or not 0.0 < probability < 1.0:
                yield (
                    f"draws has {name!r} of shape {shape!r} and probability {probability!r}, but its axes must be "
                    "whole numbers of at least 1, and the probability above 0 and below 1"
                )
        case _:
            yield f"draws has {name!r}, a {type(draw).__name__}, but takes Normal, Subset and Bits"


# Of all


def _in_mapping(part: str, found: Any) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield f"{part} is a {type(found).__name__}, but must be a mapping by name"
    yield from _in_names(part, tuple(cast(Mapping[Any, Any], found)))


def _in_names(part: str, names: Sequence[Any]) -> Iterator[str]:
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            yield f"{part} has {name!r}, but a name is of letters, digits and _"
    if len(set(names)) < len(names):
        yield f"{part} has a name twice: {', '.join(names)}"


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(type(size) is int and size >= 1 for size in cast(tuple[Any, ...], shape))


def called(algorithm: Algorithm, part: str, *given: Any) -> Any:
    """What one of an algorithm's functions says.

    Raises:
        UsageError: it raises, which is told with the line.
    """
    with foreign(lambda error: raised(algorithm, part, error)):
        return getattr(algorithm, part)(*given)


def raised(algorithm: Algorithm, part: str, error: BaseException) -> str:
    """What is said of an exception in a part of an algorithm."""
    place = told(error, algorithm.name.partition(".")[0])
    return f"algorithm {algorithm.name!r}: {part} raised {type(error).__name__}{place}"
