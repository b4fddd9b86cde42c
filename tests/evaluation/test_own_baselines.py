"""A user's baseline: what its windows hold, and which results are refused."""

import numpy as np
import pytest

from builders.errors import raises
from cnn_lstm_hyperopt import BaselineWindows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.evaluation.baselines.own_model import OwnModel

FIELD = "evaluation.baselines"


def windows(n: int = 6, seed: int = 0) -> BaselineWindows:
    """Windows of 3 rows of two segments with 10 rows each."""
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.choice([*range(8), *range(10, 18)], n, replace=False))
    return BaselineWindows(
        labels=np.arange(n) % 2,
        values=rng.normal(size=n),
        dates=np.arange(n),
        symbols=np.full(n, "A"),
        edges=np.zeros((n, 1)),
        class_names=("down", "up"),
        feature_names=("x", "y"),
        value_name="v",
        target="direction",
        lookback=3,
        horizon=1,
        seed=0,
        _starts=starts,
        _series=np.arange(40, dtype=np.float32).reshape(20, 2),
        _segment=np.repeat([0, 1], 10),
        _prices=np.repeat(np.arange(20, dtype=np.float32)[:, None], 5, axis=1),
    )


def half(given):
    return np.full((len(given), 2), 0.5)


def model(forecast, values=None) -> OwnModel:
    made = (
        forecast
        if values is None
        else type("Model", (), {"probabilities": staticmethod(forecast), "values": staticmethod(values)})()
    )
    return OwnModel("mine:f", lambda train, validation: made, windows(), windows())


def test_windows_have_their_rows_and_bars_of_their_own_segment():
    given = windows(8)
    for part, begin in ((given, 0), (list(given.batches(3))[1], 3)):
        bars = part.bars(7)
        assert bars.shape == (len(part), 7, 5)
        for place in range(len(part)):
            last = given._starts[begin + place] + 2
            rows = np.arange(last - 6, last + 1)
            np.testing.assert_array_equal(part.inputs[place], given._series[last - 2 : last + 1])
            np.testing.assert_array_equal(bars[place, :, 3], np.where(rows >= last // 10 * 10, rows, np.nan))


def test_a_function_or_an_object_gives_probabilities_and_values():
    given = windows()
    np.testing.assert_allclose(model(lambda w: half(w) * 1.0002).probabilities(given).sum(axis=1), 1.0, rtol=1e-12)
    assert model(half).values(given) is None
    np.testing.assert_array_equal(model(half, lambda w: list(range(len(w)))).values(given), np.arange(6.0))


def unseeded(given):
    share = np.random.default_rng().uniform(size=len(given))
    return np.stack([share, 1 - share], axis=1)


def of_the_call(given):
    share = given.inputs.mean() / 100
    return np.tile([share, 1 - share], (len(given), 1))


FORECASTS = {
    "function-raises": [lambda w: 1 / 0, lambda w: exit(3), lambda w: w.bars(0)],
    "wrong-shape": [
        lambda w: half(w)[:, 0],
        lambda w: half(w)[:-1],
        lambda w: np.full((len(w), 3), 1 / 3),
        lambda w: 0.5,
    ],
    "not-numbers": [lambda w: None, lambda w: half(w).astype(str), lambda w: half(w) * 1j, lambda w: [[1, 2], [3]]],
    "not-finite": [lambda w: half(w) * np.nan, lambda w: half(w) / 0.0],
    "not-probabilities": [lambda w: half(w) * 1.1, lambda w: np.tile([1.5, -0.5], (len(w), 1))],
    "depends-on-other-windows": [unseeded, of_the_call],
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    ("code", "forecast"), [(code, each) for code, several in FORECASTS.items() for each in several]
)
def test_a_wrong_forecast_is_one_line_with_its_rule(code, forecast):
    hidden = windows().part(slice(None))
    with raises(DataError, code, FIELD) as text:
        model(forecast).require_separate(hidden)
    assert text[0].isprintable()
    assert len(text[0]) < 400


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("wrong-shape", half),
        ("not-finite", lambda w: np.full(len(w), np.inf)),
        ("function-raises", lambda w: w.nothing),
    ],
)
def test_wrong_values_are_refused(code, values):
    with raises(DataError, code, FIELD):
        model(half, values).values(windows())


@pytest.mark.parametrize(
    ("code", "fit"),
    [("not-a-model", lambda t, v: half(t)), ("not-a-model", lambda t, v: None), ("function-raises", lambda t: half)],
)
def test_a_function_that_returns_no_model_is_refused(code, fit):
    with raises(DataError, code, FIELD):
        OwnModel("mine:f", fit, windows(), windows())
