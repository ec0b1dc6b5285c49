"""The report: one page that needs nothing but itself, and that nobody's names can take over."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polyak import Run, UsageError, load
from polyak.report.curves import figure
from polyak.report.page import page, write_report
from tiny_cli import untrained_run

HOSTILE = '<script>alert("1")</script>\'&'
RECORDS = [
    {"step": 1_000, "seconds": 5.0, "train/return": -9.0, "train/length": 5.0, "learner/updates": 0},
    {"step": 2_000, "seconds": 9.5, "eval/return": -4.25, "eval/return_std": 0.5, "eval/length": 5.0, "learner/q": 1.5},
    {"step": 3_000, "seconds": 14, "eval/return": -6.5, "eval/return_std": 0.25, "eval/length": 4.5, "learner/q": 2.5},
]
SVG_NAMES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = untrained_run(tmp_path)
    made.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return load(made.folder)


def with_settings(run: Run, **changed: object) -> Run:
    run.settings_file.write_text(json.dumps({**run.settings, **changed}))
    return load(run.folder)


def test_page_needs_nothing_from_elsewhere(run: Run) -> None:
    run.videos.mkdir()
    (run.videos / "film.mp4").write_bytes(b"the film")
    text = page(run)
    shown = Page(text)
    for name, value in shown.attributes:
        if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert value.startswith(("data:", "#")), (name, value)
        if name.startswith("xmlns"):
            assert value in SVG_NAMES
    assert not re.findall(r"https?://[^\s\"'<>]*", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text))
    assert not re.findall(r"url\((?!#)|@import", text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(shown.tags)
    film = base64.b64encode(b"the film").decode()
    assert ("src", f"data:video/mp4;base64,{film}") in shown.attributes


def test_page_shows_curves_evaluations_settings_and_versions(run: Run) -> None:
    words = Page(page(run)).words
    text = " ".join(words)
    assert "DDPG on tiny_cli:Tiny-v0, seed 0" in words
    assert "3,000 of 40" in words
    assert "-4.2 at step 2,000" in words
    for cell in ("2,000", "-4.2", "0.5", "3,000", "-6.5", "4.5", "hidden_sizes", "[4]", "gymnasium"):
        assert cell in words, cell
    assert Page(page(run)).tags.count("svg") == 1
    assert "no metrics" not in text.lower()


def test_curves_have_a_panel_for_what_was_measured() -> None:
    drawn = figure(RECORDS)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["Return", "Q-value"]
    returns = {line.get_label(): line.get_xydata().tolist() for line in drawn.axes[0].lines}
    assert returns == {"training": [[1_000, -9]], "evaluation": [[2_000, -4.25], [3_000, -6.5]]}
    assert drawn.axes[-1].get_xlabel() == "environment steps"


def test_same_run_gives_the_same_page(run: Run) -> None:
    assert page(run) == page(load(run.folder))


def test_names_from_outside_stay_text(run: Run) -> None:
    run.videos.mkdir()
    (run.videos / "<script>&.mp4").write_bytes(b"")
    settings = {**run.settings["settings"], HOSTILE: HOSTILE}
    hostile = with_settings(run, environment=HOSTILE, preset=HOSTILE, vectorization=HOSTILE, settings=settings)
    text = page(hostile)
    shown = Page(text)
    assert "<script" not in text
    assert "script" not in shown.tags
    assert f"DDPG on {HOSTILE}, seed 0" in "".join(shown.words)
    assert "".join(shown.words).count(HOSTILE) >= 5


def test_evaluation_whose_spread_was_not_finite_has_a_row(run: Run) -> None:
    run.metrics_file.write_text('{"step": 7, "seconds": 1, "eval/return": 3.25, "eval/length": 5}\n')
    words = Page(page(run)).words
    assert words[words.index("mean length, steps") + 1 :][:2] == ["7", "3.2"]


def test_run_without_metrics_has_a_page(run: Run) -> None:
    run.metrics_file.unlink()
    shown = Page(page(run))
    assert "svg" not in shown.tags
    assert "No metrics yet." in shown.words
    assert "none" in shown.words


def test_page_is_written_into_the_run_or_where_asked_for(run: Run, tmp_path: Path) -> None:
    assert write_report(run) == run.folder / "report.html"
    elsewhere = tmp_path / "new" / "page.html"
    assert write_report(run, elsewhere) == elsewhere
    text = elsewhere.read_text(encoding="utf-8")
    assert text == run.report_file.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in text


def test_folder_that_is_no_run_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run"):
        write_report(Run(tmp_path))
    assert not list(tmp_path.iterdir())
