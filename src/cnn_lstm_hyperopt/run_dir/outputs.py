"""Checks of ``--output``, which protect files of the user and of other programs from being replaced by accident."""

import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.run_dir.paths import (
    ENSEMBLE_FILE,
    MLFLOW_FILE,
    MODEL_CARD,
    SEEDS,
    STUDY_FILE,
    STUDY_FILES,
    STUDY_FOLDERS,
    TRAINING_FILE,
    VERSIONS_FILE,
)
from cnn_lstm_hyperopt.utils.text import printable

PRODUCER = "cnn-lstm-hyperopt"
"""Name of this program, which identifies it as the producer of exported files."""
PRODUCER_FILE = "producer.txt"
"""Name of an extra file in a ``torch.export`` program. The extra file contains the name of this program."""
_HEAD_BYTES = 4096
_MODEL_FILES = (
    "model.safetensors",
    "model.json",
    "metrics.json",
    "predictions.csv",
    ENSEMBLE_FILE,
    MODEL_CARD,
    TRAINING_FILE,
    VERSIONS_FILE,
)
_TABLE_START = re.compile(rb"symbol,date,class,([a-z_]+,)*probability_0,")
_EVALUATION_START = re.compile(rb'\{\s*"format": \d+,\s*"command": "evaluate",')
Recognise = Callable[[Path, bytes], bool]


def is_predictions(path: Path, head: bytes) -> bool:
    """Return True if the first line of a file shows that the command ``predict`` wrote the file."""
    return _TABLE_START.match(head) is not None


def is_export(path: Path, head: bytes) -> bool:
    """Return True if the producer's name in a file shows that the command ``export`` wrote the file."""
    if not head.startswith(b"PK"):
        return PRODUCER.encode() in head[:100]  # ONNX: the producer is the second field of the model
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"extra/{PRODUCER_FILE}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def is_evaluation(path: Path, head: bytes) -> bool:
    """Return True if the first lines of a file show that the command ``evaluate`` wrote the file."""
    return _EVALUATION_START.match(head) is not None


def checked_output(
    output: Path, recognise: Recognise, *, command: str, force: bool = False, data_dir: Path | None = None
) -> Path:
    """Check that an output file may be written, before other work starts. Return its path with links resolved.

    An existing file may be replaced if ``command`` wrote the file, if the file is empty, or with ``force``. Files of a study,
    of a model and in ``data_dir`` are never replaced, nor are devices, pipes and directories.

    Args:
        output: path of the output file, as the user wrote it.
        recognise: function of (path, first bytes) that returns True if the command wrote the file.
        command: name of the command that writes the file.
        force: also allow replacing files that the command did not write.
        data_dir: folder of the user's bars.

    Raises:
        ConfigError: the file may not be written.
    """
    name = printable(str(output))
    try:
        place = output.resolve()
        mode = place.stat().st_mode if os.path.lexists(place) else None
    except RuntimeError as error:  # the links form a cycle
        raise ConfigError(
            f"--output {name} is a link to itself; name another file", field="--output", code="output-unwritable"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"--output {name} can't be written: {error.strerror}; name another file",
            field="--output",
            code="output-unwritable",
        ) from error
    system = any(
        path.is_relative_to(root) for path in (output.absolute(), place) for root in (Path("/dev"), Path("/proc"))
    )
    if not output.name or system or (mode is not None and not stat.S_ISREG(mode)):
        raise ConfigError(
            f"--output {name} must name a file, no directory, device or pipe; name another one",
            field="--output",
            code="output-not-a-file",
        )
    _refuse_bars(place, data_dir, name)
    _refuse_files_of_a_study(place, name)
    if mode is not None and not force:
        _refuse_others_files(place, recognise, name, command)
    return place


def _refuse_bars(place: Path, data_dir: Path | None, name: str) -> None:
    if data_dir is None or not data_dir.is_dir():
        return
    if place.exists() and any(each.is_file() and each.samefile(place) for each in data_dir.iterdir()):
        raise ConfigError(
            f"--output {name} is a file of --data-dir and is never replaced; name another file",
            field="--output",
            code="output-is-data",
        )
    if place.parent == data_dir.resolve() and place.suffix.lower() in (".csv", ".parquet"):
        raise ConfigError(
            f"--output {name} would be read as a symbol of --data-dir; name a file in another folder",
            field="--output",
            code="output-is-data",
        )


def _refuse_files_of_a_study(place: Path, name: str) -> None:
    study = next((folder for folder in place.parents if (folder / STUDY_FILE).exists()), None)
    inside = () if study is None else place.relative_to(study).parts
    own = inside and (inside[0] in STUDY_FOLDERS if len(inside) > 1 else _is_study_file(inside[0]))
    model = any((place.parent / file).exists() for file in ("model.json", ENSEMBLE_FILE))
    weights = place.parent.name == SEEDS and (place.parent.parent / "model.json").exists()
    if own or weights or (model and place.name in _MODEL_FILES):
        raise ConfigError(
            f"--output {name} is a file of the study or the model itself and is never replaced; name another file",
            field="--output",
            code="output-is-study-file",
        )


def _is_study_file(name: str) -> bool:
    return name in STUDY_FILES or any(name.startswith(f"{database}-") for database in (STUDY_FILE, MLFLOW_FILE))


def _refuse_others_files(place: Path, recognise: Recognise, name: str, command: str) -> None:
    try:
        with place.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ConfigError(
            f"--output {name} can't be read: {error.strerror}; name another file",
            field="--output",
            code="output-unwritable",
        ) from error
    if head and not recognise(place, head):
        raise ConfigError(
            f"--output {name} exists and was not written by {command}, so it is not replaced; name another file, or replace it"
            " with --force",
            field="--output",
            code="output-exists",
        )
