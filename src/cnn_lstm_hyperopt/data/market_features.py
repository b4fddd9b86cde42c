"""Features of the whole market at a date: mean return and mean range of all symbols, and the ranks of a symbol."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import segments
from cnn_lstm_hyperopt.data.frequency import step_seconds
from cnn_lstm_hyperopt.data.labels import HISTORY, ranges
from cnn_lstm_hyperopt.data.relative_features import trailing_median
from cnn_lstm_hyperopt.models.inputs import InputGroup

MARKET: InputGroup = "market"
MARKET_FEATURES = ("market_return", "market_range", "market_return_rank", "market_range_rank")
FREQUENCIES_APART = 1.9
"""Factor between the times between bars from which two frequencies differ. Daily bars of two markets differ by less."""

Array = NDArray[np.float64]


def has_market(frames: Mapping[str, pd.DataFrame]) -> bool:
    """Return whether bars have features of the market: there are several symbols, and their bars have one frequency.

    A bar of a day and a bar of an hour may have the same date, but the bar of the day ends later.
    """
    steps = [step_seconds(pd.DatetimeIndex(frame.index).as_unit("ns").asi8) for frame in frames.values()]
    known = [step for step in steps if step is not None]
    return len(known) > 1 and max(known) <= FREQUENCIES_APART * min(known)


def market_features(frames: Mapping[str, pd.DataFrame], max_gap_days: float) -> dict[str, Array]:
    """Return the features :data:`MARKET_FEATURES` at the bars of each symbol, (bars, 4), by symbol.

    The features at a bar depend on the bars of all symbols with the same date or an earlier date. A symbol without a bar of this
    date does not count. The features are

    - the mean log return of the symbols with a bar of this date;
    - the mean of ln(range / median of the symbol's last 60 ranges) of these symbols;
    - the rank of the symbol's own return and of its own relative range among them, from −1 (lowest) to 1 (highest). Equal values
      have their mean rank. A symbol without other symbols has rank 0.

    The first bar of a segment has no return: it does not count, and its rank is 0.

    Args:
        frames: bars of each symbol, with one frequency.
        max_gap_days: longest hole in a segment, in days.
    """
    if not frames:
        return {}
    stamps = [pd.DatetimeIndex(frame.index).as_unit("ns").asi8 for frame in frames.values()]
    date = np.unique(np.concatenate(stamps), return_inverse=True)[1]
    own = np.concatenate([_own(frame, max_gap_days) for frame in frames.values()])
    table = np.empty((len(own), 4))
    for place in range(2):
        table[:, place], table[:, 2 + place] = _mean_and_rank(own[:, place], date)
    ends = np.cumsum([len(each) for each in stamps])
    return dict(zip(frames, np.split(table, ends[:-1]), strict=True))


def _own(frame: pd.DataFrame, max_gap_days: float) -> Array:
    """Return the log return and the relative range of each bar, (bars, 2). The return of a segment's first bar is NaN."""
    segment = segments(pd.DatetimeIndex(frame.index), max_gap_days)
    each, own = ranges(frame), np.full((len(frame), 2), np.nan)
    own[1:, 0] = np.diff(np.log(frame["close"].to_numpy(np.float64)))
    borders = np.flatnonzero(np.diff(segment, prepend=-1, append=len(frame)))
    own[borders[:-1], 0] = np.nan
    for start, stop in pairwise(borders):
        own[start:stop, 1] = np.log(each[start:stop] / trailing_median(each[start:stop], HISTORY))
    return own


def _mean_and_rank(values: Array, date: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return for each value the mean of all values of its date, and its rank among them in [−1, 1].

    NaN does not count. The mean of a date without values and the rank of NaN are 0.
    """
    known = np.flatnonzero(~np.isnan(values))
    count = np.bincount(date[known], minlength=int(date.max(initial=-1)) + 1)
    mean = np.bincount(date[known], values[known], minlength=len(count)) / np.maximum(count, 1)
    order = known[np.lexsort((values[known], date[known]))]
    of_date, ordered = date[order], values[order]
    new = np.flatnonzero((np.diff(of_date, prepend=-1) != 0) | (np.diff(ordered, prepend=np.nan) != 0))
    equal = np.diff(np.append(new, len(order)))  # number of equal values of one date
    first = np.cumsum(count)[of_date] - count[of_date]
    place = np.repeat(new + (equal - 1) / 2, equal) - first  # from 0
    rank = np.zeros(len(values))
    rank[order] = np.where(count[of_date] > 1, 2 * place / np.maximum(count[of_date] - 1, 1) - 1, 0.0)
    return mean[date], rank
