"""What a person sees of a run: lines in a file or a pipe, a live picture on a terminal."""

import io
import os
import pty
import re
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import polyak
from clocks import Clock
from polyak import UsageError
from polyak.experience.collector import Episode
from polyak.run.progress import Progress, Silent
from polyak.views.choice import can_be_drawn_on, make_view
from polyak.views.picture import Pace, readable_time
from polyak.views.terminal import LiveView, PlainView
from tiny_cli import SMALL, TINY, untrained_run

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
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def advance(progress: Progress) -> None:
    progress.steps, progress.updates, progress.seconds = 4_000, 3_000, 20.0
    progress.record = dict(RECORD)
    progress.best = (4_000, -154.321)
    progress.episodes.extend(Episode(step, -100.0 - step, 200, terminated=False) for step in range(8))


def test_live_view_is_for_terminals_only(terminal: Terminal) -> None:
    assert isinstance(make_view(terminal), LiveView)
    assert isinstance(make_view(terminal, plain=True), PlainView)
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
    last = terminal.getvalue().rpartition("\x1b[2K")[2]
    for part in ("4,000 of 20,000 steps", "3,000 updates", "eval return", "-154.3", "0.01235", "-107.0"):
        assert part in last
    assert "\x1b[?25h" in last
    assert last.rstrip().endswith("done after 4,000 steps; best evaluation -154.3 at step 4,000")


def test_live_view_says_when_it_evaluates(progress: Progress, terminal: Terminal) -> None:
    view = LiveView(terminal)
    view.started(progress)
    progress.evaluating = lambda: "in episode 1 of 2, after 3 of its steps"
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
    last = terminal.getvalue().rpartition("\x1b[2K")[2]
    assert re.search(r"4,000 of 1,000,000 steps  200 steps/s  1 h 23 min left  3,000 updates", last)  # on one line


def test_the_last_evaluation_leaves_nothing_to_wait_for(progress: Progress, terminal: Terminal) -> None:
    view = LiveView(terminal)
    view.started(progress)
    progress.steps, progress.evaluating = progress.total_steps, lambda: "in episode 1 of 2"
    view.ended(progress)
    assert "20,000 of 20,000 steps  evaluating in episode 1 of 2  0 updates\n" in terminal.getvalue()


def test_the_time_left_is_that_of_a_run_that_learns(progress: Progress, clock: Clock) -> None:
    """Its first steps are cheaper, and the first update waits for a compilation."""
    pace = Pace(progress)
    assert (pace.state, pace.left) == ("0 steps/s", "")
    clock.passes(1.0)
    progress.steps = 1_000
    pace.look()
    assert (pace.state, pace.left) == ("1000 steps/s", "at least 19 s left")
    clock.passes(30.0)
    assert (pace.state, pace.left) == ("waiting for the first update", "at least 19 s left")
    progress.steps, progress.updates = 1_050, 50
    pace.look()
    assert pace.left == "at least 18 s left"
    clock.passes(5.0)
    progress.steps = 1_550
    pace.look()
    assert (pace.state, pace.left) == ("100 steps/s", "3 min 04 s left")


def test_the_time_left_after_a_resume_is_that_of_before_until_updates_come(progress: Progress, clock: Clock) -> None:
    progress.steps, progress.updates, progress.seconds = 10_000, 9_000, 100.0
    pace = Pace(progress)
    progress.steps = 10_001
    clock.passes(20.0)
    pace.look()
    assert pace.left == "1 min 39 s left"  # not 2 days, as one step in 20 s would have it
    progress.updates = 9_001
    pace.look()
    clock.passes(10.0)
    progress.steps = 10_501
    assert pace.left == "3 min 09 s left"


class Screen:
    """A terminal that breaks its lines anew where it becomes narrower, as most do, and knows what rich tells it."""

    def __init__(self, columns: int) -> None:
        self.master, end = pty.openpty()
        self._end, self.stream = end, os.fdopen(end, "w", encoding="utf-8")
        self.rows, self.row = [""], 0
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """After what has been written."""
        self.read()
        termios.tcsetwinsize(self._end, (50, columns))
        below = len(self.rows) - self.row
        cut = [row[i : i + columns] for row in self.rows for i in range(0, max(len(row), 1), columns)]
        self.rows, self.row, self.columns = cut, len(cut) - below, columns

    def read(self) -> list[str]:
        """What stands there."""
        self.stream.flush()
        os.set_blocking(self.master, False)
        written = b""
        with suppress(BlockingIOError):  # once there is no more
            while True:
                written += os.read(self.master, 4_096)
        for part in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written.decode()):
            self._take(part)
        return [row.rstrip() for row in self.rows]

    def _take(self, part: str) -> None:
        if part == "\n":
            self.row += 1
            self.rows += [""] * (self.row == len(self.rows))
        elif part == "\x1b[1A":
            self.row = max(self.row - 1, 0)
        elif part == "\x1b[2K":
            self.rows[self.row] = ""
        elif part[0] not in "\r\x1b":
            written = self.rows[self.row] + part
            rows = [written[i : i + self.columns] for i in range(0, len(written), self.columns)]
            self.rows[self.row : self.row + 1] = rows
            self.row += len(rows) - 1


@pytest.fixture
def screen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("polyak.views.redrawn.A_SECOND", 1e-6)  # the test says when
    made = Screen(80)
    yield made
    made.stream.close()
    os.close(made.master)


def test_a_terminal_that_becomes_narrower_keeps_nothing_stale(progress: Progress, screen: Screen) -> None:
    view = LiveView(screen.stream)
    progress.facts = {"preset": "book"}
    view.started(progress)
    advance(progress)
    seen: list[list[str]] = []
    for columns in (80, 40, 24, 60):
        screen.resize(columns)
        view.epoch_ended(progress)
        seen.append([line for line in screen.read() if line])
        assert sum("steps" in line for line in seen[-1]) <= 2
        assert [sum(word in line for line in seen[-1]) for word in ("━", "eval length", "Q  ", "book")] == [1] * 4
    assert len({line.index("-154.3") for lines in seen for line in lines if line.startswith("eval return")}) == 1
    view.ended(progress)


def test_a_picture_is_as_wide_at_first_as_later(progress: Progress, screen: Screen) -> None:
    view = LiveView(screen.stream)
    view.started(progress)
    view.epoch_ended(progress)
    first = [len(line) for line in screen.read() if "━" in line]
    advance(progress)
    view.epoch_ended(progress)
    assert [len(line) for line in screen.read() if "━" in line] == first == [64]
    view.ended(progress)


# From Python


class Noted(Silent):
    """An observer that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def started(self, progress: Progress) -> None:
        self.told.append("started")

    def ended(self, progress: Progress) -> None:
        self.told.append("ended")


@pytest.mark.parametrize(
    ("progress", "on_terminal", "expected"),
    [
        (None, True, "live"),
        (None, False, "nothing"),
        (True, True, "live"),
        (True, False, "lines"),
        (False, True, "nothing"),
    ],
)
def test_train_and_resume_show_a_run_where_somebody_watches(
    progress: bool | None,
    on_terminal: bool,
    expected: str,
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal if on_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    own = Noted()
    run = untrained_run(tmp_path, progress=progress, observer=own)
    polyak.resume(run.folder, steps=60, progress=progress)
    shown = stream.getvalue()
    assert own.told == ["started", "ended"]
    assert ("done after 40 steps" in shown) == ("done after 60 steps" in shown) == (expected != "nothing")
    assert ("\x1b[?25l" in shown) == (expected == "live")
    assert ("step        40/40" in shown) == (expected == "lines")


def test_runs_together_are_shown_in_one_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {**SMALL, "update_after": 1_000, "seeds": [3, 4], "run_dir": tmp_path}
    own = [Noted(), Noted()]
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    polyak.train_together("ddpg", TINY, **options)
    assert stream.getvalue() == ""
    polyak.train_together("ddpg", TINY, progress=True, observers=own, **options)
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"DDPG on {TINY}, seeds 3, 4"
    assert [line.partition(" after")[0] for line in lines if " done after " in line] == ["seed 3  done", "seed 4  done"]
    assert [each.told for each in own] == [["started", "ended"]] * 2


@pytest.mark.parametrize("call", ["train", "train_together", "resume"])
def test_progress_is_one_of_three(call: str) -> None:
    given: dict[str, Any] = {"progress": "yes"} | ({"seeds": [0]} if call == "train_together" else {})
    with pytest.raises(UsageError, match="progress is 'yes', but must be"):
        getattr(polyak, call)(*(["runs"] if call == "resume" else ["ddpg", TINY]), **given)


def test_nothing_is_drawn_where_it_would_tear(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_be_drawn_on(terminal)
    monkeypatch.setenv("JPY_PARENT_PID", "1")  # a notebook's `!polyak train`
    assert not can_be_drawn_on(terminal)
    monkeypatch.delenv("JPY_PARENT_PID")
    monkeypatch.setenv("TERM", "dumb")
    assert not can_be_drawn_on(terminal)


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a notebook's kernel is given to display, each cell's last picture."""
    pictures: list[dict[str, str]] = []

    def display(picture: dict[str, str], **_: Any) -> Any:
        pictures.append(picture)
        index = len(pictures) - 1

        def update(picture: dict[str, str], **_: Any) -> None:
            pictures[index] = picture

        return SimpleNamespace(update=update)

    ipython = ModuleType("IPython")
    ipython.__dict__.update(get_ipython=lambda: SimpleNamespace(kernel=1), display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return pictures


def test_a_notebook_has_a_cell_that_replaces_itself(
    tmp_path: Path, cells: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a real kernel: tests/test_notebooks.py."""
    run = untrained_run(tmp_path)
    untrained_run(tmp_path, progress=False)
    options: dict[str, Any] = {**SMALL, "update_after": 1_000, "seeds": [3, 4], "run_dir": tmp_path}
    polyak.train_together("ddpg", TINY, **options)
    one, together = cells
    assert "done after 40 steps; nothing is learned: learning begins at step 1,000" in one["text/html"]
    assert run.folder.name in one["text/html"]
    assert re.search(r"eval length +5(\n|$)", one["text/plain"])
    assert '<progress max="1" value="1.0000"' in one["text/html"]
    assert re.search(r"seed 3  done  40  100%.*\nseed 4  done", together["text/plain"])
    assert together["text/html"].count(">done<") == 2
    assert capsys.readouterr() == ("", "")


def test_names_stay_text_in_a_cell(progress: Progress, cells: list[dict[str, str]]) -> None:
    progress.title = "<script>alert(1)</script>"
    view = make_view()
    view.started(progress)
    view.ended(progress)
    assert "<script" not in cells[0]["text/html"]
    assert cells[0]["text/plain"].startswith("<script>")


def test_brackets_in_names_are_shown_as_they_are(progress: Progress, terminal: Terminal) -> None:
    progress.title = "SAC on make[bold][/x], seed 0"
    view = LiveView(terminal)
    view.started(progress)
    view.ended(progress)
    assert terminal.getvalue().count("make[bold][/x]") == 1  # above the picture, and not in it once more


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
