"""An algorithm outside the package: found by its module, checked at the door, and as good as polyak's own."""

import dataclasses
import importlib
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Run, UsageError, algorithms
from polyak.algorithms import algorithm
from polyak.algorithms.checks import TAKEN
from polyak.cli.request import Asked
from polyak.run.runs import load
from polyak.settings import presets
from tiny_cli import OPTIONS, SMALL, TINY, call_cli, process_environment

SOURCE = Path(polyak.__file__).parent
ROOT = Path(__file__).parent.parent
NAME = "my_folder.my_algorithm"
NAMES = ", ".join(algorithms.names())
TEXT = '''
from dataclasses import dataclass, replace
from typing import Annotated

from polyak.algorithm import Copy, Head, Net, Normal, Parameter, Variable
from polyak.algorithms import ddpg
from polyak.settings.kinds import AT_LEAST_1


@dataclass(frozen=True, kw_only=True)
class Config(ddpg.Config):
    my_setting: Annotated[int, AT_LEAST_1] = 2
    """What it is good for."""


def update(state, batch, draws, due, config):
    return state, {"critic_loss": batch.reward.mean()}


ALGORITHM = replace(ddpg.ALGORITHM, Config=Config, pages={"jax": update})
'''
"""An algorithm that learns nothing, in words that every framework understands."""
JAX = {**SMALL, "backend": "jax"}


def forget() -> None:
    """As in a process that has not imported it."""
    for name in [each for each in sys.modules if each.partition(".")[0] in ("my_folder", "my_file")]:
        del sys.modules[name]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where the user stands, with the algorithm in one of its folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", process_environment()["PYTHONPATH"])
    (tmp_path / "my_folder").mkdir()
    (tmp_path / "my_folder" / "my_algorithm.py").write_text(TEXT)
    yield tmp_path
    forget()


def refusal(name: str, **options: Any) -> str:
    """What is said in one line, before there is a run's folder."""
    with pytest.raises(UsageError) as caught:
        polyak.train(name, TINY, **{**JAX, **options})
    assert not Path("runs").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(**parts: str) -> str:
    return f"ALGORITHM = replace(ALGORITHM, {', '.join(f'{name}={value}' for name, value in parts.items())})\n"


def with_state(entry: str) -> str:
    return changed(state=f"lambda spec, config: {{**ddpg.state(spec, config), {entry}}}")


def with_page(line: str) -> str:
    page = f"def page(state, batch, draws, due, config):\n    {line}\n"
    return page + changed(pages="{'jax': page}")


def with_setting(line: str, decorator: str = "@dataclass(frozen=True, kw_only=True)\n") -> str:
    return f"{decorator}class Config(ddpg.Config):\n    {line}\n{changed(Config='Config')}"


FAULTS = {
    "raise RuntimeError('so it is')": "importing 'my_file' raised RuntimeError: so it is (my_file.py, line 23)",
    "def f(:": "importing 'my_file' raised SyntaxError: invalid syntax (my_file.py, line 23)",
    "import absent_package": "'my_file' (line 23) needs 'absent_package', which is not installed",
    "del ALGORITHM": "the module 'my_file' has no ALGORITHM",
    "ALGORITHM = ddpg": "the module 'my_file' has an ALGORITHM that is a module",
    changed(Config="dict"): "Config is <class 'dict'>, but must extend",
    with_setting("mine: int = 1", decorator=""): "Config must be a frozen dataclass",
    with_setting("mine: int"): "its setting 'mine' has no default",
    with_setting("mine: int = 'x'"): "the default of its setting mine is 'x', but must be a whole number",
    with_setting("mine: dict = None"): "its setting 'mine' is a <class 'dict'>, but must be int,",
    with_setting("mine: 'Absent' = None"): "Config raised NameError: name 'Absent' is not defined",
    with_setting("seed: int = 1"): "it has a setting 'seed', which is what `train` takes besides",
    with_setting("jobs: int = 1"): "it has a setting 'jobs', which is what `train` takes besides",
    with_setting("learning_rate: float = 1e-3"): "it has a setting 'learning_rate', as a function of Settings is named",
    changed(metrics="('q',)"): "metrics must have 'critic_loss' among them",
    changed(metrics="['critic_loss']"): "metrics is ['critic_loss'], but must be a tuple",
    changed(metrics="('critic_loss', 'a/b')"): "metrics has 'a/b', but a name is of letters",
    changed(metrics="('critic_loss', 'q', 'q')"): "metrics has a name twice",
    changed(metrics="('critic_loss', 'updates')"): "metrics has 'updates', which records say already",
    changed(metrics="('critic_loss', 'reward_scale')"): "metrics has 'reward_scale', which records say already",
    changed(pages="{'jacks': update}"): "pages has 'jacks', but polyak has jax, torch, tensorflow",
    changed(pages="{'jax': 'update'}"): "pages has no function for jax, but a str",
    changed(pages="{'torch': update}"): "my_file has pages for torch, not for jax: take --backend torch",
    changed(pages="{}"): "my_file has no page for jax",
    changed(value="None"): "value must be a function",
    changed(state="lambda spec, config: {}"): "state has no network 'actor', which acts: it has nothing",
    changed(state="lambda spec, config: spec.x"): "state raised AttributeError: 'Spec' object has no attribute 'x' (my",
    changed(state="lambda spec, config: []"): "state is a list, but must be a mapping",
    with_state("'lagged': Copy('absent')"): "state has 'lagged', a copy of 'absent', but no network 'absent' before it",
    with_state("'lagged': 3"): "state has 'lagged', a int, but takes Net, Parameter, Copy and Variable",
    with_state("'step': Variable(0.0)"): "state has 'step', as the learner names an array of its own",
    with_state("'adam_actor': Variable(0.0)"): "state has 'adam_actor', as the learner names an array of its own",
    with_state("'low': Variable(-float('inf'))"): "state has 'low' of shape () from -inf, but must be finite",
    with_state("'count': Variable(0, (2,), 'int32')"): "state has 'count', an int32 of shape (2,), but such must be",
    with_state("'critics': replace(ddpg.state(spec, config)['critic'], copies=0)"): "'critics', an ensemble of 0, but",
    with_state("'actor': replace(ddpg.state(spec, config)['actor'], copies=2)"): "'actor' is an ensemble of 2, but",
    changed(head="lambda config: Head('squashed_gaussian')"): "the network 'actor' is 2 -> 1, but a squashed_gaussian",
    changed(head="lambda config: Head('mixture')"): "head is Head(kind='mixture'",
    changed(draws="lambda spec, config: {'z': Normal((7, 1))}"): "the first axis must be batch_size, here 8",
    changed(draws="lambda spec, config: {'z': 1}"): "draws has 'z', a int, but takes Normal, Subset and Bits",
    changed(every="lambda config: {'actor': 0}"): "every has 'actor' each 0 updates, but must have a whole number",
    changed(every="lambda config: {'': 2}"): "every has '', but a name is of letters",
    changed(value="lambda networks, s, a, config: networks['critic'](s)"): "value raised ValueError: matmul",
    changed(value="lambda networks, s, a, config: s"): "value has shape (2, 2) for 2 observations and actions",
    with_page("return state"): "its page for jax raised TypeError: cannot unpack non-iterable State",
    with_page("return state, batch.x"): "its page for jax raised AttributeError: 'Batch' object has no attribute 'x'",
    with_page("return state.replace(a=1), {}"): "its page for jax raised AttributeError: the state has no 'a': it",
    with_page("return state, {}"): "its page for jax measures no 'critic_loss'",
    with_page("return state, dict.fromkeys(('critic_loss', 'x'), batch.reward.mean())"): "measures 'x', which is not",
    changed(every="lambda config: {'actor': 2}"): "its page for jax never asks whether 'actor' is due",
}
"""What is written at the end of the module, from its line 23 on, and what is said of it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_it_is_said_before_anything_is_made(fault: str, here: Path) -> None:
    (here / "my_file.py").write_text(TEXT + "\n" * (22 - TEXT.count("\n")) + fault + "\n")
    assert FAULTS[fault] in refusal("my_file")


def test_no_setting_can_have_the_name_of_what_else_train_takes() -> None:
    calls = [inspect.signature(call).parameters for call in (polyak.train, polyak.train_together)]
    names = {name for call in calls for name in call} | {field.name for field in dataclasses.fields(Asked)}
    assert names - {"settings", "options"} == set(TAKEN)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sad", f"unknown algorithm 'sad': polyak has {NAMES}. Did you mean 'sac'?"),
        ("my_file", f"unknown algorithm 'my_file': polyak has {NAMES}. One of your own is named by its module"),
        ("my_file.py", "my_algorithm for my_algorithm.py"),
        ("my_folder.absent", "cannot import 'my_folder.absent': 'my_folder' has no such module"),
        ("my_folder", "the module 'my_folder' has no ALGORITHM"),
        ("", "unknown algorithm ''"),
    ],
)
def test_a_name_that_names_none_is_refused(name: str, words: str, here: Path) -> None:
    assert words in refusal(name)


def test_one_of_polyak_s_own_without_a_page_is_refused_like_any_other(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyak.algorithms.find_spec", lambda name: None if name.endswith("jax") else name)
    monkeypatch.setattr("polyak.frameworks.start", lambda *_: pytest.fail("the framework was imported"))
    assert refusal("sac") == "sac has pages for torch, tensorflow, not for jax: take --backend torch"


def test_a_folder_may_have_its_pages_beside_each_other(here: Path) -> None:
    (here / "my_folder" / "__init__.py").write_text(TEXT + changed(pages="{}"))
    assert "my_folder has no page for jax" in refusal("my_folder")
    (here / "my_folder" / "with_torch.py").write_text("raise RuntimeError('not asked for')")
    assert "my_folder has pages for torch, not for jax" in refusal("my_folder")
    (here / "my_folder" / "with_jax.py").write_text("1 / 0")
    assert "importing 'my_folder.with_jax' raised ZeroDivisionError: division by zero (with_j" in refusal("my_folder")
    (here / "my_folder" / "with_jax.py").write_text("from my_folder import update")
    assert polyak.train("my_folder", TINY, **JAX).metrics[-1]["step"] == 40


# Like polyak's own


@pytest.fixture
def run(here: Path) -> Run:
    return polyak.train(NAME, TINY, **JAX, my_setting=3)


def test_a_run_is_read_without_its_module(run: Run, here: Path) -> None:
    shutil.rmtree(here / "my_folder")
    forget()
    assert load(run.folder).settings["algorithm"] == NAME
    assert run.settings["settings"]["my_setting"] == 3
    for read in (load(run.folder).policy, load(run.folder).best_policy):
        assert read.act([0.5, 2.0]).shape == (1,)
    for command in ("evaluate", "record", "report"):
        code, _, errors = call_cli(command, str(run.folder))
        assert code == 0, errors
    code, output, _ = call_cli("runs")
    assert NAME in output
    assert f"{NAME} on {TINY}" in run.report_file.read_text()
    assert not [name for name in sys.modules if name.startswith("my_folder")]
    for call in (lambda: polyak.resume(run.folder, steps=60), lambda: polyak.train(NAME, TINY, from_run=run.folder)):
        with pytest.raises(UsageError, match=f"unknown algorithm '{NAME}'"):
            call()


def test_it_goes_on_and_is_gone_on_from(run: Run) -> None:
    longer = polyak.resume(run.folder, steps=60)
    assert longer.metrics[-1]["step"] == 60
    assert longer.settings["settings"]["my_setting"] == 3
    with pytest.raises(UsageError, match=f"{NAME} has pages for jax, not for torch: take --backend jax"):
        polyak.resume(run.folder, steps=80, backend="torch")
    after = polyak.train(NAME, TINY, from_run=run.folder, backend="jax")
    assert after.settings["settings"]["my_setting"] == 3
    with pytest.raises(UsageError, match=f"is a run of {NAME}, but ddpg is asked for"):
        polyak.train("ddpg", TINY, from_run=run.folder)


def test_what_came_with_a_run_is_not_imported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move("my_folder", run.folder)
    forget()
    monkeypatch.syspath_prepend(str(run.folder))
    calls: list[Callable[[], Any]] = [
        lambda: polyak.resume(run.folder, steps=60),
        lambda: polyak.train(NAME, TINY, from_run=run.folder),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=f"was trained with '{NAME}', and 'my_folder' would be imported from the"):
            call()
    code, _, errors = call_cli("train", NAME, TINY, "--from", str(run.folder))
    assert code == 2
    assert "would be imported from the run's own folder" in errors
    assert not [name for name in sys.modules if name.startswith("my_folder")]


def test_the_command_line_and_its_children_know_it(here: Path) -> None:
    code, output, _ = call_cli("train", NAME, TINY, "--help")
    assert code == 0
    assert f"Train {NAME} on {TINY}" in output
    assert "--my-setting INT" in output
    assert "What it is good for. (default: 2)" in output
    (here / "mine.toml").write_text(f'my_setting = 4\nsteps_per_epoch = 40\n["{NAME}"]\nmy_setting = 5\n')
    options = (*OPTIONS, "--update-after", "1000", "--backend", "jax", "--preset", "mine.toml", "--jobs", "1")
    code, output, errors = call_cli("compare", NAME, "--environments", TINY, "--seeds", "4", *options)
    assert code == 0, errors
    run = Run(Path(output.splitlines()[0]))
    assert (run.settings["algorithm"], run.settings["settings"]["my_setting"], run.settings["seed"]) == (NAME, 5, 4)


def test_a_preset_s_file_names_it_by_its_dotted_name(here: Path) -> None:
    file = here / "mine.toml"
    file.write_text(f'batch_size = 64\n["{NAME}"]\nmy_setting = 5\n[only.Pendulum-v1."{NAME}"]\nbatch_size = 32\n')
    own = presets.load("mine.toml", algorithm(NAME), "Pendulum-v1")
    assert own.values == {"batch_size": 32, "my_setting": 5}
    assert presets.load("mine.toml", algorithm("sac"), "Pendulum-v1").values == {"batch_size": 64}
    file.write_text("[sacc]\nalpha = 1.0\n")
    with pytest.raises(UsageError, match=r"sacc is no setting of .* \(did you mean 'sac'\?\)"):
        presets.load("mine.toml", algorithm(NAME), "Pendulum-v1")
    file.write_text(f"[{NAME}]\nmy_setting = 5\n")
    with pytest.raises(UsageError, match=r'in quotes: \["my_folder.my_algorithm"\]'):
        presets.load("mine.toml", algorithm(NAME), "Pendulum-v1")
    assert presets.load("Pendulum-v1", algorithm(NAME), "Pendulum-v1").values["batch_size"] == 256


# Within the package


def test_an_algorithm_within_the_package_needs_no_file_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAC's folder under another name, beside the others: found at the door, by learner, checkpoint and the site."""
    within = tmp_path / "src" / "polyak"
    twin = shutil.copytree(SOURCE / "algorithms" / "sac", within / "algorithms" / "twin")
    for file in twin.glob("*.py"):
        file.write_text(file.read_text().replace("polyak.algorithms.sac", "polyak.algorithms.twin"))
    (within / "settings").symlink_to(SOURCE / "settings")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(within / "algorithms")])
    monkeypatch.setattr(algorithms, "NAMES", algorithms.found())
    assert "twin" in algorithms.NAMES
    ours, theirs = (
        polyak.train(name, TINY, config=algorithm(name).Config(**SMALL), backend="torch", run_dir=tmp_path)
        for name in ("twin", "sac")
    )
    for name, value in theirs.policy.parameters.items():
        np.testing.assert_array_equal(ours.policy.parameters[name], value)
    assert polyak.resume(ours.folder, steps=60).metrics[-1]["step"] == 60
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_hooks"))
    pages = importlib.import_module("algorithm_pages")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    assert "target_entropy" in pages.settings("twin")
    assert 'title="src/polyak/algorithms/twin/with_torch.py"' in pages.function("twin", "update")
    assert pages.deviations("twin") == pages.deviations("sac")
    assert pages.measured("twin") == pages.measured("sac")
