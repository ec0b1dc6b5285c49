"""Videos of a run's policy: mp4 files that play in a browser, or GIFs, rendered without a screen."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Wrapper
from gymnasium.vector import VectorEnv

from polyak.environments.additions import NOTHING, Additions
from polyak.environments.closing import close
from polyak.environments.history import NONE, Isolation
from polyak.environments.make import Environment, make_environment, make_environments
from polyak.environments.values import Unfit, number
from polyak.errors import UsageError
from polyak.policies.evaluation import Evaluation, evaluate, warn_of_averages
from polyak.policies.policy import Policy
from polyak.policies.recording.cameras import follow
from polyak.policies.recording.captions import captioned
from polyak.policies.recording.drawing import drawing_without_a_screen, drawn, has_display
from polyak.policies.recording.filming import Filming, FilmObserver, Unwatched
from polyak.policies.recording.gif import GIF, gif
from polyak.policies.recording.paths import require_ending
from polyak.policies.recording.pictures import Frame, Pictures
from polyak.policies.recording.video import rate_of, video
from polyak.settings.kinds import require
from polyak.system.foreign import foreign, told
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked

GL_BACKENDS = ("egl", "osmesa")
GL_REMEDY = "install libegl1 (EGL) or libosmesa6 (OSMesa) with your system's package manager"


@dataclass(frozen=True)
class Recording:
    """A video and what its episodes gave."""

    path: Path
    evaluation: Evaluation
    rate: Fraction
    """Frames per second of the environment."""
    begins: tuple[int, ...]
    """The frame with which each episode begins."""
    frames: int


@signals_marked()
def record(
    policy: Policy,
    environment: Environment,
    path: Path,
    episodes: int = 1,
    *,
    steps: int | None = None,
    seed: int = 0,
    generator: np.random.Generator | None = None,
    max_episode_steps: int | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
    name: str = "the environment",
    label: str = "",
    overlay: bool = False,
    observer: FilmObserver | None = None,
) -> Recording:
    """Record `episodes` of a policy to `path`, those that `evaluate` plays in fresh environments of the same seed.

    Where nothing can be seen on the video, its frames being all of one colour, this is warned of. Variables that
    drawing needs (`drawing.VARIABLES`) are in the process's environment only meanwhile.

    Args:
        policy: acts.
        environment: an id, `module:Id`, or a callable that makes one.
        path: the video, which must end in .mp4 or .gif; or in .mkv, which loses nothing.
        episodes: how many, one after another.
        steps: of all episodes together; then it ends, in the middle of an episode or not.
        seed: from which the episodes' seeds are drawn.
        generator: where actions are to be drawn, what they are drawn from.
        max_episode_steps: the episodes' time limit; None keeps the environment's own.
        isolation: what keeps the episodes apart.
        additions: what an id is made with besides.
        name: of the environment, for the message of an error.
        label: drawn in the corner.
        overlay: draw the episode's return so far, its step and its seconds there, too.
        observer: watches the recording.

    Raises:
        UsageError: the environment has no `rgb_array` rendering, its `render()` gives no picture, or MuJoCo finds no
            way to render.
    """
    write = writer_of(path)
    lacks = any(not callable(getattr(observer, each, None)) for each in ("started", "stepped", "ended"))
    require("observer", observer, observer is None or not lacks, "one with the methods started, stepped and ended")
    pictures = Pictures()
    with ExitStack() as stack:
        stack.enter_context(drawing_without_a_screen())
        made = drawn(
            lambda: make_environment(
                environment,
                max_episode_steps=max_episode_steps,
                render_mode="rgb_array",
                isolation=isolation,
                additions=additions,
            )
        )
        stack.callback(close, made)
        _require_rendering(made, name)
        follow(made)
        filming, watcher = Filming(path, episodes, steps, label=label), observer or Unwatched()
        watcher.started(filming)
        stack.callback(watcher.ended, filming)
        rate = rate_of(made.metadata)
        with write(path, rate) as add_frame:
            caption = Caption(label, overlay, rate)
            filmed = _Filmed(made, pictures, lambda frame: add_frame(caption.on(frame, filming)), filming, watcher)
            repeated = Additions(action_repeat=additions.action_repeat)
            environments = make_environments(lambda: filmed, 1, Streams(seed).evaluation, additions=repeated)
            warn_of_averages(environments)
            chosen: dict[str, Any] = {"seed": seed, "generator": generator, "until": filming.enough}
            result = evaluate(policy, environments, episodes, occasion="in the recording", **chosen)
        if pictures.one_colour is not None:
            warnings.warn(_nothing_seen(label or path, pictures), stacklevel=9)  # where Run.record was called
    return Recording(path, result, rate, tuple(filming.begins), filming.frames)


def writer_of(path: Path) -> Callable[[Path, Fraction], AbstractContextManager[Callable[[Frame], None]]]:
    """What writes a file of this ending.

    Raises:
        UsageError: it is that of no video.
    """
    require_ending(path)
    return gif if path.suffix.lower() == GIF else video


@dataclass(frozen=True)
class Caption:
    """What is drawn in the corner of each frame."""

    label: str
    overlay: bool
    rate: Fraction

    def on(self, frame: Frame, filming: Filming) -> Frame:
        """A frame with it."""
        lines = [self.label] if self.label else []
        if self.overlay:
            seconds = f"{float(filming.step / self.rate):.2f} s"
            lines += [f"return {filming.total:.1f}", f"step {filming.step}   {seconds}"]
        return captioned(frame, lines)


def _nothing_seen(path: Path | str, pictures: Pictures) -> str:
    driver = os.environ.get("SDL_VIDEODRIVER")
    hint = f"; SDL_VIDEODRIVER is {driver}, with which some environments draw nothing" if driver else ""
    return (
        f"all {pictures.count} frames of {path} are of one colour, RGB {pictures.one_colour}: nothing that render() "
        f"gives can be seen{hint}"
    )


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

    def __init__(
        self,
        environment: Any,
        pictures: Pictures,
        add_frame: Callable[[Frame], None],
        filming: Filming,
        watcher: FilmObserver,
    ) -> None:
        super().__init__(environment)
        self._pictures, self._add_frame = pictures, add_frame
        self._filming, self._watcher = filming, watcher

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._filming.ended += self._filming.step > 0
        self._filming.step, self._filming.total = 0, 0.0
        return drawn(lambda: self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._filming.step == 0:
            self._filming.begins.append(self._pictures.count)
            self._film()
        result = self.env.step(action)
        self._filming.step += 1
        self._filming.taken += 1
        with suppress(Unfit):  # what is wrong with a reward is said by whoever evaluates
            self._filming.total += number(result[1])
        self._film()
        self._watcher.stepped(self._filming)
        return result

    def _film(self) -> None:
        with foreign(_not_drawn):
            picture: Any = drawn(self.env.render)
        for frame in self._pictures.frames(picture):
            self._add_frame(frame)
        self._filming.frames = self._pictures.count


def _not_drawn(error: BaseException) -> str:
    return f"the environment cannot be recorded: its render() raised {type(error).__name__}{told(error)}"


def require_mujoco_rendering() -> None:
    """Choose how MuJoCo renders, before its first frame.

    Raises:
        UsageError: there is no screen, and neither EGL nor OSMesa works; the message says what to install.
    """
    if "MUJOCO_GL" in os.environ or has_display():
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
            timeout=600,
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
