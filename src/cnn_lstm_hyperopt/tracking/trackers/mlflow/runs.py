"""MLflow runs of one study: found by tags, created if missing, and written with few requests."""

import os
from dataclasses import dataclass

import mlflow.store.db.utils
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from cnn_lstm_hyperopt.errors import TrackingError
from cnn_lstm_hyperopt.tracking.content import Content
from cnn_lstm_hyperopt.tracking.trackers.mlflow.target import MlflowTarget

STUDY, TRIAL, FINALIST = "study", "trial", "finalist"
"""Kinds of MLflow runs. The tags ``study_id``, ``kind`` and ``key`` identify a run."""
MODEL_ID = "model_id"
"""Name of a tag of a finalist's run. The tag has MLflow's id of the logged model."""
_PAGE = 200
"""Maximum number of runs in one answer of MLflow. With more runs, a slow server might exceed the timeout of a request."""
_MAX_METRICS, _MAX_OTHERS = 800, 100
"""Maximum number of metrics, and of params or tags, in one request. MLflow accepts at most 1000 entries, including at most 100
params and 100 tags."""
_ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
"""Environment variable of MLflow with the folder for artifacts.

If this variable is not set, MLflow creates a folder in the current directory.
"""


@dataclass
class StoredRun:
    """A run in MLflow, with the params, tags and metrics that were read from or written to MLflow."""

    run_id: str
    complete: bool
    tags: dict[str, str]
    params: dict[str, str]
    trials_ended: int = 0


class Runs:
    """All MLflow runs of one study.

    After an error, create a new object, because the old object may lack runs that MLflow has.
    """

    def __init__(self, target: MlflowTarget, study_id: str) -> None:
        """Read all runs of the study from MLflow.

        Raises:
            TrackingError: the experiment was deleted.
        """
        mlflow.store.db.utils.MAX_RETRY_COUNT = 1  # warnings of an unreachable database; the export itself tries again
        if target.artifacts is not None:
            os.environ.setdefault(_ARTIFACT_ROOT, target.artifacts)
        mlflow.set_tracking_uri(target.uri)
        mlflow.set_registry_uri(target.uri)
        self.client = MlflowClient()
        os.environ.pop(_ARTIFACT_ROOT, None)  # a process with this variable counts as a server, which has fewer rights
        self._study_id = study_id
        self.experiment_id = self._experiment(target)
        self._runs: dict[tuple[str, str], StoredRun] = {}
        for run in self._read():
            self._add(run)

    def _experiment(self, target: MlflowTarget) -> str:
        found = self.client.get_experiment_by_name(target.experiment)
        if found is None:
            return str(self.client.create_experiment(target.experiment, artifact_location=target.artifacts))
        if found.lifecycle_stage != "active":
            text = (
                f"its experiment {target.experiment} was deleted; restore it there, or name another (mlflow.experiment)"
            )
            raise TrackingError(text, code="experiment-deleted")
        return str(found.experiment_id)

    def _read(self) -> list[Run]:
        """Return the runs in all pages of MLflow's answer.

        No run may be deleted before all pages are read, because later pages would shift.
        """
        place = [self.experiment_id], f"tags.study_id = '{self._study_id}'", ViewType.ACTIVE_ONLY
        page = self.client.search_runs(*place, _PAGE, ["attributes.start_time ASC"])
        runs = list(page)
        while page.token:
            page = self.client.search_runs(*place, _PAGE, ["attributes.start_time ASC"], page.token)
            runs += page
        return runs

    def _add(self, run: Run) -> None:
        """Add the first run of each kind and key. Delete a second run; it exists if an answer of MLflow was lost."""
        tags, info = run.data.tags, run.info
        place = tags.get("kind", ""), tags.get("key", "")
        if place in self._runs:
            self.client.delete_run(info.run_id)
            return
        complete = info.status in ("FINISHED", "FAILED", "KILLED") and (place[0] != FINALIST or MODEL_ID in tags)
        trials_ended = int(run.data.metrics.get("trials_ended", 0))
        self._runs[place] = StoredRun(info.run_id, complete, dict(tags), dict(run.data.params), trials_ended)

    def has(self, kind: str, key: str) -> bool:
        """Return True if MLflow has a complete run of the kind and key."""
        return (kind, key) in self._runs and self._runs[kind, key].complete

    def of_kind(self, kind: str) -> dict[str, StoredRun]:
        """Return all MLflow runs of a kind, by key."""
        return {key: run for (each, key), run in self._runs.items() if each == kind}

    def find_or_create(self, kind: str, key: str, *, name: str, start: int, parent: str | None = None) -> StoredRun:
        """Return the run of the kind and key.

        If there is none, create a run with the name, the start (ms since 1970) and the parent's id.
        """
        if (kind, key) not in self._runs:
            tags = {"study_id": self._study_id, "kind": kind, "key": key, MLFLOW_RUN_NAME: name}
            if parent is not None:
                tags[MLFLOW_PARENT_RUN_ID] = parent
            run = self.client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=name)
            self._runs[kind, key] = StoredRun(run.info.run_id, False, tags, {})
        return self._runs[kind, key]

    def write(self, run: StoredRun, content: Content) -> None:
        """Send params, tags and metrics to an MLflow run. Sending an entry twice has no effect.

        MLflow never changes a param. So if a resumed study has changed settings, the new values become tags ``now.NAME``.
        """
        new = {name: value for name, value in content.params.items() if name not in run.params}
        changed = {
            f"now.{name}": value
            for name, value in content.params.items()
            if name not in new and (run.params[name] != value or f"now.{name}" in run.tags)
        }
        differing = {name: value for name, value in {**content.tags, **changed}.items() if run.tags.get(name) != value}
        metrics = [Metric(each.key, each.value, each.moment, each.step) for each in content.metrics]
        params = [Param(name, value) for name, value in new.items()]
        tags = [RunTag(name, value) for name, value in differing.items()]
        while metrics or params or tags:
            self.client.log_batch(run.run_id, metrics[:_MAX_METRICS], params[:_MAX_OTHERS], tags[:_MAX_OTHERS])
            metrics, params, tags = metrics[_MAX_METRICS:], params[_MAX_OTHERS:], tags[_MAX_OTHERS:]
        run.params |= new
        run.tags |= differing

    def end(self, run: StoredRun, status: str, end: int) -> None:
        """Set the final status of an MLflow run and its end time (ms since 1970). Call this after all content is written."""
        self.client.set_terminated(run.run_id, status, end)
        run.complete = True
