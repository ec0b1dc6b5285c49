"""Writes a run and its policy as this version writes them, for later versions to read: `python tests/data/make.py`.

What is here already is what an earlier version wrote, and stays: a new format gets a folder of its own.
"""

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import polyak  # noqa: E402
from polyak.run import description, loop  # noqa: E402
from polyak.run.checkpoints import manifest  # noqa: E402
from tiny_cli import SMALL, TINY  # noqa: E402
from whole_runs import saved  # noqa: E402


def main() -> None:
    """Train, cut off in the middle of an episode, and keep the folder with what it should be read as."""
    folder = HERE / f"run-format-{manifest.VERSION}"
    if folder.exists():
        sys.exit(f"{folder} is there: it stays as it is")
    description._machine = lambda: {"system": "Linux", "processor": "x86_64", "cores": 1}
    iterate = loop.Loop._iterate

    def cut(self: loop.Loop) -> Generator[None]:
        if self.collector.steps == 33:
            raise KeyboardInterrupt
        return iterate(self)

    loop.Loop._iterate = cut  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as temporary:
        with contextlib.suppress(KeyboardInterrupt):
            polyak.train("sac", TINY, run_dir=temporary, seed=7, threads=1, checkpoint_every=11, lag=1, **SMALL)
        (settings,) = Path(temporary).rglob("settings.json")
        run = polyak.load(settings.parent)
        shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("tensorboard", ".lock"))
    run = polyak.load(folder)
    newest, policy = saved(run), run.policy
    expected = {
        "step": newest.manifest.step,
        "added": newest.replay.added,
        "last_record": newest.replay.records(newest.replay.added - 1, newest.replay.added)[0].tolist(),
        "episodes": newest.replay.episodes(0, newest.replay.added).tolist(),
        "log_alpha": float(newest.learner["log_alpha"]),
        "metrics": len(newest.metrics.splitlines()),
        "observation": [0.25, 3.0],
        "action": policy.act([0.25, 3.0]).tolist(),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
