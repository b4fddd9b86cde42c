"""Sending of the missing parts of a study to MLflow. Every step can be repeated safely, also after an interruption."""

import contextlib
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.inference.network_files import WEIGHTS
from cnn_lstm_hyperopt.run_dir import paths
from cnn_lstm_hyperopt.search import State, TrialRecord, front_hypervolume
from cnn_lstm_hyperopt.tracking.content import (
    Content,
    Snapshot,
    hypervolume_metrics,
    model_content,
    study_content,
    study_metrics,
    trial_content,
)
from cnn_lstm_hyperopt.tracking.exporter import StudyExporter
from cnn_lstm_hyperopt.tracking.trackers.mlflow.model_flavour import log_pytorch_model
from cnn_lstm_hyperopt.tracking.trackers.mlflow.runs import FINALIST, MODEL_ID, STUDY, TRIAL, Runs, StoredRun
from cnn_lstm_hyperopt.tracking.trackers.mlflow.target import MlflowTarget

log = logging.getLogger(__name__)

_STATUS = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAIL: "FAILED"}
"""MLflow's run status for each trial state. MLflow has no status for pruned trials; the tag ``state`` has the exact state."""
_ID_ATTRIBUTE = "tracking_id"
"""Name of the study's attribute with its unique id. The id identifies the study's runs in MLflow if the directory is moved."""
_ARTIFACTS = [
    paths.RESULTS_FILE,
    paths.TRIALS_FILE,
    paths.CONFIG_FILE,
    paths.DATA_FILE,
    paths.REPORT_FILE,
    paths.FIGURES,
]
_REFERENCE = "hypervolume_reference"
"""Name of a tag of the study's run. The tag has the reference point of the study's hypervolumes."""
_SUPERSEDED = "superseded"
"""Name of a tag of a retrained model's run. The tag shows that a later retraining replaced the model."""
_REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")
"""Error codes of MLflow for requests that would also fail at the next attempt."""


class MlflowExporter(StudyExporter):
    """Exporter of one study: finds the parts that MLflow does not have and sends them."""

    def __init__(self, save_dir: Path, target: MlflowTarget, status_file: Path) -> None:
        super().__init__(save_dir, target, status_file)
        self._mlflow = target
        self._runs: Runs | None = None
        self._refused: Exception | None = None

    def disconnect(self) -> None:
        """Forget the runs, because the next attempt reads them again."""
        self._runs = None

    def send(self, snapshot: Snapshot, *, final: bool) -> None:
        """Send the missing runs; with ``final`` also the hypervolume, artifacts and models, and end the study's run."""
        self._refused = None
        if self._runs is None:
            study_id = self.storage.attribute(_ID_ATTRIBUTE) or uuid.uuid4().hex
            self.storage.set_attribute(_ID_ATTRIBUTE, study_id)
            self._runs = Runs(self._mlflow, study_id)
        runs, models = self._runs, self.models(snapshot)
        missing = [record for record in snapshot.ended if not runs.has(TRIAL, str(record.number))]
        self.update(
            trials=len(snapshot.ended) - len(missing),
            models=sum(runs.has(FINALIST, key) for key in models),
            of_models=len(models),
            experiment_id=runs.experiment_id,
        )
        starts = (snapshot.start_ms[record.number] for record in snapshot.ended)
        times = list(filter(None, starts)) or [int(time.time() * 1000)]
        study = runs.find_or_create(STUDY, STUDY, name=snapshot.name, start=min(times))
        if study.complete:
            runs.client.update_run(study.run_id, status="RUNNING")
            study.complete = False
        runs.write(study, study_content(snapshot))
        for record in missing:
            with self._unless_refused(f"trial {record.number}"):
                _send_trial(runs, study, snapshot, record)
                self.update(trials=self.status.trials + 1)
        since = max(0, study.trials_ended - 1)  # the last step may have been interrupted
        runs.write(study, Content(metrics=study_metrics(snapshot, since)))
        study.trials_ended = len(snapshot.ended)
        if final:
            _send_hypervolume(runs, study, snapshot)
            self._send_artifacts(runs, study)
            self._send_models(runs, study, snapshot, models)
            finished = sum(record.finished for record in snapshot.ended)
            times += [snapshot.end_ms[record.number] for record in snapshot.ended]
            times += [int(path.stat().st_mtime * 1000) for path in self.save_dir.glob(paths.RESULTS_FILE)]
            runs.end(study, "FINISHED" if finished >= snapshot.n_trials else "KILLED", max(times))
        if self._refused is not None:
            raise self._refused

    def _send_artifacts(self, runs: Runs, study: StoredRun) -> None:
        for path in (self.save_dir / name for name in _ARTIFACTS):
            if path.is_dir():
                runs.client.log_artifacts(study.run_id, str(path), path.name)
            elif path.is_file():
                runs.client.log_artifact(study.run_id, str(path))

    def _send_models(
        self, runs: Runs, study: StoredRun, snapshot: Snapshot, models: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Send the retrained models, mark the models that a later retraining replaced, and register the best model."""
        for key, entry in models.items():
            if not runs.has(FINALIST, key):
                with self._unless_refused(f"model {entry['model_rank']}"):
                    self._send_model(runs, study, snapshot, key, entry)
                    self.update(models=self.status.models + 1)
        finalists, name = runs.of_kind(FINALIST), self._mlflow.register_as
        for key, run in finalists.items():
            if (superseded := key not in models) or _SUPERSEDED in run.tags:
                runs.write(run, Content(tags={_SUPERSEDED: str(superseded).lower()}))
        best = next((finalists[key] for key in models if runs.has(FINALIST, key)), None)
        if best is not None and name is not None:
            with self._unless_refused(f"the registered model {name}"):
                versions = runs.client.search_model_versions(f"run_id = '{best.run_id}'")
                if name not in {version.name for version in versions}:
                    mlflow.register_model(f"models:/{best.tags[MODEL_ID]}", name, await_registration_for=0)

    def _send_model(self, runs: Runs, study: StoredRun, snapshot: Snapshot, key: str, entry: Mapping[str, Any]) -> None:
        rank, number = entry["model_rank"], entry["trial_number"]
        folder, moment = paths.model_folder(self.save_dir, rank), snapshot.end_ms[number]
        name = f"retrained model {rank} (trial {number})"
        run = runs.find_or_create(FINALIST, key, name=name, start=moment, parent=study.run_id)
        runs.write(run, model_content(entry, snapshot))
        runs.client.log_artifacts(run.run_id, str(folder), "retrained_model")
        if MODEL_ID not in run.tags:
            for incomplete in runs.client.search_logged_models([runs.experiment_id], f"source_run_id = '{run.run_id}'"):
                runs.client.delete_logged_model(incomplete.model_id)
            runs.write(run, Content(tags={MODEL_ID: log_pytorch_model(folder, run.run_id)}))
        runs.end(run, "FINISHED", int((folder / WEIGHTS).stat().st_mtime * 1000))

    @contextlib.contextmanager
    def _unless_refused(self, what: str) -> Iterator[None]:
        """Context in which one trial or model is sent.

        If MLflow refuses this trial or model, the other trials and models are still sent.
        """
        try:
            yield
        except (MlflowException, HyperoptError, RuntimeError) as error:  # torch.export raises RuntimeError
            if isinstance(error, MlflowException) and error.error_code not in _REFUSED:
                raise
            log.warning("%s is not written: %s", what, type(error).__name__)
            log.debug("%s is not written", what, exc_info=True)
            self._refused = self._refused or error


def _send_trial(runs: Runs, study: StoredRun, snapshot: Snapshot, record: TrialRecord) -> None:
    number, start = record.number, snapshot.start_ms[record.number]
    run = runs.find_or_create(TRIAL, str(number), name=f"trial {number}", start=start, parent=study.run_id)
    runs.write(run, trial_content(record, snapshot))
    runs.end(run, _STATUS[record.state], snapshot.end_ms[number])


def _send_hypervolume(runs: Runs, study: StoredRun, snapshot: Snapshot) -> None:
    """Send the hypervolume after each trial. If the reference point changed since the last export, use a new metric name."""
    _, reference = front_hypervolume(snapshot.ended, snapshot.skill)
    if reference:
        text = json.dumps(reference)
        moved = study.tags.get(_REFERENCE, text) != text
        name = f"hypervolume_after_{len(snapshot.ended)}" if moved else "hypervolume"
        tags = {} if moved else {_REFERENCE: text}
        runs.write(study, Content(tags=tags, metrics=hypervolume_metrics(snapshot, name)))
