"""The heartbeat of this process: counts progress, for the thread that reports it to another process."""

_beats = 0
_place = (-1, 0.0)


def beat() -> None:
    """Record a heartbeat."""
    global _beats
    _beats += 1


def beats() -> int:
    """Return the number of heartbeats since the process began."""
    return _beats


def be_at(trial: int, epoch: float) -> None:
    """Record which trial this process trains, and its epoch."""
    global _place
    _place = trial, epoch


def place() -> tuple[int, float]:
    """Return the trial and the epoch of the last :func:`be_at`; the trial is −1 before the first."""
    return _place
