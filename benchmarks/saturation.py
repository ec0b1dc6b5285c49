"""How often TD3 learns nothing on InvertedDoublePendulum at equal settings, in polyak and in Stable-Baselines3.

    python benchmarks/saturation.py --seeds 5-20    # what is left of them, into docs/results/learning/saturation.json

An actor that its first updates drive to the action's bounds has a gradient of 0 there, and stays. 5,000 updates tell:
after 15,000 steps, the first 10,000 of them at random, whoever learns has returns in the hundreds, who does not 20. Of
the seeds of the comparison the curves tell the same; docs/results.md counts both.
"""

import argparse
import json
import tempfile
from typing import Any

from bench import processor
from curves.cases import OURS, PEER, ROOT
from curves.equal import ZOO, peer_options, settings
from curves.luck import ALGORITHM, ENVIRONMENT, FILE, STEPS
from peers.processes import require_peers, trainer

import polyak

RESULTS, PEERS = ROOT / "docs" / "results" / "learning" / FILE, ROOT / ".venv-peers" / "bin" / "python"


def ours(seed: int) -> float:
    """The return after so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        run = polyak.train(
            ALGORITHM, ENVIRONMENT, preset=str(ZOO), seed=seed, steps=STEPS, threads=1, run_dir=folder, progress=None
        )
        return float(run.metrics[-1]["eval/return"])


def theirs(seed: int, peers: str) -> float:
    """The same of Stable-Baselines3."""
    values = settings(ZOO, ALGORITHM, ENVIRONMENT)
    job = {"algorithm": ALGORITHM, "environment": ENVIRONMENT, "seed": seed, "threads": 1, "limit": STEPS}
    job |= {"look": values["steps_per_epoch"], "episodes": values["evaluation_episodes"]}
    with (
        tempfile.TemporaryDirectory() as kept,
        trainer(PEER, job, peers, curve=kept, **peer_options(ALGORITHM, values)) as process,
    ):
        process.answer()  # its versions
        steps, mean = 0.0, 0.0
        while steps < STEPS:
            steps, _, mean = map(float, process.answer())
        return mean


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="5-20", help="the first and the last")
    parser.add_argument("--peers", default=str(PEERS), help="the peers' Python")
    options = parser.parse_args()
    require_peers(options.peers, [PEER])
    first, last = map(int, options.seeds.split("-"))
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for seed in range(first, last + 1):
        for library in (OURS, PEER):
            if any((row["library"], row["seed"]) == (library, seed) for row in found["rows"]):
                continue
            value = ours(seed) if library == OURS else theirs(seed, options.peers)
            row = {"library": library, "seed": seed, "return": round(value, 1), "processor": processor()}
            found["rows"].append(row)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(row, flush=True)


if __name__ == "__main__":
    main()
