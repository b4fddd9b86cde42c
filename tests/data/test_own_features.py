"""Own features: columns and functions of the user, what is refused, and that they become inputs."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.own_features import BUILT_IN, FeatureSet, feature_set
from cnn_lstm_hyperopt.data.window_table import feature_rows, frame_windows
from cnn_lstm_hyperopt.errors import DataError

GOOD = """
import numpy as np
import pandas as pd

def momentum(frame):
    close = frame["close"]
    return pd.DataFrame({"mom10": close.pct_change(10), "vol10": np.log(close).diff().rolling(10).std()}, index=frame.index)
"""

Write = Callable[..., str]


@pytest.fixture
def module(tmp_path, monkeypatch) -> Write:
    """``module("def f(frame): …")`` writes a module into the current directory; the reference ``module:f`` comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])

    def write(source: str, function: str = "f", name: str | None = None) -> str:
        module_name = name or f"own_{abs(hash((source, str(tmp_path))))}"
        (tmp_path / f"{module_name}.py").write_text("import numpy as np\nimport pandas as pd\n" + source)
        return f"{module_name}:{function}"

    return write


@pytest.fixture
def bars(make_frame) -> list[Bars]:
    return [
        Bars(name, make_frame(700, seed).assign(mood=moods(700, seed)), "none") for name, seed in (("A", 1), ("B", 2))
    ]


def moods(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 100).normal(size=count)


def settings(**changed) -> DataSettings:
    return DataSettings(source="embedded", lookback=10, **changed)


def returning(expression: str) -> str:
    return f"def f(frame):\n    return {expression}\n"


def test_without_own_features_the_inputs_are_the_eleven(bars):
    features = feature_set(settings(), bars)
    assert features == BUILT_IN
    assert features.names == FEATURE_NAMES


def test_columns_and_what_the_function_adds_come_after_the_eleven(bars, module):
    reference = module(GOOD, "momentum")
    features = feature_set(settings(feature_columns=["mood"], features=reference), bars)
    assert features.names == (*FEATURE_NAMES, "mood", "mom10", "vol10")
    frame = bars[0].frame
    inputs = features.compute(frame)
    np.testing.assert_array_equal(inputs[:, :11], BUILT_IN.compute(frame))
    np.testing.assert_array_equal(inputs[:, 11], frame["mood"])
    np.testing.assert_array_equal(inputs[:, 12], frame["close"].pct_change(10))
    assert np.isnan(inputs[:10, 12]).all()


def test_the_function_sees_the_columns_and_one_segment_at_a_time(make_frame, module):
    source = returning(
        "pd.DataFrame({'first': frame['close'].iloc[0], 'feeling': frame['mood'] * 2}, index=frame.index)"
    )
    holed = make_frame(700, 3, holes=(40, 55, 400)).assign(mood=moods(700, 3))
    features = feature_set(settings(feature_columns=["mood"], features=module(source)), [Bars("A", holed, "none")])
    rows = feature_rows(holed, 10, 10, features)
    expected = np.select(
        [rows.bars < 40, rows.bars < 400], [holed["close"].iloc[0], holed["close"].iloc[55]], holed["close"].iloc[400]
    )
    np.testing.assert_array_equal(rows.features[:, 12], expected)  # the 15 bars between two holes have no features
    np.testing.assert_array_equal(rows.features[:, 13], 2 * holed["mood"].to_numpy()[rows.bars])


def test_windows_without_a_value_are_not_used(make_frame):
    frame = make_frame(120).assign(mood=1.0)
    frame.iloc[[50, 80], 5] = np.nan
    _, ends, dates = frame_windows(frame, 5, 10, FeatureSet(("mood",)))
    places = frame.index.get_indexer(pd.DatetimeIndex(dates))
    assert places.tolist() == [*range(37, 50), *range(55, 80), *range(85, 120)]
    assert len(ends) == len(places)


def test_a_feature_that_never_has_a_value_says_so(make_frame):
    frame = make_frame(90).assign(mood=np.nan)
    with pytest.raises(
        DataError, match=r"^A: the feature mood has no value in any of 57 bars; fill it, give more bars"
    ):
        feature_rows(frame, 5, 10, FeatureSet(("mood",)), symbol="A")


def test_a_long_warm_up_is_waited_for(bars, module):
    """The function has no value within the bars that are sampled at first."""
    reference = module(returning("frame[['close']].rolling(600).mean().rename(columns={'close': 'slow'})"))
    features = feature_set(settings(features=reference), bars)
    assert features.added == ("slow",)
    assert len(feature_rows(bars[0].frame, 10, 10, features).ends) == 700 - 599 - 9


FAULTS = {
    "no module": (
        "nowhere_to_be_found:f",
        r"there is no module nowhere_to_be_found, neither in the current directory .*; start",
    ),
    "no package": ("nowhere_to_be.found:f", "there is no module nowhere_to_be, neither"),
    "no function": ("def g(frame):\n    pass\n", r"has no function f; it has: g$"),
    "no callable": ("f = 3\n", "f is no function, but int"),
    "an import that fails": (
        "import not_there_at_all\n",
        r"importing own_\d+ raises ModuleNotFoundError: No module named 'not_there_at_all'",
    ),
    "no Python": ("def f(:\n", "raises SyntaxError"),
    "a module that raises": ("1 / 0\n", "importing .* raises ZeroDivisionError: division by zero"),
    "it raises": (returning("frame['sentiment']"), r"\(A\): raises KeyError: 'sentiment'"),
    "nothing": (returning("None"), "must return a pandas DataFrame, but returns NoneType$"),
    "a series": (returning("frame['close'].rank()"), r"but returns Series; use .to_frame\('name'\)"),
    "an array": (returning("frame.to_numpy()"), "but returns ndarray$"),
    "fewer rows": (
        returning("pd.DataFrame({'x': frame['close']}).dropna().iloc[5:]"),
        r"with the index that it gets \(700 bars\), but returns 695 rows",
    ),
    "another index": (
        returning("pd.DataFrame({'x': frame['close'].to_numpy()})"),
        "returns 700 rows with another index",
    ),
    "no column": (returning("frame[[]]"), "returns no column; return at least one"),
    "text": (returning("pd.DataFrame({'x': 'good'}, index=frame.index)"), "returns x as str; return numbers only"),
    "dates": (
        returning("pd.DataFrame({'x': frame.index}, index=frame.index)"),
        r"returns x as datetime64\[ns\]; return numbers only",
    ),
    "complex numbers": (returning("pd.DataFrame({'x': 1j}, index=frame.index)"), "returns x as complex128"),
    "a name of the bars": (
        returning("pd.DataFrame({'close': 1.0}, index=frame.index)"),
        "returns close, a name that is taken",
    ),
    "a built-in name": (
        returning("pd.DataFrame({'rsi14': 1.0}, index=frame.index)"),
        "returns rsi14, a name that is taken",
    ),
    "a column's name": (
        returning("pd.DataFrame({'mood': 1.0}, index=frame.index)"),
        "returns mood, a name that is taken",
    ),
    "a name twice": (
        returning("pd.concat([frame[['close']] * 2] * 2, axis=1).set_axis(['x', 'x'], axis=1)"),
        "returns x, a name that is taken",
    ),
    "no name": (returning("pd.DataFrame({0: 1.0}, index=frame.index)"), "returns a column without a name"),
    "the frame itself": (
        "def f(frame):\n    frame['x'] = 1.0\n    return frame\n",
        r"changes the frame that it gets; begin with frame = frame.copy\(\)",
    ),
    "prices changed": (
        "def f(frame):\n    frame.loc[:, 'close'] = 1.0\n    return frame[['close']].set_axis(['x'], axis=1)\n",
        "changes the frame that it gets",
    ),
    "infinite": (
        returning("pd.DataFrame({'x': np.where(np.arange(len(frame)) % 100 == 7, np.inf, 1.0)}, index=frame.index)"),
        r"^A: the feature x must be finite, but is inf on 2010-01-13 \(7 bars\)",
    ),
    "names that change": (
        returning("pd.DataFrame({f'x{frame.shape[0] // 500}': 1.0}, index=frame.index)"),
        r"returns x0, but x1 for other bars; return the same columns for all bars",
    ),
    "randomness": (
        returning("pd.DataFrame({'x': np.random.default_rng().normal(size=len(frame))}, index=frame.index)"),
        "the feature x is random",
    ),
    "tomorrow": (
        returning("pd.DataFrame({'x': frame['close'].shift(-1)})"),
        "^A: the feature x looks ahead: on 2010-02-18",
    ),
    "the mean of all bars": (
        returning("pd.DataFrame({'x': frame['close'] / frame['close'].mean()})"),
        "the feature x looks ahead",
    ),
}


@pytest.mark.parametrize(("source", "message"), FAULTS.values(), ids=FAULTS)
def test_what_a_function_may_not_do_is_one_clear_line(bars, module, source, message):
    reference = source if source.startswith("nowhere") else module(source)
    with pytest.raises(DataError, match=message) as caught:
        feature_set(settings(feature_columns=["mood"], features=reference), bars)
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" not in str(caught.value)


def test_names_that_differ_between_symbols_are_refused(bars, module):
    bars[1].frame["volume"] = 0.0
    source = returning("pd.DataFrame({'liquid' if frame['volume'].any() else 'not': frame['close']})")
    with pytest.raises(DataError, match=r"\(B\): returns not, but liquid for other bars; return the same columns"):
        feature_set(settings(features=module(source)), bars)


def test_a_function_that_reads_tomorrow_from_a_file_is_found_by_statistics(bars, module, tmp_path):
    """Computing it again changes nothing: the file knows the future already."""
    bars[0].frame[["close"]].shift(-1).set_axis(["oracle"], axis=1).to_parquet(tmp_path / "closes.parquet")
    source = returning("pd.read_parquet('closes.parquet').reindex(frame.index)")
    with pytest.raises(
        DataError, match=r"^A: the feature oracle seems to know bars after its own .* close of bar t\+1 \(corr"
    ):
        feature_set(settings(features=module(source)), bars)


def test_a_column_that_contains_tomorrow_is_found_in_any_symbol(bars):
    bars[1].frame["mood"] = bars[1].frame["close"].pct_change().shift(-1)
    with pytest.raises(
        DataError, match=r"^B: the feature mood seems to know .*; shift the column by one bar if it is known"
    ):
        feature_set(settings(feature_columns=["mood"]), bars)
    bars[1].frame["mood"] = bars[1].frame["mood"].shift(1)
    assert feature_set(settings(feature_columns=["mood"]), bars).own == ("mood",)


@pytest.mark.parametrize("columns", [["close"], ["atr14"], ["mood", "mood"]])
def test_columns_that_are_inputs_already_are_refused(bars, columns):
    with pytest.raises(
        DataError, match=f"^data.feature_columns names {columns[0]}, which is an input already or twice there"
    ):
        feature_set(settings(feature_columns=columns), bars)


def test_a_column_that_the_bars_lack_is_named(bars):
    with pytest.raises(
        DataError,
        match=r"^A: the bars have no column news, which is an input \(data.feature_columns\); they have: open",
    ):
        feature_set(settings(feature_columns=["news"]), bars)


def write_files(folder: Path, bars: list[Bars]) -> None:
    folder.mkdir(exist_ok=True)
    for each in bars:
        each.frame.rename(columns={"mood": "Mood"}).to_csv(folder / f"{each.symbol}.csv")


def test_columns_and_functions_go_through_to_the_windows(bars, module, tmp_path):
    write_files(tmp_path / "bars", bars)
    asked = DataSettings(
        data_dir=tmp_path / "bars",
        lookback=10,
        feature_columns=["Mood"],
        features=module(GOOD, "momentum"),
        target="volatility",
    )
    dataset = prepare_dataset(asked)
    assert dataset.feature_names == (*FEATURE_NAMES, "Mood", "mom10", "vol10")
    assert dataset.train.input_dim == dataset.validation.input_dim == dataset.test.open().input_dim == 14
    assert dataset.for_trials().folds[0].train.input_dim == 14
    assert dataset.scaler is not None
    assert len(dataset.scaler.mean) == 14
    frame = {each.symbol: each.frame for each in bars}
    windows = dataset.validation
    inputs = windows.gather(torch.arange(len(windows))).numpy()
    for x, stamp, symbol in zip(inputs[::20], windows.dates[::20], windows.symbols[::20], strict=True):
        place = frame[symbol].index.get_loc(stamp)
        moods_then = frame[symbol]["mood"].iloc[place - 9 : place + 1]
        expected = (moods_then - dataset.scaler.mean[11]) / dataset.scaler.std[11]
        np.testing.assert_allclose(x[:, 11], expected, rtol=1e-4, atol=1e-5)


def test_data_json_tells_own_features_and_changes_with_their_values(bars, module, tmp_path):
    write_files(tmp_path / "bars", bars)
    plain = prepare_dataset(DataSettings(data_dir=tmp_path / "bars", lookback=10, target="volatility")).description
    assert "own_features" not in plain
    shas = set()
    for factor in (1, 2):
        source = returning(f"pd.DataFrame({{'mom': frame['close'].pct_change({factor})}})")
        reference = module(source, name=f"momentum_{factor}")
        asked = DataSettings(
            data_dir=tmp_path / "bars", lookback=10, target="volatility", features=reference, feature_columns=["Mood"]
        )
        described = prepare_dataset(asked).description
        assert described["features"] == [*FEATURE_NAMES, "Mood", "mom"]
        assert described["own_features"]["columns"] == ["Mood"]
        assert described["own_features"]["function"] == reference
        shas |= {described["sha256"], described["own_features"]["sha256"]}
    assert len(shas) == 4
