"""Start and supervision of several worker processes of one study by the main process.

A worker runs its own module (``execution.worker``). The worker is neither a fork nor a re-import of the user's script, so the
script needs no ``__main__`` guard and the worker inherits no threads. The worker reads settings, data and the study from files. A
line on the worker's standard input asks the worker to end. When the main process ends, this standard input closes, and the worker
ends at once. On its standard output the worker prints a heartbeat once a second. A worker without heartbeats, or without
progress, is killed and replaced.
"""

import contextlib
import logging
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import RunError, StorageFailedError, StudyFailedError
from cnn_lstm_hyperopt.execution.placement import VISIBLE, Gpu, workers_per_gpu
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import EXHAUSTED, FINISHED
from cnn_lstm_hyperopt.execution.worker_deaths import WorkerDeaths
from cnn_lstm_hyperopt.models.own.family import own_folders
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import ACTIVITY_FILE, CHECKPOINTS, DATA_FOR_WORKERS, LOCK_FILE, VALIDATION
from cnn_lstm_hyperopt.run_dir.storage_errors import FULL, cant_write, disk_is_full
from cnn_lstm_hyperopt.search import DIED, KILLED, Study
from cnn_lstm_hyperopt.search.leases import new_worker_id
from cnn_lstm_hyperopt.search.orphans import fail_worker, pause_orphans
from cnn_lstm_hyperopt.utils.atomic_io import remove_parts
from cnn_lstm_hyperopt.utils.own_modules import FOLDERS_VARIABLE
from cnn_lstm_hyperopt.utils.passwords import passwords_for_child
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES, module_command

log = logging.getLogger(__name__)

WORKER_MB = 1500
"""Memory in MB that the setting ``auto`` reserves for each worker: the peak memory of a large trial."""
POLL_SECONDS = 0.2
SIGKILL = 9  # Windows does not define this signal
GRACE_SECONDS = 30.0
STOPPED_SECONDS = 2.0
"""Longest normal time between two checks of the workers, in seconds; a longer time means that all processes were
stopped (Ctrl-Z, sleep of the computer)."""
STARTUP_SECONDS = 180.0
"""Longest time in seconds until a worker's first heartbeat; before the first heartbeat, the worker imports libraries and opens
the data."""
STUDY_FAILED, RECYCLED, STORAGE_FAILED = 3, 4, 5
"""Exit codes of a worker: too many trials failed in a row; the worker's memory has grown too much; the study can't be stored."""
ALIVE = "alive"
"""First word of a heartbeat. The next words are a number that grows with progress, the trial, the epoch and the memory (MB)."""
_NUMBER = r"(\d[\d.e+-]*)"
_HEARTBEAT = re.compile(rf"{ALIVE} {_NUMBER} (-?\d+) {_NUMBER} {_NUMBER}\n")


def resolve_workers(settings: Settings, device_type: str, gpus: Sequence[Gpu] = ()) -> int:
    """Return the number of workers.

    ``auto`` means as many as ``gpus_per_trial`` allows on the GPUs, or one on each GPU. Without GPUs, it means one per core,
    limited by memory and number of trials.
    """
    if settings.workers != "auto":
        return settings.workers
    if device_type != "cpu":
        share, trial_mb = settings.gpus_per_trial, settings.limits.trial_mb
        return max(1, min(settings.study.n_trials, sum(workers_per_gpu(gpu, share, trial_mb) for gpu in gpus)))
    cores = available_cores()
    free = available_mb()
    fitting = cores if free is None else max(1, int(free // WORKER_MB))
    return max(1, min(cores, fitting, settings.study.n_trials))


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_with_workers(
    study: Study,
    save_dir: Path,
    count: int,
    *,
    stop: StopSignal,
    gpus: Sequence[Gpu] = (),
    callbacks: Sequence[TrialEvents],
    silence_seconds: float = 45.0,
    on_activity: Callable[[Sequence[Activity]], None] = lambda activities: None,
    warn: Callable[[str], None] = log.warning,
) -> str:
    """Run trials in ``count`` worker processes until the study has all trials or ``stop`` ends the run.

    Args:
        study: the study; workers take trials from its storage.
        save_dir: directory of the run, with the files that workers read.
        count: number of workers.
        stop: signal that ends the run early.
        gpus: GPU of each worker; empty if the workers use the device of the settings.
        callbacks: subscribers that are informed when a trial ends.
        silence_seconds: a worker without heartbeat or progress for this time is replaced.
        on_activity: function that is called with the activities of the workers.
        warn: function that shows a warning, such as why a worker died.

    Returns:
        FINISHED (all trials were run), EXHAUSTED (no new configuration is left), or the reason of ``stop``.

    Raises:
        StudyFailedError: too many trials failed in a row, or a worker died too often.
        StorageFailedError: the study can't be stored.
    """
    crew: list[_Worker] = []
    ended = {record.number for record in study.records() if record.state.ended}
    looked = time.monotonic()
    try:
        crew.extend(
            _Worker(save_dir, number, count, warn, gpus[number - 1] if gpus else None) for number in range(1, count + 1)
        )
        while any(worker.running for worker in crew):
            time.sleep(POLL_SECONDS)
            announce_ended_trials(study, ended, callbacks)
            on_activity([worker.activity for worker in crew if worker.activity is not None])
            before, looked = looked, time.monotonic()
            for worker in crew:
                if looked - before > STOPPED_SECONDS:
                    worker.reset_silence()
                worker.kill_if_silent(silence_seconds)
                _supervise(worker, study, stop)
        announce_ended_trials(study, ended, callbacks)
    finally:
        for worker in crew:
            worker.disconnect()
        for worker in crew:
            worker.close()
    # trials of workers that were killed at the end of the run
    pause_orphans(study.storage, workers=[worker.identifier for worker in crew])
    if study.n_finished() >= study.plan.n_trials:
        return FINISHED
    return stop.reason or EXHAUSTED


def _supervise(worker: "_Worker", study: Study, stop: StopSignal) -> None:
    """Ask a worker to end if the run ends; start a new process for a worker that has ended too early."""
    if stop.reason is not None:
        worker.ask_to_end(stop.reason)
    elif worker.recycled:
        worker.close()
        worker.start()
    elif worker.died:
        _replace(worker, study)


class _Worker:
    """One of the workers, with its current process."""

    def __init__(self, save_dir: Path, number: int, count: int, warn: Callable[[str], None], gpu: Gpu | None) -> None:
        self._gpu = gpu
        self.save_dir, self.number, self.count = save_dir, number, count
        self.deaths = WorkerDeaths(self.name, "; --workers 1 runs the trials in this process", warn)
        self._asked_to_end = False
        self.activity: Activity | None = None
        self.identifier = ""
        self.start()

    @property
    def name(self) -> str:
        return f"worker {self.number}"

    def start(self) -> None:
        threads = {name: os.environ.get(name, "1") for name in THREAD_VARIABLES}
        environment = {**os.environ, **threads, **passwords_for_child()}
        if folders := own_folders():
            environment[FOLDERS_VARIABLE] = os.pathsep.join(folders)
        self.identifier = new_worker_id()
        if self._gpu is not None:
            environment[VISIBLE] = self._gpu.name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", dir=self.save_dir)  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            module_command(
                "cnn_lstm_hyperopt.execution.worker", self.save_dir, self.number, self.count, self.identifier
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            encoding="utf-8",
            errors="replace",  # a user's own code may print, too
        )
        self._silence, self.began = "", False
        self.activity = None
        self._last_progress = time.monotonic() + STARTUP_SECONDS
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Record the heartbeats of a worker's process until the process ends."""
        last = ""
        for line in process.stdout or ():
            beat = _HEARTBEAT.fullmatch(line)  # no other output, and no line that the end of the process cut off
            if beat is None or process is not self._process:
                continue
            self.began = True
            progress, trial, epoch, memory = beat.groups()
            if int(trial) >= 0:
                self.activity = Activity(self.number, int(trial), float(epoch), float(memory))
            if progress != last:
                last, self._last_progress = progress, time.monotonic()

    def reset_silence(self) -> None:
        """Reset the silence timer of the worker."""
        self._last_progress = max(self._last_progress, time.monotonic())

    def kill_if_silent(self, seconds: float) -> None:
        """Kill the worker's process if it has made no progress for this number of seconds."""
        if self._process.poll() is None and time.monotonic() - self._last_progress > seconds:
            self._silence = f"it sent no heartbeat for {seconds:g} s (limits.worker_silence_seconds)"
            self._process.kill()
            self._process.wait()

    @property
    def running(self) -> bool:
        return self._process.poll() is None or self.died or self.recycled

    @property
    def died(self) -> bool:
        """Whether the worker's process ended with an error, although the main process had not asked it to end."""
        return self._process.poll() not in (None, 0, RECYCLED) and not self._asked_to_end

    @property
    def recycled(self) -> bool:
        """Whether the worker's process ended itself to free memory, so that a new process replaces it."""
        return self._process.poll() == RECYCLED and not self._asked_to_end

    def end_text(self) -> str:
        """Return a text that says how the worker's process ended and contains the last line of its standard error."""
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
        """Whether another program or the kernel (when memory runs out) killed the worker's process."""
        return self._process.poll() == -SIGKILL and not self._silence

    @property
    def fatal_error(self) -> type[RunError] | None:
        """Type of the worker's error if this error ends the run, because a new worker would fail in the same way."""
        return {STUDY_FAILED: StudyFailedError, STORAGE_FAILED: StorageFailedError}.get(self._process.poll() or 0)

    def ask_to_end(self, reason: str) -> None:
        """Ask the worker to end, unless this process has already asked the worker."""
        if self._asked_to_end or self._process.stdin is None:
            return
        self._asked_to_end = True
        try:
            self._process.stdin.write(f"{reason}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            log.info("%s had ended before it was asked to", self.name)

    def disconnect(self) -> None:
        """Close the worker's standard input, which ends a running process at once."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def close(self) -> None:
        """End the worker's process and close its streams."""
        self.disconnect()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def delete_worker_files(save_dir: Path) -> None:
    """Remove the files that workers share, from this run or from an earlier run that was killed."""
    for name in (DATA_FOR_WORKERS, LOCK_FILE, ACTIVITY_FILE):
        with contextlib.suppress(OSError):  # only the error that ended the run is reported
            (save_dir / name).unlink(missing_ok=True)
    remove_parts(save_dir / VALIDATION, save_dir / CHECKPOINTS)


def _replace(worker: _Worker, study: Study) -> None:
    """Start a new process for a worker whose process died. The trial of this process is set to FAIL and retried."""
    end = worker.end_text()
    if worker.fatal_error is not None:
        raise worker.fatal_error(end.split(": ", 1)[-1], code="worker-failed")
    path = study.storage.path
    if path is not None and disk_is_full(path.parent):  # a worker that could not write could not report this error
        raise cant_write(path, path.parent, *FULL)
    reason = f"its {worker.name} died ({end})"
    stored_as = worker.identifier if study.storage.shared else worker.number
    cut_off = fail_worker(study.storage, stored_as, reason, KILLED if worker.killed else DIED)
    log.warning("%s died (%s); trials cut off: %s", worker.name, end, cut_off)
    worker.deaths.add(end, began=worker.began, finished=study.n_finished())
    worker.close()
    worker.start()


def announce_ended_trials(study: Study, ended: set[int], callbacks: Sequence[TrialEvents]) -> None:
    """Inform subscribers of the trials that have ended in other processes and are not in ``ended``; add these to ``ended``."""
    for record in study.records():
        if record.state.ended and record.number not in ended:
            ended.add(record.number)
            for callback in callbacks:
                callback.on_trial_end(record, None)


def available_mb() -> float | None:
    """Return the memory that is free for new processes, in MB; None if the platform does not report it."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    fields = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(fields["MemAvailable"].split()[0]) * 1024 / 1e6
