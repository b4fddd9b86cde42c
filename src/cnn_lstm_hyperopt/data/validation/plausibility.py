"""Search for suspicious bars: jumps that look like splits, stale prices, two frequencies, and holes."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import longest_step
from cnn_lstm_hyperopt.data.frequency import duration, frequency_text
from cnn_lstm_hyperopt.data.problems import Findings, Problem, date_text
from cnn_lstm_hyperopt.utils.text import counted

COMMON_SPLITS = ("2:1", "3:1", "4:1", "3:2", "5:1", "10:1", "20:1")
SPLITS = {
    int(text.split(":")[0]) / int(text.split(":")[1]): text
    for text in (
        *COMMON_SPLITS,
        "5:4",
        "4:3",
        "5:3",
        "5:2",
        "7:2",
        *(f"{n}:1" for n in (6, 7, 8, 9, 12, 15, 25, 30, 40, 50, 100)),
    )
}
"""Texts of the usual split ratios, by ratio (new shares divided by old shares)."""
SPLIT_TOLERANCE = 0.06
"""Largest logarithmic move of the price on the day of a split, after the split itself is removed."""
_MIN_JUMP = math.log(min(SPLITS)) * 0.8
_AROUND = 60
"""Number of bars before a jump, and after it, whose median volumes are compared."""
_VOLUME_SHARE = 0.7
"""Minimum change of the logarithm of the volume at a split, as a share of the logarithm of the split ratio."""
_SPIKE = 2.0
"""Largest volume on the day of a split, as a multiple of the median volume after that day times the split ratio."""
_SPLIT_DAYS = 10.0
"""Longest time in days between the bars before and after a split. Three median times between bars are also allowed."""
STALE = 20
"""Minimum number of consecutive bars with the same four prices for these prices to be stale."""
MIXED_STEPS = 3.0
"""Minimum factor between the median step of a stretch of bars and that of all bars for the stretch to have another frequency."""
_REGULAR = 0.15
"""Maximum deviation from the median step, as a share, for half of the steps in a stretch with another frequency.

Minutes without a trade before and after a session also give long steps, but these steps are irregular.
"""
STRETCH = 50
_RECURRING_DAYS = 120

_DAY = 86_400 * 10**9


def look_over(found: Findings, frame: pd.DataFrame, *, daily: bool) -> None:
    """Warn about suspicious bars: no volume, constant prices, two frequencies.

    Args:
        found: collector of findings, to which warnings are added.
        frame: (bars,) float64 columns open, high, low, close, volume; index of ascending dates.
        daily: True if each bar spans a day or more.
    """
    index = pd.DatetimeIndex(frame.index)
    _look_at_volume(found, frame["volume"].to_numpy(), index)
    _look_for_stale_prices(found, frame, index)
    stamps = index.as_unit("ns").asi8
    if not _look_for_other_steps(found, stamps, index) and not daily:
        _look_for_lone_midnights(found, stamps, index)


def look_for_splits(found: Findings, frame: pd.DataFrame) -> None:
    """Warn about jumps that look like unadjusted splits. The next open and the next close differ from a close by a split ratio.

    For common ratios this is enough. For other ratios n:m, the volume must also change lastingly in the opposite direction. A
    jump after a hole in the bars is not a split. A jump on a day with an unusually large volume is a reaction to news, not a
    split.
    """
    close, opened, volume = (frame[name].to_numpy() for name in ("close", "open", "volume"))
    with np.errstate(all="ignore"):
        change = np.log(close[1:] / close[:-1])
        gap = np.log(opened[1:] / close[:-1])
    steps = np.diff(pd.DatetimeIndex(frame.index).as_unit("ns").asi8) / _DAY
    rows, shown = [], []
    for row in np.flatnonzero(np.abs(change) > _MIN_JUMP).tolist():
        if steps[row] > longest_step(steps, _SPLIT_DAYS):
            continue
        sign = np.sign(change[row])
        for ratio, text in SPLITS.items():
            size, common = math.log(ratio), text in COMMON_SPLITS
            if sign > 0 and not text.endswith(":1"):
                continue  # reverse splits make one share of several
            off = max(abs(sign * change[row] - size), (1 if common else 2) * abs(sign * gap[row] - size))
            if off < min(SPLIT_TOLERANCE, 0.2 * size) and _volume_of_split(volume, row, size, sign, common=common):
                rows.append(row + 1)
                shown.append(text if sign < 0 else ":".join(reversed(text.split(":"))))
                break
    if rows:
        first = date_text(frame.index[rows[0]])
        found.warn(
            "split_jump",
            f"{counted(len(rows), 'jump')} of the price like an unadjusted split, the first on {first} ({shown[0]})",
            "if it was a split, give adjusted prices, or a column adj_close",
            count=len(rows),
            first=first,
            value=shown[0],
        )


def _volume_of_split(volume: NDArray[np.float64], row: int, size: float, sign: float, *, common: bool) -> bool:
    """Return True if the volume is consistent with a split between ``row`` and the next bar.

    Args:
        volume: (bars,) volume.
        row: last bar before the jump.
        size: logarithm of the split ratio.
        sign: 1 if the price rises, -1 if the price falls.
        common: True if the ratio is common, so the volume need not change.
    """
    before, after = volume[max(0, row + 1 - _AROUND) : row + 1], volume[row + 1 : row + 1 + _AROUND]
    medians = float(np.median(before)), float(np.median(after))
    if min(medians) <= 0:
        return common
    if volume[row + 1] > _SPIKE * math.exp(size) * medians[1]:
        return False
    return common or -sign * math.log(medians[1] / medians[0]) >= _VOLUME_SHARE * size


def _look_at_volume(found: Findings, volume: NDArray[np.float64], index: pd.DatetimeIndex) -> None:
    empty = np.flatnonzero(volume == 0)
    if not len(empty):
        return
    first, last = date_text(index[empty[0]]), date_text(index[empty[-1]])
    everywhere = len(empty) == len(volume)
    span = first if first == last else f"from {first} to {last}"
    found.warn(
        "zero_volume",
        f"volume is 0 in {'all' if everywhere else f'{len(empty):,} of'} {counted(len(volume), 'bar')}, {span}",
        "features of volume are useless here" if everywhere else "correct if nothing was traded; otherwise remove them",
        count=len(empty),
        first=first,
        value="0",
    )


def _look_for_stale_prices(found: Findings, frame: pd.DataFrame, index: pd.DatetimeIndex) -> None:
    same = np.ones(max(len(frame) - 1, 0), dtype=bool)  # the bar equals the previous bar
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
    """Warn about stretches of 50 bars whose median step differs from that of all bars.

    Return True if there are such stretches.
    """
    steps = np.diff(stamps)
    stretches = len(steps) // STRETCH
    if stretches < 2:
        return False
    blocks = steps[: stretches * STRETCH].reshape(stretches, STRETCH)
    usual = np.median(blocks, axis=1)
    typical = float(np.median(usual))
    regular = np.mean(np.abs(blocks - usual[:, None]) <= _REGULAR * usual[:, None], axis=1) >= 0.5
    other = np.flatnonzero(regular & ((usual >= MIXED_STEPS * typical) | (usual <= typical / MIXED_STEPS)))
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
    """Warn about daily rows among intraday bars. Such rows are at midnight, far from the bars before and after.

    Bars in hours with few trades are also far from each other, but at any time of the day. So the warning requires that most
    of the bars that are this far from their neighbours are at midnight.
    """
    if len(stamps) < 3:
        return
    steps = np.diff(stamps).astype(np.float64)
    typical = float(np.median(steps))
    distance = np.minimum(np.append(np.inf, steps), np.append(steps, np.inf))  # to the nearer neighbour
    midnight = stamps % _DAY == 0
    lone = midnight & (distance > 1.5 * typical)
    if not lone.any() or midnight.all():
        return
    level = float(np.median(distance[lone]))
    if np.count_nonzero(lone & (distance >= level)) <= np.count_nonzero(~midnight & (distance >= level)):
        return
    rows = np.flatnonzero(lone)
    first = date_text(index[rows[0]])
    found.warn(
        "mixed_frequencies",
        f"bars are {frequency_text(typical)}, but {counted(len(rows), 'bar')} at midnight, the first"
        f" {first}, look like daily rows",
        "remove the daily rows",
        count=len(rows),
        first=first,
    )


def hole_problem(
    symbol: str, index: pd.DatetimeIndex, max_gap_days: float, *, known_sessions: bool = False
) -> Problem | None:
    """Return a warning about holes that end a segment or are unusually long for these bars. Return None without such holes.

    Args:
        symbol: name of the bars.
        index: (bars,) ascending dates.
        max_gap_days: longest time between two bars of a segment, in days.
        known_sessions: True if a calendar finds missing sessions. If so, only holes that end a segment count.
    """
    stamps = index.as_unit("ns").asi8
    if len(stamps) < 2:
        return None
    steps = np.diff(stamps) / _DAY
    segment_limit = longest_step(steps, max_gap_days)
    limit = segment_limit if known_sessions else min(segment_limit, _unusual_gap(steps, _weekend_gaps(stamps)))
    holes = np.flatnonzero(steps > limit)
    if not len(holes):
        return None
    first, longest = date_text(index[holes[0]]), int(holes[np.argmax(steps[holes])])
    length = duration(86_400 * float(steps[longest]))
    crossed = steps[holes].min() <= segment_limit
    cure = (
        f"windows cross holes of up to {segment_limit:g} days (data.max_gap_days); set data.max_gap_days to {limit:.2g}"
        if crossed
        else "no window crosses them (data.max_gap_days)"
    )
    return Problem(
        symbol,
        "",
        "gap",
        "warning",
        f"{counted(len(holes), 'hole')} of more than {duration(86_400 * limit)} in the bars, the longest of {length} after"
        f" {date_text(index[longest])}",
        cure,
        count=len(holes),
        first=first,
        value=length,
    )


def _weekend_gaps(stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which times between bars span a weekend and no other day, (bars - 1,). There are none if a bar is on a weekend."""
    days = stamps.astype("datetime64[ns]").astype("datetime64[D]")
    if not np.is_busday(days).all():
        return np.zeros(len(days) - 1, dtype=bool)
    found: NDArray[np.bool_] = (np.busday_count(days[:-1], days[1:]) == 1) & (np.diff(days) > np.timedelta64(1, "D"))
    return found


def _unusual_gap(steps: NDArray[np.float64], weekends: NDArray[np.bool_]) -> float:
    """Return the time between bars, in days like ``steps``, above which a gap is unusual.

    Nights, weekends and holidays cause gaps that recur. A gap is usual if gaps of at least its length recur at least every 120
    days. In a file that is too short for this, the gaps in the mask ``weekends`` are usual, too. An unusual gap is longer than
    twice the longest usual gap. An unusual gap is also longer than 20 times the median time between bars, because some holidays
    come once a year. Bars without usual gaps are traded around the clock; for these bars, a gap above 3 times the median time is
    unusual.
    """
    recurring = max(3, int(steps.sum() / _RECURRING_DAYS))
    ordered = np.sort(steps)
    usual = float(ordered[-recurring]) if recurring <= len(ordered) else float(ordered[-1])
    if weekends.sum() < recurring:
        usual = max(usual, float(np.max(steps[weekends], initial=0.0)))
    median = float(np.median(steps))
    return max(2 * usual, (3 if usual <= 1.5 * median else 20) * median)
