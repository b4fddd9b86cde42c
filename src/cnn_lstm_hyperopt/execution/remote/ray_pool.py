"""Start and supervision of the workers of a run with Ray, by the main process."""

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import StorageFailedError, StudyFailedError
from cnn_lstm_hyperopt.execution.remote.decider import REPLACED, Decider, Look
from cnn_lstm_hyperopt.execution.remote.ray_worker import Post, WorkerEnd, work
from cnn_lstm_hyperopt.execution.remote.workload import Workload
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import EXHAUSTED, FINISHED
from cnn_lstm_hyperopt.execution.worker import GROWN
from cnn_lstm_hyperopt.execution.worker_deaths import WorkerDeaths
from cnn_lstm_hyperopt.execution.worker_pool import POLL_SECONDS, announce_ended_trials
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.search import DIED, KILLED, Study
from cnn_lstm_hyperopt.utils.text import one_line, typed_line

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""Seconds after which a run without any worker warns that the cluster has no place for one."""
CLOSE_SECONDS = 30.0


@dataclass
class _Place:
    """One of the workers: its number and the deaths of its processes."""

    number: int
    deaths: WorkerDeaths


class RayPool:
    """Workers of a run: one actor has the study, and tasks run the trials.

    The run ends when the study has all its trials, without waiting for lost workers. A task that ends too early is started again:
    its trial is resumed by the next free worker if the task's machine or process was lost.

    Args:
        ray: the module ray, connected to a cluster.
        study: the study, from which the main process only reads.
        workload: plan and data of the study.
        save_dir: directory of the run.
        count: number of workers.
        gpus: share of a GPU that each worker reserves.
        stop: signal that ends the run early.
        callbacks: subscribers that are informed when a trial ends.
        silence_seconds: a worker without heartbeat or progress for this time is replaced.
        on_activity: function that is called with the activities of the workers.
        warn: function that shows a warning.
    """

    def __init__(
        self,
        ray: Any,
        study: Study,
        workload: Workload,
        save_dir: Path,
        count: int,
        *,
        stop: StopSignal,
        callbacks: Sequence[TrialEvents],
        gpus: float = 0.0,
        silence_seconds: float = 45.0,
        on_activity: Callable[[Sequence[Activity]], None] = lambda activities: None,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self._ray, self._study, self._save_dir, self._count = ray, study, save_dir.absolute(), count
        self._stop, self._callbacks, self._silence_seconds = stop, callbacks, silence_seconds
        self._on_activity, self._warn = on_activity, warn
        self._gpus, self._processes = gpus, itertools.count()
        self._tasks: dict[Any, tuple[int, _Place]] = {}
        self._began: frozenset[int] = frozenset()
        self._exhausted = False
        self._workload = ray.put(workload)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(Decider).options(num_cpus=0, scheduling_strategy=here)
        self._decider = actor.remote(self._save_dir, self._workload, silence_seconds)
        # max_calls: a new process for each task, since the memory of an old one has grown
        self._work = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, max_calls=1, scheduling_strategy="SPREAD")(
            work
        )

    def run(self) -> str:
        """Run the trials; return and raise as :meth:`.Engine.run`."""
        study = self._study
        ended = {record.number for record in study.records() if record.state.ended}
        started, warned = time.monotonic(), False
        self._warn_about_room()
        try:
            for number in range(1, self._count + 1):
                self._start(_Place(number, WorkerDeaths(f"worker {number}", "", self._warn)))
            while (end := self._end(look := self._look())) is None:
                announce_ended_trials(study, ended, self._callbacks)
                self._on_activity(look.activities)
                self._collect()
                self._replace_silent(look)
                if not self._began and not warned and time.monotonic() - started > START_SECONDS:
                    warned = True
                    self._warn(f"no worker has started yet: the cluster has {self._room_text()}")
                time.sleep(POLL_SECONDS)
            announce_ended_trials(study, ended, self._callbacks)
        finally:
            self._close()
        return end

    def _look(self) -> Look:
        look: Look = self._ask("look", self._stop.reason)
        self._began |= look.began
        return look

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Call the decider; raise StudyFailedError if its process has ended."""
        try:
            return self._ray.get(getattr(self._decider, method).remote(*arguments))
        except self._ray.exceptions.RayTaskError as error:
            raise StudyFailedError(
                f"the process that has the study failed: {typed_line(error.cause)}", code="decider-died"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise StudyFailedError(
                f"the process that has the study died; finished trials are kept, resume: {resume_command(self._save_dir)}",
                code="decider-died",
            ) from error

    def _end(self, look: Look) -> str | None:
        """Return the reason why the run is over; None if the run continues."""
        if self._study.n_finished() >= self._study.plan.n_trials:
            return FINISHED
        if self._stop.reason is not None:
            for ref, (process, _) in list(self._tasks.items()):
                if process not in self._began:  # it waits for a free machine
                    self._cancel(ref)
        if not self._tasks:
            return self._stop.reason or EXHAUSTED
        if self._exhausted and not look.holding and all(record.state.ended for record in self._study.records()):
            return EXHAUSTED
        return None

    def _start(self, place: _Place) -> None:
        process = next(self._processes)
        post = Post(process, place.number, self._count, self._silence_seconds)
        self._tasks[self._work.remote(post, self._workload, self._decider)] = process, place

    def _collect(self) -> None:
        """Handle the tasks that have ended since the last call."""
        if not self._tasks:
            return
        done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        for ref in done:
            process, place = self._tasks.pop(ref)
            exceptions = self._ray.exceptions
            try:
                end: WorkerEnd = self._ray.get(ref)
            except exceptions.OutOfMemoryError:
                self._replace(process, place, "Ray ended it because its machine had no memory left", KILLED)
            except exceptions.RayTaskError as error:
                self._replace(process, place, typed_line(error.cause), DIED)
            except exceptions.RayError as error:
                log.info("%s: %s", place.deaths.name, one_line(error))
                self._replace(process, place, "its process or its machine was lost", None)
            else:
                self._handle(end, process, place)

    def _handle(self, end: WorkerEnd, process: int, place: _Place) -> None:
        """Handle the end of a worker that returned."""
        if isinstance(end.error, StudyFailedError | StorageFailedError):
            raise end.error
        if end.error is not None and end.error.code != REPLACED:
            self._replace(process, place, str(end.error), DIED)
        elif end.reason == GROWN:
            self._remove(process, "", None)
            self._start(place)
        else:
            self._exhausted |= end.reason == EXHAUSTED

    def _replace_silent(self, look: Look) -> None:
        for ref, (process, place) in list(self._tasks.items()):
            if process in look.silent:
                self._cancel(ref)
                text = f"it sent no heartbeat for {self._silence_seconds:g} s (limits.worker_silence_seconds)"
                self._replace(process, place, text, DIED)

    def _replace(self, process: int, place: _Place, end: str, cut_off_by: str | None) -> None:
        """Start a new task for a worker that died. Its trial is retried if ``cut_off_by`` is a reason, otherwise resumed."""
        name = place.deaths.name
        trial = self._remove(process, f"its {name} died ({end})", cut_off_by)
        log.warning("%s died (%s); trial cut off: %s", name, end, trial)
        if self._stop.reason is None:
            place.deaths.add(end, began=process in self._began, finished=self._study.n_finished())
            self._start(place)

    def _remove(self, process: int, reason: str, cut_off_by: str | None) -> Any:
        reply = self._ask("remove", process, reason, cut_off_by)
        if reply.error is not None:
            raise reply.error
        return reply.value

    def _cancel(self, ref: Any) -> None:
        self._tasks.pop(ref)
        self._ray.cancel(ref, force=True)

    def _close(self) -> None:
        """End the workers that still run, then the decider."""
        for ref in list(self._tasks):
            self._cancel(ref)
        try:
            self._ray.get(self._decider.close.remote(), timeout=CLOSE_SECONDS)
        except self._ray.exceptions.RayError as error:
            log.info("the process of the study did not close: %s", one_line(error))
        self._ray.kill(self._decider)

    def _room(self) -> int:
        """Return the number of workers that the cluster can run at once."""
        room = 0.0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            by_gpu = has.get("GPU", 0.0) / self._gpus if self._gpus else float("inf")
            room += min(has.get("CPU", 0.0), by_gpu) // 1
        return int(room)

    def _room_text(self) -> str:
        has = self._ray.cluster_resources()
        return (
            f"{has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs, a worker needs 1 CPU and {self._gpus:g} GPUs"
        )

    def _warn_about_room(self) -> None:
        if (room := self._room()) < self._count:
            self._warn(
                f"the cluster can run {room} of {self._count} workers at once ({self._room_text()});"
                " the others wait for free places"
            )
