"""Measure the memory that one stored transition takes in the replay of polyak and of its peers.

    python benchmarks/replay_memory.py                      # writes docs/results/replay_memory.json
    python benchmarks/replay_memory.py --capacity 50000

Run it where polyak and the peers are installed (`stable-baselines3 sbx-rl tianshou torchrl skrl gymnasium[box2d,mujoco]
psutil`); a peer that is missing gets a row that says so. Every buffer is built as its library's own SAC builds it,
holds the fields and types that this SAC stores, and is filled to its capacity through the library's own call.

Two numbers a transition: by how much the resident memory of a fresh process grows from before the buffer is built to
after it is full, and the bytes of the arrays that the buffer holds. They differ where pages are reserved but never
written, and where a library keeps Python objects beside its arrays.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import psutil

import polyak
from polyak.experience.replay import Replay
from polyak.system.threads import physical_cores
from polyak.types import Transitions

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("Pendulum-v1", "LunarLanderContinuous-v3", "HalfCheetah-v5")
CHUNK = 100
"""Transitions added by one call where a library takes many at once."""
TIANSHOU_ENVIRONMENTS = 10
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    # else glibc puts some arrays into its heap, where it writes even to pages that the library only reserves
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
PACKAGES = (
    *("numpy", "gymnasium", "torch", "stable-baselines3", "sbx-rl", "tianshou", "torchrl", "tensordict", "skrl"),
    "cleanrl",
)
NOT_MEASURED = {
    "SBX": "its SAC stores transitions in Stable-Baselines3's ReplayBuffer: see there",
    "CleanRL": (
        "not installable beside polyak, which needs Python 3.11: release 1.2.0 demands Python below 3.11, and 0.4.8, "
        "which pip then takes, has no cleanrl_utils.buffers; its buffer is a copy of Stable-Baselines3's, and its SAC "
        "has it store observations as float32"
    ),
}

Filled = tuple[Any, list[Any]]
"""A full buffer, and the arrays or tensors that it holds."""
Fill = Callable[[int], Filled]
"""Builds a buffer of that capacity and fills it."""


# The contenders: each makes its data first, so that these are not counted


def random_transitions(environment: str, count: int) -> Transitions:
    """What an environment could have shown, in the types of its spaces."""
    made = gymnasium.make(environment)
    generator = np.random.default_rng(0)
    observations, actions = made.observation_space, made.action_space
    return Transitions(
        generator.standard_normal((count, *(observations.shape or ()))).astype(observations.dtype),
        generator.uniform(-1, 1, (count, *(actions.shape or ()))).astype(actions.dtype),
        generator.standard_normal(count).astype(np.float32),
        generator.standard_normal((count, *(observations.shape or ()))).astype(observations.dtype),
        generator.random(count) < 0.01,
        np.zeros(count, np.bool_),
        np.arange(count, dtype=np.int32) // 100,
    )


def with_polyak(environment: str) -> Fill:
    data = random_transitions(environment, CHUNK)
    data = data._replace(
        observation=data.observation.astype(np.float32), next_observation=data.next_observation.astype(np.float32)
    )

    def fill(capacity: int) -> Filled:
        replay = Replay(capacity, data.observation.shape[1], data.action.shape[1])
        for _ in range(capacity // CHUNK):
            replay.add(data)
        assert replay.size == capacity
        return replay, [replay._records, replay._episodes]

    return fill


def with_stable_baselines(environment: str, optimize_memory_usage: bool) -> Fill:
    from stable_baselines3.common.buffers import ReplayBuffer

    made, data = gymnasium.make(environment), random_transitions(environment, CHUNK)

    def fill(capacity: int) -> Filled:
        replay = ReplayBuffer(
            capacity,
            made.observation_space,
            made.action_space,
            device="cpu",
            optimize_memory_usage=optimize_memory_usage,
            handle_timeout_termination=not optimize_memory_usage,  # it refuses both
        )
        for number in range(capacity):
            row = Transitions(*(field[number % CHUNK][np.newaxis] for field in data))
            replay.add(row.observation, row.next_observation, row.action, row.reward, row.terminated, [{}])
        assert replay.size() == capacity
        return replay, [value for value in vars(replay).values() if isinstance(value, np.ndarray)]

    return fill


def tianshou_step(environment: str, environments: int) -> Any:
    """One step of each environment as Tianshou's Collector adds it: with the environment's information."""
    from tianshou.data import Batch
    from tianshou.env import DummyVectorEnv

    vector = DummyVectorEnv([lambda: gymnasium.make(environment)] * environments)
    observation, _ = vector.reset(seed=0)
    actions = random_transitions(environment, environments).action
    next_observation, reward, terminated, truncated, information = vector.step(actions)
    return Batch(
        obs=observation,
        act=actions,
        policy=Batch(),
        obs_next=next_observation,
        rew=reward,
        terminated=terminated,
        truncated=truncated,
        done=terminated | truncated,
        info=information,
    )


def with_tianshou(environment: str, environments: int) -> Fill:
    from tianshou.data import ReplayBuffer, VectorReplayBuffer

    step, numbers = tianshou_step(environment, environments), np.arange(environments)

    def fill(capacity: int) -> Filled:
        replay = ReplayBuffer(capacity) if environments == 1 else VectorReplayBuffer(capacity, environments)
        for _ in range(capacity // environments):
            replay.add(step, buffer_ids=numbers)
        assert len(replay) == capacity
        indices = [buffer._indices for buffer in (replay, *getattr(replay, "buffers", ()))]
        return replay, [*leaves(replay._meta), *indices]

    return fill


def leaves(batch: Any) -> list[Any]:
    """The arrays in a Tianshou batch and in the batches within."""
    found = []
    for value in vars(batch).values():
        found += leaves(value) if hasattr(value, "get_keys") else [value]
    return found


def torchrl_actor(environment: Any) -> Any:
    """An actor that writes what the actor of TorchRL's SAC example writes: action, loc and scale."""
    from tensordict.nn import TensorDictModule
    from tensordict.nn.distributions import NormalParamExtractor
    from torch import nn
    from torchrl.modules import MLP, ProbabilisticActor, TanhNormal

    spec = environment.action_spec
    network = nn.Sequential(MLP(num_cells=[8], out_features=2 * spec.shape[-1]), NormalParamExtractor())
    return ProbabilisticActor(
        spec=spec,
        in_keys=["loc", "scale"],
        module=TensorDictModule(network, in_keys=["observation"], out_keys=["loc", "scale"]),
        distribution_class=TanhNormal,
        distribution_kwargs={"low": spec.space.low, "high": spec.space.high},
    )


def torchrl_steps(environment: str) -> Any:
    """Transitions as TorchRL's collector hands them over, with the transforms of its SAC example."""
    from torchrl.collectors import Collector
    from torchrl.envs import Compose, DoubleToFloat, InitTracker, RewardSum, StepCounter, TransformedEnv
    from torchrl.envs.libs.gym import GymEnv

    transforms = Compose(InitTracker(), StepCounter(1000), DoubleToFloat(), RewardSum())
    made = TransformedEnv(GymEnv(environment), transforms)
    actor = torchrl_actor(made)
    actor(made.reset())  # its first layer takes its size from the observation
    collector = Collector(made, actor, frames_per_batch=CHUNK, total_frames=CHUNK)
    steps = next(iter(collector)).reshape(-1).clone()
    collector.shutdown()
    return steps


def with_torchrl(environment: str, every_field: bool) -> Fill:
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

    steps = torchrl_steps(environment)
    if not every_field:
        successor = [("next", name) for name in ("observation", "reward", "done", "terminated")]
        steps = steps.select("observation", "action", *successor)

    def fill(capacity: int) -> Filled:
        replay = TensorDictReplayBuffer(storage=LazyTensorStorage(capacity), batch_size=256)
        for _ in range(capacity // CHUNK):
            replay.extend(steps)
        assert len(replay) == capacity
        return replay, list(replay.storage.get(slice(None)).values(include_nested=True, leaves_only=True))

    return fill


def with_skrl(environment: str) -> Fill:
    import torch
    from skrl.memories.torch import RandomMemory

    made, data = gymnasium.make(environment), random_transitions(environment, CHUNK)
    fields = {
        "observations": (made.observation_space, torch.float32, data.observation),
        "next_observations": (made.observation_space, torch.float32, data.next_observation),
        "actions": (made.action_space, torch.float32, data.action),
        "rewards": (1, torch.float32, data.reward[:, np.newaxis]),
        "terminated": (1, torch.bool, data.terminated[:, np.newaxis]),
    }
    rows = {name: torch.as_tensor(values, dtype=dtype) for name, (_, dtype, values) in fields.items()}

    def fill(capacity: int) -> Filled:
        memory = RandomMemory(memory_size=capacity, num_envs=1, device="cpu")
        for name, (size, dtype, _) in fields.items():
            memory.create_tensor(name=name, size=size, dtype=dtype)
        for _ in range(capacity // CHUNK):
            memory.add_samples(**rows)
        assert len(memory) == capacity
        return memory, [*memory.tensors.values(), memory.all_sequence_indexes]

    return fill


class Contender(NamedTuple):
    """A library's buffer."""

    module: str
    prepare: Callable[[str], Fill]
    """Makes the data for an environment."""
    holds: str


CONTENDERS = {
    "polyak": Contender("polyak", with_polyak, "Replay: float32 throughout, int32 for the episode"),
    "Stable-Baselines3": Contender(
        "stable_baselines3",
        lambda environment: with_stable_baselines(environment, optimize_memory_usage=False),
        "ReplayBuffer as SAC makes it: observations in the space's type; rewards, dones and timeouts in float32",
    ),
    "Stable-Baselines3, optimize_memory_usage": Contender(
        "stable_baselines3",
        lambda environment: with_stable_baselines(environment, optimize_memory_usage=True),
        "the same with optimize_memory_usage=True and so handle_timeout_termination=False: each observation once, and "
        "a time limit counts as termination; timeouts are reserved but never written",
    ),
    "Tianshou, ReplayBuffer": Contender(
        "tianshou",
        lambda environment: with_tianshou(environment, 1),
        "what the Collector adds: observations in the environment's type, three flags, reward in float64, information",
    ),
    "Tianshou, VectorReplayBuffer": Contender(
        "tianshou",
        lambda environment: with_tianshou(environment, TIANSHOU_ENVIRONMENTS),
        f"the same from {TIANSHOU_ENVIRONMENTS} environments",
    ),
    "TorchRL": Contender(
        "torchrl",
        lambda environment: with_torchrl(environment, every_field=True),
        "TensorDictReplayBuffer, LazyTensorStorage; all that the collector hands over, as in TorchRL's SAC example",
    ),
    "TorchRL, only what SACLoss reads": Contender(
        "torchrl",
        lambda environment: with_torchrl(environment, every_field=False),
        "the same after a user has selected observation, action and the successor's observation, reward and flags",
    ),
    "skrl": Contender("skrl", with_skrl, "RandomMemory with the tensors that its SAC creates"),
}


# The measurement


def resident_memory() -> int:
    """Bytes of this process in memory, without what is free already: that would hide growth, or look like it."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def measure(name: str, environment: str, capacity: int) -> dict[str, float]:
    """Bytes a transition, in this process."""
    fill = CONTENDERS[name].prepare(environment)
    fill(CHUNK)  # code that is loaded or compiled at first use is no transition's memory
    before = resident_memory()
    replay, arrays = fill(capacity)
    resident = resident_memory() - before
    del replay  # it had to live until here
    held = sum(array.nbytes for array in arrays)
    return {"resident_bytes": round(resident / capacity, 1), "array_bytes": round(held / capacity, 1)}


def measured_apart(name: str, environment: str, capacity: int) -> dict[str, float]:
    """`measure` in a fresh process.

    Raises:
        RuntimeError: the process failed; its last words are in the message.
    """
    command = [sys.executable, __file__, "--capacity", str(capacity), "--measure", name, environment]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | VARIABLES, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} on {environment} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(environment: str, capacity: int) -> dict[str, dict[str, Any]]:
    """Every contender's bytes a transition, and how many times polyak's they are."""
    found: dict[str, dict[str, Any]] = {}
    for name, contender in CONTENDERS.items():
        if find_spec(contender.module) is None:
            found[name] = {"absent": "not installed"}
            continue
        print(f"{environment}: {name}", file=sys.stderr, flush=True)
        row: dict[str, Any] = measured_apart(name, environment, capacity)
        for kind in ("resident", "array"):
            ours = found["polyak"][f"{kind}_bytes"] if found else row[f"{kind}_bytes"]
            row[f"{kind}_ratio"] = round(row[f"{kind}_bytes"] / ours, 2)
        found[name] = row
    return found


def versions() -> dict[str, str]:
    """Of everything that takes part and is installed."""
    found = {"python": platform.python_version(), "polyak": polyak.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Where this runs."""
    gigabytes = round(psutil.virtual_memory().total / 1e9)
    described = {"system": platform.platform(), "processor": platform.machine()}
    return described | {"cores": physical_cores(), "memory_gigabytes": gigabytes}


def show(environment: str, rows: dict[str, dict[str, Any]]) -> None:
    """A Markdown table."""
    print(f"\n{environment}: bytes a transition (times polyak's)\n\n| | resident memory | arrays |\n|---|---|---|")
    for name, row in rows.items():
        if "absent" in row:
            print(f"| {name} | {row['absent']} | |")
            continue
        cells = [f"{row[f'{kind}_bytes']:.1f} ({row[f'{kind}_ratio']:.2f})" for kind in ("resident", "array")]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=200_000, help=f"transitions; a multiple of {CHUNK}")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "replay_memory.json")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.capacity < CHUNK or options.capacity % CHUNK:
        parser.error(f"--capacity {options.capacity} is no positive multiple of {CHUNK}")
    if options.measure:
        print(json.dumps(measure(*options.measure, options.capacity)))
        return
    results: dict[str, Any] = {
        "command": f"python benchmarks/replay_memory.py --capacity {options.capacity}",
        "settings": {"capacity": options.capacity},
        "versions": versions(),
        "machine": machine(),
        "holds": {name: contender.holds for name, contender in CONTENDERS.items()},
        "not_measured": NOT_MEASURED,
        "environments": {},
    }
    for environment in ENVIRONMENTS:
        rows = results["environments"][environment] = compare(environment, options.capacity)
        show(environment, rows)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print()
    for library, reason in NOT_MEASURED.items():
        print(f"{library}: {reason}.")


if __name__ == "__main__":
    main()
