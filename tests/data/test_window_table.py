"""Windows: gather against slicing, and that none crosses a symbol or a hole."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.features import WARM_UP
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.window_table import bars_needed, feature_rows, frame_labels, frame_windows
from cnn_lstm_hyperopt.data.windows import Windows


@pytest.fixture
def windows() -> Windows:
    starts = torch.tensor([0, 1, 7, 10])
    return Windows(
        series=torch.arange(40, dtype=torch.float32).reshape(20, 2),
        starts=starts,
        lookback=4,
        labels=torch.tensor([0, 1, 1, 2]),
        values=torch.tensor([0.0, 0.1, 0.7, 1.0]),
        dates=np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], dtype="datetime64[ns]"),
        symbols=np.array(["A", "A", "B", "B"]),
    )


def test_gather_equals_slicing(windows):
    index = torch.tensor([3, 0, 3])
    expected = torch.stack([windows.series[int(s) : int(s) + 4] for s in windows.starts[index]])
    assert torch.equal(windows.gather(index), expected)
    assert windows.gather(torch.tensor([], dtype=torch.int64)).shape == (0, 4, 2)


def test_subset_keeps_all_fields_together(windows):
    part = windows.subset(np.array([2, 0, 1]))  # a 3-cycle: a swap would be its own inverse
    assert len(part) == 3
    assert part.labels.tolist() == [1, 0, 1]
    assert part.symbols.tolist() == ["B", "A", "A"]
    assert part.values.tolist() == pytest.approx([0.7, 0.0, 0.1])
    assert part.dates.astype("datetime64[D]").astype(str).tolist() == ["2020-01-03", "2020-01-01", "2020-01-02"]
    assert torch.equal(part.gather(torch.tensor([0, 1, 2])), windows.gather(torch.tensor([2, 0, 1])))
    assert part.series is windows.series


def test_small_facts(windows):
    assert len(windows) == 4
    assert windows.input_dim == 2
    assert windows.class_counts(4) == (1, 2, 1, 0)
    assert windows.to("cpu").device == torch.device("cpu")


@pytest.mark.parametrize("lookback", [2, 5, 11])
def test_no_window_crosses_a_hole_and_none_is_missed(make_frame, lookback):
    frame = make_frame(190, holes=(50, 90, 130))  # segments of 50, 40, 40 and 60 bars
    features, ends, dates = frame_windows(frame, lookback, 10)
    expected_dates, expected_inputs = [], []
    for first, stop in ((0, 50), (50, 90), (90, 130), (130, 190)):
        alone = BUILT_IN.compute(frame.iloc[first:stop])
        for end in range(WARM_UP + lookback - 1, stop - first):
            expected_dates.append(frame.index[first + end])
            expected_inputs.append(alone[end - lookback + 1 : end + 1])
    assert dates.tolist() == [stamp.value for stamp in expected_dates]
    for end, expected in zip(ends, expected_inputs, strict=True):
        np.testing.assert_array_equal(features[end - lookback + 1 : end + 1], expected)


def test_a_frame_that_is_too_short_has_no_windows(make_frame):
    features, ends, dates = frame_windows(make_frame(20), 5, 10)
    assert (len(features), len(ends), len(dates)) == (0, 0, 0)


def test_rows_with_missing_features_are_in_no_window(make_frame):
    frame = make_frame(100)
    frame.iloc[60, frame.columns.get_loc("open")] = np.nan  # spoils row 60 − 33 = 27 alone
    rows = feature_rows(frame, 4, 10)
    assert np.isnan(rows.features[27]).any()
    np.testing.assert_array_equal(rows.ends, [*range(3, 27), *range(31, 67)])


@pytest.mark.parametrize("target", ["direction", "volatility"])
@pytest.mark.parametrize(("lookback", "horizon"), [(2, 1), (10, 5), (60, 3)])
def test_bars_needed_is_exact(make_frame, target, lookback, horizon):
    asked = DataSettings(lookback=lookback, target=target, horizon=horizon)
    needed = bars_needed(asked)
    for bars, expected in ((needed - 1, 0), (needed, 1)):
        frame = make_frame(bars)
        rows = feature_rows(frame, lookback, 10)
        valid = frame_labels(frame, rows.segment, labeller(asked)).valid
        assert int(valid[rows.bars[rows.ends]].sum()) == expected


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_of_any_symbols_and_holes_stay_within_one_symbol_and_segment(data, make_frame, tmp_path_factory):
    """Each window of each split is one run of bars of its own symbol, without a hole."""
    folder = tmp_path_factory.mktemp("bars")
    lookback = data.draw(st.integers(2, 12), label="lookback")
    frames = {}
    for symbol in "ABC"[: data.draw(st.integers(1, 3), label="symbols")]:
        bars = data.draw(st.integers(120, 260), label="bars")
        holes = data.draw(st.lists(st.integers(60, bars - 1), max_size=2, unique=True), label="holes")
        frames[symbol] = make_frame(bars, seed=ord(symbol), holes=tuple(holes))
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
