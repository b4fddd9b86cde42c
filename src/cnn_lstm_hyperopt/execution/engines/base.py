"""Interface of the engines, which run the trials of a study in one or several processes."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.execution.placement import Gpu
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import ActivityReporter, TrialEvents
from cnn_lstm_hyperopt.search import Study
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner


@dataclass(frozen=True)
class SearchJob:
    """Inputs of an engine.

    Attributes:
        settings: settings of the run.
        study: the study, which is open in this process.
        runner: object that trains configurations in this process.
        workers: number of workers.
        gpus: GPU of each worker of this machine; empty without GPUs.
        stop: signal that ends the search early.
        callbacks: subscribers in this process. They are informed of the end of each trial, wherever the trial runs.
        activity: receives the activities of all workers.
        on_workers: function that is called with the number of workers if other processes run the trials.
        warn: function that shows a warning.
    """

    settings: Settings
    study: Study
    runner: TrialRunner
    workers: int
    gpus: Sequence[Gpu]
    stop: StopSignal
    callbacks: Sequence[TrialEvents]
    activity: ActivityReporter
    on_workers: Callable[[int], None]
    warn: Callable[[str], None]

    @property
    def save_dir(self) -> Path:
        """Directory of the run."""
        return self.settings.save_dir

    @property
    def complete(self) -> bool:
        """Whether the study has all its trials."""
        return self.study.n_finished() >= self.study.plan.n_trials


class Engine(abc.ABC):
    """Interface of engines.

    All engines inform the same subscribers and leave the same files, so a study can be resumed with another engine.
    """

    name: ClassVar[str]
    """Name of the engine in the settings."""
    place: ClassVar[int]
    """Position of the engine in lists of engines."""
    description: ClassVar[str]
    """Description of the engine in a few words, for help texts and documentation."""

    @classmethod
    @abc.abstractmethod
    def check(cls, settings: Settings) -> None:
        """Check that the engine can run with these settings, before data are read.

        Raises:
            ConfigError: a package is missing, or a cluster can't be reached.
        """

    @abc.abstractmethod
    def run(self, job: SearchJob) -> str:
        """Run trials until the study has all trials or ``job.stop`` ends the run.

        Returns:
            FINISHED (all trials were run), EXHAUSTED (no new configuration is left), or the reason of ``job.stop``.

        Raises:
            StudyFailedError: too many trials failed in a row, or a worker died too often.
            StorageFailedError: the study can't be stored.
        """
