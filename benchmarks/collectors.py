"""Transitions a second, and the learner's processor time for each, where environments are slow and collectors many.

    python benchmarks/collectors.py                     # writes docs/results/collectors.json; about 12 minutes with Ray
    python benchmarks/collectors.py --quick             # a glance; writes only where --output says
    python benchmarks/collectors.py --ways async "in step"

Environments of HalfCheetah's sizes (17 observed, 6 actions) that sleep for 0, 1, 10 or 100 ms a step, always as long or
by an exponential distribution of that mean; W of them, each in a process of its own:

- async: the process that learns steps all of them in lock-step (`--vectorization async`);
- in step, free: collectors with one environment each (`--collectors W`), L steps a round, SAC's policy (256 x 256) anew
  for each burst;
- ray, in step and ray, free: the same as actors of a Ray on this machine (`--on ray`). After all else one of four is
  killed a few times: how much longer its round took than others is what it costs to make a collector again.

Nothing is learned: what is measured is what collecting leaves for it. *Ideal* is W divided by the mean duration of a
step. All contenders live side by side and take turns, A B C A B C ...; the duration is one number in a file that all
environments read, so that no process is started twice.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from polyak.algorithm import actor_in, first_state
from polyak.experience.remote import Collectors, InStep, Rhythm
from polyak.experience.replay import Replay
from polyak.policies.policy import Policy, policy_of
from polyak.run.collecting import collector_of, started
from polyak.run.plan import Plan, planned
from polyak.run.worlds import make_worlds
from polyak.settings.options import options_of
from polyak.system.randomness import Streams
from polyak.system.threads import one_numpy_thread, physical_cores, processor

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "results" / "collectors.json"
COUNTS, LENGTH = (1, 4, 16, 32), 10
CASES = ((0.0, False), (0.001, False), (0.001, True), (0.01, False), (0.01, True), (0.1, False))
"""Seconds of a step, and whether they vary."""
LENGTHS = (1, 50)
"""Other lengths of a round, for 16 environments of 10 ms."""
PACE = "d?"
WAYS: dict[str, dict[str, Any]] = {
    "async": {"vectorization": "async"},
    "in step": {"collection": "in-step"},
    "free": {"collection": "free"},
    "ray, in step": {"collection": "in-step", "on": "ray"},
    "ray, free": {"collection": "free", "on": "ray"},
}
"""Options of a run, for each way; those without a vectorization have W collectors."""


class Slow(gymnasium.Env[Any, Any]):
    """Sleeps for as long as a file says, and shows noise; an episode is a thousand steps."""

    def __init__(self, pace: str) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (17,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)
        self._pace = Path(pace)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = 0
        return self._shown(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Sleep."""
        seconds, varies = struct.unpack(PACE, self._pace.read_bytes())
        if seconds:
            time.sleep(self.np_random.exponential(seconds) if varies else seconds)
        self._steps += 1
        return self._shown(), 0.0, False, self._steps == 1_000, {}

    def _shown(self) -> Any:
        return self.np_random.standard_normal(17, dtype=np.float32)


def set_pace(file: Path, seconds: float, *, varies: bool) -> None:
    """Let all steps take so long from now on; who reads sees the old or the new."""
    fresh = file.with_suffix(".new")
    fresh.write_bytes(struct.pack(PACE, seconds, varies))
    fresh.replace(file)


class Contender:
    """W environments in one of the ways."""

    def __init__(self, stack: ExitStack, way: str, count: int, pace: Path) -> None:
        self.way, self.count = way, count
        plan, streams = _plan(way, count, str(pace)), Streams(0)
        environments, _ = make_worlds(stack, plan, streams, nullcontext)
        self.replay = Replay(100_000, environments.spec.observation_size, environments.spec.action_size)
        begun = time.perf_counter()
        self.collector = collector_of(stack, plan, streams, environments, self.replay)
        started(self.collector)
        self.collector.begin()
        self.seconds_to_start = time.perf_counter() - begun
        self._policy = _policy(plan, environments.spec)
        self.burst = LENGTH * count

    def rounds_of(self, length: int) -> None:
        """From the next round on, let one have so many steps."""
        self.burst = length * self.count
        if isinstance(self.collector, Collectors):
            self.collector.rhythm = Rhythm((self.burst,), ())

    def collect(self, seconds: float) -> tuple[float, float]:
        """For so long: transitions a second, and microseconds of this process's processor time for each."""
        collector, learned, first = self.collector, 0, self.collector.steps
        for _ in range(self.count if "free" in self.way else 2):  # what was begun at another pace
            self.replay.add(collector.step(self._policy))
        before, begun, used = collector.steps, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            if (collector.steps - first) // self.burst > learned:  # a burst has brought another policy
                learned = (collector.steps - first) // self.burst
                self._policy = dataclasses.replace(self._policy, parameters=dict(self._policy.parameters))
            transitions = collector.step(self._policy)
            if isinstance(collector, InStep):
                collector.ahead(self._policy)
            self.replay.add(transitions)
            collector.finished()
        rows = collector.steps - before
        return rows / (time.perf_counter() - begun), 1e6 * (time.process_time() - used) / rows


def _plan(way: str, count: int, pace: str) -> Plan:
    how = WAYS[way]
    how = {**how, "envs": count} if "vectorization" in how else {**how, "collectors": count}
    rhythm = {"update_every": LENGTH * count, "steps_per_epoch": 10**9, "steps": 10**9, "start_steps": 0}
    options = options_of({**how, "evaluate_in": "never"})
    return planned("sac", lambda: Slow(pace), None, options, rhythm)


def _policy(plan: Plan, spec: Any) -> Policy:
    entries = plan.algorithm.state(spec, plan.config)
    actor = actor_in(entries, first_state(entries, np.random.default_rng(0)))
    return policy_of(plan.algorithm, plan.config, spec, actor, {})


def measure(ways: list[str], counts: tuple[int, ...], rounds: int, scale: float) -> Iterator[list[dict[str, Any]]]:
    """All rows, after each round."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, one_numpy_thread():
        if any("on" in WAYS[way] for way in ways):
            stack.enter_context(_ray())
        pace = Path(folder) / "pace"
        set_pace(pace, 0.0, varies=False)
        contenders = [Contender(stack, way, count, pace) for count in counts for way in ways]
        found: dict[tuple[int, int, float, bool], list[tuple[float, float]]] = {}
        for number in range(rounds):
            for seconds, varies in CASES:
                set_pace(pace, seconds, varies=varies)
                for index, contender in enumerate(contenders):
                    for length in _lengths(contender, seconds, varies):
                        contender.rounds_of(length)
                        got = contender.collect(scale * max(0.5, 2.5 * length * seconds))
                        found.setdefault((index, length, seconds, varies), []).append(got)
                    contender.rounds_of(LENGTH)
            yield [_row(contenders[index], how, number + 1, got) for (index, *how), got in found.items()]


@contextmanager
def _ray() -> Iterator[None]:
    """A Ray that has room for all contenders at once: sleeping environments need no processor."""
    import ray

    ray.init(num_cpus=1_000, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def recovered(times: int) -> dict[str, Any]:
    """Seconds by which a round is longer in which a collector on Ray is killed, with 4 environments of 10 ms."""
    import ray

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, one_numpy_thread():
        stack.enter_context(_ray())
        pace = Path(folder) / "pace"
        set_pace(pace, 0.01, varies=False)
        contender = Contender(stack, "ray, in step", 4, pace)
        contender.rounds_of(LENGTH)
        contender.collect(1.0)
        usual, killed = list[float](), list[float]()
        for kills in [False, True] * times:
            contender.collector.ahead(contender._policy)
            if kills:
                ray.kill(contender.collector._crew._seats[0]._handle)
            begun = time.perf_counter()
            contender.replay.add(contender.collector.step(contender._policy))
            (killed if kills else usual).append(time.perf_counter() - begun)
        longer = statistics.median(killed) - statistics.median(usual)
        return {"seconds_a_killed_collector_costs": round(longer, 2), "times": times}


def _lengths(contender: Contender, seconds: float, varies: bool) -> tuple[int, ...]:
    more = contender.count == 16 and seconds == 0.01 and isinstance(contender.collector, Collectors)
    return (LENGTH, *LENGTHS) if more and not varies else (LENGTH,)


def _row(contender: Contender, how: Any, rounds: int, got: list[tuple[float, float]]) -> dict[str, Any]:
    length, seconds, varies = how
    speeds, costs = zip(*got, strict=True)
    return {
        "way": contender.way,
        "environments": contender.count,
        "steps_a_round": length if isinstance(contender.collector, Collectors) else 1,
        "seconds_a_step": seconds,
        "varies": varies,
        "transitions_per_second": round(statistics.median(speeds), 1),
        "lowest": round(min(speeds), 1),
        "highest": round(max(speeds), 1),
        "of_ideal": round(statistics.median(speeds) * seconds / contender.count, 3) if seconds else None,
        "learner_microseconds": round(statistics.median(costs), 1),
        "seconds_to_start": round(contender.seconds_to_start, 2),
        "rounds": rounds,
    }


def told(row: dict[str, Any]) -> str:
    """A row in a line."""
    ideal = "" if row["of_ideal"] is None else f"  {100 * row['of_ideal']:3.0f} % of ideal"
    pace = f"{1000 * row['seconds_a_step']:g} ms{' varying' if row['varies'] else ''}"
    return (
        f"{row['way']:>12} {row['environments']:>3} x {pace:<14} L {row['steps_a_round']:<3}"
        f"{row['transitions_per_second']:>9,.0f}/s{ideal:<16}{row['learner_microseconds']:>8.1f} us of the learner each"
    )


def setting(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where and how it was measured."""
    return {
        "processor": processor(),
        "cores": physical_cores(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "gymnasium", "ray")},
        "rounds": arguments.rounds,
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--counts", nargs="+", type=int, default=COUNTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round of 4 environments")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.counts, arguments.rounds = (4,), 1
    output = arguments.output or (None if arguments.quick else OUTPUT)
    rows: list[dict[str, Any]] = []
    scale = 0.5 if arguments.quick else 1.0
    for rows in measure(arguments.ways, tuple(arguments.counts), arguments.rounds, scale):
        if output is not None:
            output.write_text(json.dumps({"setting": setting(arguments), "rows": rows}, indent=1) + "\n")
    print(*map(told, rows), sep="\n")
    if any("on" in WAYS[way] for way in arguments.ways):
        recovery = recovered(arguments.rounds)
        print(recovery)
        if output is not None:
            whole = {"setting": setting(arguments), "rows": rows, "recovery": recovery}
            output.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
