"""Videos of a run's policy: mp4 files that play in a browser, rendered without a screen."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Wrapper
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from polyak.environments.closing import close
from polyak.environments.make import Environment, Environments, make_environment, make_environments
from polyak.errors import UsageError
from polyak.evaluation import Evaluation, evaluate
from polyak.system.files import prepare_to_write
from polyak.system.randomness import Streams
from polyak.system.signals import interrupts_marked

if TYPE_CHECKING:
    from polyak.runs import Run

Frame = NDArray[np.uint8]
"""[height, width, 3]"""

GL_BACKENDS = ("egl", "osmesa")
GL_REMEDY = "install libegl1 (EGL) or libosmesa6 (OSMesa) with your system's package manager"


@dataclass(frozen=True)
class Recording:
    """A video and what its episodes gave."""

    path: Path
    evaluation: Evaluation


def run_environments(run: "Run", seed: int, *, environment: Environment | None = None) -> Environments:
    """The environment that a run was trained on, as it was then, with fresh episodes drawn from `seed`.

    Raises:
        UsageError: the run was given a callable and `environment` does not say which.
    """
    limit = run.settings["settings"]["max_episode_steps"]
    if seed < 0:
        raise UsageError(f"seed is {seed}, but must be at least 0")
    return make_environments(run.environment(environment), 1, Streams(seed).evaluation, max_episode_steps=limit)


@interrupts_marked()
def record(
    run: "Run",
    episodes: int = 1,
    *,
    seed: int = 0,
    best: bool = False,
    output: Path | None = None,
    environment: Environment | None = None,
) -> Recording:
    """Record `episodes` of the latest (or best) policy to `output`, by default in the run's `videos/`.

    The episodes are those of `run_environments` with the same seed.

    Raises:
        UsageError: the environment has no `rgb_array` rendering, or MuJoCo finds no way to render.
    """
    policy = run.best_policy if best else run.policy
    if seed < 0:
        raise UsageError(f"seed is {seed}, but must be at least 0")
    output = output or run.videos / f"{'best' if best else 'policy'}-seed{seed}.mp4"
    if output.suffix.lower() != ".mp4":
        raise UsageError(f"the video's path is {output}, but must end in .mp4, which is what is written")
    prepare_headless_rendering()
    limit = run.settings["settings"]["max_episode_steps"]
    made = make_environment(run.environment(environment), max_episode_steps=limit, render_mode="rgb_array")
    try:
        _require_rendering(made, run.settings["environment"])
        with video(output, int(made.metadata.get("render_fps") or 30)) as add_frame:
            environments = make_environments(lambda: _Filmed(made, add_frame), 1, Streams(seed).evaluation)
            result = evaluate(policy, environments, episodes, seed=seed, occasion="in the recording")
    finally:
        close(made)
    return Recording(output, result)


def _require_rendering(environment: Any, name: str) -> None:
    if isinstance(environment, VectorEnv):
        raise UsageError(f"{name} makes a whole VectorEnv, but a video needs a single environment: pass one that does")
    modes = environment.metadata.get("render_modes", [])
    if environment.render_mode != "rgb_array":
        raise UsageError(
            f"{name} cannot be recorded: it was made with render mode {environment.render_mode} and offers "
            f"{modes or 'none'}; a video needs rgb_array (a callable gets it as its argument render_mode)"
        )
    if "mujoco" in sys.modules:
        require_mujoco_rendering()
    if any("mujoco" in kind.__module__ for kind in type(environment.unwrapped).__mro__):
        require_no_clash_with_tensorflow()


class _Filmed(Wrapper[Any, Any, Any, Any]):
    """Adds a frame after every step, and one before an episode's first; a reset that no step follows adds none."""

    def __init__(self, environment: Any, add_frame: Callable[[Frame], None]) -> None:
        super().__init__(environment)
        self._add_frame = add_frame
        self._fresh = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._fresh = True
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._fresh:
            self._film()
            self._fresh = False
        result = self.env.step(action)
        self._film()
        return result

    def _film(self) -> None:
        picture: Any = self.env.render()
        if picture is None:
            raise UsageError("the environment cannot be recorded: its render() gives no picture")
        self._add_frame(np.asarray(picture, np.uint8))


@contextmanager
def video(path: Path, fps: int) -> Generator[Any]:
    """Write an H.264 mp4: a context that gives a function to add a frame. A failure leaves no file."""
    import av

    prepare_to_write(path)
    # absolute: PyAV takes what begins with s3: or pipe: for no file
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp").absolute()
    stream: Any = None
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as container:

            def add_frame(frame: Frame) -> None:
                nonlocal stream
                frame = _even(frame)
                if stream is None:
                    stream = container.add_stream("h264", rate=fps)
                    stream.height, stream.width = frame.shape[:2]
                    stream.pix_fmt = "yuv420p"  # what browsers play
                    stream.options = {"crf": "20"}
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                    container.mux(packet)

            yield add_frame
            if stream is not None:
                for packet in stream.encode():
                    container.mux(packet)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _even(frame: Frame) -> Frame:
    """H.264 with yuv420p takes even sizes only: drop an odd last row or column."""
    height, width = frame.shape[:2]
    return np.ascontiguousarray(frame[: height - height % 2, : width - width % 2])


def prepare_headless_rendering() -> None:
    """Let pygame draw without a screen or a sound card, and keep its greeting off standard output."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if not _has_display():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


def require_mujoco_rendering() -> None:
    """Choose how MuJoCo renders, before its first frame.

    Raises:
        UsageError: there is no screen, and neither EGL nor OSMesa works; the message says what to install.
    """
    if "MUJOCO_GL" in os.environ or _has_display():
        return
    backend = working_gl()
    if backend is None:
        raise UsageError(
            f"MuJoCo cannot render here: there is no screen, and neither EGL nor OSMesa works; {GL_REMEDY}"
        )
    os.environ["MUJOCO_GL"] = backend


def require_no_clash_with_tensorflow() -> None:
    """Check that MuJoCo still draws where TensorFlow is loaded: both may bring an LLVM, and one calls the other's.

    Raises:
        UsageError: it would crash this process.
    """
    if "tensorflow" in sys.modules and sys.platform == "linux" and working_gl("import tensorflow") is None:
        raise UsageError(
            "MuJoCo cannot render here: this process has loaded TensorFlow, whose libraries clash with the drawing "
            "ones; record from another process, as with: polyak record RUN"
        )


def working_gl(first: str = "") -> str | None:
    """The first way to render MuJoCo without a screen that really works, tried in a process of its own.

    Where `first`, a line of Python, is run before, the process is like one that has done that.
    """
    for backend in GL_BACKENDS:
        tried = subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", f"{first}\n{_DRAWING}"],
            env={**os.environ, "MUJOCO_GL": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if tried.returncode == 0:
            return backend
    return None


_DRAWING = """
import mujoco
texture = "<texture name='t' type='2d' builtin='checker' width='8' height='8'/>"
asset = f"<asset>{texture}<material name='m' texture='t'/></asset>"
world = "<worldbody><geom size='1' material='m'/></worldbody>"
model = mujoco.MjModel.from_xml_string(f"<mujoco>{asset}{world}</mujoco>")
renderer = mujoco.Renderer(model, 64, 64)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
renderer.close()
"""


def _has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
