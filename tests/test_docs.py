"""The documentation site: it builds strictly, says what the code says, and needs no network; its examples run."""

import ast
import dataclasses
import fcntl
import hashlib
import html
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import gymnasium
import pytest
from PIL import Image

import polyak
from backends import frameworks_of
from browser import Tab, opened
from polyak.algorithms import NAMES, algorithm
from polyak.cli import COMMANDS
from polyak.settings import presets
from snippets import blocks
from tiny_cli import untrained_run
from whole_runs import assert_same, saved, snapshots

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FRAMEWORKS = {"JAX": "jax", "PyTorch": "torch", "TensorFlow": "tensorflow"}
LESSONS = ("reparameterization", "entropy", "overestimation")
TINY = {
    "backend": "torch",  # which compiles nothing
    "steps": 24,
    "start_steps": 8,
    "update_after": 8,
    "batch_size": 8,
    "hidden_sizes": (4,),
    "steps_per_epoch": 12,
    "evaluation_episodes": 1,
}
"""What makes a run that takes a moment."""


def build(*options: str | Path) -> "subprocess.CompletedProcess[str]":
    """MkDocs, strictly (and not with `--quiet`, which forgets the warnings); what it prints is in `stderr`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *map(str, options)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all processes that run these tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            done = build("--site-dir", folder / "site")
            assert done.returncode == 0, done.stderr + done.stdout
            (folder / "built").touch()
    return folder / "site"


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        """What the page loads without being asked."""
        self.ids: set[str] = set()
        self.codes: list[str] = []
        """The text of each block of code."""
        self.rows: list[list[str]] = []
        """The cells' texts of each row of a table."""
        self.tabs: list[str] = []
        """The labels of tabs."""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag in ("script", "link", "img", "iframe", "video", "source"):
            self.loaded.append(given.get("src") or given.get("href") or "")
        starts = {"pre": self.codes, "label": self.tabs}
        if tag in starts:
            starts[tag].append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("pre", "label", "td", "th"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "pre" in self._open:
            self.codes[-1] += data
        elif self._open and self._open[-1] == "label":
            self.tabs[-1] += data
        elif self._open:
            self.rows[-1][-1] += data


def functions(path: Path) -> dict[str, str]:
    """The functions and classes of a module and their source."""
    source = path.read_text(encoding="utf-8")
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return {node.name: str(ast.get_source_segment(source, node)) for node in nodes}


def test_a_broken_link_a_missing_anchor_and_a_page_in_no_menu_fail(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# One\n\n[gone](gone.md) [nowhere](#nowhere) [file](/etc/hosts)\n")
    (docs / "omitted.md").write_text("# Two\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {docs}\nsite_dir: {tmp_path / 'site'}\n"
        "nav: [index.md, absent.md]\nplugins: []\nhooks: []\n"
    )
    done = build("--config-file", config)
    assert done.returncode != 0
    for said in ("'gone.md'", "'#nowhere'", "omitted.md", "'absent.md'", "absolute link"):
        assert said in done.stderr, done.stderr


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for path in pages:
        loaded = Page(path).loaded
        assert loaded
        assert not [name for name in loaded if re.match(r"(https?:)?//", name)], path
        assert "<!-- polyak:" not in path.read_text(encoding="utf-8"), path
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert not [style[:80] for style in styles if re.search(r"url\(['\"]?(https?:)?//|@import", style)]


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_s_page_shows_its_code_in_every_framework(site: Path, name: str) -> None:
    page = Page(site / f"algorithms/{name}.html")
    shown = [code.strip() for code in page.codes]
    there = [title for title, framework in FRAMEWORKS.items() if framework in frameworks_of(name)]
    for title in there:
        sources = functions(ROOT / f"src/polyak/algorithms/{name}/with_{FRAMEWORKS[title]}.py")
        assert {"target", "critic_loss", "update"} <= sources.keys()
        assert not [part for part, source in sources.items() if source not in shown]
    assert page.tabs
    labels = [label.strip() for label in page.tabs if label.strip() in FRAMEWORKS]
    assert labels == there * (len(labels) // len(there))
    assert len(labels) >= len(there) * len(sources)


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_s_page_has_every_setting_metric_and_deviation(site: Path, name: str) -> None:
    module = algorithm(name)
    page = Page(site / f"algorithms/{name}.html")
    head = page.rows.index(["setting", "default", "general", "book", "paper", "meaning", "in resume"])
    rows = {row[0]: row for row in page.rows[head + 1 :]}
    for field in dataclasses.fields(module.Config):
        assert all(rows[field.name][index] for index in (1, 5)), rows[field.name]
    assert rows["polyak"][1] == ("0.0" if name == "crossq" else "0.995")
    assert (rows["polyak"][6], rows["actor_learning_rate"][6]) == ("", "yes, not bit for bit")
    general = {"ddpg": "256", "td3": "100", "sac": "256"}.get(name, "")
    book = "100" if general else ""  # neither knows another
    assert rows["batch_size"][1:4] == ["256", general, book]
    assert rows["hidden_sizes"][1] == "256, 256"
    assert {f"learner/{metric}" for metric in module.metrics} <= rows.keys()
    text = html.unescape((site / f"algorithms/{name}.html").read_text(encoding="utf-8"))
    doc = importlib.import_module(f"polyak.algorithms.{name}").__doc__ or ""
    assert doc.count("\n- ") == text.partition('id="deviations"')[2].partition("</article>")[0].count("<li>")


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = Page(site / "commands.html")
    assert {f"polyak-{name}" for name in COMMANDS} <= page.ids
    for name in COMMANDS:
        assert [code for code in page.codes if f"usage: polyak {name} " in code], name
    (train,) = [code for code in page.codes if "usage: polyak train sac Pendulum-v1 " in code]
    for field in dataclasses.fields(algorithm("sac").Config):
        assert f"--{field.name.replace('_', '-')}" in train
    for code in page.codes:
        assert not re.search(r"[│╭╰]|\{None|\(default: (None)?\)", code)
        assert not code.startswith("usage: ") or max(map(len, code.splitlines())) <= 110


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    ids = Page(site / "python.html").ids
    for module in (polyak, polyak.parts):
        for name in set(module.__all__) - {"__version__"}:
            assert f"{getattr(module, name).__module__}.{name}" in ids


def numbers_in(text: str) -> set[int]:
    """N of each (8.N), also of those between the ends of a range."""
    found = re.findall(r"8\.(\d+)(?:(?: to |\u2013)8\.(\d+))?", text)
    return {number for low, high in found for number in range(int(low), int(high or low) + 1)}


def test_every_equation_that_is_cited_stands_in_a_page() -> None:
    """A reader without the chapter needs nothing of it."""
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    cited = numbers_in(" ".join(part for text in texts for part in re.findall(r"\((?:8\.\d+[ ,\w.]*)\)", text)))
    pages = " ".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    shown = numbers_in(" ".join(re.findall(r"\\tag\{([^}]*)\}", pages)))
    assert {2, 5, 9, 26} <= cited
    assert cited <= shown
    assert pages.count("*Combining policy\ngradient and Q-learning*") == 1


def test_the_pictures_of_the_front_page_move_without_end_and_are_small() -> None:
    named = re.findall(r"!\[[^]]+\]\((docs/assets/\S+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(named) == 3
    for name in named:
        assert (ROOT / name).stat().st_size < 1_500_000
        with Image.open(ROOT / name) as picture:
            assert picture.width <= 720
            if name.endswith("webp"):
                assert getattr(picture, "n_frames", 1) > 50
                assert picture.info["loop"] == 0


def test_a_policy_becomes_a_moving_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["loop.py", str(run.folder), str(tmp_path / "it.webp"), "--seed", "3", "--width", "33"]
    )
    runpy.run_path(str(ROOT / "benchmarks" / "loop.py"), run_name="__main__")
    with Image.open(tmp_path / "it.webp") as picture:
        assert (picture.size, getattr(picture, "n_frames", 1)) == ((33, 21), 4)  # steps 0, 2, 4 and the last, 5


SOUGHT = (
    *("callback", "ONNX", "export", "prioritized", "demonstration", "hyperparameter", "migrate"),
    *("Windows", "Colab", "GPU"),
)
"""What people look for, also where polyak does not have it yet: then a page says so."""


def test_what_people_look_for_finds_a_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    pages = [each["text"] for each in index["docs"] if not each["location"].startswith("changelog")]
    assert [word for word in SOUGHT if not any(re.search(rf"\b{word}", page, re.IGNORECASE) for page in pages)] == []


GAPS = """() => [...document.querySelectorAll(".katex-tag")].map(tag =>
    tag.getBoundingClientRect().left - tag.previousElementSibling.getBoundingClientRect().right)"""
"""Pixels between each equation and its number."""
CUT_OFF = """() => {
    const shaded = each => getComputedStyle(each).backgroundImage.includes("linear-gradient");
    const all = [...document.querySelectorAll(".md-typeset__scrollwrap, div.arithmatex, pre > code")];
    const cut = all.filter(each => each.offsetWidth && each.scrollWidth > each.clientWidth);
    return cut.length;
}"""
"""How many tables, equations and pieces of code go on beyond the edge of the page."""
PAGES = [f"algorithms/{name}.html" for name in NAMES] + [f"lessons/{name}.html" for name in LESSONS]


def test_equations_are_typeset_and_search_works_from_disk(site: Path) -> None:
    with opened(site / PAGES[0]) as tab:
        query = tab.page.locator("input[name=query]")
        query.focus()  # which loads the index
        tab.page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for(state="attached")
        query.press_sequentially("temperature")  # keys: it listens to no other event
        tab.page.locator(".md-search-result__item a[href*='sac.html']").first.wait_for()
        for name in PAGES:
            tab.page.goto((site / name).as_uri(), wait_until="load")
            require_equations(tab, name)
        tab.page.goto((site / "algorithms/sac.html").as_uri(), wait_until="load")
        for width in (390, 1230):
            tab.page.set_viewport_size({"width": width, "height": 800})
            assert tab.page.evaluate(GAPS)
            assert min(tab.page.evaluate(GAPS)) > 0
        tab.page.set_viewport_size({"width": 390, "height": 800})
        assert tab.page.evaluate(CUT_OFF) > 10
        assert tab.page.evaluate(CUT_OFF.replace("return cut", "return cut.filter(each => !shaded(each))")) == 0
        assert tab.problems == []


def require_equations(tab: Tab, name: str) -> None:
    """All equations of a page are typeset, in KaTeX's own fonts."""
    marked = tab.page.locator(".arithmatex").count()
    assert marked > 0, name
    assert tab.page.locator(".arithmatex > .katex, .arithmatex > .katex-display").count() == marked, name
    assert tab.page.locator(".katex-error").count() == 0, name
    visible = tab.page.evaluate(
        "() => {const copy = document.querySelector('article').cloneNode(true);"
        "copy.querySelectorAll('pre, code, .katex').forEach(each => each.remove()); return copy.textContent}"
    )
    assert not re.search(r"\\[()\[\]]|\$|\\(frac|sum|theta|mathbb)\b", visible), name
    tab.page.evaluate("() => document.fonts.ready")
    fonts = tab.page.evaluate(
        "() => [...document.fonts].filter(f => f.family.startsWith('KaTeX')).map(f => `${f.family} ${f.status}`)"
    )
    assert "KaTeX_Main loaded" in fonts
    assert "KaTeX_Math loaded" in fonts
    assert not [font for font in fonts if font.endswith("error")]


@pytest.mark.parametrize("folder", ["katex", "iframe-worker"])
def test_what_the_site_brings_with_it_is_unchanged(folder: str) -> None:
    assets = DOCS / "assets" / folder
    lines = (assets / f"{folder}.sha256").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    files = {path.relative_to(assets).as_posix() for path in assets.rglob("*") if path.is_file()}
    assert listed.keys() == files - {"README.md", f"{folder}.sha256"}
    for name, digest in listed.items():
        assert hashlib.sha256((assets / name).read_bytes()).hexdigest() == digest, name


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to stand in, from which modules are imported, which are forgotten: pages have equal names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = dict(gymnasium.registry)
    yield tmp_path
    gymnasium.registry.clear()
    gymnasium.registry.update(known)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def executed(script: str, steps: str) -> polyak.Run:
    """What a page's script leaves as `run`; instead of these `steps` it trains for a moment."""
    assert script.count(f"steps={steps}") == 1
    settings = ", ".join(f"{name}={value!r}" for name, value in TINY.items())
    names: dict[str, object] = {}
    exec(re.sub(r"episodes=\d+", "episodes=1", script).replace(f"steps={steps}", settings), names)
    run = names["run"]
    assert isinstance(run, polyak.Run)
    return run


def test_the_environment_of_the_page_trains_as_the_page_says(workplace: Path) -> None:
    scripts = blocks("environments.md", "python")
    for name in ("my_file.py", "my_wrappers.py"):
        (workplace / name).write_text(scripts.pop(name))
    runs = [executed(script, "4_000") for script in scripts.values()]
    assert [run.settings["envs"] for run in runs] == [1, 1, 1, 4, 4]
    assert [run.metrics[-1]["step"] for run in runs] == [24] * 5
    assert {"rail": 3.0} in [run.settings["environment_settings"] for run in runs]
    with pytest.warns(UserWarning, match="precision"):  # Gymnasium's, of its own arithmetic
        halved = importlib.import_module("my_wrappers").Halved(importlib.import_module("my_file").Cart())
    assert halved.action_space.low.min() == -0.5
    environment = importlib.import_module("my_file").Cart(render_mode="rgb_array")
    environment.reset(seed=0)
    assert environment.render().shape == (64, 256, 3)


def test_the_scripts_of_the_first_run_do_what_the_page_says(workplace: Path) -> None:
    use, same = blocks("first-run.md", "python").values()
    run = executed(same.replace("12_000", "30"), "10_000")
    assert run.metrics[-1]["step"] == 30
    assert list(run.videos.iterdir())
    names: dict[str, object] = {}
    exec(re.sub(r'load\(".*"\)', f"load({str(run.folder)!r})", use), names)
    assert names["torque"].shape == (1,)


def test_the_wrapper_and_the_preset_of_the_page_work(workplace: Path) -> None:
    (workplace / "my_wrappers.py").write_text(blocks("extending.md", "python")["my_wrappers.py"])
    (workplace / "my_preset.toml").write_text(blocks("extending.md", "toml")["my_preset.toml"])
    run = polyak.train("sac", "my_wrappers:ScaledPendulum-v0", preset="Pendulum-v1", **TINY)
    assert run.evaluate(episodes=1).lengths == (200,)
    values = presets.load("my_preset.toml", algorithm("td3"), "Pendulum-v1", lambda: [2.0]).values
    assert values == {"batch_size": 128, "steps": 50_000, "exploration_noise": 0.1}
    assert presets.load("my_preset.toml", algorithm("sac"), "Pendulum-v1").values["alpha_learning_rate"] == 1e-3


def test_the_algorithm_of_the_page_learns_goes_on_and_is_read(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at step 17, where the last checkpoint is that of step 12."""
    code = blocks("extending.md", "python")["triple_sac.py"]
    assert len(code.splitlines()) < 80
    (workplace / "triple_sac.py").write_text(code)
    taken = snapshots(monkeypatch, workplace, 17).taken
    options = {**TINY, "backend": "jax", "optimism": 0.2}
    run = polyak.train("triple_sac", "Pendulum-v1", **options)
    assert_same(polyak.resume(taken[17]), run)
    assert run.metrics[-1]["learner/updates"] == 17
    assert {"critic_3", "target_critic_3", "adam_critic_3"} <= {name.split("/")[0] for name in saved(run).learner}
    (together,) = polyak.train_together("triple_sac", "Pendulum-v1", seeds=[0], **options)
    assert_same(together, run)
    (workplace / "triple_sac.py").unlink()
    monkeypatch.delitem(sys.modules, "triple_sac")
    assert polyak.load(run.folder).evaluate(1).lengths == (200,)
    assert polyak.load(run.folder).settings["settings"]["optimism"] == 0.2
