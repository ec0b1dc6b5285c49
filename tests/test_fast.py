"""The fast path of every framework equals the plain one, and `fast=False` turns it off."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from backends import ALGORITHMS, frameworks_of, learner_of
from polyak.algorithms import sac
from polyak.frameworks.state import leaves
from polyak.frameworks.torch import device, fused
from polyak.frameworks.torch.graphs import KEPT, Graphs
from polyak.types import Batch
from reference.cases import assert_agree, make_case, play

PAIRS = [(each, name) for each in ALGORITHMS for name in frameworks_of(each) if name != "jax" or each == "td3"]
"""Where JAX is plain, each operation is compiled, and all that is otherwise for a page is that a condition is Python's:
TD3's. Both ways of every page are held against the oracle in tests/test_learners.py."""
DOUBLE = 1e-11  # ten updates in float64; reached: 2e-15
SINGLE = 2e-6  # one update in float32; reached: 4e-7
NORMALIZED = 1e-4  # where each column's mean is subtracted from it; reached: 1e-5


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("algorithm", "name"), PAIRS)
def test_fast_is_plain_in_float64(name: str, algorithm: str) -> None:
    """One update a call; that a burst is its updates, tests/test_learners.py shows with the same programs."""
    case = make_case(algorithm)
    fast, plain = learner_of(case, name), learner_of(case, name, fast=False)
    assert_agree(play(fast, case, [1] * 10), play(plain, case, [10]), DOUBLE)
    assert_agree(fast.arrays(), plain.arrays(), DOUBLE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fast_is_plain_in_float32_at_full_width(algorithm: str) -> None:
    """With data that bring no ReLU within rounding of its corner, where one sample more moves a gradient.

    In PyTorch, whose kernels depend on the width; the others are held against the oracle, in tests/test_agreement.py.
    """
    case = make_case(
        algorithm, updates=1, hidden_sizes=(256, 256), batch_size=256, observation_size=20, **no_delay(algorithm)
    ).cast(np.float32)
    fast, plain = learner_of(case, "torch"), learner_of(case, "torch", fast=False)
    single = NORMALIZED if algorithm == "crossq" else SINGLE
    assert_agree(play(fast, case, [1]), play(plain, case, [1]), single)
    assert_agree(fast.arrays(), plain.arrays(), single)


def no_delay(algorithm: str) -> dict[str, int]:
    return {"policy_delay": 1} if algorithm in ("td3", "crossq") else {}


# Turned off


def test_plain_jax_compiles_nothing() -> None:
    assert_runs_once_an_update("jax")


def test_plain_tensorflow_compiles_nothing() -> None:
    assert_runs_once_an_update("tensorflow")


def assert_runs_once_an_update(name: str) -> None:
    """A compiled burst runs the Python of its update while it is traced, the plain one at every update.

    It is one that computes nothing: what counts is how often it is called.
    """
    calls: list[int] = []

    def update(state: Any, batch: Any, *_: Any) -> tuple[Any, dict[str, Any]]:
        calls.append(1)
        return state, {**dict.fromkeys(sac.METRICS, state.log_alpha.parameters), "error": batch.reward}

    case = make_case("sac", updates=10).cast(np.float32)
    case = dataclasses.replace(case, what=dataclasses.replace(case.what, pages={name: update}))
    play(learner_of(case, name), case, [5, 5])
    assert 1 <= len(calls) <= 2, "one loop body, however many updates"
    calls.clear()
    play(learner_of(case, name, fast=False), case, [5, 5])
    assert len(calls) == 10


def test_plain_pytorch_fuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> Any:
        raise AssertionError("fused")

    monkeypatch.setattr(fused, "network", forbidden)
    case = make_case("sac", updates=1).cast(np.float32)
    play(learner_of(case, "torch", fast=False), case, [1])
    with pytest.raises(AssertionError, match="fused"):
        play(learner_of(case, "torch"), case, [1])


# PyTorch's kernels


def layers(*sizes: int, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    pairs = pairwise(sizes)
    return [
        (torch.randn(a, b, generator=generator, dtype=dtype), torch.randn(b, generator=generator, dtype=dtype))
        for a, b in pairs
    ]


def test_fused_network_has_the_gradients_that_autograd_has() -> None:
    """`gradcheck` compares with finite differences, of inputs and parameters."""
    parameters = layers(3, 5, 4, 2, dtype=torch.float64)
    flat = [value.requires_grad_() for layer in parameters for value in layer]
    inputs = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(fused._Network.apply, (inputs, *flat))


def test_no_gradient_is_computed_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The actor step differentiates the critics' inputs, not their weights; the critic step the reverse."""
    outer, transposed = [], []
    real_outer, real_transposed = fused._outer, fused._transposed
    monkeypatch.setattr(fused, "_outer", lambda *rest: (outer.append(1), real_outer(*rest))[1])
    monkeypatch.setattr(fused, "_transposed", lambda *rest: (transposed.append(1), real_transposed(*rest))[1])
    parameters = layers(3, 5, 4, 2, dtype=torch.float64)
    inputs = torch.ones(7, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.grad(fused.network(inputs, parameters).sum(), inputs)
    assert (len(outer), len(transposed)) == (0, 3)
    flat = [value.requires_grad_() for layer in parameters for value in layer]
    torch.autograd.grad(fused.network(inputs.detach(), parameters).sum(), flat)
    assert (len(outer), len(transposed)) == (3, 3 + 2)


@pytest.mark.parametrize("sizes", [(300, 256, 128), (256, 64, 256)])
@pytest.mark.skipif(fused._ONEDNN_LINEAR is None, reason="this PyTorch has no oneDNN")
def test_products_through_onednn_are_the_products(sizes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rows, inner, columns = sizes
    calls: list[int] = []
    real = fused._ONEDNN_LINEAR
    monkeypatch.setattr(fused, "_ONEDNN_LINEAR", lambda *rest: (calls.append(1), real(*rest))[1])
    monkeypatch.setattr(device, "ONEDNN_IS_FASTER", True)
    generator = torch.Generator().manual_seed(0)
    x, w, g = (torch.randn(*s, generator=generator) for s in ((rows, inner), (inner, columns), (rows, columns)))
    b = torch.randn(columns, generator=generator)
    for actual, expected in (
        (fused._linear(x, w, b, relu=False), x.double() @ w.double() + b.double()),
        (fused._linear(x, w, b, relu=True), torch.relu(x.double() @ w.double() + b.double())),
        (fused._transposed(g, w), g.double() @ w.double().T),
        (fused._outer(x, g), x.double().T @ g.double()),
    ):
        assert torch.allclose(actual.double(), expected, rtol=1e-4, atol=2e-4)
    assert len(calls) == 4
    fused._linear(x[:4], w, b, relu=True)
    fused._linear(x.double(), w.double(), b.double(), relu=True)
    assert len(calls) == 4, "small and float64 products go the ordinary way"


@pytest.mark.parametrize(("name", "value"), [("_ONEDNN_LINEAR", None), ("device.ONEDNN_IS_FASTER", False)])
def test_without_onednn_the_products_go_the_ordinary_way(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PyTorch has none, and where MKL is faster."""
    monkeypatch.setattr(device, "ONEDNN_IS_FASTER", True)
    monkeypatch.setattr(fused, "_ONEDNN_LINEAR", lambda *_: pytest.fail("called"))
    monkeypatch.setattr(f"polyak.frameworks.torch.fused.{name}", value)
    case = make_case("sac", updates=1, hidden_sizes=(256, 256), batch_size=256, observation_size=20).cast(np.float32)
    fast, plain = learner_of(case, "torch"), learner_of(case, "torch", fast=False)
    play(fast, case, [1])
    play(plain, case, [1])
    assert_agree(fast.arrays(), plain.arrays(), SINGLE)


# CUDA graphs, as far as a machine without a GPU can tell


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fast_updates_stay_in_place(algorithm: str) -> None:
    """A graph replays on fixed addresses: no tensor of the state may move."""
    case = make_case(algorithm).cast(np.float32)
    learner: Any = learner_of(case, "torch")
    before = addresses(learner._state)
    play(learner, case, [4])
    assert addresses(learner._state) == before
    assert len(before) == len(case.arrays) - 1, "all but the number of updates, which is a number"


def addresses(state: Any) -> list[int]:
    return [tensor.data_ptr() for tensor in leaves(state)]


class Recorder:
    """Counts what stands for `torch.cuda`: a recording runs nothing that lasts, a replay runs the block again."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()

    class Recording:
        def __init__(self, burst: Any, state: Any, records: torch.Tensor, due: Any) -> None:
            recorder.recorded += 1
            self._burst, self._state, self._due = burst, state, due
            self._metrics: torch.Tensor | None = None

        def replay(self, records: torch.Tensor) -> torch.Tensor:
            recorder.replayed += 1
            metrics = self._burst(self._state, records, self._due)[1]
            self._metrics = metrics if self._metrics is None else self._metrics.copy_(metrics)
            return self._metrics  # a graph writes where it wrote before

    monkeypatch.setattr("polyak.frameworks.torch.graphs._Graph", Recording)
    return recorder


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_replayed_bursts_are_the_bursts(algorithm: str, recorder: Recorder) -> None:
    """TD3 needs a recording for each phase of its delay: bursts of 3 with a delay of 2 start in both."""
    case = make_case(algorithm, updates=14).cast(np.float32)
    plain, learner = learner_of(case, "torch"), with_graphs(learner_of(case, "torch"))
    metrics = play(learner, case, [3, 3, 3, 3, 2])
    assert_agree(metrics, play(plain, case, [3, 3, 3, 3, 2]), 0.0)
    assert_agree(learner.arrays(), plain.arrays(), 0.0)
    assert (recorder.recorded, recorder.replayed) == (3 if algorithm == "td3" else 2, 5)


def with_graphs(learner: Any) -> Any:
    learner._graphs = Graphs(learner._burst)
    return learner


def test_one_recording_serves_all_bursts_in_which_the_same_is_due(recorder: Recorder) -> None:
    """A delay of 7 has seven phases, but a burst of one is either with the actor or without."""
    case = make_case("td3", updates=21, policy_delay=7).cast(np.float32)
    play(with_graphs(learner_of(case, "torch")), case, [1] * 21)
    assert (recorder.recorded, recorder.replayed) == (2, 21)


def test_few_recordings_are_kept(recorder: Recorder) -> None:
    case = make_case("ddpg", updates=1).cast(np.float32)
    learner: Any = with_graphs(learner_of(case, "torch"))
    for updates in range(1, KEPT + 4):
        learner.update(Batch(np.zeros((updates, 16, case.spec.layout.width), np.float32), case.spec.layout), {})
    assert len(learner._graphs._recorded) == KEPT
