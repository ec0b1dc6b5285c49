"""One library's replay: seconds to add transitions one at a time, and to sample batches; HalfCheetah's sizes.

Each is built, and filled with the data, as in `replay_memory.py`, which must be importable, and polyak too. For every
line read, `rates ADDS SAMPLES` is written: transitions added and batches sampled in a second.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from replay_memory import random_transitions, tianshou_step, torchrl_steps

ENVIRONMENT, CAPACITY, BATCH, HELD = "HalfCheetah-v5", 1_000_000, 256, 10_000
ADDS, SAMPLES = 5_000, 1_000

Replay = tuple[Callable[[], Any], Callable[[], Any]]
"""Adds one transition; samples one batch."""


def polyak() -> Replay:
    from polyak.experience.batches import sample_batch
    from polyak.experience.replay import Replay
    from polyak.types import Transitions

    data, generator = random_transitions(ENVIRONMENT, 1), np.random.default_rng(0)
    row = Transitions(*(np.asarray(part, np.float32) for part in data[:4]), *data[4:])
    replay = Replay(CAPACITY, row.observation.shape[1], row.action.shape[1])
    return lambda: replay.add(row), lambda: sample_batch(replay, generator, 1, BATCH, 0.99)


def stable_baselines() -> Replay:
    import gymnasium
    from stable_baselines3.common.buffers import ReplayBuffer

    made, row = gymnasium.make(ENVIRONMENT), random_transitions(ENVIRONMENT, 1)
    replay = ReplayBuffer(CAPACITY, made.observation_space, made.action_space, device="cpu")
    parts = (row.observation, row.next_observation, row.action, row.reward, row.terminated, [{}])
    return lambda: replay.add(*parts), lambda: replay.sample(BATCH)


def tianshou() -> Replay:
    from tianshou.data import ReplayBuffer

    step, number, replay = tianshou_step(ENVIRONMENT, 1), np.zeros(1, int), ReplayBuffer(CAPACITY)
    return lambda: replay.add(step, buffer_ids=number), lambda: replay.sample(BATCH)


def torchrl() -> Replay:
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

    row = torchrl_steps(ENVIRONMENT)[:1]
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(CAPACITY), batch_size=BATCH)
    return lambda: replay.extend(row), replay.sample


def skrl() -> Replay:
    import gymnasium
    import torch
    from skrl.memories.torch import RandomMemory

    made, row = gymnasium.make(ENVIRONMENT), random_transitions(ENVIRONMENT, 1)
    fields = {
        "observations": (made.observation_space, torch.float32, row.observation),
        "next_observations": (made.observation_space, torch.float32, row.next_observation),
        "actions": (made.action_space, torch.float32, row.action),
        "rewards": (1, torch.float32, row.reward[:, np.newaxis]),
        "terminated": (1, torch.bool, row.terminated[:, np.newaxis]),
    }
    memory = RandomMemory(memory_size=CAPACITY, num_envs=1, device="cpu")
    for name, (size, kind, _) in fields.items():
        memory.create_tensor(name=name, size=size, dtype=kind)
    rows = {name: torch.as_tensor(values, dtype=kind) for name, (_, kind, values) in fields.items()}
    return lambda: memory.add_samples(**rows), lambda: memory.sample(names=list(fields), batch_size=BATCH)


def rate(call: Callable[[], Any], times: int) -> float:
    """Calls in a second."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return times / (time.perf_counter() - started)


def main() -> None:
    """Fill the replay of the library that the command line names, then serve."""
    made = {"polyak": polyak, "Stable-Baselines3": stable_baselines, "Tianshou": tianshou, "TorchRL": torchrl}
    add, sample = (made | {"skrl": skrl})[sys.argv[1]]()
    rate(add, HELD)
    rate(sample, 10)
    for _ in sys.stdin:
        print("rates", rate(add, ADDS), rate(sample, SAMPLES), flush=True)


if __name__ == "__main__":
    main()
