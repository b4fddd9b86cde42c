"""Checks that a run may use a directory and does not overwrite other files."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import (
    BACKUP_FILE,
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    FIGURES,
    MODEL_FOLDERS,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    STUDY_FOLDERS,
    TRIALS_FILE,
    VALIDATION,
    model_folders,
    require_usable,
)
from cnn_lstm_hyperopt.search import Database, StudyStorage, database_of
from cnn_lstm_hyperopt.search.file_check import remedy

_OWN_FOLDERS = "|".join((*STUDY_FOLDERS, MODEL_FOLDERS))


def check_database(settings: Settings, *, resume: bool) -> None:
    """Check the directory of a run and the database of its study, as :func:`check_save_dir`.

    Raises:
        InputError: the directory or the database can't be used.
    """
    database = database_of(settings, resume=resume)
    check_save_dir(
        settings.save_dir, resume=resume, data_dir=settings.data.data_dir, server=database if database.shared else None
    )


def check_save_dir(
    save_dir: Path, *, resume: bool, data_dir: Path | None = None, server: Database | None = None
) -> None:
    """Check that ``save_dir`` contains a study if ``resume`` is true, and that it contains no study otherwise.

    Args:
        save_dir: directory to check.
        resume: True if the run is to resume the study in ``save_dir``.
        data_dir: folder of the user's bars, into which the run must not write; None: no folder.
        server: database of the study; None: ``study.db`` in the directory.

    Raises:
        SaveDirError: the directory can't be used. The text describes the progress of its study and the possible fix.
    """
    if data_dir is not None:
        _require_apart(save_dir, data_dir)
    require_usable(save_dir)
    in_file = (save_dir / STUDY_FILE).is_file()
    if server is not None and resume and in_file:
        raise SaveDirError(
            f"the study in {save_dir} is in {STUDY_FILE} and can't be moved to a server; leave out --storage",
            field="study.storage",
            code="study-in-file",
        )
    there = in_file or (server is not None and server.exists())
    if there and not resume:
        raise _already_there(save_dir, save_dir / STUDY_FILE if in_file or server is None else server)
    if server is not None and resume and not there:
        raise SaveDirError(
            f"{server.shown} does not exist, so there is nothing to resume; check --storage and study.name in {CONFIG_FILE}, or"
            " start a new study (without --resume)",
            field="study.storage",
            code="no-study",
        )
    if not there and (save_dir / BACKUP_FILE).is_file():  # a new study would overwrite this backup
        text = f"{save_dir} no longer holds {STUDY_FILE}; {remedy(save_dir / STUDY_FILE)}"
        raise SaveDirError(text, field="save_dir", code="study-lost")
    if resume and not there:
        raise SaveDirError(
            f"{save_dir} holds no {STUDY_FILE}, so there is nothing to resume; name another --save-dir, or start a new study"
            " (without --resume)",
            field="save_dir",
            code="no-study",
        )
    taken = [] if there else list(_in_the_way(save_dir))
    if taken:
        raise SaveDirError(
            f"{save_dir} holds {', '.join(taken)} and no {STUDY_FILE}, so a new study would overwrite them; move them, or choose"
            " another --save-dir",
            field="save_dir",
            code="files-without-study",
        )


def _already_there(save_dir: Path, place: Path | Database) -> SaveDirError:
    """Return the error for a new study in a directory or a database that contains one."""
    storage = StudyStorage(place)
    try:
        name, done = storage.study.study_name, sum(record.finished for record in storage.records())
    finally:
        storage.close()
    if isinstance(place, Path):
        where, other = f"{save_dir} already holds the study {name}", "--save-dir"
    else:
        where, other = f"{place.shown} exists already", "--study-name"
    return SaveDirError(
        f"{where} with {done} finished trials; continue it (--resume, or in Python resume=True) or choose another {other}",
        field="save_dir" if isinstance(place, Path) else "study.name",
        code="study-exists",
    )


def _in_the_way(save_dir: Path) -> Iterator[str]:
    """Yield the names of files and folders that a new study would overwrite.

    Settings and data of an aborted start do not count.
    """
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
    """Create the directory and its parents if they are missing.

    Raises:
        SaveDirError: the operating system does not allow creating the directory.
    """
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"--save-dir {save_dir} can't be created: {error.strerror}; name another"
        raise SaveDirError(text, field="save_dir", code="save-dir-not-created") from error


@contextlib.contextmanager
def held_for_a_check(save_dir: Path) -> Iterator[None]:
    """Context in which a directory is created if needed and locked, as in a run. A new directory is removed at the end.

    Raises:
        SaveDirError: a run can't use the directory.
    """
    missing = [place for place in (save_dir, *save_dir.parents) if not place.exists()]
    try:
        make_directory(save_dir)
        with only_run(save_dir):
            yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # not created, or no longer empty
                place.rmdir()


def _require_apart(save_dir: Path, data_dir: Path) -> None:
    """Raise an error if ``save_dir`` is the folder of the bars.

    In this folder, ``trials.csv`` would count as a symbol, and bars could be overwritten.
    """
    place, bars = save_dir.resolve(), data_dir.resolve()
    if place == bars:
        raise SaveDirError(
            f"--save-dir {save_dir} must not be the folder of the bars (--data-dir {data_dir}): trials.csv would be read as a"
            " symbol; name another --save-dir",
            field="save_dir",
            code="save-dir-is-data-dir",
        )
    if bars.is_relative_to(place) and re.fullmatch(_OWN_FOLDERS, bars.relative_to(place).parts[0]):
        raise SaveDirError(
            f"--data-dir {data_dir} must not be inside {save_dir / bars.relative_to(place).parts[0]}, which the run writes and"
            " removes; move the bars, or name another --save-dir",
            field="data.data_dir",
            code="data-dir-in-save-dir",
        )


def _is_of_a_run(config: Path) -> bool:
    """Return True if a run wrote a ``config.yaml``, even if the run ended before it created its study."""
    try:
        return config.read_text(encoding="utf-8") == dump_settings(load_settings(config, environment={}))
    except (ConfigError, OSError, UnicodeDecodeError):
        return False
