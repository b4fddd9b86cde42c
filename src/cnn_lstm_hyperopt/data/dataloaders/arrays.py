"""Build a dataset without a test set from arrays of windows in memory."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.batches import canonical_order
from cnn_lstm_hyperopt.data.dataloaders.dates_and_groups import Marks, read_marks, single_group
from cnn_lstm_hyperopt.data.dataloaders.folds import make_loader_folds
from cnn_lstm_hyperopt.data.dataloaders.holdout import hold_out
from cnn_lstm_hyperopt.data.dataloaders.loaders import WindowFacts, dataset_of_windows, describe_windows, loader_windows
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.pooled import value_scale
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import ArrayError, DataError

SOURCE = "arrays"
"""Source of the windows in ``data.json``."""


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Dataset of arrays, with the scalers of its windows.

    Attributes:
        dataset: dataset with an empty test set. Its windows are already scaled.
        scaler: scaler of the dataset's training and validation windows, fitted on its training windows.
        fold_scalers: scaler of each fold, fitted on the training windows of the fold.
    """

    dataset: Dataset
    scaler: Scaler
    fold_scalers: tuple[Scaler, ...]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays of windows, with names.

    Attributes:
        x: ``(windows, time, features)`` float32, finite.
        labels: ``(windows,)`` int64 classes 0, 1, … without gaps.
        values: ``(windows,)`` float32 regression targets; None: classification only.
        class_names: names of the classes.
        feature_names: names of the features.
        dates, groups: ``(windows,)`` dates and groups, or None.
    """

    x: NDArray[np.float32]
    labels: NDArray[np.int64]
    values: NDArray[np.float32] | None
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    dates: Any = None
    groups: Any = None


def dataset_from_arrays(arrays: Arrays, *, validation_share: float, settings: DataSettings, seed: int) -> ArrayData:
    """Return the dataset of arrays of windows. The windows are split into training and validation by :func:`.hold_out`.

    Windows of equal inputs count as one group if there are neither dates nor groups. So no training window is a copy of a
    validation window. The order of the windows in the arrays has no effect.

    Args:
        arrays: the windows.
        validation_share: share of validation windows.
        settings: section ``data`` of the settings.
        seed: seed of the study.

    Raises:
        DataError: dates or groups are invalid, or the windows can't be split.
    """
    horizon, value_name = settings.horizon, None if arrays.values is None else "y"
    train, validation = _split(arrays, validation_share, horizon, seed)
    cross = make_loader_folds(train, validation, settings.cv_folds, horizon=horizon, seed=seed)
    warnings = (*cross.warnings, *single_group([fold.validation for fold in cross.folds]))
    train_share = 1.0 if settings.train_share == "auto" else settings.train_share
    facts = WindowFacts(arrays.class_names, SOURCE, value_name, train_share, horizon, cross.facts, warnings, raw=False)
    description = describe_windows({"train": train, "validation": validation}, facts)
    scaler, whole = _scaled(Fold(train, validation, *value_scale(train.values)))
    folds = [(scaler, whole)] if len(cross.folds) == 1 else [_scaled(fold) for fold in cross.folds]
    no_test = whole.validation.subset(np.empty(0, np.int64))
    dataset = dataset_of_windows(
        whole, tuple(fold for _, fold in folds), no_test, arrays.feature_names, facts, description
    )
    return ArrayData(dataset, scaler, tuple(each for each, _ in folds))


def _split(arrays: Arrays, share: float, horizon: int, seed: int) -> tuple[Windows, Windows]:
    """Return the training and the validation windows, not scaled, each in a fixed order."""
    x, labels = torch.from_numpy(np.ascontiguousarray(arrays.x)), torch.from_numpy(arrays.labels)
    values = None if arrays.values is None else torch.from_numpy(arrays.values)
    order = canonical_order(x, labels, values)
    marks = _marks(arrays.dates, arrays.groups, len(x)).in_order("train", order.numpy(), shuffled=False)
    x, labels, values = x[order], labels[order], None if values is None else values[order]
    if marks.dates is None and marks.groups is None:
        marks = Marks(None, _copies(x.numpy()))
    split = hold_out(labels.numpy(), marks, arrays.class_names, share=share, horizon=horizon, seed=seed)

    def part(index: NDArray[np.int64]) -> Windows:
        chosen = torch.from_numpy(index)
        own = Marks(*(None if each is None else each[index] for each in (marks.dates, marks.groups)))
        return loader_windows(x[chosen], labels[chosen], None if values is None else values[chosen], own)

    return part(split.train), part(split.validation)


def _marks(dates: Any, groups: Any, n_windows: int) -> Marks:
    """Return the dates and groups of all windows. Their errors name the arguments ``dates`` and ``groups``."""
    try:
        marks = read_marks(*(None if each is None else (each, None, None) for each in (dates, groups)))[0]
        return marks.in_order("train", np.arange(n_windows), shuffled=False)
    except DataError as error:
        field = error.field.partition(".")[0]
        text = str(error).replace(" of the train loader", "")
        raise ArrayError(text, field=field, code=error.code) from error


def _copies(x: NDArray[np.float32]) -> NDArray[np.int64] | None:
    """Return a number for each window, equal for windows of equal inputs; None if all windows differ."""
    known: dict[bytes, int] = {}
    rows = x.reshape(len(x), -1) + np.float32(0)  # −0 becomes 0
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
    numbers = np.array([known.setdefault(digest, len(known)) for digest in digests], dtype=np.int64)
    return None if len(known) == len(x) else numbers


def _scaled(fold: Fold) -> tuple[Scaler, Fold]:
    """Return the scaler of a fold's training windows, and a copy of the fold that is scaled by this scaler."""
    scaler = Scaler.fit(_rows(fold.train), unit=0)

    def apply(windows: Windows) -> Windows:
        rows = scaler.transform_to_float32(_rows(windows))
        starts = torch.arange(len(windows)) * windows.lookback
        return replace(windows, series=torch.from_numpy(rows), starts=starts)

    return scaler, replace(fold, train=apply(fold.train), validation=apply(fold.validation))


def _rows(windows: Windows) -> NDArray[np.float64]:
    """Return the rows of all windows, ``(windows × time, features)``."""
    rows: NDArray[np.float64] = (
        windows.gather(torch.arange(len(windows))).reshape(-1, windows.input_dim).double().numpy()
    )
    return rows
