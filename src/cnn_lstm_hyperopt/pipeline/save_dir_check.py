"""Whether a run may use a directory: what lies there is what it should be, and nobody's work is written over."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import (
    BACKUP_FILE,
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    FIGURES,
    MLFLOW_ARTIFACTS,
    MODEL_FOLDERS,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    VALIDATION,
    model_folders,
    require_usable,
)
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.search.storage_recovery import remedy

_OWN_FOLDERS = "|".join((VALIDATION, CHECKPOINTS, FIGURES, MLFLOW_ARTIFACTS, MODEL_FOLDERS))


def check_save_dir(save_dir: Path, *, resume: bool, data_dir: Path | None = None) -> None:
    """A directory with a study needs ``resume``, one without must not have it.

    Args:
        save_dir: to check.
        resume: whether the run continues a study.
        data_dir: folder of the user's bars, if the run reads one; the run must not write there.

    Raises:
        SaveDirError: it is not so; the text says how far the study is, and both cures.
    """
    if data_dir is not None:
        _require_apart(save_dir, data_dir)
    require_usable(save_dir)
    there = (save_dir / STUDY_FILE).is_file()
    if there and not resume:
        storage = StudyStorage(save_dir / STUDY_FILE)
        try:
            name, done = storage.study.study_name, sum(record.finished for record in storage.records())
        finally:
            storage.close()
        raise SaveDirError(
            f"{save_dir} already holds the study {name} with {done} finished trials; go on with it (--resume, or in Python"
            f" resume=True) or choose another --save-dir"
        )
    if not there and (save_dir / BACKUP_FILE).is_file():  # a new study's backup would take its place
        raise SaveDirError(f"{save_dir} holds no {STUDY_FILE} any more; {remedy(save_dir / STUDY_FILE)}")
    if resume and not there:
        raise SaveDirError(
            f"{save_dir} holds no {STUDY_FILE}, so there is nothing to resume; name another --save-dir, or begin anew (without"
            " --resume)"
        )
    taken = [] if there else list(_in_the_way(save_dir))
    if taken:
        raise SaveDirError(
            f"{save_dir} holds {', '.join(taken)} and no {STUDY_FILE}, so a new study would write over them; move them, or choose"
            " another --save-dir"
        )


def _in_the_way(save_dir: Path) -> Iterator[str]:
    """Files and folders that a new study would write over. A run that ended before its study leaves only settings and data."""
    yield from (name for name in (RESULTS_FILE, TRIALS_FILE, REPORT_FILE) if (save_dir / name).exists())
    yield from (path.name for path in model_folders(save_dir))
    for folder in (VALIDATION, CHECKPOINTS, FIGURES):
        if (save_dir / folder).is_dir() and any((save_dir / folder).iterdir()):
            yield f"{folder}/"
    of_a_run = _is_of_a_run(save_dir / CONFIG_FILE)
    if (save_dir / CONFIG_FILE).is_file() and not of_a_run:
        yield f"a {CONFIG_FILE} of your own"
    if (save_dir / DATA_FILE).is_file() and not of_a_run:
        yield DATA_FILE


def make_directory(save_dir: Path) -> None:
    """Make the directory with its parents, unless it is there.

    Raises:
        SaveDirError: the system refuses it.
    """
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveDirError(f"--save-dir {save_dir} can't be made: {error.strerror}; name another") from error


@contextlib.contextmanager
def held_for_a_check(save_dir: Path) -> Iterator[None]:
    """Make and lock the directory as a run does, and undo both at the end.

    Raises:
        SaveDirError: a run would be refused the directory.
    """
    missing = [place for place in (save_dir, *save_dir.parents) if not place.exists()]
    try:
        make_directory(save_dir)
        with only_run(save_dir):
            yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # it was not made, or somebody has put a file there in the meantime
                place.rmdir()


def _require_apart(save_dir: Path, data_dir: Path) -> None:
    """The study's files must not lie among the bars: ``trials.csv`` would be read as a symbol, and bars could be replaced."""
    place, bars = save_dir.resolve(), data_dir.resolve()
    if place == bars:
        raise SaveDirError(
            f"--save-dir {save_dir} must not be the folder of the bars (--data-dir {data_dir}): trials.csv would be read as a"
            " symbol; name another --save-dir"
        )
    if bars.is_relative_to(place) and re.fullmatch(_OWN_FOLDERS, bars.relative_to(place).parts[0]):
        raise SaveDirError(
            f"--data-dir {data_dir} must not lie in {save_dir / bars.relative_to(place).parts[0]}, which the run writes and"
            " removes; move the bars, or name another --save-dir"
        )


def _is_of_a_run(config: Path) -> bool:
    """Whether a run has written it, which may have ended before it had made its study."""
    try:
        return config.read_text(encoding="utf-8") == dump_settings(load_settings(config, environment={}))
    except (ConfigError, OSError, UnicodeDecodeError):
        return False
