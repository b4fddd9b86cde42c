"""The batches of a user's loader, read once: all of them, each checked, or one clear error."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Sized
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

from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import typed_line

_MOST_BATCHES = 1_000_000

Drained = tuple[Tensor, Tensor, Tensor | None]
"""``x (windows, time, features)`` float32, labels ``(windows,)`` int64, values ``(windows,)`` float32 or None."""


def drain(name: str, loader: Iterable[Any]) -> tuple[Drained, Tensor]:
    """Read all batches of a loader; training windows and shuffled ones come in a fixed order.

    Args:
        name: of the split.
        loader: yields ``(x, y_class)`` or ``(x, y_class, y_reg)``.

    Returns:
        ``x (windows, time, features)``, labels and values, and their positions in the loader's order, ``(windows,)`` int64.

    Raises:
        DataError: the loader or one of its batches breaks a rule, or it ends before its length.
    """
    where = f"the {name} loader"
    if isinstance(attribute_of(where, loader, "dataset"), IterableDataset) or not hasattr(type(loader), "__len__"):
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
        canonical_order(x, y, value) if name == SPLIT_NAMES[0] or is_shuffled(where, loader) else torch.arange(len(x))
    )
    return (x[order], y[order], None if value is None else value[order]), order


def _length(where: str, loader: Any) -> int:
    """Number of batches that a loader says it has."""
    try:
        length = len(loader)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"the length of {where} can't be had: it raises {typed_line(error)}") from error
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
                f"batch {number} of {where} can't be had: it raises {typed_line(error)}; iterate over the loader by itself to see"
                " where"
            ) from error
        if number < length:
            yield batch
    raise DataError(
        f"{where} must yield as many batches as its length says, {length}, but yields more; give a loader that ends there"
    )


def _require_all(where: str, loader: Any, length: int, xs: Sequence[Tensor]) -> None:
    """Raise DataError where a loader ends before its length, or a plain one has fewer windows than its sampler."""
    windows, promised = sum(map(len, xs)), promised_windows(where, loader)
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


def promised_windows(where: str, loader: Any) -> int | None:
    """Number of windows that the batches of a ``DataLoader`` should hold; None: only batches are counted."""
    batches = attribute_of(where, loader, "batch_sampler")
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


def _batch(where: str, batch: Any) -> Drained:
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise DataError(f"{where} must be (x, y_class) or (x, y_class, y_reg), but is {shape_text(batch)}")
    x, y = batch[0], batch[1]
    for field, tensor in zip(("x", "y_class", "y_reg"), batch, strict=False):
        if isinstance(tensor, Tensor) and not _is_plain(tensor):
            raise DataError(
                f"{field} in {where} must be a dense tensor with its numbers, but is {_kind(tensor)}; use torch.tensor"
            )
    if not isinstance(x, Tensor) or x.ndim != 3 or not x.is_floating_point():
        raise DataError(f"x in {where} must be a float tensor (batch, time, features), but is {shape_text(x)}")
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.shape != (len(x),):
        raise DataError(
            f"y_class in {where} must be an integer tensor ({len(x)},), but is {shape_text(y)}{_label_cure(y, len(x))}"
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
                f"y_reg in {where} must be a float tensor ({len(x)},) or ({len(x)}, 1), but is {shape_text(value)}"
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


def shape_text(value: Any) -> str:
    """What a value is, in a few words for an error."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list, dict)) else type(value).__name__


def canonical_order(x: Tensor, labels: Tensor, values: Tensor | None) -> Tensor:
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


def is_shuffled(where: str, loader: Iterable[Any]) -> bool:
    """Whether a loader yields its windows in another order than that of its dataset."""
    return isinstance(loader, DataLoader) and not isinstance(_sampler(where, loader), SequentialSampler)


def _sampler(where: str, loader: Iterable[Any]) -> Any:
    """What chooses the windows: with a batch sampler of the user's, the one inside it."""
    batches = attribute_of(where, loader, "batch_sampler")
    inside = attribute_of(where, batches, "sampler")
    return attribute_of(where, loader, "sampler") if inside is None else inside


def attribute_of(where: str, holder: Any, name: str) -> Any:
    """What a loader, or a part of it, has under this name; None: nothing."""
    try:
        return getattr(holder, name, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"the {name} of {where} can't be had: it raises {typed_line(error)}") from error
