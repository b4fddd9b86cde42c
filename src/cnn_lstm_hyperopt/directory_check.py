"""Whether a run may use a directory: what lies there is what it should be, and nobody's work is written over."""

from pathlib import Path

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.exceptions import ConfigError, SaveDirError
from cnn_lstm_hyperopt.folder import (
    BACKUP_FILE,
    CONFIG_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    model_folders,
    require_usable,
)
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.search.integrity import remedy


def check_save_dir(save_dir: Path, *, resume: bool) -> None:
    """A directory with a study needs ``resume``, one without must not have it.

    Raises:
        SaveDirError: it is not so; the text says how far the study is, and both cures.
    """
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
    taken = [name for name in (RESULTS_FILE, TRIALS_FILE, REPORT_FILE) if (save_dir / name).exists()]
    taken += [path.name for path in model_folders(save_dir)]
    if (save_dir / CONFIG_FILE).is_file() and not _is_of_a_run(save_dir / CONFIG_FILE):
        taken.append(f"a {CONFIG_FILE} of your own")
    if not there and taken:
        raise SaveDirError(
            f"{save_dir} holds {', '.join(taken)} and no {STUDY_FILE}, so a new study would write over them; move them, or choose"
            " another --save-dir"
        )


def _is_of_a_run(config: Path) -> bool:
    """Whether a run has written it, which may have ended before it had made its study."""
    try:
        return config.read_text(encoding="utf-8") == dump_settings(load_settings(config, environment={}))
    except (ConfigError, OSError, UnicodeDecodeError):
        return False
