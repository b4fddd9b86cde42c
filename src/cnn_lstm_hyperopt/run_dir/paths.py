"""Names of the files and folders in ``save_dir``; a check that a run can use the directory."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.utils.processes import program

STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE = (
    "study.db",
    "config.yaml",
    "data.json",
    "results.json",
    "trials.csv",
    "run.log",
)
MLFLOW_FILE, MLFLOW_ARTIFACTS = "mlflow.db", "mlartifacts"
"""MLflow's database and folder of artifacts, unless the user names another server."""
REPORT_FILE, FIGURES = "report.html", "figures"
"""The report page, and the folder of its charts as pictures."""
BACKUP_FILE = "study.backup.db"
"""A copy of the study, at most ten minutes old."""
VALIDATION = "validation"
"""Folder of each finished trial's predictions on the validation windows."""
CHECKPOINTS = "checkpoints"
"""Folder of the training states of unfinished trials."""
FINAL = "final"
"""Folder in ``checkpoints/``: training states of confirmation and retraining, until the results are written."""
ENSEMBLE = "ensemble"
"""Folder of the finalists' ensemble."""
ENSEMBLE_FILE = "ensemble.json"
"""File in the ensemble's folder: the members, their weights and their folders."""
MODEL_CARD = "README.md"
"""Model card in the folder of each model."""
ACTIVITY_FILE = ".activity.json"
"""File during a search: the trial that each process trains."""
RUN_LOCK = ".run.lock"
"""Lock of the process that runs the study; the system frees it when that process ends."""
LOCK_FILE, DATA_FOR_WORKERS = ".claim.lock", ".data.safetensors"
"""Files while workers run: lock for claiming a trial, and the windows that all workers map into memory."""
STUDY_FILES = (
    STUDY_FILE,
    BACKUP_FILE,
    CONFIG_FILE,
    DATA_FILE,
    RESULTS_FILE,
    TRIALS_FILE,
    LOG_FILE,
    REPORT_FILE,
    MLFLOW_FILE,
)
"""Files of a study, without hidden ones."""
STUDY_FOLDERS = (VALIDATION, CHECKPOINTS, FIGURES, MLFLOW_ARTIFACTS)
"""Folders of a study, without folders of models."""


def require_usable(save_dir: Path) -> None:
    """Check that ``save_dir`` exists or can be created, and that no file has the name of a folder or the reverse.

    Raises:
        SaveDirError: the directory can't be used.
    """
    there = next(place for place in (save_dir, *save_dir.parents) if place.exists())
    if not there.is_dir():
        made = "" if there == save_dir else f"can't be made: {there} "
        raise SaveDirError(
            f"--save-dir {save_dir} {made}is no directory; name another", field="save_dir", code="not-a-directory"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise SaveDirError(
            f"--save-dir {save_dir} can't be written: {there} is read-only; make it writable, or name another",
            field="save_dir",
            code="not-writable",
        )
    folders = [*STUDY_FOLDERS, *(path.name for path in model_folders(save_dir))]
    for name, right, kind in (
        *((name, Path.is_file, "file") for name in (*STUDY_FILES, RUN_LOCK)),
        *((name, Path.is_dir, "directory") for name in folders),
    ):
        place = save_dir / name
        if os.path.lexists(place) and not right(place):
            raise SaveDirError(
                f"{place} is in the way: a run needs this name for a {kind}; move it, or name another --save-dir",
                field="save_dir",
                code="name-taken",
            )


def model_folder(save_dir: Path, rank: int) -> Path:
    """Return the folder of the retrained model with this rank: ``retrained_model_1`` …"""
    return save_dir / f"retrained_model_{rank}"


def ensemble_folder(save_dir: Path) -> Path:
    """Return the folder of the ensemble."""
    return save_dir / ENSEMBLE


MODEL_FOLDERS = rf"retrained_model_\d+|{ENSEMBLE}"
"""Pattern of the names of model folders."""


def model_folders(save_dir: Path, pattern: str = MODEL_FOLDERS) -> list[Path]:
    """Return the folders of models and of the ensemble, or all folders that match ``pattern``, sorted by name."""
    if not save_dir.is_dir():
        return []
    return sorted(path for path in save_dir.iterdir() if re.fullmatch(pattern, path.name))


def command(*arguments: str | Path) -> str:
    """Return a command line that calls this program in the same way as the user."""
    return f"{program()} {shlex.join(map(str, arguments))}"


def resume_command(save_dir: Path) -> str:
    """Return the command that resumes the study."""
    return command("resume", "--save-dir", save_dir)


def resume_in_python(save_dir: Path, description: Mapping[str, Any]) -> str:
    """Return the Python expression that resumes a study on DataLoaders.

    Args:
        save_dir: directory of the study.
        description: content of the study's ``data.json``, which shows whether the first call had dates and groups.
    """
    splits = list((description.get("splits") or {}).values())
    marks = [name for name, key in (("dates", "first"), ("groups", "groups")) if any(key in each for each in splits)]
    arguments = "".join(f"{name}={name}, " for name in marks)
    return f"CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(save_dir)!r}, {arguments}resume=True)"
