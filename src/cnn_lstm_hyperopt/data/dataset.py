"""Bars to a dataset: features, labels, purged splits and scaled windows, with a description of all of it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.settings import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.describe import data_warnings, describe
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.framing import bars_needed, feature_rows, frame_labels, frame_windows, reach_bars
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.sources import open_source
from cnn_lstm_hyperopt.data.splits import PURGED, TEST, TRAIN, VALIDATION, assign, cut_dates, evenly_spread
from cnn_lstm_hyperopt.data.windows import Windows, without_other_rows
from cnn_lstm_hyperopt.exceptions import DataError

__all__ = ["Dataset", "LockedPeriod", "frame_windows", "prepare_dataset"]

N_CLASSES = 2


class LockedPeriod:
    """The test windows, behind one door that counts: whoever looks at a test period twice has begun to fit
    it."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._times_opened = 0

    def __len__(self) -> int:
        return len(self._windows)

    def __repr__(self) -> str:
        return f"LockedPeriod({len(self)} windows, opened {self._times_opened} times)"

    @property
    def times_opened(self) -> int:
        """How often :meth:`open` was called."""
        return self._times_opened

    def open(self) -> Windows:
        """The test windows."""
        self._times_opened += 1
        return self._windows


@dataclass(frozen=True, eq=False)
class Fold:
    """Windows to train on and to be judged by.

    Attributes:
        train: training windows, scaled by their own rows' mean and deviation.
        validation: windows that come after them (in combinatorial folds: beside them), scaled alike.
        value_mean, value_std: of the training windows' values, in the target's units; 0 and 1 without regression.
    """

    train: Windows
    validation: Windows
    value_mean: float
    value_std: float


@dataclass(frozen=True, eq=False)
class TrialData:
    """What trials see of a dataset: never the test period.

    Attributes:
        folds: a trial's score is the mean over them; one unless ``cv_folds`` says more.
        n_classes, has_regression: as in :class:`Dataset`.
    """

    folds: tuple[Fold, ...]
    n_classes: int
    has_regression: bool


@dataclass(frozen=True, eq=False)
class Dataset:
    """All that a search needs of the data.

    Attributes:
        train: all training windows (finalists use these).
        train_share: share of them that trials use.
        validation: validation windows.
        test: test windows, locked.
        n_classes: number of classes.
        has_regression: whether ``values`` exist.
        feature_names: names of the inputs' columns.
        scaler: what the series was scaled with; None: it came scaled.
        value_mean: of the training windows' values, in the target's units; 0 without regression.
        value_std: their population standard deviation, > 0; 1 without regression.
        target: direction, volatility, or what a user's loaders predict.
        lookback: bars in a window.
        horizon: bars ahead that a label looks.
        description: what data.json holds; strict JSON.
        warnings: what the user should know, one sentence each.
    """

    train: Windows
    train_share: float
    validation: Windows
    test: LockedPeriod
    n_classes: int
    has_regression: bool
    feature_names: tuple[str, ...]
    scaler: Scaler | None
    value_mean: float
    value_std: float
    target: str
    lookback: int
    horizon: int
    description: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def search_train(self) -> Windows:
        """The training windows that trials use, evenly spread."""
        return self.train.subset(evenly_spread(len(self.train), self.train_share))

    def with_train_share(self, share: float) -> "Dataset":
        """The same data, of which trials use another share."""
        return replace(self, train_share=share, description={**self.description, "train_share": share})

    def for_trials(self) -> TrialData:
        """What trials see: the search's share of the training windows, and validation; no row of the test period."""
        train, validation = self.search_train, self.validation
        if train.series is validation.series:
            train, validation = without_other_rows(train, validation)
        return TrialData(
            folds=(Fold(train, validation, self.value_mean, self.value_std),),
            n_classes=self.n_classes,
            has_regression=self.has_regression,
        )

    @property
    def chance(self) -> float:
        """Accuracy on validation of always saying its most frequent class."""
        return max(self.validation.class_counts(self.n_classes)) / len(self.validation)


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows and labelled windows of all symbols together, symbol after symbol.

    Attributes:
        features: (rows, features) unscaled.
        starts: (windows,) first row.
        dates: (windows,) datetime64[ns] of the decisions.
        reach: (windows,) datetime64[ns] of the bar ``purge`` bars after.
        classes: (windows,) int64.
        values: (windows,) float64.
        symbols: (windows,) names.
        n_segments: segments of each symbol's bars.
    """

    features: NDArray[np.float64]
    starts: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    reach: NDArray[np.datetime64]
    classes: NDArray[np.int64]
    values: NDArray[np.float64]
    symbols: NDArray[np.str_]
    n_segments: dict[str, int]


def prepare_dataset(settings: DataSettings) -> Dataset:
    """Reads bars and makes windows, labels, splits and scaling of them.

    Args:
        settings: source, symbols, dates, target, lookback, horizon, split, purge.

    Raises:
        DataError: no source, no such symbol or range, faulty bars, or too few of them; the text says what to
            change.
    """
    source = open_source(settings)
    bars, source_warnings = source.load(settings.symbols, settings.start, settings.end)
    table = _window_table(bars, settings)
    cuts = cut_dates(table.dates, settings.split)
    split = assign(table.dates, table.reach, cuts)
    scaler = Scaler.fit(table.features[_covered(table, split == TRAIN, settings.lookback)])
    windows = _windows(table, scaler, settings.lookback)
    train, validation, test = (windows.subset(np.flatnonzero(split == part)) for part in (TRAIN, VALIDATION, TEST))
    _require_two_classes(train, validation)
    value_scale = Scaler.fit(table.values[split == TRAIN, None])
    warnings = (*source_warnings, *data_warnings(bars, settings, train=train, cuts=cuts))
    return Dataset(
        train=train,
        train_share=1.0 if settings.train_share == "auto" else settings.train_share,
        validation=validation,
        test=LockedPeriod(test),
        n_classes=N_CLASSES,
        has_regression=True,
        feature_names=FEATURE_NAMES,
        scaler=scaler,
        value_mean=value_scale.mean[0],
        value_std=value_scale.std[0],
        target=settings.target,
        lookback=settings.lookback,
        horizon=settings.horizon,
        description=describe(
            bars,
            settings,
            source=source.name,
            best_accuracy=source.best_accuracy(settings.target, settings.horizon),
            n_segments=table.n_segments,
            cuts=cuts,
            splits={"train": train, "validation": validation, "test": test},
            purged=table.symbols[split == PURGED],
            warnings=warnings,
        ),
        warnings=warnings,
    )


def _require_two_classes(train: Windows, validation: Windows) -> None:
    for name, windows in (("training", train), ("validation", validation)):
        if min(windows.class_counts(N_CLASSES)) == 0:
            raise DataError(
                f"all {len(windows)} {name} windows have the class {int(windows.labels[0])}, so there is nothing to tell apart;"
                " give more or longer bars, or another target"
            )


def _window_table(all_bars: list[Bars], settings: DataSettings) -> _Table:
    """Cuts the windows of each symbol and stacks them."""
    parts: list[_Table] = []
    offset = 0
    for bars in all_bars:
        part = _symbol_table(bars, settings, offset)
        offset += len(part.features)
        parts.append(part)
    if not sum(len(part.starts) for part in parts):
        have = ", ".join(f"{bars.symbol} {len(bars.frame)}" for bars in all_bars)
        raise DataError(
            f"too few bars for a single window: lookback {settings.lookback}, horizon {settings.horizon}"
            f" and target {settings.target} need"
            f" {bars_needed(settings.lookback, settings.target, settings.horizon)} bars of a symbol without"
            f" a hole of more than {settings.max_gap_days:g} days, but there are: {have}; give more bars or"
            " a shorter lookback"
        )
    return _Table(
        features=np.concatenate([part.features for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        dates=np.concatenate([part.dates for part in parts]),
        reach=np.concatenate([part.reach for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        symbols=np.concatenate([part.symbols for part in parts]),
        n_segments={symbol: count for part in parts for symbol, count in part.n_segments.items()},
    )


def _symbol_table(bars: Bars, settings: DataSettings, offset: int) -> _Table:
    """The labelled windows of one symbol, whose rows begin at row ``offset`` of the series."""
    rows = feature_rows(bars.frame, settings.lookback, settings.max_gap_days)
    labels = frame_labels(bars.frame, rows.segment, settings.target, settings.horizon)
    ends = rows.ends[labels.valid[rows.bars[rows.ends]]]
    decided = rows.bars[ends]
    dates = bars.index.as_unit("ns").to_numpy()
    return _Table(
        features=rows.features,
        starts=offset + ends - settings.lookback + 1,
        dates=dates[decided],
        reach=dates[reach_bars(rows.segment, settings.purge_bars)[decided]],
        classes=labels.classes[decided],
        values=labels.values[decided],
        symbols=np.full(len(ends), bars.symbol),
        n_segments={bars.symbol: int(rows.segment[-1]) + 1},
    )


def _covered(table: _Table, chosen: NDArray[np.bool_], lookback: int) -> NDArray[np.bool_]:
    """Rows that occur in any chosen window, (rows,)."""
    steps = np.zeros(len(table.features) + 1, dtype=np.int64)
    np.add.at(steps, table.starts[chosen], 1)
    np.add.at(steps, table.starts[chosen] + lookback, -1)
    return np.cumsum(steps[:-1]) > 0


def _windows(table: _Table, scaler: Scaler, lookback: int) -> Windows:
    return Windows(
        series=torch.from_numpy(scaler.transform(table.features).astype(np.float32)),
        starts=torch.from_numpy(table.starts),
        lookback=lookback,
        labels=torch.from_numpy(table.classes),
        values=torch.from_numpy(table.values.astype(np.float32)),
        dates=table.dates,
        symbols=table.symbols,
    )
