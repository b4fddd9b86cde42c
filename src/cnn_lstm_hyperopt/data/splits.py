"""Assignment of windows to training, validation, test and folds, by pure functions of dates and integers.

The cuts between splits are dates, and they are the same for all symbols. With different cuts, a training window of one symbol
could include market days on which another symbol is tested. A label's interval begins at the decision date and ends at the
date of the last bar that the label uses, both included. A window is used for training only if its interval overlaps no
interval of later or held-out windows of any symbol. The choice of evaluated windows depends on no price after the decision: a
window is evaluated if its longest possible label ends before the next split. If the actual label decided, all of the last
windows before a cut would have labels with an early exit.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.errors import DataError

TRAIN, VALIDATION, TEST, PURGED = 0, 1, 2, -1
SPLIT_NAMES = ("train", "validation", "test")
Dates = NDArray[Any]
"""Type of the dates of windows: datetime64 or integers."""
Integers = NDArray[np.int64]


def cut_dates(dates: Dates, shares: tuple[float, float, float]) -> tuple[Any, Any]:
    """Return the first decision date of the validation split and the first decision date of the test split.

    The validation split begins at the first date before which there are at least the share ``shares[0]`` of all windows. The
    test split begins at the first date before which there are at least the share ``shares[0] + shares[1]``.

    Args:
        dates: (windows,) decision date of each window, all symbols together, in any order.
        shares: shares of the windows for training, validation and test; their sum is 1.

    Raises:
        DataError: there are too few dates, so no date can be a cut, or both cuts would be the same date.
    """
    unique, counts = np.unique(dates, return_counts=True)
    before = np.cumsum(counts) - counts
    needed = (shares[0] * len(dates), (shares[0] + shares[1]) * len(dates))
    places = [int(np.searchsorted(before, count - 1e-9 * len(dates))) for count in needed]
    if places[0] == places[1] or places[1] >= len(unique):
        text = (
            f"can't split {len(dates)} windows on {len(unique)} dates into shares {list(shares)}: a split"
            " would be empty; give more bars (an earlier start, a later end, more symbols) or a shorter"
            " lookback"
        )
        raise DataError(text, field="data.split", code="too-few-dates")
    return unique[places[0]], unique[places[1]]


def assign(dates: Dates, reach_dates: Dates, cuts: tuple[Any, Any], *, furthest: Dates) -> NDArray[np.int8]:
    """Return the split of each window: 0 for training, 1 for validation, 2 for test, and −1 for purged windows.

    A window belongs to the split of its decision date. A training window is purged if its own label uses a bar of a later
    split. A validation window is purged if its longest possible label would use a bar of the test split. So later prices do
    not decide which windows are evaluated. No label of one split uses a bar of a later split.

    Args:
        dates: (windows,) decision dates.
        reach_dates: (windows,) date of the last bar that each label depends on, or of the bar ``purge`` bars after the
            decision.
        cuts: first decision date of the validation split and of the test split.
        furthest: (windows,) date of the last bar of the longest possible label; not before ``reach_dates``.

    Raises:
        DataError: a split is empty.
    """
    split = _place(dates, cuts)
    ends = np.where(split == TRAIN, _place(reach_dates, cuts), _place(furthest, cuts))
    split[ends > split] = PURGED
    counts = [int(np.count_nonzero(split == number)) for number in range(3)]
    if min(counts) == 0:
        empty = SPLIT_NAMES[counts.index(0)]
        text = (
            f"no {empty} windows: train {counts[0]}, validation {counts[1]}, test {counts[2]}, purged"
            f" {int(np.count_nonzero(split == PURGED))}; give more bars, a larger share of split for"
            f" {empty}, or a smaller horizon or purge"
        )
        raise DataError(text, field="data.split", code="empty-split")
    return split


def evenly_spread(n: int, share: float) -> NDArray[np.int64]:
    """Return ascending indices, evenly spaced, that select the share ``share`` of n items.

    At least one index is returned unless n is 0.
    """
    kept = min(n, max(1, round(n * share)))
    return (
        ((np.arange(kept, dtype=np.int64) * 2 + 1) * n // (2 * kept)).astype(np.int64) if n else np.empty(0, np.int64)
    )


def spread_positions(n: int, limit: int) -> NDArray[np.int64]:
    """Return ascending indices, evenly spaced, of at most ``limit`` (at least 1) of n items."""
    return evenly_spread(n, min(1.0, limit / max(1, n)))


def _place(dates: Dates, cuts: tuple[Any, Any]) -> NDArray[np.int8]:
    return np.searchsorted(np.array(cuts), dates, side="right").astype(np.int8)


# ---------------------------------------------------------------------- folds


class EmptyBlockError(DataError):
    """A validation block would have no windows. The reason is that all windows of a date belong to one block."""


@dataclass(frozen=True, eq=False)
class WindowDates:
    """Dates of the decision and of the label of each window. The arrays are (windows,), for all symbols together, in any order.

    Attributes:
        decided: decision dates.
        reach: dates of the last bar of each label, or of a later bar if ``purge`` is longer.
        embargo: dates of the bar that is ``embargo`` bars after ``reach``; equal to ``reach`` without an embargo.
        furthest: dates of the last bar of the longest possible label; not before ``reach``.
    """

    decided: Dates
    reach: Dates
    embargo: Dates
    furthest: Dates


@dataclass(frozen=True, eq=False)
class FoldIndices:
    """Positions of the windows of one fold.

    Attributes:
        train: (training windows,) ascending positions of the training windows.
        validation: (held-out windows,) ascending positions of the held-out windows.
        blocks: first and last decision date of each held-out block, in order of time.
    """

    train: Integers
    validation: Integers
    blocks: tuple[tuple[Any, Any], ...]


def make_folds(dates: WindowDates, cuts: tuple[Any, Any], settings: DataSettings) -> tuple[FoldIndices, ...]:
    """Return the cross-validation folds that the settings request. Walk-forward folds are in order of time.

    Args:
        dates: dates of all windows; windows that reach the test period are in no fold.
        cuts: first decision date of the validation split and of the test split.
        settings: section ``data``, of which cv_folds, cv_scheme and cv_test_blocks are used.

    Raises:
        DataError: there are too few windows for this number of folds.
    """
    if settings.cv_scheme == "combinatorial":
        return combinatorial(dates, cuts, settings.bar_folds, settings.cv_test_blocks)
    return walk_forward(dates, cuts, settings.bar_folds, rolling=settings.cv_scheme == "rolling")


def walk_forward(
    dates: WindowDates, cuts: tuple[Any, Any], n_folds: int, *, rolling: bool = False
) -> tuple[FoldIndices, ...]:
    """Return walk-forward folds with consecutive validation blocks. Each fold trains on windows before its validation block.

    The last block is the validation split. The other blocks come directly before it and have about the same number of
    windows. All windows of a date are in one block. Windows are counted before purging, so the borders of blocks do not
    depend on prices. A fold trains on all windows before its block. With ``rolling``, it trains only on the last of these
    windows, and each fold uses as many as the first fold. A training window is purged if its own label overlaps the block. A
    block has all windows that are decided in it and whose longest possible label ends before the test period.

    Args:
        dates: dates of all windows; windows that reach the test period are in no fold.
        cuts: first decision date of the validation split and of the test split.
        n_folds: number of blocks, ≥ 1.
        rolling: True if all folds are to have training sets of the same length.

    Raises:
        EmptyBlockError: a date has more windows than a block, so two blocks would begin on this date.
        DataError: there are too many folds for the windows before the validation split.
    """
    evaluated = dates.furthest < cuts[1]
    ascending = np.sort(dates.decided[dates.decided < cuts[1]])
    before = int(np.searchsorted(ascending, cuts[0]))
    in_block = len(ascending) - before
    # A block before the end of the first label would have no training windows.
    unknown = int(np.searchsorted(ascending, dates.reach.min(), side="right"))
    max_folds = 1 + (before - unknown) // in_block if in_block and before > unknown else 0
    if n_folds > max_folds:
        text = (
            f"cv_folds={n_folds} are too many: each holds out {in_block} windows (validation's share in data.split), and the"
            f" {before} before validation are too few for the first fold to have something to train on; take at most"
            f" {max_folds} cv_folds, a smaller share for validation, or more bars"
        )
        raise DataError(text, field="data.cv_folds", code="too-many-folds")
    starts = [ascending[before - number * in_block] for number in range(n_folds - 1, 0, -1)] + [cuts[0]]
    n_rolling = int(np.searchsorted(ascending, starts[0]))
    folds = []
    for first, after in pairwise([*starts, cuts[1]]):
        held_out = evaluated & (dates.decided >= first) & (dates.decided < after)
        if not held_out.any():
            text = (
                f"cv_folds={n_folds} leave no window in the block that begins on {first}: a date is never divided, and one holds"
                f" more windows than a block, {in_block}; take fewer cv_folds or a larger share for validation in data.split"
            )
            raise EmptyBlockError(text, field="data.cv_folds", code="empty-block")
        trained = dates.reach < first
        if rolling:
            trained &= dates.decided >= ascending[int(np.searchsorted(ascending, first)) - n_rolling]
            if not trained.any():
                text = (
                    f"cv_folds={n_folds} leave rolling folds {n_rolling} windows to train on before the block of {first}, and"
                    " purging removes them all; take fewer cv_folds, cv_scheme: expanding, or more bars"
                )
                raise DataError(text, field="data.cv_folds", code="fold-without-training")
        folds.append(_fold(dates.decided, trained, [held_out]))
    return tuple(folds)


def combinatorial(dates: WindowDates, cuts: tuple[Any, Any], n_blocks: int, n_held_out: int) -> tuple[FoldIndices, ...]:
    """Return the folds of combinatorial purged cross-validation (López de Prado 2018, ch. 12).

    The folds use only windows before the test period.

    The windows form ``n_blocks`` blocks of about equal size (as in :func:`walk_forward`). Each combination of
    ``n_held_out`` blocks is held out once, so each window is held out in C(n_blocks − 1, n_held_out − 1) folds (a
    binomial coefficient). Training windows whose labels overlap a held-out block are purged before and after the block.
    Windows that are decided during the embargo after the block are excluded (ch. 7.4). If the longest possible label of a
    window would reach the test period but its own label does not, the window is used only for training.

    Args:
        dates: dates of all windows; windows that reach the test period are in no fold.
        cuts: first decision date of the validation split (not used) and of the test split.
        n_blocks: number of blocks.
        n_held_out: number of held-out blocks of each fold, 1 ≤ n_held_out < n_blocks.

    Raises:
        DataError: there are too few dates for this number of blocks, or a fold has no training windows.
    """
    usable = dates.reach < cuts[1]
    ascending = np.sort(dates.decided[dates.decided < cuts[1]])
    starts = ascending[[number * len(ascending) // n_blocks for number in range(n_blocks)]]
    block = np.searchsorted(starts, dates.decided, side="right") - 1
    held_out = [(block == number) & (dates.furthest < cuts[1]) for number in range(n_blocks)]
    allowed = [
        (block != number) & _beside(dates, held) if held.any() else np.zeros_like(usable)
        for number, held in enumerate(held_out)
    ]
    folds = []
    for chosen in combinations(range(n_blocks), n_held_out):
        trained = usable & np.logical_and.reduce([allowed[number] for number in chosen])
        if not trained.any():
            shown = " and ".join(str(number + 1) for number in chosen)
            text = (
                f"cv_folds={n_blocks}: {len(ascending)} windows on {len(np.unique(ascending))} dates before the test period leave"
                f" nothing to train on beside block {shown}, purge and embargo; take fewer cv_folds or cv_test_blocks, a smaller"
                " purge or embargo, or more bars"
            )
            raise DataError(text, field="data.cv_folds", code="fold-without-training")
        folds.append(_fold(dates.decided, trained, [held_out[number] for number in chosen]))
    return tuple(folds)


def _beside(dates: WindowDates, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of the windows whose label ends before the held-out block or that are decided after the block's embargo."""
    beside: NDArray[np.bool_] = (dates.reach < dates.decided[held].min()) | (dates.decided > dates.embargo[held].max())
    return beside


def _fold(decided: Dates, trained: NDArray[np.bool_], held: list[NDArray[np.bool_]]) -> FoldIndices:
    return FoldIndices(
        train=np.flatnonzero(trained),
        validation=np.flatnonzero(np.logical_or.reduce(held)),
        blocks=tuple((decided[block].min(), decided[block].max()) for block in held),
    )
