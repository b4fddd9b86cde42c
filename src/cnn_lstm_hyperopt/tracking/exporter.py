"""Base class of exporters: read the ended trials of a study and send the parts that a tracker does not have."""

import abc
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.inference.model import DESCRIPTION
from cnn_lstm_hyperopt.inference.network_files import WEIGHTS
from cnn_lstm_hyperopt.run_dir import paths
from cnn_lstm_hyperopt.search import StudyStorage, database_in
from cnn_lstm_hyperopt.tracking.content import Snapshot
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.text import printable

log = logging.getLogger(__name__)


class StudyExporter(abc.ABC):
    """Exporter of one study. Every step can be repeated safely, also after an interruption.

    Only one process at a time may export a study to a tracker.
    """

    def __init__(self, save_dir: Path, target: Target, status_file: Path) -> None:
        """Open the study in ``save_dir``. Each change of the sync status is written to ``status_file``.

        Raises:
            SaveDirError: the directory has no study, or the study is damaged.
        """
        self.save_dir = save_dir
        self._target, self._status_file = target, status_file
        self.storage = StudyStorage(database_in(save_dir))
        self.status = SyncStatus()
        self._stamps: list[int] = []
        self._exported = -1  # number of ended trials at the last successful export

    def close(self) -> None:
        """Close the study."""
        self.storage.close()

    def sync(self, *, final: bool) -> bool:
        """Send the missing parts of the study, and with ``final`` also artifacts and models.

        Return True if the tracker then has all parts.

        After a failure, the sync status contains the error.
        """
        try:
            files = [self.save_dir / paths.STUDY_FILE, self.save_dir / f"{paths.STUDY_FILE}-wal"]
            stamps = [path.stat().st_mtime_ns for path in files if path.exists()]
            if stamps and stamps == self._stamps and self._exported >= 0 and not final:
                return True
            ended = sum(record.state.ended for record in self.storage.records())
            self._stamps = stamps
            if ended == self._exported and not final:
                return True  # a trial has a new epoch, but no trial has ended
            snapshot = Snapshot(self.save_dir, self.storage)
        except (HyperoptError, OSError) as error:  # another program locks or edits the study
            return self._fail(f"the study can't be read: {printable(str(error), 300)}", error)
        try:
            self.send(snapshot, final=final)
        except Exception as error:  # noqa: BLE001 - any error of the tracker or the network: the next attempt continues
            self.disconnect()
            return self._fail(self._target.error_text(error), error)
        self._exported = len(snapshot.ended)
        return True

    def _fail(self, text: str, error: Exception) -> bool:
        log.warning("%s", text)
        log.debug("%s", text, exc_info=error)
        self._exported = -1
        self.update(error=text)
        return False

    def update(self, *, error: str = "", **changed: Any) -> None:
        """Change the sync status and write it. Its numbers are known as soon as one of them was given."""
        known = self.status.known or "trials" in changed
        self.status = replace(self.status, known=known, error=error, **changed)
        self.status.write(self._status_file)

    @abc.abstractmethod
    def send(self, snapshot: Snapshot, *, final: bool) -> None:
        """Send the parts of the study that the tracker does not have, and with ``final`` also artifacts and models."""

    @abc.abstractmethod
    def disconnect(self) -> None:
        """Drop the state of the connection after an error, so that the next attempt checks what the tracker has."""

    def models(self, snapshot: Snapshot) -> dict[str, Mapping[str, Any]]:
        """Return the models in ``results.json`` whose folders are complete, in the order of their ranks.

        Keys identify the models: rank, trial and a digest of the weights.
        """
        models: dict[str, Mapping[str, Any]] = {}
        for entry in snapshot.results.get("retrained_models") or ():
            folder = paths.model_folder(self.save_dir, entry["model_rank"])
            if (folder / WEIGHTS).is_file() and (folder / DESCRIPTION).is_file():
                files = [folder / WEIGHTS, *sorted((folder / paths.SEEDS).glob("*.safetensors"))]
                digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
                models[f"{entry['model_rank']}-{entry['trial_number']}-{digest}"] = entry
        return models
