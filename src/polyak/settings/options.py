"""What a run is asked for besides its algorithm's settings: each option once.

`train`, `train_together`, `resume`, the flags of the command line, `settings.json`, a run's plan and the site's table
of options follow from it. A new option is a field here, and a parameter of the three for editors to show.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar, cast, get_args, get_type_hints

from polyak.errors import UsageError
from polyak.settings.called import Callback, name_of
from polyak.settings.demonstrated import Demonstrations, Recorded
from polyak.settings.kinds import (
    FILLED,
    URL,
    Address,
    Changeable,
    Count,
    Limit,
    Seed,
    changeable,
    check_fields,
    checked,
    meanings,
)

F = TypeVar("F", bound=Callable[..., Any])

Backend = Literal["jax", "torch", "tensorflow"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""The frameworks that there are."""
Device = Literal["auto", "cpu", "cuda"]
Vectorization = Literal["sync", "async", "envpool"]
Collection = Literal["in-step", "free"]
EvaluateIn = Literal["own", "process", "training", "never"]
Tracker = Literal["wandb", "mlflow"]
"""Each is a package, an extra of polyak's, and a module of `polyak.tracking`."""

MOST_THREADS = 1_024
"""More than any machine has cores for; beyond, a framework fails to make them and says so badly, or not at all."""
Threads = Annotated[
    int | None, Limit(f"at least 1 and at most {MOST_THREADS:,}", lambda threads: 1 <= threads <= MOST_THREADS)
]

MOST_COLLECTORS = 1_024
"""More processes than one learner can listen to; whoever opens a stranger's run starts no more."""
Collecting = Annotated[
    int | None,
    Limit(f"at least 1 and at most {MOST_COLLECTORS:,}, or None for none", lambda count: 1 <= count <= MOST_COLLECTORS),
]

ON_RAY = Limit(
    "ray (starts one here), ray:HOST:PORT or ray:auto (joins one)", lambda on: on == "ray" or on.startswith("ray:")
)
"""Where else runs or collectors are."""

LONGEST_TIMEOUT = 10_000_000
"""Seconds, four months: more than a timer of the system need count."""


def _can_be_measured(name: str) -> bool:
    return name.isprintable() and name[:1] not in ("", "_")


@dataclass(frozen=True)
class Flag:
    """How an option is spelled on the command line, where that is not as in Python."""

    name: str
    metavar: str | None
    repeated: bool = False
    """Whether there may be several, each behind a flag of its own."""


NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
EPOCH_OR_MORE = Limit("at least 1, or None for an epoch", lambda steps: steps >= 1)
IN_TIME = Limit(
    f"above 0 and at most {LONGEST_TIMEOUT:,}, or None for no limit", lambda seconds: 0 < seconds <= LONGEST_TIMEOUT
)
INFO_NAMES = Limit(
    "names of entries of info, each once, that can be printed and do not begin with an underscore",
    lambda names: len({*names}) == len(names) and all(map(_can_be_measured, names)),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `train` takes besides algorithm, environment and settings; each is checked, and kept as plain Python."""

    preset: Annotated[str | None, FILLED] = None
    """A name (`polyak presets` lists them) or a TOML file; by default the environment's own, or else a general one."""
    seed: Seed = 0
    """Every random stream of the run is drawn from it."""
    backend: Annotated[Backend, Changeable(exact=False)] = "jax"
    """The framework that learns."""
    device: Annotated[Device, Changeable(exact=False)] = "auto"
    """auto: an NVIDIA GPU where the framework sees one, else the CPU."""
    threads: Annotated[Threads, Changeable(exact=False)] = None
    """Threads of the framework on the CPU; by default the physical cores."""
    fast: bool = True
    """Compiled or fused updates; without, each operation is computed by itself, as it is written."""
    envs: Count = 1
    """Environments stepped side by side; updates per environment step stay the same."""
    vectorization: Vectorization = "sync"
    """sync: in this process; async: a process for each environment; envpool: EnvPool's threads, for the ids it has."""
    collectors: Collecting = None
    """Processes beside the one that learns, each of which steps `envs` environments and sends what they gave; None: the
    environments are stepped by the process that learns."""
    collection: Collection = "in-step"
    """How collectors work. in-step: all take as many steps with the same policy, and the run is reproducible; free:
    whoever is ready delivers and goes on with the newest policy, and the run is not reproducible."""
    on: Annotated[str | None, ON_RAY, Changeable()] = None
    """Where collectors are: ray starts Ray on this machine, ray:HOST:PORT or ray:auto joins a cluster; None is
    processes of this machine. With several seeds it is where the runs are."""
    environment_settings: Annotated[Mapping[str, Any], Flag("env-setting", "NAME=VALUE", repeated=True)] = field(
        default_factory=dict[str, Any]
    )
    """Arguments of the environment's constructor by their names, where it is an id; on the command line each value is
    read as JSON, else as text."""
    wrappers: Annotated[tuple[str, ...], Flag("wrapper", "MODULE:CLASS", repeated=True)] = ()
    """Classes of gymnasium.Wrapper around each environment, where it is an id, as module:Class: the innermost first,
    all of them inside the time limit."""
    fresh_environments: Annotated[bool, Changeable(exact=False)] = False
    """Make the environment of each episode anew, for simulators in which an episode depends on those before it; those
    of BipedalWalker always are."""
    evaluate_in: EvaluateIn = "own"
    """Where the policy is evaluated. own: an environment of its own; process: one in a process of its own, where a
    process can hold only one; training: the one that trains, between two episodes, where there can be only one; never:
    nowhere, so that there is no best policy."""
    probe: bool = True
    """Try in a few short episodes, before training, whether an episode follows from its seed; without, nobody knows."""
    from_run: Annotated[Path | None, Flag("from", "RUN")] = None
    """A run whose learner this one goes on from, in whichever framework; its settings are the default then. Replay,
    episodes and random streams are new."""
    demonstrations: Annotated[Demonstrations | None, Flag("demonstrations", "PATH|ID")] = None
    """Transitions that were recorded before, which each batch has a part of (demonstration_fraction): a Minari
    dataset, by its path or id, or another run's folder; in Python also arrays. The run's checkpoints keep them."""
    run_dir: Path = Path("runs")
    """Where the run's folder is made."""
    stop_at_return: Annotated[float | None, Changeable()] = None
    """Stop once an evaluation's mean return reaches this."""
    checkpoint_every: Annotated[int | None, EPOCH_OR_MORE, Changeable()] = None
    """Environment steps between checkpoints, from which `polyak resume` goes on; by default an epoch."""
    step_timeout: Annotated[float | None, IN_TIME, Changeable()] = 600.0
    """Seconds that the environments may take for one answer before the run is ended, where training runs in the main
    thread."""
    info_metrics: Annotated[tuple[str, ...], INFO_NAMES] = ()
    """Numbers in the info of each episode's last step to measure, by name, in training and evaluation; success
    (is_success or success) is measured without being asked for."""
    callbacks: Annotated[
        tuple[Callback, ...], Flag("callback", "MODULE:CLASS", repeated=True), Changeable(exact=False)
    ] = ()
    """What is told of the run's steps, updates and evaluations, in this order: objects, or texts as module:Class or
    'module:Class(1000, name="x")', of which each run makes its own."""
    track: Annotated[tuple[Tracker, ...], Changeable()] = ()
    """Weights & Biases, MLflow or both: where the records go besides the run's folder."""
    mirror: Annotated[Address | None, Flag("mirror", "FOLDER|URL"), Changeable()] = None
    """A folder or a URL (s3://, gs://, ...) that also gets the run's folder as of each checkpoint, named below it as
    below --run-dir; `polyak resume` goes on from there. An empty text is none."""

    def __post_init__(self) -> None:
        check_fields(self, Options)
        if self.evaluate_in == "never" and self.stop_at_return is not None:
            raise UsageError(
                f"stop_at_return is {self.stop_at_return:g}, but evaluate_in is never, so that no return is measured: "
                "leave one of them out"
            )
        if self.vectorization == "envpool" and (self.environment_settings or self.wrappers):
            given = "environment_settings" if self.environment_settings else "wrappers"
            raise UsageError(
                f"{given} is for environments that Gymnasium makes, but the vectorization is envpool, which makes its "
                "own: choose sync or async"
            )
        if self.fresh_environments and self.vectorization == "envpool":
            raise UsageError(
                "fresh_environments is for single environments, but the vectorization envpool makes all of them at "
                "once: choose sync or async"
            )

        if self.collectors is None:
            if self.collection != "in-step":
                raise UsageError(f"collection is {self.collection}, but there are no collectors: ask for some")
        elif self.vectorization != "sync":
            raise UsageError(
                f"vectorization is {self.vectorization}, but collectors step their environments one after another: "
                "ask for more collectors, with fewer envs in each, and leave vectorization out"
            )
        elif self.evaluate_in == "training":
            raise UsageError(
                "evaluate_in is training, but with collectors no environment that trains is in the process that "
                "evaluates: choose own, process or never"
            )

    @property
    def side_by_side(self) -> int:
        """Environments of the run: those of all collectors, if there are any."""
        return self.envs * (self.collectors or 1)

    def placed(self) -> Self:
        """The same with paths that lead there wherever a simulator goes: some change the folder in which they are."""
        return replace(
            self,
            run_dir=self.run_dir.absolute(),
            from_run=None if self.from_run is None else self.from_run.absolute(),
            demonstrations=_placed_if_there(self.demonstrations),
            mirror=placed(self.mirror),
        )


def placed(mirror: str | None) -> Address | None:
    """A mirror by what leads there from anywhere; none where there is none."""
    return Address(mirror if URL.fullmatch(mirror) else str(Path(mirror).absolute())) if mirror else None


def _placed_if_there(demonstrations: Any) -> Any:
    """A path by what leads there from anywhere; an id, or arrays, as they are."""
    there = isinstance(demonstrations, str) and os.path.lexists(demonstrations)
    return str(Path(cast(str, demonstrations)).absolute()) if there else demonstrations


KINDS: Mapping[str, Any] = get_type_hints(Options, include_extras=True)
"""Each option and its kind."""
MEANINGS: Mapping[str, str] = dict(meanings(Options))
UNDESCRIBED = ("run_dir", "probe")
"""What `settings.json` does not tell: where it lies, and what is done before it is written."""
EARLIEST = ("preset", "seed", "backend", "threads", "envs", "vectorization")
"""What runs of all versions tell."""
LATER = (
    *("callbacks", "info_metrics", "track", "environment_settings", "wrappers", "fresh_environments", "evaluate_in"),
    *("collectors", "collection", "on", "mirror", "demonstrations"),
)
"""What runs of earlier versions do not tell: the default was in force."""


def note_of(name: str, kind: type[Any]) -> Any:
    """What an option's declaration says besides its kind, such as a `Flag`; None where it says no such."""
    return next((note for note in get_args(KINDS.get(name))[1:] if isinstance(note, kind)), None)


CHANGEABLE: Mapping[str, Changeable] = changeable(Options)
"""The options that `resume` takes too."""


def telling_options(function: F) -> F:
    """Add to what `help` says of a function what each option that it takes is."""
    taken = inspect.signature(function).parameters
    told = [f"    {name}: {meaning}" for name, meaning in MEANINGS.items() if name in taken]
    function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *told])
    return function


def options_of(arguments: Mapping[str, Any]) -> Options:
    """The options among a call's arguments by name; those that the call does not have are the default.

    Raises:
        UsageError: one is of another kind, or beyond its limit.
    """
    return Options(**{name: arguments[name] for name in KINDS if name in arguments})


def changes_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a call of `resume` asks to change; None leaves one as it was.

    Raises:
        UsageError: one is of another kind, or beyond its limit.
    """
    given = {name: arguments[name] for name in CHANGEABLE if arguments[name] is not None}
    asked = {name: checked(name, value, KINDS[name]) for name, value in given.items()}
    return {**asked, **({"mirror": placed(asked["mirror"])} if "mirror" in asked else {})}


def described(options: Options) -> dict[str, Any]:
    """Every option that a run keeps, as JSON can hold it."""
    values = {field.name: getattr(options, field.name) for field in fields(Options)}
    return {name: as_described(name, value) for name, value in values.items() if name not in UNDESCRIBED}


def as_described(name: str, value: Any) -> Any:
    """The value of an option as JSON can hold it; of a callback that is an object, by the name of its class."""
    if name == "callbacks":
        return list(map(name_of, value))
    if isinstance(value, Path | Recorded):
        return str(value)
    if isinstance(value, Mapping):
        return dict(cast(Mapping[str, Any], value))
    return list(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value
