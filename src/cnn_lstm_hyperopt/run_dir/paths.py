"""What lies in ``save_dir``: its names, the log, the lock, and what to say when nothing can be written there."""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import SaveDirError

STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE = (
    "study.db",
    "config.yaml",
    "data.json",
    "results.json",
    "trials.csv",
    "run.log",
)
MLFLOW_FILE, MLFLOW_ARTIFACTS = "mlflow.db", "mlartifacts"
"""MLflow's own, unless another store is named."""
REPORT_FILE, FIGURES = "report.html", "figures"
"""The page, and its charts as pictures."""
BACKUP_FILE = "study.backup.db"
"""A whole copy of the study, at most ten minutes of trials old."""
VALIDATION = "validation"
"""What each finished trial said of the validation windows."""
CHECKPOINTS = "checkpoints"
"""While there is something to go on with: states of trials."""
FINAL = "final"
"""In ``checkpoints/``: the trainings of confirmation and retraining, until the verdict is written."""
ENSEMBLE = "ensemble"
"""The folder of the finalists' ensemble, beside those of the retrained models and made like them."""
ENSEMBLE_FILE = "ensemble.json"
"""In it: its members, their weights and their folders."""
MODEL_CARD = "README.md"
"""In the folder of each model."""
ACTIVITY_FILE = ".activity.json"
"""While a search is at work: what each of its processes trains."""
RUN_LOCK = ".run.lock"
"""Held by the process that runs the study; the system frees it when that process ends, in whatever way."""
LOCK_FILE, DATA_FOR_WORKERS = ".claim.lock", ".data.safetensors"
"""While workers run: whose turn it is to claim a trial, and the windows that all of them map into memory."""
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
"""Files of a study that a user sees."""
STUDY_FOLDERS = (VALIDATION, CHECKPOINTS, FIGURES, MLFLOW_ARTIFACTS)
"""Folders of a study, beside those of models."""


def require_usable(save_dir: Path) -> None:
    """Whether the directory is there or can be made, and what lies in it under our names is what it should be.

    Raises:
        SaveDirError: it can't be used; the text says why.
    """
    there = next(place for place in (save_dir, *save_dir.parents) if place.exists())
    if not there.is_dir():
        made = "" if there == save_dir else f"can't be made: {there} "
        raise SaveDirError(f"--save-dir {save_dir} {made}is no directory; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SaveDirError(
            f"--save-dir {save_dir} can't be written: {there} is read-only; make it writable, or name another"
        )
    folders = [*STUDY_FOLDERS, *(path.name for path in model_folders(save_dir))]
    for name, right, kind in (
        *((name, Path.is_file, "file") for name in (*STUDY_FILES, RUN_LOCK)),
        *((name, Path.is_dir, "directory") for name in folders),
    ):
        place = save_dir / name
        if os.path.lexists(place) and not right(place):
            raise SaveDirError(
                f"{place} is in the way: a run needs this name for a {kind}; move it, or name another --save-dir"
            )


def model_folder(save_dir: Path, rank: int) -> Path:
    """``retrained_model_1`` …"""
    return save_dir / f"retrained_model_{rank}"


def ensemble_folder(save_dir: Path) -> Path:
    """``ensemble``."""
    return save_dir / ENSEMBLE


MODEL_FOLDERS = rf"retrained_model_\d+|{ENSEMBLE}"
"""Pattern of the names of model folders."""


def model_folders(save_dir: Path, pattern: str = MODEL_FOLDERS) -> list[Path]:
    """What is named like the folder of a model or ensemble, or by another pattern; nothing else is ever touched."""
    if not save_dir.is_dir():
        return []
    return sorted(path for path in save_dir.iterdir() if re.fullmatch(pattern, path.name))


def resume_command(save_dir: Path) -> str:
    """Return the command that resumes the study."""
    return f"cnn-lstm-hyperopt resume --save-dir {shlex.quote(str(save_dir))}"


def resume_in_python(save_dir: Path, description: Mapping[str, Any]) -> str:
    """Return the Python expression that resumes a study on DataLoaders.

    Args:
        save_dir: of the study.
        description: of its ``data.json``: dates and groups that it was begun with have to be given again.
    """
    splits = list((description.get("splits") or {}).values())
    marks = [name for name, key in (("dates", "first"), ("groups", "groups")) if any(key in each for each in splits)]
    given = "".join(f"{name}={name}, " for name in marks)
    return f"CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(save_dir)!r}, {given}resume=True)"
