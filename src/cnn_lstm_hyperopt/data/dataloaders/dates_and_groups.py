"""Dates and groups of the windows of a user's DataLoaders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import one_line, shown

_DATES = "datetimes, ISO text or whole numbers that grow with time"


@dataclass(frozen=True, eq=False)
class Marks:
    """Dates and groups of the windows of one split, in the order of the split's loader.

    Attributes:
        dates: (windows,) datetime64[ns] (UTC if the dates had a time zone) or int64; None: no dates.
        groups: (windows,) int64 number of each window's group, the same in all splits; None: no groups.
    """

    dates: NDArray[Any] | None
    groups: NDArray[np.int64] | None

    def in_order(self, name: str, order: NDArray[np.int64], *, shuffled: bool) -> "Marks":
        """Return the dates and groups of the windows, sorted into the order of the windows.

        Args:
            name: name of the split.
            order: (windows,) position of each window in the loader's order.
            shuffled: True if the loader shuffles.

        Raises:
            DataError: the number of dates or groups differs from the number of windows; or the loader shuffles, so it is
                unknown which window has which date or group.
        """
        given = {"dates": self.dates, "groups": self.groups}
        for field, values in given.items():
            if values is not None:
                _require_one_per_window(field, name, len(values), len(order), shuffled=shuffled)
        return Marks(*(None if values is None else values[order] for values in given.values()))


def read_marks(dates: Any, groups: Any) -> list[Marks]:
    """Return the dates and groups of the windows of the training, validation and test loader.

    Args:
        dates: three sequences of datetimes, ISO text or whole numbers, or None for a loader without dates; None: no
            dates.
        groups: three sequences of texts or whole numbers, or None for a loader without groups; None: no groups.

    Raises:
        DataError: an argument does not have three entries; an entry is not one-dimensional, or it has a missing value or a
            value of another type; or dates and numbers are mixed.
    """
    return [
        Marks(*parts)
        for parts in zip(_read_dates(_parts("dates", dates)), _read_groups(_parts("groups", groups)), strict=True)
    ]


def shared_groups(marks: Sequence[Marks]) -> list[str]:
    """Return a warning for the validation split and one for the test split if the split shares groups with training.

    Args:
        marks: dates and groups of training, validation and test.
    """
    train = marks[0].groups
    if train is None:
        return []
    warnings = []
    for name, part in zip(SPLIT_NAMES[1:], marks[1:], strict=True):
        here = np.unique(train[:0] if part.groups is None else part.groups)
        shared = int(np.isin(here, train).sum())
        if shared:
            warnings.append(
                f"{shared:,} of the {name} loader's {len(here):,} groups are in the train loader too: scores may not hold for new"
                " groups; keep each group in one loader to judge that"
            )
    return warnings


def single_group(validation: Sequence[Windows]) -> list[str]:
    """Return a warning if all validation windows of a fold belong to one group.

    Args:
        validation: validation windows of each fold.
    """
    groups = [each.groups for each in validation if each.groups is not None]
    if len(groups) < len(validation) or len(np.unique(np.concatenate(groups))) > 1:
        return []
    return [
        f"all {sum(map(len, groups)):,} validation windows are of one group, so they count as one window, and no trial can be"
        " shown to be better than chance; give the validation loader windows of several groups"
    ]


def _parts(name: str, given: Any) -> tuple[Any, ...]:
    """Return the dates (or the groups) of each split, with None for a split without dates (or groups)."""
    if given is None:
        return (None,) * len(SPLIT_NAMES)
    rule = f"{name} must be (train, validation, test), each a sequence with one entry per window or None"
    if isinstance(given, (str, bytes)) or not hasattr(given, "__len__") or not hasattr(given, "__iter__"):
        raise DataError(f"{rule}, but is {shown(given)}", field=name, code="not-three-sequences")
    if len(given) != len(SPLIT_NAMES):
        raise DataError(f"{rule}, but has {len(given):,} parts", field=name, code="not-three-sequences")
    return tuple(given)


def _read_dates(parts: Sequence[Any]) -> list[NDArray[Any] | None]:
    read = [None if part is None else _dates(name, part) for name, part in zip(SPLIT_NAMES, parts, strict=True)]
    if len({each.dtype.kind for each in read if each is not None}) > 1:
        text = "dates must be datetimes for all loaders or whole numbers for all, but are both; give one kind"
        raise DataError(text, field="dates", code="dates-of-two-kinds")
    return read


def _read_groups(parts: Sequence[Any]) -> list[NDArray[np.int64] | None]:
    texts = [None if part is None else _groups(name, part) for name, part in zip(SPLIT_NAMES, parts, strict=True)]
    present = [text for text in texts if text is not None]
    if not present:
        return [None] * len(parts)
    names = np.unique(np.concatenate(present))
    return [None if text is None else np.searchsorted(names, text).astype(np.int64) for text in texts]


def _require_one_per_window(field: str, name: str, n_entries: int, n_windows: int, *, shuffled: bool) -> None:
    if shuffled:
        raise _error(
            field,
            name,
            "need its order, but it shuffles; give the loader shuffle=False (the search shuffles training windows itself), or"
            f" give None as its {field}",
            code="loader-shuffles",
        )
    if n_entries != n_windows:
        text = f"must have one entry per window, {n_windows:,}, but have {n_entries:,}"
        raise _error(field, name, text, code="not-one-per-window")


def _error(field: str, name: str, text: str, *, code: str) -> DataError:
    """Return an error about the dates or groups of a split. In the error, ``text`` follows "dates of the … loader"."""
    return DataError(f"{field} of the {name} loader {text}", field=f"{field}.{name}", code=code)


def _dates(name: str, part: Any) -> NDArray[Any]:
    values = _one_dimensional("dates", name, part)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind in "bfc":
        raise _error("dates", name, f"must be {_DATES}, but are {values.dtype}", code="not-dates")
    try:
        if values.dtype.kind in "US" or all(isinstance(each, str) for each in values):
            stamps = pd.DatetimeIndex(pd.to_datetime(values, format="ISO8601", utc=True))
        else:
            stamps = pd.DatetimeIndex(pd.to_datetime(values, utc=True))
    except (ValueError, TypeError, OverflowError) as error:
        raise _error("dates", name, f"must be {_DATES}, but: {one_line(error)}", code="not-dates") from error
    return np.asarray(stamps.tz_localize(None).as_unit("ns").to_numpy())


def _groups(name: str, part: Any) -> NDArray[np.str_]:
    values = _one_dimensional("groups", name, part)
    for each in values:
        if not isinstance(each, (str, int, np.integer)) or isinstance(each, bool):
            text = f"must be text or whole numbers, but hold {shown(each)}"
            raise _error("groups", name, text, code="not-groups")
    return np.array([str(each) for each in values], dtype=np.str_)


def _one_dimensional(field: str, name: str, part: Any) -> NDArray[Any]:
    """Return the dates or groups of a split as a one-dimensional array. Raise DataError if a value is missing."""
    rule = "must be a sequence with one entry per window, but"
    try:
        values = part.to_numpy() if hasattr(part, "to_numpy") else np.asarray(part)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _error(field, name, f"{rule}: {one_line(error)}", code="not-a-sequence") from error
    if values.ndim != 1:
        raise _error(field, name, f"{rule} are of shape {values.shape}", code="not-a-sequence")
    missing = np.flatnonzero(pd.isna(values))
    if len(missing):
        text = f"must not have missing values, but entry {missing[0]} is {values[missing[0]]}"
        raise _error(field, name, text, code="missing-entry")
    return np.asarray(values)
