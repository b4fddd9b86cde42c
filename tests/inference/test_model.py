"""Saved models: the same predictions after loading, and files that no one can use to run code."""

import importlib
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load, load_file, save

from builders.finalists import params
from builders.models import own_inputs, three_seeds, untrained
from cnn_lstm_hyperopt.config import DataSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.errors import DataError, SaveDirError
from cnn_lstm_hyperopt.inference.ensemble import Ensemble, Member
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import DESCRIPTION, SavedModel, load_model
from cnn_lstm_hyperopt.inference.network_files import WEIGHTS
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import ValueScale

LOOKBACK, WARM_UP = 20, 33
LARGE_NAMES = {"cnn.num_filters": 32, "lstm.hidden_dim": 64, "lstm.attention": True, "lstm.attention_heads": 2}
SMALL = params() | LARGE_NAMES | {"fusion.method": "concatenation", "fusion.dim": 128}
"""The default space's configuration with the largest share of names in its file."""


def error_of(call, kind=DataError):
    """Field, code and text of the error."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert len(text) < 4_000
    assert all(line.isprintable() for line in text.splitlines())
    return caught.value.field, caught.value.code, text


def refused(folder):
    return error_of(lambda: load_model(folder), SaveDirError)[:2]


def change(folder, **changed):
    """Writes other values into the description, of ``params`` into these."""
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    if isinstance(changed.get("params"), dict) and changed["params"]:
        changed["params"] = {**raw["params"], **changed["params"]}
    (folder / DESCRIPTION).write_text(json.dumps(raw | changed))


def test_a_loaded_model_is_the_saved_one_to_the_bit(model, folder, dataset, tmp_path):
    own = untrained(own_inputs(class_names=tuple("abcde")))  # without regression and scaler
    own.save(tmp_path)
    for saved, loaded in ((model, load_model(folder)), (own, load_model(str(tmp_path)))):
        assert loaded.description == saved.description
        weights, again = saved.network.state_dict(), loaded.network.state_dict()
        assert list(weights) == list(again)
        assert all(torch.equal(weights[name], again[name]) for name in weights)
    for windows in (dataset.train, dataset.validation):
        first, second = model.predict_windows(windows), load_model(folder).predict_windows(windows)
        np.testing.assert_array_equal(first.probabilities, second.probabilities)
        np.testing.assert_array_equal(first.values, second.values)


def test_decision_weights_decide_the_class_and_leave_the_probabilities(model, folder, bars):
    plain = load_model(folder).predict(bars)
    change(folder, decision_weights=[0.01, 1.99])
    weighted = load_model(folder)
    found = weighted.predict(bars)
    assert weighted.description.decision_weights == (0.01, 1.99)
    probabilities = found[["probability_0", "probability_1"]].to_numpy()
    assert (probabilities == plain[["probability_0", "probability_1"]].to_numpy()).all()
    assert (found["class"] == (probabilities * [0.01, 1.99]).argmax(axis=1)).all()
    assert set(found["class"]) == {1} != set(plain["class"])
    assert set(found["class_name"]) == {"volatile"}


def test_saving_again_writes_the_same_bytes_which_others_may_read_as_far_as_the_umask_allows(model, folder, tmp_path):
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    other, before = tmp_path / "other", os.umask(0o027)
    try:
        model.save(other)
    finally:
        os.umask(before)
    model.save(folder)
    for each in (folder, other):
        assert {path.name: path.read_bytes() for path in each.iterdir()} == content
    assert {path.stat().st_mode & 0o777 for path in other.iterdir()} == {0o640}


@pytest.mark.slow
def test_a_model_predicts_alike_in_a_process_without_the_study(model, folder, bars, tmp_path):
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


def test_no_file_is_a_pickle_and_the_description_is_strict_json(folder, dataset, model):
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]
    assert not any(path.read_bytes().startswith((b"\x80", b"PK")) for path in folder.iterdir())
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    json.dumps(raw, allow_nan=False)
    scale = {"mean": dataset.value_mean, "std": dataset.value_std}
    expected = {"features": list(dataset.feature_names), "value_scale": scale}
    expected |= {"target": "volatility", "lookback": LOOKBACK, "horizon": 1, "format": 2, "bar_seconds": 86_400.0}
    expected |= {"class_names": ["calm", "volatile"], "value_name": "ln(ln(high / low)) of bar t+1"}
    expected |= {"feature_columns": [], "feature_function": None}
    assert {key: raw[key] for key in expected} == expected
    assert raw["scaler"]["mean"] == list(dataset.scaler.mean)
    assert isinstance(raw["params"]["cnn.filter_sizes"], list)
    tensors = load_file(folder / WEIGHTS)
    assert sorted(tensors) == sorted(model.network.state_dict())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert f"{sum(weight.numel() for weight in model.network.parameters()):,}" in repr(model)
    assert len(repr(model)) < 200


def test_the_size_computed_before_training_is_that_of_the_file_within_a_hundredth(tmp_path):
    space = parse_space(None)[0]
    drawn = [own_inputs(params=random_configuration(space, 5, number), value_name="y_reg") for number in range(30)]
    light = [each for each in drawn if each.network_config().cost(lookback=6).size_mb < 15]
    assert len(light) >= 8
    for description in (own_inputs(params=SMALL), *light):
        untrained(description).save(tmp_path)
        size_mb = (tmp_path / WEIGHTS).stat().st_size / 1e6
        assert size_mb == pytest.approx(description.network_config().cost(lookback=6).size_mb, rel=0.01)


def test_a_mean_of_seeds_is_the_mean_of_its_files_and_loads_again(model, dataset, tmp_path):
    mean = three_seeds(model.description)
    mean.save(tmp_path / "mean")
    files = ["model.safetensors", "seeds/1.safetensors", "seeds/3.safetensors"]
    about = json.loads((tmp_path / "mean" / DESCRIPTION).read_text(encoding="utf-8"))
    assert about.pop("networks") == [{"file": file, "seed": seed} for file, seed in zip(files, (2, 1, 3), strict=True)]
    singles = []
    for number, file in enumerate(
        files
    ):  # each file is the network of a folder that has only one, as of earlier versions
        single = tmp_path / str(number)
        single.mkdir()
        (single / DESCRIPTION).write_text(json.dumps(about))
        (single / WEIGHTS).write_bytes((tmp_path / "mean" / file).read_bytes())
        singles.append(load_model(single).predict_windows(dataset.validation))
    again = load_model(tmp_path / "mean")
    found = again.predict_windows(dataset.validation)
    for name in ("probabilities", "values"):
        expected = np.mean([getattr(each, name) for each in singles], axis=0, dtype=np.float64)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(getattr(found, name), getattr(mean.predict_windows(dataset.validation), name))
    assert ([each.seed for each in again.others], again.seed, len(again.parts())) == ([1, 3], 2, 3)


@pytest.mark.parametrize(
    ("networks", "field", "code"),
    [
        (None, "networks", "network-count"),
        ([{"file": WEIGHTS, "seed": 2}], "networks", "network-count"),
        ([{"file": WEIGHTS, "seed": 2}, {"file": "seeds/1.safetensors", "seed": "1"}], "seed", "int-type"),
        ([{"file": WEIGHTS, "seed": 2}, {"file": "../1.safetensors", "seed": 1}], "networks", "network-files"),
        ([{"file": WEIGHTS, "seed": 2}, {"file": "seeds/2.safetensors", "seed": 2}], "networks", "seed-repeated"),
        (
            [{"file": WEIGHTS, "seed": 2}, {"file": "seeds/7.safetensors", "seed": 7}],
            "seeds/7.safetensors",
            "file-missing",
        ),
        ([{"file": WEIGHTS, "seed": 2}, {"file": "seeds/1.safetensors", "seed": 1}], "seeds/1.safetensors", "pickle"),
    ],
)
def test_a_mean_of_seeds_with_invalid_networks_is_refused(networks, field, code, folder):
    (folder / "seeds").mkdir()
    (folder / "seeds" / "1.safetensors").write_bytes(b"PK\x03\x04 a file of torch.save")
    change(folder, networks=networks)
    assert refused(folder) == (field, code)


def test_models_of_format_1_are_read(model, folder, bars):
    """They named neither classes nor values, and had no features but the eleven."""
    raw = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    for name in ("class_names", "value_name", "feature_columns", "feature_function", "bar_seconds"):
        del raw[name]
    (folder / DESCRIPTION).write_text(json.dumps(raw | {"format": 1, "n_classes": 2, "has_regression": True}))
    old, new = load_model(folder).predict_bars(bars.iloc[:200]), model.predict_bars(bars.iloc[:200])
    pd.testing.assert_frame_equal(old.drop(columns="class_name"), new.drop(columns="class_name"))
    assert set(old["class_name"]) <= {"class 0", "class 1"}
    change(folder, n_classes=1)
    assert refused(folder) == ("n_classes", "value-error")


OWN = """
import pandas as pd

def swing(frame):
    return pd.DataFrame({"swing": frame["high"].rolling(5).max() / frame["low"].rolling(5).min(), "felt": frame["mood"] ** 2})
"""


@pytest.fixture
def with_own(tmp_path, monkeypatch, bars):
    """A saved and loaded model with a column and a function of the user; its bars; its dataset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_swing.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_swing", raising=False)
    frame = bars.assign(mood=np.random.default_rng(0).normal(size=len(bars)))
    (tmp_path / "bars").mkdir()
    frame.rename(columns={"mood": "Mood "}).to_csv(tmp_path / "bars" / "AAPL.csv")
    own = {"feature_columns": ["mood"], "features": "own_swing:swing"}
    settings = DataSettings(data_dir=tmp_path / "bars", target="volatility", lookback=LOOKBACK, **own)
    dataset = prepare_dataset(settings)
    model = untrained(ModelDescription.of(dataset, SMALL, max_gap_days=settings.max_gap_days))
    model.save(tmp_path / "model")
    return load_model(tmp_path / "model", importlib.import_module("own_swing").swing), frame, dataset


def test_a_model_with_an_own_column_and_function_predicts_bars_as_their_windows(with_own):
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


def test_a_missing_column_or_function_of_a_model_is_an_error(with_own, tmp_path):
    model, frame, _ = with_own
    swing = sys.modules["own_swing"].swing
    other = load_model(tmp_path / "model", features=lambda bars: swing(bars).rename(columns={"felt": "other"}))
    alone = load_model(tmp_path / "model")
    assert error_of(lambda: model.predict_bars(frame.drop(columns="mood"), "AAPL"))[1] == "feature-column-missing"
    assert error_of(lambda: other.predict_bars(frame, "AAPL"))[:2] == ("data.features", "columns-vary")
    field, code, text = error_of(lambda: alone.predict_bars(frame, "AAPL"))
    assert (field, code) == ("features", "feature-function-required")
    assert "load_model(folder, features=own_swing.swing)" in text


@pytest.mark.parametrize("function", ["swing_of_a_stranger:swing", "subprocess:call", "antigravity:geohash"])
def test_nothing_that_a_folder_names_is_imported_or_run(function, folder, bars, tmp_path, monkeypatch):
    """Neither a module of the folder's own nor one of Python's; the current directory is no place to import from."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "was run"
    (tmp_path / "swing_of_a_stranger.py").write_text(f"open({str(mark)!r}, 'w')\ndef swing(frame): pass\n")
    more = {"features": (*BUILT_IN.names, "own"), "scaler": Scaler((0,) * 12, (1,) * 12)}
    one_more = untrained(replace(load_model(folder).description, **more))
    SavedModel(one_more.network, replace(one_more.description, feature_function=function)).save(tmp_path / "strange")
    path, before = list(sys.path), set(sys.modules)
    model = load_model(tmp_path / "strange")
    assert error_of(lambda: model.predict_bars(bars))[1] == "feature-function-required"
    assert not mark.exists()
    assert sys.path == path
    assert not {"swing_of_a_stranger", "antigravity"} & (set(sys.modules) - before)


@pytest.mark.parametrize(("features", "code"), [(len, "no-feature-function"), ("mine:more", "not-a-function")])
def test_features_are_a_function_of_a_model_that_has_some(features, code, folder):
    assert error_of(lambda: load_model(folder, features))[:2] == ("features", code)


@pytest.mark.parametrize(
    ("path", "field", "code"),
    [
        *((nonsense, "folder", "not-a-path") for nonsense in (None, 5, b"m", "")),
        ("x" * 5_000, "folder", "unreadable"),
        ("m\0\x1b[31m", DESCRIPTION, "file-missing"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_folder_is_refused(path, field, code, folder):
    assert refused(path) == (field, code)
    (folder / WEIGHTS).unlink()
    assert refused(folder) == (WEIGHTS, "file-missing")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        *((text, "not-json") for text in (b"", b"{not json", b"[" * 100_000, b"\xff\xfe\x00", b'{"format": NaN}')),
        *((b'{"format": 2, "format": 2}', "not-json"), (b"null", "not-a-mapping"), (b"{}", "unknown-format")),
    ],
)
def test_a_description_that_is_none_is_refused(folder, content, code):
    (folder / DESCRIPTION).write_bytes(content)
    assert refused(folder)[1] == code


ELEVEN = list(BUILT_IN.names)
HUGE = {"lstm.num_layers": 16, "lstm.hidden_dim": 8192, "lstm.bidirectional": True, "lstm.skip_connections": False}
WRONG_PARAMS = {"lstm.num_layers": 10**9, "lstm.hidden_dim": -3, "lstm.attention": True, "cnn.num_filters": None}
WRONG_PARAMS |= {"cnn.activation": "tanh", "cnn.dropout": 7, "fusion.method": "sum", "cnn.droput": 3}
TWELVE = {"mean": [0.0] * 12, "std": [1.0] * 12}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"format": 3}, "format"),
        ({"format": 1}, "n_classes"),
        ({"params": {}}, "params"),
        *(({"params": {name: value}}, "params") for name, value in WRONG_PARAMS.items()),
        ({"scaler": {"mean": [1]}}, "scaler.std"),
        ({"scaler": None}, "target"),
        ({"scaler": None, "target": "y_class", "feature_columns": ["mood"]}, "scaler"),
        ({"scaler": {"mean": [1e308] * 11, "std": [1.0] * 11}}, "scaler"),
        ({"scaler": {"mean": [0.0] * 11, "std": [5e-324] * 11}}, "scaler"),
        ({"scaler": {"mean": [0.0] * 11, "std": [-1.0] * 11}}, "scaler.std"),
        ({"scaler": TWELVE}, "scaler.mean"),
        ({"value_scale": {"mean": 0, "std": 1, "more": 2}}, "value_scale.more"),
        ({"features": ELEVEN[::-1]}, "features"),
        ({"features": [*ELEVEN[:10], "x\x1b[31m"]}, "features.10"),
        ({"features": [*ELEVEN, "own"], "scaler": TWELVE}, "feature_function"),
        ({"feature_columns": ["mood"]}, "features"),
        ({"feature_function": "antigravity"}, "feature_function"),
        ({"feature_function": "../x:y"}, "feature_function"),
        ({"feature_function": "mine:more"}, "features"),
        ({"class_names": ["up", "up"]}, "class_names"),
        ({"class_names": ["up", "\x1b[2J"]}, "class_names.1"),
        ({"target": "nonsense"}, "target"),
        *(({"lookback": value}, "lookback") for value in (None, "6", 0, 10**30)),
        ({"bar_seconds": 0.0}, "bar_seconds"),
        ({"decision_weights": [1.0]}, "decision_weights"),
        ({"decision_weights": [1.0, 0.0]}, "decision_weights.1"),
    ],
)
def test_a_description_of_a_model_that_could_not_predict_is_refused(changed, field, folder):
    change(folder, **changed)
    assert refused(folder)[0] == field


@pytest.mark.parametrize(
    "changed",
    [
        *({"class_names": ["down", "flat", "up"]}, {"value_name": None}, {"params": {"cnn.num_filters": 64}}),
        *({"params": {"lstm.hidden_dim": 16}}, {"params": HUGE}),  # HUGE has 90 GB and is never made
    ],
)
def test_a_description_of_another_network_than_that_of_the_weights_is_refused(changed, folder):
    change(folder, **changed)
    assert refused(folder) == (WEIGHTS, "weights-differ")


def header(entries, body=b"", length=None):
    """A safetensors file with this header."""
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(*offsets, shape=(2,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        *((lambda whole, keep=keep: whole[:keep], "weights-damaged") for keep in (0, 4, 1000, 5000)),
        (lambda whole: b"no weights at all", "not-safetensors"),
        (lambda _: header({}, length=2**62), "not-safetensors"),
        (lambda _: header({"a": entry(0, 4 * 10**9, shape=(10**9,))}), "weights-damaged"),
        (lambda _: header({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12), "weights-damaged"),
        (lambda _: header({"a": entry(0, 8, shape=(2**62, 2**62))}, b"\0" * 8), "weights-damaged"),
        (lambda whole: save({**load(whole), "evil": torch.zeros(1)}), "weights-differ"),
        (lambda whole: save({**load(whole), "classify.bias": torch.zeros(3)}), "weights-differ"),
        (lambda whole: save({name: each for name, each in load(whole).items() if "bias" in name}), "weights-differ"),
        (lambda whole: save({name: each.half() for name, each in load(whole).items()}), "weights-differ"),
        (lambda whole: save({name: each * torch.nan for name, each in load(whole).items()}), "weights-differ"),
    ],
)
def test_weights_that_are_damaged_or_of_another_network_are_refused(folder, content, code):
    (folder / WEIGHTS).write_bytes(content((folder / WEIGHTS).read_bytes()))
    assert refused(folder) == (WEIGHTS, code)


@pytest.mark.parametrize("spaces", range(8))
def test_truncated_weights_are_not_taken_for_a_pickle(folder, spaces):
    """The length of the header is the first number of the file: it may begin with the first byte of a pickle."""
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    longer = length // 256 * 256 + 0x80 + 256 + 8 * (spaces - 4)  # padded with spaces, as the format allows
    header = content[8 : 8 + length].ljust(longer)
    (folder / WEIGHTS).write_bytes(longer.to_bytes(8, "little") + header + content[8 + length : -1])
    assert refused(folder) == (WEIGHTS, "weights-damaged")


def test_weights_that_are_a_pickle_are_refused_and_never_run(folder, tmp_path, model):
    """torch.save's format and a bare pickle that would write a file."""
    mark = tmp_path / "was run"
    bare = f"cbuiltins\nexec\n(S'open({str(mark)!r}, \"w\")'\ntR.".encode()
    for content, code in ((bare, "not-safetensors"), (b"\x80\x04" + bare, "pickle")):
        (folder / WEIGHTS).write_bytes(content)
        assert refused(folder) == (WEIGHTS, code)
    torch.save(model.network.state_dict(), folder / WEIGHTS)
    assert refused(folder) == (WEIGHTS, "pickle")
    assert not mark.exists()


def test_predictions_that_are_no_numbers_are_an_error(folder, model, bars, dataset):
    weights = {name: torch.full_like(each, 3e38) for name, each in load_file(folder / WEIGHTS).items()}
    (folder / WEIGHTS).write_bytes(save(weights))
    loaded = load_model(folder)
    large = replace(model, description=replace(model.description, value_scale=ValueScale(1e308, 1e308)))
    for predict, count in (
        (lambda: loaded.predict_bars(bars.iloc[:200]), 200 - WARM_UP - LOOKBACK + 1),
        (lambda: loaded.predict_windows(dataset.validation), len(dataset.validation)),
        (lambda: large.predict_bars(bars.iloc[:200]), 200 - WARM_UP - LOOKBACK + 1),
    ):
        _, code, text = error_of(predict)
        assert code == "predictions-not-finite"
        assert f"{count:,}" in text


def test_a_temperature_is_stored_and_makes_the_probabilities_less_extreme(tmp_path):
    plain = three_seeds(own_inputs())
    model, windows = replace(plain, temperature=1.7), np.random.default_rng(0).normal(size=(40, 6, 2))
    model.save(tmp_path / "model")
    loaded, frame = load_model(tmp_path / "model"), plain.predict(windows)
    assert loaded.temperature == 1.7
    said, found = (each.filter(regex="probability").to_numpy() for each in (frame, loaded.predict(windows)))
    np.testing.assert_allclose(found[:, 1] / found[:, 0], (said[:, 1] / said[:, 0]) ** (1 / 1.7), rtol=1e-5)
    plain.save(tmp_path / "plain")
    assert "temperature" not in json.loads((tmp_path / "plain" / "model.json").read_text())
    both = Ensemble((Member(plain, 0.5, 1, 1, 1), Member(plain, 0.5, 2, 2, 1)), temperature=1.7)
    both.save(tmp_path / "both")
    np.testing.assert_allclose(
        load_model(tmp_path / "both").predict(windows).filter(regex="probability").to_numpy(), found, rtol=1e-5
    )
    described = tmp_path / "both" / "member_2" / "model.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"temperature": 1.7}))
    with pytest.raises(SaveDirError) as caught:
        load_model(tmp_path / "both")
    assert caught.value.code == "member-scaled"
    for wrong in (0, "1", 1e9):
        described.write_text(json.dumps(json.loads(described.read_text()) | {"temperature": wrong}))
        with pytest.raises(SaveDirError) as caught:
            load_model(tmp_path / "both" / "member_2")
        assert caught.value.violations[0].field == "temperature"
