"""Opening somebody else's run must not be able to run code: nothing here can unpickle or evaluate."""

import ast
import dataclasses
import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import gymnasium
import onnx  # noqa: F401 - with the next: neither can be imported again once it was forgotten
import onnxruntime  # noqa: F401
import pytest

import polyak
from polyak import Policy, Run, UsageError
from polyak.system.modules import places
from tiny_cli import PATIENCE, call_cli, process_environment, untrained_run

ROOT = Path(__file__).parent.parent
SOURCE = Path(polyak.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("torch.load", "torch.save", "torch.jit.load", "torch.package", "numpy.load", "numpy.save", "numpy.savez"),
    *("np.load", "np.save", "np.savez", "np.fromfile", "pandas.read_pickle", "tf.saved_model.load"),
    *("tf.keras.models.load_model", "keras.models.load_model", "os.system", "subprocess.getoutput"),
}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression, as far as it is names."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield node.func.id
            yield from (f"{key.arg}=" for key in node.keywords if key.arg in ("allow_pickle", "weights_only", "shell"))
        elif isinstance(node, ast.Attribute) and dotted(node) in ATTRIBUTES:
            yield dotted(node)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "np.load('x', allow_pickle=True)",
        "f(allow_pickle=False)",
        "eval('1')",
        "exec('1')",
        "import yaml.loader",
        "os.system('x')",
    ],
)
def test_the_search_finds(code: str) -> None:
    assert list(dangers(ast.parse(code)))


def test_nothing_in_the_tree_unpickles_or_evaluates() -> None:
    folders = [SOURCE, *(ROOT / name for name in ("benchmarks", "notebooks") if (ROOT / name).is_dir())]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    assert len(files) > 70
    found = {str(file): sorted(dangers(ast.parse(file.read_text(encoding="utf-8")))) for file in files}
    # PyTorch's restricted reader, which docs/reliability.md names
    assert found.pop(str(SOURCE / "policies" / "sb3" / "weights.py")) == ["torch.load", "weights_only="]
    assert {file: names for file, names in found.items() if names} == {}


def test_a_module_that_comes_with_a_run_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path)
    settings = json.loads(run.settings_file.read_text())
    (run.folder / "evil.py").write_text("raise SystemExit('the code of a stranger runs')")
    (run.folder / "evil_package").mkdir()
    (run.folder / "evil_package" / "__init__.py").write_text("raise SystemExit('the code of a stranger runs')")
    monkeypatch.syspath_prepend(str(run.folder))
    for name in ("evil:Env-v0", "evil_package.inner:Env-v0"):
        run.settings_file.write_text(json.dumps({**settings, "environment": name}))
        with pytest.raises(UsageError, match="would be imported from the run's own folder"):
            polyak.load(run.folder).evaluate(1)


# What a run's settings name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def stranger(made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`runs/stranger`, below the folder where the user stands, full of code that must not run."""
    folder = tmp_path / "runs" / "stranger"
    shutil.copytree(made.folder, folder)
    for file in (folder / "policy.safetensors", folder / "best.safetensors"):  # they say whose they are otherwise
        dataclasses.replace(Policy.load(file), made_for={}).save(file)
    for name in ("evil.py", "inner/evil.py", "pack/__init__.py", "pack/evil.py", "../other.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(EVIL)
    with ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("zipped.py", EVIL)
        archive.writestr("zipped_pack/__init__.py", EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    before = set(sys.modules)
    yield Path("runs/stranger")
    for name in set(sys.modules) - before:
        del sys.modules[name]


EVIL = "raise SystemExit('the code of a stranger runs')"


def name_as_its_environment(run: Path, name: str) -> None:
    name_in(run, "environment", name)


def name_in(run: Path, field: str, name: str) -> None:
    """In its settings and in its manifests, as a hostile author would."""
    files = [run / "settings.json", *run.glob("checkpoints/*.json")]
    for file in files:
        body = json.loads(file.read_text())
        body.get("run", body)[field] = name
        if body.pop("sha256", None):
            digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
            body["sha256"] = digest
        file.write_text(json.dumps(body))


def refused(run: str | Path) -> None:
    """By every command that would make its environment; nothing has been imported."""
    before = set(sys.modules)
    for arguments in (["evaluate"], ["record"], ["resume"], ["resume", "--steps", "60"]):
        code, output, errors = call_cli(*arguments, str(run))
        assert (code, output) == (2, ""), errors
        assert "would be imported from the run's own folder" in errors
        assert errors.count("\n") == 1
    assert call_cli("export", str(run))[0] == 0  # which does without an environment
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in ("runs", "evil", "pack", "a")}


@pytest.mark.parametrize(
    "module",
    [
        "runs.stranger.evil",
        "runs.stranger.inner.evil",
        "runs.stranger.pack",
        "runs.stranger.pack.evil",
        "runs.stranger.absent",
        "runs.other",
        "runs",
    ],
)
def test_a_module_of_a_package_around_or_within_a_run_is_refused(module: str, stranger: Path) -> None:
    name_as_its_environment(stranger, f"{module}:Tiny-v0")
    refused(stranger)
    refused(stranger.absolute())


def test_so_it_is_where_packages_say_that_they_are_some(stranger: Path) -> None:
    for folder in (stranger, stranger.parent):
        (folder / "__init__.py").write_text(EVIL)
    name_as_its_environment(stranger, "runs.stranger.evil:Tiny-v0")
    refused(stranger)


@pytest.mark.parametrize("place", [".", "inner", "archive.zip"])
@pytest.mark.parametrize("module", ["evil", "evil.deeper", "pack.evil", "zipped", "zipped_pack.x"])
def test_so_it_is_where_the_run_is_on_the_path(
    place: str, module: str, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry in (stranger / place, (stranger / place).absolute()):
        monkeypatch.syspath_prepend(str(entry))
    found = list(places(module))
    name_as_its_environment(stranger, f"{module}:Tiny-v0")
    if found:
        refused(stranger)
    else:  # it is in another of the three
        assert call_cli("evaluate", str(stranger))[0] == 2


def test_so_it_is_by_whatever_way_links_lead(stranger: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "run"
    stranger.rename(real)
    stranger.symlink_to(real)
    name_as_its_environment(real, "runs.stranger.evil:Tiny-v0")
    refused(stranger)
    refused(real)
    name_as_its_environment(real, "a.run.evil:Tiny-v0")
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    refused(real)
    refused("a/run")
    (tmp_path / "linked.py").symlink_to(real / "evil.py")
    name_as_its_environment(real, "linked:Tiny-v0")
    refused(real)


def test_so_it_is_where_a_package_was_imported_before(stranger: Path) -> None:
    (stranger / "harmless.py").write_text("")
    importlib.import_module("runs.stranger.harmless")
    name_as_its_environment(stranger, "runs.stranger.evil:Tiny-v0")
    code, _, errors = call_cli("evaluate", str(stranger))
    assert code == 2
    assert "would be imported from the run's own folder" in errors


@pytest.mark.parametrize(
    "name",
    [
        *(":Tiny-v0", "::Tiny-v0", "runs.stranger.evil:x:Tiny-v0", "runs:stranger.evil:Tiny-v0", ".evil:X", "..evil:X"),
        *("runs..evil:X", "runs.stranger.:X", "runs/stranger/evil:X", "runs.stranger.evil.py:X", "\0:X", "sys.x:X"),
    ],
)
def test_a_name_of_an_odd_form_runs_nothing(name: str, stranger: Path) -> None:
    (stranger / ".py").write_text(EVIL)
    (stranger / "evil:x.py").write_text(EVIL)
    name_as_its_environment(stranger, name)
    for command in ("evaluate", "record", "export", "resume"):
        code, _, errors = call_cli(command, str(stranger))
        assert code in (0, 2), errors
        assert code == 0 or errors.count("\n") == 1, errors  # nothing is left to do for `resume`


def test_what_lies_beside_runs_is_imported_as_ever(stranger: Path, tmp_path: Path) -> None:
    register = "import gymnasium\nimport tiny_cli\ngymnasium.register('Beside-v0', tiny_cli.Tiny)\n"
    for file in (tmp_path / "beside.py", tmp_path / "mine" / "beside.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(register)
    for name in ("beside:Beside-v0", "mine.beside:Beside-v0", "tiny_cli:Tiny-v0"):
        name_as_its_environment(stranger, name)
        assert call_cli("evaluate", str(stranger), "--episodes", "1")[0] == 0
        gymnasium.registry.pop("Beside-v0", None)


def test_what_the_user_names_is_imported_from_anywhere(stranger: Path) -> None:
    (stranger / "good.py").write_text("import tiny_cli")
    options = ("--episodes", "1", "--environment", "runs.stranger.good:Tiny-v0")
    assert call_cli("evaluate", str(stranger), *options)[0] == 0


@pytest.mark.parametrize("module", ["runs.stranger.evil", "runs.other", "evil"])
def test_an_algorithm_of_a_package_around_or_within_a_run_is_refused_where_it_is_needed(
    module: str, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(stranger))
    name_in(stranger, "algorithm", module)
    for arguments in (["resume"], ["resume", "--steps", "60"], ["train", module, "tiny_cli:Tiny-v0", "--from"]):
        code, output, errors = call_cli(*arguments, str(stranger))
        assert (code, output) == (2, ""), errors
        assert "would be imported from the run's own folder" in errors
    assert call_cli("evaluate", str(stranger), "--episodes", "1")[0] == 0


def test_nothing_is_looked_for_where_the_user_stands_in_a_run(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what a library would import if it were there."""
    for folder in (stranger, stranger / "checkpoints"):
        monkeypatch.chdir(folder.absolute() if folder.is_absolute() else tmp_path / folder)
        monkeypatch.setattr(sys, "path", ["", str(Path.cwd()), *sys.path])
        call_cli("--version")
        assert not {"", str(Path.cwd())} & set(sys.path)
    monkeypatch.chdir(tmp_path)
    call_cli("--version")
    assert sys.path[0] == ""


def test_reading_a_run_unpickles_nothing(tmp_path: Path) -> None:
    """Whoever may import pickle in the libraries below, nothing is unpickled when a run is opened and goes on."""
    program = f"""
import sys
import polyak
from tiny_cli import SMALL, TINY
run = polyak.train("ddpg", TINY, run_dir={str(tmp_path)!r}, **{{**SMALL, "update_after": 1_000}})
unpickled = []
sys.addaudithook(lambda event, arguments: event == "pickle.find_class" and unpickled.append(arguments))
run = polyak.resume(run.folder, steps=50)
polyak.load(run.folder).policy, run.best_policy, run.metrics, run.evaluate(1)
print("read", unpickled)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "read []\n", done.stderr
