"""Cross-validation of a user's DataLoaders: folds over the windows of the training and the validation loader together.

Windows with dates walk forward as bars do; without dates they are independent, so each fold holds out a part with all classes in
equal shares, and windows of one group stay together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from cnn_lstm_hyperopt.data.dataloaders.repeated_windows import count_copies
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import EmptyBlockError, FoldIndices, WindowDates, walk_forward
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.rng import stream_seed
from cnn_lstm_hyperopt.utils.text import counted

AUTO_FOLDS = 5
"""Folds of ``auto``: each trains on four fifths of the windows."""
ENOUGH_VALIDATION = 500
"""Validation windows with which ``auto`` does without folds: the standard error of an accuracy is 2 points at most."""

Asked = int | Literal["auto"]


@dataclass(frozen=True, eq=False)
class LoaderFolds:
    """What trials on DataLoaders are trained on and judged by.

    Attributes:
        folds: at least one.
        facts: for ``data.json``: ``cv_scheme`` and ``folds``; empty without cross-validation.
        warnings: a sentence when ``auto`` could not have its number of folds, and one when a fold is judged by windows that
            copy those it trains on, or overlap them.
    """

    folds: tuple[Fold, ...]
    facts: dict[str, Any]
    warnings: tuple[str, ...] = ()


def make_loader_folds(train: Windows, validation: Windows, asked: Asked, *, horizon: int, seed: int) -> LoaderFolds:
    """Return the folds of a user's DataLoaders.

    Args:
        train: all windows of the training loader.
        validation: all windows of the validation loader.
        asked: number of folds; 1: training and validation as the loaders have them. ``auto``: :data:`AUTO_FOLDS` below
            :data:`ENOUGH_VALIDATION` validation windows, or as many as the windows allow, else 1. It is 1, too, where one of
            the two loaders alone has dates or groups, and where windows overlap and nothing says which.
        horizon: windows ahead that a label looks; between dated windows, so many dates are left out before a block.
        seed: the study's; decides which windows are held out together.

    Raises:
        DataError: the windows do not allow so many folds; the text says how many they allow, and why. Or one loader alone
            has dates or groups, which the folds would ignore.
    """
    plain = LoaderFolds((_fold(train, validation),), {})
    wanted = asked if asked != "auto" else AUTO_FOLDS if len(validation) < ENOUGH_VALIDATION else 1
    if wanted == 1:
        return plain
    half = _given_for_one(train, validation)
    overlapping = None if half else _overlapping(train, horizon)
    if asked == "auto" and (half or overlapping):
        return LoaderFolds(plain.folds, {}, (f"data.cv_folds: no cross-validation, because {half or overlapping}",))
    if half:
        raise DataError(f"data.cv_folds={asked}: {half}, or take data.cv_folds: 1")
    windows = _pooled(train, validation)
    scheme, split = _scheme(windows, len(train), horizon, seed)
    n_classes, why = int(windows.labels.max()) + 1, ""
    overlaps = [] if overlapping is None else [f"data.cv_folds={asked}: {overlapping}, or take data.cv_folds: 1"]
    for count in range(wanted, 1, -1):
        indices = split(count)
        fault = indices if isinstance(indices, str) else _fault(indices, windows, n_classes)
        if fault is None and not isinstance(indices, str):
            if count < wanted and asked != "auto":
                raise DataError(f"data.cv_folds={asked} are too many: {why}; take at most {count}")
            folds = tuple(_fold(windows.subset(each.train), windows.subset(each.validation)) for each in indices)
            fewer = [] if count == wanted else [f"data.cv_folds: {count} folds instead of {wanted}, because {why}"]
            return LoaderFolds(
                folds, _facts(scheme, folds, indices), (*fewer, *overlaps, *_copies_apart(folds, windows))
            )
        why = why or str(fault)
    if asked != "auto":
        raise DataError(f"data.cv_folds={asked} are too many: {why}; take data.cv_folds: 1")
    return LoaderFolds(plain.folds, {}, (f"data.cv_folds: no cross-validation, because {why}",))


def _given_for_one(train: Windows, validation: Windows) -> str | None:
    """What folds of both loaders would ignore, because one loader alone has it; None: nothing."""
    for name, of_train, of_validation in (
        ("dates", train.dated, validation.dated),
        ("groups", train.groups is not None, validation.groups is not None),
    ):
        if of_train != of_validation:
            has, lacks = ("train", "validation") if of_train else ("validation", "train")
            return (
                f"the {has} loader has {name} and the {lacks} loader has none, so folds of the windows of both would ignore"
                f" them; give {name} for both"
            )
    return None


def _overlapping(train: Windows, horizon: int) -> str | None:
    """Why random folds would train on windows that overlap those they are judged by; None: they would not."""
    if horizon == 1 or train.dated or train.groups is not None:
        return None
    return (
        f"labels look {horizon:,} windows ahead (data.horizon), and without dates or groups a fold would train on windows that"
        " overlap those it is judged by; give dates or groups"
    )


def _copies_apart(folds: Sequence[Fold], windows: Windows) -> list[str]:
    """A warning where windows without dates are held out although the fold trains on copies of them, such as oversampled ones."""
    if windows.dated:
        return []
    every = [(_numbers(fold.validation), _numbers(fold.train)) for fold in folds]
    copies = sum(count_copies(held_out, trained_on) for held_out, trained_on in every)
    if not copies:
        return []
    return [
        f"data.cv_folds: {copies:,} of {len(windows):,} windows are held out by a fold that trains on copies of them, so they"
        " show what was learnt by heart; give the same entry of groups to all copies of a window, or leave the copies out"
    ]


def _numbers(windows: Windows) -> torch.Tensor:
    """``(windows, time, features)``."""
    return windows.gather(torch.arange(len(windows)))


Split = Callable[[int], Sequence[FoldIndices] | str]
"""The folds for a number of folds, or why there can't be so many."""


def _scheme(windows: Windows, n_train: int, horizon: int, seed: int) -> tuple[str, Split]:
    """Name of the scheme and the function that splits by it."""
    if windows.dated:
        apart = windows.groups is not None and not np.isin(windows.groups[n_train:], windows.groups[:n_train]).any()
        return "expanding", lambda count: _by_date(windows, n_train, count, horizon, groups_apart=apart)
    if windows.groups is not None:
        return "stratified, groups kept together", lambda count: _by_class(windows, count, seed)
    return "stratified", lambda count: _by_class(windows, count, seed)


def _by_class(windows: Windows, count: int, seed: int) -> Sequence[FoldIndices] | str:
    """Parts with equal shares of the classes; windows of one group are in one part."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes a second

    labels, groups = windows.labels.numpy(), windows.groups
    members = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([labels, members]), axis=1)[0]
    per_class = np.bincount(pairs)
    fewest = int(np.argmin(np.where(per_class > 0, per_class, per_class.max() + 1)))
    if per_class[fewest] < count:
        noun = "window" if groups is None else "group"
        return f"class {fewest} has {counted(int(per_class[fewest]), noun)} in the training and validation loaders"
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=stream_seed(seed, 0, "folds") % 2**32)
    parts = splitter.split(np.zeros(len(labels)), labels, groups)
    return [FoldIndices(np.sort(train), np.sort(held_out), ()) for train, held_out in parts]


def _by_date(
    windows: Windows, n_train: int, count: int, horizon: int, *, groups_apart: bool
) -> Sequence[FoldIndices] | str:
    """Blocks of dates, each judged by what was known before it; with ``groups_apart`` a fold shares no group with its block."""
    days, place = np.unique(windows.dates, return_inverse=True)
    cuts = np.sort(windows.dates)[n_train], days[-1] + 1
    # A label looks as many dates ahead as windows of one series do; what lies beyond the last date is the user's own split.
    reach = days[np.minimum(place + horizon, len(days) - 1)]
    try:
        indices = walk_forward(WindowDates(windows.dates, reach, reach, reach), cuts, count)
    except EmptyBlockError:
        return (
            f"a date is never divided, and one holds more windows than a block of {counted(len(windows) - n_train, 'window')}, as"
            f" many as the validation loader has, so that one of {count} blocks would be empty"
        )
    except DataError:
        return (
            f"blocks of {counted(len(windows) - n_train, 'window')}, as many as the validation loader has, leave nothing to train"
            " on before the first one"
        )
    if len(indices[0].train) + horizon < len(indices[0].validation):
        return (
            f"the first of {count} blocks of dates would be judged by {counted(len(indices[0].validation), 'window')} after"
            f" training on {len(indices[0].train)}"
        )
    if not groups_apart or windows.groups is None:
        return indices
    groups = windows.groups
    return [replace(each, train=each.train[~np.isin(groups[each.train], groups[each.validation])]) for each in indices]


def _fault(folds: Sequence[FoldIndices], windows: Windows, n_classes: int) -> str | None:
    """Why these folds can't be trained on or judged by; None if they can."""
    labels = windows.labels.numpy()
    for number, fold in enumerate(folds, start=1):
        missing = np.setdiff1d(np.arange(n_classes), labels[fold.train])
        where = f"fold {number} of {len(folds)}"
        if len(missing):
            return f"{where} would have no training window of class {missing[0]}"
        if len(np.unique(labels[fold.validation])) < 2:
            return f"{where} would be judged by windows of one class only"
    return None


def _pooled(train: Windows, validation: Windows) -> Windows:
    """The windows of both over one series; without dates they are numbered through, so that no two have the same number."""
    both = (train, validation)
    dated = train.dated and validation.dated
    groups = [part.groups for part in both if part.groups is not None]
    values = [part.values for part in both if part.values is not None]
    return Windows(
        series=torch.cat([part.series for part in both]),
        starts=torch.cat([train.starts, validation.starts + len(train.series)]),
        lookback=train.lookback,
        labels=torch.cat([part.labels for part in both]),
        values=torch.cat(values) if values else None,
        dates=np.concatenate([part.dates for part in both]) if dated else np.arange(len(train) + len(validation)),
        symbols=np.concatenate([part.symbols for part in both]),
        dated=dated,
        groups=np.concatenate(groups) if len(groups) == 2 else None,
    )


def _fold(train: Windows, validation: Windows) -> Fold:
    """Values are scaled by the fold's own training windows; inputs come as the loaders yield them."""
    return Fold(train, validation, *value_scale(train.values))


def value_scale(values: torch.Tensor | None) -> tuple[float, float]:
    """Mean and population standard deviation of regression targets ``(windows,)``; 0 and 1 without them, 1 if all are alike."""
    if values is None:
        return 0.0, 1.0
    return float(values.double().mean()), float(values.double().std(correction=0)) or 1.0


def _facts(scheme: str, folds: Sequence[Fold], indices: Sequence[FoldIndices]) -> dict[str, Any]:
    """Of ``data.json``; first and last dates where there are any."""

    def block(first: Any, last: Any) -> dict[str, Any]:
        return {"first": mark_text(first), "last": mark_text(last)}

    entries = []
    for fold, index in zip(folds, indices, strict=True):
        ends = block(fold.train.dates.min(), fold.train.dates.max()) if fold.train.dated else {}
        blocks = {"blocks": [block(*each) for each in index.blocks]} if index.blocks else {}
        entries.append(
            {
                "train": {**ends, "windows": len(fold.train)},
                "validation": {"windows": len(fold.validation), **blocks},
            }
        )
    return {"cv_scheme": scheme, "folds": entries}


def mark_text(date: Any) -> str:
    """A date of a user's as text: ISO 8601, or the number that it is."""
    return date_text(date) if isinstance(date, np.datetime64) else str(date)
