"""Signs of life of whatever takes long in this process, for a thread that tells another process of them."""

_beats = 0
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
