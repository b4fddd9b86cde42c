"""Whatever bars or DataLoaders come: a dataset that keeps its promises, or one error that names file, field or row."""

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import InputError
from torture.fuzz_data import HOSTILE, fuzz, sound

LONGEST = 4_000
COLUMNS = ("date", "open", "high", "low", "close", "volume")
relaxed = settings(max_examples=40, derandomize=True, database=None)

numbers = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-308, 1e308, 1e18, 1e-18, 5e-324])
cells = st.sampled_from(HOSTILE) | st.text(max_size=8) | numbers.map(str) | st.dates().map(str)
kinds = st.sampled_from(
    ["float32", "float16", "int64", "bool", "string", "category", "object", "datetime64[s]", "complex128"]
)


@st.composite
def frames(draw):
    """Sound bars, of which some are broken: cells, a whole column, its type, names, the order and number of rows."""
    frame = sound(draw(st.sampled_from([0, 1, 3, 70, 150])), draw(st.integers(0, 9))).astype(object)
    for _ in range(draw(st.integers(0, 3)) if len(frame) else 0):
        frame.iloc[draw(st.integers(0, len(frame) - 1)), draw(st.integers(0, 5))] = draw(cells | numbers)
    change = draw(st.sets(st.sampled_from(["column", "name", "order", "copies", "missing"]), max_size=2))
    column = draw(st.sampled_from(COLUMNS))
    if "column" in change:
        frame[column] = draw(cells | numbers)
    if "name" in change:
        frame = frame.rename(columns={column: draw(cells)})
    if "order" in change:
        frame = frame.sample(frac=draw(st.sampled_from([0.5, 1.0])), random_state=0)
    if "copies" in change:
        frame = pd.concat([frame, frame.iloc[: draw(st.integers(1, 3))]])
    return frame.drop(columns=column, errors="ignore") if "missing" in change else frame


def as_typed(frame, kind):
    """Each column of the type that it can be of, and one of another type, if it can be."""
    typed = frame.infer_objects()
    for name in frame.columns[:1] if kind is None else frame.columns[1:3]:
        try:
            with warnings.catch_warnings(action="ignore"):  # of numbers beyond a type
                typed[name] = typed[name].astype(kind or "datetime64[ns]")
        except (TypeError, ValueError, OverflowError):
            typed[name] = typed[name].astype("string")
    return typed


def written(path, frame, kind):
    """Writes the frame; False: the format has no such frame."""
    if path.suffix == ".csv":
        path.write_bytes(frame.to_csv(index=False).encode("utf-8", "surrogatepass"))
        return True
    try:
        as_typed(frame, kind).to_parquet(path, index=False)
    except (pa.ArrowException, TypeError, ValueError):
        return False
    return True


def require_one_clear_text(error, named):
    text = str(error)
    assert 0 < len(text) < LONGEST
    assert text.replace("\n", "").isprintable(), repr(text)
    assert re.search(named, text), text


def require_promises(dataset):
    """Finite windows; each split before the next, and each with the bars that its windows need."""
    train, validation, test = dataset.train, dataset.validation, dataset.test.open()
    for windows in (train, validation, test):
        assert len(windows) > 0
        assert bool(windows.gather(torch.arange(len(windows))).isfinite().all())
        assert bool(((windows.labels >= 0) & (windows.labels < dataset.n_classes)).all())
        assert windows.values is None or bool(windows.values.isfinite().all())
    assert np.isfinite(dataset.value_mean)
    assert dataset.value_std > 0
    assert min(train.class_counts(dataset.n_classes)) > 0
    assert train.dates.max() < validation.dates.min() or train.symbols[0] == "loader"
    assert validation.dates.max() < test.dates.min() or train.symbols[0] == "loader"


@relaxed
@given(
    frame=frames(),
    suffix=st.sampled_from([".csv", ".parquet"]),
    kind=st.none() | kinds,
    bad_bars=st.sampled_from(["error", "drop", "keep"]),
    target=st.sampled_from(["direction", "volatility", "triple_barrier"]),
)
def test_bars_are_a_dataset_or_one_clear_error(frame, suffix, kind, bad_bars, target):
    with tempfile.TemporaryDirectory() as folder:
        if not written(Path(folder) / f"X{suffix}", frame, kind):
            return
        asked = DataSettings(data_dir=Path(folder), lookback=3, on_bad_bars=bad_bars, target=target)
        try:
            dataset = prepare_dataset(asked)
        except InputError as error:
            require_one_clear_text(error, rf"X \(.*X\{suffix}\): |too few bars|windows")
        else:
            require_promises(dataset)


dtypes = st.sampled_from(
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)


@st.composite
def tensors(draw, shape):
    """A tensor of about this shape, or something else."""
    kind = draw(st.sampled_from(["right"] * 12 + ["dtype", "shape", "number", "array", "none", "meta"]))
    made = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if kind == "dtype":
        return made.to(draw(dtypes))
    if kind == "shape":
        return torch.zeros(draw(st.lists(st.integers(0, 6), max_size=4)))
    if kind == "number" and made.numel():
        made = made.double()
        made.view(-1)[draw(st.integers(0, made.numel() - 1))] = draw(numbers)
        return made
    return {"array": made.numpy(), "none": None, "meta": made.to("meta")}.get(kind, made)


@st.composite
def labels(draw, windows):
    """Integers from 0, or something else."""
    kind = draw(st.sampled_from(["right"] * 10 + ["any", "floats", "shape", "one", "big"]))
    classes = torch.arange(windows) % draw(st.integers(2, 4))
    return {
        "any": torch.tensor(draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=windows, max_size=windows))),
        "floats": classes.float(),
        "shape": classes.reshape(-1, 1),
        "one": torch.zeros_like(classes),
        "big": classes * 10**15,
    }.get(kind, classes)


@st.composite
def loaders(draw):
    """Three loaders, as lists of batches or DataLoaders."""
    time, features, with_values = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.booleans())
    made = []
    for _ in range(draw(st.sampled_from([3] * 9 + [2]))):
        batches = []
        for _ in range(draw(st.sampled_from([1, 1, 1, 2, 0]))):
            windows = draw(st.integers(0, 12))
            batch = [draw(tensors((windows, time, features))), draw(labels(windows))]
            batches.append((*batch, *([draw(tensors((windows,)))] if with_values else [])))
        first = batches[0] if batches else ()
        lengths = {len(t) if isinstance(t, torch.Tensor) and t.ndim else None for t in first}
        if draw(st.booleans()) and len(lengths) == 1 and lengths.isdisjoint({None, 0}):
            made.append(DataLoader(TensorDataset(*first), batch_size=5, shuffle=draw(st.booleans())))
        else:
            made.append(batches)
    return made


@relaxed
@given(given=loaders(), dim=st.none() | st.integers(-1, 4))
def test_loaders_are_a_dataset_or_one_clear_error(given, dim):
    try:
        dataset = dataset_from_loaders(given, dim)
    except InputError as error:
        require_one_clear_text(error, r"^.*(loader|windows must have at least|input_dim|y_reg).*$")
    else:
        require_promises(dataset)


def test_a_short_form_of_the_long_fuzzing(tmp_path):
    found = fuzz(40, 3, tmp_path)
    assert found["faults"] == []
    assert (found["files"], found["sound"] + found["refused"]) == (40, 40)
    assert min(found["sound"], found["refused"]) > 0
