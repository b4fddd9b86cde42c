"""Several long-lived worker processes on one study, from the side of the main process.

A worker is a process of its own program (``execution.worker``), not a fork or a re-import of the user's script: so it
needs no ``__main__`` guard and inherits no threads. It reads the settings and the data from files and the study from its storage.
The main process holds its standard input: a line there asks it to end, and the end of that stream, which comes when the main
process dies in whatever way, makes it end at once. On its standard output it tells once a second that it is alive; one that falls
silent, or whose training does not move, is killed and replaced like one that died.
"""

import contextlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import RunError, StorageFailedError, StudyFailedError
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import EXHAUSTED, FINISHED
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import ACTIVITY_FILE, CHECKPOINTS, DATA_FOR_WORKERS, LOCK_FILE, VALIDATION
from cnn_lstm_hyperopt.run_dir.storage_errors import FULL, cant_write, disk_is_full
from cnn_lstm_hyperopt.search import DIED, KILLED, Study
from cnn_lstm_hyperopt.search.orphans import fail_worker, pause_orphans
from cnn_lstm_hyperopt.utils.atomic_io import remove_parts
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES, module_command

log = logging.getLogger(__name__)

WORKER_MB = 1500
"""Memory that ``auto`` leaves for a worker: the peak of a large trial."""
POLL_SECONDS = 0.2
SIGKILL = 9  # Windows has none
GRACE_SECONDS = 30.0
STOPPED_SECONDS = 2.0
"""Between two looks at the workers; after more, all were stopped (Ctrl-Z, a laptop asleep), or this process was held up."""
MAX_DEATHS = 20
"""Of a worker, without a trial having been finished in between: going on would only repeat it."""
MAX_START_DEATHS = 3
"""In a row, of a worker that never gave a sign of life: what it lacks, the next one will lack, too."""
STARTUP_SECONDS = 180.0
"""Until a worker's first sign of life: it imports and maps what it needs first."""
STUDY_FAILED, RECYCLED, STORAGE_FAILED = 3, 4, 5
"""Exit codes of a worker that gave up because trial after trial fails, of one that has grown and wants to be replaced, and of one
that can't store anything more."""
ALIVE = "alive"
"""How a worker's sign of life begins; a number follows that grows while it gets further, then its trial, epoch and MB."""


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
    study: Study,
    save_dir: Path,
    count: int,
    *,
    stop: StopSignal,
    callbacks: Sequence[TrialEvents],
    silence_seconds: float = 45.0,
    on_activity: Callable[[Sequence[Activity]], None] = lambda activities: None,
    warn: Callable[[str], None] = log.warning,
) -> str:
    """Runs trials in ``count`` worker processes until the study has all of them or ``stop`` says so.

    Args:
        study: whose trials they are.
        save_dir: where workers find all they need.
        count: of workers.
        stop: may end it.
        callbacks: hear of trials that end.
        silence_seconds: after which a worker without a sign of life is replaced.
        on_activity: hears what the workers are at.
        warn: shows a warning, such as why a worker died.

    Returns:
        What ended it, as ``run_trials`` says it.

    Raises:
        StudyFailedError: trial after trial fails, or a worker dies again and again.
        StorageFailedError: nothing more can be stored.
    """
    crew: list[_Worker] = []
    ended = {record.number for record in study.records() if record.state.ended}
    looked = time.monotonic()
    try:
        crew.extend(_Worker(save_dir, number, count) for number in range(1, count + 1))
        while any(worker.running for worker in crew):
            time.sleep(POLL_SECONDS)
            _tell_of_new_trials(study, ended, callbacks)
            on_activity([worker.activity for worker in crew if worker.activity is not None])
            before, looked = looked, time.monotonic()
            for worker in crew:
                if looked - before > STOPPED_SECONDS:
                    worker.excuse()
                worker.kill_if_silent(silence_seconds)
                _keep_at_work(worker, study, stop, warn)
        _tell_of_new_trials(study, ended, callbacks)
    finally:
        for worker in crew:
            worker.hang_up()
        for worker in crew:
            worker.close()
    pause_orphans(study.storage)  # of workers that had to be killed when the run ended
    if study.n_finished() >= study.plan.n_trials:
        return FINISHED
    return stop.reason or EXHAUSTED


def _keep_at_work(worker: "_Worker", study: Study, stop: StopSignal, warn: Callable[[str], None]) -> None:
    """Asks the worker to end, or starts a new process where one is due."""
    if stop.reason is not None:
        worker.ask_to_end(stop.reason)
    elif worker.recycled:
        worker.close()
        worker.start()
    elif worker.died:
        _replace(worker, study, warn)


class _Worker:
    """One process and what it was told."""

    def __init__(self, save_dir: Path, number: int, count: int) -> None:
        self.save_dir, self.number, self.count = save_dir, number, count
        self.deaths, self.start_deaths, self.finished_before = 0, 0, 0
        self._told = False
        self.activity: Activity | None = None
        self.start()

    @property
    def name(self) -> str:
        return f"worker {self.number}"

    def start(self) -> None:
        environment = {**os.environ, **{name: os.environ.get(name, "1") for name in THREAD_VARIABLES}}
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", dir=self.save_dir)  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            module_command("cnn_lstm_hyperopt.execution.worker", self.save_dir, self.number, self.count),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        self._silence, self.began = "", False
        self.activity = None
        self._heard = time.monotonic() + STARTUP_SECONDS
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Until the process ends: when it last got further."""
        last = ""
        for line in process.stdout or ():
            if not line.startswith(ALIVE) or process is not self._process:
                continue
            self.began = True
            _, life, trial, epoch, memory = line.split()
            if int(trial) >= 0:
                self.activity = Activity(self.number, int(trial), float(epoch), float(memory))
            if life != last:
                last, self._heard = life, time.monotonic()

    def excuse(self) -> None:
        """It could not be heard, or could not speak: its silence counts from now on."""
        self._heard = max(self._heard, time.monotonic())

    def kill_if_silent(self, seconds: float) -> None:
        """A process that hangs will not end by itself."""
        if self._process.poll() is None and time.monotonic() - self._heard > seconds:
            self._silence = f"it gave no sign of life for {seconds:g} s (limits.worker_silence_seconds)"
            self._process.kill()
            self._process.wait()

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
        """How it ended, and the last line that it wrote to its standard error."""
        if self._silence:
            return self._silence
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        code = self._process.poll()
        ended = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        ended += ", perhaps for lack of memory" if self.killed else ""
        return f"{ended}: {lines[-1]}" if lines else ended

    @property
    def killed(self) -> bool:
        """Whether somebody else has killed it, such as the kernel when memory runs out."""
        return self._process.poll() == -SIGKILL and not self._silence

    @property
    def gave_up(self) -> type[RunError] | None:
        """Why no other worker will fare better, if so."""
        return {STUDY_FAILED: StudyFailedError, STORAGE_FAILED: StorageFailedError}.get(self._process.poll() or 0)

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

    def hang_up(self) -> None:
        """The process ends at once, if it still runs."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def close(self) -> None:
        """The process is gone, and what it left."""
        self.hang_up()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def delete_worker_files(save_dir: Path) -> None:
    """Removes what workers of this run, or of one that was killed, had in the directory."""
    for name in (DATA_FOR_WORKERS, LOCK_FILE, ACTIVITY_FILE):
        with contextlib.suppress(OSError):  # what ended the run is the error to report
            (save_dir / name).unlink(missing_ok=True)
    remove_parts(save_dir / VALIDATION, save_dir / CHECKPOINTS)


def _replace(worker: _Worker, study: Study, warn: Callable[[str], None]) -> None:
    """A new process for one that died; its trial is failed and thereby tried again."""
    words = worker.last_words()
    if worker.gave_up is not None:
        raise worker.gave_up(words.split(": ", 1)[-1])
    path = study.storage.path
    if path is not None and disk_is_full(path.parent):  # of which a worker that could write nothing did not tell
        raise cant_write(path, path.parent, *FULL)
    finished = study.n_finished()
    if finished != worker.finished_before:
        worker.deaths = worker.start_deaths = 0
    worker.deaths += 1
    worker.start_deaths = 0 if worker.began else worker.start_deaths + 1
    worker.finished_before = finished
    reason = f"its {worker.name} died ({words})"
    cut_off = fail_worker(study.storage, worker.number, reason, KILLED if worker.killed else DIED)
    log.warning("%s died (%s); trials cut off: %s", worker.name, words, cut_off)
    if worker.start_deaths >= MAX_START_DEATHS:
        raise StudyFailedError(
            f"{worker.name} died {worker.start_deaths} times before it could begin a trial: {words}; --workers 1 runs the trials"
            " in this process"
        )
    if worker.deaths == 1:
        when = "" if worker.began else " before it could begin a trial"
        warn(f"{worker.name} died{when} and is started again: {words}")
    if worker.deaths >= MAX_DEATHS:
        raise StudyFailedError(
            f"{worker.name} died {worker.deaths} times without a trial finished in between, the last time with {words}"
        )
    worker.close()
    worker.start()


def _tell_of_new_trials(study: Study, ended: set[int], callbacks: Sequence[TrialEvents]) -> None:
    for record in study.records():
        if record.state.ended and record.number not in ended:
            ended.add(record.number)
            for callback in callbacks:
                callback.on_trial_end(record, None)


def _available_mb() -> float | None:
    """Memory that new processes can have, in MB; None where the platform does not say."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    fields = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 / 1e6
