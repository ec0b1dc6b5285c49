"""Arrays by name, and the same arrays nested."""

from collections.abc import Mapping
from typing import Any, cast


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """`{"actor": {"0/kernel": x}, "step": n}` as `{"actor/0/kernel": x, "step": n}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            inner = flattened(cast(Mapping[str, Any], value))
            flat.update({f"{name}/{rest}": leaf for rest, leaf in inner.items()})
        else:
            flat[name] = value
    return flat


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """`{"actor/0/kernel": x}` as `{"actor": {"0": {"kernel": x}}}`; the inverse of `flattened`."""
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        *folders, leaf = name.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[leaf] = value
    return tree


def part(arrays: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What lies below a name: `{"0/kernel": x}` of `{"actor/0/kernel": x, "step": n}` for `actor`."""
    return {path.removeprefix(f"{name}/"): value for path, value in arrays.items() if path.startswith(f"{name}/")}
