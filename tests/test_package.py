"""What is shipped: one version, the wheel, exact constraints, and a source that cannot run the code it reads."""

import ast
import importlib
import re
import runpy
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import polyak
from polyak.algorithms import NAMES
from polyak.cli import COMMANDS

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
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel, as `make dist` makes them."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    """The wheel that a release would publish, made from the source archive."""
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_both_archives_pass_the_check_of_the_index(built: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_source_archive_holds_what_the_repository_does_and_nothing_else(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {path.relative_to(ROOT).as_posix() for path in tracked_files()}
    assert inside == tracked | {"PKG-INFO"}
    assert path.stat().st_size < 8_000_000


RELATIVE = re.compile(r"\]\((?!https://)[^)]*\)")


def test_what_the_index_shows_of_the_readme_leads_nowhere_else(wheel: zipfile.ZipFile) -> None:
    """With the repository's address all links lead there, and to files that are; without one they are text alone."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = runpy.run_path(str(ROOT / "hatch_build.py"))["shown"]
    there = shown(text, "https://host.example/polyak", "1.2.3")
    found = re.findall(r"\]\(https://host\.example/polyak/(blob|raw)/v1\.2\.3/([^)#]+)[^)]*\)", there)
    assert len(found) > 15
    for kind, file in found:
        assert (ROOT / file).is_file()
        assert (kind == "raw") == (Path(file).suffix in (".png", ".svg", ".webp")), file
    assert text.count("](") == there.count("](")
    assert RELATIVE.search(text)
    for without in (there, shown(text, None, "1.2.3")):
        assert not RELATIVE.search(without)
    alone = shown(text, None, "1.2.3")
    assert "](https://gymnasium.farama.org)" in alone
    assert "docs/assets" not in alone
    assert "docs/results/race.svg" not in alone
    assert not re.search(r"\(\s*\)|\s,", alone)
    described = wheel.read(f"polyak-{polyak.__version__}.dist-info/METADATA").decode()
    assert "# polyak" in described
    assert not RELATIVE.search(described)


def test_the_changelog_has_a_section_for_this_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    for heading in headings:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \((unreleased|\d{4}-\d{2}-\d{2})\)", heading), heading
    assert headings[0].startswith(f"{polyak.__version__} (")


def test_what_to_cite_is_this_version_and_every_algorithm_s_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "MIT")
    assert cited["version"] == polyak.__version__
    numbers = [each["url"].removeprefix("https://arxiv.org/abs/") for each in cited["references"]]
    assert len(set(numbers)) == len(numbers)
    for each, number in zip(cited["references"], numbers, strict=True):
        assert {"type", "title", "year", "authors", "notes"} <= each.keys()
        assert each["identifiers"] == [{"type": "other", "value": f"arXiv:{number}"}]
        assert all(author.keys() == {"given-names", "family-names"} for author in each["authors"])
    for name in NAMES:
        said = importlib.import_module(f"polyak.algorithms.{name}").__doc__ or ""
        papers = re.findall(r"\d{4}\.\d{5}", said.partition("Deviations")[0])
        assert papers, name
        assert set(papers) <= set(numbers), name


def test_the_public_ci_runs_what_is_there() -> None:
    file = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert file.startswith("# Not yet run")
    jobs = yaml.safe_load(file)["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    assert jobs["quick"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]
    tests = re.findall(r"tests/\w+\.py", " ".join(commands))
    assert len(tests) > 5
    for name in tests:
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_contributor_is_told_leads_to_what_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / target).is_file(), target
    for path in re.findall(r"`((?:src|tests|docs)/[\w./]*)`", text):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
    for command in (
        re.findall(r"`([a-z]+)(?: [^`]*)?`", text.partition("## What it can")[0]) if name == "SECURITY.md" else ()
    ):
        assert command in {*COMMANDS, "eval"} or command == "polyak", command


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
