"""A run at Weights & Biases; `WANDB_MODE`, `WANDB_PROJECT`, `WANDB_DIR` and its other variables are in force."""

import os
from collections.abc import Mapping
from typing import Any

from polyak.run.folder import Run
from polyak.run.metrics import Ending, Record

EXIT_CODES: Mapping[Ending, int] = {"finished": 0, "failed": 1, "killed": 255}
"""As W&B itself counts them when a script ends: 255 is Ctrl-C."""


def track(run: Run, parameters: Mapping[str, Any], identity: str | None) -> "WandbRun":
    """Begin a run, or go on with the one of this identity."""
    return WandbRun(run, parameters, identity)


class WandbRun:
    """Records at W&B, over environment steps.

    W&B counts its own steps and drops what comes with a lower one than before. `step` is therefore a number like all
    others, over which they are drawn: what a resumed run writes again then stands there twice and is not lost.
    """

    def __init__(self, run: Run, parameters: Mapping[str, Any], identity: str | None) -> None:
        import wandb

        self._folder = run
        group = f"{parameters['environment']}/{parameters['algorithm']}"
        self._run: Any = wandb.init(
            id=identity,
            resume="allow",
            reinit="create_new",  # a run that the caller has begun is left alone
            name=None if "WANDB_NAME" in os.environ else run.folder.name,
            group=None if "WANDB_RUN_GROUP" in os.environ else group,
            settings=wandb.Settings(console="off"),  # standard output and error stay with the command line
        )
        self._run.config.update(dict(parameters), allow_val_change=True)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.identity = str(self._run.id)
        self.place = f"offline, in {self._run.settings.sync_dir}" if self._run.offline else str(self._run.url)

    def write(self, record: Record) -> None:
        """Log a record."""
        self._run.log(dict(record))

    def close(self, ending: Ending) -> None:
        """Log the policies as an artifact, and end the run."""
        import wandb

        files = [file for file in (self._folder.policy_file, self._folder.best_policy_file) if file.exists()]
        try:
            artifact: Any = wandb.Artifact(f"policy-{self.identity}", type="model")
            for file in files:
                artifact.add_file(str(file))
            if files:
                self._run.log_artifact(artifact)
        finally:
            self._run.finish(exit_code=EXIT_CODES[ending])
