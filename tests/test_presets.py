"""Presets: every value has a source, every preset builds its Config, book is the chapter's table, and errors help."""

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import polyak
from polyak.algorithms import NAMES, algorithm
from polyak.cli import request
from polyak.errors import UsageError
from polyak.many import sweep
from polyak.settings import presets
from polyak.settings.presets.verified import fingerprint, recorded, spread, verified
from tiny_cli import OPTIONS, SMALL, TINY, Tiny, call_cli

UNTRAINED: dict[str, Any] = {**SMALL, "update_after": 1_000}

FILES = [file.name for file in resources.files(presets).iterdir() if file.name.endswith(".toml")]


def document(file: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(presets).joinpath(file).read_text(encoding="utf-8"))


def leaves(table: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a file with what the file says of it."""
    for key, entry in table.items():
        if key in ("environments", "algorithms", "sources"):
            continue
        if isinstance(entry, dict) and "value" not in entry:
            yield from leaves(entry, f"{path}{key}.")
        else:
            yield f"{path}{key}", entry


def config(name: str, algorithm_name: str, environment: str = "Pendulum-v1", half_range: float = 2.0) -> Any:
    values = presets.load(name, algorithm(algorithm_name), environment, lambda: half_range).values
    return algorithm(algorithm_name).Config(**values)


def own(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_preset_that_was_changed_is_no_longer_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that shape learning count, and the length only where step sizes fall along it."""
    [entry, *_] = [each for each in recorded() if each.preset == "Pendulum-v1"]
    document = presets._shipped()["Pendulum-v1"]
    place = (entry.environment, entry.algorithm, entry.preset)

    def still(**changed: Any) -> bool:
        table = document.get(entry.algorithm, {}) | {name: {"value": value} for name, value in changed.items()}
        monkeypatch.setitem(presets._shipped(), "Pendulum-v1", document | {entry.algorithm: table})
        return verified(*place, config("Pendulum-v1", entry.algorithm)) == entry

    assert still()
    assert still(steps=7, steps_per_epoch=7, evaluation_episodes=3)
    assert not still(batch_size=128)
    assert not still(learning_rate_schedule="linear")
    falling = [fingerprint(algorithm("sac").Config(steps=n, learning_rate_schedule="linear")) for n in (1_000, 2_000)]
    assert falling[0] != falling[1]
    assert verified("some.module:Pendulum-v1", *place[1:], config("Pendulum-v1", entry.algorithm)) is None
    monkeypatch.setitem(presets._shipped(), "Pendulum-v1", document)
    assert verified("some.module:Pendulum-v1", *place[1:], config("Pendulum-v1", entry.algorithm)) == entry


def test_the_list_has_each_preset_as_verified_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown, _ = call_cli("presets")
    assert code == 0
    table, _, others = shown.partition("not verified")
    for name in presets.names():
        assert name in shown
    for each in recorded():
        assert f"{each.algorithm} {each.environment}" in table
    assert "  simba\n" in others
    document = presets._shipped()["Pendulum-v1"]
    monkeypatch.setitem(presets._shipped(), "Pendulum-v1", document | {"batch_size": {"value": 7}})
    table, _, others = call_cli("presets")[1].partition("not verified")
    assert "sac Pendulum-v1 " not in table
    assert re.search("^  Pendulum-v1:.* ddpg,.* sac,.* td3", others, re.MULTILINE)


def test_what_was_measured_stands_below_a_presets_values() -> None:
    shown = call_cli("presets", "Pendulum-v1")[1]
    [entry] = [each for each in recorded() if (each.algorithm, each.preset) == ("sac", "Pendulum-v1")]
    told = f"verified: a return of {spread(entry.returns)} after {spread(entry.steps)} steps, "
    below = shown.split("sac on Pendulum-v1")[1].split(" on Pendulum-v1: preset")[0]
    assert f"{told}{spread(entry.minutes, 1)} minutes; {len(entry.seeds)} seeds, " in below
    assert entry.commands[0] in below
    assert "\nnot verified\n" in call_cli("presets", "Pendulum-v1", "--preset", "paper")[1]
    assert spread((3.0, 1.0, 2.0)) == "2 (1 to 3)"
    assert spread((0.25, 0.25), 2) == "0.25"


@pytest.mark.parametrize("file", FILES)
def test_every_shipped_value_names_a_source_and_every_source_is_used(file: str) -> None:
    sources = document(file)["sources"]
    entries = dict(leaves(document(file)))
    for path, entry in entries.items():
        assert isinstance(entry, dict), path
        assert entry["source"] in sources, path
    assert {entry["source"] for entry in entries.values()} == set(sources)
    assert all(isinstance(text, str) and text for text in sources.values())


PLAIN = {
    "learning_rate_schedule",
    "learning_rate_end",
    "adam_beta_1",
    "adam_beta_2",
    "weight_decay",
    *("n_step", "offline_updates", "demonstration_fraction", "behaviour_cloning"),
    *("exploration_hold", "action_repeat"),
    "weight_decay_of",
    "log_sigma",
    "target_entropy_scale",
    *("normalize_observations", "normalize_rewards", "prioritized"),
    "network",
    "activation",
    "hindsight",
    "hindsight_goals",
    "goal_ends",
}


SET = [
    (name, each)
    for name, shipped in presets._shipped().items()
    for each in NAMES
    if each in shipped or each in shipped["algorithms"]
]


@pytest.mark.parametrize(("name", "algorithm_name"), SET)
def test_every_preset_sets_everything_and_builds_its_config(name: str, algorithm_name: str) -> None:
    preset = presets.load(name, algorithm(algorithm_name), name, lambda: np.array([2.0, 2.0], np.float32))
    built = algorithm(algorithm_name).Config(**preset.values)
    assert (preset.name, preset.algorithm) == (name, algorithm_name)
    optional = {field.name for field in dataclasses.fields(built) if field.default is None}
    optional |= {"lag", *PLAIN}  # how a run is computed, and what is done to plain Adam and plain networks: none say
    if not preset.values.get("learn_alpha", True):
        optional.add("alpha_learning_rate")
    assert {field.name for field in dataclasses.fields(built)} - optional <= preset.values.keys()
    assert preset.sources.keys() == preset.values.keys()
    assert all(" " in text for text in preset.sources.values()), "the text of a source, not its key"


def test_what_was_chosen_for_some_algorithms_reaches_no_other(tmp_path: Path) -> None:
    """But a user's own, whose name nobody could list."""
    lines = ('algorithms = ["sac"]', "steps = 7", "[td3]", "batch_size = 3")
    path = own(tmp_path, "\n".join([*lines, "[only.A-v0]", "lag = 1", "[only.A-v0.td3]", "discount = 0.5"]))
    found = {name: presets.load(path, algorithm(name), "A-v0").values for name in ("sac", "td3")}
    assert found == {"sac": {"steps": 7, "lag": 1}, "td3": {"batch_size": 3, "discount": 0.5}}
    other = dataclasses.replace(algorithm("sac"), name="my_algorithm")
    assert presets.load(path, other, "A-v0").values == found["sac"]


def test_names_lists_the_general_presets_and_then_environments_that_exist() -> None:
    assert presets.names()[:7] == ("book", "defaults", "general", "offline", "paper", "sbx", "simba")
    tuned = presets.names()[7:]
    assert {"Pendulum-v1", "LunarLanderContinuous-v3", "BipedalWalker-v3", "MountainCarContinuous-v0"} < set(tuned)
    mujoco = {
        spec.id for spec in gymnasium.registry.values() if "mujoco" in str(spec.entry_point) and spec.version == 5
    }
    assert mujoco
    assert mujoco <= set(tuned)
    robots = {each for each in tuned if each.startswith(("Fetch", "PointMaze"))}
    assert len(robots) == 5
    assert all(environment in gymnasium.registry for environment in set(tuned) - robots)
    pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed")
    assert robots <= gymnasium.registry.keys()


@pytest.mark.parametrize(("name", "other"), [("sac", "general"), ("my_folder.my_algorithm", "defaults")])
def test_default_is_the_tuned_preset_or_the_general_one(name: str, other: str) -> None:
    """A user's own algorithm has the defaults that it declares, and no other's."""
    assert presets.default_for("Pendulum-v1", name) == "Pendulum-v1"
    assert presets.default_for("some.module:Pendulum-v1", name) == "Pendulum-v1"
    assert presets.default_for("Acrobot-v1", name) == other
    assert presets.default_for("book", name) == other


def test_general_settings_are_the_papers_but_for_ddpg_and_for_how_sac_is_evaluated() -> None:
    """The papers' results are those of the general settings (docs/which.md)."""
    assert config("general", "td3") == config("paper", "td3")
    general, paper = config("general", "sac"), config("paper", "sac")
    assert (general.evaluation_episodes, general.steps_per_epoch) == (10, 5_000)
    assert dataclasses.replace(general, evaluation_episodes=1, steps_per_epoch=1_000) == paper


def test_a_successor_gets_its_own_table_or_its_own_defaults() -> None:
    """Nothing that was chosen for DDPG, TD3 and SAC; and its paper's networks only where they are asked for."""
    shipped = presets._shipped()
    for name in {*NAMES} - {"ddpg", "td3", "sac"}:
        assert presets.default_for("Acrobot-v1", name) == "defaults"
        for preset, file in shipped.items():
            only = file.get("only", {}).get(preset, {}).get(name, {})
            told = {setting: entry["value"] for setting, entry in {**file.get(name, {}), **only}.items()}
            found = presets.load(preset, algorithm(name), preset).values
            assert found == {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
            if preset not in ("book", "paper", "sbx"):
                assert presets.default_for(preset, name) == (preset if told else "defaults")


def test_the_preset_of_defaults_sets_nothing() -> None:
    assert presets.load("defaults", algorithm("tqc"), "Pendulum-v1").values == {}
    assert config("defaults", "sac") == algorithm("sac").Config()
    _, shown, said = call_cli("presets", "Acrobot-v1")
    assert "tqc on Acrobot-v1: preset defaults sets nothing, and the settings have their defaults" in shown
    assert "sac on Acrobot-v1: preset general " in shown
    assert said == "polyak: there is no preset for Acrobot-v1: a general one is in force\n"


def test_paper_has_the_sizes_of_tqc_s_authors() -> None:
    found = config("paper", "tqc", "Walker2d-v5")
    assert (found.critics, found.quantiles, found.dropped_quantiles) == (5, 25, 2)
    assert (found.hidden_sizes, found.critic_hidden_sizes) == ((256, 256), (512, 512, 512))
    assert config("paper", "tqc", "Hopper-v5").dropped_quantiles == 5
    assert config("paper", "tqc", "HalfCheetah-v5").dropped_quantiles == 0


def test_crossq_s_widths_are_presets() -> None:
    widths = {name: config(name, "crossq").critic_hidden_sizes for name in ("defaults", "sbx", "paper")}
    assert widths == {"defaults": None, "sbx": (1024, 1024), "paper": (2048, 2048)}
    assert {config(name, "crossq").hidden_sizes for name in widths} == {(256, 256)}
    assert config("paper", "crossq", "Swimmer-v5").discount == 0.9999


CHAPTER = {
    "steps": 5 * 4_000,
    "steps_per_epoch": 4_000,
    "replay_size": 1_000_000,
    "discount": 0.99,
    "polyak": 0.995,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "batch_size": 100,
    "evaluation_episodes": 10,
    "start_steps": 10_000,
    "update_after": 1_000,
    "update_every": 50,
    "updates_per_step": 1.0,
    "max_episode_steps": 1_000,
    "hidden_sizes": (256, 256),
    "exploration_correlation": 0.0,
}


@pytest.mark.parametrize(("environment", "half_range"), [("Pendulum-v1", 2.0), ("LunarLanderContinuous-v3", 1.0)])
def test_book_is_the_chapters_table(environment: str, half_range: float) -> None:
    exploration = {"exploration_noise": 0.1 / half_range}
    target = {"target_noise": 0.2 / half_range, "target_noise_clip": 0.5 / half_range, "policy_delay": 2}
    own_settings = {"ddpg": exploration, "td3": exploration | target, "sac": {"learn_alpha": False, "alpha": 0.2}}
    for algorithm_name, settings in own_settings.items():
        preset = presets.load("book", algorithm(algorithm_name), environment, lambda: half_range)
        assert preset.values == CHAPTER | settings


def test_book_noise_is_converted_to_a_fraction() -> None:
    assert config("book", "ddpg", "Pendulum-v1", 2.0).exploration_noise == 0.05
    assert config("book", "td3", "Pendulum-v1", 2.0).target_noise_clip == 0.25
    assert config("book", "ddpg", "LunarLanderContinuous-v3", 1.0).exploration_noise == 0.1
    shared = presets.load("book", algorithm("ddpg"), "Humanoid-v5", lambda: np.full(17, 0.4, np.float32))
    assert shared.values["exploration_noise"] == pytest.approx(0.25)


@pytest.mark.parametrize(("half_range", "named"), [([1.0, 2.0], "1, 2"), ([0.0], "0"), ([], "unknown")])
def test_noise_without_one_half_range_is_refused(half_range: list[float], named: str) -> None:
    with pytest.raises(UsageError, match=rf"exploration_noise .*Arm-v0's actions are {named}:"):
        presets.load("book", algorithm("ddpg"), "Arm-v0", lambda: half_range)
    presets.load("book", algorithm("sac"), "Arm-v0", lambda: half_range)  # has no noise to convert


def test_paper_expresses_ornstein_uhlenbeck_noise() -> None:
    settings = config("paper", "ddpg")
    assert settings.exploration_correlation == 1 - 0.15
    assert settings.exploration_noise == pytest.approx(0.2 / math.sqrt(1 - 0.85**2), rel=1e-5)


def test_paper_depends_on_the_environment_where_the_paper_does() -> None:
    assert config("paper", "td3", "Hopper-v5").start_steps == 1_000
    assert config("paper", "td3", "Ant-v5").start_steps == 10_000
    assert config("paper", "td3", "gymnasium:Ant-v5").start_steps == 10_000
    assert config("paper", "sac", "Ant-v5").start_steps == 1_000


def test_an_environments_own_values_come_last_and_follow_the_preset() -> None:
    assert config("HalfCheetah-v5", "sac").discount == 0.99
    assert config("Swimmer-v5", "sac").discount == 0.9999
    assert config("Swimmer-v5", "sac", "Hopper-v5").discount == 0.9999, "the preset's environment counts, not the run's"
    assert config("Hopper-v5", "sac", "Swimmer-v5").discount == 0.99


def test_unknown_preset_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match=r"'Pendulum-v0' \(did you mean 'Pendulum-v1'\?\)") as caught:
        presets.load("Pendulum-v0", algorithm("sac"), "Pendulum-v1", lambda: 2.0)
    assert all(name in str(caught.value) for name in presets.names())


def test_unknown_algorithm_is_refused() -> None:
    with pytest.raises(UsageError, match="tD4"):
        presets.load("book", algorithm("tD4"), "Pendulum-v1", lambda: 2.0)
    assert presets.load("book", algorithm("TD3"), "Pendulum-v1", lambda: 2.0).algorithm == "td3"


def test_own_file_with_plain_values(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        """
        steps = 1e5
        hidden_sizes = [64, 32]
        discount = 1
        max_episode_steps = 300
        alpha = { value = 0.3, source = "a hunch" }
        [sac]
        alpha = { value = 0.4, source = "sweep" }
        learn_alpha = false
        [only.Pendulum-v1.sac]
        batch_size = 32
        [sources]
        sweep = "my sweep of May"
        """,
    )
    preset = presets.load(path, algorithm("sac"), "Pendulum-v1")
    expected = {"steps": 100_000, "hidden_sizes": (64, 32), "discount": 1.0, "max_episode_steps": 300, "alpha": 0.4}
    assert preset.values == expected | {"learn_alpha": False, "batch_size": 32}
    assert isinstance(preset.values["steps"], int)
    assert isinstance(preset.values["discount"], float)
    assert preset.sources["alpha"] == "my sweep of May"
    assert path in preset.sources["steps"]
    assert "batch_size" not in presets.load(path, algorithm("sac"), "Hopper-v5").values


def test_own_file_may_hold_every_setting_that_a_run_has(tmp_path: Path) -> None:
    path = own(tmp_path, "network = 'layer_norm'\nlearning_rate_schedule = { value = 'cosine', source = 'mine' }")
    loaded = presets.load(path, algorithm("sac"), "Pendulum-v1")
    assert loaded.values == {"network": "layer_norm", "learning_rate_schedule": "cosine"}


def test_own_file_converts_noise_in_environment_units(tmp_path: Path) -> None:
    path = own(tmp_path, 'exploration_noise = { value = 1, unit = "environment" }')
    assert presets.load(path, algorithm("ddpg"), "Pendulum-v1", lambda: 2.0).values == {"exploration_noise": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 3", "batchsize is no setting of sac .did you mean 'batch_size'"),
        ("[scc]\nalpha = 1.0", "scc is no setting of sac .did you mean 'sac'"),
        ("policy_delay = 2", "policy_delay is no setting of sac"),
        ("steps = 1.5", "steps is 1.5, but must be of kind int"),
        ("steps = true", "steps is True, but must be of kind int"),
        ("steps = inf", "steps is inf"),
        ("learn_alpha = 1", "learn_alpha is 1, but must be of kind bool"),
        ("alpha = 'auto'", "alpha is 'auto', but must be of kind float"),
        ("hidden_sizes = 64", "hidden_sizes is 64"),
        ("hidden_sizes = [64, 0.5]", "hidden_sizes is 0.5"),
        ("sac = 3", "sac is 3, but must be a table"),
        ("alpha = { value = 1.0, from = 'x' }", "alpha is .* must have a value"),
        ("alpha = { source = 'x' }", "alpha is .* must have a value"),
        ("alpha = { value = 1.0, unit = 'environment' }", "alpha has unit 'environment'"),
        ("alpha = ", "cannot be read"),
        ("algorithms = 'sac'", "algorithms is 'sac', but must be a list among: "),
        ("algorithms = ['scc']", r"algorithms is \['scc'\], but must be a list among: .*sac"),
    ],
)
def test_own_file_with_a_mistake_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        presets.load(own(tmp_path, text), algorithm("sac"), "Pendulum-v1", lambda: 2.0)
    assert "own.toml" in str(caught.value)


def test_own_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        presets.load(str(tmp_path / "missing.toml"), algorithm("sac"), "Pendulum-v1", lambda: 2.0)


# How many environments a run makes


class Counted(Tiny):
    """One of which each instance counts."""

    made = 0

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        Counted.made += 1


gymnasium.register("Counted-v0", entry_point=Counted)


def made() -> int:
    """Instances since the last look."""
    count, Counted.made = Counted.made, 0
    return count


def test_a_preset_in_environment_units_makes_no_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four: one trains, one evaluates, two are the probe's; the half-range is asked of the one that trains.

    With --seeds each child is such a run; this process makes one, which says how much memory the replays need.
    """
    polyak.train("ddpg", "Counted-v0", preset="book", run_dir=tmp_path, **UNTRAINED)
    assert made() == 4
    polyak.train("ddpg", "Counted-v0", preset="book", probe=False, run_dir=tmp_path, **UNTRAINED)
    assert made() == 2
    words = ["train", "ddpg", "Counted-v0", "--preset", "book", *OPTIONS, "--update-after", "1000"]
    assert call_cli(*words, "--run-dir", str(tmp_path))[0] == 0
    assert made() == 4
    runs = [polyak.load(file.parent) for file in tmp_path.rglob("settings.json")]
    noises = [run.settings["settings"]["exploration_noise"] for run in runs]
    assert noises == [0.05] * 3  # 0.1 of an action in [-1, 3]
    monkeypatch.setattr(sweep, "run", lambda jobs, **_: [])
    assert call_cli(*words, "--run-dir", str(tmp_path), "--seeds", "0,1")[0] == 0
    assert made() == 1


def test_noise_on_the_command_line_is_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the number that the preset has in environment units; and so are the defaults that the help shows."""
    monkeypatch.setenv("COLUMNS", "300")
    plan = request.parse("td3", TINY, ["--preset", "book", "--exploration_noise=0.1"]).plan.with_fractions([2.0])
    noises = {name: value for name, value in vars(plan.config).items() if "noise" in name}
    assert noises == {"exploration_noise": 0.1, "target_noise": 0.1, "target_noise_clip": 0.25}
    code, shown, _ = call_cli("train", "td3", TINY, "--preset", "book", "--help")
    assert code == 0
    assert "(default: 0.25)" in shown  # and not the 0.5 of environment units
