"""One thread a test process, so that parallel workers do not fight for the cores; and what several test files share."""

import os

# XLA reads these once, when JAX first computes, and NumPy's libraries when they load: so before any other import.
os.environ["NPROC"] = os.environ["PJRT_NPROC"] = os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import hypothesis
import numpy as np
import pytest

from polyak.policy import Kind, Policy
from polyak.types import Spec

# A busy machine is no failure; the same examples every time, so that a failure can be repeated.
hypothesis.settings.register_profile("polyak", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("polyak")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def spec() -> Spec:
    """Three observations, two actions whose ranges differ and are not symmetric."""
    return Spec((3,), (2,), np.array([-1.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))


def make_policy(spec: Spec, kind: Kind = "deterministic", *, seed: int = 0, noise: float = 0.0) -> Policy:
    """A policy with one hidden layer of four units and random weights."""
    generator = np.random.default_rng(seed)
    outputs = spec.action_size * (2 if kind == "squashed_gaussian" else 1)
    sizes = (spec.observation_size, 4, outputs)
    parameters = {}
    for layer in range(2):
        parameters[f"{layer}/kernel"] = generator.normal(size=sizes[layer : layer + 2]).astype(np.float32)
        parameters[f"{layer}/bias"] = generator.normal(size=sizes[layer + 1]).astype(np.float32)
    return Policy(parameters, spec, kind, noise)
