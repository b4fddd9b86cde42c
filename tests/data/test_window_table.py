"""Windows: gather against slicing, and that none crosses a symbol or a hole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.features import WARM_UP
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.windows import Windows


@pytest.fixture
def windows() -> Windows:
    return Windows(
        series=torch.arange(40, dtype=torch.float32).reshape(20, 2),
        starts=torch.tensor([0, 1, 7, 10]),
        lookback=4,
        labels=torch.tensor([0, 1, 1, 2]),
        values=torch.tensor([0.0, 0.1, 0.7, 1.0]),
        dates=np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[ns]"),
        symbols=np.array(["A", "A", "B", "B"]),
    )


def test_gather_equals_slicing(windows):
    index = torch.tensor([3, 0, 3])
    expected = torch.stack([windows.series[int(s) : int(s) + 4] for s in windows.starts[index]])
    assert torch.equal(windows.gather(index), expected)
    assert windows.gather(torch.tensor([], dtype=torch.int64)).shape == (0, 4, 2)
    assert (len(windows), windows.input_dim, windows.class_counts(4)) == (4, 2, (1, 2, 1, 0))
    assert windows.to("cpu").device == torch.device("cpu")


def test_subset_keeps_all_fields_together(windows):
    part = windows.subset(np.array([2, 0, 1]))  # a 3-cycle: a swap would be its own inverse
    assert len(part) == 3
    assert part.labels.tolist() == [1, 0, 1]
    assert part.symbols.tolist() == ["B", "A", "A"]
    assert part.values.tolist() == pytest.approx([0.7, 0.0, 0.1])
    assert part.dates.tolist() == windows.dates[[2, 0, 1]].tolist()
    assert torch.equal(part.gather(torch.tensor([0, 1, 2])), windows.gather(torch.tensor([2, 0, 1])))
    assert part.series is windows.series


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_windows_of_any_symbols_and_holes_stay_within_one_symbol_and_segment(data, tmp_path_factory):
    """Each window of each split is one run of bars of its own symbol, without a hole."""
    folder = tmp_path_factory.mktemp("bars")
    lookback = data.draw(st.integers(2, 12), label="lookback")
    frames = {}
    for symbol in "ABC"[: data.draw(st.integers(1, 3), label="symbols")]:
        bars = data.draw(st.integers(200, 260), label="bars")
        holes = data.draw(st.lists(st.integers(60, bars - 1), max_size=2, unique=True), label="holes")
        frames[symbol] = random_frame(bars, seed=ord(symbol), holes=tuple(holes))
        frames[symbol].to_csv(folder / f"{symbol}.csv")
    dataset = prepare_dataset(DataSettings(data_dir=folder, lookback=lookback, target="direction"))
    for windows in (dataset.train, dataset.validation, dataset.test.open()):
        inputs = windows.gather(torch.arange(len(windows))).numpy()
        for x, stamp, symbol in zip(inputs, windows.dates, windows.symbols, strict=True):
            frame = frames[str(symbol)]
            place = frame.index.get_loc(stamp)
            days = frame.index[place - lookback + 1 : place + 1]
            assert len(days) == lookback
            assert (days[1:] - days[:-1]).max().days <= 10  # weekdays and holes of 42 days: no hole inside
            begins = np.flatnonzero(np.diff(frame.index.asi8) > 10 * 86_400e9) + 1
            begin = max(begins[begins <= place], default=0)
            alone = BUILT_IN.compute(frame.iloc[begin : place + 1])[-lookback:]  # its own segment, nothing later
            np.testing.assert_allclose(x, dataset.scaler.transform(alone), rtol=1e-4, atol=1e-4)
    for symbol, frame in frames.items():  # no window is missed
        begins = [0, *np.flatnonzero(np.diff(frame.index.asi8) > 10 * 86_400e9) + 1, len(frame)]
        expected = [max(size - WARM_UP - lookback, 0) for size in np.diff(begins)]
        assert sum(dataset.description["windows"][symbol].values()) == sum(expected)
