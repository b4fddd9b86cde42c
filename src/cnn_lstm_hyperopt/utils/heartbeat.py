"""Heartbeats of this process, which count its steps of progress. A thread reports the count to another process."""

import contextlib
import threading
from collections.abc import Iterator

_BEAT_SECONDS = 1.0
_beats = 0
_place = (-1, 0.0)


def beat() -> None:
    """Record a heartbeat: one step of progress."""
    global _beats
    _beats += 1


def beats() -> int:
    """Return the number of heartbeats of this process so far."""
    return _beats


@contextlib.contextmanager
def beating() -> Iterator[None]:
    """Context in which a thread records heartbeats: for calls that may wait long for another machine."""
    done = threading.Event()

    def record() -> None:
        while not done.wait(_BEAT_SECONDS):
            beat()

    threading.Thread(target=record, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def be_at(trial: int, epoch: float) -> None:
    """Record the trial that this process trains, and the epoch of this trial."""
    global _place
    _place = trial, epoch


def place() -> tuple[int, float]:
    """Return the trial and the epoch of the last call of :func:`be_at`; the trial is −1 before the first call."""
    return _place
