"""What a person sees of a run: lines in a file or a pipe, a live picture on a terminal."""

import io
import re
from pathlib import Path

import pytest

from clocks import Clock
from polyak.experience.collector import Episode
from polyak.run.progress import Progress
from polyak.views.terminal import LiveView, PlainView, make_view, readable_time

FACTS = {"preset": "book", "updates": "1 per environment step whatever the number of environments, batch 256"}
RECORD = {
    "step": 4_000,
    "seconds": 20.0,
    "train/return": -812.3456,
    "train/length": 200.0,
    "eval/return": -154.321,
    "eval/length": 199.0,
    "speed/steps_per_second": 251.4,
    "learner/critic_loss": 0.0123456,
    "learner/q": -55.5,
    "learner/updates": 3_000,
}


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def progress() -> Progress:
    return Progress("SAC on Pendulum-v1, seed 0", FACTS, Path("runs/some/folder"), total_steps=20_000)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def advance(progress: Progress) -> None:
    progress.steps, progress.updates, progress.seconds = 4_000, 3_000, 20.0
    progress.record = dict(RECORD)
    progress.best = (4_000, -154.321)
    progress.episodes.extend(Episode(step, -100.0 - step, 200, terminated=False) for step in range(8))


def test_live_view_is_for_terminals_only() -> None:
    assert isinstance(make_view(Terminal()), LiveView)
    assert isinstance(make_view(Terminal(), plain=True), PlainView)
    assert isinstance(make_view(io.StringIO()), PlainView)


def test_plain_view_prints_a_line_an_evaluation(progress: Progress) -> None:
    stream = io.StringIO()
    view = make_view(stream)
    view.started(progress)
    start = stream.getvalue().splitlines()
    assert start[0] == "SAC on Pendulum-v1, seed 0"
    assert [line.split(maxsplit=1) for line in start[1:]] == [*map(list, FACTS.items()), ["folder", "runs/some/folder"]]
    advance(progress)
    view.epoch_ended(progress)
    line = stream.getvalue().splitlines()[len(start)]
    for part in ("4,000/20,000", "train return -812.3", "eval return -154.3", "critic loss 0.01235", "Q -55.5"):
        assert part in line
    assert "251 steps/s" in line
    assert "1 min 20 s left" in line  # 16,000 of 20,000 steps, at 4,000 in 20 s
    progress.outcome = "done after 20,000 steps"
    view.ended(progress)
    text = stream.getvalue()
    assert text.endswith("\ndone after 20,000 steps; best evaluation -154.3 at step 4,000\n")
    assert len(text.splitlines()) == len(start) + 2
    assert "\x1b" not in text


def test_plain_view_of_a_run_that_ended_before_its_first_evaluation(progress: Progress) -> None:
    stream = io.StringIO()
    view = PlainView(stream)
    progress.outcome = "interrupted after 3 steps"
    view.ended(progress)
    assert stream.getvalue() == "interrupted after 3 steps\n"


def test_plain_line_needs_no_losses(progress: Progress) -> None:
    stream = io.StringIO()
    progress.steps, progress.record = (
        10,
        {"step": 10, "seconds": 0.0, "eval/return": 1.0, "speed/steps_per_second": 9.0},
    )
    PlainView(stream).epoch_ended(progress)
    assert "eval return 1 " in stream.getvalue()
    assert "loss" not in stream.getvalue()


def test_live_view_draws_the_state_and_gives_the_terminal_back(progress: Progress, terminal: Terminal) -> None:
    view = make_view(terminal)
    view.started(progress)
    assert "runs/some/folder" in terminal.getvalue()
    assert "\x1b[?25l" in terminal.getvalue()  # the cursor is hidden
    advance(progress)
    progress.outcome = "done after 4,000 steps"
    view.ended(progress)
    last = terminal.getvalue().rpartition("╭")[2]
    for part in ("4,000 of 20,000 steps", "3,000 updates", "eval return", "-154.3", "0.01235", "-107.0"):
        assert part in last
    assert "\x1b[?25h" in last
    assert last.rstrip().endswith("done after 4,000 steps; best evaluation -154.3 at step 4,000")


def test_live_view_says_when_it_evaluates(progress: Progress, terminal: Terminal) -> None:
    view = LiveView(terminal)
    view.started(progress)
    progress.evaluating = True
    view.ended(progress)
    assert "none finished yet" in terminal.getvalue()
    assert "evaluating" in terminal.getvalue()


def test_live_view_fits_80_columns(
    progress: Progress, terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    progress.total_steps = 1_000_000
    view = LiveView(terminal)
    view.started(progress)
    clock.passes(20.0)
    advance(progress)
    view.ended(progress)
    last = terminal.getvalue().rpartition("╭")[2].rpartition("╰")[0]
    assert re.search(r"4,000 of 1,000,000 steps  200 steps/s  1 h 23 min left  3,000 updates", last)  # on one line


def test_brackets_in_names_are_shown_as_they_are(progress: Progress, terminal: Terminal) -> None:
    progress.title = "SAC on make[bold][/x], seed 0"
    view = LiveView(terminal)
    view.started(progress)
    view.ended(progress)
    assert terminal.getvalue().count("make[bold][/x]") >= 2  # the heading and the panel's title


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3_700, "1 h 01 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert readable_time(seconds) == text
