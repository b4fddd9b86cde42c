"""Suspicious bars: jumps like splits, stale prices, two frequencies, holes."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import segments
from cnn_lstm_hyperopt.data.frequency import frequency_text
from cnn_lstm_hyperopt.data.problems import Findings, Problem, date_text
from cnn_lstm_hyperopt.utils.text import counted

SPLITS = (1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
SPLIT_TOLERANCE = 0.06
"""Largest logarithmic move of the price besides a split."""
STALE = 20
"""Number of consecutive bars with the same four prices."""
MIXED_STEPS = 3.0
"""Factor between the median step of a stretch of bars and the usual one, from which its frequency differs."""
STRETCH = 50

_DAY = 86_400 * 10**9


def look_over(found: Findings, frame: pd.DataFrame, *, daily: bool) -> None:
    """Warn about suspicious bars: no volume, constant prices, two frequencies.

    Args:
        found: findings; warnings are added.
        frame: (bars,) float64 columns open, high, low, close, volume; index of ascending dates.
        daily: whether each bar is a day or longer.
    """
    index = pd.DatetimeIndex(frame.index)
    _look_at_volume(found, frame["volume"].to_numpy(), index)
    _look_for_stale_prices(found, frame, index)
    stamps = index.as_unit("ns").asi8
    if not _look_for_other_steps(found, stamps, index) and not daily:
        _look_for_lone_midnights(found, stamps, index)


def look_for_splits(found: Findings, frame: pd.DataFrame) -> None:
    """Warn about jumps like unadjusted splits: the next open and close both change by the ratio of a split."""
    close = frame["close"].to_numpy()
    opened = frame["open"].to_numpy()
    with np.errstate(all="ignore"):
        change = np.log(close[1:] / close[:-1])
        gap = np.log(opened[1:] / close[:-1])
    rows, ratios = [], []
    for row in np.flatnonzero(np.abs(change) > np.log(SPLITS[0]) - SPLIT_TOLERANCE).tolist():
        for ratio in SPLITS:
            sign = np.sign(change[row])
            if max(abs(sign * change[row] - np.log(ratio)), abs(sign * gap[row] - np.log(ratio))) < SPLIT_TOLERANCE:
                rows.append(row + 1)
                ratios.append((ratio, sign))
    if rows:
        ratio, sign = ratios[0]
        shown = "3:2" if ratio == 1.5 else f"{ratio:g}:1"
        shown = shown if sign < 0 else ":".join(reversed(shown.split(":")))
        first = date_text(frame.index[rows[0]])
        found.warn(
            "split_jump",
            f"{counted(len(rows), 'jump')} of the price like an unadjusted split, the first on {first} ({shown})",
            "if it was a split, give adjusted prices, or a column adj_close",
            count=len(rows),
            first=first,
            value=shown,
        )


def _look_at_volume(found: Findings, volume: NDArray[np.float64], index: pd.DatetimeIndex) -> None:
    empty = np.flatnonzero(volume == 0)
    if not len(empty):
        return
    first = date_text(index[empty[0]])
    everywhere = len(empty) == len(volume)
    found.warn(
        "zero_volume",
        "volume is 0 in all bars" if everywhere else f"volume is 0 in {counted(len(empty), 'bar')}, the first {first}",
        "features of volume are useless here" if everywhere else "correct if nothing was traded; otherwise remove them",
        count=len(empty),
        first=first,
        value="0",
    )


def _look_for_stale_prices(found: Findings, frame: pd.DataFrame, index: pd.DatetimeIndex) -> None:
    same = np.ones(max(len(frame) - 1, 0), dtype=bool)  # equal to the bar before
    for name in ("open", "high", "low", "close"):
        values = frame[name].to_numpy()
        same &= values[1:] == values[:-1]
    borders = np.flatnonzero(~same)
    lengths = np.diff(np.concatenate(([-1], borders, [len(same)])))  # of runs of equal bars
    stale = np.flatnonzero(lengths >= STALE)
    if len(stale):
        starts = np.concatenate(([0], borders + 1))[stale]
        first = date_text(index[starts[0]])
        longest = int(lengths[stale].max())
        found.warn(
            "stale_prices",
            f"{counted(len(stale), 'stretch', 'stretches')} of {STALE} or more equal bars, the first from {first}, the longest"
            f" of {longest:,} bars",
            "right if nothing was traded; otherwise remove them",
            count=int(lengths[stale].sum()),
            first=first,
            value=f"{longest} bars",
        )


def _look_for_other_steps(found: Findings, stamps: NDArray[np.int64], index: pd.DatetimeIndex) -> bool:
    """Warn about stretches of 50 bars with another median step than usual; return whether there are any."""
    steps = np.diff(stamps)
    stretches = len(steps) // STRETCH
    if stretches < 2:
        return False
    usual = np.median(steps[: stretches * STRETCH].reshape(stretches, STRETCH), axis=1)
    typical = float(np.median(usual))
    other = np.flatnonzero((usual >= MIXED_STEPS * typical) | (usual <= typical / MIXED_STEPS))
    if len(other):
        first = date_text(index[int(other[0]) * STRETCH])
        found.warn(
            "mixed_frequencies",
            f"most bars are {frequency_text(typical)}, but about {len(other) * STRETCH:,} are"
            f" {frequency_text(float(usual[other[0]]))}, from {first} on",
            "give a file of one frequency, or cut it with start and end",
            count=len(other) * STRETCH,
            first=first,
            value=frequency_text(float(usual[other[0]])),
        )
    return bool(len(other))


def _look_for_lone_midnights(found: Findings, stamps: NDArray[np.int64], index: pd.DatetimeIndex) -> None:
    """Warn about daily rows among intraday bars: bars at midnight, far from the bars before and after."""
    if len(stamps) < 3:
        return
    steps = np.diff(stamps)
    far = steps > 1.5 * float(np.median(steps))
    midnight = stamps % _DAY == 0
    lone = midnight & np.concatenate(([True], far)) & np.concatenate((far, [True]))
    rows = np.flatnonzero(lone)
    if len(rows) and np.count_nonzero(midnight) < len(stamps):
        first = date_text(index[rows[0]])
        found.warn(
            "mixed_frequencies",
            f"bars are {frequency_text(float(np.median(steps)))}, but {counted(len(rows), 'bar')} at midnight, the first"
            f" {first}, look like daily rows",
            "remove the daily rows",
            count=len(rows),
            first=first,
        )


def hole_problem(symbol: str, index: pd.DatetimeIndex, max_gap_days: float) -> Problem | None:
    """Return the warning about holes between segments, if any.

    Args:
        symbol: name of the bars.
        index: (bars,) ascending dates.
        max_gap_days: longest distance of bars in a segment, in days.
    """
    borders = np.flatnonzero(np.diff(segments(index, max_gap_days)))
    if not len(borders):
        return None
    stamps = index.as_unit("ns").asi8
    days = (stamps[borders + 1] - stamps[borders]) / _DAY
    first = date_text(index[borders[0]])
    longest = int(np.argmax(days))
    return Problem(
        symbol,
        "",
        "gap",
        "warning",
        f"{counted(len(borders), 'hole')} of more than {max_gap_days:g} days in the bars, the longest of {days[longest]:.0f} days"
        f" after {date_text(index[borders[longest]])}",
        "no window crosses them (data.max_gap_days)",
        count=len(borders),
        first=first,
        value=f"{days[longest]:.0f} days",
    )
