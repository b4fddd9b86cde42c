"""Bars to a dataset: features, labels, purged splits and scaled windows, with a description of all of it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.bounded_check import checked_feature_set
from cnn_lstm_hyperopt.data.describe import data_warnings, describe
from cnn_lstm_hyperopt.data.folds import Fold, FoldIndices, WindowDates, make_folds
from cnn_lstm_hyperopt.data.framing import (
    bars_needed,
    feature_rows,
    frame_labels,
    frame_windows,
    joined,
    reach_bars,
)
from cnn_lstm_hyperopt.data.labels import Labeller, labeller
from cnn_lstm_hyperopt.data.own_features import FeatureSet
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.sources import load_bars, open_source
from cnn_lstm_hyperopt.data.splits import PURGED, TEST, TRAIN, VALIDATION, assign, cut_dates, evenly_spread
from cnn_lstm_hyperopt.data.windows import Windows, without_other_rows
from cnn_lstm_hyperopt.errors import DataError

__all__ = ["Dataset", "Fold", "LockedPeriod", "TrialData", "frame_windows", "prepare_dataset"]


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
        train_share: share of them, and of each fold's, that trials use.
        validation: validation windows.
        folds: what trials are trained on and judged by; without cross-validation the training and validation windows.
        test: test windows, locked.
        class_names: of classes 0, 1, …
        value_name: the formula of ``values``; None: there are none.
        feature_names: names of the inputs' columns.
        scaler: what the series was scaled with; None: it came scaled.
        value_mean: of the training windows' values, in the target's units; 0 without regression.
        value_std: their population standard deviation, > 0; 1 without regression.
        target: direction, volatility, or what a user's loaders predict.
        lookback: bars in a window.
        horizon: bars ahead that a label looks.
        description: what data.json holds; strict JSON.
        warnings: what the user should know, one sentence each.
        feature_set: how the inputs are made of bars; None: they are the user's own.
    """

    train: Windows
    train_share: float
    validation: Windows
    folds: tuple[Fold, ...]
    test: LockedPeriod
    class_names: tuple[str, ...]
    value_name: str | None
    feature_names: tuple[str, ...]
    scaler: Scaler | None
    value_mean: float
    value_std: float
    target: str
    lookback: int
    horizon: int
    description: dict[str, Any]
    warnings: tuple[str, ...]
    feature_set: FeatureSet | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def has_regression(self) -> bool:
        """Whether ``values`` exist."""
        return self.value_name is not None

    @property
    def from_loaders(self) -> bool:
        """Whether the windows are those of DataLoaders: they share no rows, and their order means nothing."""
        return self.scaler is None

    @property
    def search_train(self) -> Windows:
        """The training windows that trials use, evenly spread."""
        return self.train.subset(evenly_spread(len(self.train), self.train_share))

    def with_train_share(self, share: float) -> "Dataset":
        """The same data, of which trials use another share."""
        return replace(self, train_share=share, description={**self.description, "train_share": share})

    def for_trials(self) -> TrialData:
        """What trials see: the search's share of each fold's training windows, and its validation; no row of the test period."""
        return TrialData(
            folds=tuple(_for_trials(fold, self.train_share) for fold in self.folds),
            n_classes=self.n_classes,
            has_regression=self.has_regression,
        )


def _for_trials(fold: Fold, share: float) -> Fold:
    """A share of the training windows, without the rows that nobody of the fold reads."""
    train, validation = fold.train.subset(evenly_spread(len(fold.train), share)), fold.validation
    if train.series is validation.series:
        train, validation = without_other_rows(train, validation)
    return replace(fold, train=train, validation=validation)


@dataclass(frozen=True, eq=False)
class _Table:
    """Rows and labelled windows of all symbols together, symbol after symbol.

    Attributes:
        features: (rows, features) unscaled.
        starts: (windows,) first row.
        dates: (windows,) datetime64[ns] of the decisions.
        reach: (windows,) datetime64[ns] of the last bar that the label looks at, or of the bar ``purge`` bars after.
        embargo: (windows,) datetime64[ns] of the bar ``embargo`` bars after that.
        furthest: (windows,) datetime64[ns] of the last bar that a label can look at, whatever the prices, or of the purge's.
        classes: (windows,) int64.
        values: (windows,) float64.
        symbols: (windows,) names.
        n_segments: segments of each symbol's bars.
    """

    features: NDArray[np.float64]
    starts: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    reach: NDArray[np.datetime64]
    embargo: NDArray[np.datetime64]
    furthest: NDArray[np.datetime64]
    classes: NDArray[np.int64]
    values: NDArray[np.float64]
    symbols: NDArray[np.str_]
    n_segments: dict[str, int]


def prepare_dataset(settings: DataSettings, loaded: tuple[list[Bars], list[str]] | None = None) -> Dataset:
    """Reads bars and makes windows, labels, splits and scaling of them.

    Args:
        settings: source, symbols, dates, target, lookback, horizon, split, purge.
        loaded: bars and warnings of ``load_bars(settings)``; None: they are read now.

    Raises:
        DataError: no source, no such symbol or range, faulty bars, or too few of them; the text says what to
            change.
    """
    source = open_source(settings)
    bars, source_warnings = loaded or load_bars(settings)
    question = labeller(settings)
    features = checked_feature_set(settings, bars)
    table = _window_table(bars, settings, question, features)
    cuts = cut_dates(table.dates, settings.split)
    split = assign(table.dates, table.reach, cuts, furthest=table.furthest)
    n_rows, lookback = len(table.features), settings.lookback
    scaler = Scaler.fit(table.features, _covered(n_rows, table.starts[split == TRAIN], lookback))
    windows = _windows(table, scaler.transform_to_float32(table.features), table.starts, lookback)
    train, validation, test = (windows.subset(np.flatnonzero(split == part)) for part in (TRAIN, VALIDATION, TEST))
    _require_classes(question.class_names, train, validation)
    value_scale = Scaler.fit(table.values[split == TRAIN, None])
    whole = Fold(train, validation, value_scale.mean[0], value_scale.std[0])
    indices = make_folds(WindowDates(table.dates, table.reach, table.embargo, table.furthest), cuts, settings)
    folds = tuple(_fold(table, each, whole, split, lookback) for each in indices)
    for number, fold in enumerate(folds, start=1):
        _require_classes(question.class_names, fold.train, fold.validation, f" of fold {number}")
    warnings = (*source_warnings, *data_warnings(bars, settings, train=train, cuts=cuts, folds=folds))
    return Dataset(
        train=train,
        train_share=1.0 if settings.train_share == "auto" else settings.train_share,
        validation=validation,
        folds=folds,
        test=LockedPeriod(test),
        class_names=question.class_names,
        value_name=question.value_name,
        feature_names=features.names,
        feature_set=features,
        scaler=scaler,
        value_mean=whole.value_mean,
        value_std=whole.value_std,
        target=settings.target,
        lookback=settings.lookback,
        horizon=settings.horizon,
        description=describe(
            bars,
            settings,
            source=source.name,
            survivorship=source.survivorship,
            best_accuracy=source.best_accuracy(settings.target, settings.horizon)
            if len(question.class_names) == 2
            else None,
            question=question,
            features=features.describe(table.features),
            n_segments=table.n_segments,
            cuts=cuts,
            splits={"train": train, "validation": validation, "test": test},
            folds=[(fold, each.blocks) for fold, each in zip(folds, indices, strict=True)],
            purged=table.symbols[split == PURGED],
            warnings=warnings,
        ),
        warnings=warnings,
    )


def _require_classes(names: tuple[str, ...], train: Windows, validation: Windows, where: str = "") -> None:
    """A class that is never seen can't be learnt, and where all windows are alike there is nothing to tell apart."""
    for part, windows in (("training", train), ("validation", validation)):
        counts = windows.class_counts(len(names))
        if max(counts) == len(windows):
            raise DataError(
                f"all {len(windows)} {part} windows{where} are of class {names[counts.index(len(windows))]!r}, so there is"
                " nothing to tell apart; give more or longer bars, or another target"
            )
        if part == "training" and min(counts) == 0:
            raise DataError(
                f"none of {len(windows)} {part} windows{where} is of class {names[counts.index(0)]!r}, which can't be learnt"
                " so; give more or longer bars, another horizon, dead zone or barriers, or another target"
            )


def _window_table(all_bars: list[Bars], settings: DataSettings, question: Labeller, features: FeatureSet) -> _Table:
    """Cuts the windows of each symbol and stacks them."""
    parts: list[_Table] = []
    offset = 0
    for bars in all_bars:
        part = _symbol_table(bars, settings, question, features, offset)
        offset += len(part.features)
        parts.append(part)
    if not sum(len(part.starts) for part in parts):
        have = ", ".join(f"{bars.symbol} {len(bars.frame)}" for bars in all_bars)
        raise DataError(
            f"too few bars for a single window: lookback {settings.lookback}, horizon {settings.horizon}"
            f" and target {settings.target} need"
            f" {bars_needed(settings)} bars of a symbol without"
            f" a hole of more than {settings.max_gap_days:g} days, but there are: {have}; give more bars or"
            " a shorter lookback"
            + (f" (features of your own may need more: {', '.join(features.own)})" if features.own else "")
        )
    return _Table(
        features=joined([part.features for part in parts]),
        starts=joined([part.starts for part in parts]),
        dates=joined([part.dates for part in parts]),
        reach=joined([part.reach for part in parts]),
        embargo=joined([part.embargo for part in parts]),
        furthest=joined([part.furthest for part in parts]),
        classes=joined([part.classes for part in parts]),
        values=joined([part.values for part in parts]),
        symbols=joined([part.symbols for part in parts]),
        n_segments={symbol: count for part in parts for symbol, count in part.n_segments.items()},
    )


def _symbol_table(bars: Bars, settings: DataSettings, question: Labeller, features: FeatureSet, offset: int) -> _Table:
    """The labelled windows of one symbol, whose rows begin at row ``offset`` of the series."""
    rows = feature_rows(bars.frame, settings.lookback, settings.max_gap_days, features, symbol=bars.symbol)
    labels = frame_labels(bars.frame, rows.segment, question)
    ends = rows.ends[labels.valid[rows.bars[rows.ends]]]
    decided = rows.bars[ends]
    purged = np.maximum(labels.reach, settings.purge or 0)
    dates = bars.index.as_unit("ns").to_numpy()
    reach = dates[reach_bars(rows.segment, purged)[decided]]
    alike = bool((purged[decided] == settings.purge_bars).all())  # but for barriers: nothing is held twice
    return _Table(
        features=rows.features,
        starts=offset + ends - settings.lookback + 1,
        dates=dates[decided],
        reach=reach,
        embargo=dates[reach_bars(rows.segment, purged + settings.embargo)[decided]] if settings.embargo else reach,
        furthest=reach if alike else dates[reach_bars(rows.segment, settings.purge_bars)[decided]],
        classes=labels.classes[decided],
        values=labels.values[decided],
        symbols=np.broadcast_to(np.array(bars.symbol), len(ends)),  # held once, however many windows
        n_segments={bars.symbol: int(rows.segment[-1]) + 1},
    )


def _fold(table: _Table, indices: FoldIndices, whole: Fold, split: NDArray[np.int8], lookback: int) -> Fold:
    """The windows of a fold, scaled by its own training rows, over a series of the rows that they read."""
    train, validation = indices.train, indices.validation
    if np.array_equal(train, np.flatnonzero(split == TRAIN)) and np.array_equal(
        validation, np.flatnonzero(split == VALIDATION)
    ):
        return whole  # the last of expanding folds, or the only one: nothing is held twice
    n_rows = len(table.features)
    scaler = Scaler.fit(table.features, _covered(n_rows, table.starts[train], lookback))
    read = _covered(n_rows, table.starts[np.concatenate([train, validation])], lookback)
    place = np.cumsum(read) - 1
    windows = _windows(table, scaler.transform_to_float32(table.features, read), place[table.starts], lookback)
    values = Scaler.fit(table.values[train, None])
    return Fold(windows.subset(train), windows.subset(validation), values.mean[0], values.std[0])


def _covered(n_rows: int, starts: NDArray[np.int64], lookback: int) -> NDArray[np.bool_]:
    """Rows that occur in any window that begins at ``starts`` (each once), (rows,)."""
    steps = np.zeros(n_rows + 1, dtype=np.int64)
    steps[starts] += 1
    steps[starts + lookback] -= 1
    return np.cumsum(steps[:-1]) > 0


def _windows(table: _Table, scaled: NDArray[np.float32], starts: NDArray[np.int64], lookback: int) -> Windows:
    """All windows of the table, which begin at ``starts`` of the ``scaled`` rows."""
    return Windows(
        series=torch.from_numpy(scaled),
        starts=torch.from_numpy(starts),
        lookback=lookback,
        labels=torch.from_numpy(table.classes),
        values=torch.from_numpy(table.values.astype(np.float32)),
        dates=table.dates,
        symbols=table.symbols,
    )
