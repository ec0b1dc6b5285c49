"""`polyak compare ALGORITHM... --environments ENVIRONMENT...`: train a grid, and report."""

import itertools
from collections.abc import Sequence

from polyak.algorithms import is_built_in
from polyak.algorithms import names as algorithms_there
from polyak.cli import driver, many
from polyak.cli.named import with_from_named
from polyak.cli.request import Request, parse, seeds_of, value_in
from polyak.errors import UsageError
from polyak.many.words import passed_on

USAGE = f"""usage: polyak compare ALGORITHM... --environments ENVIRONMENT... [--backends BACKEND...]
                      [--seeds 0-4] [--jobs J] [--on ray] [options of train]

Trains every algorithm on every environment, in every framework named, with every seed: each run in a process of its
own, J at a time. Then writes one report about all.

  ALGORITHM...             {", ".join(algorithms_there())}, or a module of your own: one or more
  --environments           Gymnasium ids such as Pendulum-v1, or module:Id
  --backends               jax, torch, tensorflow: one or more, in which all have a page; by default jax
  --seeds                  as 0-4 or 0,3,7; by default 0-4
  --jobs                   runs at a time; by default as many as the physical cores serve with --threads each
  --on                     ray, or ray:HOST:PORT of a cluster: where the runs run; by default processes of this machine
  [options of train]       for all runs alike, such as --steps, --preset, --threads, --run-dir; without --preset, each
                           algorithm and environment gets its own

  polyak compare ddpg td3 sac --environments Pendulum-v1 --seeds 0-4 --steps 10000

`polyak train sac Pendulum-v1 --help` lists the options of train."""

SEEDS = "0-4"
OWN = ("--environments", "--backends")


def main(arguments: list[str]) -> int:
    """Parse, check, train, report."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    algorithms = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    rest = with_from_named(arguments[len(algorithms) :])
    environments, backends = values_of(rest, "--environments"), values_of(rest, "--backends")
    if not algorithms or not environments:
        raise UsageError(
            "compare needs algorithms first, then --environments, as in: polyak compare td3 sac --environments "
            "Pendulum-v1 --seeds 0-4"
        )
    for what, names in (("algorithms", algorithms), ("environments", environments), ("backends", backends)):
        _require_once(what, names)
    if backends and value_in(rest, "--backend") is not None:
        raise UsageError("--backend and --backends are both given: --backends alone names every framework")
    if value_in(rest, "--seed") is not None:
        raise UsageError("compare takes --seeds, such as --seeds 0-4, instead of --seed")
    options = passed_on(rest, OWN)
    grid = itertools.product(environments, algorithms, backends or [""])
    variants = [_variant(*point, options, named=len(backends) > 1) for point in grid]
    if variants[0].request.options.on is not None and not driver.is_watched():
        return driver.drive(["compare", *arguments])
    seeds = seeds_of(variants[0].request.many.seeds or SEEDS)
    return many.run_all(variants, seeds, _title(variants, seeds))


def values_of(arguments: Sequence[str], flag: str) -> list[str]:
    """The words that belong to a flag of one or more values; none where it is not there."""
    found, within = list[str](), False
    for word in arguments:
        if word.startswith("-"):
            name, given, value = word.partition("=")
            within = name == flag
            found += [value] if within and given else []
        elif within:
            found.append(word)
    return found


def _variant(environment: str, algorithm: str, backend: str, options: Sequence[str], *, named: bool) -> many.Variant:
    arguments = [*options, *(["--backend", backend] if backend else [])]
    request: Request = parse(algorithm, environment, arguments)
    name = " ".join([request.plan.algorithm.name, *([backend] if named else []), environment])
    return many.Variant(request, tuple(arguments), name)


def _require_once(what: str, names: Sequence[str]) -> None:
    twice = [name for name in names if [_same(each) for each in names].count(_same(name)) > 1]
    if twice:
        raise UsageError(f"{what} has {twice[0]!r} twice: name each once")


def _same(name: str) -> str:
    return name.lower() if is_built_in(name) else name


def _title(variants: Sequence[many.Variant], seeds: Sequence[int]) -> str:
    count = f"{len(variants)} variant{'s' * (len(variants) != 1)}"
    return f"comparison of {count} with {len(seeds)} seed{'s' * (len(seeds) != 1)} each"
