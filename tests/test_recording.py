"""Videos: real files that a decoder reads, on a machine without a screen; and clear errors where there can be none."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import polyak
from polyak import Run, UsageError, recording
from polyak.recording import record, video, working_gl
from tiny_cli import Blank, Tiny, Unseen, process_environment, untrained_run

Frames = list[np.ndarray[Any, np.dtype[np.uint8]]]


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server; what `record` puts into the environment is taken out again."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def frames_of(path: Path) -> tuple[Frames, float]:
    """The decoded pictures and the frames per second."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], float(stream.average_rate)


def move(frames: Frames) -> bool:
    """Whether pictures change all along: a policy without any training moves as well."""
    first, *_, last = frames
    different = [float(np.abs(one.astype(int) - other).mean()) for one, other in pairwise(frames)]
    return sum(value > 0 for value in different) > len(different) / 2 and bool((first != last).any())


def short_run(environment: Any, folder: Path) -> Run:
    """A run whose episodes are cut after 12 steps."""
    options = {"steps": 2, "evaluation_episodes": 1, "max_episode_steps": 12}
    return polyak.load(untrained_run(folder, environment, **options).folder)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


def test_every_step_is_in_the_video_from_the_first_to_the_last(tiny: Run, tmp_path: Path) -> None:
    made = record(tiny, 2, seed=3, output=tmp_path / "new" / "film.mp4")
    assert made.path == tmp_path / "new" / "film.mp4"
    frames, rate = frames_of(made.path)
    assert rate == 10  # the environment's own
    times = [round((float(frame.mean()) - 20) / 40) for frame in frames]  # brightness is 20 + 40 t
    assert times == [0, 1, 2, 3, 4, 5] * 2
    assert frames[0].shape == (40, 64, 3)  # of 41 x 65: H.264 takes even sizes only
    assert made.evaluation == tiny.evaluate(2, seed=3)
    assert [file.name for file in made.path.parent.iterdir()] == ["film.mp4"]


def test_videos_go_into_the_runs_folder_by_default(tiny: Run) -> None:
    assert tiny.record(seed=5) == tiny.videos / "policy-seed5.mp4"
    assert tiny.record(seed=5, best=True) == tiny.videos / "best-seed5.mp4"
    assert all(len(frames_of(path)[0]) == 6 for path in tiny.videos.iterdir())


def test_browsers_play_the_format(tiny: Run, tmp_path: Path) -> None:
    path = tiny.record(output=tmp_path / "film.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # playable before it is wholly loaded


def test_pendulum(tmp_path: Path) -> None:
    frames, rate = frames_of(short_run("Pendulum-v1", tmp_path).record())
    assert (len(frames), rate, frames[0].shape) == (13, 30, (500, 500, 3))
    assert move(frames)


def test_lunar_lander(tmp_path: Path) -> None:
    pytest.importorskip("Box2D", reason="Box2D is not installed", exc_type=ImportError)
    frames, rate = frames_of(short_run("LunarLanderContinuous-v3", tmp_path).record())
    assert (len(frames), rate, frames[0].shape) == (13, 50, (400, 600, 3))
    assert move(frames)


def test_half_cheetah(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    if working_gl() is None:
        pytest.skip(f"MuJoCo finds no way to render: {recording.GL_REMEDY}")
    run = short_run("HalfCheetah-v5", tmp_path)
    program = f"import polyak; polyak.load({str(run.folder)!r}).record()"  # away from this process's frameworks
    subprocess.run([sys.executable, "-c", program], env=process_environment(), check=True, timeout=300)
    (path,) = run.videos.glob("*.mp4")
    frames, rate = frames_of(path)
    assert (len(frames), rate, frames[0].shape) == (13, 20, (480, 480, 3))
    assert move(frames)
    assert frames[0].std() > 10  # a scene, not one colour


def test_mujoco_without_any_way_to_render_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    monkeypatch.setattr(recording, "working_gl", lambda: None)
    run = short_run("InvertedPendulum-v5", tmp_path)
    with pytest.raises(UsageError, match=r"MuJoCo cannot render here.*libegl1.*libosmesa6"):
        run.record()
    assert not list(run.folder.rglob("*.mp4"))


def test_mujoco_beside_tensorflow_is_refused_where_it_would_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(recording, "working_gl", lambda first="": None if "tensorflow" in first else "egl")
    with pytest.raises(UsageError, match=r"loaded TensorFlow.*another process.*polyak record"):
        short_run("InvertedPendulum-v5", tmp_path).record()
    short_run("Pendulum-v1", tmp_path).record()  # which pygame draws
    monkeypatch.setattr(recording, "working_gl", lambda first="": "egl")
    recording.require_no_clash_with_tensorflow()


def test_the_users_choice_of_rendering_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "working_gl", lambda: pytest.fail("there was no need to try"))
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    recording.require_mujoco_rendering()
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_first_backend_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Failed:
        returncode = 1

    def run(*_: Any, env: dict[str, str], **__: Any) -> Any:
        tried.append(env["MUJOCO_GL"])
        done = Failed()
        done.returncode = 0 if env["MUJOCO_GL"] == "osmesa" else 1
        return done

    monkeypatch.setattr("subprocess.run", run)
    recording.require_mujoco_rendering()
    assert (os.environ["MUJOCO_GL"], tried) == ("osmesa", ["egl", "osmesa"])


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes:UserWarning")
@pytest.mark.parametrize("environment", ["tiny_cli:Unseen-v0", Unseen])
def test_environment_that_draws_nothing_is_refused(environment: Any, tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    with pytest.raises(UsageError, match="rgb_array"):
        record(run, environment=environment)
    assert not run.videos.exists()


def test_environment_whose_pictures_are_none_is_refused(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    with pytest.raises(UsageError, match="render"):
        record(run, environment=lambda: Blank(render_mode="rgb_array"))
    assert not list(run.folder.rglob("*mp4*"))


def test_callable_is_asked_for_pictures(tmp_path: Path) -> None:
    def make(render_mode: str | None = None) -> Tiny:
        return Tiny(render_mode=render_mode)

    assert len(frames_of(record(untrained_run(tmp_path, make), environment=make).path)[0]) == 6


def test_failure_leaves_no_file_and_keeps_an_older_video(tmp_path: Path) -> None:
    made: list[Tiny] = []

    def make() -> Tiny:
        made.append(Tiny(render_mode="rgb_array", raises_at=3))
        return made[-1]

    run = untrained_run(tmp_path)
    old = run.record()
    before = old.read_bytes()
    with pytest.raises((RuntimeError, UsageError), match="the simulator broke"):
        record(run, environment=make)
    assert [file.name for file in run.videos.iterdir()] == [old.name]
    assert old.read_bytes() == before
    assert made[0].closed


@pytest.mark.parametrize("episodes", [0, -1])
def test_fewer_than_one_episode_is_refused(episodes: int, tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"episodes is {episodes}, but must be at least 1"):
        tiny.record(episodes, output=tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "shown"), [((6, 8), (6, 8)), ((7, 8), (6, 8)), ((33, 21), (32, 20))])
def test_odd_sizes_are_made_even(given: tuple[int, int], shown: tuple[int, int], tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*given, 3), np.uint8)
    with video(tmp_path / "film.mp4", 30) as add_frame:
        add_frame(frame)
    frames, _ = frames_of(tmp_path / "film.mp4")
    assert frames[0].shape == (*shown, 3)


def test_pygame_needs_neither_screen_nor_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER", "PYGAME_HIDE_SUPPORT_PROMPT")

    def prepared(**before: str) -> list[str | None]:
        for name in (*names, "DISPLAY"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in before.items():
            monkeypatch.setenv(name, value)
        recording.prepare_headless_rendering()
        return [os.environ.get(name) for name in names]

    monkeypatch.setattr("sys.platform", "linux")
    assert prepared() == ["dummy", "dummy", "1"]
    assert prepared(DISPLAY=":0") == [None, "dummy", "1"]
    assert prepared(SDL_VIDEODRIVER="offscreen") == ["offscreen", "dummy", "1"]


def test_path_of_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"film\.gif, but must end in \.mp4"):
        record(untrained_run(tmp_path), output=tmp_path / "film.gif")
