"""The command line from end to end: what is on standard output, what a person reads, and the exit codes."""

import ast
import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import gymnasium
import pytest

import polyak
from polyak import Run, cli, load
from polyak.cli.output import warnings_in_one_line
from tiny_cli import COMMAND, PATIENCE, TINY, Tiny, call_cli, process_environment, run_cli, start_cli, untrained_run

SHORT = "--steps 60 --steps-per-epoch 30 --start-steps 20 --update-after 20 --update-every 10 --batch-size 8"
SMALL = f"{SHORT} --hidden-sizes 8 --evaluation-episodes 2 --replay-size 100".split()
UNTRAINED = [*SMALL, "--update-after", "1000"]  # no update: JAX compiles nothing

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def polyak_(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process: its exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # the parser's
            code = int(exit_.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str]:
    """A real training in a process of its own."""
    folder = tmp_path_factory.mktemp("runs")
    return run_cli("train", "sac", TINY, *SMALL, "--seed", "5", "--run-dir", str(folder))


@pytest.fixture(scope="module")
def trained(done: tuple[int, str, str]) -> Run:
    return load(done[1].rstrip("\n"))


# train


def test_train_prints_the_folder_alone_on_standard_output(done: tuple[int, str, str]) -> None:
    code, output, errors = done
    assert code == 0, errors
    run = load(output.removesuffix("\n"))
    assert output.count("\n") == 1
    assert run.folder.parent.name == "sac"
    assert run.settings["seed"] == 5
    assert run.settings["settings"]["hidden_sizes"] == [8]
    assert [record["step"] for record in run.metrics] == [30, 60]
    assert run.metrics[-1]["learner/updates"] == 50  # 10 each at 20, 30, ..., 60
    assert {path.name for path in run.folder.iterdir()} == {
        "settings.json",
        "metrics.jsonl",
        "policy.safetensors",
        "best.safetensors",
        "checkpoints",
        "tensorboard",
        "ending.json",
        ".lock",
    }


def test_train_computes_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--backend", "torch", "--device", "cpu", "--no-fast", "--threads", "1", "--run-dir", str(tmp_path))
    assert cli.main(["train", "sac", TINY, *SMALL, *asked]) == 0
    captured = capsys.readouterr()
    settings = load(captured.out.rstrip("\n")).settings
    told = {name: settings[name] for name in ("backend", "device", "fast", "threads")}
    assert told == {"backend": "torch", "device": "cpu", "fast": False, "threads": 1}
    assert "torch on cpu, 1 thread, plain" in captured.err


def test_train_writes_plain_lines_where_standard_error_is_no_terminal(done: tuple[int, str, str]) -> None:
    _, _, errors = done
    lines = errors.splitlines()
    assert lines[0] == f"SAC on {TINY}, seed 5"
    for fact in ("preset", "backend", "replay", "environments", "updates", "folder"):
        assert any(line.split()[0] == fact for line in lines), fact
    assert "replay will use 3.6 kB" in errors  # 100 x (2 x 2 + 1 + 2) x 4 bytes
    assert [line.split()[1] for line in lines if line.startswith("step ")] == ["30/60", "60/60"]
    assert re.fullmatch(r"done after 60 steps; best evaluation -?[\d.]+ at step (30|60)", lines[-1])
    assert "\x1b" not in errors
    assert "Warning" not in errors


def on_terminal(stream: str, columns: int, *arguments: str, **options: Any) -> tuple[int, str, str]:
    """Run a command with one of its streams on a terminal: exit code, what the terminal got, the other's text."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (40, columns))
    environment = process_environment() | {"TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = start_cli(*arguments, env=environment, **{stream: end}, **options)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while block := os.read(terminal, 65_536):
            shown += block
    output, errors = process.communicate(timeout=PATIENCE)
    os.close(terminal)
    return process.returncode, shown.decode().replace("\r\n", "\n"), output or errors or ""


def test_live_view_on_a_terminal(tmp_path: Path) -> None:
    code, shown, output = on_terminal("stderr", 100, "train", "ddpg", TINY, *UNTRAINED, "--run-dir", str(tmp_path))
    assert code == 0
    assert output == f"{load(output.rstrip()).folder}\n"
    last = shown.rpartition("\x1b[2K")[2]
    assert "60 of 60 steps" in last
    assert "left" not in last
    assert "eval return" in last
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor comes back
    assert shown.rstrip().splitlines()[-1].startswith("\x1b[?25hdone after 60 steps; nothing is learned")


def test_more_environments_side_by_side(polyak_: Command, tmp_path: Path) -> None:
    code, output, errors = polyak_("train", "ddpg", TINY, *UNTRAINED, "--envs", 2, "--run-dir", tmp_path)
    assert code == 0, errors
    run = load(output.rstrip())
    assert run.settings["envs"] == 2
    assert [record["train/episodes"] for record in run.metrics] == [6, 6]


def test_preset_by_name(polyak_: Command, tmp_path: Path) -> None:
    steps = ["--steps", "40", "--steps-per-epoch", "40", "--evaluation-episodes", "1", "--max-episode-steps", "20"]
    code, output, errors = polyak_("train", "ddpg", "Pendulum-v1", "--preset", "book", *steps, "--run-dir", tmp_path)
    assert code == 0, errors
    settings = load(output.rstrip()).settings
    assert settings["preset"] == "book"
    assert settings["settings"]["exploration_noise"] == pytest.approx(0.05)
    assert (settings["settings"]["update_every"], settings["settings"]["max_episode_steps"]) == (50, 20)


@pytest.mark.parametrize("form", [["--preset", "{}"], ["--preset={}"]])
def test_preset_from_a_file(form: list[str], polyak_: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("discount = 0.5\nbatch_size = 16\n[ddpg]\nexploration_noise = 0.75\n")
    preset = [part.format(file) for part in form]
    code, output, errors = polyak_("train", "ddpg", TINY, *UNTRAINED, *preset, "--run-dir", tmp_path)
    assert code == 0, errors
    settings = load(output.rstrip()).settings["settings"]
    assert (settings["discount"], settings["exploration_noise"], settings["batch_size"]) == (0.5, 0.75, 8)


def test_help_of_train_shows_the_presets_values(polyak_: Command) -> None:
    code, output, _ = polyak_("train", "ddpg", "Pendulum-v1", "--preset", "book", "--help")
    assert code == 0
    assert "Preset in force: book" in output
    text = re.sub(r"[\s│]+", " ", output)
    assert "--batch-size INT Transitions in the batch of one gradient step. (default: 100)" in text
    code, output, _ = polyak_("train", "--help")
    assert (code, output.split()[:2]) == (0, ["usage:", "polyak"])
    assert polyak_("train", "sac", "--help")[0] == 0


def test_stop_at_return(polyak_: Command, tmp_path: Path) -> None:
    code, output, errors = polyak_("train", "ddpg", TINY, *UNTRAINED, "--stop-at-return", "-100", "--run-dir", tmp_path)
    assert code == 0
    assert [record["step"] for record in load(output.rstrip()).metrics] == [30]
    assert re.search(r"^reached an evaluation return of .* \(asked for -100\) after 30 steps", errors, re.MULTILINE)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_what_an_environment_prints_stays_off_the_terminal(vectorization: str, tmp_path: Path) -> None:
    options = ["--vectorization", vectorization, "--run-dir", str(tmp_path)]
    code, output, errors = run_cli("train", "ddpg", "tiny_cli:Prints-v0", *UNTRAINED, *options)
    assert code == 0, errors
    folder = load(output.removesuffix("\n")).folder
    assert "the environment prints" not in errors
    assert "the environment prints" in (folder / "environment.log").read_text()


def test_environment_that_raises_shows_its_own_traceback_and_one_clear_line(polyak_: Command, tmp_path: Path) -> None:
    code, output, errors = polyak_("train", "ddpg", "tiny_cli:Raises-v0", *UNTRAINED, "--run-dir", tmp_path)
    assert code == 1
    assert load(output.rstrip()).policy.finite()
    assert "RuntimeError: the simulator broke" in errors
    assert errors.splitlines()[-1].startswith("polyak: the environment raised RuntimeError after 24 environment steps")
    assert errors.count("Traceback") == 1


# evaluate, record, report, runs, presets


def test_evaluate_lists_episodes_and_their_mean(polyak_: Command, trained: Run) -> None:
    code, output, errors = polyak_("evaluate", trained.folder, "--episodes", 3, "--seed", 9)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    expected = trained.evaluate(3, seed=9)
    assert len(lines) == 4
    assert [float(line.split()[3]) for line in lines[:3]] == pytest.approx(expected.returns, abs=0.006)
    assert [int(line.split()[-1]) for line in lines[:3]] == [5, 5, 5]
    assert lines[3] == f"mean {expected.mean:.2f}  std {expected.std:.2f}  over 3 episodes, seed 9"


def test_evaluate_json(polyak_: Command, trained: Run) -> None:
    code, output, errors = polyak_("evaluate", trained.folder, "--json", "--episodes", 4, "--best")
    assert (code, errors) == (0, "")
    assert output.count("\n") == 1
    result = json.loads(output)
    assert list(result) == ["mean", "std", "returns", "lengths", "seed"]
    assert (len(result["returns"]), result["lengths"], result["seed"]) == (4, [5] * 4, 0)
    assert result["mean"] == pytest.approx(sum(result["returns"]) / 4)
    assert result["returns"] == list(trained.evaluate(4, best=True).returns)


def test_actions_are_drawn_and_the_policy_chosen_where_that_is_asked(
    polyak_: Command, trained: Run, tmp_path: Path
) -> None:
    code, output, _ = polyak_("evaluate", trained.folder, "--stochastic", "--policy", "best", "--episodes", 2)
    expected = trained.evaluate(2, best=True, deterministic=False)
    assert code == 0
    assert output.endswith(
        f"mean {expected.mean:.2f}  std {expected.std:.2f}  over 2 episodes, seed 0, actions drawn\n"
    )
    film = tmp_path / "film.mp4"
    code, output, errors = polyak_("record", trained.folder, "--steps", 7, "--stochastic", "--output", film)
    seen = trained.evaluate(1, deterministic=False).returns[0]
    assert (code, output) == (0, f"{film}\n")
    assert errors.startswith(f"returns: {seen:.1f}, ")
    code, _, errors = polyak_("record", trained.folder, "--output", tmp_path / "nowhere" / "film.mp4")
    assert code == 2
    assert "there is no folder" in errors


@pytest.mark.parametrize("command", [["evaluate", "--json"], ["record"]])
def test_output_for_programs_is_not_mixed_with_what_environments_print(
    command: list[str], polyak_: Command, trained: Run, tmp_path: Path
) -> None:
    name, *options = command
    output_file = ["--output", str(tmp_path / "film.mp4")] * (name == "record")
    _, output, errors = polyak_(name, trained.folder, *options, "--environment", "tiny_cli:Prints-v0", *output_file)
    assert output.count("\n") == 1
    assert "the environment prints" in errors


def test_record_prints_the_path_of_a_video(polyak_: Command, trained: Run) -> None:
    code, output, errors = polyak_("record", trained.folder, "--episodes", 2, "--seed", 1)
    assert code == 0
    path = Path(output.removesuffix("\n"))
    assert path == trained.videos / "policy-seed1.mp4"
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 12
    assert (frames[0].width, frames[0].height) == (64, 40)
    *progress, last = errors.splitlines()  # where it took more than a moment
    assert all(line.startswith("recording episode ") for line in progress)
    returns = [float(value) for value in last.removeprefix("returns: ").split(", ")]
    assert returns == pytest.approx(trained.evaluate(2, seed=1).returns, abs=0.06)


def test_report_prints_the_path_of_a_page(polyak_: Command, trained: Run, tmp_path: Path) -> None:
    code, output, _ = polyak_("report", trained.folder)
    assert (code, output) == (0, f"{trained.report_file}\n")
    assert "Plotly.react" in trained.report_file.read_text()
    code, output, _ = polyak_("report", trained.folder, "-o", tmp_path / "page.html")
    assert (code, output) == (0, f"{tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_runs_lists_every_run_with_its_whole_folder(polyak_: Command, tmp_path: Path) -> None:
    first = untrained_run(tmp_path / "some" / "[old] runs", seed=11)
    second = untrained_run(tmp_path / "some", seed=12)
    code, output, _ = polyak_("runs", tmp_path / "some")
    assert code == 0
    for run in (first, second):
        (line,) = (line for line in output.splitlines() if str(run.folder.relative_to(tmp_path / "some")) in line)
        evaluated = [record["eval/return"] for record in run.metrics]
        for shown in ("general", "40 of 40", f"{evaluated[-1]:.1f}", f"{max(evaluated):.1f}"):
            assert shown in line


def test_runs_cuts_nothing_on_a_narrow_terminal(trained: Run) -> None:
    folder = trained.folder.parents[2]
    code, shown, _ = on_terminal("stdout", 60, "runs", str(folder))
    assert code == 0
    assert str(trained.folder.relative_to(folder)) in shown  # in one piece, to be copied
    assert "60 of 60" in shown
    assert f"{trained.metrics[-1]['eval/return']:.1f}" in shown


def test_runs_lists_what_it_cannot_read(polyak_: Command, tmp_path: Path) -> None:
    good = untrained_run(tmp_path)
    for name, content in {"a": "{", "b": '{"format": 1, "environment": "E"}', "c": '{"format": 9}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(content)
    cut = untrained_run(tmp_path, seed=2)
    cut.metrics_file.write_text("{\n{}\n")
    code, output, _ = polyak_("runs", tmp_path)
    assert code == 0
    assert output.count("cannot be read") == 4
    assert good.folder.name in output


def test_runs_of_an_empty_folder_says_how_to_make_one(polyak_: Command, tmp_path: Path) -> None:
    code, output, _ = polyak_("runs", tmp_path)
    assert code == 0
    assert output == f"no runs in {tmp_path}: polyak train sac Pendulum-v1 makes one\n"


def test_presets_are_listed(polyak_: Command) -> None:
    code, output, _ = polyak_("presets")
    assert code == 0
    assert output.split()[:2] == ["verified", "return"]
    assert all(name in output for name in ("Pendulum-v1", "LunarLanderContinuous-v3", "HalfCheetah-v5", "book"))


def test_presets_shows_every_value_with_its_source(polyak_: Command) -> None:
    code, output, _ = polyak_("presets", "Pendulum-v1", "--preset", "book")
    assert code == 0
    for algorithm in ("ddpg", "td3", "sac"):
        assert f"{algorithm} on Pendulum-v1: preset book" in output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    noises = [row for row in rows if row[0] == "exploration_noise"]
    assert len(noises) == 2
    assert all(row[1] == "0.05" and "the chapter" in row[2] for row in noises)


# The door


def test_help_lists_commands_and_imports_nothing_heavy() -> None:
    program = """
import sys
from polyak.cli import main
code = main(["--help"])
heavy = {"jax", "gymnasium", "matplotlib", "tyro", "rich", "av", "numpy"} & set(sys.modules)
print(code, sorted(heavy))
"""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, env=process_environment(), check=True, capture_output=True, text=True).stdout
    assert output.splitlines()[-1] == "0 []"
    assert output.startswith("usage: polyak COMMAND")
    for name in ("train", "compare", "evaluate", "record", "report", "runs", "presets", "doctor"):
        assert re.search(rf"^  {name} ", output, re.MULTILINE)


def test_every_listed_command_has_its_help(polyak_: Command) -> None:
    for name in cli.COMMANDS:
        code, output, _ = polyak_(name, "--help")
        assert code == 0
        assert f"usage: polyak {name}" in output


def test_version(polyak_: Command) -> None:
    assert polyak_("--version") == polyak_("-V") == (0, f"polyak {polyak.__version__}\n", "")


def test_no_command_shows_the_help_and_fails(polyak_: Command) -> None:
    code, output, errors = polyak_()
    assert code == 2
    assert "usage: polyak COMMAND" in output + errors


TRAIN = ("train", "sac", "Pendulum-v1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tarin",), "there is no command 'tarin': did you mean 'train'?"),
        (("frobnicate",), "`polyak --help` lists them"),
        (("train",), "train needs ALGORITHM ENVIRONMENT first"),
        (("train", "sac"), "train needs ALGORITHM ENVIRONMENT first"),
        (("train", "--seed", "1", "sac", "Pendulum-v1"), "train needs ALGORITHM ENVIRONMENT first"),
        (("train", "sacc", "Pendulum-v1"), "Did you mean 'sac'?"),
        (("train", "sac", "Pendulm-v1"), "unknown environment 'Pendulm-v1'. Did you mean Pendulum-v1"),
        (("train", "sac", "CartPole-v1"), "the action space is Discrete(2)"),
        (("train", "sac", "nomodule:X-v0"), "cannot import 'nomodule'"),
        (("train", "sac", "tiny_cli:Tiny-v1"), "Did you mean"),
        ((*TRAIN, "--preset", "bok"), "unknown preset 'bok' (did you mean 'book'?)"),
        ((*TRAIN, "--preset", "no/file.toml"), "preset no/file.toml cannot be read"),
        ((*TRAIN, "--preset"), "--preset needs a value"),
        ((*TRAIN, "--batch-size", "0"), "batch_size is 0, but must be at least 1"),
        ((*TRAIN, "--batch-size", "512"), "update_after is 256, but must be at least batch_size (512)"),
        ((*TRAIN, "--discount", "1.5"), "discount is 1.5, but must be in [0, 1]"),
        ((*TRAIN, "--seed", "-1"), "seed is -1, but must be at least 0"),
        ((*TRAIN, "--envs", "0"), "envs is 0, but must be at least 1"),
        ((*TRAIN, "--threads", "0"), "threads is 0, but must be at least 1"),
        ((*TRAIN, "--backend", "abacus"), "invalid choice 'abacus'"),
        ((*TRAIN, "--device", "cuda"), "sees no NVIDIA GPU"),
        ((*TRAIN, "--from", "nowhere"), "nowhere is not a run"),
        ((*TRAIN, "--from"), "--from needs a value"),
        ((*TRAIN, "--replay-size", "10000000000000"), "at most"),
        ((*TRAIN, "--batch-sise", "8"), "--batch-size"),
        ((*TRAIN, "--steps", "many"), "--steps"),
        (("train", "td3", "Pendulum-v1", "--alpha", "1"), "--alpha"),
        ((*TRAIN, "--seeds", "4-0"), "a range that ends before it begins: write 0-4"),
        (("compare", "sac"), "compare needs algorithms first, then --environments"),
        (("evaluate",), "required"),
        (("evaluate", "no/where"), "no/where is not a run"),
        (("record", "no/where"), "no/where is not a run"),
        (("report", "no/where"), "no/where is not a run"),
        (("runs", "no/where"), "there is no folder no/where"),
        (("presets", "Pendulum-v1", "--preset", "bok"), "unknown preset 'bok'"),
        (("doctor", "--wrong"), "--wrong"),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_code_2(
    arguments: tuple[str, ...], message: str, polyak_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = polyak_(*arguments)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
    assert output.startswith("usage:") or output == ""
    assert not list(tmp_path.iterdir())
    if errors.startswith("polyak:"):
        assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--episodes", "0", "episodes is 0, but must be at least 1"),
        ("--seed", "-1", "seed is -1, but must be at least 0"),
        ("--environment", "Pendulum-v1", "the environment has"),
        ("--environment", "Pendulum-v9", "unknown environment"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "record"])
def test_wrong_options_about_a_run(
    command: str, option: str, value: str, message: str, polyak_: Command, trained: Run
) -> None:
    code, output, errors = polyak_(command, trained.folder, option, value)
    assert (code, output) == (2, "")
    assert message in errors


def test_run_folder_that_cannot_be_written(polyak_: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output, errors = polyak_("train", "ddpg", TINY, *UNTRAINED, "--run-dir", tmp_path / "file")
    assert (code, output) == (2, "")
    assert "choose another with --run-dir" in errors


@pytest.mark.parametrize("output", ["file/made.mp4", "folder"])
@pytest.mark.parametrize("command", ["record", "report"])
def test_output_that_cannot_be_written(
    command: str, output: str, polyak_: Command, trained: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    code, printed, errors = polyak_(command, trained.folder, "--output", tmp_path / output)
    assert (code, printed) == (2, "")
    assert str(tmp_path / output.partition("/")[0]) in errors


def test_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    read, write = os.pipe()
    os.close(read)
    process = start_cli("presets", stdout=write)
    os.close(write)
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""
    assert process.returncode == 1


def test_a_module_where_the_user_stands_is_found(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "import gymnasium\nfrom tiny_cli import Tiny\ngymnasium.register('Here-v0', Tiny, max_episode_steps=5)\n"
    )
    program = tmp_path / "bin" / "polyak"  # Python puts this folder on its path, not the one where the user stands
    program.parent.mkdir()
    program.write_text("import sys\nfrom polyak.cli import main\nsys.exit(main())\n")
    command = [sys.executable, program, "train", "ddpg", "here:Here-v0", *UNTRAINED]
    done = subprocess.run(command, cwd=tmp_path, env=process_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_flag_that_a_message_names_exists() -> None:
    """In messages, help and advice: a remedy that does not exist is none."""
    helps = [
        call_cli(*command, "--help")[1]
        for command in (
            ("train", "sac", "Pendulum-v1"),
            ("train", "redq", "Pendulum-v1"),
            *(("resume",), ("evaluate",), ("record",), ("report",), ("runs",), ("compare",)),
            *(("presets",), ("doctor",), ("lesson", "entropy"), ("tune",), ("export",), ("push",), ("pull",)),
            *(("drive",), ("dataset",), ()),
        )
    ]
    others = {"--xla", "--head", "--address", "--num-cpus", "--no-"}  # XLA's, Ray's, and the beginning of many
    others |= {"--install"}  # of xcode-select
    known = set(re.findall(r"--[a-z][a-z-]+", "\n".join(helps))) | {"--version"} | others
    source = Path(polyak.__file__).parent
    named = {
        (str(file.relative_to(source)), flag)
        for file in source.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value)
    }
    assert len(named) > 30
    assert {(file, flag) for file, flag in named if flag not in known} == set()


# The shell around it


def in_shell(redirected: str, *arguments: object, **variables: str) -> tuple[int, str]:
    """Exit code and what was said, of the command line as a shell starts it."""
    words = shlex.join([*COMMAND, *map(str, arguments)])
    environment = process_environment() | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"} | variables
    done = subprocess.run(
        ["sh", "-c", f"exec {words} {redirected}"], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        (">&-", 2, "polyak: standard output is closed, where results go: give it a place"),
        ("> /dev/full", 1, "polyak: No space left on device"),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
        (">&- 2>&- <&-", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full_are_told_in_one_line(redirected: str, code: int, said: str) -> None:
    found, errors = in_shell(redirected, "presets")
    assert found == code
    assert errors.startswith(said)
    assert errors.count("\n") == bool(said)


def test_training_into_a_full_disk_is_told_in_one_line_and_without_errors_it_trains(tmp_path: Path) -> None:
    code, errors = in_shell("> /dev/full", "train", "ddpg", TINY, *UNTRAINED, "--run-dir", tmp_path / "ö")
    assert (code, errors) == (1, "polyak: No space left on device\n")
    assert in_shell("2>&-", "train", "ddpg", TINY, *UNTRAINED, "--run-dir", tmp_path / "ö") == (0, "")
    assert "no/w\\xe4re" in in_shell("", "report", "no/wäre")[1].replace("\\udcc3\\udca4", "\\xe4")


def test_the_path_printed_leads_there_from_where_the_command_was_called(
    polyak_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, output, _ = polyak_("train", "ddpg", TINY, *UNTRAINED, "--run-dir", "here")
    assert output.startswith("here/")
    _, again, _ = polyak_("resume", output.strip())
    assert again == output
    code, film, _ = polyak_("record", output.strip(), "--plain")
    assert code == 0
    assert film == f"{output.strip()}/videos/policy-seed0.mp4\n"
    assert Path(film.strip()).is_file()


def test_warnings_are_one_clean_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), warnings_in_one_line():
        warnings.simplefilter("always")
        for _ in range(2):
            gymnasium.logger.warn("the box is\nlarge")
    assert capsys.readouterr().err == "polyak: warning: the box is large\n"


def test_what_a_callables_run_needs_is_named_as_a_flag(polyak_: Command, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, Tiny)
    for command in ("evaluate", "resume"):
        code, output, errors = polyak_(command, run.folder)
        assert (code, output) == (2, "")
        assert "--environment module:Id" in errors
