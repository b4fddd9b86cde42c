"""Builder of a dataset from bars: features, labels, purged splits, scaled windows and a description."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.bounded_check import checked_feature_set
from cnn_lstm_hyperopt.data.describe import data_warnings, describe
from cnn_lstm_hyperopt.data.feature_groups import own_groups
from cnn_lstm_hyperopt.data.labels import Labeller, labeller
from cnn_lstm_hyperopt.data.locked_period import LockedPeriod
from cnn_lstm_hyperopt.data.market_history import MarketHistory
from cnn_lstm_hyperopt.data.own_features import FeatureSet
from cnn_lstm_hyperopt.data.periods import PeriodTable, period_table
from cnn_lstm_hyperopt.data.pooled import Pooled, pooled_bars
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.splits import (
    PURGED,
    SPLIT_NAMES,
    TRAIN,
    VALIDATION,
    FoldIndices,
    Integers,
    WindowDates,
    assign,
    cut_dates,
    evenly_spread,
    make_folds,
)
from cnn_lstm_hyperopt.data.trades import TRADED, half_spreads
from cnn_lstm_hyperopt.data.trial_data import TrialData, for_trials
from cnn_lstm_hyperopt.data.window_table import WindowTable, window_table
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import DataError

OWN_GROUPS = "own_groups"
"""Key in ``data.json`` with the channels of the groups of the user's inputs that a configuration may leave out, by group."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Dataset of a study: the windows of all splits and folds, and a description of the data.

    Attributes:
        train: all training windows, on which the final models are trained.
        train_share: share of the training windows on which trials are trained, in each fold.
        validation: validation windows.
        folds: folds on which trials are trained and scored. Without cross-validation there is one fold with the training and
            validation windows.
        test: the locked test windows.
        class_names: names of classes 0, 1, …
        value_name: formula of the regression target; None without regression.
        feature_names: names of the inputs.
        scaler: scaler of the inputs; None: inputs from DataLoaders, which are raw, or from arrays.
        value_mean: mean of the training values in the target's units; 0 without regression.
        value_std: population deviation of the training values, > 0; 1 without regression.
        target: ``data.target``, or the label of a user's loaders.
        lookback: number of bars in a window.
        horizon: number of bars from the decision to the end of a label.
        description: content of data.json; strict JSON.
        warnings: warnings about the data, one sentence each.
        feature_set: object that computes the inputs from bars; None: the inputs come from DataLoaders.
        market: facts about the bars that baselines use, with a row for each row of the windows' series; None: the windows
            come from DataLoaders.
        half_spreads: half of the bid-ask spread of each symbol, in basis points. Empty if the target is not direction.
        periods: unscaled windows for a walk-forward test; None if the test set is one period.
        pooled: training and validation windows as one training set for the final refit; None without a refit.
        own_groups: channels of the groups of the user's inputs that a configuration may leave out; empty: all are always used.
        raw: whether the windows are unscaled, so that networks standardise them.
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
    market: MarketHistory | None = None
    half_spreads: Mapping[str, float] = field(default_factory=dict)
    periods: PeriodTable | None = None
    pooled: Pooled | None = None
    own_groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    raw: bool = False

    @property
    def n_classes(self) -> int:
        """Number of classes of the labels."""
        return len(self.class_names)

    @property
    def has_regression(self) -> bool:
        """True if windows have a regression target."""
        return self.value_name is not None

    @property
    def from_loaders(self) -> bool:
        """True if the windows come from DataLoaders. Such windows do not overlap in the series."""
        return self.scaler is None

    @property
    def search_train(self) -> Windows:
        """Training windows on which trials are trained: evenly spread over all training windows."""
        return self.train.subset(evenly_spread(len(self.train), self.train_share))

    def with_train_share(self, share: float) -> "Dataset":
        """Return a copy of the dataset with another share of training windows for trials."""
        return replace(self, train_share=share, description={**self.description, "train_share": share})

    def with_own_groups(self) -> "Dataset":
        """Return a copy in which configurations may leave out groups of the user's inputs; without bars, each input is one."""
        names = self.feature_names if len(self.feature_names) > 1 else ()
        groups = own_groups(names, None, 0, len(names)) if self.feature_set is None else self.feature_set.own_groups
        return replace(
            self,
            own_groups=groups,
            description={**self.description, OWN_GROUPS: {name: list(places) for name, places in groups.items()}},
        )

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Channels of the groups of features that a configuration may leave out."""
        built_in = {} if self.feature_set is None else self.feature_set.group_columns
        return {**built_in, **self.own_groups}

    @property
    def fold_windows(self) -> int:
        """Number of training and validation windows of the first fold, which decides whether data are small."""
        return len(self.folds[0].train) + len(self.folds[0].validation)

    @property
    def n_periods(self) -> int:
        """Number of periods into which the test set is divided."""
        return 1 if self.periods is None else len(self.periods.periods)

    def period(self, number: int, *, scaled_as: int | None = None, with_purged: bool = False) -> "Dataset":
        """Return the dataset of a period of the test set, with the training and validation windows before this period.

        The scaler, and the mean and the standard deviation of the values, are those of the period's training windows.

        Args:
            number: number of the period, from 1. Without periods, the dataset itself is returned.
            scaled_as: number of an earlier period whose scaler is used; None: the period's own scaler is used.
            with_purged: True if the windows that were purged before the period are to be added before its test windows. The
                labels of the purged windows become known in the period.
        """
        if self.periods is None:
            return self
        fitted = number if scaled_as is None else scaled_as
        scaler, values = self.periods.scaler(fitted), self.periods.value_scaler(fitted)
        train, validation, test = self.periods.windows(number, scaler, with_purged=with_purged)
        return replace(
            self,
            train=train,
            validation=validation,
            test=LockedPeriod(test, f"the test windows of period {number}"),
            folds=(Fold(train, validation, values.mean[0], values.std[0]),),
            scaler=scaler,
            value_mean=values.mean[0],
            value_std=values.std[0],
            periods=None,
        )

    def positions(self, number: int) -> Integers:
        """Return the positions of a period's windows among the test windows. Periods are counted from 1."""
        return np.arange(len(self.test)) if self.periods is None else self.periods.positions(number)

    def for_trials(self) -> TrialData:
        """Return the data of trials: for each fold, a share of the training windows and all validation windows."""
        return TrialData(
            folds=tuple(for_trials(fold, self.train_share) for fold in self.folds),
            n_classes=self.n_classes,
            has_regression=self.has_regression,
            columns=self.columns,
            raw=self.raw,
        )


_USUAL = EvaluationSettings()


def prepare_dataset(
    settings: DataSettings,
    loaded: tuple[list[Bars], list[str]] | None = None,
    *,
    evaluation: EvaluationSettings = _USUAL,
    pooled: bool = False,
    groups: Sequence[str] = (),
) -> Dataset:
    """Return the dataset that the settings describe: read bars, compute labels and splits, and cut scaled windows.

    Args:
        settings: section ``data`` of the settings.
        loaded: result of ``load_bars(settings)``; None: this function calls ``load_bars``.
        evaluation: section ``evaluation`` of the settings, for trades, test periods and own baselines.
        pooled: True to add the training and validation windows as one training set, for the final refit.
        groups: groups of features to compute beside the eleven features of all windows, see :data:`.FEATURE_GROUPS`.

    Raises:
        InputError: a symbol or a date range has no bars, bars are invalid or too few, or a traded symbol has no half-spread.
    """
    bars, source_warnings = loaded or load_bars(settings)
    labelling, features = labeller(settings), checked_feature_set(settings, bars, groups)
    table, cuts, split = _split_table(bars, settings, labelling, features, evaluation)
    scaler, whole, splits = _scaled(table, split, settings.lookback)
    indices, folds = _folds(table, cuts, settings, whole, split, labelling.class_names)
    warnings = (*source_warnings, *data_warnings(bars, settings, splits=splits, cuts=cuts, folds=folds))
    return Dataset(
        train=whole.train,
        train_share=1.0 if settings.train_share == "auto" else settings.train_share,
        validation=whole.validation,
        folds=folds,
        test=LockedPeriod(splits["test"]),
        class_names=labelling.class_names,
        value_name=labelling.value_name,
        feature_names=features.names,
        feature_set=features,
        market=table.market,
        scaler=scaler,
        value_mean=whole.value_mean,
        value_std=whole.value_std,
        target=settings.target,
        lookback=settings.lookback,
        horizon=settings.horizon,
        periods=period_table(table, cuts, settings.lookback, evaluation.test_periods),
        pooled=pooled_bars(table, split, settings.lookback) if pooled else None,
        description=describe(
            bars,
            settings,
            labeller=labelling,
            features=features.describe(table.features),
            n_segments=table.n_segments,
            cuts=cuts,
            splits=splits,
            folds=[(fold, each.blocks) for fold, each in zip(folds, indices, strict=True)],
            purged=table.symbols[split == PURGED],
            warnings=warnings,
        ),
        warnings=warnings,
        half_spreads={} if settings.target != TRADED else _half_spreads(bars, evaluation, cuts),
    )


def _half_spreads(bars: Sequence[Bars], evaluation: EvaluationSettings, cuts: tuple[Any, Any]) -> dict[str, float]:
    """Return half of the bid-ask spread of each symbol in basis points, known before the test period."""
    return half_spreads(bars, evaluation.half_spread_bps, before=cuts[1])


def _split_table(
    bars: Sequence[Bars],
    settings: DataSettings,
    labelling: Labeller,
    features: FeatureSet,
    evaluation: EvaluationSettings,
) -> tuple[WindowTable, tuple[Any, Any], NDArray[np.int8]]:
    """Return the windows, the first dates of the validation and the test split, and the split of each window.

    Trades that are decided before the test period and end in the test period are left out.
    """
    with_prices = bool(evaluation.baselines)
    table = window_table(bars, settings, labelling, features, evaluation.execution, with_prices=with_prices)
    cuts = cut_dates(table.dates, settings.split)
    split = assign(table.dates, table.reach, cuts, furthest=table.furthest)
    return table.without_trades_into(cuts[1]), cuts, split


def _scaled(table: WindowTable, split: NDArray[np.int8], lookback: int) -> tuple[Scaler, Fold, dict[str, Windows]]:
    """Return the scaler of the rows in training windows, the fold of the split, and the scaled windows of each split by name."""
    scaler = Scaler.fit(table.features, table.covered(table.starts[split == TRAIN], lookback))
    windows = table.windows(scaler.transform_to_float32(table.features), table.starts, lookback)
    splits = {name: windows.subset(np.flatnonzero(split == part)) for part, name in enumerate(SPLIT_NAMES)}
    return scaler, _with_value_scale(splits["train"], splits["validation"], table.values[split == TRAIN]), splits


def _require_classes(names: tuple[str, ...], fold: Fold, where: str = "") -> None:
    """Raise DataError if all windows have the same class, or if a class has no training window."""
    for part, windows in (("training", fold.train), ("validation", fold.validation)):
        counts = windows.class_counts(len(names))
        if max(counts) == len(windows):
            text = (
                f"all {len(windows)} {part} windows{where} are of class {names[counts.index(len(windows))]!r}, but a"
                " model needs at least two classes; give more or longer bars, or another target"
            )
            raise DataError(text, field="data.target", code="one-class")
        if part == "training" and min(counts) == 0:
            text = (
                f"none of {len(windows)} {part} windows{where} is of class {names[counts.index(0)]!r}, so no model"
                " can learn it; give more or longer bars, another horizon, dead zone or barriers, or another target"
            )
            raise DataError(text, field="data.target", code="class-not-in-training")


def _folds(
    table: WindowTable,
    cuts: tuple[Any, Any],
    settings: DataSettings,
    whole: Fold,
    split: NDArray[np.int8],
    class_names: tuple[str, ...],
) -> tuple[tuple[FoldIndices, ...], tuple[Fold, ...]]:
    """Return the positions of the folds' windows, and the folds.

    Raise DataError if a class is missing in the split or in a fold.
    """
    _require_classes(class_names, whole)
    indices = make_folds(WindowDates(table.dates, table.reach, table.embargo, table.furthest), cuts, settings)
    folds = tuple(_fold(table, each, whole, split, whole.train.lookback) for each in indices)
    for number, fold in enumerate(folds, start=1):
        _require_classes(class_names, fold, f" of fold {number}")
    return indices, folds


def _fold(table: WindowTable, indices: FoldIndices, whole: Fold, split: NDArray[np.int8], lookback: int) -> Fold:
    """Return a fold that is scaled by its own training rows.

    The series of the fold has only the rows that the fold's windows use.
    """
    train, validation = indices.train, indices.validation
    if np.array_equal(train, np.flatnonzero(split == TRAIN)) and np.array_equal(
        validation, np.flatnonzero(split == VALIDATION)
    ):
        return whole  # the last expanding fold, or the only fold
    scaler = Scaler.fit(table.features, table.covered(table.starts[train], lookback))
    read = table.covered(table.starts[np.concatenate([train, validation])], lookback)
    place = np.cumsum(read) - 1
    windows = table.windows(scaler.transform_to_float32(table.features, read), place[table.starts], lookback)
    return _with_value_scale(windows.subset(train), windows.subset(validation), table.values[train])


def _with_value_scale(train: Windows, validation: Windows, values: NDArray[np.float64]) -> Fold:
    """Return a copy of the fold with the mean and the standard deviation of the training ``values`` (windows,)."""
    scaler = Scaler.fit(values[:, None])
    return Fold(train, validation, scaler.mean[0], scaler.std[0])
