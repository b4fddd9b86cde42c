"""Facts about bars for baselines: by hand, from earlier bars only, and the same for prices of another scale."""

import numpy as np
import pandas as pd
import pytest

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.market_history import market_columns

TARGETS = {
    "volatility": {"target": "volatility", "horizon": 3},
    "direction": {"target": "direction", "direction_classes": 3},
    "triple_barrier": {"target": "triple_barrier", "horizon": 5},
}


def of(frame: pd.DataFrame, target: str = "volatility"):
    return market_columns(frame, labeller(DataSettings(**TARGETS[target])))


def test_columns_by_hand():
    frame = random_frame(200)
    columns, level = of(frame)
    high, low, close = (frame[name].to_numpy() for name in ("high", "low", "close"))
    median = np.median([np.log(high[t - 2 : t + 1].max() / low[t - 2 : t + 1].min()) for t in range(90, 150)])
    assert level[149] == pytest.approx(np.log(median), rel=1e-6)
    ranges = np.log(np.log(high / low))
    for place, span in enumerate((1, 5, 22, 60)):
        assert columns[149, place] == pytest.approx(ranges[150 - span : 150].mean() - level[149], abs=1e-5)
        move = np.log(close[149] / close[149 - span]) / (np.sqrt(span) * median)
        assert columns[149, 4 + place] == pytest.approx(move, abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("step", ["B", "h"])
def test_later_bars_and_the_scale_of_prices_change_nothing_and_bars_without_range_are_finite(target, step):
    frame = random_frame(300, step=step)
    frame.iloc[100:180, :4] = frame["close"].iloc[100]  # no range and no move for longer than all spans
    columns, level = of(frame, target)
    assert np.isfinite(columns[70:]).all()
    assert np.isfinite(level[70:]).all()
    for end in (75, 150, 299):
        later = frame.copy()
        later.iloc[end + 1 :, :4] *= np.linspace(2, 9, 299 - end)[:, None]
        for before, after in zip((columns, level), of(later, target), strict=True):
            np.testing.assert_array_equal(after[: end + 1], before[: end + 1])
    for before, after in zip((columns, level), of(frame * 1e-4, target), strict=True):
        np.testing.assert_allclose(after[70:], before[70:], atol=1e-4)


def test_the_rows_of_a_dataset_are_those_of_its_windows(tmp_path):
    """The return of the last row of each window is that of the bar of its date; a value is ln range of the next bar."""
    frames = {name: random_frame(400, seed=ord(name), holes=(150,)) for name in "AB"}
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv")
    dataset = prepare_dataset(DataSettings(data_dir=tmp_path, symbols=("A", "B"), target="volatility", lookback=5))
    returns, seen = dataset.market.returns(), set()
    for part in (dataset.train, dataset.validation, dataset.test.open()):
        rows = part.starts.numpy() + 4
        for symbol, when, row, value in zip(part.symbols, part.dates, rows, part.values.tolist(), strict=True):
            frame = frames[symbol]
            place = frame.index.get_loc(when)
            assert returns[row] == pytest.approx(np.log(frame["close"].iloc[place] / frame["close"].iloc[place - 1]))
            usual = np.log((frame["high"] / frame["low"]).to_numpy()[place - 59 : place + 1])
            relative = np.log(np.log(frame["high"].iloc[place + 1] / frame["low"].iloc[place + 1]) / np.median(usual))
            found = dataset.market.relative(np.array([value]), np.array([row]))
            assert found[0] == pytest.approx(relative, abs=1e-5)
            seen.add(dataset.market.segment[row])
    assert len(seen) == 4  # two symbols with a hole
