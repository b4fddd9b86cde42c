"""Folds of the windows before the test period: walk-forward (expanding or rolling) and combinatorial purged ones.

Pure functions of dates. A label's interval is closed, from the decision's date to its reach date: the price at the decision is in
the label, too. A window is trained on only if its interval meets no interval of the fold's held-out windows, of any symbol. Who
is held out, and so judged, does not depend on any price after the decision: it is who could not have reached the test period.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import CvScheme, DataSettings
from cnn_lstm_hyperopt.data.splits import Dates
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError

Integers = NDArray[np.int64]


class EmptyBlockError(DataError):
    """A block would hold out nothing, since dates are not divided."""


@dataclass(frozen=True, eq=False)
class WindowDates:
    """When each window is decided and when its label is known; (windows,), all symbols together, in any order.

    Attributes:
        decided: decision dates.
        reach: dates of the last bar that a label looks at, or of a later one (the purge).
        embargo: dates of the bar ``embargo`` bars after it; the same dates without an embargo.
        furthest: dates of the last bar that a label decided then can look at, whatever the prices: ``reach`` or later.
    """

    decided: Dates
    reach: Dates
    embargo: Dates
    furthest: Dates


@dataclass(frozen=True, eq=False)
class FoldIndices:
    """Windows of one fold.

    Attributes:
        train: (n,) positions of the windows to train on, ascending.
        validation: (m,) positions of the windows held out, ascending.
        blocks: first and last decision date of each block held out, in order of time.
    """

    train: Integers
    validation: Integers
    blocks: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, eq=False)
class Fold:
    """Windows to train on and to be judged by.

    Attributes:
        train: training windows, scaled by the mean and deviation of their own rows.
        validation: windows that come after them (in combinatorial folds: beside them), scaled alike.
        value_mean, value_std: of the training windows' values, in the target's units; 0 and 1 without regression.
    """

    train: Windows
    validation: Windows
    value_mean: float
    value_std: float


def make_folds(dates: WindowDates, cuts: tuple[Any, Any], settings: DataSettings) -> tuple[FoldIndices, ...]:
    """The folds that the settings name, in order of time if they walk forward.

    Args:
        dates: of all windows; those that reach the test period are in no fold.
        cuts: first dates of validation and of test.
        settings: cv_folds, cv_scheme, cv_test_blocks.

    Raises:
        DataError: there are too few windows for so many folds.
    """
    return CV_SCHEMES[settings.cv_scheme](dates, cuts, settings)


def walk_forward(
    dates: WindowDates, cuts: tuple[Any, Any], n_folds: int, *, rolling: bool = False
) -> tuple[FoldIndices, ...]:
    """Validation blocks one after the other, each judged by a model of what was before it.

    The last block is the split's validation block. The others lie directly before it, between dates with as many windows (about:
    a date is never divided; and counted before purging, so that no price moves a border). A fold trains on all windows before its
    block, or (rolling) on a stretch directly before it that has as many windows as there are before the first block; purged in
    both cases, each by its own label. A block holds all windows decided in it, and the last one those only whose label could not
    have reached the test period.

    Args:
        dates: of all windows; those that reach the test period are in no fold.
        cuts: first dates of validation and of test.
        n_folds: number of blocks, ≥ 1.
        rolling: whether the stretch keeps its length.

    Raises:
        EmptyBlockError: a date holds more windows than a block, so that two blocks begin on it.
        DataError: too many folds for the windows before validation.
    """
    judged = dates.furthest < cuts[1]
    ascending = np.sort(dates.decided[dates.decided < cuts[1]])
    before = int(np.searchsorted(ascending, cuts[0]))
    in_block = len(ascending) - before
    # Decided by then, nothing was known yet, so there was nothing to train on.
    unknown = int(np.searchsorted(ascending, dates.reach.min(), side="right"))
    most = 1 + (before - unknown) // in_block if in_block and before > unknown else 0
    if n_folds > most:
        raise DataError(
            f"cv_folds={n_folds} are too many: each holds out {in_block} windows (validation's share in data.split), and the"
            f" {before} before validation are too few for the first fold to have something to train on; take at most"
            f" {most} cv_folds, a smaller share for validation, or more bars"
        )
    starts = [ascending[before - number * in_block] for number in range(n_folds - 1, 0, -1)] + [cuts[0]]
    stretch = int(np.searchsorted(ascending, starts[0]))
    folds = []
    for first, after in pairwise([*starts, cuts[1]]):
        held_out = judged & (dates.decided >= first) & (dates.decided < after)
        if not held_out.any():
            raise EmptyBlockError(
                f"cv_folds={n_folds} leave no window in the block that begins on {first}: a date is never divided, and one holds"
                f" more windows than a block, {in_block}; take fewer cv_folds or a larger share for validation in data.split"
            )
        trained = dates.reach < first
        if rolling:
            trained &= dates.decided >= ascending[int(np.searchsorted(ascending, first)) - stretch]
            if not trained.any():
                raise DataError(
                    f"cv_folds={n_folds} leave rolling folds {stretch} windows to train on before the one of {first}, and purging"
                    " takes them all; take fewer cv_folds, cv_scheme: expanding, or more bars"
                )
        folds.append(_fold(dates.decided, trained, [held_out]))
    return tuple(folds)


def combinatorial(dates: WindowDates, cuts: tuple[Any, Any], n_blocks: int, n_held_out: int) -> tuple[FoldIndices, ...]:
    """Combinatorial purged cross-validation (López de Prado 2018, ch. 12) of the windows before the test period.

    They are cut into ``n_blocks`` blocks of as many windows (about, as in :func:`walk_forward`). Each combination of
    ``n_held_out`` blocks is held out once, so each window is held out by C(n_blocks − 1, n_held_out − 1) folds. Purging is done
    on both sides of a block; after it, nothing that is decided during the embargo is trained on (ch. 7.4). Windows at the end
    whose label could have reached the test period, but did not, are trained on only.

    Args:
        dates: of all windows; those that reach the test period are in no fold.
        cuts: first dates of validation and of test; of which the first has no meaning here.
        n_blocks: blocks.
        n_held_out: blocks that each fold holds out, 1 ≤ n_held_out < n_blocks.

    Raises:
        DataError: there are too few dates for so many blocks, or a fold has nothing to train on.
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
            raise DataError(
                f"cv_folds={n_blocks}: {len(ascending)} windows on {len(np.unique(ascending))} dates before the test period leave"
                f" nothing to train on beside block {shown}, purge and embargo; take fewer cv_folds or cv_test_blocks, a smaller"
                " purge or embargo, or more bars"
            )
        folds.append(_fold(dates.decided, trained, [held_out[number] for number in chosen]))
    return tuple(folds)


def _beside(dates: WindowDates, held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Windows whose label is known before the held-out block begins, or that are decided after its labels and the embargo."""
    beside: NDArray[np.bool_] = (dates.reach < dates.decided[held].min()) | (dates.decided > dates.embargo[held].max())
    return beside


def _fold(decided: Dates, trained: NDArray[np.bool_], held: list[NDArray[np.bool_]]) -> FoldIndices:
    return FoldIndices(
        train=np.flatnonzero(trained),
        validation=np.flatnonzero(np.logical_or.reduce(held)),
        blocks=tuple((decided[block].min(), decided[block].max()) for block in held),
    )


def _expanding(dates: WindowDates, cuts: tuple[Any, Any], settings: DataSettings) -> tuple[FoldIndices, ...]:
    return walk_forward(dates, cuts, settings.bar_folds)


def _rolling(dates: WindowDates, cuts: tuple[Any, Any], settings: DataSettings) -> tuple[FoldIndices, ...]:
    return walk_forward(dates, cuts, settings.bar_folds, rolling=True)


def _combinatorial(dates: WindowDates, cuts: tuple[Any, Any], settings: DataSettings) -> tuple[FoldIndices, ...]:
    return combinatorial(dates, cuts, settings.bar_folds, settings.cv_test_blocks)


CV_SCHEMES: dict[CvScheme, Callable[[WindowDates, tuple[Any, Any], DataSettings], tuple[FoldIndices, ...]]] = {
    "expanding": _expanding,
    "rolling": _rolling,
    "combinatorial": _combinatorial,
}
