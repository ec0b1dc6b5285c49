"""Videos: real files that a decoder reads, on a machine without a screen; and clear errors where there can be none."""

import io
import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pytest

import polyak
from polyak import Run, TrainingError, UsageError
from polyak.policies import recording
from polyak.policies.recording import working_gl
from polyak.policies.recording.cameras import follow
from polyak.policies.recording.captions import captioned
from polyak.policies.recording.drawing import drawing_without_a_screen
from polyak.policies.recording.filming import Filming, PlainFilm, Unwatched, make_film_view
from polyak.policies.recording.gif import gif
from polyak.policies.recording.grid import layout, write_grid
from polyak.policies.recording.pictures import Pictures
from polyak.policies.recording.video import rate_of, video
from polyak.run.filming import labels_of
from tiny_cli import PATIENCE, Blank, Tiny, Unseen, call_cli, process_environment, untrained_run

record = Run.film
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
    (tmp_path / "new").mkdir()
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
    subprocess.run([sys.executable, "-c", program], env=process_environment(), check=True, timeout=PATIENCE)
    (path,) = run.videos.glob("*.mp4")
    frames, rate = frames_of(path)
    assert (len(frames), rate, frames[0].shape) == (13, 20, (480, 480, 3))
    assert move(frames)
    assert frames[0].std() > 10  # a scene, not one colour


@pytest.mark.parametrize(
    ("chosen", "camera"),
    [({}, 0), ({"camera_id": -1}, -1), ({"camera_name": "none"}, -1), ({"default_camera_config": {"distance": 9}}, -1)],
)
def test_the_camera_follows_the_robot_unless_a_view_was_chosen(chosen: dict[str, Any], camera: int) -> None:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    made: Any = gymnasium.make("Hopper-v5", **chosen)
    made.unwrapped.mujoco_renderer.camera_id = -1  # as Gymnasium 1.4 has it, which those before do not
    follow(made)
    assert made.unwrapped.mujoco_renderer.camera_id == camera


def test_what_has_no_camera_that_follows_stays_as_it_is() -> None:
    follow(gymnasium.make("Pendulum-v1"))
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    made: Any = gymnasium.make("InvertedPendulum-v5")
    before = made.unwrapped.mujoco_renderer.camera_id
    follow(made)
    assert made.unwrapped.mujoco_renderer.camera_id == before


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


@pytest.mark.parametrize(
    ("asked", "lengths"),
    [({"steps": 7}, (5, 2)), ({"steps": 5}, (5,)), ({"steps": 12, "episodes": 2}, (5, 5)), ({"steps": 3}, (3,))],
)
def test_a_video_of_so_many_steps_is_cut_off_there(
    asked: dict[str, int], lengths: tuple[int, ...], tiny: Run, tmp_path: Path
) -> None:
    made = record(tiny, output=tmp_path / "film.mp4", **asked)
    assert made.evaluation.lengths == lengths
    assert len(frames_of(made.path)[0]) == sum(lengths) + len(lengths)


def test_no_folder_is_made_that_nobody_asked_for(tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*film\.mp4: there is no folder .*nowhere; make it"):
        tiny.record(output=tmp_path / "nowhere" / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_a_video_of_actions_that_are_drawn_has_the_episodes_of_its_evaluation(tiny: Run, tmp_path: Path) -> None:
    made = record(tiny, 2, seed=3, deterministic=False, output=tmp_path / "film.mp4")
    assert made.evaluation == tiny.evaluate(2, seed=3, deterministic=False)
    assert made.evaluation.returns != tiny.evaluate(2, seed=3).returns


def test_environment_whose_pictures_are_none_is_refused(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    with pytest.raises(UsageError, match="render"):
        record(run, environment=lambda: Blank(render_mode="rgb_array"))
    assert not list(run.folder.rglob("*mp4*"))


def test_callable_is_asked_for_pictures(tmp_path: Path) -> None:
    def make(render_mode: str | None = None) -> Tiny:
        return Tiny(render_mode=render_mode)

    assert len(frames_of(record(untrained_run(tmp_path, make), environment=make).path)[0]) == 6


def test_how_far_it_is_in_steps() -> None:
    filming = Filming(Path("film.mp4"), 40, steps=40, ended=2, step=3, taken=13, frames=15)
    assert filming.line() == "recording step 13 of 40  episode 3  15 frames"
    assert not filming.enough()
    filming.taken = 40
    assert filming.enough()


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


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt, RuntimeError])
def test_what_is_raised_is_the_environments_fault_whatever_its_close_does(
    how: type[BaseException], tiny: Run, tmp_path: Path
) -> None:
    class Worn(Tiny):
        drawn = 0

        def render(self) -> Any:
            Worn.drawn += 1
            if Worn.drawn == 20:
                raise how
            return super().render()

        def step(self, action: Any) -> Any:
            if self.taken == 6:
                raise how
            return super().step(action)

        def close(self) -> None:
            raise how

    told = f"raised {how.__name__} in the recording, in episode 2 of 3, after 1 of its steps$"
    with pytest.warns(RuntimeWarning, match="did not close"), pytest.raises(TrainingError, match=told):
        record(tiny, 3, environment=Worn, output=tmp_path / "video.mp4")
    with pytest.warns(RuntimeWarning, match="did not close"):
        assert record(tiny, environment=Worn, output=tmp_path / "video.mp4").evaluation.lengths == (5,)
    Worn.drawn = 18
    told = rf"its render\(\) raised {how.__name__}"
    with pytest.warns(RuntimeWarning, match="did not close"), pytest.raises(UsageError, match=told):
        record(tiny, environment=Worn, output=tmp_path / "video.mp4")


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


SDL = ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER", "PYGAME_HIDE_SUPPORT_PROMPT", "XDG_RUNTIME_DIR", "MUJOCO_GL")


class Window(Tiny):
    """Draws as pygame does that finds no screen: only with the drivers `works`; notes the variables of each try."""

    def __init__(self, *works: str | None, where: str = "render", **options: Any) -> None:
        super().__init__(render_mode="rgb_array", **options)
        self.works, self.where, self.tried = works, where, list[str | None]()
        self.variables: dict[str, str] = {}

    def reset(self, **options: Any) -> Any:
        if self.where == "reset":
            self._open()
        return super().reset(**options)

    def render(self) -> Any:
        if self.where == "render":
            self._open()
        self.variables = {name: os.environ[name] for name in SDL if name in os.environ}
        return super().render()

    def _open(self) -> None:
        import pygame

        self.tried.append(os.environ.get("SDL_VIDEODRIVER"))
        if self.tried[-1] not in self.works:
            raise pygame.error("No available video device")


@pytest.mark.parametrize("where", ["render", "reset"])
@pytest.mark.parametrize(
    ("works", "tried"),
    [((None,), [None]), (("offscreen",), [None, "offscreen"]), (("dummy",), [None, "offscreen", "dummy"])],
)
def test_a_video_driver_is_chosen_only_where_drawing_fails_without(
    works: tuple[str | None, ...], tried: list[str | None], where: str, tiny: Run, tmp_path: Path, monkeypatch: Any
) -> None:
    for name in SDL:
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    window = Window(*works, where=where)
    made = record(tiny, output=tmp_path / "film.mp4", environment=lambda: window)
    assert len(frames_of(made.path)[0]) == 6
    assert window.tried[: len(tried)] == tried
    assert set(window.tried[len(tried) :]) <= {tried[-1]}
    assert window.variables.get("SDL_VIDEODRIVER") == tried[-1]
    assert (window.variables["SDL_AUDIODRIVER"], window.variables["PYGAME_HIDE_SUPPORT_PROMPT"]) == ("dummy", "1")
    assert dict(os.environ) == before


def test_a_constructor_that_opens_a_window_gets_a_driver_too(tiny: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    tried: list[str | None] = []

    def make() -> Tiny:
        import pygame

        tried.append(os.environ.get("SDL_VIDEODRIVER"))
        if tried[-1] is None:
            raise pygame.error("No available video device")
        return Tiny(render_mode="rgb_array")

    record(tiny, output=tmp_path / "film.mp4", environment=make)
    assert tried == [None, "offscreen"]
    assert "SDL_VIDEODRIVER" not in os.environ


def test_the_users_driver_a_screen_and_other_faults_are_left_alone(tiny: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    for _ in range(2):
        window = Window("dummy")
        with pytest.raises(UsageError, match=r"its render\(\) raised error: No available video device"):
            record(tiny, output=tmp_path / "film.mp4", environment=lambda window=window: window)
        assert len(window.tried) == 1
        monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
        monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("DISPLAY")
    window = Window()
    with pytest.raises(UsageError, match=r"its render\(\) raised error: No available video device"):
        record(tiny, output=tmp_path / "film.mp4", environment=lambda: window)
    assert window.tried == [None, "offscreen", "dummy"]
    assert "SDL_VIDEODRIVER" not in os.environ
    assert not list(tmp_path.iterdir())


def test_the_choice_for_mujoco_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "working_gl", lambda: "egl")
    with drawing_without_a_screen():
        recording.require_mujoco_rendering()
        assert os.environ["MUJOCO_GL"] == "egl"
    assert "MUJOCO_GL" not in os.environ


# Pictures

GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
RGBA = np.dstack([COLOUR, np.zeros((12, 16), np.uint8)])
COLOURED_GREY = np.repeat(GREY[:, :, None], 3, axis=2)


class Tensor:
    """As PyTorch's, which wants a gradient."""

    ndim = 3

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> Any:
        return COLOUR


def image(mode: str, array: Any = COLOUR) -> Any:
    from PIL import Image

    return Image.fromarray(array).convert(mode)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (COLOUR, COLOUR),
        (RGBA, COLOUR),
        (COLOUR / 255, COLOUR),
        ((COLOUR / 255).astype(np.float32), COLOUR),
        (RGBA / 255, COLOUR),
        (COLOUR.astype(np.float64), COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR.astype(np.uint16), COLOUR),
        (GREY, COLOURED_GREY),
        (GREY[:, :, None], COLOURED_GREY),
        (np.dstack([GREY, GREY]), COLOURED_GREY),
        (GREY / 255, COLOURED_GREY),
        (GREY > 100, np.where(COLOURED_GREY > 100, 255, 0)),
        ((COLOUR > 100)[:, :, :3], np.where(COLOUR > 100, 255, 0)),
        (COLOUR[::-1, ::-1], COLOUR[::-1, ::-1]),
        (np.asfortranarray(COLOUR), COLOUR),
        (np.moveaxis(COLOUR, 2, 0), COLOUR),
        (GREY[None, :, :], COLOURED_GREY),
        (COLOUR.tolist(), COLOUR),
        (tuple(COLOUR.tolist()), COLOUR),
        ([COLOUR], COLOUR),
        (COLOUR[None], COLOUR),
        (Tensor(), COLOUR),
        (COLOUR / 255 * 1.0000001, COLOUR),
        (np.zeros((12, 16, 3)), np.zeros((12, 16, 3))),
        (np.ma.masked_array(COLOUR), COLOUR),
    ],
)
def test_every_kind_of_picture_becomes_its_colours(picture: Any, expected: Any) -> None:
    (frame,) = Pictures().frames(picture)
    assert (frame.dtype, frame.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "F", "I", "CMYK"])
def test_images_of_pil_are_taken(mode: str) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    given = image(mode)
    (frame,) = Pictures().frames(given)
    np.testing.assert_allclose(frame, np.asarray(given.convert("RGB")), atol=1)  # Pillow cuts off, we round
    assert len(Pictures().frames([given, given])) == 2


def test_several_frames_of_one_step_are_all_taken() -> None:
    pictures = Pictures()
    for given in ([COLOUR, GREY, RGBA / 255], np.stack([COLOUR] * 3), (GREY, GREY, GREY)):
        assert len(pictures.frames(given)) == 3
    assert pictures.frames([]) == []
    assert pictures.count == 9


def test_floats_up_to_255_are_remembered_in_a_dark_frame() -> None:
    pictures = Pictures()
    dark = np.full((4, 4, 3), 1.0)
    assert pictures.frames(dark)[0].max() == 255
    pictures.frames(COLOUR.astype(np.float32))
    assert pictures.frames(dark)[0].max() == 1


class Odd:
    """Neither picture nor array."""


class Failing:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("it is on another device")


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (None, "no picture"),
        ("text of the ansi mode", "a str"),
        ({"front": COLOUR}, "a dict"),
        (Odd(), "a Odd"),
        (Failing(), "a Failing that is no array (it is on another device"),
        (3.0, "the shape ()"),
        (np.zeros(7, np.uint8), r"the shape (7,)"),
        (np.zeros((12, 16, 5), np.uint8), "the shape (12, 16, 5)"),
        (np.zeros((0, 16, 3), np.uint8), "the shape (0, 16, 3)"),
        (np.zeros((2, 2, 2, 2, 3), np.uint8), "the shape (2, 2, 2, 2, 3)"),
        (np.zeros((12, 16, 3), complex), "of complex128"),
        (np.full((12, 16, 3), np.nan), "numbers from nan to nan"),
        (np.full((12, 16, 3), -0.5), "numbers from -0.5 to -0.5 (float64)"),
        (np.full((12, 16), 65535, np.uint16), "numbers from 65535 to 65535 (uint16)"),
        ([[1, 2], [3]], "a list that is no array"),
    ],
)
def test_what_is_no_picture_is_named_with_render(picture: Any, said: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be recorded: its render\(\) gives ") as caught:
        Pictures().frames(picture)
    assert re.search(re.escape(said).replace("\\ \\.it", " .it").replace(r"\.it", ".it"), str(caught.value))
    assert "right is an array [height, width, 3]" in str(caught.value)


class Drawing(Tiny):
    """Shows what it is given, one after another."""

    def __init__(self, *pictures: Any) -> None:
        super().__init__(render_mode="rgb_array")
        self._pictures = pictures

    def render(self) -> Any:
        picture = self._pictures[min(self._time, len(self._pictures) - 1)]
        if isinstance(picture, BaseException):
            raise picture
        return picture


def test_a_video_of_floats_is_not_black(tiny: Run, tmp_path: Path) -> None:
    drawing = Drawing(np.full((40, 64, 3), 0.5), np.full((40, 64), True), np.full((40, 64, 4), 1.0, np.float32))
    frames, _ = frames_of(record(tiny, output=tmp_path / "film.mp4", environment=lambda: drawing).path)
    assert [round(float(frame.mean()), -1) for frame in frames] == [130, 260, 260, 260, 260, 260]


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (np.zeros((44, 64, 3), np.uint8), r"render\(\) gives a frame of \(44, 64\) after some of \(40, 64\)"),
        ("text", r"render\(\) gives a str"),
        (TypeError("no context"), r"render\(\) raised TypeError: no context"),
        (SystemExit(0), r"render\(\) raised SystemExit: 0"),
    ],
)
def test_a_fault_in_render_is_named_and_leaves_no_file(later: Any, said: str, tiny: Run, tmp_path: Path) -> None:
    first = np.full((40, 64, 3), 9, np.uint8)
    with pytest.raises(UsageError, match=f"^the environment cannot be recorded: its {said}"):
        record(tiny, output=tmp_path / "film.mp4", environment=lambda: Drawing(first, later))
    assert not list(tmp_path.iterdir())


def test_no_frame_at_all_is_refused(tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"its render\(\) gave no frame"):
        record(tiny, output=tmp_path / "film.mp4", environment=lambda: Drawing([]))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_not_the_environments_fault(tiny: Run, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(av, "open", full)
    with pytest.raises(UsageError, match=r"cannot write the video .*film\.mp4.*No space left"):
        record(tiny, output=tmp_path / "film.mp4")


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 30)])
def test_one_colour_in_all_frames_is_noticed(colour: Any) -> None:
    blank = np.full((40, 64, 3), colour, np.uint8)
    pictures, spotted, faded = Pictures(), Pictures(), Pictures()
    assert pictures.one_colour is None  # no frame, no colour
    spot = blank.copy()
    spot[3, 4] = 128
    for _ in range(3):
        pictures.frames(blank)
        spotted.frames(blank)
        faded.frames(blank)
    assert pictures.one_colour == spotted.one_colour == colour
    spotted.frames(spot)
    faded.frames(blank // 2 + 50)
    assert spotted.one_colour is faded.one_colour is None


def test_a_video_of_one_colour_is_warned_of(tiny: Run, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    path, blank = tmp_path / "film.mp4", np.zeros((40, 64, 3), np.uint8)
    for driver in ("", "; SDL_VIDEODRIVER is dummy, with which"):
        said = (
            f"all 6 frames of {path} are of one colour, RGB (0, 0, 0): nothing that render() gives can be seen{driver}"
        )
        with pytest.warns(UserWarning, match=re.escape(said)):
            record(tiny, output=path, environment=lambda: Drawing(blank))
        assert path.exists()
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.parametrize(
    ("asked", "rate"),
    [
        (29.97, Fraction(2997, 100)),
        (30_000 / 1001, Fraction(30_000, 1001)),
        (12.5, Fraction(25, 2)),
        (np.float32(12.5), Fraction(25, 2)),
        (np.int64(50), Fraction(50)),
        (np.array(25.0), Fraction(25)),
        (1000, Fraction(1000)),
        (0.5, Fraction(1, 2)),
        *((wrong, Fraction(30)) for wrong in (0, None, -5, float("nan"), float("inf"), "fast", [], 1e300, 1e-9, {})),
    ],
)
def test_frames_per_second_are_the_environments_own_as_a_fraction(asked: Any, rate: Fraction) -> None:
    assert rate_of({"render_fps": asked}) == rate


@pytest.mark.parametrize("rate", [Fraction(2997, 100), Fraction(25, 2), Fraction(1000), Fraction(1, 2), 12.5])
def test_rates_that_are_no_whole_numbers_are_kept(rate: Any, tmp_path: Path) -> None:
    with video(tmp_path / "film.mp4", rate) as add_frame:
        for _ in range(3):
            add_frame(COLOUR)
    assert frames_of(tmp_path / "film.mp4")[1] == pytest.approx(float(rate))


def test_a_video_that_is_cut_off_by_an_odd_size_of_one_is_doubled(tmp_path: Path) -> None:
    with video(tmp_path / "film.mp4", 30) as add_frame:
        add_frame(np.zeros((1, 1, 3), np.uint8))
    assert frames_of(tmp_path / "film.mp4")[0][0].shape == (2, 2, 3)


# How far it is


class Watching(Unwatched):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, filming: Filming) -> None:
        self.lines.append("started")

    def stepped(self, filming: Filming) -> None:
        self.lines.append(filming.line())

    def ended(self, filming: Filming) -> None:
        self.lines.append("ended")


def test_a_recording_says_how_far_it_is(tiny: Run, tmp_path: Path) -> None:
    watching = Watching()
    record(tiny, 2, output=tmp_path / "film.mp4", observer=watching)
    assert (watching.lines[0], watching.lines[-1], len(watching.lines)) == ("started", "ended", 12)
    assert watching.lines[1] == "recording episode 1 of 2  step 1  2 frames"
    assert watching.lines[-2] == "recording episode 2 of 2  step 5  12 frames"
    watching = Watching()
    with pytest.raises(UsageError):
        record(tiny, output=tmp_path / "film.mp4", environment=lambda: Drawing("text"), observer=watching)
    assert watching.lines == ["started", "ended"]


def test_plain_lines_come_by_the_clock() -> None:
    now = [100.0]
    stream = io.StringIO()
    view, filming = PlainFilm(stream, lambda: now[0]), Filming(Path("film.mp4"), 3)
    view.started(filming)
    for seconds in (100.5, 101.0, 102.0, 105.9, 106.0, 106.5):
        now[0] = seconds
        filming.step += 1
        view.stepped(filming)
    assert [line.split("  ")[1] for line in stream.getvalue().splitlines()] == ["step 2", "step 5"]


def test_the_live_line_is_for_terminals() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    assert isinstance(make_film_view(stream, plain=True), PlainFilm)
    assert isinstance(make_film_view(io.StringIO()), PlainFilm)
    view, filming = make_film_view(stream), Filming(Path("film.mp4"), 3, frames=7)
    view.ended(filming)  # one that never started
    view.started(filming)
    view.ended(filming)
    assert "recording episode 1 of 3" in stream.getvalue()


@pytest.mark.filterwarnings("default:.*of one colour")
def test_the_command_line_warns_in_one_line(tiny: Run, tmp_path: Path) -> None:
    gymnasium.register("Dark-v0", entry_point=lambda render_mode=None: Drawing(np.zeros((40, 64, 3), np.uint8)))
    try:
        output = ("--output", str(tmp_path / "film.mp4"))
        code, out, err = call_cli("record", str(tiny.folder), "--environment", "Dark-v0", *output)
    finally:
        del gymnasium.registry["Dark-v0"]
    assert (code, out) == (0, f"{tmp_path / 'film.mp4'}\n")
    (warned,) = [line for line in err.splitlines() if "one colour" in line]
    assert warned.startswith("polyak: warning: all 6 frames of ")
    assert "warnings.warn" not in err


def test_path_of_another_kind_of_file_is_refused(tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"film\.avi, but must end in \.mp4 or \.gif"):
        record(tiny, output=tmp_path / "film.avi")
    with pytest.raises(UsageError, match=r"film\.mp4, but must end in \.gif with gif"):
        record(tiny, output=tmp_path / "film.mp4", gif=True)
    assert not list(tmp_path.iterdir())


# To share: GIFs, captions, several side by side


def test_a_gif_has_every_step_at_the_environments_rate(tiny: Run, tmp_path: Path) -> None:
    frames, rate = frames_of(record(tiny, output=tmp_path / "film.gif").path)
    assert [round((float(frame.mean()) - 20) / 40) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert (frames[0].shape, rate) == ((41, 65, 3), 10)
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]
    assert tiny.record(seed=8, gif=True) == tiny.videos / "policy-seed8.gif"


def test_a_gif_is_no_faster_and_no_larger_than_can_be_shown(tmp_path: Path) -> None:
    red = np.zeros((30, 960, 3), np.uint8)
    red[:, :480, 0] = 255
    with gif(tmp_path / "film.gif", 125) as add_frame:
        for number in range(9):
            add_frame(red[:, ::-1] if number % 2 else red)
    frames, rate = frames_of(tmp_path / "film.gif")
    assert (len(frames), frames[0].shape) == (3, (15, 480, 3))  # numbers 0, 3, 6
    assert rate in (40, 50)  # 125 / 3, of which two frames last 2 and 3 hundredths of a second
    np.testing.assert_allclose(frames[0][8, (100, 380)], [[255, 0, 0], [0, 0, 0]], atol=8)
    assert (frames[0] != frames[1]).any()


def test_the_overlay_is_in_the_corner_alone(tmp_path: Path) -> None:
    frame = np.full((200, 300, 3), 100, np.uint8)
    one, other = (captioned(frame, [f"return {value}"]) for value in ("-1.0", "-8.0"))
    assert (one != other).any()
    assert one.max() == 255
    np.testing.assert_array_equal(one[30:], frame[30:])
    np.testing.assert_array_equal(one[:, 150:], frame[:, 150:])
    assert (frame == 100).all()  # itself as it was
    assert captioned(frame[:5, :8], ["longer than that", "\0\ud800"]).shape == (5, 8, 3)


def test_return_and_time_are_drawn_on_request(tiny: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(recording, "captioned", lambda frame, lines: drawn.append(lines) or frame)
    made = record(tiny, 2, overlay=True, output=tmp_path / "film.mp4")
    assert len(drawn) == 12
    assert drawn[0] == drawn[6] == ["return 0.0", "step 0   0.00 s"]
    for last, total in zip((drawn[5], drawn[11]), made.evaluation.returns, strict=True):
        assert last == [f"return {total:.1f}", "step 5   0.50 s"]


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2)), (7, (3, 3)), (16, (4, 4))]
)
def test_layout(count: int, shape: tuple[int, int]) -> None:
    assert layout(count) == shape


def lossless(path: Path, frames: Frames, rate: int, begins: tuple[int, ...]) -> recording.Recording:
    with video(path, rate) as add_frame:
        for frame in frames:
            add_frame(frame)
    nothing: Any = None
    return recording.Recording(path, nothing, Fraction(rate), begins, len(frames))


def test_the_last_frame_stays_where_an_episode_ends_earlier(tmp_path: Path) -> None:
    long = [np.full((20, 30, 3), 40 + 10 * number, np.uint8) for number in range(9)]  # episodes of 5 and 4 frames
    short = [np.full((10, 20, 3), 140 + 20 * number, np.uint8) for number in range(4)]  # of 1 and 3, at half the rate
    films = [lossless(tmp_path / "a.mkv", long, 20, (0, 5)), lossless(tmp_path / "b.mkv", short, 10, (0, 1))]
    write_grid(tmp_path / "grid.mkv", films)
    frames, rate = frames_of(tmp_path / "grid.mkv")
    assert (rate, frames[0].shape) == (20, (20, 64, 3))
    seen = [(int(frame[10, 10, 0]), int(frame[10, 49, 0])) for frame in frames]
    assert [first for first, _ in seen] == [40, 50, 60, 70, 80, 90, 100, 110, 120, 120, 120]
    assert [second for _, second in seen] == [140] * 5 + [160, 160, 180, 180, 200, 200]
    assert {int(frame[1, 49, 0]) for frame in frames} == {24}  # a smaller picture is in the middle of its place


def test_seeds_are_side_by_side_with_their_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [untrained_run(tmp_path / "runs", seed=seed) for seed in (3, 11)]
    assert labels_of(runs) == ("seed 3", "seed 11")
    assert labels_of([runs[0], runs[0]])[0] == f"seed 3 {runs[0].folder.name}"
    path = polyak.record(runs, seed=2)
    assert path == tmp_path / "policies-seed2.mp4"
    frames, _ = frames_of(path)
    assert (len(frames), frames[0].shape) == (6, (40, 134, 3))
    left, right = frames[0][:20, :60].astype(int), frames[0][:20, 70:130].astype(int)
    assert left.max() > 200  # white on nearly black
    assert np.abs(left - right).max() > 100  # another seed
    code, out, err = call_cli("record", "runs", "--gif", "--overlay", "-o", "grid.gif")
    assert (code, out, len(frames_of(Path("grid.gif"))[0])) == (0, "grid.gif\n", 6)
    assert [line.split(":")[0] for line in err.splitlines() if "returns" in line] == ["seed 3", "seed 11"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["grid.gif", "policies-seed2.mp4", "runs"]


def test_what_cannot_be_side_by_side(tiny: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="17 runs cannot be recorded side by side: name 1 to 16 runs"):
        polyak.record([tiny] * 17, output=tmp_path / "film.mp4")
    code, _, err = call_cli("record", str(tiny.policy_file), str(tiny.folder))
    assert (code, err.count("\n")) == (2, 1)
    assert "is a policy alone, but several are recorded by their runs: name its run" in err
    assert call_cli("record")[0] == 2
