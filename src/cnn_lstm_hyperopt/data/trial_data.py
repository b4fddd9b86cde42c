"""Data that trials use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cnn_lstm_hyperopt.data.splits import evenly_spread
from cnn_lstm_hyperopt.data.windows import Fold, without_other_rows

RAW_WINDOWS = "raw_windows"
"""Key in ``data.json``: whether the windows are unscaled."""


@dataclass(frozen=True, eq=False)
class TrialData:
    """Data that trials use. The test set is not included.

    Attributes:
        folds: folds over which the score of a trial is averaged. Without cross-validation there is one fold.
        n_classes: number of classes.
        has_regression: True if windows have a regression target.
        columns: channels of the windows that belong to each group of features, by name of the group. A configuration may leave
            out these groups.
        raw: whether the windows are unscaled, so that networks standardise them.
    """

    folds: tuple[Fold, ...]
    n_classes: int
    has_regression: bool
    columns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    raw: bool = False


def for_trials(fold: Fold, share: float) -> Fold:
    """Return a fold with a share of its training windows. Rows of the series that no window uses are removed."""
    train, validation = fold.train.subset(evenly_spread(len(fold.train), share)), fold.validation
    if train.series is validation.series:
        train, validation = without_other_rows(train, validation)
    return replace(fold, train=train, validation=validation)
