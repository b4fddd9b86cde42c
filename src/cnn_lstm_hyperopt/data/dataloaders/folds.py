"""Cross-validation with a user's DataLoaders. The folds use the windows of the training and the validation loader together.

Windows with dates form walk-forward folds, like windows of bars. Windows without dates count as independent: each fold holds
out a part in which all classes have about their usual shares. Windows of one group are held out together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from cnn_lstm_hyperopt.data.dataloaders.repeated_windows import count_copies
from cnn_lstm_hyperopt.data.pooled import join_windows, value_scale
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import EmptyBlockError, FoldIndices, WindowDates, walk_forward
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.rng import stream_seed
from cnn_lstm_hyperopt.utils.text import counted

AUTO_FOLDS = 5
"""Number of folds for the setting ``auto``. With five folds, each fold trains on four fifths of the windows."""
ENOUGH_VALIDATION = 500
"""Number of validation windows from which ``auto`` uses one fold.

The standard error of an accuracy is then at most 2 percentage points.
"""

FoldCount = int | Literal["auto"]


@dataclass(frozen=True, eq=False)
class LoaderFolds:
    """Folds of a study on DataLoaders.

    Attributes:
        folds: the folds, at least one.
        facts: entries ``cv_scheme`` and ``folds`` of ``data.json``; empty without cross-validation.
        warnings: warnings if ``auto`` made fewer than :data:`AUTO_FOLDS` folds, or if validation windows are copies of
            training windows of the same fold or overlap such windows.
    """

    folds: tuple[Fold, ...]
    facts: dict[str, Any]
    warnings: tuple[str, ...] = ()


def make_loader_folds(
    train: Windows, validation: Windows, requested: FoldCount, *, horizon: int, seed: int
) -> LoaderFolds:
    """Return the folds of a user's DataLoaders.

    Args:
        train: all windows of the training loader.
        validation: all windows of the validation loader.
        requested: number of folds. 1: the training and validation windows stay as in the loaders. ``auto`` means 1 if there
            are at least :data:`ENOUGH_VALIDATION` validation windows, if only one of the two loaders has dates or groups, or
            if windows overlap and have neither dates nor groups. Otherwise ``auto`` means :data:`AUTO_FOLDS`, or the largest
            number that the windows allow.
        horizon: number of later windows on which a label depends. Training windows of the last ``horizon`` dates before a
            validation block are purged.
        seed: seed of the study, which decides which windows are held out together.

    Raises:
        DataError: the windows do not allow this number of folds; the text has the largest possible number and the reason. Or
            only one loader has dates or groups, which the folds would ignore.
    """
    plain = LoaderFolds((_fold(train, validation),), {})
    wanted = requested if requested != "auto" else AUTO_FOLDS if len(validation) < ENOUGH_VALIDATION else 1
    if wanted == 1:
        return plain
    one_sided = _marks_of_one_loader(train, validation)
    overlapping = None if one_sided else _overlapping(train, horizon)
    if requested == "auto" and (one_sided or overlapping):
        text = f"data.cv_folds: no cross-validation, because {one_sided or overlapping}"
        return LoaderFolds(plain.folds, {}, (text,))
    if one_sided:
        text = f"data.cv_folds={requested}: {one_sided}, or take data.cv_folds: 1"
        raise DataError(text, field="data.cv_folds", code="marks-of-one-loader")
    windows = join_windows(train, validation)
    scheme, split = _scheme(windows, len(train), horizon, seed)
    n_classes, why = int(windows.labels.max()) + 1, ""
    overlaps = [] if overlapping is None else [f"data.cv_folds={requested}: {overlapping}, or take data.cv_folds: 1"]
    for count in range(wanted, 1, -1):
        indices = split(count)
        problem = indices if isinstance(indices, str) else _problem(indices, windows, n_classes)
        if problem is None and not isinstance(indices, str):
            if count < wanted and requested != "auto":
                raise _too_many(wanted, why, f"take at most {count}")
            folds = tuple(_fold(windows.subset(each.train), windows.subset(each.validation)) for each in indices)
            fewer = [] if count == wanted else [f"data.cv_folds: {count} folds instead of {wanted}, because {why}"]
            warnings = (*fewer, *overlaps, *_copies_apart(folds, windows))
            return LoaderFolds(folds, _facts(scheme, folds, indices), warnings)
        why = why or str(problem)
    if requested != "auto":
        raise _too_many(wanted, why, "take data.cv_folds: 1")
    return LoaderFolds(plain.folds, {}, (f"data.cv_folds: no cross-validation, because {why}",))


def _too_many(count: int, why: str, fix: str) -> DataError:
    text = f"data.cv_folds={count} are too many: {why}; {fix}"
    return DataError(text, field="data.cv_folds", code="too-many-folds")


def _marks_of_one_loader(train: Windows, validation: Windows) -> str | None:
    """Return a warning if only one loader has dates or groups, because folds would ignore them; otherwise None."""
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
    """Return the reason why random folds would train on windows that overlap validation windows; None if no windows overlap."""
    if horizon == 1 or train.dated or train.groups is not None:
        return None
    return (
        f"labels look {horizon:,} windows ahead (data.horizon), and without dates or groups a fold would train on windows that"
        " overlap those it is judged by; give dates or groups"
    )


def _copies_apart(folds: Sequence[Fold], windows: Windows) -> list[str]:
    """Return a warning if folds train on copies of their own validation windows. Such copies result from oversampling."""
    if windows.dated:
        return []
    every = [(_numbers(fold.validation), _numbers(fold.train)) for fold in folds]
    copies = sum(count_copies(held_out, trained_on) for held_out, trained_on in every)
    if not copies:
        return []
    return [
        f"data.cv_folds: {copies:,} of {len(windows):,} windows are held out by a fold that trains on copies of them, so their"
        " scores would measure memory, not skill; give all copies of a window the same group, or remove the copies"
    ]


def _numbers(windows: Windows) -> torch.Tensor:
    """Return the inputs of all windows as an array, ``(windows, time, features)``."""
    return windows.gather(torch.arange(len(windows)))


Split = Callable[[int], Sequence[FoldIndices] | str]
"""Function of a number of folds.

The function returns the folds, or a text with the reason why the windows do not allow this number of folds.
"""


def _scheme(windows: Windows, n_train: int, horizon: int, seed: int) -> tuple[str, Split]:
    """Return the name of the cross-validation scheme and the function that splits the windows."""
    if windows.dated:
        apart = windows.groups is not None and not np.isin(windows.groups[n_train:], windows.groups[:n_train]).any()
        return "expanding", lambda count: _by_date(windows, n_train, count, horizon, groups_apart=apart)
    if windows.groups is not None:
        return "stratified, groups kept together", lambda count: _by_class(windows, count, seed)
    return "stratified", lambda count: _by_class(windows, count, seed)


def _by_class(windows: Windows, count: int, seed: int) -> Sequence[FoldIndices] | str:
    """Split windows into stratified parts, which have about equal shares of each class.

    Windows of one group are in one part.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # the import takes a second

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
    """Split windows into blocks of dates. A fold trains on the windows before its block.

    With ``groups_apart``, a fold trains only on windows of groups that its block does not have.
    """
    days, place = np.unique(windows.dates, return_inverse=True)
    cuts = np.sort(windows.dates)[n_train], days[-1] + 1
    # A label looks ``horizon`` dates ahead. Only the user's own split can limit labels that look beyond the last date.
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


def _problem(folds: Sequence[FoldIndices], windows: Windows, n_classes: int) -> str | None:
    """Return the reason why folds can't be used, or None if they can be used."""
    labels = windows.labels.numpy()
    for number, fold in enumerate(folds, start=1):
        missing = np.setdiff1d(np.arange(n_classes), labels[fold.train])
        where = f"fold {number} of {len(folds)}"
        if len(missing):
            return f"{where} would have no training window of class {missing[0]}"
        if len(np.unique(labels[fold.validation])) < 2:
            return f"{where} would be judged by windows of one class only"
    return None


def _fold(train: Windows, validation: Windows) -> Fold:
    """Return a fold whose values are scaled by its own training windows. The inputs are not scaled."""
    return Fold(train, validation, *value_scale(train.values))


def _facts(scheme: str, folds: Sequence[Fold], indices: Sequence[FoldIndices]) -> dict[str, Any]:
    """Return the entry about the folds for ``data.json``. The entry has first and last dates if the windows have dates."""

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
    """Return a user's date as text: in ISO 8601 form, or as a number if the date is a number."""
    return date_text(date) if isinstance(date, np.datetime64) else str(date)
