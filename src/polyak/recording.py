"""Videos of a run's policy: mp4 files that play in a browser, rendered without a screen."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polyak.environments import Environment, Environments, make_environments
from polyak.errors import UsageError
from polyak.evaluation import Evaluation, evaluate
from polyak.randomness import Streams

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


def run_environments(
    run: "Run", seed: int, *, environment: Environment | None = None, render_mode: str | None = None
) -> Environments:
    """The environment that a run was trained on, as it was then, with fresh episodes drawn from `seed`.

    Raises:
        UsageError: the run was given a callable and `environment` does not say which.
    """
    settings = run.settings
    if environment is None:
        if settings["environment_is_callable"]:
            raise UsageError(
                f"{run.folder} was trained on a callable ({settings['environment']}), which a folder cannot hold: "
                "pass it as `environment`"
            )
        environment = str(settings["environment"])
    limit = settings["settings"]["max_episode_steps"]
    if seed < 0:
        raise UsageError(f"seed is {seed}, but must be at least 0")
    return make_environments(environment, 1, Streams(seed).evaluation, max_episode_steps=limit, render_mode=render_mode)


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

    Raises:
        UsageError: the environment has no `rgb_array` rendering, or MuJoCo finds no way to render.
    """
    policy = run.best_policy if best else run.policy
    if output is None:
        output = run.videos / f"{'best' if best else 'policy'}-seed{seed}.mp4"
    prepare_headless_rendering()
    environments = run_environments(run, seed, environment=environment, render_mode="rgb_array")
    try:
        modes = environments.vector.metadata.get("render_modes", [])
        if environments.vector.render_mode != "rgb_array" or "rgb_array" not in modes:
            raise UsageError(
                f"{run.settings['environment']} cannot be recorded: it renders {modes or 'nothing'}, not rgb_array"
            )
        if "mujoco" in sys.modules:
            require_mujoco_rendering()
        fps = int(environments.vector.metadata.get("render_fps") or 30)
        with video(output, fps) as add_frame:
            result = evaluate(
                policy, environments, episodes, seed=seed, after_step=lambda: add_frame(_frame_of(environments))
            )
    finally:
        environments.close()
    return Recording(output, result)


def _frame_of(environments: Environments) -> Frame:
    frames = environments.vector.render()
    if frames is None or len(frames) == 0:
        raise UsageError("the environment rendered nothing")
    return np.asarray(frames[0], np.uint8)


@contextmanager
def video(path: Path, fps: int) -> Generator[Any]:
    """Write an H.264 mp4: a context that gives a function to add a frame. A failure leaves no file."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def working_gl() -> str | None:
    """The first way to render MuJoCo without a screen that really works, tried in a process of its own."""
    program = "import mujoco; context = mujoco.GLContext(64, 64); context.make_current(); context.free()"
    for backend in GL_BACKENDS:
        tried = subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", program],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if tried.returncode == 0:
            return backend
    return None


def _has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
