"""A user's own features, columns and functions: they become inputs, and wrong ones are refused."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from builders.errors import raises
from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.own_features import FeatureSet, feature_set
from cnn_lstm_hyperopt.data.window_table import feature_rows, frame_windows
from cnn_lstm_hyperopt.errors import DataError

GOOD = """
import numpy as np
import pandas as pd

def momentum(frame):
    close = frame["close"]
    return pd.DataFrame({"mom10": close.pct_change(10), "vol10": np.log(close).diff().rolling(10).std()}, index=frame.index)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``module("def f(frame): …")`` writes a module into the current directory; the reference ``module:f`` comes back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])

    def write(source: str, function: str = "f", name: str | None = None) -> str:
        module_name = name or f"own_{abs(hash((source, str(tmp_path))))}"
        (tmp_path / f"{module_name}.py").write_text("import numpy as np\nimport pandas as pd\n" + source)
        return f"{module_name}:{function}"

    return write


@pytest.fixture
def bars() -> list[Bars]:
    frames = {name: random_frame(700, seed).assign(mood=moods(700, seed)) for name, seed in (("A", 1), ("B", 2))}
    return [Bars(name, frame, "none") for name, frame in frames.items()]


def refused(bars, field: str, code: str, **asked) -> None:
    with raises(DataError, code, field) as text:
        feature_set(settings(**asked), bars)
    assert text[0].isprintable()
    assert len(text[0]) < 400


def moods(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 100).normal(size=count)


def settings(**changed) -> DataSettings:
    return DataSettings(source="embedded", lookback=10, **changed)


def returning(expression: str) -> str:
    return f"def f(frame):\n    return {expression}\n"


def raising(expression: str) -> str:
    return f"def f(frame):\n    raise {expression}\n"


def new(columns: str) -> str:
    return returning(f"pd.DataFrame({{{columns}}}, index=frame.index)")


def test_the_function_sees_the_columns_and_one_segment_at_a_time(module):
    source = new("'first': frame['close'].iloc[0], 'feeling': frame['mood'] * 2")
    holed = random_frame(700, 3, holes=(40, 55, 400)).assign(mood=moods(700, 3))
    features = feature_set(settings(feature_columns=["mood"], features=module(source)), [Bars("A", holed, "none")])
    rows = feature_rows(holed, 10, 10, features)
    first, second, third = (holed["close"].iloc[begin] for begin in (0, 55, 400))
    expected = np.select([rows.bars < 40, rows.bars < 400], [first, second], third)
    np.testing.assert_array_equal(rows.features[:, 12], expected)  # the 15 bars between two holes have no features
    np.testing.assert_array_equal(rows.features[:, 13], 2 * holed["mood"].to_numpy()[rows.bars])


def test_windows_without_a_value_are_not_used():
    frame = random_frame(120).assign(mood=1.0)
    frame.iloc[[50, 80], 5] = np.nan
    _, ends, dates = frame_windows(frame, 5, 10, FeatureSet(("mood",)))
    places = frame.index.get_indexer(pd.DatetimeIndex(dates))
    assert places.tolist() == [*range(37, 50), *range(55, 80), *range(85, 120)]
    assert len(ends) == len(places)


def test_a_feature_that_never_has_a_value_says_so():
    with raises(DataError, "feature-without-values", "mood"):
        feature_rows(random_frame(90).assign(mood=np.nan), 5, 10, FeatureSet(("mood",)), symbol="A")


def test_a_long_warm_up_is_waited_for(bars, module):
    """The function has no value within the bars that are sampled at first."""
    reference = module(returning("frame[['close']].rolling(600).mean().rename(columns={'close': 'slow'})"))
    features = feature_set(settings(features=reference), bars)
    assert features.added == ("slow",)
    assert len(feature_rows(bars[0].frame, 10, 10, features).ends) == 700 - 599 - 9


FUNCTIONS = {  # code: sources of a wrong function, or names of a missing one
    "no-module": ["nowhere_to_be_found:f", "nowhere_to_be.found:f"],
    "no-function": ["def g(frame):\n    pass\n"],
    "not-callable": ["f = 3\n"],
    "import-raises": [
        *("import not_there_at_all\n", "def f(:\n", "1 / 0\n"),
        *("import sys\nsys.exit(7)\n", "raise BaseException('boo')\n"),
    ],
    "function-raises": [
        returning("frame['sentiment']"),
        *map(raising, ("SystemExit(3)", "ValueError('no\\n' * 5000)", "GeneratorExit", "BaseException('boo')")),
        "import asyncio\n" + raising("asyncio.CancelledError('late')"),
        "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\n" + raising("Mute"),
    ],
    "not-a-frame": [
        "async def f(frame):\n    return frame\n",
        *map(returning, ("None", "frame['close'].rank()", "frame.to_numpy()")),
    ],
    "another-index": [
        returning("pd.DataFrame({'x': frame['close']}).dropna().iloc[5:]"),
        returning("pd.DataFrame({'x': frame['close'].to_numpy()})"),
    ],
    "no-columns": [returning("frame[[]]")],
    "not-numbers": [new("'x': 'good'"), new("'x': frame.index"), new("'x': 1j")],
    "name-taken": [
        *(new(f"'{name}': 1.0") for name in ("close", "rsi14", "mood")),
        returning("pd.concat([frame[['close']] * 2] * 2, axis=1).set_axis(['x', 'x'], axis=1)"),
    ],
    "column-without-name": [new("0: 1.0")],
    "name-not-printable": [new("'\\x1b[31m': 1.0"), new("'x' * 101: 1.0")],
    "too-many-columns": [new("**{f'x{n}': 1.0 for n in range(1001)}")],
    "frame-changed": [
        "def f(frame):\n    frame['x'] = 1.0\n    return frame\n",
        "def f(frame):\n    frame.loc[:, 'close'] = 1.0\n    return frame[['close']].set_axis(['x'], axis=1)\n",
    ],
    "columns-vary": [
        new("f'x{frame.shape[0] // 500}': 1.0"),
        returning("pd.DataFrame({'liquid' if frame['volume'].any() else 'not': frame['close']})"),
    ],
}
VALUES = {  # code: sources of a function whose feature x is wrong
    "not-finite": [new("'x': np.where(np.arange(len(frame)) % 100 == 7, np.inf, 1.0)")],
    "too-large": [new("'x': 1e30")],
    "random-feature": [new("'x': np.random.default_rng().normal(size=len(frame))")],
    "looks-ahead": [new("'x': frame['close'].shift(-1)"), new("'x': frame['close'] / frame['close'].mean()")],
}


@pytest.mark.parametrize(
    ("field", "code", "source"),
    [
        (field, code, source)
        for field, table in (("data.features", FUNCTIONS), ("x", VALUES))
        for code, sources in table.items()
        for source in sources
    ],
)
def test_a_function_that_breaks_a_rule_is_refused(bars, module, field, code, source):
    reference = source if source.startswith("nowhere") else module(source)
    bars[1].frame["volume"] = 0.0
    refused(bars, field, code, feature_columns=["mood"], features=reference)


def test_ctrl_c_in_a_function_is_not_an_error_of_it(bars, module):
    with pytest.raises(KeyboardInterrupt):
        feature_set(settings(features=module(raising("KeyboardInterrupt"))), bars)


def test_a_function_that_reads_tomorrow_from_a_file_is_found_by_statistics(bars, module, tmp_path):
    """Recomputing it changes nothing: the file has the future already."""
    bars[0].frame[["close"]].shift(-1).set_axis(["oracle"], axis=1).to_parquet(tmp_path / "closes.parquet")
    source = returning("pd.read_parquet('closes.parquet').reindex(frame.index)")
    refused(bars, "oracle", "knows-later-bars", features=module(source))


def test_a_column_that_contains_tomorrow_is_found_in_any_symbol(bars):
    bars[1].frame["mood"] = bars[1].frame["close"].pct_change().shift(-1)
    refused(bars, "mood", "knows-later-bars", feature_columns=["mood"])
    bars[1].frame["mood"] = bars[1].frame["mood"].shift(1)
    assert feature_set(settings(feature_columns=["mood"]), bars).own == ("mood",)


def test_columns_that_are_inputs_already_or_missing_are_refused(bars):
    for columns in (["close"], ["atr14"], ["mood", "mood"]):
        refused(bars, "data.feature_columns", "name-taken", feature_columns=columns)
    refused(bars, "data.feature_columns", "missing-column", feature_columns=["news"])


def write_files(folder: Path, bars: list[Bars]) -> None:
    folder.mkdir(exist_ok=True)
    for each in bars:
        each.frame.rename(columns={"mood": "Mood"}).to_csv(folder / f"{each.symbol}.csv")


def test_columns_and_functions_go_through_to_the_windows(bars, module, tmp_path):
    write_files(tmp_path / "bars", bars)
    asked = {"feature_columns": ["Mood"], "features": module(GOOD, "momentum")}
    dataset = prepare_dataset(DataSettings(data_dir=tmp_path / "bars", lookback=10, target="volatility", **asked))
    assert dataset.feature_names == (*FEATURE_NAMES, "Mood", "mom10", "vol10")
    assert dataset.train.input_dim == dataset.validation.input_dim == dataset.test.open().input_dim == 14
    assert dataset.for_trials().folds[0].train.input_dim == 14
    assert len(dataset.scaler.mean) == 14
    frame = {each.symbol: each.frame for each in bars}
    windows = dataset.validation
    inputs = windows.gather(torch.arange(len(windows))).numpy()
    for x, stamp, symbol in zip(inputs[::20], windows.dates[::20], windows.symbols[::20], strict=True):
        place = frame[symbol].index.get_loc(stamp)
        close, mood = frame[symbol]["close"], frame[symbol]["mood"]
        own = np.column_stack([mood, close.pct_change(10), np.log(close).diff().rolling(10).std()])[
            place - 9 : place + 1
        ]
        expected = (own - dataset.scaler.mean[11:]) / dataset.scaler.std[11:]
        np.testing.assert_allclose(x[:, 11:], expected, rtol=1e-4, atol=1e-5)


def test_data_json_has_own_features_and_changes_with_their_values(bars, module, tmp_path):
    write_files(tmp_path / "bars", bars)

    def described(**asked):
        given = DataSettings(data_dir=tmp_path / "bars", lookback=10, target="volatility", **asked)
        return prepare_dataset(given).description

    assert "own_features" not in described()
    shas = set()
    for factor in (1, 2):
        source = returning(f"pd.DataFrame({{'mom': frame['close'].pct_change({factor})}})")
        reference = module(source, name=f"momentum_{factor}")
        facts = described(features=reference, feature_columns=["Mood"])
        own = facts["own_features"]
        assert facts["features"] == [*FEATURE_NAMES, "Mood", "mom"]
        assert (own["columns"], own["function"]) == (["Mood"], reference)
        shas |= {facts["sha256"], own["sha256"]}
    assert len(shas) == 4
