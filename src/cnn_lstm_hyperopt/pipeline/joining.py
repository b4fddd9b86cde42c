"""A worker that joins a study on a server, on a machine that sees the directory of the run or its artifacts."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError, InterruptedRunError, SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.execution import FINISHED, StopSignal, TrialEvents, gpus_of, resolve_workers, run_trials
from cnn_lstm_hyperopt.execution.artifacts import (
    CheckpointCopies,
    SentPredictions,
    StudyFiles,
    checkpoint_copies,
    open_store,
)
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.execution.worker_plan import as_begun
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.pipeline.setup import prepare_again
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, VALIDATION
from cnn_lstm_hyperopt.run_dir.run_log import run_log, warnings_on_terminal
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import Assignment, Database, Study, StudyStorage, TrialRecord, database_of
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner
from cnn_lstm_hyperopt.utils.text import counted


class _Lines(TrialEvents):
    """Subscriber that shows a line for each trial of this worker."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.finished = 0

    def on_trial_start(self, assignment: Assignment) -> None:
        """Show the trial that starts."""
        again = "" if assignment.retry_of is None else f" (continues trial {assignment.retry_of})"
        self._say(f"trial {assignment.number} starts{again}")

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Show the result of a trial."""
        self.finished += record.finished
        score = f", score {record.values.score:.4f}" if record.values is not None else ""
        reason = f", {record.reason}" if record.reason else ""
        self._say(f"trial {record.number} is {record.state.value}{score}{reason}")


def join_study(settings: Settings, say: Callable[[str], None]) -> None:
    """Run trials of a study on a server until the study has all trials.

    The settings and the hash of the data must be those of the study. After Ctrl-C or SIGTERM, the running trial becomes WAITING,
    so that another worker continues it from its checkpoint.

    Args:
        settings: settings in the study's ``config.yaml``.
        say: function that shows a line.

    Raises:
        ConfigError: the study is not on a server.
        SaveDirError: the directory or its study is missing, or the study was made with other settings or data.
        InterruptedRunError: Ctrl-C or SIGTERM ended the worker.
    """
    save_dir, database = settings.save_dir, database_of(settings, resume=True)
    if not database.shared:
        raise ConfigError(
            f"the study in {save_dir} is in study.db, which only the processes of one machine can use; run them with: resume"
            " --workers N, or start a study with --storage",
            field="study.storage",
            code="study-in-file",
        )
    stop = StopSignal()
    with (
        stop.listening(),
        run_log(save_dir, "worker: "),
        storage_faults(save_dir),
        contextlib.closing(StudyStorage(database)) as storage,
    ):
        setup = prepare_again(settings, dataset_of(settings, resume=True), storage)
        validation = ValidationWriter(_existing(save_dir) / VALIDATION, setup.runner.data.folds)
        checkpoints = save_dir / CHECKPOINTS
        callbacks = [validation, *checkpoint_copies(settings, storage, checkpoints)]
        _run(Study(storage, setup.plan), setup.runner, stop, callbacks, checkpoints, say)


def join_from_artifacts(database: Database, url: str, say: Callable[[str], None]) -> None:
    """Run trials of a study on a server on a machine that does not see ``save_dir``, until the study has all trials.

    Settings and data come from an artifact store, and their hashes must be those in the study. Checkpoints and validation
    predictions go to the store.

    Args:
        database: database of the study.
        url: URL of the store.
        say: function that shows a line.

    Raises:
        ConfigError: a package or the study's device is missing on this machine.
        SaveDirError: the store has no files of the study, or other files.
        StorageFailedError: the store does not answer.
        InterruptedRunError: Ctrl-C or SIGTERM ended the worker.
    """
    stop = StopSignal()
    with (
        stop.listening(),
        warnings_on_terminal(),
        _disk_faults(),
        tempfile.TemporaryDirectory(prefix="cnn_lstm_") as name,
        contextlib.closing(StudyStorage(database)) as storage,
    ):
        folder = Path(name)
        files = StudyFiles.of(open_store(url), storage)
        settings, data = files.settings(folder), files.data()
        device = resolve_device(storage.attribute("made_with")["training.device"])
        workers = resolve_workers(settings, device.type, gpus_of(settings, device.type))
        runner, plan = as_begun(settings, data, device, storage, workers=workers)
        validation, checkpoints = folder / VALIDATION, folder / CHECKPOINTS
        callbacks = [
            ValidationWriter(validation, data.folds),
            SentPredictions(files, validation),
            CheckpointCopies(files, checkpoints),
        ]
        _run(Study(storage, plan), runner, stop, callbacks, checkpoints, say)


@contextlib.contextmanager
def _disk_faults() -> Iterator[None]:
    """Context in which an error of the folder for temporary files becomes a StorageFailedError."""
    try:
        yield
    except OSError as error:
        raise StorageFailedError(
            f"{error.filename or tempfile.gettempdir()} can't be written: {error.strerror}; free some space, or set TMPDIR, then"
            " start the worker again",
            code="disk-failing",
        ) from error


def _run(
    study: Study,
    runner: TrialRunner,
    stop: StopSignal,
    callbacks: Sequence[TrialEvents],
    checkpoints: Path,
    say: Callable[[str], None],
) -> None:
    """Run trials until the study has all trials or ``stop`` ends the worker, and show the trials."""
    say(f"joins {study.storage.shown}: {study.n_finished()} of {study.plan.n_trials} trials are finished")
    lines = _Lines(say)
    ended_by = run_trials(study, runner, stop=stop, callbacks=[lines, *callbacks], checkpoints=checkpoints)
    done = counted(lines.finished, "trial")
    if stop.interrupted:
        waits = "a trial that was running waits for another worker"
        raise InterruptedRunError(f"interrupted after {done}; {waits}", code="interrupted")
    say(f"ends after {done}: {'the study has all trials' if ended_by == FINISHED else ended_by}")


def _existing(save_dir: Path) -> Path:
    if not save_dir.is_dir():
        raise SaveDirError(
            f"--save-dir {save_dir} is no directory on this machine; name the shared directory of the run",
            field="save_dir",
            code="not-a-directory",
        )
    return save_dir
