"""Pages: nothing from outside, no text that becomes markup, charts that a real browser draws."""

import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from browser import opened
from polyak import UsageError, html
from polyak.html import Chart, bars, document, line, number, points, table, unbroken, write_page

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>'
ASSETS = Path(html.__file__).parent / "assets"


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def chart(name: str = "one", label: str = "SAC") -> Chart:
    x, y = [0.0, 1_000.0, 2_000.0], [1.0, math.nan, 3.0]
    return Chart(name, label, line(label, x, y, band=([0, 0, 0], [4, 4, 4]), markers=True), label, label, label)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1.5, "1.5"),
        (-145.7, "-145.7"),
        (-145.70001, "-145.7"),
        (150.04, "150.0"),
        (123456.7, "123,457"),
        (1e6, "1,000,000"),
        (0.000123456, "0.0001235"),
        (7, "7"),
        (None, ""),
        (math.nan, ""),
        (math.inf, ""),
    ],
)
def test_numbers_are_readable(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_tables_escape_align_and_mark() -> None:
    made = table(["name", "n"], [[HOSTILE, 1.25], ["b", None]], marked=[1])
    assert "<script>" not in made
    assert HOSTILE in "".join(Tags(made).words)
    assert made.count("<td class=number>") == 2
    assert "<tr class=differs><td>b</td><td class=number></td></tr>" in made
    assert "<th" not in table(["", ""], [["a", "b"]])


def test_lines_leave_gaps_where_numbers_are_not_finite() -> None:
    low, high, shown = chart().traces
    assert shown["y"] == [1.0, None, 3.0]
    assert (low["y"], high["fill"]) == ([0, 0, 0], "tonexty")
    assert shown["customdata"] == [(0, 4)] * 3
    assert len(line("a", [1], [2])) == 1


def test_lines_are_rounded_where_floats_are_not_exact() -> None:
    assert line("a", [0.1 + 0.2], [0.6 / 3])[0]["x"] == [0.3]


def test_labels_keep_their_text() -> None:
    """Plotly has a small HTML of its own in labels."""
    made = chart(label="<b>x</b>").described()
    assert {trace["name"] for trace in made["data"] if "name" in trace} == {"&lt;b&gt;x&lt;/b&gt;"}
    assert made["layout"]["xaxis"]["title"]["text"] == "&lt;b&gt;x&lt;/b&gt;"
    assert bars("n", ["<i>"], [1.0])["y"] == ["&lt;i&gt;"]
    assert points("<i>", [1.0], [1.0])["name"] == "&lt;i&gt;"


def test_page_without_charts_has_no_script() -> None:
    assert "script" not in Tags(document("t", "<p>x</p>")).found


def test_page_holds_charts_as_data_that_cannot_end_their_element() -> None:
    own = replace(chart(label=HOSTILE), layout={"annotations": [{"text": HOSTILE}]})
    made = document(HOSTILE, own.html(), [own])
    described = re.search(r'<script type="application/json" id="charts">(.*?)</script>', made)
    assert described
    assert json.loads(described[1])["one"]["layout"]["yaxis"]["title"]["text"].startswith("&lt;/script")
    assert Tags(made).found.count("script") == 3
    assert "img" not in Tags(made).found


def test_what_is_bundled_is_what_it_says() -> None:
    expected, name = (ASSETS / "plotly.sha256").read_text().split()
    assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == expected
    assert "MIT" in (ASSETS / "plotly.LICENSE").read_text()


def test_nothing_of_ours_names_a_place_outside() -> None:
    own = document("t", chart().html(), [chart()]).replace((ASSETS / "plotly-basic.min.js").read_text("utf-8"), "")
    assert not re.findall(r"https?://|url\(|@import|\bfetch\(|XMLHttpRequest|\beval\(", own)


def test_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        write_page(tmp_path / "file" / "page.html", "x")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that takes no file, even of root's")
def test_page_that_cannot_be_written_after_all() -> None:
    with pytest.raises(UsageError, match=r"cannot write /proc/page\.html: .*; choose another place"):
        write_page(Path("/proc/page.html"), "x")


def test_browser_draws_charts_in_its_colours(tmp_path: Path) -> None:
    charts = [chart("one", HOSTILE), Chart("two", "Shares", [bars("n", ["a", "b"], [1.0, 2.0])], "%", "", height=9)]
    path = write_page(tmp_path / "page.html", document(HOSTILE, "".join(each.html() for each in charts), charts))
    papers: dict[str, str] = {}
    for scheme in ("light", "dark"):
        with opened(path, color_scheme=scheme, viewport={"width": 390, "height": 800}) as tab:
            assert tab.page.title() == HOSTILE
            assert tab.page.locator(".js-plotly-plot").count() == 2
            assert tab.page.locator("#one .scatterlayer .trace").count() == 3
            assert tab.page.locator("#two .barlayer .point").count() == 2
            assert tab.page.evaluate("document.documentElement.scrollWidth") == 390, "nothing to scroll sideways"
            papers[scheme] = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
            ink = tab.page.evaluate("document.querySelector('#one .xtick text').style.fill")
            assert ink == tab.page.evaluate("getComputedStyle(document.body).color")
            tab.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
            tab.page.wait_for_function(
                f"(ink => ink != '{ink}' && ink == getComputedStyle(document.body).color)"
                "(document.querySelector('#one .xtick text').style.fill)"
            )
            assert tab.problems == []
    assert papers["light"] != papers["dark"]


def test_browser_names_logarithms_in_full(tmp_path: Path) -> None:
    expected = {
        "narrow": ([0.21, 0.24, 0.23], ["0.21", "0.22", "0.23", "0.24"]),  # where Plotly says nothing
        "usual": ([0.3, 40.0, 9.0], ["0.5", "1", "2", "5", "10", "20"]),  # where it says 5 2 1 5 2 10 5 2
        "wide": ([2e-6, 3e4, 1.0], ["0.001", "0.1", "10", "1000"]),
    }
    log = {"yaxis": {"type": "log"}}
    charts = [
        Chart(name, name, line("SAC", [1.0, 2.0, 3.0], values), "steps", "loss", "", log)
        for name, (values, _) in expected.items()
    ]
    path = write_page(tmp_path / "page.html", document("t", html.grid(charts), charts))
    ticks = "name => [...document.querySelectorAll(`#${name} .ytick text`)].map(each => each.textContent)"
    with opened(path) as tab:
        for name, (_, said) in expected.items():
            shown = tab.page.evaluate(ticks, name)
            assert set(said) <= set(shown), shown
            assert len(shown) <= 9
        tab.page.evaluate("() => Plotly.relayout('wide', {'yaxis.range': [-1, -0.9]})")
        tab.page.wait_for_function(f"({ticks})('wide').includes('0.11')")
        assert tab.problems == []


def test_browser_has_legends_that_break_where_a_line_is_full(tmp_path: Path) -> None:
    """Plotly's own take a chart's room, and those of stacked bars stand against the order of the bars."""
    names = ["my_folder.a_long_name_of_an_algorithm, batch_size 100, discount 0.98", HOSTILE, "third"]
    lines = [
        trace for index, name in enumerate(names) for trace in line(name, [0, 1], [index, 1], index, band=([0], [1]))
    ]
    parts = [bars(name, ["a"], [1.0]) for name in names]
    charts = [
        Chart("one", "Return", lines, "steps", "return"),
        Chart("two", "Shares", parts, "%", "", "", {"barmode": "stack"}),
        Chart("three", "Alone", line("SAC", [0, 1], [0, 1]), "steps", "return"),
    ]
    path = write_page(tmp_path / "page.html", document("t", "".join(each.html() for each in charts), charts))
    with opened(path, viewport={"width": 390, "height": 800}) as tab:
        for position in (0, 1):
            legend = tab.page.locator(".legend").nth(position)
            assert legend.locator("button").all_text_contents() == names
        assert tab.page.locator(".legend").nth(2).locator("button").count() == 0  # the title says what it is
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
        height = "() => document.querySelector('#one .nsewdrag').getBoundingClientRect().height"
        assert tab.page.evaluate(height) > 150
        tab.page.locator(".legend button").first.click()
        tab.page.wait_for_function("document.querySelectorAll('#one .scatterlayer .trace').length == 6")
        assert tab.page.locator(".legend button").first.get_attribute("aria-pressed") == "false"
        tab.page.locator(".legend button").first.click()
        tab.page.wait_for_function("document.querySelectorAll('#one .scatterlayer .trace').length == 9")
        assert tab.problems == []


def test_browser_breaks_no_name_and_shows_that_a_table_goes_on(tmp_path: Path) -> None:
    body = f"<h1>{unbroken('A heading about Pendulum-v1')}</h1>{table(['', 'b'], [['Pendulum-v1', 'x' * 90]])}"
    with opened(write_page(tmp_path / "page.html", document("t", body)), viewport={"width": 300, "height": 400}) as tab:
        assert tab.page.locator("td .whole").count() == 1
        lines = "each => new Set([...each.getClientRects()].map(box => box.top)).size"
        assert [tab.page.locator(".whole").nth(i).evaluate(lines) for i in (0, 1)] == [1, 1]
        assert tab.page.locator("td .whole").evaluate("each => each.offsetHeight") < 40
        assert tab.page.locator(".scroll").evaluate("each => each.scrollWidth > each.clientWidth")
        edge = {"x": 280, "y": tab.page.locator(".scroll").bounding_box()["y"], "width": 20, "height": 5}
        before = tab.page.screenshot(clip=edge)
        tab.page.locator(".scroll").evaluate("each => { each.scrollLeft = 10_000; }")
        assert tab.page.screenshot(clip=edge) != before


def test_browser_settles_the_margins(tmp_path: Path) -> None:
    """With all margins following their labels, Plotly gave up on this one, aloud."""
    made = Chart(
        "one",
        "Actor loss",
        line("SAC", np.arange(1e3, 7e3, 1e3), [13.328, 39.713, 64.024, 67.245, 64.923, 66.028]),
        "environment steps",
        "reward",
    )
    content = document("t", html.grid([made, replace(made, name="two")]), [made, replace(made, name="two")])
    with opened(write_page(tmp_path / "page.html", content), viewport={"width": 1100, "height": 900}) as tab:
        assert tab.page.locator(".js-plotly-plot").count() == 2
        assert tab.problems == []


def test_browser_shows_values_where_the_mouse_is(tmp_path: Path) -> None:
    x = np.arange(0.0, 11_000.0, 1_000.0)
    made = Chart("one", "Return", line("SAC", x, x / 8, band=(x / 10, x / 5), unit="points"), "steps", "return")
    with opened(write_page(tmp_path / "page.html", document("t", made.html(), [made]))) as tab:
        tab.page.hover("#one .nsewdrag")  # its middle
        tab.page.wait_for_selector("#one .hoverlayer text")
        assert "625 points [500, 1,000]" in tab.page.text_content("#one .hoverlayer")
        assert tab.problems == []
