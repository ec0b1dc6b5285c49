"""The parts of benchmarks/scaling.py and benchmarks/gpu.py that need neither a long time nor a GPU."""

import argparse
import contextlib
import importlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyak.errors import UsageError

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the source distribution has no benchmarks", allow_module_level=True)
with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(BENCHMARKS)
    learners, scaling, pages, gpu = (
        importlib.import_module(name) for name in ("learners", "scaling", "scaling_pages", "gpu")
    )


TAKEN = {"products": 1.0, "jax": 2.0, "torch": 4.0}
"""Milliseconds."""


class Clocked:
    """Stands in for a worker: each contender always takes the same time; nothing is computed."""

    without: tuple[str, ...] = ()
    asked: list[dict[str, Any]]

    def __init__(self, threads: int, script: str = "") -> None:
        type(self).asked = []

    def ask(self, **question: Any) -> dict[str, Any]:
        self.asked.append(question)
        if question["what"] == "device":
            if question["framework"] in self.without:
                raise UsageError(f"{question['framework']} sees no GPU")
            return {"device": {"name": "made up"}}
        if question["what"] == "memory":
            if question["observation"] in self.without:
                raise UsageError("too little memory")
            return {"bytes": 60.0}
        if question["what"] == "steps":
            return {**dict.fromkeys(scaling.PARTS, 1.0), "step": float(question["observation"])}
        return {"milliseconds": TAKEN[question["contender"].split()[0]]}

    def close(self) -> None:
        pass


def options(**changed: Any) -> argparse.Namespace:
    """As the command line gives them."""
    given = {"rounds": 3, "steps": 5, "threads": 1, "held": 100, "capacity": 100, "sizes": scaling.QUICK}
    return argparse.Namespace(**{**given, "batches": [256, 512], "updates": 10, "quick": False, **changed})


# Sizes


def test_products_follow_the_sizes() -> None:
    sizes = learners.Sizes(observation=3, action=2, hidden=(5, 7))
    found = learners.products("sac", 11, sizes)
    assert ("forward", 11, 3, 5) in found
    assert ("forward", 11, 7, 4) in found  # the actor's mean and log sigma
    assert ("weights", 5, 11, 7) in found
    assert ("inputs", 11, 5, 5) in found  # the critic's observation and action, 3 + 2
    assert ("inputs", 11, 7, 5) in found
    assert learners.products("sac", 256) == learners.products("sac", 256, learners.Sizes(17, 6, (256, 256)))


def test_operations_are_those_of_the_networks_passes() -> None:
    actor, critic = 3 * 5 + 5 * 7 + 7 * 4, 5 * 5 + 5 * 7 + 7 * 1
    target = actor + 2 * critic
    critics = 2 * (critic + critic + critic - 5 * 5)
    climb = actor + 2 * (critic + critic) + actor + actor - 3 * 5
    sizes = learners.Sizes(observation=3, action=2, hidden=(5, 7))
    assert scaling.operations(11, sizes) == 2 * 11 * (target + critics + climb)


def test_bursts_are_shorter_where_an_update_takes_longer() -> None:
    bursts = [scaling.burst_of(batch, learners.HALF_CHEETAH) for batch in scaling.FULL["batch"]]
    assert bursts == [50, 50, 20, 10, 4, 2, 2]
    assert all(burst % min(10, burst) == 0 for burst in bursts)  # JAX's products come so many at once


def test_a_round_ends_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, done = 0.0, 0

    def run(updates: int) -> None:
        nonlocal now, done
        now, done = now + 0.25 * updates, done + updates

    monkeypatch.setattr(scaling.time, "perf_counter", lambda: now)
    assert scaling.milliseconds(run, 2, 4) == 250
    assert done == 4
    assert scaling.milliseconds(run, 1, 100) == 250
    assert done == 4 + 5


def test_replay_is_filled_and_its_memory_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "REPLAYS", {})
    sizes = iter([1_000_000, 1_150_000])
    monkeypatch.setattr(scaling, "resident_memory", lambda: next(sizes))
    assert scaling.fill(3, 2_500, 4_000) == {"bytes": 60.0}
    replay = scaling.REPLAYS[3, 2_500]
    assert (replay.size, replay.capacity) == (2_500, 4_000)
    held = replay.records(0, 2_500)
    assert held[:, :-2].all(axis=1).all()
    assert not held[:, -2:].any()  # none has ended


def test_the_made_up_environment_is_a_valid_one() -> None:
    environment = scaling.MadeUp(3)
    observation, _ = environment.reset(seed=0)
    ends = []
    for _ in range(1_000):
        assert environment.observation_space.contains(observation)
        observation, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        ends.append((terminated, truncated))
    assert ends == [(False, False)] * 999 + [(False, True)]


# Sections


def test_fractions_are_medians_over_rounds_not_of_medians() -> None:
    found = scaling.fractions({"a": [2.0, 2.0, 8.0]}, [1.0, 2.0, 2.0])
    assert found == {"a": {"milliseconds": 2.0, "lowest": 2.0, "highest": 8.0, "fraction_of_limit": 0.5}}


def test_every_contender_is_asked_at_every_size_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "Worker", Clocked)
    *_, rows = scaling.updates_section("width", options())
    assert [row["hidden"] for row in rows] == [(64, 64), (128, 128)]
    assert rows[0]["limit"] in scaling.LIMITS
    assert rows[0]["contenders"]["jax single"]["fraction_of_limit"] == 0.5
    asked = [(each["contender"], each["hidden"][0]) for each in Clocked.asked]
    in_a_round = [(name, width) for width in (64, 128) for name in scaling.CONTENDERS]
    assert asked == in_a_round * (3 + 1)


def test_a_size_without_memory_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "Worker", Clocked)
    monkeypatch.setattr(Clocked, "without", (50,))
    *_, rows = scaling.steps_section("observation", options())
    assert rows[1]["absent"] == "too little memory"
    assert rows[0]["milliseconds"]["step"] == 3.0
    assert rows[0]["theoretical_bytes"] == 4 * (2 * 3 + 6 + 4)
    table = pages.steps_table("observation", rows).splitlines()
    assert table[-1].startswith("| 50 | too little memory |")
    assert len({line.count("|") for line in table}) == 1


def test_times_are_held_against_those_of_the_first_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "Worker", Clocked)
    *_, rows = scaling.steps_section("observation", options())
    assert [row["times_the_first"] for row in rows] == [1.0, round(50 / 3, 3)]


# Tables and charts


@pytest.mark.parametrize("name", ["observation", "batch"])
def test_results_become_a_table_and_a_chart(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "Worker", Clocked)
    output = tmp_path / "scaling.json"
    scaling.measure(options(only=[name], output=output))
    stored = json.loads(output.read_text())[name]
    assert (stored["rounds"], stored["command"].split()[:4]) == (
        3,
        f"python benchmarks/scaling.py --only {name}".split(),
    )
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(scaling.QUICK[name])
    assert len({line.count("|") for line in table}) == 1
    assert "60.0 (64)" in table[2] if name == "observation" else "2.00 (50%)" in table[2]
    picture = (tmp_path / f"scaling-{name}.svg").read_text()
    words = [each for each in ElementTree.fromstring(picture).iter() if each.tag.endswith("text")]
    assert words
    assert all(pages.GRAY in each.attrib["style"] for each in words)
    assert "#ffffff" not in picture  # transparent: nothing white behind it


# GPU


def test_the_gpus_products_are_those_of_numpy() -> None:
    pytest.importorskip("torch")
    triples = gpu.factors(8, "cpu")
    shapes = [(rows, columns) for _, rows, _, columns in learners.products("sac", 8)]
    assert [tuple(result.shape) for _, _, result in triples] == shapes
    gpu.multiply(triples)
    for left, right, result in triples:
        np.testing.assert_allclose(result.numpy(), left.numpy() @ right.numpy(), rtol=1e-4, atol=1e-4)
    assert any(not left.is_contiguous() for left, _, _ in triples)  # transposed, as in a learner


def test_a_recording_is_of_one_update_and_replays_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    calls: list[str] = []

    class Fake:
        def wait_stream(self, other: Any) -> None:
            pass

        def replay(self) -> None:
            calls.append("replay")

    factors = gpu.factors
    monkeypatch.setattr(gpu, "factors", lambda batch, place: calls.append(place) or factors(batch, "cpu"))
    monkeypatch.setattr(gpu, "multiply", lambda triples: calls.append("multiply"))
    for name, stand_in in {
        "Stream": Fake,
        "CUDAGraph": Fake,
        "current_stream": Fake,
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": lambda graph: contextlib.nullcontext(calls.append("record")),
        "synchronize": lambda: calls.append("wait"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recording = gpu.recorded(4)
    assert calls == ["cuda", *["multiply"] * gpu.WARM_UP, "record", "multiply"]
    calls.clear()
    gpu.replayed(recording, waits_for_each=False)(2)
    assert calls == ["replay", "replay", "wait"]
    calls.clear()
    gpu.replayed(recording, waits_for_each=True)(2)
    assert calls == ["replay", "wait", "replay", "wait", "wait"]


def test_without_a_gpu_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "Worker", Clocked)
    monkeypatch.setattr(Clocked, "without", ("jax", "torch"))
    assert gpu.run(options(output=tmp_path / "gpu.json")) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "no" in said.err
    assert "GPU" in said.err
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize(("without", "fraction"), [((), " (50%)"), (("torch",), "")])
def test_with_a_gpu_every_batch_gets_a_row(
    without: tuple[str, ...],
    fraction: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(gpu, "Worker", Clocked)
    monkeypatch.setattr(Clocked, "without", without)
    output = tmp_path / "gpu.json"
    assert gpu.run(options(output=output)) == 0
    stored = json.loads(output.read_text())
    assert [row["batch"] for row in stored["rows"]] == [256, 512]
    assert stored["rows"][0]["contenders"]["jax 50"]["updates_per_second"] == 500.0
    assert set(stored["absent"]) == set(without)
    shown = capsys.readouterr().out
    assert f"| 500{fraction} |" in shown
    assert ("| 250 (25%) |" in shown) == (not without)
