"""`polyak doctor`: what is missing is named with its remedy, and only what is needed makes it fail."""

import importlib.util
import re
from collections.abc import Callable

import pytest

from polyak import cli
from polyak.cli import doctor
from polyak.policies import recording


@pytest.fixture(autouse=True)
def no_real_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "working_gl", lambda: "egl")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make packages look as if they were not installed."""
    real = importlib.util.find_spec

    def hide(*names: str) -> None:
        monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in names else real(name))

    return hide


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = cli.main(["doctor"])
    return code, capsys.readouterr().out.splitlines()


def line_of(name: str, lines: list[str]) -> int:
    (position,) = (number for number, line in enumerate(lines) if line.split()[1:2] == [name])
    return position


def test_every_finding_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = report(capsys)
    assert code == 0
    for name in (
        "Python",
        "polyak",
        "JAX",
        "PyTorch",
        "TensorFlow",
        "threads",
        "memory",
        "Gymnasium",
        "video",
        "pygame",
        "Box2D",
        "MuJoCo",
    ):
        assert line_of(name, lines) >= 0
    for name in ("JAX", "PyTorch", "TensorFlow"):
        assert re.fullmatch(
            rf"ok +{name} +\d+\.\d+\.\d\S* on .*cpu.*, \d+ threads?(; without [a-z, ]+)?",
            lines[line_of(name, lines)],
            re.IGNORECASE,
        )
    assert "\x1b" not in "".join(lines)


NEEDS = {"jax": "JAX", "gymnasium": "Gymnasium", "av": "video", "pygame": "pygame"}
EXTRAS = {"Box2D": ("Box2D", "box2d"), "mujoco": ("MuJoCo", "mujoco")}
EXTRAS |= {"gymnasium_robotics": ("robotics", "robotics")}
EXTRAS |= {"ray": ("Ray", "ray"), "torch": ("PyTorch", "torch"), "tensorflow": ("TensorFlow", "tensorflow")}
EXTRAS |= {"onnxruntime": ("ONNX", "export"), "huggingface_hub": ("Hub", "hub")}


@pytest.mark.parametrize("missing", [tuple(NEEDS), ("av",)])
def test_missing_needs_fail_with_their_remedy(
    missing: tuple[str, ...], without: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    without(*missing)
    code, lines = report(capsys)
    assert code == 1
    for package in missing:
        position = line_of(NEEDS[package], lines)
        assert lines[position].split() == ["no", NEEDS[package], "not", "installed"]
        assert lines[position + 1].strip() == "remedy: pip install polyak"
    assert "".join(lines).count("remedy") == len(missing)


def test_missing_extras_have_a_remedy_and_are_no_failure(
    without: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    without(*EXTRAS)
    code, lines = report(capsys)
    assert code == 0
    for name, extra in EXTRAS.values():
        position = line_of(name, lines)
        assert lines[position].split() == ["no", name, "not", "installed"]
        assert lines[position + 1].strip() == f'remedy: pip install "polyak[{extra}]"'
    assert not any("rendering" in line for line in lines)


def test_mujoco_that_cannot_render_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    monkeypatch.setattr(recording, "working_gl", lambda: None)
    code, lines = report(capsys)
    assert code == 0
    position = line_of("rendering", lines)
    assert lines[position].startswith("no ")
    assert lines[position + 1].strip() == f"remedy: {recording.GL_REMEDY}"


def test_old_python_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "MINIMUM_PYTHON", (99, 0))
    code, lines = report(capsys)
    assert code == 1
    assert lines[line_of("Python", lines)].startswith("no ")
    assert "install Python" in lines[line_of("Python", lines) + 1]


def test_jax_without_a_device_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def devices(*_: object) -> list[object]:
        raise RuntimeError("Unable to initialize backend 'cuda'")

    monkeypatch.setattr("jax.devices", devices)
    code, lines = report(capsys)
    assert code == 1
    assert "Unable to initialize backend 'cuda'" in lines[line_of("JAX", lines)]
    assert "remedy:" in lines[line_of("JAX", lines) + 1]


def test_an_extra_framework_that_does_not_work_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = doctor.frameworks.describe

    def describe(backend: str) -> str:
        if backend == "torch":
            raise OSError("libtorch_cpu.so: cannot open shared object file\nand more")
        return real(backend)

    monkeypatch.setattr(doctor.frameworks, "describe", describe)
    code, lines = report(capsys)
    assert code == 0
    position = line_of("PyTorch", lines)
    assert lines[position].endswith("does not work: libtorch_cpu.so: cannot open shared object file")
    assert lines[position + 1].strip() == 'remedy: reinstall it: pip install "polyak[torch]"'


def test_a_framework_that_lacks_algorithms_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = report(capsys)
    told = [lines[line_of(name, lines)].partition("; without ")[2] for name in ("JAX", "PyTorch", "TensorFlow")]
    assert told[:2] == ["", ""]
    assert {"tqc"} <= {*told[2].split(", ")}
    assert "sac" not in told[2]
