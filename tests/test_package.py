"""What is shipped: one version, the wheel, exact constraints, and a source that cannot run the code it reads."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import polyak

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PRESETS = sorted(path.name for path in (ROOT / "src/polyak/settings/presets").glob("*.toml"))

FORBIDDEN_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
FORBIDDEN_CALLS = {"__import__", "compile", "eval", "exec"}
FORBIDDEN_METHODS = {"read_pickle", "torch.load", "torch.save", "unsafe_load", "yaml.load"}
INDEX_ADDRESS = re.compile(r"https?://[^\s\"'<>)]*(?:simple|pypi|registry)", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:work|root|home)/")


def pinned() -> dict[str, str]:
    """Canonical name -> version of every line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def dotted(node: ast.expr) -> str:
    """`a.b` of the expression `a.b`, `.b` of `f(x).b`, nothing of what has no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


RESTRICTED = "weights_only=True"


def code_runners(source: str) -> Iterator[str]:
    """What in `source` could run code that it reads, as `LINE: NAME`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [name for name in node.names if name.name.partition(".")[0] in FORBIDDEN_MODULES]
            yield from (f"{node.lineno}: {name.name}" for name in found)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield f"{node.lineno}: {node.module}"
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            builtin = name.removeprefix("builtins.") in FORBIDDEN_CALLS
            if name == "torch.load" and RESTRICTED in map(ast.unparse, node.keywords):
                continue  # PyTorch's reader of tensors alone; where it may stand is held in test_security.py
            if builtin or name in FORBIDDEN_METHODS or name.rpartition(".")[2] in FORBIDDEN_METHODS:
                yield f"{node.lineno}: {name}"
            for keyword in node.keywords:
                refused = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not refused:
                    yield f"{node.lineno}: allow_pickle"


def tracked_files() -> list[Path]:
    """Every file that belongs to the project: committed, or new and not ignored."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that a release would publish."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_one_version_everywhere() -> None:
    assert PROJECT["version"] == polyak.__version__ == metadata.version("polyak")


def test_console_command_resolves() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="polyak")
    assert callable(command.load())


def test_typing_marker_and_presets_are_installed() -> None:
    package = resources.files("polyak")
    assert (package / "py.typed").is_file()
    assert {"book.toml", "paper.toml"} <= set(PRESETS)
    for name in PRESETS:
        assert tomllib.loads((package / "settings" / "presets" / name).read_text(encoding="utf-8"))


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in tracked_files() if path.is_relative_to(source)}
    assert {"polyak/__init__.py", "polyak/py.typed"} | {f"polyak/settings/presets/{name}" for name in PRESETS} <= files
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == files


def test_wheel_names_command_license_and_python(wheel: zipfile.ZipFile) -> None:
    folder = f"polyak-{polyak.__version__}.dist-info"
    assert "polyak = polyak.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert "MIT License" in wheel.read(f"{folder}/licenses/LICENSE").decode()
    assert "Requires-Python: >=3.11" in wheel.read(f"{folder}/METADATA").decode()


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!+]*", line), line
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))


def test_constraints_pin_every_requirement_within_its_bounds() -> None:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for name in extras for text in extras[name])]
    versions = pinned()
    for requirement in map(Requirement, texts):
        if requirement.name != "polyak":
            assert requirement.specifier, f"{requirement} has no lower bound"
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from dill import loads",
        "import joblib.memory",
        "eval('1')",
        "import builtins; builtins.exec('1')",
        "import torch; torch.load('x')",
        "import torch; torch.load('x', weights_only=flag)",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "import numpy as np; np.load('x', allow_pickle=flag)",
        "import pandas; pandas.read_pickle('x')",
    ],
)
def test_search_finds_what_could_run_code(source: str) -> None:
    assert list(code_runners(source))


def test_search_leaves_the_harmless_alone() -> None:
    harmless = (
        "import re, numpy as np\nre.compile('x')\nmodel.eval()\nnp.load('x', allow_pickle=False)\nlowered.compile()"
        "\ntorch.load('x', weights_only=True)"
    )
    assert not list(code_runners(harmless))


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: path.stem)
def test_source_cannot_run_what_it_reads(path: Path) -> None:
    assert not list(code_runners(path.read_text(encoding="utf-8")))


def test_no_file_names_a_package_index_or_a_folder_of_one_machine() -> None:
    assert INDEX_ADDRESS.search("--index-url https:" + "//host.example/" + "simple/")
    assert MACHINE_PATH.search("cd " + "/home" + "/someone")
    found: list[str] = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue  # an image or another binary file
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            if INDEX_ADDRESS.search(line) or MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found
