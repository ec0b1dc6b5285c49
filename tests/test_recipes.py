"""Each recipe of the page runs and does what it says; the page answers from the table that the messages answer from."""

import re
from pathlib import Path
from typing import Any

import pytest

import polyak
from polyak.settings.names import ELSEWHERE
from test_docs import DOCS, TINY, blocks, workplace

__all__ = ["workplace"]  # a fixture
SMALL = {name: value for name, value in TINY.items() if name != "hidden_sizes"} | {"probe": False, "progress": False}


@pytest.fixture
def recipes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What each recipe leaves, one after another in one namespace, with settings that take a moment."""

    def record(run: polyak.Run) -> Path:
        (path := run.folder / "video.mp4").write_bytes(b"")
        return path

    monkeypatch.setattr(polyak.Run, "record", record)
    settings = ", ".join(f"{name}={value!r}" for name, value in SMALL.items())
    names: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for title, script in blocks("recipes.md", "python").items():
        if title.endswith(".py"):
            (workplace / title).write_text(script)
            continue
        small = script.replace("batch_size=128, ", "").replace("steps=30_000", "steps=30, progress=False")
        small = re.sub(r"episodes=10\b", "episodes=1", small)
        exec(small.replace("steps=20_000", settings), names)
        found[title] = dict(names)
    return found


def test_each_recipe_does_what_it_says(recipes: dict[str, dict[str, Any]]) -> None:
    assert recipes.keys() == {
        *(
            "coming from Stable-Baselines3",
            "stop early",
            "log a metric",
            "own network",
            "own settings of the environment",
        ),
        *("evaluate in another environment", "go on elsewhere", "in a notebook", "a successor"),
    }
    came = recipes["coming from Stable-Baselines3"]
    assert came["action"] == came["policy"].act([1.0, 0.0, 0.5])
    assert recipes["stop early"]["run"].metrics[-1]["step"] == 12
    assert all(0 < record["effort"] < 1 for record in recipes["log a metric"]["run"].metrics)
    network = recipes["own network"]["run"].settings["settings"]
    assert (network["hidden_sizes"], network["activation"], network["network"]) == ([64, 64], "tanh", "layer_norm")
    assert recipes["own settings of the environment"]["run"].settings["environment_settings"] == {"g": 1.6}
    gone_on = recipes["go on elsewhere"]["run"]
    assert gone_on.folder.name == "elsewhere"
    assert gone_on.metrics[-1]["step"] == 30


def test_every_name_from_elsewhere_is_in_the_page_s_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "_hooks"))
    from names_table import names

    rows = names().splitlines()
    cells = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in rows[2:]]
    assert sorted(name for cell in cells for name in cell) == sorted(ELSEWHERE)
    assert "| `gamma`, `discount_factor` | `discount` |" in rows
    assert "<!-- polyak: names -->" in (DOCS / "recipes.md").read_text(encoding="utf-8")
