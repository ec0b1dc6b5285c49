"""REDQ and DroQ in each framework against the NumPy oracle, against SAC, and broken copies of them."""

import dataclasses
import importlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
import polyak
from backends import Framework, learner_of, module_of, updated
from backends.broken import Break
from backends.broken_redq import BROKEN_REDQ
from polyak import Run
from polyak.algorithm import STEP, Bits, Subset, networks_of
from polyak.algorithms import algorithm, presets_by_name
from polyak.environments.stepping import Environments
from polyak.errors import UsageError
from polyak.networks.layers import Norm, body_of
from polyak.report.page import write_report
from polyak.run import loop
from polyak.settings import presets
from reference import redq as oracle
from reference.cases import Case, assert_agree, errors_of, make_case, play, relative_error, solve
from reference.common import part, q_value
from tiny_cli import TINY, Uneven, call_cli
from whole_runs import assert_same, saved, snapshots

FRAMEWORKS = ("jax", "torch")
ONE_UPDATE, TEN_UPDATES = 1e-12, 1e-11
SMALL: dict[str, Any] = {"batch_size": 8, "hidden_sizes": (8, 6), "update_after": 8}


def redq_case(**settings: Any) -> Case:
    """A case of REDQ, each critic shifted so that none is the minimum everywhere, as fresh ones would be."""
    case = make_case("redq", **SMALL, **settings)
    arrays, batch = dict(case.arrays), case.batch(0)
    for name in ("critics", "target_critics"):
        kernels = [path for path in arrays if path.startswith(f"{name}/") and path.endswith("/kernel")]
        bias = arrays[kernels[-1].replace("/kernel", "/bias")]
        for index in range(len(bias)):
            network = part(arrays, name, case.config)
            network.update({leaf: value[index] for leaf, value in network.items()})
            bias[index] -= np.median(q_value(network, batch.observation, batch.action)[0])
            bias[index] = bias[index].astype(np.float32)
    return dataclasses.replace(case, arrays=arrays)


CASES = {
    "redq": redq_case(critics=4, subset=2, policy_delay=3),
    "droq": redq_case(critics=2, subset=2, policy_delay=2, dropout=0.2, critic_network="layer_norm", alpha=0.3),
    "both": redq_case(
        critics=3,
        subset=2,
        policy_delay=2,
        dropout=0.3,
        actor_climbs="minimum",
        critic_hidden_sizes=(7, 4, 5),
        activation="tanh",
        target_entropy=0.5,
        weight_decay=0.1,
        learning_rate_schedule="cosine",
        steps=8,
        updates_per_step=10,
    ),
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest, double: None) -> Framework:
    """One that has its pages, in float64."""
    return backends.framework(request.param)


@pytest.fixture
def precise(double: None) -> Iterator[Framework]:
    """Each operation by itself, so that a function replaced in a module is used.

    In PyTorch alone: the mistakes are those of the comparison, which is one, and JAX compiles each operation.
    """
    framework = backends.framework("torch")
    with framework.precisely():
        yield framework


@pytest.mark.parametrize("name", CASES)
def test_one_and_ten_updates(name: str, framework: Framework) -> None:
    case = CASES[name]
    states, expected = solve(case)
    learner, rows, errors = learner_of(case, framework.name), [], errors_of(case)
    for index, state in enumerate(states):
        metrics, _, found = learner.launch(*case.burst(index, index + 1))()
        rows.append(metrics.values[0])
        assert relative_error(found, errors[index : index + 1]) < TEN_UPDATES
        assert_agree(learner.arrays(), state, ONE_UPDATE if index == 0 else TEN_UPDATES)
    assert_agree(dict(zip(metrics.names, np.array(rows).T, strict=True)), expected, TEN_UPDATES)


TWO_UPDATES = redq_case(
    updates=2, critics=4, subset=2, policy_delay=2, dropout=0.2, critic_network="layer_norm", alpha=0.3
)
"""Of which the second steps the actor."""
SOLVED = {name: value for name, value in solve(TWO_UPDATES)[0][-1].items() if name != STEP}


def test_the_unbroken_copy_passes(precise: Framework) -> None:
    assert_agree(updated(TWO_UPDATES, precise), SOLVED, ONE_UPDATE)


@pytest.mark.parametrize("broken", BROKEN_REDQ)
def test_broken_copies_are_caught(broken: Break, precise: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(TWO_UPDATES, precise)
    for attribute, replacement in broken(module, precise).items():
        monkeypatch.setattr(module, attribute, replacement)
    with pytest.raises(AssertionError, match="relative"):
        assert_agree(updated(TWO_UPDATES, precise), SOLVED, ONE_UPDATE)


def test_the_delay_goes_on_across_bursts(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted within each burst, the actor would step on other updates."""
    case = CASES["redq"]  # each third
    states, expected = solve(case)
    learner = learner_of(case, framework.name)
    assert_agree(play(learner, case, [2, 2, 2, 2, 2]), expected, TEN_UPDATES)
    assert_agree(learner.arrays(), states[-1], TEN_UPDATES)
    assert learner.arrays()["adam_actor/count"] == 3
    within = importlib.import_module(f"polyak.frameworks.{framework.name}.learner")
    right = within.due
    monkeypatch.setattr(within, "due", lambda every, count, updates: right(every, 0, updates))
    broken = learner_of(case, framework.name)
    play(broken, case, [2, 2, 2, 2, 2])
    assert broken.arrays()["adam_actor/count"] == 0


def as_an_ensemble(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """SAC's state as REDQ has it: twins side by side, one count for both."""
    found = dict[str, Any]()
    for name, value in arrays.items():
        if "critic_2" in name:
            continue
        twins = (value, arrays[name.replace("critic_1", "critic_2")])
        ours = name.replace("critic_1", "critics")
        found[ours] = np.stack(twins) if "critic_1" in name and not name.endswith("count") else value
    return found


def test_two_critics_without_delay_are_sac(framework: Framework) -> None:
    """Both in the target, the actor up their minimum; all that SAC measures is measured, but for the mean Q for Q_1."""
    sac = make_case("sac", batch_size=8, hidden_sizes=(8, 6), update_after=8, alpha=0.3)
    states, expected = solve(sac)
    what = algorithm("redq")
    config = what.Config(
        **{name: value for name, value in vars(sac.config).items() if name != "updates_per_step"},
        critics=2,
        subset=2,
        policy_delay=1,
        actor_climbs="minimum",
    )
    case = Case(what, sac.spec, config, as_an_ensemble(sac.arrays), sac.records, sac.noise)
    learner = learner_of(case, framework.name)
    metrics = play(learner, case, [1, 9])
    assert_agree(learner.arrays(), as_an_ensemble(states[-1]), TEN_UPDATES)
    others = [name for name in metrics if name not in ("q", "q_std")]
    assert_agree({name: metrics[name] for name in others}, {name: expected[name] for name in others}, TEN_UPDATES)


def test_q_is_the_mean_of_all_and_drops_nothing() -> None:
    case = CASES["both"].cast(np.float32)
    networks = networks_of(case.what.state(case.spec, case.config), case.arrays)
    batch = case.batch(0)
    found = case.what.value(networks, batch.observation, batch.action, case.config)
    each = [oracle.critic(case.arrays, "critics", index, case.config) for index in range(3)]
    expected = np.mean([q_value(one, batch.observation, batch.action)[0] for one in each], axis=0)
    assert relative_error(found, expected) < 1e-5


def as_one_critic(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """SAC's state whose twins are alike as REDQ has it with one critic."""
    found = {name.replace("critic_1", "critics"): value for name, value in arrays.items() if "critic_2" not in name}
    return {
        name: value[None] if "critics" in name and not name.endswith("count") else value
        for name, value in found.items()
    }


def test_one_critic_is_sac_with_twins_alike(framework: Framework) -> None:
    """As SimBa's authors have it where nothing terminates: the lower of two equal ones is the one."""
    sac = make_case("sac", batch_size=8, hidden_sizes=(8, 6), update_after=8)
    alike = {name: sac.arrays[name.replace("critic_2", "critic_1")] for name in sac.arrays}
    sac = dataclasses.replace(sac, arrays=alike)
    states, expected = solve(sac)
    what = algorithm("redq")
    own = {"critics": 1, "subset": 1, "policy_delay": 1}
    config = what.Config(
        **{name: value for name, value in vars(sac.config).items() if name != "updates_per_step"}, **own
    )
    case = Case(what, sac.spec, config, as_one_critic(sac.arrays), sac.records, sac.noise)
    learner = learner_of(case, framework.name)
    metrics = play(learner, case, [10])
    assert_agree(learner.arrays(), as_one_critic(states[-1]), TEN_UPDATES)
    assert relative_error(metrics["q"], expected["q"]) < TEN_UPDATES
    assert relative_error(metrics["actor_loss"], expected["actor_loss"]) < TEN_UPDATES
    assert relative_error(2.0 * metrics["critic_loss"], expected["critic_loss"]) < TEN_UPDATES


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("start", FRAMEWORKS)
def test_a_framework_goes_on_where_the_other_stopped(start: str) -> None:
    case = CASES["both"]
    states, _ = solve(case)
    one = learner_of(case, start)
    play(one, case, [5])
    (other,) = (name for name in FRAMEWORKS if name != start)
    two = learner_of(case, other, arrays=one.arrays())
    for index in range(5, 10):
        two.update(*case.burst(index, index + 1))
    assert_agree(two.arrays(), states[-1], TEN_UPDATES)


def test_what_is_declared() -> None:
    redq = algorithm("redq")
    spec, config = CASES["redq"].spec, redq.Config()
    assert (config.critics, config.subset, config.policy_delay, config.updates_per_step) == (10, 2, 20, 20.0)
    assert list(redq.draws(spec, config)) == ["next_action", "action", "subset"]
    assert redq.draws(spec, config)["subset"] == Subset(2, 10)
    dropping = redq.Config(critics=3, subset=2, dropout=0.1, hidden_sizes=(8, 6), batch_size=4)
    found = {name: each for name, each in redq.draws(spec, dropping).items() if isinstance(each, Bits)}
    shapes = {"next_dropped": (2, 4, 14), "critic_dropped": (3, 4, 14), "actor_dropped": (3, 4, 14)}
    assert found == {name: Bits(shape, 0.1) for name, shape in shapes.items()}
    assert "subset" not in redq.draws(spec, redq.Config(critics=2))
    critics = redq.state(spec, redq.Config(network="mlp", critic_network="layer_norm"))["critics"]
    assert critics.copies == 10
    assert sum(isinstance(layer, Norm) for layer in critics.body) == 2
    assert redq.state(spec, redq.Config(critic_network="layer_norm"))["actor"].body == body_of((256, 256), 6)
    with pytest.raises(UsageError, match=r"subset is 3, but must be at most critics \(2\)"):
        redq.Config(critics=2, subset=3)


# Beside SBX


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_updates_of_droq_are_those_of_sbx(name: str) -> None:
    """The second of two steps the actor, up the minimum as there; tests/data/sbx/make.py made it."""
    kept = dict(np.load(Path(__file__).parent / "data" / "sbx" / "droq.npz"))
    sizes: dict[str, Any] = {"batch_size": 8, "hidden_sizes": (6, 5), "observation_size": 3, "action_size": 2}
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate", "alpha_learning_rate"), 3e-4)
    own: dict[str, Any] = {"critics": 2, "subset": 2, "policy_delay": 2, "actor_climbs": "minimum"}
    case = make_case("redq", updates=2, dropout=0.25, critic_network="layer_norm", **sizes, **rates, **own)
    discount = case.config.discount * (1.0 - kept["dones"][:, None])
    rows = [kept["observations"], kept["actions"], kept["rewards"][:, None], kept["next_observations"], discount]
    records = np.concatenate([*rows, np.ones_like(discount)], axis=1).reshape(2, 8, -1)
    arrays = {path: kept.get(f"before/{path}", np.zeros_like(value)) for path, value in case.arrays.items()}
    noise = {each: kept[each] for each in ("next_action", "action")}
    for each in ("next_dropped", "critic_dropped", "actor_dropped"):
        noise[each] = np.packbits(kept[each].reshape(2, -1).astype(bool), axis=1, bitorder="little")
    assert noise.keys() == case.noise.keys()
    learner = learner_of(dataclasses.replace(case, arrays=arrays, records=records, noise=noise), name)
    metrics = play(learner, dataclasses.replace(case, records=records, noise=noise), [2])
    after = {path.removeprefix("after/"): value for path, value in kept.items() if path.startswith("after/")}
    assert_agree({path: learner.arrays()[path] for path in after}, after, 1e-11)
    assert metrics["critic_loss"][1] == pytest.approx(2.0 * float(kept["critic_loss"]), rel=1e-12)
    assert metrics["actor_loss"][1] == pytest.approx(float(kept["actor_loss"]), rel=1e-12)
    assert not np.array_equal(after["actor/0/kernel"], kept["before/actor/0/kernel"])


# Whole runs, of `droq` by its name

OPTIONS: dict[str, Any] = {
    "critics": 3,
    "subset": 2,
    "dropout": 0.3,
    "policy_delay": 3,
    "update_every": 1,  # subsets and bits
    "steps": 60,
    "steps_per_epoch": 20,
    "start_steps": 5,
    "update_after": 8,
    "updates_per_step": 2.5,
    "batch_size": 8,
    "hidden_sizes": (4, 3),
    "evaluation_episodes": 1,
    "replay_size": 50,
    "seed": 3,
}


@pytest.mark.parametrize(("backend", "lag"), [("torch", 0), ("torch", 1), ("jax", 1)])
def test_a_killed_run_goes_on_bit_for_bit(
    backend: str, lag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the burst that was on its way, and bursts in pieces: the draws are those of the whole one."""
    monkeypatch.setattr(Environments, "resets_take_steps", True)
    options = {**OPTIONS, "envs": 6, "lag": lag, "backend": backend, "checkpoint_every": 6}
    taken = snapshots(monkeypatch, tmp_path, 6).taken
    whole = polyak.train("droq", Uneven, run_dir=tmp_path, **options)
    monkeypatch.setattr(loop.Loop, "_iterate", loop.Loop._iterate)
    manifest = saved(Run(taken[6])).manifest
    assert ("launched" in manifest.state) is bool(lag)
    assert_same(polyak.resume(taken[6], environment=Uneven), whole)
    assert whole.metrics[-1]["learner/updates"] == 132  # of which three in a row are a step of the actor
    assert saved(whole).learner["adam_actor/count"] == 44


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of droq's own preset, but short and small."""
    sizes = {name: OPTIONS[name] for name in ("steps", "steps_per_epoch", "batch_size", "hidden_sizes", "start_steps")}
    folder = tmp_path_factory.mktemp("runs")
    return polyak.train("droq", TINY, run_dir=folder, **sizes, update_after=50, backend="torch", evaluation_episodes=1)


def test_a_run_of_a_preset_s_name_has_that_name(run: Run, tmp_path: Path) -> None:
    assert run.folder.parent.name == "droq"
    assert run.settings["algorithm"] == "droq"
    settings = run.settings["settings"]
    told = {name: settings[name] for name in ("critics", "subset", "dropout", "critic_network", "updates_per_step")}
    assert told == {"critics": 2, "subset": 2, "dropout": 0.01, "critic_network": "layer_norm", "updates_per_step": 20}
    assert run.metrics[-1]["learner/updates"] == 220
    assert "DroQ" in write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    assert np.isfinite(run.q(np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32))).all()


def test_it_goes_on_and_is_gone_on_from(run: Run, tmp_path: Path) -> None:
    copied = Run(shutil.copytree(run.folder, tmp_path / run.folder.name))
    longer = polyak.resume(copied.folder, steps=70)
    assert (longer.settings["algorithm"], longer.metrics[-1]["learner/updates"]) == ("droq", 420)
    other = polyak.train("droq", TINY, from_run=run.folder, run_dir=tmp_path, steps=52, backend="torch")
    assert other.settings["settings"]["dropout"] == 0.01


def test_what_lies_over_a_preset_s_own_file(tmp_path: Path) -> None:
    droq, redq = algorithm("droq"), algorithm("redq")
    assert presets_by_name() == {"droq": "redq", "rlpd": "redq"}
    assert (droq.name, droq.Config, droq.state) == ("droq", redq.Config, redq.state)
    ours = presets.load("paper", droq, "Acrobot-v1").values
    assert (ours["critics"], ours["dropout"], ours["updates_per_step"]) == (2, 0.01, 20.0)
    assert "droq" not in presets.names()
    tuned = presets.load("Hopper-v5", droq, "Hopper-v5")
    assert (tuned.values["target_entropy"], tuned.values["critics"]) == (-1.0, 2)
    assert tuned.sources["dropout"].startswith("TakuyaHiraoka/Dropout-Q-Functions")
    own = tmp_path / "own.toml"
    own.write_text("critics = 5\n[droq]\ndropout = 0.2\n[redq]\ndropout = 0.3\n[only.Hopper-v5.droq]\nsubset = 3\n")
    mine = presets.load(str(own), droq, "Hopper-v5")
    assert {name: mine.values[name] for name in ("critics", "dropout", "subset")} == {
        "critics": 5,
        "dropout": 0.2,
        "subset": 3,
    }
    assert mine.sources["critics"] == f"preset {own}"
    assert presets.load(str(own), redq, "Hopper-v5").values == {"critics": 5, "dropout": 0.3}


def test_rlpd_is_redq_with_demonstrations(run: Run, tmp_path: Path) -> None:
    """Of another run's replay; it goes on with them."""
    small = {**OPTIONS, "steps": 24, "steps_per_epoch": 12, "backend": "torch"}
    for name in ("critics", "subset", "dropout", "policy_delay"):
        del small[name]
    learned = polyak.train("rlpd", TINY, run_dir=tmp_path, demonstrations=run.folder, preset="defaults", **small)
    assert learned.folder.parent.name == "rlpd"
    settings = learned.settings["settings"]
    told = ("critics", "subset", "critic_network", "demonstration_fraction", "target_entropy_scale", "policy_delay")
    assert [settings[name] for name in told] == [10, 2, "layer_norm", 0.5, 0.5, 20]
    assert "RLPD" in write_report([learned], tmp_path / "report.html").read_text(encoding="utf-8")
    assert polyak.resume(learned.folder, steps=30).metrics[-1]["step"] == 30
    with pytest.raises(UsageError, match="rlpd learns from demonstrations, and none are given"):
        polyak.train("rlpd", TINY, run_dir=tmp_path, **small)
    sources = presets.load("defaults", algorithm("rlpd"), "Hopper-v5").sources
    assert sources["target_entropy_scale"].startswith("ikostrikov/rlpd, the authors' code")


@pytest.mark.parametrize("name", ["redq", "droq", "DroQ"])
def test_pendulum_has_settings_of_its_own(name: str) -> None:
    found = algorithm(name)
    config = found.Config(**presets.load("Pendulum-v1", found, "Pendulum-v1").values)
    assert (config.hidden_sizes, config.updates_per_step, config.policy_delay) == ((64, 64), 20.0, 20)
    assert config.critics == (10 if name == "redq" else 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("rlpd", "Pendulum-v1"),
            "rlpd learns from demonstrations, and none are given: name them (--demonstrations), or take redq",
        ),
        (("drok", "Pendulum-v1"), "Did you mean 'droq'?"),
        (("droq", "Pendulum-v1", "--backend", "tensorflow"), "has pages for jax, torch, not for tensorflow"),
        (
            ("redq", "Pendulum-v1", "--ensemble-size", "3"),
            "polyak calls it --critics, where an algorithm",
        ),
        (("redq", "Pendulum-v1", "--subset", "30"), "subset is 30, but must be at most critics (10)"),
    ],
)
def test_what_is_wrong_is_said_at_the_door(arguments: tuple[str, ...], words: str) -> None:
    code, shown, errors = call_cli("train", *arguments)
    assert (code, shown) == (2, "")
    assert words in errors
    assert errors.count("\n") == 1
