"""A run at MLflow; `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME` and its other variables are in force."""

import os
import time
from collections.abc import Mapping
from typing import Any

from polyak.run.folder import Run
from polyak.run.metrics import Ending, Record

STATUS: Mapping[Ending, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


def track(run: Run, parameters: Mapping[str, Any], identity: str | None) -> "MlflowRun":
    """Begin a run, or go on with the one of this identity, if it is where MLflow looks now."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    if identity is not None and _is_there(client, identity):
        client.update_run(identity, status="RUNNING")
        return MlflowRun(client, run, identity, f"run {identity}, gone on with")
    experiment = _experiment(client, f"{parameters['environment']}/{parameters['algorithm']}")
    begun: Any = client.create_run(experiment, run_name=run.folder.name)
    tracked = MlflowRun(client, run, str(begun.info.run_id), f"run {begun.info.run_id}")
    if identity is not None:
        tracked.place += f", a new one: {identity} is not there"
    tracked.describe(parameters)
    return tracked


class MlflowRun:
    """Records at MLflow, over environment steps; it appends, so that what a resumed run writes again stands twice."""

    def __init__(self, client: Any, run: Run, identity: str, place: str) -> None:
        self._client, self._folder = client, run
        self.identity, self.place = identity, place

    def describe(self, parameters: Mapping[str, Any]) -> None:
        """Log the parameters, which MLflow never lets change: a resumed run keeps those that it began with."""
        from mlflow.entities import Param

        self._client.log_batch(self.identity, params=[Param(name, str(value)) for name, value in parameters.items()])

    def write(self, record: Record) -> None:
        """Log a record in one request."""
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), int(record["step"])
        metrics = [Metric(name, value, now, step) for name, value in record.items() if name != "step"]
        self._client.log_batch(self.identity, metrics=metrics)

    def close(self, ending: Ending) -> None:
        """End the run, and log the policies as artifacts: in this order, so that none of them can keep it running."""
        self._client.set_terminated(self.identity, STATUS[ending])
        for file in (self._folder.policy_file, self._folder.best_policy_file):
            if file.exists():
                self._client.log_artifact(self.identity, str(file), "policy")


def _experiment(client: Any, default: str) -> str:
    """The identity of the experiment that the environment names, or of the one of this name; made if it is new."""
    from mlflow.exceptions import MlflowException

    if identity := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return identity
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or default
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run, started at the same time, has made it
            if found is None:
                raise
    return str(found.experiment_id)


def _is_there(client: Any, identity: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(identity).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
