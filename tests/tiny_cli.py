"""Tiny environments and processes for the tests of the loop and the command line; `tiny_cli:Tiny-v0` is one."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import polyak

TINY = "tiny_cli:Tiny-v0"
PATIENCE = 900.0
"""Seconds until another process counts as hung, on however busy a machine; nothing else is told by it."""
SMALL = {
    "steps": 40,
    "steps_per_epoch": 20,
    "start_steps": 10,
    "update_after": 8,
    "update_every": 4,
    "batch_size": 8,
    "replay_size": 100,
    "hidden_sizes": (4,),
    "evaluation_episodes": 2,
}
"""Settings for a run of a moment: two evaluations, 36 updates."""
OPTIONS = [
    word
    for name, value in SMALL.items()
    for word in (f"--{name.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else [str(value)]))
]
"""The same as flags."""

COMMAND = [sys.executable, "-c", "import sys; from polyak.cli import main; sys.exit(main())"]


class Tiny(gymnasium.Env[Any, Any]):
    """A point on a line, moved by its action, for `length` steps; the brightness of its picture tells the time."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        length: int = 5,
        raises_at: int | None = None,
        nan_at: int | None = None,
        reward_scale: float = 1.0,
        prints: bool = False,
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 3.0, (1,), np.float32)
        self.render_mode = render_mode
        self.taken = 0
        self.actions: list[float] = []
        self.closed = False
        self._length, self._raises_at, self._nan_at = length, raises_at, nan_at
        self._reward_scale, self._prints = reward_scale, prints

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._time, self._place = 0, float(self.np_random.uniform(-1, 1))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        if self._prints:
            print("the environment prints", flush=True)
        if self.taken == self._raises_at:
            raise RuntimeError("the simulator broke")
        self.actions.append(float(action[0]))
        self._time += 1
        self._place += 0.1 * float(action[0])
        reward = float("nan") if self.taken == self._nan_at else -abs(self._place) * self._reward_scale
        return self._observation(), reward, False, self._time == self._length, {}

    def render(self) -> Any:
        return np.full((41, 65, 3), 20 + 40 * self._time, np.uint8)

    def close(self) -> None:
        self.closed = True

    def _observation(self) -> Any:
        return np.array([np.clip(self._place, -10, 10), self._time], np.float32)


class Uneven(Tiny):
    """Its episodes last 1 to 7 steps, by their seed; half of them terminate."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = super().reset(seed=seed, options=options)
        self._length = int(self.np_random.integers(1, 8))
        self._terminates = bool(self.np_random.integers(2))
        return result

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, _, ended, info = super().step(action)
        return observation, reward, ended and self._terminates, ended and not self._terminates, info


class Lucky(Tiny):
    """Ends where it is; the info says in each step whether that is on the right, how far, and for how many steps."""

    success = "is_success"

    def step(self, action: Any) -> Any:
        *answer, _ = super().step(action)
        told = {"distance": np.float32(self._place), "steps": self._time, "odd": [1, 2], "path": np.zeros(self._time)}
        return *answer, {self.success: np.bool_(self._place > 0), **told}


class Loud(Tiny):
    """Prints past Python, as a simulator does, and by Python: when it is made, at each reset, when it is closed."""

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._say("made")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._say("reset")
        return super().reset(seed=seed, options=options)

    def close(self) -> None:
        self._say("closed")
        super().close()

    def _say(self, what: str) -> None:
        os.write(1, f"simulator 1 {what}\n".encode())
        os.write(2, f"simulator 2 {what}\n".encode())
        print(f"simulator Python {what}")
        print(f"simulator error {what}", file=sys.stderr)


class Crashing(Loud):
    """One whose process dies in its third reset."""

    resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.resets += 1
        if self.resets == 3:
            os.write(2, b"simulator's last words\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().reset(seed=seed, options=options)


class Unseen(Tiny):
    """One that cannot be drawn."""

    metadata = {"render_modes": ["human"]}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None) -> None:
        super().__init__()


class Blank(Tiny):
    """One that promises pictures and draws none."""

    def render(self) -> Any:
        return None


gymnasium.register("Tiny-v0", entry_point=Tiny)
gymnasium.register("Uneven-v0", entry_point=Uneven)
gymnasium.register("Lucky-v0", entry_point=Lucky)
gymnasium.register("Raises-v0", entry_point=Tiny, kwargs={"raises_at": 25})
gymnasium.register("Prints-v0", entry_point=Tiny, kwargs={"prints": True})
gymnasium.register("Loud-v0", entry_point=Loud)
gymnasium.register("Crashing-v0", entry_point=Crashing)
gymnasium.register("Unseen-v0", entry_point=Unseen)


def making(made: list[Tiny], **first: Any) -> Callable[[], Tiny]:
    """Makes environments and lists them in `made`; only the first, which trains, gets the arguments `first`."""

    def make() -> Tiny:
        made.append(Tiny(**({} if made else first)))
        return made[-1]

    return make


def untrained_run(folder: Path, environment: Any = TINY, algorithm: str = "ddpg", **settings: Any) -> polyak.Run:
    """A whole run that never updates, so that JAX compiles nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*nothing is learned")  # which is meant here
        return polyak.train(algorithm, environment, run_dir=folder, **{**SMALL, "update_after": 1_000, **settings})


def wait_for(ready: Callable[[], Any]) -> Any:
    """What comes of something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def process_environment() -> dict[str, str]:
    """For subprocesses: polyak and this module can be imported; conftest's limits on threads are inherited.

    They do not wait for the disk either: Python imports `starting/sitecustomize.py` by itself.
    """
    tests = Path(__file__).parent
    folders = (Path(polyak.__file__).parents[1], tests, tests / "starting")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def start_cli(*arguments: str, command: Sequence[str] = COMMAND, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own, its output in pipes unless `options` say otherwise."""
    usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": process_environment()}
    return subprocess.Popen([*command, *arguments], text=True, **{**usual, **options})


def call_cli(*arguments: str) -> tuple[int, str, str]:
    """As `run_cli`, but in this process."""
    from polyak.cli import main  # not needed where this module is imported for its environments

    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, output.getvalue(), errors.getvalue()


def run_cli(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a whole command."""
    process = start_cli(*arguments)
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors
