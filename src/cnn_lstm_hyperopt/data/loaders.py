"""The door for a user's own DataLoaders: drained once, checked once, then the same windows as from bars."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.masked import MaskedTensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
    default_collate,
)

from cnn_lstm_hyperopt.config.faults import shown
from cnn_lstm_hyperopt.data.columns import LARGEST
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod
from cnn_lstm_hyperopt.data.dates_and_groups import Marks, read_marks, shared_groups
from cnn_lstm_hyperopt.data.describe import class_balance
from cnn_lstm_hyperopt.data.loader_folds import Asked, make_loader_folds, mark_text, value_scale
from cnn_lstm_hyperopt.data.repeated_windows import check_repeated
from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.data.wording import one_line
from cnn_lstm_hyperopt.exceptions import DataError

log = logging.getLogger(__name__)

SYMBOL = "loader"
_MOST_BATCHES = 1_000_000
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
    cv_folds: Asked = 1,
    seed: int = 0,
) -> Dataset:
    """A dataset of three loaders: training, validation, test.

    Args:
        loaders: each yields ``(x, y_class)`` or ``(x, y_class, y_reg)``: ``x`` float ``(batch, time, features)``, ``y_class``
            integer ``(batch,)`` from 0, ``y_reg`` float ``(batch,)`` or ``(batch, 1)``.
        input_dim: number of features, checked; None: as it comes.
        dates: of the training, validation and test windows, each ``(windows,)`` in the loader's order, or None. Windows
            without dates are independent of each other.
        groups: likewise; windows of one group are dependent.
        train_share: share of the training windows that trials use.
        horizon: windows ahead that a label looks: so many windows one after the other overlap.
        cv_folds: of training and validation windows together, see :func:`make_loader_folds`.
        seed: the study's; decides which windows a fold holds out.

    Raises:
        DataError: a loader breaks a rule; the text names the loader, the rule and the cure.
    """
    if not isinstance(loaders, Sequence) or isinstance(loaders, str):
        raise DataError(f"data_loaders must be (train, validation, test), but are {_shape(loaders)}")
    if len(loaders) != 3:
        raise DataError(f"data_loaders must be (train, validation, test), but there are {len(loaders)}")
    _require_different(loaders)
    given = read_marks(dates, groups)
    ordered = [_drain(name, loader) for name, loader in zip(SPLIT_NAMES, loaders, strict=True)]
    drained = [each for each, _ in ordered]
    marks = [
        each.in_order(name, order.numpy(), shuffled=_is_shuffled(f"the {name} loader", loader))
        for name, loader, each, (_, order) in zip(SPLIT_NAMES, loaders, given, ordered, strict=True)
    ]
    _check_alike(drained, input_dim)
    repeated = check_repeated([x for x, _, _ in drained])
    classes = [int(labels.max()) + 1 for _, labels, _ in drained]
    n_classes = max(classes)
    _check_classes(drained[0][1], n_classes)
    class_names = tuple(f"class {number}" for number in range(n_classes))
    train, validation, test = (_windows(*parts, each) for parts, each in zip(drained, marks, strict=True))
    mean, std = value_scale(train.values)
    cross = make_loader_folds(train, validation, cv_folds, horizon=horizon, seed=seed)
    warnings = (
        *(
            warning
            for name, loader, (x, _, _) in zip(SPLIT_NAMES, loaders, drained, strict=True)
            for warning in _warnings(name, loader, len(x))
        ),
        *repeated,
        *shared_groups(marks),
        *cross.warnings,
    )
    return Dataset(
        train=train,
        train_share=train_share,
        validation=validation,
        folds=cross.folds,
        test=LockedPeriod(test),
        class_names=class_names,
        value_name=None if train.values is None else "y_reg",
        feature_names=tuple(f"feature_{i}" for i in range(train.input_dim)),
        scaler=None,
        value_mean=mean,
        value_std=std,
        target="y_class",
        lookback=train.lookback,
        horizon=horizon,
        description=_describe(
            {"train": train, "validation": validation, "test": test},
            class_names,
            train_share,
            horizon,
            cross.facts,
            warnings,
        ),
        warnings=warnings,
    )


Drained = tuple[Tensor, Tensor, Tensor | None]


def _require_different(loaders: Sequence[Iterable[Any]]) -> None:
    for second in range(3):
        for first in range(second):
            if loaders[first] is loaders[second] and hasattr(type(loaders[first]), "__len__"):
                raise DataError(
                    f"data_loaders must be three different loaders, but {SPLIT_NAMES[first]} and {SPLIT_NAMES[second]} are the"
                    " same one; split the windows, so that each is in one loader only"
                )


def _drain(name: str, loader: Iterable[Any]) -> tuple[Drained, Tensor]:
    """All batches of a loader as ``x (windows, time, features)``, labels and values; training windows in a fixed order.

    Returns:
        These, and their positions in the loader's order, ``(windows,)`` int64.
    """
    where = f"the {name} loader"
    if isinstance(_attribute(where, loader, "dataset"), IterableDataset) or not hasattr(type(loader), "__len__"):
        raise DataError(
            f"{where} has no length; a search needs the same finite windows each time, so give a map-style dataset"
        )
    sampler = _sampler(where, loader)
    if isinstance(sampler, (RandomSampler, WeightedRandomSampler)) and sampler.replacement:
        raise DataError(
            f"{where} samples with replacement, so windows repeat and are missing; use shuffle=True or no sampler"
        )
    length = _length(where, loader)
    xs, labels, values = [], [], []
    for number, batch in enumerate(_batches(where, loader, length)):
        x, y, value = _batch(f"batch {number} of {where}", batch)
        xs.append(x)
        labels.append(y)
        values.append(value)
    _require_all(where, loader, length, xs)
    if not sum(map(len, xs)):
        raise DataError(f"{where} is empty; give it at least one batch")
    lengths = {x.shape[1:] for x in xs}
    if len(lengths) > 1:
        raise DataError(
            f"{where} must yield windows of one shape (time, features), but yields {sorted(map(tuple, lengths))}"
        )
    if len({value is None for value in values}) > 1:
        raise DataError(f"{where} yields y_reg in some batches only; yield it in all or in none")
    present = [value for value in values if value is not None]
    x, y, value = torch.cat(xs), torch.cat(labels), torch.cat(present) if present else None
    order = (
        _canonical_order(x, y, value) if name == SPLIT_NAMES[0] or _is_shuffled(where, loader) else torch.arange(len(x))
    )
    return (x[order], y[order], None if value is None else value[order]), order


def _length(where: str, loader: Any) -> int:
    """Number of batches that a loader says it has."""
    try:
        length = len(loader)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"the length of {where} can't be had: it raises {_raised(error)}") from error
    if length > _MOST_BATCHES:
        raise DataError(
            f"{where} must have at most {_MOST_BATCHES:,} batches, but has {length:,}; use a larger batch_size"
        )
    return length


def _batches(where: str, loader: Any, length: int) -> Iterator[Any]:
    """Yield at most ``length`` batches; a loader that has more may be endless."""
    batches: Iterator[Any] | None = None
    for number in range(length + 1):
        try:
            batches = iter(loader) if batches is None else batches
            batch = next(batches)
        except StopIteration:
            return
        except (DataError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise DataError(
                f"batch {number} of {where} can't be had: it raises {_raised(error)}; iterate over the loader by itself to see"
                " where"
            ) from error
        if number < length:
            yield batch
    raise DataError(
        f"{where} must yield as many batches as its length says, {length}, but goes on; give a loader that ends there"
    )


def _require_all(where: str, loader: Any, length: int, xs: Sequence[Tensor]) -> None:
    """Raise DataError where a loader ends before its length, or a plain one has fewer windows than its sampler."""
    windows, promised = sum(map(len, xs)), _promised_windows(where, loader)
    found = f"{windows:,} windows" if promised is None else f"{windows:,} of {promised:,} windows"
    if len(xs) < length:
        raise DataError(
            f"{where} must yield as many batches as its length says, {length:,}, but ends after {len(xs):,} ({found}); look for"
            " a StopIteration that its dataset raises, or for a length that is too large"
        )
    if promised is not None and windows < promised and _is_plain_loader(loader):
        raise DataError(
            f"{where} must yield as many windows as its sampler's length says, {promised:,}, but yields {windows:,}; correct"
            " the length of the sampler"
        )


def _promised_windows(where: str, loader: Any) -> int | None:
    """Number of windows that the batches of a ``DataLoader`` should hold; None: only batches are counted."""
    batches = _attribute(where, loader, "batch_sampler")
    if (
        not isinstance(loader, DataLoader)
        or type(batches) is not BatchSampler
        or not isinstance(batches.sampler, Sized)
    ):
        return None
    items = len(batches.sampler)
    return items - items % batches.batch_size if batches.drop_last else items


def _is_plain_loader(loader: Any) -> bool:
    """Whether each item of the dataset becomes one window; a collate function of the user's may leave some out."""
    return type(loader) is DataLoader and loader.collate_fn is default_collate


def _raised(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")


def _batch(where: str, batch: Any) -> Drained:
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise DataError(f"{where} must be (x, y_class) or (x, y_class, y_reg), but is {_shape(batch)}")
    x, y = batch[0], batch[1]
    for field, tensor in zip(("x", "y_class", "y_reg"), batch, strict=False):
        if isinstance(tensor, Tensor) and not _is_plain(tensor):
            raise DataError(
                f"{field} in {where} must be a dense tensor with its numbers, but is {_kind(tensor)}; use torch.tensor"
            )
    if not isinstance(x, Tensor) or x.ndim != 3 or not x.is_floating_point():
        raise DataError(f"x in {where} must be a float tensor (batch, time, features), but is {_shape(x)}")
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.shape != (len(x),):
        raise DataError(
            f"y_class in {where} must be an integer tensor ({len(x)},), but is {_shape(y)}{_label_cure(y, len(x))}"
        )
    # Copies: a loader may fill one tensor anew for each batch. Converted first: a float64 beyond float32 becomes infinite here.
    x = x.detach().to("cpu", torch.float32, copy=True)
    value = batch[2] if len(batch) == 3 else None
    if value is not None:
        if (
            not isinstance(value, Tensor)
            or not value.is_floating_point()
            or value.shape not in ((len(x),), (len(x), 1))
        ):
            raise DataError(
                f"y_reg in {where} must be a float tensor ({len(x)},) or ({len(x)}, 1), but is {_shape(value)}"
            )
        value = value.detach().reshape(-1).to("cpu", torch.float32, copy=True)
        _require_finite("y_reg", value, where)
    _require_finite("x", x, where)
    y = y.detach().to("cpu", torch.int64, copy=True)
    if len(y) and int(y.min()) < 0:
        raise DataError(f"y_class in {where} must count classes from 0, but has {int(y.min())}")
    return x, y, value


def _label_cure(y: Any, windows: int) -> str:
    """How to make class numbers of the usual other forms."""
    if not isinstance(y, Tensor) or y.is_complex():
        return ""
    if y.shape == (windows,):
        return "; give y_class.long()"
    if y.ndim == 2 and len(y) == windows:
        return (
            "; give y_class.squeeze(1).long()" if y.shape[1] == 1 else "; of one-hot labels give y_class.argmax(dim=1)"
        )
    return ""


def _require_finite(field: str, numbers: Tensor, where: str) -> None:
    if not bool(numbers.isfinite().all()):
        raise DataError(f"{field} in {where} has NaN or infinite values; remove or fill these windows")
    largest = float(numbers.abs().max()) if numbers.numel() else 0.0
    if largest > LARGEST:
        raise DataError(f"{field} in {where} must not be beyond {LARGEST:g}, but reaches {largest:g}; scale it")


def _is_plain(tensor: Tensor) -> bool:
    return (
        not isinstance(tensor, MaskedTensor)
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and not tensor.is_meta
    )


def _kind(tensor: Tensor) -> str:
    if isinstance(tensor, MaskedTensor):
        return "a masked one"
    if tensor.is_meta:
        return "on the device meta, which holds none"
    return "a nested one" if tensor.is_nested else "a quantized one" if tensor.is_quantized else f"{tensor.layout}"


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list, dict)) else type(value).__name__


def _check_alike(drained: Sequence[Drained], input_dim: int | None) -> None:
    shapes = [tuple(x.shape[1:]) for x, _, _ in drained]
    if len(set(shapes)) > 1:
        there_are = ", ".join(f"{name} {shape}" for name, shape in zip(SPLIT_NAMES, shapes, strict=True))
        raise DataError(
            f"all three loaders must yield windows of one shape (time, features), but there are {there_are}"
        )
    is_number = isinstance(input_dim, (int, float, np.integer, np.floating)) and not isinstance(input_dim, bool)
    if input_dim is not None and not (is_number and shapes[0][1] == input_dim):
        raise DataError(
            f"input_dim must be the loaders' number of features, {shapes[0][1]}, but got {shown(input_dim)}"
        )
    if shapes[0][1] < 1:
        raise DataError("windows must have at least 1 feature, but have 0")
    if shapes[0][0] < 2:
        raise DataError(f"windows must have at least 2 time steps, but have {shapes[0][0]}")
    if len({value is None for _, _, value in drained}) > 1:
        raise DataError("y_reg must come from all three loaders or from none")


def _check_classes(labels: Tensor, n_classes: int) -> None:
    present = set(labels.unique().tolist())
    missing = list(islice((number for number in range(n_classes) if number not in present), _SHOWN_CLASSES))
    if len(present) < 2:
        raise DataError(f"the train loader has {len(present)} class; at least 2 are needed to learn anything")
    if missing:
        absent = _shown_classes(missing, n_classes - len(present))
        raise DataError(
            f"the train loader lacks the classes {absent} of 0..{n_classes - 1}; a class that is never seen can't be learnt:"
            " split anew (stratified) or number the classes without holes"
        )


def _shown_classes(first: list[int], count: int) -> str:
    return f"{first}" if count == len(first) else f"{str(first)[:-1]}, …] ({count:,})"


def _windows(x: Tensor, labels: Tensor, values: Tensor | None, marks: Marks) -> Windows:
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


def _canonical_order(x: Tensor, labels: Tensor, values: Tensor | None) -> Tensor:
    """An order of windows that does not depend on how a shuffling loader happened to yield them."""
    rows = x.reshape(len(x), -1).numpy()
    targets = np.zeros(len(x), np.float32) if values is None else values.numpy()
    keys = [
        hashlib.blake2b(
            np.ascontiguousarray(row).tobytes() + target.tobytes() + str(label).encode(), digest_size=16
        ).digest()
        for row, target, label in zip(rows, targets, labels.tolist(), strict=True)
    ]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))


def _warnings(name: str, loader: Iterable[Any], windows: int) -> list[str]:
    found, where = [], f"the {name} loader"
    batches = _attribute(where, loader, "batch_sampler")
    if _attribute(where, loader, "drop_last") or _attribute(where, batches, "drop_last"):
        found.append(f"the {name} loader drops its last batch, so some windows are never used; set drop_last=False")
    promised = _promised_windows(where, loader)
    if promised is not None and windows < promised:
        found.append(
            f"the {name} loader yields {windows:,} windows of the {promised:,} that its sampler chooses; its collate_fn leaves"
            " out the others"
        )
    if isinstance(loader, DataLoader) and _is_random(loader.dataset):
        found.append(
            f"the {name} dataset gives another window for the same index each time (a random transform?); the windows are"
            " drawn once and kept for all trials"
        )
    return found


def _is_shuffled(where: str, loader: Iterable[Any]) -> bool:
    return isinstance(loader, DataLoader) and not isinstance(_sampler(where, loader), SequentialSampler)


def _sampler(where: str, loader: Iterable[Any]) -> Any:
    """What chooses the windows: with a batch sampler of the user's, the one inside it."""
    batches = _attribute(where, loader, "batch_sampler")
    inside = _attribute(where, batches, "sampler")
    return _attribute(where, loader, "sampler") if inside is None else inside


def _attribute(where: str, holder: Any, name: str) -> Any:
    """What a loader, or a part of it, has under this name; None: nothing."""
    try:
        return getattr(holder, name, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"the {name} of {where} can't be had: it raises {_raised(error)}") from error


def _is_random(dataset: Any) -> bool:
    """Whether the first items differ when they are asked for again; False where a dataset has no such items or can't compare."""
    try:
        return any(not _equal(dataset[index], dataset[index]) for index in range(min(_PROBED_ITEMS, len(dataset))))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's own items, with keys of another kind perhaps
        log.debug("a dataset's items can't be compared: %s", one_line(error))
        return False


def _equal(first: Any, second: Any) -> bool:
    """Whether two items are the same, through tensors, arrays, mappings and sequences."""
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


def _describe(
    splits: dict[str, Windows],
    class_names: tuple[str, ...],
    train_share: float,
    horizon: int,
    folds: dict[str, Any],
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for windows in splits.values():
        order = _canonical_order(windows.series.reshape(len(windows), -1), windows.labels, windows.values)
        digest.update(f"{len(windows)} {windows.lookback} {windows.input_dim}".encode())
        digest.update(windows.series.reshape(len(windows), -1)[order].numpy().tobytes())
        digest.update(windows.labels[order].numpy().tobytes())
        if windows.values is not None:
            digest.update(windows.values[order].numpy().tobytes())
        for mark in (windows.dates if windows.dated else None, windows.groups):
            if mark is not None:
                digest.update(f"{mark.dtype}".encode())
                digest.update(np.ascontiguousarray(mark[order.numpy()]).tobytes())
    train = splits["train"]
    return {
        "source": "DataLoaders",
        "target": "y_class",
        "lookback": train.lookback,
        "horizon": horizon,
        "train_share": train_share,
        "features": train.input_dim,
        "class_names": list(class_names),
        "value_name": None if train.values is None else "y_reg",
        "splits": {
            name: {"windows": len(windows), **class_balance(windows, len(class_names)), **_marks_facts(windows)}
            for name, windows in splits.items()
        },
        **folds,
        "warnings": list(warnings),
        "sha256": digest.hexdigest(),
    }


def _marks_facts(windows: Windows) -> dict[str, Any]:
    """First and last date and the number of groups, where there are any."""
    facts: dict[str, Any] = {}
    if windows.dated:
        ends = windows.dates.min(), windows.dates.max()
        facts |= dict(zip(("first", "last"), map(mark_text, ends), strict=True))
    if windows.groups is not None:
        facts["groups"] = len(np.unique(windows.groups))
    return facts
