"""A policy watched in a window: a made-up environment stands in for one that opens it, since tests have no screen."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polyak import Run, TrainingError, UsageError
from polyak.policies.watching import watch
from polyak.views.watching import PlainWatch, make_watch_view
from tiny_cli import Tiny, call_cli, untrained_run


class Human(Tiny):
    """Draws itself where it is reset and stepped, as Gymnasium asks of a window's environment."""

    metadata = {"render_modes": ["human"], "render_fps": 10}  # noqa: RUF012
    draws_itself = True

    def __init__(self, *, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(render_mode=render_mode, **options)
        self.drawn = 0

    def reset(self, **options: Any) -> Any:
        answer = super().reset(**options)
        self._draw()
        return answer

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        self._draw()
        return answer

    def render(self) -> Any:
        self.drawn += 1

    def _draw(self) -> None:
        if self.draws_itself:
            self.render()


class Passive(Human):
    """Draws when it is asked to, and never by itself."""

    draws_itself = False


class Heard:
    """Notes what it is told, and raises once so many steps have been seen."""

    def __init__(self, most: int = 1000) -> None:
        self.steps: list[tuple[int, float, int, float]] = []
        self.ended: list[tuple[int, float, int, float]] = []
        self.most = most

    def stepped(self, *told: Any) -> None:
        self.steps.append(told)
        if len(self.steps) >= self.most:
            raise KeyboardInterrupt

    def episode_ended(self, *told: Any) -> None:
        self.ended.append(told)


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is one, in which pygame draws nothing."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(display=SimpleNamespace(get_init=lambda: False)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("kind", [Human, Passive])
def test_it_plays_the_episodes_of_an_evaluation_each_step_drawn_once(kind: Any, run: Run) -> None:
    made: list[Human] = []

    def make(render_mode: str | None = None) -> Human:
        made.append(kind(render_mode=render_mode))
        return made[-1]

    heard = Heard()
    seen = watch(run.policy, make, 2, seed=3, viewer=heard, sleep=lambda _: None)
    assert seen == run.evaluate(2, seed=3)
    assert [(number, steps) for number, _, steps, _ in heard.ended] == [(1, 5), (2, 5)]
    np.testing.assert_allclose([total for _, total, *_ in heard.ended], seen.returns, rtol=1e-6)
    assert [seconds for *_, seconds in heard.steps[:4]] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert made[0].render_mode == "human"
    assert made[0].drawn == 13  # a first observation and five steps each, and the next episode's first
    assert made[0].closed


def test_it_keeps_the_environments_rate_and_no_slower(run: Run) -> None:
    now, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    class Slow(Human):
        def step(self, action: Any) -> Any:
            now[0] += 0.03 if self._time < 3 else 0.5  # what a step takes
            return super().step(action)

    watch(run.policy, lambda: Slow(render_mode="human"), 1, clock=lambda: now[0], sleep=sleep)
    assert slept == pytest.approx([0.07] * 3 + [0.1])  # the last before the next episode, which begins at once
    assert now[0] == pytest.approx(0.3 + 2 * 0.5 + 0.1)


def test_without_a_number_of_episodes_it_goes_on_until_it_is_interrupted(run: Run) -> None:
    heard, made = Heard(most=30), list[Human]()

    def make() -> Human:
        made.append(Human(render_mode="human"))
        return made[-1]

    with pytest.raises(KeyboardInterrupt):
        watch(run.policy, make, viewer=heard, sleep=lambda _: None)
    assert len(heard.ended) == 7
    assert made[0].closed


def test_a_window_that_is_closed_ends_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    event = SimpleNamespace(peek=lambda kind: kind == "quit" and len(heard.steps) >= 6)
    display = SimpleNamespace(get_init=lambda: True, get_driver=lambda: "x11")
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(display=display, event=event, QUIT="quit"))
    seen = watch(run.policy, lambda: Human(render_mode="human"), viewer=heard, sleep=lambda _: None)
    assert seen.lengths == (5, 2)


def test_actions_may_be_drawn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(watch.__kwdefaults__, "sleep", lambda _: None)
    player = run.player(environment=lambda: Human(render_mode="human"))
    drawn = player.watch(2, seed=3, deterministic=False)
    assert drawn.returns == run.evaluate(2, seed=3, deterministic=False).returns
    assert drawn.returns != run.evaluate(2, seed=3).returns


def test_without_a_screen_it_names_record(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UsageError, match=r"there is no screen to open a window on .*`polyak record` makes a video"):
        run.watch()
    code, output, errors = call_cli("watch", str(run.folder))
    assert (code, output) == (2, "")
    assert errors.startswith("polyak: there is no screen to open a window on")


def test_a_driver_that_shows_nothing_is_no_window(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    display = SimpleNamespace(get_init=lambda: True, get_driver=lambda: "offscreen")
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(display=display))
    with pytest.raises(UsageError, match="SDL draws with its driver 'offscreen', which shows nothing"):
        watch(run.policy, lambda: Human(render_mode="human"), 1, sleep=lambda _: None)


def test_pygame_that_finds_no_screen_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDevice(Exception):  # noqa: N818 - pygame's is so called
        pass

    class Broken(Human):
        def render(self) -> Any:
            raise NoDevice("No available video device")

    display = SimpleNamespace(get_init=lambda: False)
    monkeypatch.setitem(sys.modules, "pygame", SimpleNamespace(error=NoDevice, display=display))
    with pytest.raises(UsageError, match="no window can be opened: No available video device; `polyak record`"):
        watch(run.policy, lambda: Broken(render_mode="human"), 1, sleep=lambda _: None)


def test_an_environment_without_a_window_is_refused(run: Run) -> None:
    def make() -> Human:
        return Human()

    told = r"cannot be watched: it was made with render mode None and offers \['human'\]; a window needs human"
    with pytest.raises(UsageError, match=told):
        watch(run.policy, make, 1)


def test_a_fault_says_when(run: Run) -> None:
    told = "raised RuntimeError while it was watched, in episode 2, after 2 of its steps: the simulator broke"
    with pytest.raises(TrainingError, match=told):
        watch(run.policy, lambda: Human(render_mode="human", raises_at=8), sleep=lambda _: None)


# What is said


def test_a_line_for_each_episode_and_what_they_came_to(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as stream:
        view = make_watch_view(stream)
        assert type(view) is PlainWatch
        view.stepped(1, -2.0, 1, 0.1)
        view.episode_ended(1, -20.0, 5, 0.5)
        view.episode_ended(2, -30.0, 6, 0.6)
        view.close()
    assert (tmp_path / "said").read_text().splitlines() == [
        "episode   1  return     -20.00  length      5     0.5 s",
        "episode   2  return     -30.00  length      6     0.6 s",
        "mean -25.00  over 2 episodes",
    ]
