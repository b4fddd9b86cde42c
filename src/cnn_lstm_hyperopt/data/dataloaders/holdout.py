"""Split of arrays of windows into training and validation: by date, by group, or stratified by class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataloaders.dates_and_groups import Marks
from cnn_lstm_hyperopt.errors import ArrayError
from cnn_lstm_hyperopt.utils.rng import stream_seed
from cnn_lstm_hyperopt.utils.text import shown

Integers = NDArray[np.int64]


class Holdout(NamedTuple):
    """Positions of the training and validation windows among all windows, both in increasing order."""

    train: Integers
    validation: Integers


def hold_out(
    labels: Integers,
    marks: Marks,
    class_names: Sequence[str],
    *,
    share: float,
    horizon: int,
    seed: int,
) -> Holdout:
    """Return a split of windows into training and validation.

    With dates, the windows of the last dates are validation, a date is never divided, and the windows of the last ``horizon``
    dates before them are left out, because their labels may depend on validation dates. Without dates, whole groups are
    validation. Each class has about ``share`` of its windows in validation and at least one window in training.

    Args:
        labels: ``(windows,)`` class of each window.
        marks: dates and groups of the windows. Windows without groups are independent.
        class_names: names of the classes, for texts.
        share: share of validation windows.
        horizon: number of later dates on which a label depends.
        seed: seed of the study.

    Raises:
        ArrayError: no such split exists.
    """
    if marks.dates is not None:
        split = _by_date(marks.dates, share, horizon)
        how = "before the last dates"
    else:
        split = _by_class(labels, marks.groups, share, seed)
        how = "outside validation"
    missing = np.setdiff1d(np.arange(len(class_names)), labels[split.train])
    if len(missing):
        text = (
            f"y must have each class in training, but no window {how} has {shown(class_names[missing[0]])}; give more windows,"
            " or a smaller validation_share"
        )
        raise ArrayError(text, field="y", code="class-not-in-training")
    return split


def _by_date(dates: NDArray[np.int64] | NDArray[np.datetime64], share: float, horizon: int) -> Holdout:
    days, place = np.unique(dates, return_inverse=True)
    upto = np.cumsum(np.bincount(place))  # number of windows up to and including each date
    first = int(np.searchsorted(upto, (1 - share) * len(dates), side="left")) + 1  # first date of validation
    first = min(first, len(days) - 1)
    if first - horizon < 1:
        text = (
            f"dates must leave a date to train on after the last {horizon} before validation are left out (data.horizon), but"
            f" there are {len(days)} different dates; give more dates, or leave out dates if the windows are independent"
        )
        raise ArrayError(text, field="dates", code="too-few-dates")
    return Holdout(np.flatnonzero(place < first - horizon), np.flatnonzero(place >= first))


def _by_class(labels: Integers, groups: Integers | None, share: float, seed: int) -> Holdout:
    """Move random groups into validation, rare classes first, until each class has its share there.

    A group stays in training if training would otherwise lose a class.
    """
    members = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    by_member = np.argsort(members, kind="stable")
    ends = np.cumsum(np.bincount(members))
    left = np.bincount(labels)
    wanted = np.where(left > 1, np.maximum(1, np.round(share * left)), 0)
    held = np.zeros(len(ends), dtype=np.bool_)
    generator = np.random.default_rng(stream_seed(seed, 0, "validation windows"))
    begun = left.copy()
    for label in np.argsort(begun, kind="stable"):
        for member in generator.permutation(np.unique(members[labels == label])):
            if begun[label] - left[label] >= wanted[label]:
                break
            inside = np.bincount(
                labels[by_member[ends[member - 1] if member else 0 : ends[member]]], minlength=len(left)
            )
            if not held[member] and ((left > inside) | (inside == 0)).all():
                held[member] = True
                left = left - inside
    if not held.any():
        what = "groups" if groups is not None else "windows"
        text = f"y must leave {what} for training and validation, but {len(ends)} {what} of {len(left)} classes do not; give more"
        raise ArrayError(text, field="y" if groups is None else "groups", code="no-validation")
    return Holdout(np.flatnonzero(~held[members]), np.flatnonzero(held[members]))
