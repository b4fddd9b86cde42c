"""Signs of life of whatever takes long in this process, for a thread that tells another process of them; and its pauses."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_beats = 0
_continued = 0
_place = (-1, 0.0)


def beat() -> None:
    """Something has got further; costs nothing."""
    global _beats
    _beats += 1


def beats() -> int:
    """How often something has got further since the process began."""
    return _beats


def be_at(trial: int, epoch: float) -> None:
    """Which trial this process trains, and how far it is."""
    global _place
    _place = trial, epoch


def place() -> tuple[int, float]:
    """What was last said of that; the trial is −1 before the first."""
    return _place


def times_continued() -> int:
    """How often the process went on after a stop (Ctrl-Z, ``kill -STOP``) while :func:`noticing_stops` was at work."""
    return _continued


@contextlib.contextmanager
def noticing_stops() -> Iterator[None]:
    """A context in which the signal that ends a stop (SIGCONT) is counted.

    Outside the main thread, on systems without the signal, and where the program has a handler of its own, nothing is changed.
    """
    going_on = getattr(signal, "SIGCONT", None)
    if (
        going_on is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(going_on) is not signal.SIG_DFL
    ):
        yield
        return

    def count(number: int, frame: object) -> None:
        global _continued
        _continued += 1

    signal.signal(going_on, count)
    try:
        yield
    finally:
        signal.signal(going_on, signal.SIG_DFL)
