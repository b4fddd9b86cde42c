"""Search for symbols whose times of day follow another clock than those of the other symbols."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.data.problems import Problem, date_text
from cnn_lstm_hyperopt.utils.text import shown_names

OTHER_CLOCK = "other_clock"
"""Rule of the warning that times of day may follow another clock than those of other symbols."""


def clock_problems(every: Sequence[tuple[str, pd.DatetimeIndex, bool]]) -> dict[str, list[Problem]]:
    """Return warnings about intraday bars without a time zone, by symbol, if other intraday bars are in UTC.

    Bars of the same moment would then have different dates. The splits by date and the features of the market would mix past
    and future.

    Args:
        every: name and dates of each symbol, and whether its times of day are known to be in UTC.
    """
    in_utc = [symbol for symbol, _, utc in every if utc]
    if not in_utc:
        return {}
    unknown = {symbol: index for symbol, index, utc in every if not utc and np.any(index != index.normalize())}
    return {
        symbol: [
            Problem(
                symbol,
                "",
                OTHER_CLOCK,
                "warning",
                f"times of day have no time zone, but those of {shown_names(in_utc)} are in UTC",
                "correct if these times are in UTC, too; otherwise bars of the same moment have different times, and the future"
                " leaks in: add the time zone to each date",
                count=len(index),
                first=date_text(index[0]),
            )
        ]
        for symbol, index in unknown.items()
    }
