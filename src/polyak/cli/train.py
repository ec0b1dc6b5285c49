"""`polyak train ALGORITHM ENVIRONMENT [...]`: train a policy; the run's folder is the only line on standard output.

With `--seeds`, a run for each seed (see many.py).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro

from polyak import runs, training
from polyak.algorithms import NAMES, algorithm
from polyak.algorithms.settings import Settings
from polyak.cli.output import PrintsFolder, own_output
from polyak.configuration import resolve
from polyak.display import make_view
from polyak.environments.make import Vectorization
from polyak.errors import UsageError
from polyak.learners.edge import Device

USAGE = f"""usage: polyak train ALGORITHM ENVIRONMENT [options]

  ALGORITHM    {", ".join(NAMES)}
  ENVIRONMENT  a Gymnasium id such as Pendulum-v1, or module:Id

`polyak train sac Pendulum-v1 --help` lists every option, with the values that its preset puts in force."""

C = TypeVar("C", bound=Settings)


@dataclass(frozen=True)
class Options(Generic[C]):
    """What `train` takes besides the algorithm and the environment."""

    settings: Annotated[C, tyro.conf.arg(name="")]
    """The algorithm's settings; the defaults shown are those of the preset in force."""
    preset: str | None = None
    """book, paper, an environment's name, or a TOML file; by default the environment's own if any, else paper."""
    seed: int = 0
    """Every random stream of the run is drawn from it."""
    seeds: str | None = None
    """Several seeds, as 0-4 or 0,3,7: a run for each, in processes of their own, and one report about all."""
    together: bool = False
    """With --seeds and jax, all runs in this one process: for a GPU, which one run does not fill."""
    jobs: int | None = None
    """With --seeds, runs at a time; by default as many as the physical cores serve with --threads each."""
    backend: Literal["jax", "torch", "tensorflow"] = "jax"
    """The framework that learns."""
    device: Device = "auto"
    """auto: an NVIDIA GPU where the framework sees one, else the CPU."""
    threads: int | None = None
    """Threads of the framework on the CPU; by default the physical cores, shared out among --jobs."""
    fast: bool = True
    """Compiled or fused updates; --no-fast computes each operation by itself, as it is written."""
    envs: int = 1
    """Environments stepped side by side; updates per environment step stay the same."""
    vectorization: Vectorization = "sync"
    """sync: in this process; async: a process for each environment; envpool: EnvPool's threads, for the ids it has."""
    from_run: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN")] = None
    """A run whose learner this one goes on from, in whichever framework; its settings are the default then."""
    run_dir: Path = Path("runs")
    """Where the run's folder is made."""
    stop_at_return: float | None = None
    """Stop once an evaluation's mean return reaches this."""
    checkpoint_every: int | None = None
    """Environment steps between checkpoints, from which `polyak resume` goes on; by default an epoch."""
    step_timeout: float | None = 600.0
    """Seconds that the environments may take for one answer before the run is ended."""
    track: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Weights & Biases, MLflow or both: where the records go besides the run's folder."""
    plain: bool = False
    """Print lines instead of the live view."""


@dataclass(frozen=True)
class Request:
    """What one command line asks for."""

    algorithm: str
    environment: str
    preset: str
    """The one in force."""
    asked: str | None
    """The one asked for."""
    earlier: str | None
    """The run to go on from."""
    defaults: Settings
    """The preset's settings."""
    options: Options[Settings]


def main(arguments: list[str]) -> int:
    """Parse, train, and leave the rest to the run's folder."""
    if arguments[:1] in (["-h"], ["--help"]) or arguments[1:] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[1].startswith("-"):
        raise UsageError("train needs ALGORITHM ENVIRONMENT first, as in: polyak train sac Pendulum-v1 --seed 1")
    name, environment, *rest = arguments
    request = parse(name, environment, rest)
    if request.options.together:
        from polyak.cli import together

        return together.train_seeds(request, rest)
    if request.options.seeds is not None:
        from polyak.cli import many

        return many.train_seeds(request, rest)
    if request.options.jobs is not None:
        raise UsageError(f"jobs is {request.options.jobs}, but there is one run: give several seeds, as --seeds 0-4")
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
    preset, defaults = resolve(name, environment, None, asked, {}, runs.load(earlier) if earlier else None)
    options = tyro.cli(
        Options[kind],
        args=arguments,
        default=Options(settings=defaults),
        prog=f"polyak train {name} {environment}",
        description=f"Train {name.upper()} on {environment}. Preset in force: {preset}.",
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return Request(name, environment, preset, asked, earlier, defaults, options)


def _train(request: Request) -> None:
    options = request.options
    with own_output() as output:
        observer = PrintsFolder(output, make_view(plain=options.plain))
        training.train(
            request.algorithm, request.environment, seed=options.seed, observer=observer, **arguments_of(request)
        )


def arguments_of(request: Request) -> dict[str, Any]:
    """What `polyak.train` and `polyak.train_together` take alike."""
    options = request.options
    return {
        "preset": request.asked,
        "backend": options.backend,
        "device": options.device,
        "threads": options.threads,
        "fast": options.fast,
        "envs": options.envs,
        "vectorization": options.vectorization,
        "from_run": request.earlier,
        "run_dir": options.run_dir,
        "stop_at_return": options.stop_at_return,
        "checkpoint_every": options.checkpoint_every,
        "step_timeout": options.step_timeout,
        "track": options.track,
        **_changed(request.defaults, options.settings),
    }


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
