"""Drawing without a screen: what must be in the process's environment variables for it, and only as long as it must."""

import os
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

VARIABLES = (
    "PYGAME_HIDE_SUPPORT_PROMPT",
    "SDL_AUDIODRIVER",
    "SDL_VIDEODRIVER",
    "XDG_RUNTIME_DIR",
    "MUJOCO_GL",
    "PYOPENGL_PLATFORM",  # set by MuJoCo for the way that was chosen
)
"""What a recording may set, and puts back."""
SDL_DRIVERS = ("offscreen", "dummy")
"""Without a screen: the first draws all that a window would; with the second, some environments draw nothing."""


def has_display() -> bool:
    """Whether there is a screen to draw on."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def drawing_without_a_screen() -> Generator[None]:
    """Let pygame do without a sound card and a greeting on standard output; put all `VARIABLES` back at the end.

    SDL's video driver is left alone: what draws without a screen by itself may draw nothing once one is chosen.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    if not has_display():
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # where SDL looks for a screen, or complains
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def drawn(draw: Callable[[], T]) -> T:
    """What `draw` gives; where pygame fails for want of a screen, it is asked again with SDL drivers that need none."""
    try:
        return draw()
    except Exception as error:
        if has_display() or "SDL_VIDEODRIVER" in os.environ or not is_pygames(error):
            raise
        return _drawn_by_a_driver(draw, error)


def _drawn_by_a_driver(draw: Callable[[], T], failed: Exception) -> T:
    for driver in SDL_DRIVERS:
        os.environ["SDL_VIDEODRIVER"] = driver
        sys.modules["pygame"].display.quit()  # so that the next one begins with this driver
        try:
            return draw()
        except Exception as error:
            if not is_pygames(error):
                raise
    del os.environ["SDL_VIDEODRIVER"]
    raise failed


def is_pygames(error: BaseException) -> bool:
    """Whether pygame raised this, or what led to it."""
    kind: Any = getattr(sys.modules.get("pygame"), "error", None)
    now: BaseException | None = error
    while now is not None and kind is not None:
        if isinstance(now, kind):
            return True
        now = now.__cause__ or now.__context__
    return False
