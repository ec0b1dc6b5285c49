"""`polyak train ALGORITHM ENVIRONMENT [...]`: train a policy; the run's folder is the only line on standard output.

With `--seeds`, a run for each seed (see many.py).
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import tyro

from polyak import training
from polyak.algorithms import NAMES, algorithm
from polyak.algorithms.settings import Settings
from polyak.cli.apart import PrintsFolder, environments_apart
from polyak.cli.flags import flags_of_options
from polyak.cli.output import own_output
from polyak.errors import UsageError
from polyak.run.folder import load
from polyak.settings.configuration import resolve
from polyak.settings.options import Options, options_of
from polyak.views.terminal import make_view

USAGE = f"""usage: polyak train ALGORITHM ENVIRONMENT [options]

  ALGORITHM    {", ".join(NAMES)}
  ENVIRONMENT  a Gymnasium id such as Pendulum-v1, or module:Id

`polyak train sac Pendulum-v1 --help` lists every option, with the values that its preset puts in force."""

C = TypeVar("C", bound=Settings)
F = TypeVar("F")


@dataclass(frozen=True)
class Asked(Generic[C, F]):
    """What `train` takes besides the algorithm and the environment."""

    options: Annotated[F, tyro.conf.arg(name="")]
    """As `polyak.settings.options` declares them."""
    settings: Annotated[C, tyro.conf.arg(name="")]
    """The algorithm's settings; the defaults shown are those of the preset in force."""
    seeds: str | None = None
    """Several seeds, as 0-4 or 0,3,7: a run for each, in processes of their own, and one report about all."""
    together: bool = False
    """With --seeds and jax, all runs in this one process: for a GPU, which one run does not fill."""
    jobs: int | None = None
    """With --seeds, runs at a time; by default as many as the physical cores serve with --threads each."""
    plain: bool = False
    """Print lines instead of the live view."""


@dataclass(frozen=True)
class Request:
    """What one command line asks for."""

    algorithm: str
    environment: str
    preset: str
    """The one in force."""
    defaults: Settings
    """The preset's settings."""
    settings: Settings
    options: Options
    many: "Asked[Settings, Any]"
    """Seeds, jobs and the view."""


def main(arguments: list[str]) -> int:
    """Parse, train, and leave the rest to the run's folder."""
    if arguments[:1] in (["-h"], ["--help"]) or arguments[1:] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[1].startswith("-"):
        raise UsageError("train needs ALGORITHM ENVIRONMENT first, as in: polyak train sac Pendulum-v1 --seed 1")
    name, environment, *rest = arguments
    request = parse(name, environment, rest)
    if request.many.together:
        from polyak.cli import together

        return together.train_seeds(request, rest)
    if request.many.seeds is not None:
        from polyak.cli import many

        return many.train_seeds(request, rest)
    if request.many.jobs is not None:
        raise UsageError(f"jobs is {request.many.jobs}, but there is one run: give several seeds, as --seeds 0-4")
    _train(request)
    return 0


def parse(name: str, environment: str, arguments: list[str]) -> Request:
    """What the options after ALGORITHM ENVIRONMENT ask for.

    Raises:
        UsageError: an unknown algorithm, preset or earlier run; a setting out of its limits.
        SystemExit: the parser's, after it has said what is wrong, or shown the help that was asked for.
    """
    kind: type[Settings] = algorithm(name).Config
    asked, earlier = value_in(arguments, "--preset"), value_in(arguments, "--from")
    with own_output():  # a preset may ask the environment for its ranges of actions
        preset, defaults = resolve(name, environment, None, asked, {}, load(earlier) if earlier else None)
    flags = flags_of_options()
    given: Asked[Settings, Any] = tyro.cli(
        Asked[kind, flags],
        args=arguments,
        default=Asked(options=flags(), settings=defaults),
        prog=f"polyak train {name} {environment}",
        description=f"Train {name.upper()} on {environment}. Preset in force: {preset}.",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    options = options_of({**vars(given.options), "preset": asked, "from_run": earlier})
    return Request(name, environment, preset, defaults, given.settings, options, given)


def _train(request: Request) -> None:
    run_dir = request.options.run_dir
    with environments_apart(run_dir.absolute()) as prints:
        observer = PrintsFolder(prints, make_view(prints.errors, plain=request.many.plain), run_dir)
        training.train(
            request.algorithm,
            request.environment,
            seed=request.options.seed,
            observer=observer,
            **arguments_of(request),
        )


def arguments_of(request: Request) -> dict[str, Any]:
    """What `polyak.train` and `polyak.train_together` take alike."""
    options = {name: value for name, value in vars(request.options).items() if name != "seed"}
    return options | _changed(request.defaults, request.settings)


def _changed(defaults: Settings, chosen: Settings) -> dict[str, Any]:
    """The settings that the command line set to another value than the preset."""
    pairs = ((field.name, getattr(chosen, field.name)) for field in dataclasses.fields(chosen))
    return {name: value for name, value in pairs if value != getattr(defaults, name)}


def value_in(arguments: list[str], flag: str) -> str | None:
    """The value of a flag that is needed before the rest can be parsed, because it sets the defaults."""
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag:
            if position + 1 == len(arguments):
                raise UsageError(f"{flag} needs a value")
            return arguments[position + 1]
    return None
