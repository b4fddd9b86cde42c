"""Count of the deaths of one worker's processes, and the rules by which these deaths end the run."""

from collections.abc import Callable
from dataclasses import dataclass

from cnn_lstm_hyperopt.errors import StudyFailedError

MAX_DEATHS = 20
"""The run ends if a worker dies this number of times before a further trial finishes."""
MAX_START_DEATHS = 3
"""The run ends if a worker dies this number of times in a row before its first heartbeat."""


@dataclass
class WorkerDeaths:
    """Deaths of one worker's processes.

    Attributes:
        name: name of the worker in messages, such as ``worker 1``.
        remedy: end of the message about a worker that dies at its start; may be empty.
        warn: function that shows a warning.
    """

    name: str
    remedy: str
    warn: Callable[[str], None]
    deaths: int = 0
    start_deaths: int = 0
    finished_before: int = 0

    def add(self, end: str, *, began: bool, finished: int) -> None:
        """Count a death, and warn about the first of several deaths.

        Args:
            end: how the process ended, for messages.
            began: whether the process had sent a heartbeat.
            finished: number of finished trials of the study.

        Raises:
            StudyFailedError: the worker died too often.
        """
        if finished != self.finished_before:
            self.deaths = self.start_deaths = 0
        self.deaths += 1
        self.start_deaths = 0 if began else self.start_deaths + 1
        self.finished_before = finished
        if self.start_deaths >= MAX_START_DEATHS:
            raise StudyFailedError(
                f"{self.name} died {self.start_deaths} times before it could start a trial: {end}{self.remedy}",
                code="workers-die-at-start",
            )
        if self.deaths == 1:
            when = "" if began else " before it could start a trial"
            self.warn(f"{self.name} died{when} and is restarted: {end}")
        if self.deaths >= MAX_DEATHS:
            raise StudyFailedError(
                f"{self.name} died {self.deaths} times without a finished trial in between, the last time with {end}",
                code="workers-die",
            )
