"""Stopwatch of a training, which also projects the seconds of all steps."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import torch

from cnn_lstm_hyperopt.utils.processes import times_continued

log = logging.getLogger(__name__)

FIRST_LOOK = 4
"""Number of steps before the first report, which contains the projected seconds of the training."""
LOOK_SECONDS = 1.0
"""Seconds between two reports within an epoch, so that a long epoch can be interrupted."""


class Stopwatch:
    """Stopwatch that measures the seconds of training steps, and projects the seconds of all steps of a training.

    The projection ignores the first step after each start or resume, because this step is a warm-up. If the process was suspended
    within a step (Ctrl-Z, ``kill -STOP``), this step is counted with the mean seconds of the earlier steps; a first step is
    counted with its CPU seconds. A suspension is detected only by the system's signal, so a slow step on a busy machine is
    counted with all its seconds.
    """

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self._device, self._total_steps = device, total_steps
        self._started = self._reported = 0.0
        self._cold = True
        self._steps = self._first_steps = 0
        self._first_seconds = 0.0
        self.seconds = self.evaluation_seconds = self.paused_seconds = 0.0
        self._step_ended = self._computed = 0.0
        self._continued = times_continued()

    def start(self) -> None:
        self._started = self._step_ended = time.perf_counter()
        self._computed, self._continued = time.process_time(), times_continued()

    def reported(self) -> None:
        """Restart the interval of ``LOOK_SECONDS`` until the next report within an epoch."""
        self._reported = time.perf_counter()

    def step(self) -> bool:
        """Count a finished step; return whether a report within the epoch is due."""
        if times_continued() != self._continued:
            self._subtract_pause()
        self._step_ended = time.perf_counter()
        self._steps += 1
        if self._cold:
            before, self._cold = self.seconds, False
            self._first_steps += 1
            self._first_seconds += self.stop() - before
            self.start()
            self.reported()
        return self._steps == FIRST_LOOK or self._step_ended - self._reported > LOOK_SECONDS

    def _subtract_pause(self) -> None:
        """Subtract the time for which the process was suspended since the previous step."""
        self._continued = times_continued()
        taken = time.perf_counter() - self._step_ended
        trained = self.seconds + self._step_ended - self._started
        usual = trained / self._steps if self._steps else time.process_time() - self._computed
        pause = max(0.0, taken - usual)
        self._started += pause
        self._reported += pause
        self.paused_seconds += pause
        log.info("the process was suspended for about %.1f s in a training step; this is not training time", pause)

    def stop(self) -> float:
        """Wait until the device has computed all steps; add the seconds since :meth:`start` and return the sum of all seconds."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += time.perf_counter() - self._started
        return self.seconds

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context whose duration is counted as seconds of evaluations."""
        started = time.perf_counter()
        yield
        self.evaluation_seconds += time.perf_counter() - started

    @property
    def projected(self) -> float | None:
        timed = self._steps - self._first_steps
        if timed < 1:
            return None
        per_step = (self.seconds - self._first_seconds) / timed
        return self.seconds + per_step * (self._total_steps - self._steps)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "paused_seconds": self.paused_seconds,
            "steps": self._steps,
            "first_steps": self._first_steps,
            "first_seconds": self._first_seconds,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.seconds, self.evaluation_seconds = state["seconds"], state["evaluation_seconds"]
        self.paused_seconds = state.get("paused_seconds", 0.0)  # files of an earlier version have none
        self._steps, self._first_steps = state["steps"], state["first_steps"]
        self._first_seconds = state["first_seconds"]
