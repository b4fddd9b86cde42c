"""Saved models: the same predictions after loading, from windows and from bars, without study and without pickle."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save

from cnn_lstm_hyperopt.config import DataSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.errors import DataError, SaveDirError
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import DESCRIPTION, WEIGHTS, SavedModel, load_model
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import ValueScale

LOOKBACK = 20
SPAN = (date(2005, 1, 3), date(2008, 12, 31))
SMALL = {
    "cnn.num_filters": 32,
    "cnn.filter_sizes": "3-5-7",
    "cnn.dropout": 0.1,
    "cnn.activation": "swish",
    "cnn.residual": True,
    "cnn.attention": False,
    "lstm.hidden_dim": 64,
    "lstm.num_layers": 1,
    "lstm.dropout": 0.1,
    "lstm.bidirectional": False,
    "lstm.attention": True,
    "lstm.attention_heads": 2,
    "lstm.skip_connections": False,
    "fusion.method": "concatenation",
    "fusion.dim": 128,
    "fusion.dropout": 0.1,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(apple) -> Dataset:
    return apple(start=SPAN[0], end=SPAN[1], lookback=LOOKBACK)


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    (loaded,), _ = EmbeddedSource().load(("AAPL",), *SPAN)
    return loaded.frame


@pytest.fixture(scope="module")
def model(dataset) -> SavedModel:
    """Untrained: what is saved is weights, not skill."""
    description = ModelDescription.of(dataset, SMALL, max_gap_days=10.0)
    return made(description)


@pytest.fixture
def folder(tmp_path, model) -> Path:
    model.save(tmp_path / "retrained_model_1")
    return tmp_path / "retrained_model_1"


def made(description: ModelDescription) -> SavedModel:
    network = build_network(description.network_config(), seed=3, device=torch.device("cpu"))
    return SavedModel(network.eval(), description)


def own_inputs(**changed) -> ModelDescription:
    """A model on a user's own inputs."""
    plain = ModelDescription(
        params=SMALL,
        class_names=("down", "flat", "up"),
        value_name=None,
        features=("a", "b"),
        scaler=None,
        value_scale=ValueScale(0.0, 1.0),
        target="y_class",
        lookback=6,
        horizon=1,
        max_gap_days=10.0,
    )
    return replace(plain, **changed)


def assert_same(first, second) -> None:
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.values, second.values)


def test_a_loaded_model_is_the_saved_one_to_the_bit(model, folder, dataset):
    loaded = load_model(folder)
    assert loaded.description == model.description
    weights, again = model.network.state_dict(), loaded.network.state_dict()
    assert list(weights) == list(again)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    for windows in (dataset.train, dataset.validation):
        assert_same(model.predict_windows(windows), loaded.predict_windows(windows))


@pytest.mark.slow
def test_a_model_predicts_alike_in_a_process_that_knows_nothing_of_the_study(model, folder, bars, tmp_path):
    bars.iloc[-200:].to_csv(tmp_path / "bars.csv")
    script = (
        "import sys, pandas, torch\n"
        "torch.set_num_threads(1)\n"
        "from cnn_lstm_hyperopt.inference.model import load_model\n"
        f"frame = load_model({str(folder)!r}).predict_bars(pandas.read_csv({str(tmp_path / 'bars.csv')!r}))\n"
        f"frame.to_parquet({str(tmp_path / 'out.parquet')!r})\n"
        "print([name for name in ('optuna', 'mlflow') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    expected = model.predict_bars(pd.read_csv(tmp_path / "bars.csv"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected, check_exact=True)


def test_bars_are_predicted_as_their_windows_are(model, dataset, bars):
    frame = model.predict_bars(bars, "AAPL").set_index("date")
    test = dataset.test.open()
    for windows in (dataset.train, dataset.validation, test):
        predictions = model.predict_windows(windows)
        same = frame.loc[windows.dates]
        assert len(same) == len(windows)
        np.testing.assert_allclose(same[["probability_0", "probability_1"]], predictions.probabilities, atol=1e-5)
        np.testing.assert_allclose(same["value"], predictions.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(same["class"], predictions.classes)


def test_the_last_bar_is_predicted_though_its_label_is_not_known_yet(model, bars):
    frame = model.predict_bars(bars)
    assert frame["date"].iloc[-1] == bars.index[-1]
    classes = ["class", "class_name", "probability_0", "probability_1"]
    assert frame.columns.tolist() == ["date", *classes, "value", "range_percent"]
    assert len(frame) == len(bars) - 33 - LOOKBACK + 1


def test_a_volatility_is_told_as_the_range_that_bars_have(model, dataset, bars):
    """In per cent: how far the highest high lies above the lowest low."""
    predicted = model.predict_bars(bars)
    expected = 100 * (np.exp(np.exp(predicted["value"].to_numpy(np.float64))) - 1)
    np.testing.assert_allclose(predicted["range_percent"], expected, rtol=1e-6)
    actual = model.description.own_unit.convert(dataset.train.values.numpy().astype(np.float64))
    following = bars.shift(-1).loc[dataset.train.dates]  # what was to be predicted
    np.testing.assert_allclose(actual, 100 * (following["high"] / following["low"] - 1), rtol=1e-4)


def test_values_of_a_users_own_have_no_other_unit(model):
    assert own_inputs(target="volatility", value_name="y_reg").own_unit is None
    assert replace(model.description, target="direction").own_unit.column == "change_percent"
    np.testing.assert_allclose(
        replace(model.description, target="direction").own_unit.convert(np.log([1.02, 0.95])), [2, -5]
    )


def test_the_last_windows_alone_are_computed_when_only_they_are_wanted(model, bars):
    computed = []
    everything = model.predict_frame(bars, "AAPL")
    with model.network.register_forward_hook(lambda module, args, output: computed.append(len(args[0]))):
        last = model.predict_frame(bars, "AAPL", last=3)
    assert sum(computed) == 3
    pd.testing.assert_frame_equal(last, everything.tail(3).reset_index(drop=True), rtol=1e-5)


def test_a_prediction_looks_back_only(model, bars):
    all_of_them = model.predict_bars(bars).set_index("date")
    until = model.predict_bars(bars.iloc[:300]).set_index("date")
    columns = ["probability_0", "probability_1", "value"]
    np.testing.assert_allclose(all_of_them.loc[until.index, columns], until[columns], rtol=1e-4, atol=1e-6)


def test_predictions_say_what_classes_and_value_mean(model, bars):
    frame = model.predict_bars(bars.iloc[:200])
    assert set(frame["class_name"]) <= {"calm", "volatile"}
    assert (frame["class_name"] == np.where(frame["class"] == 1, "volatile", "calm")).all()
    assert frame.attrs == {"class_names": ["calm", "volatile"], "value_name": "ln(ln(high / low)) of bar t+1"}


@pytest.mark.parametrize("nonsense", [None, 3, "bars.csv", [1, 2], {"close": [1.0]}, np.zeros((3, 5))])
def test_what_is_no_frame_is_refused_in_one_line(model, nonsense):
    with pytest.raises(
        DataError, match=r"^X: bars must be a pandas DataFrame with .*, but are \w+; read a file with"
    ) as caught:
        model.predict_bars(nonsense, "X")
    assert len(str(caught.value).splitlines()) == 1


def test_bars_may_come_in_any_order_and_case(model, bars):
    mixed = bars.iloc[:150].reset_index().sample(frac=1, random_state=0).rename(columns=str.upper)
    pd.testing.assert_frame_equal(model.predict_bars(mixed), model.predict_bars(bars.iloc[:150]))


def test_no_window_crosses_a_hole(model, bars):
    holed = pd.concat([bars.iloc[:100], bars.iloc[140:260]])
    frame = model.predict_bars(holed)
    whole = model.predict_bars(bars.iloc[140:260])
    assert len(frame) == (100 - 33 - LOOKBACK + 1) + len(whole)
    np.testing.assert_allclose(frame["value"].tail(len(whole)), whole["value"], rtol=1e-4, atol=1e-6)


def test_too_few_bars_say_how_many_a_window_needs(model, bars):
    with pytest.raises(DataError, match=r"^X: 40 bars hold no whole window of 20 bars; give more bars: 53 at least"):
        model.predict_bars(bars.iloc[:40], "X")


def test_a_model_of_own_inputs_reads_no_bars(bars):
    with pytest.raises(DataError, match=r"^this model reads inputs of its own \(a, b, …\), not bars$"):
        made(own_inputs()).predict_bars(bars)


def test_a_model_without_regression_and_scaler_survives_too(tmp_path):
    model = made(own_inputs(class_names=tuple("abcde")))
    model.save(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.description == model.description
    x = torch.randn(3, 6, 2)
    assert torch.equal(loaded.network(x).logits, model.network(x).logits)
    assert loaded.network(x).value is None
    assert loaded.network(x).logits.shape == (3, 5)


def test_no_file_is_a_pickle_and_the_description_is_strict_json(folder, dataset):
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    for path in folder.iterdir():
        start = path.read_bytes()[:2]
        assert start[:1] != b"\x80"  # pickle
        assert start != b"PK"  # torch.save's zip

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"), parse_constant=refuse)
    assert raw["params"]["cnn.filter_sizes"] == [3, 5, 7]
    assert raw["features"] == list(dataset.feature_names)
    assert raw["scaler"]["mean"] == list(dataset.scaler.mean)
    assert raw["value_scale"] == {"mean": dataset.value_mean, "std": dataset.value_std}
    assert (raw["target"], raw["lookback"], raw["horizon"], raw["format"]) == ("volatility", LOOKBACK, 1, 2)
    assert (raw["class_names"], raw["value_name"]) == (["calm", "volatile"], "ln(ln(high / low)) of bar t+1")
    assert (raw["feature_columns"], raw["feature_function"]) == ([], None)


def test_the_weights_file_holds_float32_tensors_by_name(model, folder):
    tensors = load_file(folder / WEIGHTS)
    assert sorted(tensors) == sorted(model.network.state_dict())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_saving_again_writes_the_same_bytes_over_the_old(model, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_size_told_before_training_is_that_of_the_file_within_a_hundredth(tmp_path):
    """SMALL is the default space's configuration with the largest share of names in its file."""
    space = parse_space(None)[0]
    drawn = [own_inputs(params=random_configuration(space, 5, number), value_name="y_reg") for number in range(30)]
    light = [each for each in drawn if each.network_config().cost(lookback=6).size_mb < 15]
    assert len(light) >= 8
    for description in (own_inputs(class_names=("down", "up")), *light):
        made(description).save(tmp_path)
        size_mb = (tmp_path / WEIGHTS).stat().st_size / 1e6
        assert size_mb == pytest.approx(description.network_config().cost(lookback=6).size_mb, rel=0.01)


def assert_refused(folder: Path) -> str:
    with pytest.raises(SaveDirError) as caught:
        load_model(folder)
    text = str(caught.value)
    assert text.startswith(f"{folder} holds no model")
    head, *faults = text.splitlines()
    assert not faults or (head.endswith(" faults:") and len(faults) > 1)
    assert len(text) < 4_000
    return text


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert "is missing" in assert_refused(folder)


def test_a_missing_folder_is_refused_naming_the_file_that_was_looked_for(tmp_path):
    assert assert_refused(tmp_path / "nowhere").endswith(f"holds no model: {DESCRIPTION} is missing")


@pytest.mark.parametrize("text", ["", "{not json", "null", "[1]", '"x"', "\x00\x01", "[" * 100_000, "{}"])
def test_a_description_that_is_none_is_refused(folder, text):
    (folder / DESCRIPTION).write_text(text)
    assert_refused(folder)


def test_a_description_that_is_no_text_is_refused(folder):
    (folder / DESCRIPTION).write_bytes(b"\xff\xfe\x00")
    assert_refused(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 3),
        ("format", None),
        ("format", 1),
        ("params", {}),
        ("scaler", 5),
        ("scaler", {"mean": [1]}),
        ("value_scale", None),
        ("value_scale", {"mean": 0, "std": 1, "more": 2}),
        ("features", 7),
        ("features", ["a"]),
        ("features", [1] * 11),
        ("class_names", "two"),
        ("class_names", ["down", "flat", "up"]),
        ("value_name", None),
        ("feature_columns", None),
        ("lookback", None),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, key, value):
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    (folder / DESCRIPTION).write_text(json.dumps(raw | {key: value}))
    assert_refused(folder)


def test_models_of_format_1_are_read(model, folder, bars):
    """They named neither classes nor values, and knew no features but the eleven."""
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    for name in ("class_names", "value_name", "feature_columns", "feature_function"):
        del raw[name]
    (folder / DESCRIPTION).write_text(json.dumps(raw | {"format": 1, "n_classes": 2, "has_regression": True}))
    old = load_model(folder).predict_bars(bars.iloc[:200])
    new = model.predict_bars(bars.iloc[:200])
    pd.testing.assert_frame_equal(old.drop(columns="class_name"), new.drop(columns="class_name"))
    assert set(old["class_name"]) <= {"class 0", "class 1"}


def test_others_may_read_the_weights_as_far_as_the_user_lets_them(model, tmp_path):
    before = os.umask(0o027)
    try:
        model.save(tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


OWN = """
import numpy as np
import pandas as pd

def swing(frame):
    return pd.DataFrame({"swing": frame["high"].rolling(5).max() / frame["low"].rolling(5).min(), "felt": frame["mood"] ** 2})
"""


@pytest.fixture
def with_own(tmp_path, monkeypatch, bars) -> tuple[SavedModel, pd.DataFrame, Dataset]:
    """A model with a column and a function of the user, trained for an epoch, saved and loaded; bars; what it was trained on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_swing.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_swing", raising=False)
    frame = bars.assign(mood=np.random.default_rng(0).normal(size=len(bars)))
    (tmp_path / "bars").mkdir()
    frame.rename(columns={"mood": "Mood "}).to_csv(tmp_path / "bars" / "AAPL.csv")
    asked = DataSettings(
        data_dir=tmp_path / "bars",
        feature_columns=["mood"],
        features="own_swing:swing",
        target="volatility",
        lookback=LOOKBACK,
    )
    dataset = prepare_dataset(asked)
    model = made(ModelDescription.of(dataset, SMALL, max_gap_days=asked.max_gap_days))
    network, train = model.network.train(), dataset.train
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for batch in torch.arange(len(train)).split(128):
        loss = torch.nn.functional.cross_entropy(network(train.gather(batch)).logits, train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    model.save(tmp_path / "model")
    return load_model(tmp_path / "model", importlib.import_module("own_swing").swing), frame, dataset


def test_a_trained_model_with_an_own_column_and_function_predicts_bars_as_their_windows(with_own):
    model, frame, dataset = with_own
    assert dataset.train.input_dim == 11 + 1 + 2
    assert model.description.features[11:] == ("mood", "swing", "felt")
    assert (model.description.feature_columns, model.description.feature_function) == (("mood",), "own_swing:swing")
    predicted = model.predict_bars(frame, "AAPL").set_index("date")
    windows = dataset.test.open()
    expected = model.predict_windows(windows)
    same = predicted.loc[windows.dates]
    np.testing.assert_allclose(same[["probability_0", "probability_1"]], expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(same["class"], expected.classes)
    moved = model.predict_bars(frame.assign(mood=frame["mood"] + 1), "AAPL")
    assert np.abs(moved["probability_0"].to_numpy() - predicted["probability_0"].to_numpy()).max() > 1e-3


def test_a_missing_column_or_function_of_a_model_is_one_clear_line(with_own, tmp_path):
    model, frame, _ = with_own
    with pytest.raises(DataError, match="mood") as caught:
        model.predict_bars(frame.drop(columns="mood"), "AAPL")
    assert len(str(caught.value).splitlines()) == 1
    swing = sys.modules["own_swing"].swing
    other = load_model(tmp_path / "model", features=lambda bars: swing(bars).rename(columns={"felt": "other"}))
    with pytest.raises(
        DataError, match=r"own_swing:swing \(AAPL\): returns swing, other, but swing, felt for other bars"
    ):
        other.predict_bars(frame, "AAPL")
    with pytest.raises(DataError) as caught:
        load_model(tmp_path / "model").predict_bars(frame, "AAPL")
    assert str(caught.value) == (
        "this model reads features that own_swing:swing makes, and no function runs because a file names it; hand it over:"
        " load_model(folder, features=own_swing.swing)"
    )


@pytest.mark.parametrize("function", ["swing_of_a_stranger:swing", "subprocess:call", "antigravity:geohash"])
def test_nothing_that_a_folder_names_is_imported_or_run(function, folder, bars, tmp_path, monkeypatch):
    """Neither a module of the folder's own nor one of Python's; the current directory is no place to import from."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "was run"
    (tmp_path / "swing_of_a_stranger.py").write_text(f"open({str(mark)!r}, 'w')\ndef swing(frame): pass\n")
    one_more = made(
        replace(load_model(folder).description, features=(*BUILT_IN.names, "own"), scaler=Scaler((0,) * 12, (1,) * 12))
    )
    SavedModel(one_more.network, replace(one_more.description, feature_function=function)).save(tmp_path / "strange")
    path, before = list(sys.path), set(sys.modules)
    model = load_model(tmp_path / "strange")
    with pytest.raises(DataError, match=f"^this model reads features that {function} makes, and no function runs"):
        model.predict_bars(bars)
    assert not mark.exists()
    assert sys.path == path
    assert not {"swing_of_a_stranger", "antigravity"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (len, "features must be left out, for this model has no features of your own, but got len"),
        (
            "mine:more",
            "features must be a function, such as mine.more after import mine, but got 'mine:more'; leave out the quotes",
        ),
        (5, "features must be a function, such as mine.more after import mine, but got 5"),
    ],
)
def test_features_are_a_function_of_a_model_that_has_some(features, message, folder):
    with pytest.raises(DataError) as caught:
        load_model(folder, features)
    assert str(caught.value) == message


PATH = "folder must be the path of a model's directory, such as hyperopt_results/retrained_model_1, but got "
LONG = "x" * 5_000


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, f"{PATH}nothing"),
        (5, f"{PATH}5"),
        (b"m", f"{PATH}b'm'"),
        (["m"], f"{PATH}['m']"),
        ("", f"{PATH}''"),
        (LONG, f"{LONG[:100]}…{LONG[:100]} holds no model: it can't be read: File name too long"),
        ("m\0\x1b[31m", f"m\\x00\\x1b[31m holds no model: {DESCRIPTION} is missing"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_folder_is_told_in_one_line(folder, message):
    with pytest.raises(SaveDirError) as caught:
        load_model(folder)
    assert str(caught.value) == message


ELEVEN = list(BUILT_IN.names)
SCALER = {"mean": [0.0] * 12, "std": [1.0] * 12}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"feature_function": "antigravity"},
            "feature_function must be module:function, such as mine:more, but got 'antigravity'",
        ),
        (
            {"feature_function": "../x:y"},
            "feature_function must be module:function, such as mine:more, but got '../x:y'",
        ),
        ({"feature_function": ""}, "feature_function must be module:function, such as mine:more, but got ''"),
        (
            {"feature_function": "mine:more"},
            "features must have one at least that the feature_function mine:more makes",
        ),
        ({"features": [*ELEVEN, "own"], "scaler": SCALER}, "feature_function is missing, which makes own of features"),
        (
            {"features": ELEVEN[::-1]},
            f"features must begin with {', '.join(ELEVEN)}, but got {', '.join(ELEVEN[::-1])}",
        ),
        (
            {"feature_columns": ["mood"]},
            f"features must begin with {', '.join(ELEVEN)}, mood, but got {', '.join(ELEVEN)}",
        ),
        ({"features": ["a"] * 11}, "features must be different from each other, but a stands twice"),
        (
            {"features": [*ELEVEN[:10], "x\x1b[31m"]},
            "features.10 must be text without control characters, but got 'x\\x1b[31m'",
        ),
        ({"class_names": ["up", "up"]}, "class_names must be different from each other, but up stands twice"),
        (
            {"class_names": ["up", "\x1b[2J"]},
            "class_names.1 must be text without control characters, but got '\\x1b[2J'",
        ),
        ({"target": "nonsense"}, "target must be direction or volatility or triple_barrier, but got 'nonsense'"),
        ({"scaler": None}, "target must be y_class, but got 'volatility'"),
        (
            {"scaler": None, "target": "y_class", "feature_columns": ["mood"]},
            "scaler must be there where there are feature_columns or a feature_function, but got nothing",
        ),
        (
            {"scaler": {"mean": [1e308] * 11, "std": [1.0] * 11}},
            "scaler must hold numbers within 1e+18, its std 1e-18 or more",
        ),
        (
            {"scaler": {"mean": [0.0] * 11, "std": [5e-324] * 11}},
            "scaler must hold numbers within 1e+18, its std 1e-18 or more",
        ),
    ],
)
def test_a_description_of_a_model_that_could_not_predict_is_refused(changed, message, folder):
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    (folder / DESCRIPTION).write_text(json.dumps(raw | changed))
    assert assert_refused(folder) == f"{folder} holds no model that this version can read: {DESCRIPTION}: {message}"


def test_predictions_that_are_no_numbers_are_an_error(folder, bars, dataset):
    weights = {name: torch.full_like(each, 3e38) for name, each in load_file(folder / WEIGHTS).items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    model = load_model(folder)
    line = (
        "predictions must be finite, but {0} of {0} are not: the windows or the model's weights hold numbers that are too large;"
        " scale the windows as in training, or take another model"
    )
    for predict, count in (
        (lambda: model.predict_bars(bars.iloc[:200]), 200 - 33 - LOOKBACK + 1),
        (lambda: model.predict_windows(dataset.validation), len(dataset.validation)),
    ):
        with pytest.raises(DataError) as caught:
            predict()
        assert str(caught.value) == line.format(count)


def test_a_value_beyond_all_numbers_is_an_error_too(model, bars):
    large = replace(model, description=replace(model.description, value_scale=ValueScale(1e308, 1e308)))
    with pytest.raises(DataError, match=r"^predictions must be finite, but \d+ of \d+ are not: "):
        large.predict_bars(bars.iloc[:200])


def test_bad_bars_of_a_frame_have_a_cure_that_is_there(model, bars):
    bad = bars.iloc[:200].copy()
    bad.iloc[3, bad.columns.get_loc("high")] = -1.0
    with pytest.raises(DataError) as caught:
        model.predict_bars(bad, "X\x1b[31m")
    first = f"{bars.index[3]:%Y-%m-%d}"
    assert str(caught.value) == (
        f"X\\x1b[31m (the frame of bars): high must be above 0, but row 4 ({first}) has -1 (1 such row); correct or remove these"
        " rows"
    )


def test_another_format_says_which_one_it_is_and_which_is_read(folder):
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    (folder / DESCRIPTION).write_text(json.dumps(raw | {"format": 7}))
    assert "format must be 2 or 1, which this version reads, but got 7" in assert_refused(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cnn.num_filters", 64),
        ("cnn.num_filters", None),
        ("cnn.activation", "tanh"),
        ("cnn.dropout", 7),
        ("lstm.hidden_dim", -3),
        ("fusion.method", "sum"),
    ],
)
def test_a_configuration_that_is_not_that_of_the_weights_is_refused(folder, name, value):
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    raw["params"][name] = value
    (folder / DESCRIPTION).write_text(json.dumps(raw))
    assert_refused(folder)


@pytest.mark.parametrize("keep", [0, 4, 1000, 100_000])
def test_truncated_weights_are_refused(folder, keep):
    content = (folder / WEIGHTS).read_bytes()
    assert len(content) > keep
    (folder / WEIGHTS).write_bytes(content[:keep])
    assert_refused(folder)


@pytest.mark.parametrize("spaces", range(8))
def test_truncated_weights_are_not_taken_for_a_pickle(folder, spaces):
    """The length of the header is the first number of the file: it may begin with the first byte of a pickle."""
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    longer = length // 256 * 256 + 0x80 + 256 + 8 * (spaces - 4)  # padded with spaces, as the format allows
    header = content[8 : 8 + length].ljust(longer)
    (folder / WEIGHTS).write_bytes(longer.to_bytes(8, "little") + header + content[8 + length : -1])
    with pytest.raises(SaveDirError, match=r"model\.safetensors: it is cut off or damaged \(.*\); copy it again"):
        load_model(folder)


def test_weights_that_are_a_pickle_are_refused_and_never_run(folder, tmp_path):
    """torch.save's format and a bare pickle that would write a file."""
    mark = tmp_path / "was run"
    bare = f"cbuiltins\nexec\n(S'open({str(mark)!r}, \"w\")'\ntR.".encode()
    for content in (bare, b"\x80\x04" + bare):
        (folder / WEIGHTS).write_bytes(content)
        assert_refused(folder)
    torch.save(load_model_weights(), folder / WEIGHTS)
    with pytest.raises(SaveDirError, match=r"it is a pickle or a torch\.save file"):
        load_model(folder)
    assert not mark.exists()


def load_model_weights() -> dict[str, torch.Tensor]:
    return made(own_inputs()).network.state_dict()


def test_a_models_repr_is_one_short_line(model):
    shown = repr(model)
    assert "\n" not in shown
    assert len(shown) < 200
    assert shown.startswith("SavedModel(target='volatility', lookback=20, ")
    assert f"parameters={sum(weight.numel() for weight in model.network.parameters()):,}" in shown
