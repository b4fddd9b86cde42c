"""Check that features use no later bars. Features are recomputed without later bars and with changed later bars."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.bars import PRICES, date_text
from cnn_lstm_hyperopt.data.features import WARM_UP
from cnn_lstm_hyperopt.errors import DataError

_TRUNCATIONS = 8
_DISTORTIONS = 2
_ROUNDING = 1e-6
Array = NDArray[np.float64]
Compute = Callable[[pd.DataFrame, str], Array]


def check_recomputed(compute: Compute, frame: pd.DataFrame, names: Sequence[str], symbol: str) -> None:
    """Recompute features without the bars after a bar t, and with changed bars after t. The rows up to t must stay equal.

    Args:
        compute: function of (frame, symbol) that returns the features, (bars, features).
        frame: (bars,) float64 bars of one segment.
        names: names of the features.
        symbol: symbol of the bars, for the text of the error.

    Raises:
        DataError: a feature depends on later bars, or differs between two equal calls.
    """
    whole = compute(frame, symbol)
    for t, other, what in _counterfactuals(frame, whole):
        before, again = whole[: t + 1], compute(other, symbol)[: t + 1]
        same = np.abs(again - before) <= _ROUNDING * np.abs(before) + _tiny(whole)
        differs = ~(same | (np.isnan(again) & np.isnan(before)))
        if differs.any():
            column = int(np.argmax(differs.any(axis=0)))
            row = int(np.flatnonzero(differs[:, column])[-1])
            values = f"on {date_text(frame.index[row])} it is {before[row, column]:.6g}, but {again[row, column]:.6g}"
            if t == len(frame) - 1:
                text = (
                    f"{symbol}: the feature {names[column]} is random: {values} when computed again; the same bars must"
                    " give the same values"
                )
                raise DataError(text, field=names[column], code="random-feature")
            text = (
                f"{symbol}: the feature {names[column]} looks ahead: {values} {what} {date_text(frame.index[t])}; use"
                " only rows up to the bar: shift(1), rolling(...), expanding()"
            )
            raise DataError(text, field=names[column], code="looks-ahead")


def _counterfactuals(frame: pd.DataFrame, whole: Array) -> Iterator[tuple[int, pd.DataFrame, str]]:
    """Yield triples of a bar t, a frame that equals ``frame`` up to t, and a text that says how the frames differ after t."""
    bars = len(frame)
    yield bars - 1, frame, ""
    known = np.isfinite(whole).all(axis=1)
    first = max(int(np.argmax(known)), WARM_UP) if known.any() else bars // 2  # shorter segments are never computed
    for t in _decision_bars(frame, first):
        yield t, frame.iloc[: t + 1], "without the bars after"
    random = np.random.default_rng(0)  # any other seed is as good
    for t in np.linspace(first, bars - 2, num=_DISTORTIONS + 2)[1:-1].astype(int).tolist():
        prices, others = np.exp(random.uniform(-0.5, 0.5, (2, bars - t - 1)))
        later = {
            name: frame[name].to_numpy()[t + 1 :] * (prices if name in PRICES else others) for name in frame.columns
        }
        after = pd.DataFrame(later, index=frame.index[t + 1 :])
        yield t, pd.concat([frame.iloc[: t + 1], after]), "with other bars after"


def _decision_bars(frame: pd.DataFrame, first: int) -> list[int]:
    """Return the bars t to check: bars spread over the frame, the last bars, and bars that reveal a leak most easily.

    The first bar of a day, week or month reveals a feature that uses the maximum of the whole period. A bar without a
    value reveals a feature that is filled backward.
    """
    last = len(frame) - 2
    bars = {*np.linspace(first, last, num=_TRUNCATIONS).astype(int).tolist(), last - 1}
    index = pd.DatetimeIndex(frame.index)
    days = index.as_unit("ns").asi8 // 86_400_000_000_000
    for unit in (days, (days + 3) // 7, index.year * 12 + index.month):  # 1970-01-01 was a Thursday
        bars.update(_some(np.flatnonzero(np.diff(np.asarray(unit)) != 0) + 1, first))
    for name in frame.columns:
        missing = np.isnan(frame[name].to_numpy(np.float64))
        bars.update(_some(np.flatnonzero(missing[:-1] & ~missing[1:]), first))
    return sorted(t for t in bars if 0 <= t <= last)


def _some(places: NDArray[np.int64], first: int) -> list[int]:
    """Return two of the positions that are at least ``first``: at one third and at two thirds of these positions."""
    there = places[places >= first]
    return [int(there[len(there) * third // 3]) for third in (1, 2)] if len(there) else []


def _tiny(values: Array) -> Array:
    """Return for each feature the largest difference that rounding may cause, (features,)."""
    largest: Array = np.where(np.isfinite(values), np.abs(values), 0.0).max(axis=0)
    return 1e-3 * _ROUNDING * largest
