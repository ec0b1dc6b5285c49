"""A run that ends before learning begins says so: at its start, at its end, from Python, in a sweep, in the report."""

from pathlib import Path

import pytest

import polyak
from polyak.algorithms import algorithm
from polyak.report.facts import runs as table_of_runs
from polyak.report.groups import grouped
from polyak.run.progress import Progress
from polyak.views.picture import closing, numbers
from tiny_cli import OPTIONS, SMALL, TINY, call_cli, untrained_run

NOTHING = (
    "nothing is learned: learning begins at step 1,000 (update_after), and the run has 40; more steps or a lower "
    "update_after would train"
)
SHORT = ("--steps", "40", "--update-after", "1000")


def test_what_is_said_follows_from_the_settings() -> None:
    config = algorithm("sac").Config
    for steps, said in (
        (999, "nothing is learned: "),
        (1_000, "next to nothing is learned (1 updates): "),
        (1_001, ""),
    ):
        assert config(steps=steps).learns_nothing.startswith(said)
        assert bool(config(steps=steps).learns_nothing) == bool(said)


def test_it_is_said_at_the_start_and_instead_of_the_best_evaluation(tmp_path: Path) -> None:
    place = ("--run-dir", str(tmp_path), "--plain")
    code, _, errors = call_cli("train", "ddpg", TINY, *OPTIONS, *SHORT, *place)
    lines = errors.splitlines()
    assert code == 0
    assert any(line.split(maxsplit=1) == ["updates", NOTHING] for line in lines)
    assert lines[-1] == f"done after 40 steps; {NOTHING}"
    assert "best evaluation" not in errors


def test_the_views_leave_the_best_evaluation_out() -> None:
    progress = Progress("SAC", {}, Path("run"), total_steps=40, best=(20, -3.0), outcome="done after 40 steps")
    assert closing(progress) == "done after 40 steps; best evaluation -3.0 at step 20"
    assert "best eval return" in numbers(progress)
    progress.untrained = NOTHING
    assert closing(progress) == f"done after 40 steps; {NOTHING}"
    assert "best eval return" not in numbers(progress)


def test_python_and_the_report_say_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"tiny_cli:Tiny-v0: nothing is learned: .* the run has 40") as told:
        run = polyak.train("ddpg", TINY, run_dir=tmp_path, progress=False, **{**SMALL, "update_after": 1_000})
    assert [warning.filename for warning in told] == [__file__]
    assert run.metrics[-1]["learner/updates"] == 0
    assert "nothing was learned: there was no gradient step" in table_of_runs(grouped([run]))


# Going on from a run of other sizes


def test_from_a_run_of_other_sizes_says_the_sizes(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "first")
    before = sorted(tmp_path.rglob("*"))
    for settings, said in (
        ({"hidden_sizes": (8, 8)}, rf"hidden_sizes is \(8, 8\), but the run .*{run.folder}, has \(4,\)"),
        ({"network": "layer_norm"}, r"network is layer_norm, but the run .* has mlp"),
        (
            {"environment": "Pendulum-v1"},
            r"Pendulum-v1 has 3 numbers in an observation and 1 in .* on 2 and 1",
        ),
    ):
        with pytest.raises(polyak.UsageError, match=said):
            untrained_run(tmp_path / "second", from_run=run, **settings)
    assert sorted(tmp_path.rglob("*")) == before
