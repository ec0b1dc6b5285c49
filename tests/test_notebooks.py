"""The notebooks run from top to bottom, and each framework in one of them, with settings that take moments."""

import ast
import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import nbformat
import numpy as np
import psutil
import pytest
from jupytext.cli import jupytext as sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from polyak.run.runs import find_runs
from tiny_cli import PATIENCE

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
TRAINED = {
    "ddpg": [("ddpg", "Pendulum-v1"), ("ddpg", "LunarLanderContinuous-v3")],
    "td3": [("ddpg", "Pendulum-v1"), ("td3", "Pendulum-v1"), ("td3", "LunarLanderContinuous-v3")],
    "sac": [("sac", "Pendulum-v1"), ("sac", "LunarLanderContinuous-v3")],
    "reparameterization": [],
}
"""What each notebook trains."""
TINY = {
    "steps": 60,
    "start_steps": 20,
    "update_after": 20,
    "batch_size": 8,
    "hidden_sizes": (8,),
    "steps_per_epoch": 30,
    "evaluation_episodes": 1,
    "max_episode_steps": 20,
}
LESSONS = {
    "ddpg": None,
    "td3": {"repeats": 200, "runs": 10, "steps": 100},
    "sac": {"samples": 500},
    "reparameterization": {"samples": (10, 100), "repeats": 200},
}
NATIVE = {"jax": "jnp.", "torch": "torch.", "tensorflow": "tf."}
"""What only the source of one framework's learners contains."""


def parameters(notebook: Any) -> tuple[int, set[str]]:
    """Where the one cell of parameters is, and the names that it assigns."""
    (index,) = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    nodes = ast.walk(ast.parse(notebook.cells[index].source))
    return index, {node.id for node in nodes if isinstance(node, ast.Name)}


def execute(notebook: Any) -> list[Any]:
    """Run all cells in a kernel of its own, which is gone afterwards, and return their outputs."""
    before = set(psutil.Process().children(recursive=True))
    patience = {"timeout": int(PATIENCE), "startup_timeout": int(PATIENCE)}
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}, **patience)
    client.execute()
    assert set(psutil.Process().children(recursive=True)) <= before
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def shown(outputs: list[Any], kind: str) -> list[str]:
    """All outputs of a MIME type."""
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel draws as in Jupyter, whatever the tests' own process does."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")


def helpers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("helpers", NOTEBOOKS / "helpers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("name", "backend"), [("ddpg", "tensorflow"), ("td3", "jax"), ("sac", "torch"), ("reparameterization", "jax")]
)
def test_a_notebook_runs_as_it_stands(name: str, backend: str, tmp_path: Path) -> None:
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    index, names = parameters(notebook)
    tiny = {**TINY, "fast": backend == "jax"}  # for so few updates the others need not compile
    wanted = {"BACKEND": backend, "RUNS": str(tmp_path), "PENDULUM": tiny, "LANDER": tiny, "DRAWS": 10}
    wanted["LESSON"] = LESSONS[name]
    changed = [f"{key} = {value!r}" for key, value in wanted.items() if key in names]
    assert len(changed) == len(names)
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell("\n".join(changed)))
    outputs = execute(notebook)

    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    made = [run.settings for run in find_runs(tmp_path)]
    assert sorted((each["algorithm"], each["environment"]) for each in made) == sorted(TRAINED[name])
    assert {each["backend"] for each in made} <= {backend}
    source = "\n".join(shown(outputs, "text/markdown"))
    assert {key for key, native in NATIVE.items() if native in source} == {backend}
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    compared = sum(cell.source.count("helpers.compare(") for cell in notebook.cells)
    assert printed.count("largest difference, relative") >= compared >= 5
    assert len(shown(outputs, "image/png")) >= 3
    live = [html for html in shown(outputs, "text/html") if "<progress" in html]
    assert [html.count("done after 60 steps; best evaluation") for html in live] == [1] * len(TRAINED[name])
    videos = [html for html in shown(outputs, "text/html") if "data:video/mp4;base64," in html]
    assert len(videos) == (2 if TRAINED[name] else 0)
    assert [line for line in printed.splitlines() if line.endswith("report.html")] == [
        str(run.report_file) for run in sorted(find_runs(tmp_path), key=lambda run: run.folder.stat().st_ctime)
    ]


@pytest.mark.usefixtures("inline")
def test_a_wrong_equation_fails_its_notebook() -> None:
    """DDPG's target in the notebook, with the network in place of its target."""
    notebook = jupytext.read(NOTEBOOKS / "ddpg.py")
    (index,) = [i for i, cell in enumerate(notebook.cells) if "y = r + discount" in cell.source]
    right = notebook.cells[index].source
    notebook.cells[index].source = right.replace('example.part("target_critic")', 'example.part("critic")')
    assert notebook.cells[index].source != right
    del notebook.cells[index + 1 :]
    parameter = parameters(notebook)[0]
    notebook.cells[parameter].source = notebook.cells[parameter].source.replace('"jax"', '"torch"')
    with pytest.raises(CellExecutionError, match="they differ by"):
        execute(notebook)


@pytest.mark.parametrize(
    ("computed", "expected"), [([1.0, 2.0], [1.0, 2.1]), ([1.0], [np.nan]), ([1.0], [1.0, 1.0]), ([[1.0]], [1.0])]
)
def test_compare_refuses(computed: list[Any], expected: list[Any]) -> None:
    helpers().compare(computed, computed)
    with pytest.raises(ValueError, match=r"differ|shapes"):
        helpers().compare(computed, expected)


PUBLIC = r"polyak(\.(parts|callbacks|algorithm|algorithms(\.\w+)*|lessons(\.\w+)?|frameworks\.(\w+\.parts|state)))?"
"""Modules of polyak that the documentation offers."""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_notebooks_take_what_is_public_and_say_how_to_install(path: Path) -> None:
    taken = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            taken.add(str(node.module))
        elif isinstance(node, ast.Import):
            taken |= {each.name for each in node.names}
    assert [name for name in taken if name.startswith("polyak") and not re.fullmatch(PUBLIC, name)] == []
    if path.stem in TRAINED:
        first = jupytext.read(path).cells[0].source
        assert re.search(r'`pip install "polyak\[[\w,]+\]"`', first)


@pytest.mark.parametrize("name", TRAINED)
def test_syncing_makes_the_notebook_and_leaves_its_text_as_it_is(name: str, tmp_path: Path) -> None:
    """`git status` stays clean after `make notebooks`, and after Jupyter has saved an executed notebook."""
    source, made = tmp_path / f"{name}.py", tmp_path / f"{name}.ipynb"
    source.write_bytes((NOTEBOOKS / source.name).read_bytes())
    assert sync(["--quiet", "--sync", str(source)]) == 0
    notebook = nbformat.read(made, as_version=4)
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.execution_count, code.outputs = 1, [nbformat.v4.new_output("stream", text="printed")]
    nbformat.write(notebook, made)
    os.utime(made, (source.stat().st_mtime + 10,) * 2)
    assert sync(["--quiet", "--sync", str(source)]) == 0
    assert source.read_bytes() == (NOTEBOOKS / source.name).read_bytes()
    assert "printed" in made.read_text(encoding="utf-8")


def test_the_notebooks_are_paired_and_all_are_made_and_listed() -> None:
    files = {path.stem for path in NOTEBOOKS.glob("*.py")} - {"helpers"}
    assert files == set(TRAINED)
    for name in files:
        assert jupytext.read(NOTEBOOKS / f"{name}.py").metadata["jupytext"]["formats"] == "ipynb,py:percent"
    (line,) = re.findall(r"^NOTEBOOKS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(line.split()) == {f"notebooks/{name}.py" for name in files}
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`notebooks/(\w+)\.ipynb`", page)) == files
    assert "/notebooks/*.ipynb" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
