"""Which trainings there are, in the order in which they are to be run."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent.parent
ALGORITHMS = ("ddpg", "td3", "sac")
OURS, PEER = "polyak", "Stable-Baselines3"


@dataclass(frozen=True)
class Case:
    """One algorithm on one environment, for several seeds."""

    group: str
    """What it is for."""
    algorithm: str
    environment: str
    flags: str = ""
    """What `polyak train` is told besides algorithm, environment, seed and threads."""
    variant: str = ""
    """What tells it from another case of the group with the same algorithm and environment."""
    fresh: int = 100
    """Episodes of the evaluation after training; 0 is none."""
    library: str = OURS
    threads: int | None = 1
    """None is as many as each library takes by itself."""
    shown: str = ""
    """The result of the training whose best policy plays the demonstrations, if there are any; it comes first."""

    @property
    def name(self) -> str:
        """Of its results: `equal/sac-Hopper-v5-polyak`."""
        return f"{self.group}/" + "-".join(filter(None, (self.algorithm, self.plain, self.variant)))

    @property
    def plain(self) -> str:
        """The environment's id without its module."""
        return self.environment.rpartition(":")[2]

    def named(self, seed: int) -> str:
        """Of the result and the folder of one seed."""
        return f"{self.name}-{seed}"

    def command(self, seed: int) -> list[str]:
        """Of polyak's command line."""
        options = ["--seed", str(seed), *shlex.split(self.flags)]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return ["train", self.algorithm, self.environment, *options, *threads]


@dataclass(frozen=True)
class Training:
    """A case with a seed."""

    case: Case
    seed: int

    @property
    def name(self) -> str:
        """Of its result and of its folder."""
        return self.case.named(self.seed)


@dataclass(frozen=True)
class Block:
    """Cases of which each seed is run before the next, so that they can be compared wherever the queue is stopped."""

    cases: Sequence[Case]
    seeds: int

    def __iter__(self) -> Iterator[Training]:
        return (Training(case, seed) for seed in range(self.seeds) for case in self.cases)


def equal(environment: str, algorithms: Sequence[str], seeds: int) -> Block:
    """Both libraries with the same settings."""
    preset = "--preset benchmarks/curves/zoo.toml"
    cases = [
        Case("equal", algorithm, environment, preset, library, 0, library)
        for algorithm in algorithms
        for library in (OURS, PEER)
    ]
    return Block(cases, seeds)


def book(environment: str, backend: str, seeds: int, flags: str = "") -> Block:
    """The chapter's settings in one framework."""
    told = f"--preset book --backend {backend} {flags}"
    return Block([Case("book", algorithm, environment, told, backend) for algorithm in ALGORITHMS], seeds)


def preset(environment: str, algorithms: Sequence[str] = ALGORITHMS, flags: str = "", shown: str = "") -> Block:
    """polyak's own settings for an environment, as a user gets them, to a length that shows what they are worth."""
    return Block([Case("presets", each, environment, flags, shown=shown) for each in algorithms], 3)


CANDIDATES = ("paper", "defaults", "today")
"""Settings for any environment. `today` are those with which the authors of TD3 train TD3 and DDPG in their code of
today, but for their 25,000 random steps, in whose place there are 1,000."""
TODAY = {
    "ddpg": "--preset general",
    "td3": "--preset general --hidden-sizes 256 256 --batch-size 256 --update-after 1000"
    " --actor-learning-rate 3e-4 --critic-learning-rate 3e-4",
}


def elsewhere(environment: str, steps: int, epoch: int) -> Block:
    """The settings that an environment without a preset could have, where others are known too."""
    looks = f"--steps {steps} --steps-per-epoch {epoch} --evaluation-episodes 10"
    cases = [
        Case("defaults", algorithm, environment, f"{flags} {looks}", name, 10)
        for algorithm in ALGORITHMS
        for name in CANDIDATES
        if (flags := TODAY.get(algorithm, "") if name == "today" else f"--preset {name}")
    ]
    return Block(cases, 3)


def published(environment: str, seeds: int) -> Block:
    """SAC as the authors of CrossQ trained it, but for the rest of the zoo's: what polyak's preset was chosen by."""
    rates = " ".join(f"--{name}-learning-rate 1e-3" for name in ("actor", "critic", "alpha"))
    flags = f"--preset benchmarks/curves/zoo.toml {rates} --start-steps 5000 --update-after 5001"
    return Block([Case("published", "sac", environment, flags, fresh=0)], seeds)


SUCCESSORS = ("sac", "tqc", "crossq")


def beside_sac(environment: str, algorithms: Sequence[str] = SUCCESSORS, seeds: int = 3, steps: int = 100_000) -> Block:
    """SAC and what came after it, each by its own preset, for the first steps: what they learn, and in which time."""
    cases = [Case("successors", each, environment, f"--steps {steps}", fresh=10) for each in algorithms]
    return Block(cases, seeds)


LANDER = "LunarLanderContinuous-v3"
REACH, PUSH, MAZE = (f"gymnasium_robotics:{each}" for each in ("FetchReach-v4", "FetchPush-v4", "PointMaze_UMaze-v3"))
SOLVED = "--stop-at-return 220 --evaluation-episodes 100"


@dataclass(frozen=True)
class Question:
    """What is asked of a way to learn from experience, by cases that differ in nothing else."""

    title: str
    text: str
    """What is compared, in a sentence or two."""
    cases: Sequence[Case]
    seeds: int = 3
    measure: Literal["return", "success rate"] = "return"
    """Of the evaluations."""
    reached: float | None = None
    """Where the table says after how many steps each case came to it."""
    axis: str = "environment steps"
    """What steps are."""

    @property
    def name(self) -> str:
        """Of its picture."""
        return "experience-" + "-".join(re.findall("[a-z0-9]+", self.title.lower()))


def with_and_without(environment: str, variants: Mapping[str, str], algorithm: str = "sac") -> list[Case]:
    """Cases of the group by what is told from each other, with the flags of each."""
    return [Case("experience", algorithm, environment, told, name, 10) for name, told in variants.items()]


def steps_ahead(environment: str, steps: int) -> Question:
    """What n-step returns do in the first steps of an environment."""
    variants = {f"n-step-{n}": f"--steps {steps} --n-step {n}" for n in (1, 3, 5)}
    told = (
        "SAC with the environment's own preset; a target counts one reward, three or five before it asks the critics."
    )
    return Question(f"n-step returns, {environment}", told, with_and_without(environment, variants))


def landings(steps: int) -> Question:
    """What ends the hovering by which SAC puts off its first landing."""
    lands = f"--steps {steps} --stop-at-return 200 --evaluation-episodes 20"
    variants = {
        "plain": f"{lands} --n-step 1 --exploration-hold 1 --target-entropy-scale 1",
        "three-rewards-held-noise": f"{lands} --n-step 3 --exploration-hold 8 --target-entropy-scale 1",
        "its-preset": lands,
    }
    told = (
        "SAC's seeds differ by how long they hover before they land. Plain, with noise that is new in each step, "
        "targets that count one reward and the usual target entropy of -2; with three rewards and noise held for up to "
        "eight steps; and with both and a target entropy of -4, its preset there. All have two layers of 64."
    )
    return Question(f"The first landing, {LANDER}", told, with_and_without(LANDER, variants), seeds=5, reached=200.0)


def strokes(steps: int) -> Question:
    """What finds a gait where a push of one joint alone moves nothing."""
    variants = {
        "plain": f"--steps {steps} --n-step 1 --exploration-hold 1",
        "five-rewards": f"--steps {steps} --exploration-hold 1",
        "held-noise": f"--steps {steps} --n-step 1",
        "its-preset": f"--steps {steps}",
    }
    told = (
        "A swimmer moves where its two joints bend one after the other for several steps. SAC, plain, with targets "
        "that count five rewards, with noise held for up to sixteen steps, and with both, its preset there. All have "
        "two layers of 64 and a discount of 0.9999."
    )
    return Question("The first strokes, Swimmer-v5", told, with_and_without("Swimmer-v5", variants))


def on_other_scales(steps: int) -> Question:
    """What normalized observations do where scales differ, which a wrapper of Pendulum makes of its three numbers."""
    scaled = f"--steps {steps} --steps-per-epoch 1000 --wrapper benchmarks.curves.scales:Scales"
    variants = {
        "scaled": scaled,
        "scaled-normalized": f"{scaled} --normalize-observations",
        "as-it-is": f"--steps {steps} --steps-per-epoch 1000",
    }
    told = (
        "SAC with Pendulum's preset, whose three numbers a wrapper multiplies by 0.001, 1 and 1,000: raw, with "
        "`--normalize-observations`, and beside them Pendulum as it is."
    )
    return Question("Observations on scales from 0.001 to 1,000", told, with_and_without("Pendulum-v1", variants))


def demonstrated() -> Iterator[Question]:
    """What demonstrations are worth, and what is learned from them alone: of the lander's first run that lands."""
    lands = "--steps 200000 --stop-at-return 200 --evaluation-episodes 20 --checkpoint-every 5000"
    none = Case("experience", "sac", LANDER, lands, "demonstrations-none", 10)
    half = Case("experience", "sac", LANDER, lands, "demonstrations-half", 10, shown=none.named(0))
    told = "SAC with its preset there until a mean return of 200, without demonstrations and with 50 episodes"
    yield Question(
        f"Demonstrations, {LANDER}",
        f"{told} in half of each batch, which the first seed's best policy without any played, its actions drawn.",
        [none, half],
        reached=200.0,
    )
    alone = "--preset offline --offline-updates 100000 --evaluation-episodes 20"
    told = "TD3 learns from the same 50 episodes alone, with TD3+BC's term (alpha 2.5) and without."
    variants = {"offline-cloning": alone, "offline-alone": f"{alone} --behaviour-cloning 0"}
    cases = [Case("experience", "td3", LANDER, each, name, 10, shown=none.named(0)) for name, each in variants.items()]
    yield Question(f"Offline, {LANDER}", told, cases, axis="updates, without environment steps")


def in_hindsight(environment: str, steps: int, epoch: int, reached: float | None = None) -> Question:
    """What goals set in hindsight do where a reward says only whether one was reached."""
    flags, told = (
        f"--steps {steps} --steps-per-epoch {epoch}",
        "SAC with its preset there, which sets goals in hindsight",
    )
    cases = with_and_without(environment, {"hindsight": flags, "without": f"{flags} --no-hindsight"})
    title, told = f"Hindsight, {cases[0].plain}", f"{told}, and with `--no-hindsight`."
    return Question(title, told, cases, measure="success rate", reached=reached)


def pushed() -> Question:
    """How far hindsight comes where something has to be moved."""
    told = "SAC with its preset, one seed. Published for TQC with hindsight: a return of -8.8 after 1,000,000 steps."
    cases = with_and_without(PUSH, {"hindsight": "--steps 300000 --steps-per-epoch 50000"})
    return Question(f"Hindsight, {cases[0].plain}", told, cases, seeds=1, measure="success rate")


EXPERIENCE = (
    in_hindsight(REACH, 10_000, 1_000, reached=1.0),
    in_hindsight(MAZE, 50_000, 5_000),
    on_other_scales(10_000),
    steps_ahead(LANDER, 100_000),
    landings(100_000),
    strokes(60_000),
    steps_ahead("HalfCheetah-v5", 50_000),
    *demonstrated(),
    pushed(),
)
"""Questions in the order in which they are to be run."""

BLOCKS = (
    # What better experience does.
    *(Block(question.cases, question.seeds) for question in EXPERIENCE),
    # The successors beside SAC: the first 100,000 steps, DroQ's first 30,000, and the walker until it walks.
    beside_sac("HalfCheetah-v5"),
    beside_sac("Hopper-v5"),
    beside_sac("Hopper-v5", ("droq",), steps=30_000),
    Block([Case("walker", each, "BipedalWalker-v3", "--stop-at-return 300", fresh=10) for each in ("tqc", "sac")], 3),
    beside_sac("Walker2d-v5"),
    beside_sac("Ant-v5"),
    beside_sac("Humanoid-v5", ("sac", "crossq"), seeds=1),
    # How soon, and the chapter's Pendulum; run before there was a queue.
    *(book("Pendulum-v1", backend, seeds) for backend, seeds in (("jax", 5), ("torch", 3), ("tensorflow", 3))),
    Block([Case("tuned", each, "Pendulum-v1", "--stop-at-return -200") for each in ALGORITHMS], 5),
    Block([Case("tuned", each, LANDER, SOLVED) for each in ALGORITHMS], 3),
    # Equal settings, equal learning.
    equal("Pendulum-v1", ("td3", "ddpg"), 5),
    equal("InvertedDoublePendulum-v5", ("td3", "ddpg"), 5),
    equal("Hopper-v5", ("sac",), 3),
    equal("HalfCheetah-v5", ("sac",), 3),
    # Beside curves that others published.
    published("Hopper-v5", 3),
    published("HalfCheetah-v5", 1),
    # The chapter's lander: its five epochs are the first of the fifty that it advises.
    *(book(LANDER, backend, 1, "--steps 200000") for backend in ("torch", "tensorflow")),
    # Presets that hold, from cheap to dear. Others are verified by `tuned` (Pendulum, the lander), `walker` and
    # `successors` (Hopper, HalfCheetah: SAC and what came after it), and are not run again.
    preset("Pendulum-v1", ("crossq", "tqc", "redq", "droq")),
    preset("Pendulum-v1", ("rlpd",), shown="presets/tqc-Pendulum-v1-0"),
    preset("MountainCarContinuous-v0", ("sac", "tqc", "td3", "ddpg")),
    preset("InvertedPendulum-v5", flags="--steps 20000 --steps-per-epoch 1000"),
    preset("Reacher-v5", flags="--steps 30000"),
    preset("InvertedDoublePendulum-v5", flags="--steps 50000"),
    preset(LANDER, ("tqc",), SOLVED),
    preset("Swimmer-v5", flags="--steps 100000"),
    preset("Hopper-v5", ("td3", "ddpg"), "--steps 100000"),
    preset("HalfCheetah-v5", ("td3", "ddpg"), "--steps 100000"),
    preset("BipedalWalker-v3", ("td3", "ddpg"), "--steps 300000 --stop-at-return 300"),
    # What an environment without a preset should get.
    elsewhere("Pendulum-v1", 10_000, 1_000),
    elsewhere("InvertedPendulum-v5", 20_000, 1_000),
    elsewhere("Reacher-v5", 30_000, 5_000),
    elsewhere("InvertedDoublePendulum-v5", 50_000, 5_000),
    elsewhere("MountainCarContinuous-v0", 30_000, 5_000),
    elsewhere(LANDER, 100_000, 5_000),
)
"""From the first to be run to the last."""


GROUPS = tuple(dict.fromkeys(case.group for block in BLOCKS for case in block.cases))
"""The parts of the queue, by their names."""


def trainings(only: str = "", part: str = "") -> list[Training]:
    """Those of a part whose name contains `only`, in their order; of all parts where none is named."""
    chosen = [training for block in BLOCKS for training in block if part in ("", training.case.group)]
    return [training for training in chosen if only in training.name]
