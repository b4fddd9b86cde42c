"""Reader that reads and checks all batches of a user's DataLoader once."""

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

_MAX_BATCHES = 1_000_000

Drained = tuple[Tensor, Tensor, Tensor | None]
"""Type of the windows of a loader.

The arrays are ``x (windows, time, features)`` float32, labels ``(windows,)`` int64, and values ``(windows,)`` float32 or None.
"""


def loader_error(name: str, text: str, *, code: str, part: str = "") -> DataError:
    """Return an error about the loader of a split.

    ``part`` is the wrong part of a batch: ``x``, ``y_class``, ``y_reg`` or empty.
    """
    return DataError(text, field=f"data_loaders.{name}{part and '.'}{part}", code=code)


def drain(name: str, loader: Iterable[Any]) -> tuple[Drained, Tensor]:
    """Read all batches of a loader. Training windows, and the windows of a loader that shuffles, are sorted into a fixed order.

    Args:
        name: name of the split.
        loader: yields ``(x, y_class)`` or ``(x, y_class, y_reg)``.

    Returns:
        ``x (windows, time, features)``, labels and values, and the position of each window in the loader's order,
        ``(windows,)`` int64.

    Raises:
        DataError: the loader or a batch violates a rule, or the loader yields fewer batches than its ``len``.
    """
    where = f"the {name} loader"
    if isinstance(attribute_of(name, loader, "dataset"), IterableDataset) or not hasattr(type(loader), "__len__"):
        text = f"{where} has no length; a search needs the same finite windows each time, so give a map-style dataset"
        raise loader_error(name, text, code="no-length")
    sampler = _sampler(name, loader)
    if isinstance(sampler, (RandomSampler, WeightedRandomSampler)) and sampler.replacement:
        text = f"{where} samples with replacement, so windows repeat and are missing; use shuffle=True or no sampler"
        raise loader_error(name, text, code="sampling-with-replacement")
    length = _length(name, loader)
    xs, labels, values = [], [], []
    for number, batch in enumerate(_batches(name, loader, length)):
        x, y, value = _batch(name, number, batch)
        xs.append(x)
        labels.append(y)
        values.append(value)
    _require_all(name, loader, length, xs)
    if not sum(map(len, xs)):
        raise loader_error(name, f"{where} is empty; give it at least one batch", code="empty-loader")
    lengths = {x.shape[1:] for x in xs}
    if len(lengths) > 1:
        text = f"{where} must yield windows of one shape (time, features), but yields {sorted(map(tuple, lengths))}"
        raise loader_error(name, text, code="shapes-differ")
    if len({value is None for value in values}) > 1:
        text = f"{where} yields y_reg in some batches only; yield it in all or in none"
        raise loader_error(name, text, code="values-in-some", part="y_reg")
    present = [value for value in values if value is not None]
    x, y, value = torch.cat(xs), torch.cat(labels), torch.cat(present) if present else None
    order = (
        canonical_order(x, y, value) if name == SPLIT_NAMES[0] or is_shuffled(name, loader) else torch.arange(len(x))
    )
    return (x[order], y[order], None if value is None else value[order]), order


def _length(name: str, loader: Any) -> int:
    """Return the number of batches of a loader, which is its ``len``."""
    try:
        length = len(loader)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"the length of the {name} loader can't be read: it raises {typed_line(error)}"
        raise loader_error(name, text, code="length-raises") from error
    if length > _MAX_BATCHES:
        text = (
            f"the {name} loader must have at most {_MAX_BATCHES:,} batches, but has {length:,}; use a larger batch_size"
        )
        raise loader_error(name, text, code="too-many-batches")
    return length


def _batches(name: str, loader: Any, length: int) -> Iterator[Any]:
    """Yield at most ``length`` batches, because a loader that yields more batches may be endless."""
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
            text = (
                f"batch {number} of the {name} loader can't be read: it raises {typed_line(error)}; iterate over the loader by"
                " itself to see where"
            )
            raise loader_error(name, text, code="batch-raises") from error
        if number < length:
            yield batch
    text = (
        f"the {name} loader must yield as many batches as its length says, {length}, but yields more; give a loader that ends"
        " there"
    )
    raise loader_error(name, text, code="too-many-batches")


def _require_all(name: str, loader: Any, length: int, xs: Sequence[Tensor]) -> None:
    """Raise DataError if a loader yields fewer batches than its length, or a plain loader yields fewer windows than expected."""
    windows, promised = sum(map(len, xs)), promised_windows(name, loader)
    found = f"{windows:,} windows" if promised is None else f"{windows:,} of {promised:,} windows"
    if len(xs) < length:
        text = (
            f"the {name} loader must yield as many batches as its length says, {length:,}, but ends after {len(xs):,} ({found});"
            " check its dataset for a StopIteration, or its length"
        )
        raise loader_error(name, text, code="batches-missing")
    if promised is not None and windows < promised and _is_plain_loader(loader):
        text = (
            f"the {name} loader must yield as many windows as its sampler's length says, {promised:,}, but yields {windows:,};"
            " correct the length of the sampler"
        )
        raise loader_error(name, text, code="windows-missing")


def promised_windows(name: str, loader: Any) -> int | None:
    """Return the number of windows that all batches of a ``DataLoader`` should have together, or None if it is unknown."""
    batches = attribute_of(name, loader, "batch_sampler")
    if (
        not isinstance(loader, DataLoader)
        or type(batches) is not BatchSampler
        or not isinstance(batches.sampler, Sized)
    ):
        return None
    items = len(batches.sampler)
    return items - items % batches.batch_size if batches.drop_last else items


def _is_plain_loader(loader: Any) -> bool:
    """Return True if each item of the loader's dataset becomes one window.

    With a user's collate function this is not certain.
    """
    return type(loader) is DataLoader and loader.collate_fn is default_collate


def _batch(name: str, number: int, batch: Any) -> Drained:
    where = f"batch {number} of the {name} loader"

    def must_be(part: str, rule: str, value: Any, code: str, cure: str = "") -> DataError:
        text = f"{part} in {where} must be {rule}, but is {shape_text(value)}{cure}"
        return loader_error(name, text, code=code, part=part)

    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        text = f"{where} must be (x, y_class) or (x, y_class, y_reg), but is {shape_text(batch)}"
        raise loader_error(name, text, code="not-a-batch")
    x, y = batch[0], batch[1]
    for part, tensor in zip(("x", "y_class", "y_reg"), batch, strict=False):
        if isinstance(tensor, Tensor) and not _is_dense(tensor):
            text = (
                f"{part} in {where} must be a dense tensor with its numbers, but is {_kind(tensor)}; use torch.tensor"
            )
            raise loader_error(name, text, code="not-dense", part=part)
    if not isinstance(x, Tensor) or x.ndim != 3 or not x.is_floating_point():
        raise must_be("x", "a float tensor (batch, time, features)", x, "not-a-float-tensor")
    if not isinstance(y, Tensor) or y.is_floating_point() or y.is_complex() or y.shape != (len(x),):
        raise must_be("y_class", f"an integer tensor ({len(x)},)", y, "not-an-integer-tensor", _label_fix(y, len(x)))
    # Copy tensors: a loader may reuse one tensor for all batches. A float64 too large for float32 becomes infinite here.
    x = x.detach().to("cpu", torch.float32, copy=True)
    value = batch[2] if len(batch) == 3 else None
    if value is not None:
        shapes = (len(x),), (len(x), 1)
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape not in shapes:
            raise must_be("y_reg", f"a float tensor ({len(x)},) or ({len(x)}, 1)", value, "not-a-float-tensor")
        value = value.detach().reshape(-1).to("cpu", torch.float32, copy=True)
        _require_finite(name, "y_reg", value, where)
    _require_finite(name, "x", x, where)
    y = y.detach().to("cpu", torch.int64, copy=True)
    if len(y) and int(y.min()) < 0:
        text = f"y_class in {where} must count classes from 0, but has {int(y.min())}"
        raise loader_error(name, text, code="negative-class", part="y_class")
    return x, y, value


def _label_fix(y: Any, windows: int) -> str:
    """Return advice how to convert a usual form of labels to class numbers."""
    if not isinstance(y, Tensor) or y.is_complex():
        return ""
    if y.shape == (windows,):
        return "; give y_class.long()"
    if y.ndim == 2 and len(y) == windows:
        return (
            "; give y_class.squeeze(1).long()" if y.shape[1] == 1 else "; of one-hot labels give y_class.argmax(dim=1)"
        )
    return ""


def _require_finite(name: str, part: str, numbers: Tensor, where: str) -> None:
    if not bool(numbers.isfinite().all()):
        text = f"{part} in {where} has NaN or infinite values; remove or fill these windows"
        raise loader_error(name, text, code="not-finite", part=part)
    largest = float(numbers.abs().max()) if numbers.numel() else 0.0
    if largest > LARGEST:
        text = f"{part} in {where} must not be beyond {LARGEST:g}, but reaches {largest:g}; scale it"
        raise loader_error(name, text, code="too-large", part=part)


def _is_dense(tensor: Tensor) -> bool:
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
    """Return the type and the shape of a value as text for an error."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, (tuple, list, dict)) else type(value).__name__


def canonical_order(x: Tensor, labels: Tensor, values: Tensor | None) -> Tensor:
    """Return an order of windows that is the same for every shuffling of the loader."""
    rows = x.reshape(len(x), -1).numpy()
    targets = np.zeros(len(x), np.float32) if values is None else values.numpy()
    keys = [
        hashlib.blake2b(
            np.ascontiguousarray(row).tobytes() + target.tobytes() + str(label).encode(), digest_size=16
        ).digest()
        for row, target, label in zip(rows, targets, labels.tolist(), strict=True)
    ]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))


def is_shuffled(name: str, loader: Iterable[Any]) -> bool:
    """Return True if a loader yields its windows in another order than its dataset."""
    return isinstance(loader, DataLoader) and not isinstance(_sampler(name, loader), SequentialSampler)


def _sampler(name: str, loader: Iterable[Any]) -> Any:
    """Return the sampler that chooses the windows of a loader. For a user's batch sampler, return the sampler inside it."""
    batches = attribute_of(name, loader, "batch_sampler")
    inside = attribute_of(name, batches, "sampler")
    return attribute_of(name, loader, "sampler") if inside is None else inside


def attribute_of(name: str, holder: Any, attribute: str) -> Any:
    """Return an attribute of a split's loader or of a part of the loader, or None if there is no such attribute."""
    try:
        return getattr(holder, attribute, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = f"the {attribute} of the {name} loader can't be read: it raises {typed_line(error)}"
        raise loader_error(name, text, code="attribute-raises") from error
