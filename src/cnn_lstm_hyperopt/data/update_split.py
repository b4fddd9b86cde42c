"""Windows of an update of a model: those to measure, to compare on and to train on, by pure functions of dates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.splits import Dates, Integers, spread_positions

VALIDATION_SHARE = 0.15
"""Maximum number of validation dates, as a share of the dates of the rolling window and the validation dates together."""
MIN_VALIDATION_DATES = 20
"""Minimum number of validation dates. Fewer dates can't show which of two models is better."""
REPLAY_SHARE = 0.5
"""Number of old windows for each new window in a fine-tuning."""


@dataclass(frozen=True, eq=False)
class UpdateSplit:
    """Positions of the windows of an update. The arrays are ascending.

    Attributes:
        new: windows whose labels became known after the last measurement, and which the present version has not seen.
        unseen: all windows that the present version has not seen.
        validation: the newest of the unseen windows, on which the candidate is compared with the present version.
        candidate: training windows of the candidate. Their labels end before the first validation date.
        final: training windows of the new version.
        dates: number of dates of the unseen windows.
    """

    new: Integers
    unseen: Integers
    validation: Integers
    candidate: Integers
    final: Integers
    dates: int

    @property
    def comparable(self) -> bool:
        """True if there are enough windows to train a candidate and to compare it."""
        return len(self.validation) > 0 and len(self.candidate) > 0


def update_split(
    dates: Dates,
    reach: Dates,
    *,
    seen_until: np.datetime64,
    measured_until: np.datetime64,
    rolling_dates: int,
    finetuned: bool,
) -> UpdateSplit:
    """Return the windows of an update.

    The newest half of the unseen dates is for validation, but at most :data:`VALIDATION_SHARE` of all dates. Training windows
    are those of the newest ``rolling_dates`` dates. In a fine-tuning, all unseen windows are trained on, with half as many old
    windows, which are evenly spread over the rolling window before.

    Args:
        dates: (windows,) decision dates.
        reach: (windows,) date of the last bar that each label uses.
        seen_until: date of the last bar that the labels of the present version's training use. A window is unseen if its
            decision is not before this date, so that its label shares no bar with the labels of the training.
        measured_until: last decision date that was measured.
        rolling_dates: number of dates of the rolling window.
        finetuned: True for a fine-tuning, False for a new training.
    """
    unseen = dates >= seen_until
    known = np.unique(dates[unseen])
    most = max(MIN_VALIDATION_DATES, round(rolling_dates * VALIDATION_SHARE / (1 - VALIDATION_SHARE)))
    held_out = min(len(known) // 2, most)
    enough = held_out >= MIN_VALIDATION_DATES
    validation = unseen & (dates >= known[-held_out]) if enough else np.zeros_like(unseen)
    before = reach < known[-held_out] if enough else np.zeros_like(unseen)
    everything = np.ones_like(unseen)

    def trained(eligible: NDArray[np.bool_]) -> Integers:
        if not finetuned:
            return newest(dates, eligible, rolling_dates)
        new = np.flatnonzero(eligible & unseen)
        old = newest(dates, ~unseen, rolling_dates)
        return np.union1d(old[spread_positions(len(old), round(REPLAY_SHARE * len(new)))], new) if len(new) else new

    return UpdateSplit(
        new=np.flatnonzero(unseen & (dates > measured_until)),
        unseen=np.flatnonzero(unseen),
        validation=np.flatnonzero(validation),
        candidate=trained(before),
        final=trained(everything),
        dates=len(known),
    )


def newest(dates: Dates, eligible: NDArray[np.bool_], n_dates: int) -> Integers:
    """Return the positions of the eligible windows on their newest ``n_dates`` dates."""
    known = np.unique(dates[eligible])
    return np.flatnonzero(eligible & (dates >= known[-n_dates:][0])) if len(known) else np.empty(0, np.int64)
