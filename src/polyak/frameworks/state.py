"""A learner's state in a framework's own arrays, of whatever algorithm: what a page reads, and replaces parts of."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from polyak.algorithm import Entries, Net, Parameter, body_in
from polyak.networks.layers import Body
from polyak.networks.names import flattened, nested


class Weights:
    """A network's arrays (`{"0": {"kernel": [inputs, outputs], "bias": [outputs]}, ...}`), its body beside them.

    Those of an ensemble of N have a first axis of N, by which `network` knows one.
    """

    __slots__ = ("arrays", "body")

    def __init__(self, arrays: Any, body: Body) -> None:
        self.arrays, self.body = arrays, body


class Trained(NamedTuple):
    """What is stepped along a gradient."""

    parameters: Any
    """`Weights` of a network, an array of a `Parameter`."""
    adam: dict[str, Any]
    """`count`, and `first` and `second` moments, which look like the parameters."""
    statistics: Any = ()
    """Of a network whose layers keep such: `{"0": {"mean": [n], "variance": [n], "steps": []}, ...}`."""


def in_evaluation(net: Trained) -> Weights:
    """A network as it is outside of training: its layers compute by their running statistics, which no gradient moves.

    Where layers keep none, these are its parameters.
    """
    if not net.statistics:
        return net.parameters
    arrays = dict(net.parameters.arrays)
    for number, kept in net.statistics.items():
        arrays[number] = {**arrays[number], "mean": kept["mean"], "variance": kept["variance"]}
    return Weights(arrays, net.parameters.body)


def acting(state: "State") -> dict[str, Any]:
    """What the policy is made of, by name: the actor's arrays, and the running statistics that they compute by."""
    return flattened(in_evaluation(state.actor).arrays)


class State:
    """Everything that one update reads and writes, each entry by its name in `Algorithm.state`.

    A network and a parameter are `Trained`, a copy is its `Weights`, a variable its array.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = dict(entries)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.entries[name]
        except KeyError:
            raise AttributeError(f"the state has no {name!r}: it has {', '.join(self.entries)}") from None

    def replace(self, **entries: Any) -> "State":
        """The same with other entries of these names.

        Raises:
            AttributeError: it has no entry of such a name.
        """
        for name in entries:
            getattr(self, name)
        return State({**self.entries, **entries})


def state_of(entries: Entries, arrays: Mapping[str, Any]) -> State:
    """The state that named arrays are (`actor/0/kernel`, `adam_actor/count`, ...), without the step."""
    tree, found = nested(arrays), dict[str, Any]()
    for name, entry in entries.items():
        body, value = body_in(entries, name), tree[name]
        found[name] = value if body is None else Weights(value, body)
        if isinstance(entry, Net | Parameter):
            adam = tree[f"adam_{name}"]
            if body is not None:
                adam = {"count": adam["count"], **{order: Weights(adam[order], body) for order in ("first", "second")}}
            found[name] = Trained(found[name], adam, tree.get(f"statistics_{name}", ()))
    return State(found)


def arrays_of(state: State) -> dict[str, Any]:
    """The named arrays of a state; the inverse of `state_of`."""
    tree: dict[str, Any] = {name: _parameters(entry) for name, entry in state.entries.items()}
    for name, entry in state.entries.items():
        if isinstance(entry, Trained):
            tree[f"adam_{name}"] = {part: _bare(value) for part, value in entry.adam.items()}
            if entry.statistics:
                tree[f"statistics_{name}"] = entry.statistics
    return flattened(tree)


def _parameters(entry: Any) -> Any:
    return _bare(entry.parameters if isinstance(entry, Trained) else entry)


def _bare(value: Any) -> Any:
    return value.arrays if isinstance(value, Weights) else value


# Any nesting of states, weights, dictionaries and tuples, for frameworks that know no trees of others


def leaves(tree: Any) -> list[Any]:
    """What is no nesting itself, in order."""
    if isinstance(tree, Weights):  # most of what there is, asked for tens of times an update
        return [array for layer in tree.arrays.values() for array in layer.values()]
    branches = _branches(tree)
    return [tree] if branches is None else [leaf for branch in branches for leaf in leaves(branch)]


def rebuilt(tree: Any, new_leaves: Iterator[Any]) -> Any:
    """The same nesting with other leaves."""
    if isinstance(tree, Weights):
        layers = tree.arrays.items()
        return Weights({number: {name: next(new_leaves) for name in layer} for number, layer in layers}, tree.body)
    if isinstance(tree, State):
        return State(rebuilt(tree.entries, new_leaves))
    if isinstance(tree, Trained):
        return Trained(*(rebuilt(branch, new_leaves) for branch in tree))
    if isinstance(tree, dict):
        return {name: rebuilt(branch, new_leaves) for name, branch in cast(dict[str, Any], tree).items()}
    if isinstance(tree, tuple):
        return tuple(rebuilt(branch, new_leaves) for branch in cast(tuple[Any, ...], tree))
    return next(new_leaves)


def mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """`function` of the corresponding leaves of trees of the same nesting."""
    return rebuilt(trees[0], map(function, *map(leaves, trees)))


def _branches(tree: Any) -> list[Any] | None:
    if isinstance(tree, State):
        return list(tree.entries.values())
    if isinstance(tree, dict):
        return list(cast(dict[str, Any], tree).values())
    return list(cast(tuple[Any, ...], tree)) if isinstance(tree, tuple) else None
