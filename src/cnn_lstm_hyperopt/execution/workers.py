"""Several long-lived worker processes on one study, from the side of the main process.

A worker is a process of its own program (``cnn_lstm_hyperopt.worker``), not a fork or a re-import of the user's script: so it
needs no ``__main__`` guard and inherits no threads. It reads the settings and the data from files and the study from its storage.
The main process holds its standard input: a line there asks it to end, and the end of that stream, which comes when the main
process dies in whatever way, makes it end at once.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.exceptions import StudyFailedError
from cnn_lstm_hyperopt.execution.observer import Observer
from cnn_lstm_hyperopt.execution.run import EXHAUSTED, FINISHED
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.search import Study

log = logging.getLogger(__name__)

WORKER_MB = 1500
"""Memory that ``auto`` leaves for a worker: the peak of a large trial."""
POLL_SECONDS = 0.2
GRACE_SECONDS = 30.0
MAX_DEATHS = 3
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STUDY_FAILED, RECYCLED = 3, 4
"""Exit codes of a worker that gave up because trial after trial fails, and of one that has grown and wants to be replaced."""


def resolve_workers(settings: Settings, device_type: str) -> int:
    """How many workers ``settings.workers`` means here: ``auto`` is a worker a core, as far as memory goes, and one on a GPU."""
    if settings.workers != "auto":
        return settings.workers
    if device_type != "cpu":
        return 1
    cores = available_cores()
    free = _available_mb()
    fitting = cores if free is None else max(1, int(free // WORKER_MB))
    return max(1, min(cores, fitting, settings.study.n_trials))


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_with_workers(
    study: Study, save_dir: Path, count: int, *, stop: StopSignal, observers: Sequence[Observer]
) -> str:
    """Runs trials in ``count`` worker processes until the study has all of them or ``stop`` says so.

    Returns:
        What ended it, as ``run_trials`` says it.

    Raises:
        StudyFailedError: trial after trial fails, or a worker dies again and again.
    """
    crew = [_Worker(save_dir, number) for number in range(1, count + 1)]
    ended = {record.number for record in study.records() if record.state.ended}
    try:
        while any(worker.running for worker in crew):
            time.sleep(POLL_SECONDS)
            _tell_of_new_trials(study, ended, observers)
            for worker in crew:
                if stop.reason is not None:
                    worker.ask_to_end(stop.reason)
                elif worker.recycled:
                    worker.close()
                    worker.start()
                elif worker.died:
                    _replace(worker, study)
        _tell_of_new_trials(study, ended, observers)
    finally:
        for worker in crew:
            worker.close()
    study.storage.fail_orphans("its worker ended before it did")
    if study.n_finished() >= study.plan.n_trials:
        return FINISHED
    return stop.reason or EXHAUSTED


class _Worker:
    """One process and what it was told."""

    def __init__(self, save_dir: Path, number: int) -> None:
        self.save_dir, self.number = save_dir, number
        self.deaths = 0
        self._told = False
        self.start()

    @property
    def name(self) -> str:
        return f"worker {self.number}"

    def start(self) -> None:
        environment = {**os.environ, **{name: os.environ.get(name, "1") for name in THREAD_VARIABLES}}
        self._errors = (self.save_dir / f".worker_{self.number}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "cnn_lstm_hyperopt.worker", str(self.save_dir), str(self.number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None or self.died or self.recycled

    @property
    def died(self) -> bool:
        """Whether it ended in another way than it should."""
        return self._process.poll() not in (None, 0, RECYCLED) and not self._told

    @property
    def recycled(self) -> bool:
        """Whether it ended so that a fresh process may take its place."""
        return self._process.poll() == RECYCLED and not self._told

    def last_words(self) -> str:
        """The last line that it wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        code = self._process.poll()
        ended = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return f"{ended}: {lines[-1]}" if lines else ended

    @property
    def gave_up(self) -> bool:
        return self._process.poll() == STUDY_FAILED

    def ask_to_end(self, reason: str) -> None:
        """Once; a process that is gone already can't hear it."""
        if self._told or self._process.stdin is None:
            return
        self._told = True
        try:
            self._process.stdin.write(f"{reason}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            log.info("%s had ended before it was asked to", self.name)

    def close(self) -> None:
        """The process ends, kindly where it can."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait(GRACE_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._errors.close()
        Path(self._errors.name).unlink(missing_ok=True)


def _replace(worker: _Worker, study: Study) -> None:
    """A new process for one that died; its trial is failed and thereby tried again."""
    words = worker.last_words()
    if worker.gave_up:
        raise StudyFailedError(words.split(": ", 1)[-1])
    worker.deaths += 1
    cut_off = study.storage.fail_orphans(f"its {worker.name} died ({words})", worker=worker.number)
    log.warning("%s died (%s); trials cut off: %s", worker.name, words, cut_off)
    if worker.deaths >= MAX_DEATHS:
        raise StudyFailedError(f"{worker.name} died {worker.deaths} times, the last time with {words}")
    worker.close()
    worker.start()


def _tell_of_new_trials(study: Study, ended: set[int], observers: Sequence[Observer]) -> None:
    for record in study.records():
        if record.state.ended and record.number not in ended:
            ended.add(record.number)
            for observer in observers:
                observer.on_trial_end(record, None)


def _available_mb() -> float | None:
    """Memory that new processes can have, in MB; None where the platform does not say."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    fields = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 / 1e6
