"""Opening somebody else's run must not be able to run code: nothing here can unpickle or evaluate."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyak
from polyak import UsageError
from tiny_cli import process_environment, untrained_run

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
        timeout=300,
        check=False,
    )
    assert done.stdout == "read []\n", done.stderr
