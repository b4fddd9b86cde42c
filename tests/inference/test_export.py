"""Exported models say what the saved ones say: every kind of network, in both formats, for any batch."""

import itertools
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from builders.models import own_inputs, untrained
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.errors import ConfigError, RunError
from cnn_lstm_hyperopt.inference.ensemble import Ensemble, Member
from cnn_lstm_hyperopt.inference.export import DEFAULT_NAMES, TOLERANCE, export_model
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS

LOOKBACK = 6
HEADS = {"cnn.attention": "cnn.attention_heads", "lstm.attention": "lstm.attention_heads"}
BOTH = (False, True)


def params(fusion: str, *, cnn: bool, lstm: bool, bidirectional: bool, layers: int = 1) -> dict[str, object]:
    found: dict[str, object] = {
        "cnn.num_filters": 4,
        "cnn.filter_sizes": "3-5",
        "cnn.dropout": 0.1,
        "cnn.activation": "gelu",
        "cnn.residual": True,
        "cnn.attention": cnn,
        "lstm.hidden_dim": 4,
        "lstm.num_layers": layers,
        "lstm.dropout": 0.1,
        "lstm.bidirectional": bidirectional,
        "lstm.attention": lstm,
        "lstm.skip_connections": layers > 1,
        "fusion.method": fusion,
        "fusion.dim": 4,
        "fusion.dropout": 0.1,
    }
    found |= {heads: 2 for flag, heads in HEADS.items() if found[flag]}
    return found | ({"fusion.attention_heads": 2} if fusion == "attention" else {})


def model_of(configuration: dict[str, object], **changed) -> SavedModel:
    """Untrained; its features have different sizes, so that scaling matters."""
    scaled = {
        "class_names": ("calm", "volatile"),
        "value_name": "ln range",
        "features": ("a", "b", "c"),
        "scaler": Scaler((0.0, 5.0, -300.0), (0.01, 2.0, 100.0)),
        "target": "volatility",
    }
    return untrained(own_inputs(params=configuration, **{**scaled, **changed}))


def windows(model: Predictor, count: int) -> torch.Tensor:
    scaler = model.description.scaler
    draws = np.random.default_rng(count).normal(size=(count, LOOKBACK, len(model.description.features)))
    if scaler is not None:
        draws = draws * np.array(scaler.std) + np.array(scaler.mean)
    return torch.from_numpy(draws.astype(np.float32))


def require_same(model: Predictor, path: Path, format: str) -> None:
    """Of one window and of many; read by what a user reads it with."""
    for count in (1, 9):
        inputs = windows(model, count)
        if format == "onnx":
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            said = dict(zip(names, session.run(None, {"features": inputs.numpy()}), strict=True))
        else:
            said = {name: each.detach().numpy() for name, each in torch.export.load(path).module()(inputs).items()}
        table = model.predict(inputs)
        assert set(said) == {"probabilities"} | ({"value"} if "value" in table else set())
        classes = [f"probability_{k}" for k in range(model.description.n_classes)]
        np.testing.assert_allclose(said["probabilities"], table[classes], atol=1e-4)
        if "value" in table:
            np.testing.assert_allclose(said["value"], table["value"], atol=1e-4)


GRID = [
    pytest.param(
        params(fusion, cnn=cnn, lstm=lstm, bidirectional=bidirectional),
        id=f"{fusion}, cnn.attention={cnn}, lstm.attention={lstm}, lstm.bidirectional={bidirectional}",
        # The half that is left has every fusion with every two choices.
        marks=[pytest.mark.thorough] if (cnn + lstm + bidirectional) % 2 else [],
    )
    for fusion, cnn, lstm, bidirectional in itertools.product(FUSIONS, BOTH, BOTH, BOTH)
]


@pytest.mark.parametrize(("format", "members"), [("onnx", 1), ("torch", 2)])
def test_a_plain_network_and_an_ensemble_are_exported(format, members, tmp_path):
    models = [model_of(params("gated", cnn=False, lstm=lstm, bidirectional=False)) for lstm in (True, False)[:members]]
    weights = (0.75, 0.25)
    ensemble = Ensemble(tuple(Member(*pair, 1, 1, 1) for pair in zip(models, weights, strict=False)))
    model = ensemble if members == 2 else models[0]
    assert 0 <= export_model(model, tmp_path / "model", format) < TOLERANCE
    require_same(model, tmp_path / "model", format)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
@pytest.mark.parametrize("configuration", GRID)
def test_every_network_is_exported_in_both_formats(configuration, tmp_path):
    model = model_of(configuration)
    for format, name in DEFAULT_NAMES.items():
        assert export_model(model, tmp_path / name, format) < TOLERANCE
        require_same(model, tmp_path / name, format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_deep_networks_without_regression_and_scaler_are_exported_too(format, tmp_path):
    configuration = params("attention", cnn=True, lstm=True, bidirectional=True, layers=3)
    model = model_of(
        configuration,
        class_names=("down", "flat", "up"),
        value_name=None,
        scaler=None,
        target="y_class",
        features=("a", "b"),
    )
    export_model(model, tmp_path / "model", format)
    require_same(model, tmp_path / "model", format)


class Disagreeing(SavedModel):
    """Predicts NaN for several windows, unlike its network."""

    def predict(self, data):
        table = super().predict(data)
        return table if len(table) == 1 else table.assign(value=np.nan)


def test_a_file_that_predicts_something_else_is_an_error_and_is_deleted(tmp_path):
    model = model_of(params("gated", cnn=False, lstm=False, bidirectional=False))
    with pytest.raises(RunError) as caught:
        export_model(Disagreeing(model.network, model.description), tmp_path / "model.pt2", "torch")
    assert caught.value.code == "export-differs"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_an_error_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model = model_of(params("gated", cnn=False, lstm=False, bidirectional=False))
    with pytest.raises(ConfigError) as caught:
        export_model(model, tmp_path / "model.onnx", "onnx")
    assert (caught.value.field, caught.value.code) == ("--format", "missing-extra")
    assert "pip install 'cnn-lstm-hyperopt[onnx]'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
