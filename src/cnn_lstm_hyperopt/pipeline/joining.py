"""A worker that joins a study on a server, on any machine that sees the data and the directory of the run."""

from collections.abc import Callable
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError, InterruptedRunError, SaveDirError
from cnn_lstm_hyperopt.execution import FINISHED, StopSignal, TrialEvents, run_trials
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.pipeline.setup import prepare_again
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, VALIDATION
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import Assignment, Study, StudyStorage, TrialRecord, database_of
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
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
    with stop.listening(), storage_faults(save_dir):
        storage = StudyStorage(database)
        try:
            setup = prepare_again(settings, dataset_of(settings, resume=True), storage)
            study = Study(storage, setup.plan)
            say(f"joins {database.shown}: {study.n_finished()} of {setup.plan.n_trials} trials are finished")
            lines = _Lines(say)
            validation = ValidationWriter(_existing(save_dir) / VALIDATION, setup.runner.data.folds)
            ended_by = run_trials(
                study, setup.runner, stop=stop, callbacks=[lines, validation], checkpoints=save_dir / CHECKPOINTS
            )
        finally:
            storage.close()
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
