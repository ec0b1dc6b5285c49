"""A search whose runs are on a cluster: the study and its folder are here, and each run is what it would be here."""

from typing import Any

from cluster import Simulated
from polyak import load
from polyak.many.tune.outcome import findings
from polyak.many.tune.study import existing
from test_ray_runs import LEARNS, alone, here, job, ray, require_same
from tiny_cli import PATIENCE, start_cli

__all__ = ["here", "ray"]  # fixtures


def test_a_search_on_a_cluster_trains_what_one_would_train_here(ray: Any, cluster: Simulated, tmp_path: Any) -> None:
    (tmp_path / "space.toml").write_text("discount = { choices = [0.9] }")
    wanted = job(0)
    (tmp_path / "open").touch()
    words = ("tune", "ddpg", wanted.environment, *LEARNS, "--env-setting", f"gate={(tmp_path / 'open').absolute()}")
    own = ("--trials", "1", "--seeds", "0-1", "--space", "space.toml", "--storage", "s.journal", "--plain")
    with start_cli(*words, *own, "--on", f"ray:{cluster.address}") as command:
        output, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, errors
    assert "as many as it has room for" in errors
    assert output == "runs/tune/ddpg-gated_Gated-v0/report.html\n"
    (only,) = findings(existing("s.journal", None)).results
    assert only.state == "done"
    for seed, folder in only.runs.items():
        require_same(load(folder), alone(job(seed, "--discount", "0.9")))
