"""A policy watched while it plays: in a window that the environment opens, at the environment's own rate."""

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import numpy as np
from gymnasium import Wrapper
from gymnasium.vector import VectorEnv

from polyak.environments.additions import NOTHING, Additions
from polyak.environments.closing import close
from polyak.environments.history import NONE, Isolation
from polyak.environments.make import Environment, make_environment, make_environments
from polyak.errors import UsageError
from polyak.policies.evaluation import WITHOUT_END, Evaluation, evaluate, warn_of_averages
from polyak.policies.policy import Policy
from polyak.policies.recording.drawing import SDL_DRIVERS, drawing_without_a_screen, has_display, is_pygames
from polyak.policies.recording.video import rate_of
from polyak.system.foreign import message_of
from polyak.system.randomness import Streams

INSTEAD = "`polyak record` makes a video without one"


class Viewer(Protocol):
    """Is told what is seen."""

    def stepped(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """The running episode's number from 1, its return so far, its steps, and their time at the rate."""

    def episode_ended(self, episode: int, total: float, steps: int, seconds: float) -> None:
        """The same of one that has ended."""


class Unheard(Viewer):
    """Is told, and does nothing."""


def watch(
    policy: Policy,
    environment: Environment,
    episodes: int | None = None,
    *,
    seed: int = 0,
    generator: np.random.Generator | None = None,
    max_episode_steps: int | None = None,
    isolation: Isolation = NONE,
    additions: Additions = NOTHING,
    name: str = "the environment",
    viewer: Viewer | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Evaluation:
    """Play `episodes` in a window, or until it is closed or somebody interrupts.

    Args:
        policy: acts.
        environment: an id, `module:Id`, or a callable that makes one, which gets `render_mode="human"` if it takes it.
        episodes: how many; None for no end.
        seed: from which the episodes' seeds are drawn: they are those that `evaluate` plays.
        generator: where actions are to be drawn, what they are drawn from.
        max_episode_steps: the episodes' time limit; None keeps the environment's own.
        isolation: what keeps the episodes apart.
        additions: what an id is made with besides.
        name: of the environment, for the message of an error.
        viewer: told of each step and episode.
        clock: seconds.
        sleep: waits for so many.

    Raises:
        UsageError: there is no screen, or the environment opens no window.
    """
    require_screen()
    with ExitStack() as stack:
        stack.enter_context(drawing_without_a_screen())
        made = make_environment(
            environment,
            max_episode_steps=max_episode_steps,
            render_mode="human",
            isolation=isolation,
            additions=additions,
        )
        stack.callback(close, made)
        _require_window(made, name)
        shown = _Shown(made, viewer or Unheard(), clock, sleep)
        repeated = Additions(action_repeat=additions.action_repeat)
        environments = make_environments(lambda: shown, 1, Streams(seed).evaluation, additions=repeated)
        warn_of_averages(environments)
        chosen: dict[str, Any] = {"seed": seed, "generator": generator, "until": _window_was_closed}
        return evaluate(policy, environments, episodes or WITHOUT_END, occasion="while it was watched", **chosen)


def require_screen() -> None:
    """Check that there is something to open a window on.

    Raises:
        UsageError: there is not.
    """
    if not has_display():
        unset = "neither DISPLAY nor WAYLAND_DISPLAY is set"
        raise UsageError(f"there is no screen to open a window on ({unset}): {INSTEAD}")


def _require_window(made: Any, name: str) -> None:
    if isinstance(made, VectorEnv):
        raise UsageError(f"{name} makes a whole VectorEnv, but a window shows a single environment: pass one that does")
    if made.render_mode != "human":
        raise UsageError(
            f"{name} cannot be watched: it was made with render mode {made.render_mode} and offers "
            f"{made.metadata.get('render_modes', []) or 'none'}; a window needs human (a callable gets it as its "
            f"argument render_mode); {INSTEAD}"
        )
    if any("mujoco" in kind.__module__ for kind in type(made.unwrapped).__mro__):
        _require_glfw()


def _require_glfw() -> None:
    """Check that MuJoCo's window can be opened: where there is no screen, GLFW would end the process."""
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.simplefilter("ignore")  # what GLFW warns of is said here
        if not importlib.import_module("glfw").init():
            raise UsageError(f"no window can be opened: GLFW finds no screen where DISPLAY leads; {INSTEAD}")


class _Shown(Wrapper[Any, Any, Any, Any]):
    """Keeps to the environment's rate, and tells what is seen."""

    def __init__(
        self, environment: Any, viewer: Viewer, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        super().__init__(environment)
        self._viewer, self._clock, self._sleep = viewer, clock, sleep
        self._period = float(1 / rate_of(environment.metadata))
        self._next = clock()
        self._drawn = False
        self._note_drawing(environment.unwrapped)
        self._episode, self._steps, self._total = 0, 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._episode += self._steps > 0 or self._episode == 0
        self._steps, self._total = 0, 0.0
        try:
            answer = self.env.reset(seed=seed, options=options)
            self._show()
        except Exception as error:
            if is_pygames(error):
                raise UsageError(f"no window can be opened: {message_of(error)}; {INSTEAD}") from error
            raise
        _require_seen()
        return answer

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        answer: Any = self.env.step(action)
        self._show()
        with suppress(TypeError, ValueError, IndexError):  # what is no right answer, the guard around this says
            self._steps += 1
            self._total += float(answer[1])
            tell = self._viewer.episode_ended if answer[2] or answer[3] else self._viewer.stepped
            tell(self._episode, self._total, self._steps, self._steps * self._period)
        return answer

    def _note_drawing(self, inner: Any) -> None:
        """Let the environment's own calls of `render` be seen, which Gymnasium asks of it and some leave out."""
        render = inner.render

        def noted() -> Any:
            self._drawn = True
            return render()

        with suppress(AttributeError):  # one that takes no attribute is drawn twice
            inner.render = noted

    def _show(self) -> None:
        """Draw, where the environment has not by itself, and wait until it is time for the next step."""
        if not self._drawn:
            self.env.render()
        self._drawn = False
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._period


def _require_seen() -> None:
    """Check that pygame, where it draws, has not fallen back on a driver that shows nothing."""
    pygame: Any = sys.modules.get("pygame")
    if pygame is not None and pygame.display.get_init() and pygame.display.get_driver() in SDL_DRIVERS:
        raise UsageError(
            f"no window can be opened: SDL draws with its driver {pygame.display.get_driver()!r}, which shows nothing, "
            f"because DISPLAY leads to no screen or SDL_VIDEODRIVER says so; {INSTEAD}"
        )


def _window_was_closed() -> bool:
    """Whether somebody has asked pygame's window to go, which the environment itself takes no notice of."""
    pygame: Any = sys.modules.get("pygame")
    return pygame is not None and pygame.display.get_init() and bool(pygame.event.peek(pygame.QUIT))
