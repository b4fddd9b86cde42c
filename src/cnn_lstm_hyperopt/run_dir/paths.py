"""Names of the files and folders in ``save_dir``, and a check that a run can use the directory."""

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
"""MLflow's database and folder of artifacts. Both are used unless the user names a server."""
TENSORBOARD, WANDB = "tensorboard", "wandb"
"""Folders of TensorBoard's event files and of the runs of Weights & Biases."""
REPORT_FILE, FIGURES = "report.html", "figures"
"""Report page, and folder of the pictures of its charts."""
BACKUP_FILE = "study.backup.db"
"""Backup copy of ``study.db``, at most ten minutes old during a run."""
VALIDATION = "validation"
"""Folder with a file for each finished trial: its predictions on the validation windows."""
CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints of unfinished trials, from which their training can be resumed."""
FINAL = "final"
"""Folder in ``checkpoints/`` for confirmation and retraining.

The checkpoints in this folder are deleted when the results are written.
"""
REFIT_CHECKPOINTS = "refit"
"""Folder in ``checkpoints/`` for the final refit."""
ENSEMBLE = "ensemble"
"""Folder of the finalists' ensemble."""
ENSEMBLE_FILE = "ensemble.json"
"""File in the ensemble's folder that lists the members, their weights and their folders."""
SEEDS = "seeds"
"""Folder in a model's folder: the networks of other seeds, ``seeds/SEED.safetensors``."""
TRAINING_FILE = "training.json"
"""File in a model's folder with the epochs and the validation losses of each seed's training."""
VERSIONS_FILE, VERSIONS = "versions.json", "versions"
"""File in a model's folder with the history of its versions, and folder of all versions except the first."""
MODEL_CARD = "README.md"
"""File with the model card, in the folder of each model."""
ACTIVITY_FILE = ".activity.json"
"""File that exists during a search and names the trial that each process is training."""
RUN_LOCK = ".run.lock"
"""Lock file of the process that runs the study. The operating system releases the lock when this process ends."""
LOCK_FILE, DATA_FOR_WORKERS = ".claim.lock", ".data.safetensors"
"""Files that exist while workers run: a lock for starting a trial, and the windows that all workers map into memory."""
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
"""Names of the files of a study, without hidden files."""
STUDY_FOLDERS = (VALIDATION, CHECKPOINTS, FIGURES, MLFLOW_ARTIFACTS, TENSORBOARD, WANDB)
"""Names of the folders of a study, without the folders of models."""


def require_usable(save_dir: Path) -> None:
    """Check that ``save_dir`` exists or can be created.

    Also check that no file has the name of one of the study's folders, and that no folder has the name of one of its files.

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
    """Return the folder of the retrained model with a rank, such as ``retrained_model_1``."""
    return save_dir / f"retrained_model_{rank}"


def ensemble_folder(save_dir: Path) -> Path:
    """Return the folder of the finalists' ensemble."""
    return save_dir / ENSEMBLE


MODEL_FOLDERS = rf"retrained_model_\d+|{ENSEMBLE}"
"""Pattern of the names of model folders."""


def model_folders(save_dir: Path, pattern: str = MODEL_FOLDERS) -> list[Path]:
    """Return the folders of models and of the ensemble, sorted by name. With ``pattern``, return all folders that match it."""
    if not save_dir.is_dir():
        return []
    return sorted(path for path in save_dir.iterdir() if re.fullmatch(pattern, path.name))


def command(*arguments: str | Path) -> str:
    """Return a command line for this program that starts with the program name that the user typed."""
    return f"{program()} {shlex.join(map(str, arguments))}"


def predict_command(model: Path, data_dir: Path | None, features: str | None) -> str:
    """Return the command line that predicts the newest bars with a model.

    Args:
        model: folder of the model.
        data_dir: folder of the bars; None: the command has the placeholder ``DIR``.
        features: user's function that computes features, such as ``mine.more``; None if there is no function.
    """
    own = ["--features", features] if features else []
    return command("predict", "--model", model, "--data-dir", data_dir or "DIR", "--last", *own)


def resume_command(save_dir: Path) -> str:
    """Return the command line that resumes the study."""
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
