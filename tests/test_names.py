"""Names from elsewhere, numbers as people write them, and help that reads well: in Python and on the command line."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak.algorithms import NAMES, algorithm
from polyak.cli import COMMANDS
from polyak.cli.lesson import COMMANDS as LESSONS
from polyak.cli.parsing import whole
from polyak.errors import UsageError
from polyak.run.plan import BESIDE
from polyak.settings.names import ELSEWHERE, hint, nearest
from polyak.settings.options import KINDS
from tiny_cli import TINY, call_cli

SETTINGS = {field.name for name in NAMES for field in dataclasses.fields(algorithm(name).Config)}
PENDULUM = ("train", "sac", "Pendulum-v1")
NOTHING = ("--envs", "0")
"""So that a command line that is read is refused after all, and nothing is trained."""


def refused(*arguments: str) -> str:
    code, output, errors = call_cli(*arguments)
    assert (code, output) == (2, "")
    return errors.removeprefix("polyak: ").strip()


# The table


def test_the_table_leads_to_what_there_is() -> None:
    ours = {name for each in ELSEWHERE.values() for name in each.names}
    assert ours <= SETTINGS | set(KINDS) | set(BESIDE) | set(COMMANDS) | {"episodes", "plain"} | {
        "trials",
        "jobs",
        "study",
    }
    assert not ELSEWHERE.keys() & (SETTINGS | set(KINDS) | set(BESIDE) | set(COMMANDS))  # what polyak has has its name


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        ("gamma", "polyak calls it discount"),
        ("tau", "polyak calls it polyak, which is 1 - tau: tau 0.005 is polyak 0.995"),
        ("buffer_size", "polyak calls it replay_size"),
        ("learning_starts", "polyak calls it update_after and start_steps: no gradient step"),
        ("total_timesteps n_timesteps", "polyak calls it steps"),
        ("epochs", "polyak calls it steps, which counts all of them"),
        ("train_freq", "polyak calls it update_every"),
        ("gradient_steps", "polyak calls it updates_per_step"),
        ("ent_coef", "polyak calls it alpha and learn_alpha: 'auto' is learn_alpha"),
        ("autotune", "polyak calls it learn_alpha"),
        ("n_steps nstep", "polyak calls it n_step"),
        ("lr learning_rate", "polyak calls it actor_learning_rate, critic_learning_rate and alpha_learning_rate"),
        ("policy_lr pi_lr", "polyak calls it actor_learning_rate"),
        ("q_lr", "polyak calls it critic_learning_rate"),
        ("net_arch hid", "polyak calls it hidden_sizes"),
        ("policy_kwargs ac_kwargs", "polyak calls it hidden_sizes, activation and network"),
        ("policy_frequency", "polyak calls it policy_delay, which sac does not take"),
        ("target_policy_noise", "polyak calls it target_noise, which sac does not take"),
        ("noise_clip", "polyak calls it target_noise_clip, which sac does not take"),
        ("action_noise act_noise", "polyak calls it exploration_noise, which sac does not take"),
        ("n_envs num_envs", "polyak calls it envs"),
        ("env_id", "polyak calls it environment"),
        ("verbose", "polyak calls it progress"),
        ("env_kwargs", "polyak calls it environment_settings"),
        ("tensorboard_log", "polyak calls it run_dir: TensorBoard's events are always"),
        ("eval_freq", "polyak calls it steps_per_epoch"),
        ("n_eval_episodes num_test_episodes", "polyak calls it evaluation_episodes"),
        ("max_ep_len", "polyak calls it max_episode_steps"),
        ("save_freq", "polyak calls it checkpoint_every"),
        ("use_sde", "polyak has no state-dependent exploration"),
        ("batch_sise", "did you mean 'batch_size'?"),
        ("theads", "did you mean 'threads'?"),
        ("total_timestep", "polyak calls it steps"),
        ("hidden", "did you mean 'hidden_sizes'?"),
        ("learn", "it has steps, "),  # two begin so
        ("temperatur_of_the_bath", "it has steps, "),
    ],
)
def test_python_answers_names_from_elsewhere(names: str, answer: str, tmp_path: Path) -> None:
    given: dict[str, Any]
    for given in ({name: 1} for name in names.split()):
        with pytest.raises(UsageError) as refusal:
            polyak.train("sac", TINY, run_dir=tmp_path, **given)
        assert str(refusal.value).startswith(f"sac has no setting {next(iter(given))!r}: {answer}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*PENDULUM, "--gamma", "0.9"), "train has no --gamma: polyak calls it --discount"),
        ((*PENDULUM, "--tau=0.005"), "train has no --tau: polyak calls it --polyak, which is 1 - tau"),
        ((*PENDULUM, "--learning_rate", "1"), "train has no --learning_rate: polyak calls it --actor-learning-rate, "),
        ((*PENDULUM, "--env-id", "x"), "train has no --env-id: polyak calls it ENVIRONMENT"),
        ((*PENDULUM, "--policy-frequency", "2"), "polyak calls it --policy-delay, which sac does not take"),
        (("train", "td3", *PENDULUM[2:], "--policy-frequency", "2"), "polyak calls it --policy-delay"),
        ((*PENDULUM, "--stepz", "4"), "train has no --stepz: did you mean '--steps'?"),
        ((*PENDULUM, "--from_run", "x"), "did you mean '--from'?"),
        ((*PENDULUM, "--foo"), "train has no --foo: `polyak train sac Pendulum-v1 --help` lists what there is"),
        ((*PENDULUM, "1e5"), "train takes no '1e5': `polyak train sac Pendulum-v1 --help` lists what it takes"),
        ((*PENDULUM, "--gamma", "0.9", "--steps", "x"), "train has no --gamma"),  # before what else is wrong
        (("evaluate", "--n_eval_episodes", "3"), "evaluate has no --n_eval_episodes: polyak calls it --episodes"),
        (("evaluate", "a", "b"), "evaluate takes no 'b'"),
        (("drive", "x", "--threads", "1"), "drive has no --threads: `polyak drive --help` lists what there is"),
        (("evaluate", "x", "--policy-delay", "2"), "evaluate has no --policy-delay: `polyak evaluate --help` lists"),
        (("resume", "x", "--total-timesteps", "9"), "resume has no --total-timesteps: polyak calls it --steps"),
        (("resume", "x", "--gamma", "0.9"), "polyak calls it --discount, which resume does not take"),
        (("resume", "x", "--no-fresh-environments"), "resume takes no '--no-fresh-environments'"),
        (("runs", "--foo"), "runs has no --foo"),
        ((*PENDULUM, "--out", "x"), "train has no --out: polyak calls it --run-dir"),
        (("report", "--logdir", "x"), "report has no --logdir: polyak calls it --run-dir"),
        (("lesson", "entropy", "--foo"), "lesson has no --foo: `polyak lesson entropy --help` lists"),
        (("enjoy",), "there is no command 'enjoy': polyak calls it watch, record and evaluate"),
        (("eval", "x"), "there is no command 'eval': did you mean 'evaluate'?"),
        (("train", "a2c", "Pendulum-v1"), "(polyak's are off-policy)"),
    ],
)
def test_the_command_line_answers_names_from_elsewhere(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(*arguments)


def test_a_whole_command_line_from_elsewhere_is_answered_at_once() -> None:
    assert refused(*PENDULUM, "--q-lr", "1e-3", "--batch-size", "64", "--learning-starts=5", "--what").splitlines() == [
        "train has none of these:",
        "  --q-lr: polyak calls it --critic-learning-rate",
        f"  --learning-starts: polyak calls it --update-after and --start-steps{ELSEWHERE['learning_starts'].note}",
        "  --what",
        "  `polyak train sac Pendulum-v1 --help` lists what there is",
    ]


def test_a_preset_s_file_is_answered_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("gamma = 0.9\n")
    with pytest.raises(UsageError, match=r"gamma is no setting of sac \(polyak calls it discount\)"):
        polyak.train("sac", TINY, preset=str(file), run_dir=tmp_path)


def test_near_is_near() -> None:
    assert nearest("sad", NAMES) == "sac"
    assert nearest("target_entropi", ["target_noise", "target_entropy"]) == "target_entropy"
    assert hint("target_entropy", ["target_noise", "target_noise_clip"], "td3") == ""
    assert nearest("upd", ["update_every"]) is None


@pytest.mark.parametrize("word", ["std", "obs", "ent", "port", "time", "huber", "note", "workers"])
def test_a_word_is_not_answered_with_what_others_call_something_else(word: str) -> None:
    assert hint(word, [], "train") == ""


# Numbers


@pytest.mark.parametrize(
    ("text", "number"), [("100000", 10**5), ("100_000", 10**5), ("1e5", 10**5), ("2.5E3", 2500), ("-1", -1), ("1.0", 1)]
)
def test_whole_numbers_as_people_write_them(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize("text", ["", "abc", "1.5", "nan", "inf", "1e-1", "1e999999999", "100k", "100,000", "0x10"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r} is no whole number: write it as 100000, 100_000 or 1e5")):
        whole(text)


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (("256,0",), "(256, 0)"),
        (("256,", "0"), "(256, 0)"),
        (("2_56", "0", "8"), "(256, 0, 8)"),
        (("0,",), "(0,)"),
        ((), "()"),
    ],
)
def test_widths_have_commas_or_blanks_between_them(words: tuple[str, ...], sizes: str) -> None:
    assert refused(*PENDULUM, "--hidden-sizes", *words).startswith(f"hidden_sizes is {sizes}, but must be")


def test_counts_of_all_commands_are_read_alike() -> None:
    assert refused(*PENDULUM, "--steps", "1e5", "--jobs", "2e0", *NOTHING).startswith("envs is 0")
    assert refused(*PENDULUM, "--max-episode-steps", "None", *NOTHING).startswith("envs is 0")
    assert refused(*PENDULUM, "--steps", "-1e2").startswith("steps is -100, but must be at least 0")
    assert "is no whole number: write" in refused("evaluate", "x", "--episodes", "ten")
    assert "is not a run" in refused("evaluate", "no/where", "--episodes", "1e1")


# Help


def test_help_reads_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    calls = [PENDULUM, *((name,) for name in COMMANDS if name != "train"), *(("lesson", name) for name in LESSONS)]
    for call in calls:
        code, text, _ = call_cli(*call, "--help")
        assert code == 0
        assert not re.search(r"\{None|None\}|\(default: (None)?\)|\[\w+ \[", text), call
    _, text, _ = call_cli(*PENDULUM, "--help")
    for line in ("--threads INT ", "--hidden-sizes INT ... ", "--track {wandb,mlflow} ... ", "(default: 64 64)"):
        assert line in text


def test_every_command_is_read_in_one_place() -> None:
    files = Path(polyak.__file__).parent.rglob("*.py")
    assert [file.name for file in files if "tyro.cli" in file.read_text(encoding="utf-8")] == ["parsing.py"]


# Presets


def test_presets_of_an_unknown_environment_say_that_there_are_none() -> None:
    none, general = "polyak: there is no preset for", "a general one is in force\n"
    for name, said in (
        ("Pendulm-v1", f"{none} Pendulm-v1 (did you mean Pendulum-v1?): {general}"),
        ("tiny_cli:Tiny-v0", f"{none} tiny_cli:Tiny-v0: {general}"),
        ("Pendulum-v1", ""),
    ):
        code, shown, errors = call_cli("presets", name)
        assert (code, errors) == (0, said)
        assert "batch_size" in shown
    assert call_cli("presets", "Pendulm-v1", "--preset", "paper")[2] == ""
