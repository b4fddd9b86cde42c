"""Models with groups of features: saved, loaded, exported, and predicted from the bars of one or all symbols."""

import json

import numpy as np
import pytest

from builders.finalists import params as tiny
from builders.frames import random_frame
from builders.models import untrained
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import DataError, SaveDirError
from cnn_lstm_hyperopt.inference.export import export_model
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.models.inputs import GROUPS

FRAMES = {name: random_frame(260, seed).rename_axis("date").reset_index() for seed, name in enumerate("AB")}


@pytest.fixture(scope="module")
def dataset():
    bars = [normalise_bars(name, frame, name) for name, frame in FRAMES.items()]
    data = DataSettings(source="files", data_dir=".", lookback=20, target="volatility")
    return prepare_dataset(data, (bars, []), groups=GROUPS)


def model_of(dataset, **flags):
    """Untrained, with these flags of groups, the others off."""
    inputs = {f"inputs.{name}": flags.get(name, False) for name in (*GROUPS, "window_norm")}
    return untrained(ModelDescription.of(dataset, tiny() | inputs, max_gap_days=10.0))


@pytest.mark.parametrize("flags", [{"market": True, "window_norm": True}, {"relative_ranges": True}, {}])
def test_a_loaded_model_predicts_all_symbols_as_their_windows(dataset, flags, tmp_path):
    model = model_of(dataset, **flags)
    model.save(tmp_path)
    loaded, test = load_model(tmp_path), dataset.test.open()
    assert loaded.description == model.description
    table, expected = loaded.predict(FRAMES), model.predict_windows(test).probabilities
    for symbol in FRAMES:
        rows = test.symbols == symbol
        found = table[table["symbol"] == symbol].set_index("date").loc[test.dates[rows], "probability_1"]
        np.testing.assert_allclose(found, expected[rows, 1], atol=1e-5)


def test_only_a_model_of_the_market_needs_all_symbols(dataset):
    both = model_of(dataset, relative_ranges=True).predict(FRAMES)
    alone = model_of(dataset, relative_ranges=True).predict(FRAMES["B"])
    np.testing.assert_array_equal(alone["probability_1"], both.loc[both["symbol"] == "B", "probability_1"])
    for data in (FRAMES["B"], {"B": FRAMES["B"]}):
        with pytest.raises(DataError) as caught:
            model_of(dataset, market=True).predict(data)
        assert (caught.value.code, caught.value.field) == ("market-incomplete", "data")


@pytest.mark.parametrize(
    "changed",
    [
        {"feature_groups": ["market", "relative_ranges"]},
        {"feature_groups": ["relative_ranges"]},
        {"market": []},
        {"feature_groups": ["weather"]},
    ],
)
def test_a_description_whose_groups_do_not_fit_is_refused(dataset, changed, tmp_path):
    model_of(dataset).save(tmp_path)
    stored = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(stored | changed))
    with pytest.raises(SaveDirError):
        load_model(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_model_with_chosen_and_normalised_inputs_can_be_exported(dataset, format, tmp_path):
    model = model_of(dataset, relative_ranges=True, market=True, window_norm=True)
    assert export_model(model, tmp_path / "exported", format) < 1e-4
