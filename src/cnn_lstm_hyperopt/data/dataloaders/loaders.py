"""Build a dataset from a user's DataLoaders: read each loader once, check its windows, compare the loaders."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cnn_lstm_hyperopt.data.dataloaders.batches import (
    Drained,
    attribute_of,
    canonical_order,
    drain,
    is_shuffled,
    loader_error,
    promised_windows,
    shape_text,
)
from cnn_lstm_hyperopt.data.dataloaders.dates_and_groups import Marks, read_marks, shared_groups, single_group
from cnn_lstm_hyperopt.data.dataloaders.folds import FoldCount, make_loader_folds, mark_text
from cnn_lstm_hyperopt.data.dataloaders.repeated_windows import check_repeated
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.describe import class_balance
from cnn_lstm_hyperopt.data.locked_period import LockedPeriod
from cnn_lstm_hyperopt.data.pooled import value_scale
from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.trial_data import RAW_WINDOWS
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import one_line, shown

log = logging.getLogger(__name__)

SYMBOL = "loader"
_SHOWN_CLASSES = 10
_PROBED_ITEMS = 4


def dataset_from_loaders(
    loaders: Sequence[Iterable[Any]],
    input_dim: int | None,
    *,
    dates: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    train_share: float = 1.0,
    horizon: int = 1,
    cv_folds: FoldCount = 1,
    seed: int = 0,
) -> Dataset:
    """Return the dataset of three loaders: training, validation and test.

    Args:
        loaders: each yields ``(x, y_class)`` or ``(x, y_class, y_reg)``: ``x`` float ``(batch, time, features)``, ``y_class``
            integer ``(batch,)`` from 0, ``y_reg`` float ``(batch,)`` or ``(batch, 1)``.
        input_dim: expected number of features; None: no check.
        dates, groups: dates and groups of the windows in the order of each loader; None: the windows are independent.
        train_share: share of the training windows on which trials are trained.
        horizon: number of later windows on which a label depends. Labels of ``horizon`` consecutive windows overlap.
        cv_folds: number of folds; see :func:`make_loader_folds`.
        seed: seed of the study; decides which windows a fold holds out.

    Raises:
        DataError: a loader violates a rule. The text names the loader, the rule and the fix.
    """
    _require_three(loaders)
    drained, marks = _read(loaders, dates, groups)
    _check_alike(drained, input_dim)
    repeated = check_repeated([x for x, _, _ in drained])
    n_classes = max(int(labels.max()) + 1 for _, labels, _ in drained)
    _check_classes(drained[0][1], n_classes)  # before the names: a label may be huge
    value_name = None if drained[0][2] is None else "y_reg"
    class_names = tuple(f"class {number}" for number in range(n_classes))
    train, validation, test = (loader_windows(*parts, each) for parts, each in zip(drained, marks, strict=True))
    cross = make_loader_folds(train, validation, cv_folds, horizon=horizon, seed=seed)
    warnings = (
        *_warnings(loaders, drained),
        *repeated,
        *shared_groups(marks),
        *cross.warnings,
        *single_group([fold.validation for fold in cross.folds]),
    )
    facts = WindowFacts(class_names, "DataLoaders", value_name, train_share, horizon, cross.facts, warnings, raw=True)
    description = describe_windows({"train": train, "validation": validation, "test": test}, facts)
    names = tuple(f"feature_{i}" for i in range(train.input_dim))
    whole = Fold(train, validation, *value_scale(train.values))
    return dataset_of_windows(whole, cross.folds, test, names, facts, description)


def dataset_of_windows(
    whole: Fold,
    folds: tuple[Fold, ...],
    test: Windows,
    feature_names: tuple[str, ...],
    facts: "WindowFacts",
    description: dict[str, Any],
) -> Dataset:
    """Return the dataset of windows: all training and validation windows, folds and test."""
    return Dataset(
        train=whole.train,
        train_share=facts.train_share,
        validation=whole.validation,
        folds=folds,
        test=LockedPeriod(test),
        class_names=tuple(facts.class_names),
        value_name=facts.value_name,
        feature_names=feature_names,
        scaler=None,
        value_mean=whole.value_mean,
        value_std=whole.value_std,
        target="y_class",
        lookback=whole.train.lookback,
        horizon=facts.horizon,
        description=description,
        warnings=facts.warnings,
        raw=facts.raw,
    )


def _read(loaders: Sequence[Iterable[Any]], dates: Any, groups: Any) -> tuple[list[Drained], list[Marks]]:
    """Return the windows of each loader, and the dates and groups of these windows in the same order."""
    unordered = read_marks(dates, groups)
    ordered = [drain(name, loader) for name, loader in zip(SPLIT_NAMES, loaders, strict=True)]
    marks = [
        each.in_order(name, order.numpy(), shuffled=is_shuffled(name, loader))
        for name, loader, each, (_, order) in zip(SPLIT_NAMES, loaders, unordered, ordered, strict=True)
    ]
    return [drained for drained, _ in ordered], marks


def _require_three(loaders: Sequence[Iterable[Any]]) -> None:
    rule = "data_loaders must be (train, validation, test), but"
    if not isinstance(loaders, Sequence) or isinstance(loaders, str):
        raise DataError(f"{rule} are {shape_text(loaders)}", field="data_loaders", code="not-three-loaders")
    if len(loaders) != 3:
        raise DataError(f"{rule} there are {len(loaders)}", field="data_loaders", code="not-three-loaders")
    for second in range(3):
        for first in range(second):
            if loaders[first] is loaders[second] and hasattr(type(loaders[first]), "__len__"):
                text = (
                    f"data_loaders must be three different loaders, but {SPLIT_NAMES[first]} and {SPLIT_NAMES[second]} are the"
                    " same one; split the windows, so that each is in one loader only"
                )
                raise DataError(text, field=f"data_loaders.{SPLIT_NAMES[second]}", code="same-loader")


def _check_alike(drained: Sequence[Drained], input_dim: int | None) -> None:
    shapes = [tuple(x.shape[1:]) for x, _, _ in drained]
    if len(set(shapes)) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in zip(SPLIT_NAMES, shapes, strict=True))
        text = f"all three loaders must yield windows of one shape (time, features), but there are {found}"
        raise DataError(text, field="data_loaders", code="shapes-differ")
    time, features = shapes[0]
    is_number = isinstance(input_dim, (int, float, np.integer, np.floating)) and not isinstance(input_dim, bool)
    if input_dim is not None and not (is_number and features == input_dim):
        text = f"input_dim must be the loaders' number of features, {features}, but got {shown(input_dim)}"
        raise DataError(text, field="input_dim", code="another-input-dim")
    if features < 1:
        raise DataError("windows must have at least 1 feature, but have 0", field="data_loaders", code="no-features")
    if time < 2:
        text = f"windows must have at least 2 time steps, but have {time}"
        raise DataError(text, field="data_loaders", code="too-few-steps")
    if len({value is None for _, _, value in drained}) > 1:
        text = "y_reg must come from all three loaders or from none"
        raise DataError(text, field="data_loaders", code="values-in-some")


def _check_classes(labels: Tensor, n_classes: int) -> None:
    present = set(labels.unique().tolist())
    missing = list(islice((number for number in range(n_classes) if number not in present), _SHOWN_CLASSES))
    if len(present) < 2:
        text = f"the train loader has {len(present)} class; at least 2 are needed to learn anything"
        raise loader_error("train", text, code="one-class", part="y_class")
    if missing:
        absent = _shown_classes(missing, n_classes - len(present))
        text = (
            f"the train loader lacks the classes {absent} of 0..{n_classes - 1}; a model can't learn a class that it"
            " never sees; split again (stratified) or number the classes without gaps"
        )
        raise loader_error("train", text, code="class-not-in-training", part="y_class")


def _shown_classes(first: list[int], count: int) -> str:
    return f"{first}" if count == len(first) else f"{str(first)[:-1]}, …] ({count:,})"


def loader_windows(x: Tensor, labels: Tensor, values: Tensor | None, marks: Marks) -> Windows:
    """Return windows of arrays ``(windows, time, features)``, ``(windows,)`` and ``(windows,)``, with dates and groups."""
    n, time, features = x.shape
    return Windows(
        series=x.reshape(n * time, features).contiguous(),
        starts=torch.arange(n) * time,
        lookback=time,
        labels=labels,
        values=values,
        dates=np.arange(n) if marks.dates is None else marks.dates,
        symbols=np.full(n, SYMBOL),
        dated=marks.dates is not None,
        groups=marks.groups,
    )


def _warnings(loaders: Sequence[Iterable[Any]], drained: Sequence[Drained]) -> list[str]:
    found: list[str] = []
    for name, loader, (x, _, _) in zip(SPLIT_NAMES, loaders, drained, strict=True):
        where = f"the {name} loader"
        batches = attribute_of(name, loader, "batch_sampler")
        if attribute_of(name, loader, "drop_last") or attribute_of(name, batches, "drop_last"):
            found.append(f"{where} drops its last batch, so some windows are never used; set drop_last=False")
        promised = promised_windows(name, loader)
        if promised is not None and len(x) < promised:
            found.append(
                f"{where} yields {len(x):,} windows of the {promised:,} that its sampler chooses; its collate_fn drops the"
                " others"
            )
        if isinstance(loader, DataLoader) and _is_random(loader.dataset):
            found.append(
                f"the {name} dataset gives a different window for the same index each time (a random transform?); each window"
                " is drawn once and kept for all trials"
            )
    return found


def _is_random(dataset: Any) -> bool:
    """Return True if the first items of a dataset differ when they are read twice.

    Return False if they are equal, or if they can't be read or compared.
    """
    try:
        return any(not _equal(dataset[index], dataset[index]) for index in range(min(_PROBED_ITEMS, len(dataset))))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - items of a user may raise anything
        log.debug("a dataset's items can't be compared: %s", one_line(error))
        return False


def _equal(first: Any, second: Any) -> bool:
    """Return True if two items are equal. Tensors, arrays, mappings and sequences are compared by their entries."""
    match first:
        case Tensor():
            return bool(torch.equal(first, second))
        case np.ndarray():
            return bool(np.array_equal(first, second))
        case Mapping():
            return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
        case list() | tuple():
            return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


@dataclass(frozen=True)
class WindowFacts:
    """Facts about the windows of loaders or arrays for ``data.json``.

    Attributes:
        class_names: names of the classes.
        source: where the windows come from.
        value_name: name of the regression target; None without regression.
        train_share: share of the training windows for trials.
        horizon: number of later windows on which a label depends.
        folds: entries about the folds; empty without cross-validation.
        warnings: warnings about the windows.
        raw: whether the windows are unscaled, so that networks standardise them.
    """

    class_names: Sequence[str]
    source: str
    value_name: str | None
    train_share: float
    horizon: int
    folds: dict[str, Any]
    warnings: tuple[str, ...]
    raw: bool


def describe_windows(parts: Mapping[str, Windows], facts: WindowFacts) -> dict[str, Any]:
    """Return the content of ``data.json`` for windows of loaders or arrays. ``parts`` has the windows by split."""
    digest = hashlib.sha256()
    for windows in parts.values():
        order = canonical_order(windows.series.reshape(len(windows), -1), windows.labels, windows.values)
        digest.update(f"{len(windows)} {windows.lookback} {windows.input_dim}".encode())
        digest.update(windows.series.reshape(len(windows), -1)[order].numpy().tobytes())
        digest.update(windows.labels[order].numpy().tobytes())
        if windows.values is not None:
            digest.update(windows.values[order].numpy().tobytes())
        for mark in (windows.dates if windows.dated else None, windows.groups):
            if mark is not None:
                digest.update(f"{mark.dtype}".encode())
                digest.update(np.ascontiguousarray(mark[order.numpy()]).tobytes())
    train = parts["train"]
    return {
        "source": facts.source,
        "target": "y_class",
        "lookback": train.lookback,
        "horizon": facts.horizon,
        "train_share": facts.train_share,
        "features": train.input_dim,
        RAW_WINDOWS: facts.raw,
        "class_names": list(facts.class_names),
        "value_name": facts.value_name,
        "splits": {
            name: {"windows": len(windows), **class_balance(windows, len(facts.class_names)), **_marks_facts(windows)}
            for name, windows in parts.items()
        },
        **facts.folds,
        "warnings": list(facts.warnings),
        "sha256": digest.hexdigest(),
    }


def _marks_facts(windows: Windows) -> dict[str, Any]:
    """Return an entry of ``data.json`` about the dates and groups of windows.

    The entry has the first and the last date if windows have dates, and the number of groups if windows have groups.
    """
    facts: dict[str, Any] = {}
    if windows.dated:
        ends = windows.dates.min(), windows.dates.max()
        facts |= dict(zip(("first", "last"), map(mark_text, ends), strict=True))
    if windows.groups is not None:
        facts["groups"] = len(np.unique(windows.groups))
    return facts
