"""The names that other libraries have for things, and polyak's, as a table: what its messages answer from."""

from polyak.settings.names import ELSEWHERE, Ours

HEAD = ("elsewhere", "polyak")


def names() -> str:
    """A row for each thing: the names that it has elsewhere, and what polyak says of it."""
    told: dict[Ours, list[str]] = {}
    for name, ours in ELSEWHERE.items():
        told.setdefault(ours, []).append(name)
    rows = [HEAD, ("---",) * len(HEAD), *((_code(theirs), _said(ours)) for ours, theirs in told.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _code(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _said(ours: Ours) -> str:
    return f"{_code(ours.names)}{ours.note}"
