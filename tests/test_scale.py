"""The projection of what one learner can feed on follows the measurement."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

HOOKS = Path(__file__).parents[1] / "docs" / "_hooks"


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(HOOKS))
    module = importlib.import_module("scale")
    monkeypatch.setattr(module, "MEASURED", tmp_path / "collectors.json")
    return module


def row(way: str, environments: int, cost: float, **others: Any) -> dict[str, Any]:
    usual = {"steps_a_round": 10, "seconds_a_step": 0.01, "varies": False}
    return {"way": way, "environments": environments, "learner_microseconds": cost, **usual, **others}


def test_tables_are_computed_of_the_most_environments_with_steps_of_ten_milliseconds(scale: Any) -> None:
    rows = [
        *(row("in step", 32, 20.0), row("in step", 4, 90.0), row("ray, in step", 32, 100.0)),
        *(row("in step", 32, 1.0, seconds_a_step=0.1), row("in step", 32, 2.0, varies=True)),
        *(row("async", 32, 3.0, steps_a_round=1), row("in step", 32, 4.0, steps_a_round=50)),
    ]
    scale.MEASURED.write_text(json.dumps({"rows": rows}))
    assert scale.most().splitlines()[2:] == [
        "| in step | 20 µs | 50,000 | 8.8 MB/s |",
        "| ray, in step | 100 µs | 10,000 | 1.8 MB/s |",
    ]
    assert scale.projected().splitlines()[2:] == [
        "| 10 | 1,000 | 0.2 MB/s | 29 MB/s | 1 MB/s | 2 % | 10 % |",
        "| 100 | 10,000 | 1.8 MB/s | 294 MB/s | 15 MB/s | 20 % | 100 % |",
        "| 1,000 | 100,000 | 17.6 MB/s | 2,939 MB/s | 147 MB/s | 200 % | 1,000 % |",
    ]


def test_nothing_is_projected_of_nothing(scale: Any) -> None:
    assert scale.most() == scale.projected() == scale.NOT_YET
