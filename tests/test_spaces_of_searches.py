"""Search spaces: those that polyak has fit its algorithms; a user's own is checked at the door."""

import re
import tomllib
from pathlib import Path

import pytest

from polyak import UsageError
from polyak.algorithms import NAMES, algorithm
from polyak.many.tune import asked, study
from polyak.many.words import given_in, option_words, passed_on, words_of
from polyak.settings import spaces
from searches import search
from test_imports import SOURCE
from tiny_cli import call_cli

OWN = """
from dataclasses import dataclass, replace
from typing import Annotated
from polyak.settings.kinds import Limit
from polyak.algorithms.ddpg import ALGORITHM as DDPG, Config as Base

@dataclass(frozen=True, kw_only=True)
class Config(Base):
    strength: float = 0.5
    \"\"\"How strong it is.\"\"\"

ALGORITHM = replace(DDPG, Config=Config)
"""
NARROW = "polyak: Annotated[float, Limit('nothing but 0', lambda value: value == 0)] = 0.0"


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_has_a_space_that_it_can_be_trained_in(name: str, tmp_path: Path) -> None:
    found = algorithm(name)
    space = spaces.load(found)
    assert len(space) >= 4
    assert all(each.source for each in space)
    shown = spaces.written(found)
    assert spaces.load(found, own(tmp_path, shown)) == space
    made = search(tmp_path, name, toml=shown)
    assert made.config.update_after == 1024
    assert "--update-after=1024" in made.words


def test_shipped_spaces_are_of_algorithms_and_hold_what_these_have() -> None:
    files = {path.stem: tomllib.loads(path.read_text()) for path in (SOURCE / "settings/spaces").glob("*.toml")}
    assert files.keys() <= {*NAMES, "shared"}
    for name, document in files.items():
        for entry, table in document.items():
            if name != "shared" and entry != "sources":
                fields = algorithm(name).Config.__dataclass_fields__
                assert set(table.get("settings", [entry])) <= fields.keys()
                assert table["source"] in document["sources"]


def test_what_a_study_draws_is_within_the_space(tmp_path: Path) -> None:
    text = """
    rate = { settings = ["actor_learning_rate", "critic_learning_rate"], low = 1e-4, high = 1e-2, scale = "log" }
    discount = { low = 0.9, high = 0.999, scale = "log of 1 - value" }
    n_step = { low = 1, high = 3 }
    network = { choices = ["mlp", "layer_norm"] }
    hidden_sizes = { choices = [[64, 64], [8]] }
    """
    made = search(tmp_path, toml=text, storage=str(tmp_path / "study.journal"), words=("--backend=torch",))
    trials = study.Trials(
        study.begun(made.storage, made.study, made.described()), made.space, made.budget, "random", "none"
    )
    drawn = [study.settings_of(made.space, study.drawn(made.space, trials.ask().params)) for _ in range(40)]
    assert all(each["actor_learning_rate"] == each["critic_learning_rate"] for each in drawn)
    assert all(1e-4 <= each["actor_learning_rate"] <= 1e-2 for each in drawn)
    assert all(0.9 <= each["discount"] <= 0.999 for each in drawn)
    assert sum(each["discount"] > 0.99 for each in drawn) > 10  # by its logarithm: half are above 0.99
    assert {each["n_step"] for each in drawn} == {1, 2, 3}
    assert {each["network"] for each in drawn} == {"mlp", "layer_norm"}
    assert {each["hidden_sizes"] for each in drawn} == {(64, 64), (8,)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batchsize = { choices = [1] }", "batchsize is no setting of ddpg (did you mean 'batch_size'?)"),
        ("gamma = { low = 0.9, high = 0.99 }", "gamma is no setting of ddpg (polyak calls it discount)"),
        ("steps = { choices = [100, 200] }", "steps cannot be searched, because it is what every trial may cost"),
        ("discount = { low = 0.9, high = 1.5 }", "discount: high is 1.5, but must be in [0, 1]"),
        ("discount = { low = 0.99, high = 0.9 }", "discount is from 0.99 to 0.9, but low must be below high"),
        ("discount = { low = 0.9 }", "discount is {'low': 0.9}, but must have choices, or low and high"),
        ("discount = { low = 0.9, high = 1.0, scale = 'log of 1 - value' }", "is for numbers below 1"),
        ("weight_decay = { low = 0.0, high = 0.1, scale = 'log' }", "begins at 0, but a scale of log"),
        ("discount = { low = 0.9, high = 0.99, scale = 'square' }", "has scale 'square'"),
        ("discount = 0.9", "discount is 0.9, but must be a table"),
        ("discount = { value = 0.9 }", "must be a table with choices"),
        ("batch_size = { choices = [64, 0] }", "batch_size is 0, but must be at least 1"),
        ("batch_size = { choices = [64.5] }", "batch_size is 64.5, but must be a whole number"),
        ("batch_size = { choices = [] }", "batch_size has choices []"),
        ("batch_size = { choices = [64, 64] }", "must have each once"),
        ("batch_size = { choices = [64], low = 1, high = 2 }", "it is the one or the other"),
        ("hidden_sizes = { low = 1, high = 2 }", "hidden_sizes is no number: give choices"),
        ("network = { choices = ['cnn'] }", "network is 'cnn', but must be mlp, layer_norm"),
        ("rate = { settings = [], low = 1.0, high = 2.0 }", "rate has settings []"),
        ("a = { settings = ['discount'], choices = [0.9] }\ndiscount = { choices = [0.8] }", "discount is drawn twice"),
        ("discount = ", "cannot be read"),
        ("", "there is nothing to search"),
    ],
)
def test_a_space_with_a_mistake_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        search(tmp_path, toml=text)


def test_what_is_given_is_not_searched(tmp_path: Path) -> None:
    text = 'rate = { settings = ["actor_learning_rate", "critic_learning_rate"], choices = [0.1, 0.2] }'
    made = search(tmp_path, toml=text, given=("actor_learning_rate",))
    assert [each.settings for each in made.space] == [("critic_learning_rate",)]
    with pytest.raises(UsageError, match="every setting of the space is given"):
        search(tmp_path, toml=text, given=("actor_learning_rate", "critic_learning_rate"))


def test_what_cannot_be_trained_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch_size may be 64, but then update_after is 8, but must be at least"):
        search(tmp_path, toml="batch_size = { choices = [4, 64] }", given=("update_after",))


def test_a_users_own_algorithm_is_searched_by_its_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "searched_algorithm.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = search(tmp_path, "searched_algorithm", toml="strength = { low = 0.1, high = 1.0 }")
    assert [each.name for each in made.space] == ["strength"]
    (tmp_path / "narrow_algorithm.py").write_text(OWN.replace("strength: float = 0.5", NARROW))
    assert "polyak" not in {each.name for each in spaces.load(algorithm("narrow_algorithm"))}
    shared = {name for each in spaces.load(algorithm("searched_algorithm")) for name in each.settings}
    assert {"actor_learning_rate", "discount", "exploration_noise"} <= shared
    assert "alpha_learning_rate" not in shared


def test_settings_are_words_that_the_command_line_reads() -> None:
    values = {"discount": 1e-05, "hidden_sizes": (8, 4), "learn_alpha": False, "steps": 3, "target_entropy": -2.0}
    assert words_of(values) == [
        *("--discount=1e-05", "--hidden-sizes=8,4", "--no-learn-alpha", "--steps=3", "--target-entropy=-2.0")
    ]
    assert given_in(["--no-learn-alpha", "--batch_size=3"], ["learn_alpha", "batch_size", "alpha"]) == [
        "learn_alpha",
        "batch_size",
    ]
    assert passed_on(["--seeds", "0", "--envs", "2", "--seed=1"], ["--seeds", "--seed"]) == ["--envs", "2"]


def test_options_are_words_by_their_flags() -> None:
    given = {
        "environment_settings": {"g": 5.0, "name": "x"},
        "wrappers": ("a:B", "a:C"),
        "track": ("wandb", "mlflow"),
        "from_run": Path("old"),
        "fast": False,
        "stop_at_return": None,
        "callbacks": (),
    }
    assert option_words(given) == [
        *("--env-setting=g=5.0", '--env-setting=name="x"', "--wrapper=a:B", "--wrapper=a:C"),
        *("--track", "wandb", "mlflow", "--from=old", "--no-fast"),
    ]


def test_a_studys_name_is_a_folders() -> None:
    assert asked.named(None, "my.alg", "my_env:A/B-v0") == "my.alg-my_env_A_B-v0"
    for name in ("..", "a/b", ""):
        with pytest.raises(UsageError, match="since a folder is called so"):
            asked.named(name, "sac", "E-v0")


def test_show_space_prints_what_space_takes(tmp_path: Path) -> None:
    code, output, _ = call_cli("tune", "--show-space", "sac")
    assert code == 0
    assert spaces.load(algorithm("sac"), own(tmp_path, output)) == spaces.load(algorithm("sac"))
