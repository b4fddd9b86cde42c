"""Settings and data of a study in an artifact store. The study's database has their hashes."""

import hashlib
import re
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.execution.artifacts.store import ArtifactStore, open_store
from cnn_lstm_hyperopt.execution.trial_loop import checkpoint_path
from cnn_lstm_hyperopt.execution.validation_files import validation_path
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, CONFIG_FILE, DATA_FOR_WORKERS, VALIDATION
from cnn_lstm_hyperopt.search import Study, StudyStorage
from cnn_lstm_hyperopt.utils.atomic_io import cache_folder

ATTRIBUTE = "artifacts"
"""Study attribute with the folder of the study in the store and the hashes of its settings and data."""
_NUMBER = re.compile(r"trial_(\d+)\.\w+")


@dataclass(frozen=True)
class _Published:
    """Content of the study attribute: name of the study's folder, and SHA-256 of settings and data."""

    folder: str
    config: str
    data: str


class StudyFiles:
    """Files of a study in an artifact store.

    Args:
        store: the store.
        published: folder and hashes in the study's database.
    """

    def __init__(self, store: ArtifactStore, published: _Published) -> None:
        self.store = store
        self._published = published

    @classmethod
    def publish(cls, store: ArtifactStore, storage: StudyStorage, save_dir: Path, data: TrialData) -> "StudyFiles":
        """Copy the settings and the data of trials to the store, unless it has them, and store their hashes in the study."""
        windows = save_dir / DATA_FOR_WORKERS
        save_trial_data(windows, data)
        before = _stored(storage)
        folder = f"{_slug(storage.study.study_name)}-{secrets.token_hex(6)}" if before is None else before.folder
        published = _Published(folder, _sha256(save_dir / CONFIG_FILE), _sha256(windows))
        files = cls(store, published)
        for name, path in ((files._config, save_dir / CONFIG_FILE), (files._data, windows)):
            if not store.exists(name):
                store.put(name, path)
        if published != before:
            storage.set_attribute(ATTRIBUTE, asdict(published))
        return files

    @classmethod
    def of(cls, store: ArtifactStore, storage: StudyStorage) -> "StudyFiles":
        """Return the files of a study.

        Raises:
            SaveDirError: the run did not publish files.
        """
        published = _stored(storage)
        if published is None:
            raise SaveDirError(
                f"{storage.shown} has no artifacts; start it with: run --storage URL --artifacts URL, or name the directory of"
                " the run with --save-dir",
                field="--artifacts",
                code="no-artifacts",
            )
        return cls(store, published)

    @property
    def _config(self) -> str:
        return f"{self._published.folder}/config.{self._published.config[:16]}.yaml"

    @property
    def _data(self) -> str:
        return f"{self._published.folder}/data.{self._published.data[:16]}.safetensors"

    def settings(self, save_dir: Path) -> Settings:
        """Return the settings of the study with another ``save_dir``, for a worker.

        Raises:
            SaveDirError: the store has no settings or other settings than the study.
        """
        with tempfile.TemporaryDirectory(prefix="cnn_lstm_") as name:
            path = Path(name) / CONFIG_FILE
            self._fetch(self._config, self._published.config, path)
            return load_settings(path, {"save_dir": save_dir}, environment={})

    def data(self) -> TrialData:
        """Return the data of trials. The workers of a machine share a file in the cache directory.

        Raises:
            SaveDirError: the store has no data or other data than the study.
        """
        path = cache_folder() / "artifacts" / f"{self._published.data}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or _sha256(path) != self._published.data:
            self._fetch(self._data, self._published.data, path)
        return load_trial_data(path)

    def _fetch(self, name: str, expected: str, path: Path) -> None:
        """Copy a file from the store to ``path``, if its hash is the expected one."""
        fix = "check the URL, or publish the files again with: resume"
        if not self.store.get(name, path):
            raise SaveDirError(
                f"--artifacts {self.store.url} has no file {name} of the study; {fix}",
                field="--artifacts",
                code="artifacts-missing",
            )
        found = _sha256(path)
        if found != expected:
            path.unlink()
            raise SaveDirError(
                f"--artifacts {self.store.url}: {name} differs from the study's (SHA-256 {found[:16]}…, not {expected[:16]}…);"
                f" remove this file, then {fix}",
                field="--artifacts",
                code="artifacts-differ",
            )

    # ------------------------------------------------------------------ files of trials

    def checkpoint(self, number: int) -> str:
        """Return the name of the checkpoint of the trials with the seed of trial ``number``."""
        return f"{self._published.folder}/{CHECKPOINTS}/{checkpoint_path(Path(), number).name}"

    def predictions(self, number: int) -> str:
        """Return the name of the validation predictions of a trial."""
        return f"{self._published.folder}/{VALIDATION}/{validation_path(Path(), number).name}"

    def collect(self, study: Study, save_dir: Path) -> None:
        """Move the predictions of finished trials to ``save_dir``, and remove files that no trial needs.

        Call this function at the end of the search. Trials that still run on other machines keep their files.
        """
        (save_dir / VALIDATION).mkdir(exist_ok=True)
        numbers = self._numbers(VALIDATION)  # before the records: files of trials that end between the two calls remain
        records = {record.number: record for record in study.records()}
        for number in numbers:
            record, path = records.get(number), validation_path(save_dir / VALIDATION, number)
            if record is not None and not record.state.ended:
                continue
            if record is not None and record.finished and not path.exists():
                self.store.get(self.predictions(number), path)
            self.store.delete(self.predictions(number))
        numbers = self._numbers(CHECKPOINTS)
        needed = study.needed_states()
        for number in numbers:
            if number not in needed:
                self.store.delete(self.checkpoint(number))

    def _numbers(self, folder: str) -> list[int]:
        """Return the numbers of the trials with a file in a folder of the store."""
        names = self.store.names(f"{self._published.folder}/{folder}")
        return [int(found[1]) for found in map(_NUMBER.fullmatch, names) if found is not None]


def check_artifacts(url: str) -> None:
    """Check that files can be written at the URL, before data are read.

    Raises:
        ConfigError: a package is missing, or the place can't be written to.
    """
    store, name = open_store(url), f"check-{secrets.token_hex(6)}"
    try:
        with tempfile.NamedTemporaryFile(prefix="cnn_lstm_") as file:
            store.put(name, Path(file.name))
        store.delete(name)
    except StorageFailedError as error:
        raise ConfigError(str(error), field="study.artifacts", code="artifacts-unusable") from error


def stored_files(settings: Settings, storage: StudyStorage) -> StudyFiles | None:
    """Return the files of a study whose settings have ``study.artifacts``; otherwise, or before they exist, return None."""
    if settings.study.artifacts is None:
        return None
    published = _stored(storage)
    return None if published is None else StudyFiles(open_store(settings.study.artifacts), published)


def _stored(storage: StudyStorage) -> _Published | None:
    found = storage.attribute(ATTRIBUTE)
    return None if found is None else _Published(**found)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
