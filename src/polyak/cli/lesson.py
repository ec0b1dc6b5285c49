"""`polyak lesson NAME [...]`: a lesson of the chapter, computed, shown as tables and written as a page."""

import json
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import tyro

from polyak.cli.parsing import call
from polyak.errors import UsageError
from polyak.html import number, write_page
from polyak.lessons import CHAPTER, LESSONS, entropy, overestimation, reparameterization
from polyak.lessons.common import Progress, Table
from polyak.settings.names import nearest
from polyak.system.files import prepare_to_write

Output = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
AsJson = Annotated[bool, tyro.conf.arg(name="json")]


class _Result(Protocol):
    def to_json(self) -> dict[str, Any]: ...


def _reparameterization(
    *,
    theta: float = 2.0,
    repeats: int = 10_000,
    samples: tuple[int, ...] = reparameterization.SAMPLES,
    seed: int = 0,
    threads: int | None = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the gradient of E[x^2], x ~ N(theta, 1), by score function and along the path (8.14, 8.15).

    Args:
        theta: the mean of x.
        repeats: how often each estimate is repeated.
        samples: the numbers of samples of an estimate.
        seed: every random number is drawn from it.
        threads: by default the physical cores; the numbers do not depend on it.
        output: the page's path; by default lesson-reparameterization.html in the current folder.
        as_json: print one JSON object instead of tables.
    """
    page = _door("reparameterization", output)
    with _progress("normals drawn") as progress:
        result = reparameterization.run(theta, samples, repeats, seed, threads=threads, progress=progress)
    _show(result, reparameterization.tables(result), page, reparameterization.page(result), as_json)


def _entropy(
    *,
    mu: tuple[float, ...] = entropy.MUS,
    alpha: tuple[float, ...] = entropy.ALPHAS,
    target: float = -1.0,
    samples: int = 100_000,
    seed: int = 0,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compute the entropy of a coin, a Gaussian and SAC's squashed Gaussian, and what it does for exploration (8.18).

    Args:
        mu: the squashed Gaussian's mu, before the tanh.
        alpha: temperatures of the policy exp(Q / alpha).
        target: SAC's target entropy for one action dimension, in nats.
        samples: how many actions are drawn to check each entropy.
        seed: from which they are drawn.
        output: the page's path; by default lesson-entropy.html in the current folder.
        as_json: print one JSON object instead of tables.
    """
    page = _door("entropy", output)
    result = entropy.run(mu, alpha, target, samples, seed)
    _show(result, entropy.tables(result), page, entropy.page(result), as_json)


def _overestimation(
    *,
    actions: int = 10,
    gap: float = 0.1,
    sigma: float = 1.0,
    gamma: float = 0.99,
    rate: float = 0.1,
    steps: int = 3_000,
    repeats: int = 100_000,
    runs: int = 400,
    seed: int = 0,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compute and measure how far a maximum over noisy values is too high, and the minimum of two critics (8.9).

    Args:
        actions: how many there are.
        gap: how much less each is worth than the one before; 0 makes them equal.
        sigma: the standard deviation of a critic's error.
        gamma: the discount of the one-state problem.
        rate: the learning rate there.
        steps: how many updates its runs take.
        repeats: how often one step is repeated.
        runs: how many runs learn.
        seed: every random number is drawn from it.
        output: the page's path; by default lesson-overestimation.html in the current folder.
        as_json: print one JSON object instead of tables.
    """
    page = _door("overestimation", output)
    with _progress("steps of learning") as progress:
        result = overestimation.run(actions, gap, sigma, gamma, rate, steps, repeats, runs, seed, progress=progress)
    _show(result, overestimation.tables(result), page, overestimation.page(result), as_json)


COMMANDS: dict[str, Callable[..., None]] = {
    "reparameterization": _reparameterization,
    "entropy": _entropy,
    "overestimation": _overestimation,
}


def main(arguments: list[str]) -> None:
    """Parse and run."""
    listed = "\n".join(f"  {name:<20}{summary}" for name, summary in LESSONS.items())
    if arguments[:1] in (["-h"], ["--help"]):
        options = "`polyak lesson NAME --help` lists its options."
        print(f"usage: polyak lesson NAME [options]\n\n{listed}\n\n{options}\n{CHAPTER}")
        return
    if not arguments or arguments[0] not in COMMANDS:
        said = f"there is no lesson {arguments[0]!r}" if arguments else "lesson needs the NAME of one"
        near = nearest(arguments[0], COMMANDS) if arguments else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise UsageError(f"{said}{hint}; there are\n{listed}")
    call(COMMANDS[arguments[0]], arguments[1:], f"lesson {arguments[0]}")


def _door(name: str, output: Path | None) -> Path:
    """Where the page goes, found writable before anything is computed."""
    path = Path(f"lesson-{name}.html") if output is None else output
    prepare_to_write(path)
    return path


def _show(result: _Result, tables: Sequence[Table], path: Path, content: str, as_json: bool) -> None:
    """Write the page; print the tables and the page's path, or one JSON object with it."""
    write_page(path, content)
    if as_json:
        print(json.dumps({**result.to_json(), "page": str(path)}, allow_nan=False))
        return
    _print(tables)
    print(path)


def _print(tables: Sequence[Table]) -> None:
    from rich import box, table
    from rich.console import Console

    console = Console()
    console = Console(width=None if console.is_terminal else 1_000, highlight=False)
    for each in tables:
        shown = table.Table(box=box.SIMPLE_HEAD)
        for position, name in enumerate(each.head):
            shown.add_column(name, justify="right" if position else "left")
        for row in each.rows:
            cells = (number(cell) if isinstance(cell, int | float) else cell or "" for cell in row)
            shown.add_row(*cells)
        console.print(each.title, style="bold")
        console.print(shown)
        if each.note:
            console.print(each.note + "\n")


@contextmanager
def _progress(unit: str) -> Generator[Progress]:
    """A bar on standard error; a line every ten seconds where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Progress as lines, none of them for what takes less than ten seconds."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= 10.0:
            self._said = now
            print(f"{done:,} of {total:,} {self._unit} ({done / total:.0%})", file=sys.stderr, flush=True)
