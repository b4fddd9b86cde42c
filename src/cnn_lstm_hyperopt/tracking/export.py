"""Sending of the missing parts of a study to MLflow. Every step can be repeated safely, also after an interruption."""

import contextlib
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.inference.model import DESCRIPTION, WEIGHTS
from cnn_lstm_hyperopt.run_dir import paths
from cnn_lstm_hyperopt.search import StudyStorage, TrialRecord, database_in, front_hypervolume
from cnn_lstm_hyperopt.tracking.content import (
    STATUS,
    Content,
    Snapshot,
    hypervolume_metrics,
    model_content,
    study_content,
    study_metrics,
    trial_content,
)
from cnn_lstm_hyperopt.tracking.model_flavour import log_pytorch_model
from cnn_lstm_hyperopt.tracking.process import SyncStatus
from cnn_lstm_hyperopt.tracking.runs import FINALIST, MODEL_ID, STUDY, TRIAL, Runs, StoredRun
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.text import printable

log = logging.getLogger(__name__)

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


class Exporter:
    """Exporter of one study: finds the parts that MLflow does not have and sends them.

    Only one process at a time may export a study.
    """

    def __init__(self, save_dir: Path, target: Target, status_file: Path) -> None:
        """Open the study in ``save_dir``. Each change of the sync status is written to ``status_file``.

        Raises:
            SaveDirError: the directory has no study, or the study is damaged.
        """
        self._save_dir, self._target, self._status_file = save_dir, target, status_file
        self._storage = StudyStorage(database_in(save_dir))
        self.close = self._storage.close
        self._status = SyncStatus()
        self._runs: Runs | None = None
        self._stamps: list[int] = []
        self._exported = -1  # number of ended trials at the last successful export
        self._refused: Exception | None = None

    def sync(self, *, final: bool) -> bool:
        """Send the missing parts of the study, and with ``final`` also artifacts and models.

        Return True if MLflow then has all parts.

        After a failure, the sync status contains the error.
        """
        try:
            files = [self._save_dir / paths.STUDY_FILE, self._save_dir / f"{paths.STUDY_FILE}-wal"]
            stamps = [path.stat().st_mtime_ns for path in files if path.exists()]
            if stamps and stamps == self._stamps and self._exported >= 0 and not final:
                return True
            ended = sum(record.state.ended for record in self._storage.records())
            self._stamps = stamps
            if ended == self._exported and not final:
                return True  # a trial has a new epoch, but no trial has ended
            snapshot = Snapshot(self._save_dir, self._storage)
        except (HyperoptError, OSError) as error:  # another program locks or edits the study
            return self._fail(f"the study can't be read: {printable(str(error), 300)}", error)
        try:
            self._send(snapshot, final=final)
        except Exception as error:  # noqa: BLE001 - any error of MLflow or the network: the next attempt continues
            self._runs = None
            return self._fail(self._target.error_text(error), error)
        self._exported = len(snapshot.ended)
        return True

    def _fail(self, text: str, error: Exception) -> bool:
        log.warning("%s", text)
        log.debug("%s", text, exc_info=error)
        self._exported = -1
        self._update(error=text)
        return False

    def _update(self, *, error: str = "", **changed: Any) -> None:
        self._status = replace(self._status, error=error, **changed)
        self._status.write(self._status_file)

    def _send(self, snapshot: Snapshot, *, final: bool) -> None:
        self._refused = None
        if self._runs is None:
            study_id = self._storage.attribute(_ID_ATTRIBUTE) or uuid.uuid4().hex
            self._storage.set_attribute(_ID_ATTRIBUTE, study_id)
            self._runs = Runs(self._target, study_id)
        runs, models = self._runs, self._models(snapshot)
        missing = [record for record in snapshot.ended if not runs.has(TRIAL, str(record.number))]
        self._update(
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
                self._update(trials=self._status.trials + 1)
        since = max(0, study.trials_ended - 1)  # the last step may have been interrupted
        runs.write(study, Content(metrics=study_metrics(snapshot, since)))
        study.trials_ended = len(snapshot.ended)
        if final:
            _send_hypervolume(runs, study, snapshot)
            self._send_artifacts(runs, study)
            self._send_models(runs, study, snapshot, models)
            finished = sum(record.finished for record in snapshot.ended)
            times += [snapshot.end_ms[record.number] for record in snapshot.ended]
            times += [int(path.stat().st_mtime * 1000) for path in self._save_dir.glob(paths.RESULTS_FILE)]
            runs.end(study, "FINISHED" if finished >= snapshot.n_trials else "KILLED", max(times))
        if self._refused is not None:
            raise self._refused

    def _send_artifacts(self, runs: Runs, study: StoredRun) -> None:
        for path in (self._save_dir / name for name in _ARTIFACTS):
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
                    self._update(models=self._status.models + 1)
        finalists, name = runs.of_kind(FINALIST), self._target.register_as
        for key, run in finalists.items():
            if (superseded := key not in models) or _SUPERSEDED in run.tags:
                runs.write(run, Content(tags={_SUPERSEDED: str(superseded).lower()}))
        best = next((finalists[key] for key in models if runs.has(FINALIST, key)), None)
        if best is not None and name is not None:
            with self._unless_refused(f"the registered model {name}"):
                versions = runs.client.search_model_versions(f"run_id = '{best.run_id}'")
                if name not in {version.name for version in versions}:
                    mlflow.register_model(f"models:/{best.tags[MODEL_ID]}", name, await_registration_for=0)

    def _models(self, snapshot: Snapshot) -> dict[str, Mapping[str, Any]]:
        """Return the models in ``results.json`` whose folders are complete, in the order of their ranks.

        Keys identify their MLflow runs.
        """
        models: dict[str, Mapping[str, Any]] = {}
        for entry in snapshot.results.get("retrained_models") or ():
            folder = paths.model_folder(self._save_dir, entry["model_rank"])
            if (folder / WEIGHTS).is_file() and (folder / DESCRIPTION).is_file():
                files = [folder / WEIGHTS, *sorted((folder / paths.SEEDS).glob("*.safetensors"))]
                digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
                models[f"{entry['model_rank']}-{entry['trial_number']}-{digest}"] = entry
        return models

    def _send_model(self, runs: Runs, study: StoredRun, snapshot: Snapshot, key: str, entry: Mapping[str, Any]) -> None:
        rank, number = entry["model_rank"], entry["trial_number"]
        folder, moment = paths.model_folder(self._save_dir, rank), snapshot.end_ms[number]
        name = f"retrained model {rank} (trial {number})"
        run = runs.find_or_create(FINALIST, key, name=name, start=moment, parent=study.run_id)
        runs.write(run, model_content(entry, snapshot.results, moment))
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
    runs.end(run, STATUS[record.state], snapshot.end_ms[number])


def _send_hypervolume(runs: Runs, study: StoredRun, snapshot: Snapshot) -> None:
    """Send the hypervolume after each trial. If the reference point changed since the last export, use a new metric name."""
    _, reference = front_hypervolume(snapshot.ended, snapshot.skill)
    if reference:
        text = json.dumps(reference)
        moved = study.tags.get(_REFERENCE, text) != text
        name = f"hypervolume_after_{len(snapshot.ended)}" if moved else "hypervolume"
        tags = {} if moved else {_REFERENCE: text}
        runs.write(study, Content(tags=tags, metrics=hypervolume_metrics(snapshot, name)))
