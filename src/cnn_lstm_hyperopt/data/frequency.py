"""Time between bars, and names of the frequencies of bars."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_DAY = 86_400 * 10**9
_NAMED: tuple[tuple[float, float, str], ...] = (  # days from, days to, name
    (0.9, 4.5, "daily"),
    (4.5, 9.5, "weekly"),
    (27, 32, "monthly"),
    (85, 95, "quarterly"),
    (355, 370, "yearly"),
)


def step_seconds(stamps: NDArray[np.int64]) -> float | None:
    """Return the median time between ascending dates (in nanoseconds), in seconds; None for fewer than two dates."""
    return float(np.median(np.diff(stamps))) / 1e9 if len(stamps) > 1 else None


def duration(seconds: float) -> str:
    """Return a duration as text, such as ``1 day`` or ``5 minutes``."""
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds / size
            return f"{f'{count:,.0f}' if count >= 1_000 else f'{count:.3g}'} {name}{'' if seconds == size else 's'}"
    return f"{seconds:.3g} seconds"


def frequency(index: pd.DatetimeIndex) -> str:
    """Return the name of a frequency of bars, such as daily, hourly or every 15 minutes."""
    stamps = index.as_unit("ns").asi8
    return frequency_text(float(np.median(np.diff(stamps)))) if len(stamps) > 1 else "a single bar"


def frequency_text(step: float) -> str:
    """Return the name of the frequency of bars whose distance in nanoseconds is given."""
    for low, high, name in _NAMED:
        if low <= step / _DAY < high:
            return name
    if step >= _DAY:
        return f"every {step / _DAY:g} days"
    for unit, name, once in (
        (3_600e9, "hour", "hourly"),
        (60e9, "minute", "every minute"),
        (1e9, "second", "every second"),
    ):
        if step >= unit:
            return once if step == unit else f"every {step / unit:g} {name}s"
    return f"every {step / 1e9:g} seconds"
