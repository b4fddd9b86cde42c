"""Figures as people write them."""


def counted(count: int, what: str) -> str:
    """``1 trial``, ``1,200 trials``."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def seconds_text(seconds: float) -> str:
    """``4.2 s``, ``12 min``, ``7.5 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def epochs_text(epochs: float) -> str:
    """``1 epoch``, ``2.25 epochs``."""
    number = f"{round(epochs, 2):g}"
    return f"{number} epoch" + ("" if number == "1" else "s")
