"""SimBa's networks: in NumPy and every framework against an oracle, broken copies of them, their files, whole runs."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
import polyak
from backends import Framework, learner_of, module_of, native_network, parts_of, plain, updated
from polyak import Policy, Run, UsageError
from polyak.algorithm import STEP, Algorithm, Entries, Net
from polyak.algorithms import algorithm, checks, redq, sac
from polyak.frameworks.torch import device
from polyak.networks import layers
from polyak.networks.folding import folded, folded_body
from polyak.networks.forward import forward, forward_of_any
from polyak.networks.layers import (
    MOST_NESTED,
    Activation,
    BatchRenorm,
    Body,
    Dense,
    Dropout,
    Norm,
    Residual,
    Single,
    TanhBounds,
    body_of,
    from_json,
    numbered,
    outputs_of,
    to_json,
    units_dropped,
    unnested,
)
from polyak.networks.weights import first_statistics, first_weights, shapes
from polyak.run import loop
from polyak.settings import presets
from polyak.types import Spec
from reference import common as oracle
from reference.cases import Case, assert_agree, make_case, play, relative_error, solve
from tiny_cli import SMALL, Uneven, call_cli
from whole_runs import assert_same, saved, snapshots

EXACT, ONE_UPDATE, TEN_UPDATES = 1e-13, 1e-12, 1e-11
SIMBA: dict[str, Any] = {
    "batch_size": 8,
    "update_after": 8,
    "network": "simba",
    "hidden_sizes": (6,),
    "critic_hidden_sizes": (5, 5),
    "weight_decay": 0.1,
    "weight_decay_of": "all",
}
CASES: dict[str, Case] = {
    "sac": make_case("sac", log_sigma="tanh", alpha=0.2, target_entropy_scale=0.5, **SIMBA),
    "td3": make_case("td3", activation="silu", **SIMBA),
    "redq": make_case("redq", critics=3, subset=2, policy_delay=2, log_sigma="tanh", **SIMBA),
    "tqc": make_case("tqc", log_sigma="tanh", **SIMBA),
}
BODY = body_of((4, 4), 2, "simba", "relu")
DEEP: Body = (
    Dense(4),
    Residual((Norm(), Residual((Dense(4), Dropout(0.5))), Dense(4))),
    TanhBounds(-1.0, 3.0),
    Dense(2),
)


@pytest.fixture
def framework(request: pytest.FixtureRequest, double: None) -> Framework:
    """A framework in float64."""
    return backends.framework(request.param)


@pytest.fixture
def precise() -> Iterator[Framework]:
    """PyTorch in float64, each operation by itself, so that a function replaced in a module is used.

    In it alone: the mistakes are those of the comparison, which is one.
    """
    framework = backends.framework("torch")
    with framework.precisely():
        yield framework


# Bodies


def test_the_layers_are_those_of_the_paper() -> None:
    block = Residual((Norm(1e-6), Dense(16), Activation("relu"), Dense(4)))
    assert body_of((4, 4), 2, "simba") == (Dense(4), block, block, Norm(1e-6), Dense(2))
    assert body_of((4,), 2, "simba", "silu")[1] == Residual((Norm(1e-6), Dense(16), Activation("silu"), Dense(4)))
    assert not layers.plain(BODY)
    assert outputs_of((Dense(3), Residual((Dense(3),)))) == 3
    assert units_dropped(DEEP) == 4
    for wrong in ((), (4, 5)):
        with pytest.raises(ValueError, match="blocks of one width"):
            body_of(wrong, 2, "simba")


def test_names_are_counted_through_blocks() -> None:
    assert [number for number, _ in numbered(BODY)] == ["0", "1", "4", "7", "8"]
    assert [number for number, _ in numbered(unnested(BODY)) if number] == [str(count) for count in range(9)]
    assert shapes(BODY, 3) == {
        "0/kernel": (3, 4),
        "0/bias": (4,),
        "1/scale": (4,),
        "1/offset": (4,),
        "2/kernel": (4, 16),
        "2/bias": (16,),
        "3/kernel": (16, 4),
        "3/bias": (4,),
        "4/scale": (4,),
        "4/offset": (4,),
        "5/kernel": (4, 16),
        "5/bias": (16,),
        "6/kernel": (16, 4),
        "6/bias": (4,),
        "7/scale": (4,),
        "7/offset": (4,),
        "8/kernel": (4, 2),
        "8/bias": (2,),
    }


def test_first_weights_are_those_of_the_authors_code() -> None:
    weights = first_weights(np.random.default_rng(3), body_of((200,), 3, "simba"), 7)
    for name in ("0/kernel", "5/kernel"):  # fewer inputs than outputs, and more
        kernel = weights[name].astype(np.float64)
        kernel = kernel if kernel.shape[0] > kernel.shape[1] else kernel.T
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(kernel.shape[1]), atol=1e-6)
    for name, fan_in in (("2/kernel", 200), ("3/kernel", 800)):
        kernel = weights[name].astype(np.float64)
        assert kernel.mean() == pytest.approx(0.0, abs=4.0 * np.sqrt(2.0 / fan_in / kernel.size))
        assert kernel.var() == pytest.approx(2.0 / fan_in, rel=4.0 * np.sqrt(2.0 / kernel.size))
        assert np.mean(kernel**4) == pytest.approx(3.0 * kernel.var() ** 2, rel=0.05)
    assert all(value.flags.c_contiguous for value in weights.values())
    assert all(not weights[name].any() for name in weights if name.endswith(("/bias", "/offset")))
    assert all(weights[name].all() and weights[name].dtype == np.float32 for name in weights if name.endswith("/scale"))


def test_orthogonal_weights_prefer_no_side() -> None:
    """The signs of a QR decomposition are its own: without putting them right, the first column would be one-sided."""
    generator, body = np.random.default_rng(0), (Dense(3, "orthogonal"),)
    found = np.array([first_weights(generator, body, 3)["0/kernel"] for _ in range(400)])
    assert np.abs(found.mean(axis=0)).max() < 4.0 / np.sqrt(3.0 * 400)


def test_the_members_of_an_ensemble_are_drawn_one_after_another() -> None:
    both = first_weights(np.random.default_rng(1), BODY, 3, copies=2)
    generator = np.random.default_rng(1)
    for index in range(2):
        alone = first_weights(generator, BODY, 3)
        assert all(np.array_equal(both[name][index], alone[name]) for name in alone)


@pytest.mark.parametrize("body", [BODY, DEEP, (*BODY, TanhBounds(-10.0, 2.0))])
def test_a_body_is_read_back(body: Body) -> None:
    assert from_json(json.loads(json.dumps(to_json(body)))) == body


def nested(depth: int) -> Any:
    inner: Any = ["dense", 4]
    for _ in range(depth):
        inner = ["residual", [inner]]
    return [inner, ["dense", 1]]


STRANGE: list[Any] = [
    *([["residual", []], ["dense", 1]], [["residual"], ["dense", 1]], [["residual", 3], ["dense", 1]]),
    *([["residual", "dense"], ["dense", 1]], [["residual", [["dense"]]], ["dense", 1]], [["residual", [["dense", 4]]]]),
    *([["dense", 2], ["tanh_bounds", 2.0, -10.0]], [["dense", 2], ["tanh_bounds", 0.0, 1e4]], [["tanh_bounds", 0.0]]),
    *([["tanh_bounds", 0.0, 1.0]], [["dense", 2], ["tanh_bounds", 0, 1]], nested(MOST_NESTED + 1), nested(400)),
]


@pytest.mark.parametrize("described", STRANGE)
def test_what_a_stranger_s_file_calls_a_body_is_refused(described: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        from_json(described)


def test_blocks_may_be_nested_as_deep_as_that() -> None:
    assert len(unnested(from_json(nested(MOST_NESTED)))) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ((Dense(4), Residual((Dense(3),)), Dense(2)), "of 4 inputs has 3 outputs"),
        ((Dense(4), Residual((Dense(1),)), Dense(2)), "of 4 inputs has 1 outputs"),  # would broadcast
        ((Dense(3), TanhBounds()), "a row of 3 has no second half"),
    ],
)
def test_layers_that_do_not_fit_are_refused(body: Body, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shapes(body, 3)
    spec = Spec((3,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
    entries: Entries = {"actor": Net(3, body_of((), 2)), "critic": Net(3, body)}
    mine = Algorithm(sac.Config, lambda spec, config: entries, sac.draws, sac.head, sac.value, sac.METRICS, name="mine")
    with pytest.raises(UsageError, match=words):
        checks.require_parts(mine, spec, sac.Config())


@pytest.mark.parametrize("body", [BODY, DEEP])
def test_the_way_through_in_numpy(body: Body) -> None:
    generator = np.random.default_rng(2)
    arrays = first_weights(generator, body, 3)
    arrays = {
        name: value + generator.normal(0.0, 0.3, value.shape).astype(np.float32) for name, value in arrays.items()
    }
    inputs = generator.standard_normal((5, 3), dtype=np.float32)

    def through(body: Body, hidden: Any, count: int) -> tuple[Any, int]:
        for layer in body:
            if isinstance(layer, Residual):
                within, count = through(layer.body, hidden, count)
                hidden = hidden + within
            elif isinstance(layer, Dense):
                hidden = hidden @ arrays[f"{count}/kernel"].astype(float) + arrays[f"{count}/bias"]
            elif isinstance(layer, Norm):
                z, _ = oracle.standardized(hidden, layer.epsilon)
                hidden = z * arrays[f"{count}/scale"] + arrays[f"{count}/offset"]
            elif isinstance(layer, TanhBounds):
                half = hidden.shape[1] // 2
                middle, reach = (layer.high + layer.low) / 2, (layer.high - layer.low) / 2
                hidden = np.concatenate([hidden[:, :half], middle + reach * np.tanh(hidden[:, half:])], axis=1)
            elif isinstance(layer, Activation):
                hidden = np.maximum(hidden, 0.0)
            count += isinstance(layer, Dense | Norm)
        return hidden, count

    expected, _ = through(body, inputs.astype(float), 0)
    assert relative_error(forward(body, arrays)(inputs), expected) < 1e-6
    assert forward(body, arrays)(inputs).tobytes() == forward_of_any(body, arrays)(inputs).tobytes()
    assert forward(body, arrays)(inputs).dtype == np.float32


def test_statistics_within_a_block_are_folded() -> None:
    body: Body = (Dense(4), Residual((Dense(6), BatchRenorm(), Activation("relu"), Dense(4))), BatchRenorm(), Dense(2))
    generator = np.random.default_rng(4)
    arrays = first_weights(generator, body, 3) | first_statistics(body, 3)
    arrays = {
        name: value + generator.uniform(0.1, 0.5, value.shape).astype(np.float32) for name, value in arrays.items()
    }
    inputs = generator.standard_normal((5, 3), dtype=np.float32)
    parameters = {name: value for name, value in arrays.items() if not name.endswith("/steps")}
    after = folded(body, parameters)
    assert folded_body(body) == (Dense(4), Residual((Dense(6), Activation("relu"), Dense(4))), Dense(2))
    assert {name: value.shape for name, value in after.items()} == shapes(folded_body(body), 3)
    assert relative_error(forward(folded_body(body), after)(inputs), forward(body, parameters)(inputs)) < 1e-6
    with pytest.raises(ValueError, match="has no dense layer beside it"):
        folded_body((Dense(4), Activation(), BatchRenorm(), Residual((Dense(4),)), Dense(2)))


# Updates


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        *(("sac", each) for each in backends.NAMES),
        ("td3", "torch"),
        ("redq", "torch"),
        ("redq", "jax"),
        ("tqc", "torch"),
    ],
    indirect=["framework"],
)
def test_one_and_ten_updates(name: str, framework: Framework) -> None:
    """TensorFlow compiles for a quarter of a minute what tests/test_learners.py compiles with other layers."""
    case = CASES[name]
    states, expected = solve(case)
    learner, rows = learner_of(case, framework.name, fast=framework.name != "tensorflow"), []
    for index, state in enumerate(states):
        metrics = learner.update(*case.burst(index, index + 1))
        rows.append(metrics.values[0])
        assert_agree(learner.arrays(), state, ONE_UPDATE if index == 0 else TEN_UPDATES)
    assert_agree(dict(zip(metrics.names, np.array(rows).T, strict=True)), expected, TEN_UPDATES)


@pytest.mark.parametrize("name", ["sac", "redq"])
def test_the_fast_path_of_pytorch_equals_the_plain_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, with products that are large enough for oneDNN.

    One update: after two, rounding alone switches a unit on or off, here with one library and there with another.
    """
    monkeypatch.setattr(device, "ONEDNN_IS_FASTER", True)
    sizes = {"hidden_sizes": (128,), "critic_hidden_sizes": (128, 128), "batch_size": 256, "update_after": 256}
    case = make_case(name, updates=1, **SIMBA | sizes, log_sigma="tanh").cast(np.float32)
    fast, slow = (learner_of(case, "torch", fast=fast) for fast in (True, False))
    for learner in (fast, slow):
        play(learner, case, [1])
    assert_agree(fast.arrays(), slow.arrays(), 5e-6)  # reached: 8e-7


def test_it_matters_not_how_arrays_lie_in_memory() -> None:
    case = make_case("sac", updates=1)
    turned = {name: np.array(value, order="F") for name, value in case.arrays.items()}
    one, other = (learner_of(case, "torch", arrays=arrays) for arrays in (case.arrays, turned))
    for learner in (one, other):
        play(learner, case, [1])
    assert_agree(other.arrays(), one.arrays(), EXACT)


@pytest.mark.parametrize("framework", backends.NAMES, indirect=True)
def test_tanh_keeps_log_sigma_in_its_bounds(framework: Framework) -> None:
    """Ten sigmas out, and a gradient that a clipped one would not have."""
    body: Body = (Dense(4), TanhBounds())
    arrays = {"0/kernel": np.eye(4), "0/bias": np.zeros(4)}
    inputs = np.array([[3.0, -50.0, -40.0, 3.0]])
    weights = native_network(arrays, body, framework)
    found = plain(parts_of(framework).network(weights, framework.tensor(inputs)))
    np.testing.assert_allclose(found, [[3.0, -50.0, -10.0, 2.0 - 6.0 * (1.0 - np.tanh(3.0))]], rtol=1e-14)
    assert forward(body, {name: value.astype(np.float32) for name, value in arrays.items()})(
        inputs.astype(np.float32)
    ) == pytest.approx(found)


# Broken copies: each with one mistake


def residual_dropped(module: Any, parts: Any) -> dict[str, Any]:
    def passed(body: Body, inputs: Any, through: Any, first: int = 0) -> Any:
        hidden = inputs
        for number, layer in numbered(body, first):
            if isinstance(layer, Residual):
                hidden = passed(layer.body, hidden, through, int(number))
            else:
                hidden = through(number, layer, hidden)
        return hidden

    return {"passed": passed}


def norm_behind_the_block(module: Any, parts: Any) -> dict[str, Any]:
    """LN(x + MLP(x)), as in the first transformers, by the block's own scale and offset."""

    def passed(body: Body, inputs: Any, through: Any, first: int = 0) -> Any:
        hidden = inputs
        for number, layer in numbered(body, first):
            if isinstance(layer, Residual):
                norm, *rest = numbered(layer.body, int(number))
                within = hidden
                for each in rest:
                    within = through(*each, within)
                hidden = through(*norm, hidden + within)
            else:
                hidden = through(number, layer, hidden)
        return hidden

    return {"passed": passed}


def what_is_normalized_goes_around(module: Any, parts: Any) -> dict[str, Any]:
    def passed(body: Body, inputs: Any, through: Any, first: int = 0) -> Any:
        hidden = inputs
        for number, layer in numbered(body, first):
            if isinstance(layer, Residual):
                norm, *rest = numbered(layer.body, int(number))
                around = hidden = through(*norm, hidden)
                for each in rest:
                    hidden = through(*each, hidden)
                hidden = around + hidden
            else:
                hidden = through(number, layer, hidden)
        return hidden

    return {"passed": passed}


def an_activation_behind_the_block(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.passed

    def passed(body: Body, inputs: Any, through: Any, first: int = 0) -> Any:
        hidden = inputs
        for number, layer in numbered(body, first):
            if isinstance(layer, Residual):
                hidden = through("", Activation("relu"), right((layer,), hidden, through, int(number)))
            else:
                hidden = through(number, layer, hidden)
        return hidden

    return {"passed": passed}


def no_norm_at_the_end(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.passed

    def passed(body: Body, inputs: Any, through: Any, first: int = 0) -> Any:
        last = {number for number, layer in numbered(body, first) if isinstance(layer, Norm)}

        def all_but_one(number: str, layer: Single, hidden: Any) -> Any:
            return hidden + 0.0 * through(number, layer, hidden) if number in last else through(number, layer, hidden)

        return right(body, inputs, all_but_one, first)

    return {"passed": passed}


def epsilon_of_another_library(module: Any, parts: Any) -> dict[str, Any]:
    right = parts.normalized
    return {"normalized": lambda rows, epsilon: right(rows, 1e-5)}


def decay(module: Any, change: Callable[..., Any]) -> dict[str, Any]:
    right = module.step
    return {"step": lambda net, gradient, optimizer, *rest: right(net, gradient, change(net, optimizer), *rest)}


def decay_that_skips_norms(module: Any, parts: Any) -> dict[str, Any]:
    return decay(module, lambda net, optimizer: replace(optimizer, decayed="kernels"))


def decay_of_the_actor_alone(module: Any, parts: Any) -> dict[str, Any]:
    actor = 6 + 2  # arrays of one block are fewer than those of two

    def change(net: Any, optimizer: Any) -> Any:
        arrays = getattr(net.parameters, "arrays", {})
        return optimizer if len(arrays) <= actor else replace(optimizer, decay=0.0)

    return decay(module, change)


def bounded(change: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any], dict[str, Any]]:
    def broken(module: Any, parts: Any) -> dict[str, Any]:
        right = parts._through

        def through(layer: Single, arrays: Any, hidden: Any) -> Any:
            return change(right, layer, hidden) if isinstance(layer, TanhBounds) else right(layer, arrays, hidden)

        return {"_through": through}

    return broken


log_sigma_clipped = bounded(lambda right, layer, hidden: hidden)
log_sigma_clipped.__name__ = "log_sigma_clipped"
the_half_of_the_range_left_out = bounded(lambda right, layer, hidden: right(TanhBounds(-10.0, 14.0), {}, hidden))
the_half_of_the_range_left_out.__name__ = "the_half_of_the_range_left_out"

BROKEN = [
    residual_dropped,
    norm_behind_the_block,
    what_is_normalized_goes_around,
    an_activation_behind_the_block,
    no_norm_at_the_end,
    epsilon_of_another_library,
    decay_that_skips_norms,
    decay_of_the_actor_alone,
    log_sigma_clipped,
    the_half_of_the_range_left_out,
]
ONE = make_case("sac", updates=1, log_sigma="tanh", alpha=0.2, **SIMBA)
SOLVED = {name: value for name, value in solve(ONE)[0][-1].items() if name != STEP}


def test_the_unbroken_copy_passes(precise: Framework) -> None:
    assert_agree(updated(ONE, precise), SOLVED, ONE_UPDATE)


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_copies_are_caught(broken: Any, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, module = parts_of(precise), module_of(ONE, precise)
    for attribute, replacement in broken(module, parts).items():
        monkeypatch.setattr(module if hasattr(module, attribute) else parts, attribute, replacement)
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(ONE, precise), SOLVED, ONE_UPDATE)


# Whole runs

OPTIONS: dict[str, Any] = {**SMALL, "steps": 30, "steps_per_epoch": 10, "seed": 3, "backend": "torch"}
BLOCKS: dict[str, Any] = {
    "network": "simba",
    "hidden_sizes": (3,),
    "critic_hidden_sizes": (4, 4),
    "weight_decay": 0.01,
    "weight_decay_of": "all",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    return polyak.train("sac", Uneven, run_dir=folder, **{**OPTIONS, **BLOCKS}, log_sigma="tanh")


def test_a_killed_run_goes_on_bit_for_bit(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = snapshots(monkeypatch, tmp_path, 6).taken
    options = {**OPTIONS, **BLOCKS, "log_sigma": "tanh", "checkpoint_every": 6}
    whole = polyak.train("sac", Uneven, run_dir=tmp_path, **options)
    monkeypatch.setattr(loop.Loop, "_iterate", loop.Loop._iterate)
    assert_same(polyak.resume(taken[6], environment=Uneven), whole)
    assert {"actor/4/scale", "critic_1/8/kernel"} < saved(whole).learner.keys()
    assert whole.policy.parameters["4/scale"].tobytes() == run.policy.parameters["4/scale"].tobytes()


def test_its_policy_acts_from_its_file(run: Run) -> None:
    path = run.folder / "policy.safetensors"
    policy = Policy.load(path)
    assert policy.body == (*body_of((3,), 2, "simba"), TanhBounds())
    observation = np.array([[0.3, -2.0], [5.0, 1.0]], np.float32)
    outputs = forward(policy.layers, policy.parameters)(observation)
    std = policy.distribution(observation).std
    np.testing.assert_allclose(std, np.exp(outputs[:, 1:]), rtol=1e-6)
    assert np.exp(-10.0) < std.min() <= std.max() < np.exp(2.0)
    content = policy.content()
    assert b"residual" in content
    assert b"orthogonal" not in content
    assert policy.content() == path.read_bytes()


def test_the_preset_is_the_authors(tmp_path: Path) -> None:
    """And normalizes observations, by statistics that are in the policy's file."""
    found = presets.load("simba", algorithm("sac"), "Hopper-v5")
    config = sac.Config(**found.values)
    spec = Spec((11,), (3,), -np.ones(3, np.float32), np.ones(3, np.float32))
    entries = sac.state(spec, config)
    assert entries["actor"] == Net(11, (*body_of((128,), 6, "simba"), TanhBounds()))
    assert entries["critic_1"] == Net(14, body_of((512, 512), 1, "simba"))
    assert (config.wanted_entropy(3), config.alpha, config.updates_per_step, config.discount) == (
        -1.5,
        0.01,
        2.0,
        0.995,
    )
    optimizers = [config.optimizer(name) for name in ("actor", "critic_2", "log_alpha")]
    assert {(each.rate, each.decay, each.decayed) for each in optimizers} == {(1e-4, 1e-2, "all")}
    small = {**OPTIONS, "hidden_sizes": (3,), "critic_hidden_sizes": (4,), "steps": 14, "steps_per_epoch": 14}
    made = polyak.train("sac", Uneven, preset="simba", run_dir=tmp_path, **small)
    assert Policy.load(made.folder / "policy.safetensors").normalizer is not None
    assert made.metrics[-1]["learner/updates"] == 16  # two a step


@pytest.mark.parametrize("name", ["ddpg", "crossq", "tqc", "redq"])
def test_every_algorithm_takes_it(name: str, tmp_path: Path) -> None:
    options = {"steps": 12, "steps_per_epoch": 12, "evaluation_episodes": 1, "updates_per_step": 1.0}
    done = polyak.train(name, Uneven, run_dir=tmp_path, **{**OPTIONS, **BLOCKS, **options})
    assert np.isfinite(done.metrics[-1]["learner/critic_loss"])
    assert np.isfinite(done.q(np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32))).all()


def test_critics_may_be_of_another_kind() -> None:
    spec = Spec((3,), (1,), -np.ones(1, np.float32), np.ones(1, np.float32))
    config = redq.Config(critic_network="simba", critic_hidden_sizes=(8,), hidden_sizes=(4, 5))
    found = redq.state(spec, config)
    assert (found["actor"].body, found["critics"].body) == (body_of((4, 5), 2), body_of((8,), 1, "simba"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("sac", "--network", "simba", "--hidden-sizes", "64", "32"),
            "hidden_sizes is (64, 32), but must be one",
        ),
        (
            ("sac", "--network", "simba", "--critic-hidden-sizes", "8", "4"),
            "critic_hidden_sizes is (8, 4), but must be",
        ),
        (("redq", "--critic-network", "simba", "--hidden-sizes", "8", "4"), "hidden_sizes is (8, 4), but must be"),
        (("droq", "--critic-network", "simba"), "dropout is 0.01, but must be 0 of simba critics"),
        (("sac", "--log-std-min", "-5"), "polyak calls it --log-sigma, which is clip"),
        (("sac", "--residual-blocks", "2"), "hidden-sizes"),
    ],
)
def test_what_is_wrong_is_said_at_the_door(arguments: tuple[str, ...], words: str) -> None:
    name, *rest = arguments
    code, shown, errors = call_cli("train", name, "Pendulum-v1", *rest)
    assert (code, shown) == (2, "")
    assert words.replace("_", "-") in errors.replace("_", "-")
    assert errors.count("\n") == 1
