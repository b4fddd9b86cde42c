"""Signs of life of whatever takes long in this process, for a thread that tells another process of them."""

_beats = 0


def beat() -> None:
    """Something has got further; costs nothing."""
    global _beats
    _beats += 1


def beats() -> int:
    """How often something has got further since the process began."""
    return _beats
