"""Worker of a run with Ray: a task that runs trials until the study has all trials."""

import logging
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.execution.remote.decider import Reply
from cnn_lstm_hyperopt.execution.remote.study_client import StudyClient
from cnn_lstm_hyperopt.execution.remote.workload import Workload
from cnn_lstm_hyperopt.execution.trial_loop import run_trials
from cnn_lstm_hyperopt.execution.worker import BEAT_SECONDS, MemoryWatch, TrialPlace, WatchedStop, progress_since
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, VALIDATION
from cnn_lstm_hyperopt.run_dir.run_log import logging_to
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.utils.heartbeat import place
from cnn_lstm_hyperopt.utils.processes import noticing_stops

CALLS_PER_SECOND = 50
"""Heartbeats and requests of all idle workers together in a second, so that a large crew leaves time for decisions."""


@dataclass(frozen=True)
class WorkerEnd:
    """End of a worker: the reason that :func:`.run_trials` returned, or the error that ended the worker."""

    reason: str = ""
    error: HyperoptError | None = None


@dataclass(frozen=True)
class Post:
    """Place of a worker's process in the run.

    Attributes:
        process: id of this process; a process that replaces another one has another id.
        number: number of the worker, from 1.
        workers: number of workers.
        silence_seconds: a worker without progress for this time is replaced.
    """

    process: int
    number: int
    workers: int
    silence_seconds: float

    @property
    def pause_seconds(self) -> float:
        """Seconds between two heartbeats."""
        return min(max(BEAT_SECONDS, self.workers / CALLS_PER_SECOND), self.silence_seconds / 3)


def work(post: Post, workload: Workload, decider: Any) -> WorkerEnd:
    """Run trials that the decider, a Ray actor, assigns, until it says that the run ends."""
    import ray

    def ask(method: str, *arguments: Any) -> Reply:
        reply: Reply = ray.get(decider.call.remote(post.process, method, *arguments))
        return reply

    ray.get(decider.join.remote(post.process, post.number))
    threading.Thread(target=_send_heartbeats, args=(post, decider), daemon=True).start()
    stop = _CrewStop(post.pause_seconds)
    try:
        with (
            logging_to(_Sender(decider, post.number)),
            noticing_stops(),
            tempfile.TemporaryDirectory(prefix="cnn_lstm_") as name,
        ):
            folder = Path(name)
            study, runner = StudyClient(workload.plan(), ask, stop, folder), workload.runner()
            callbacks = [workload.writer(folder / VALIDATION), TrialPlace(), MemoryWatch(stop, workload.growth_mb)]
            return WorkerEnd(
                run_trials(study, runner, stop=stop, callbacks=callbacks, checkpoints=folder / CHECKPOINTS)
            )
    except HyperoptError as error:
        return WorkerEnd(error=error)


class _CrewStop(WatchedStop):
    """Stop signal of one of many workers, which wait longer than one of few before they ask for a trial again."""

    def __init__(self, pause_seconds: float) -> None:
        super().__init__()
        self._pause_seconds = pause_seconds

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds`` seconds, or longer if there are many workers."""
        super().wait(max(seconds, self._pause_seconds / 5))


def _send_heartbeats(post: Post, decider: Any) -> None:
    """Send heartbeats with the worker's progress, trial, epoch and memory, in a thread."""
    started = time.monotonic()
    while True:
        decider.beat.remote(post.process, progress_since(started), *place(), resident_mb())
        time.sleep(post.pause_seconds)


class _Sender(logging.Handler):
    """Handler that sends log lines to the decider, which writes them to ``run.log``."""

    def __init__(self, decider: Any, number: int) -> None:
        super().__init__()
        self._decider, self._number = decider, number

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log line."""
        self._decider.write_log.remote(self._number, record.levelno, self.format(record))
