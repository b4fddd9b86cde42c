"""Bars for the data layer's tests."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

FrameMaker = Callable[..., pd.DataFrame]


def random_frame(
    bars: int, seed: int = 0, start: str = "2010-01-04", holes: tuple[int, ...] = (), step: str = "B"
) -> pd.DataFrame:
    """A random walk of weekday bars (or with another ``step``); before each bar in ``holes`` 40 days are missing."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, bars)))
    open_ = close * np.exp(rng.normal(0, 0.01, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.01, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.01, bars)))
    days = pd.date_range(start, periods=bars, freq=step).as_unit("ns").to_numpy().copy()
    for hole in holes:
        days[hole:] += np.timedelta64(42, "D")
    return pd.DataFrame(
        {
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": np.exp(rng.normal(14, 0.5, bars)),
        },
        index=pd.DatetimeIndex(days, name="date"),
    )


@pytest.fixture(scope="session")
def make_frame() -> FrameMaker:
    return random_frame
