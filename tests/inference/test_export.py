"""Exported models say what the saved ones say: every kind of network, in both formats, for any batch."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from builders.finalists import params as tiny
from builders.models import own_inputs, three_seeds, untrained
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.errors import ConfigError, RunError
from cnn_lstm_hyperopt.inference.ensemble import Ensemble, Member
from cnn_lstm_hyperopt.inference.export import DEFAULT_NAMES, TOLERANCE, Graph, export_model
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS

LOOKBACK = 6
HEADS = {"cnn.attention": "cnn.attention_heads", "lstm.attention": "lstm.attention_heads"}


def params(fusion: str, *, cnn: bool, lstm: bool, bidirectional: bool, layers: int = 1) -> dict[str, object]:
    found = tiny() | {"lstm.num_layers": layers, "lstm.bidirectional": bidirectional, "fusion.method": fusion}
    found |= {"lstm.skip_connections": layers > 1, "cnn.attention": cnn, "lstm.attention": lstm}
    found |= {heads: 2 for flag, heads in HEADS.items() if found[flag]}
    return found | ({"fusion.attention_heads": 2} if fusion == "attention" else {})


PLAIN = params("gated", cnn=False, lstm=False, bidirectional=False)


def model_of(configuration: dict[str, object], **changed) -> SavedModel:
    """Untrained; its features have different sizes, so that scaling matters."""
    scaled = {"features": ("a", "b", "c"), "scaler": Scaler((0.0, 5.0, -300.0), (0.01, 2.0, 100.0))}
    scaled |= {"class_names": ("calm", "volatile"), "value_name": "ln range", "target": "volatility"}
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
            predicted = dict(zip(names, session.run(None, {"features": inputs.numpy()}), strict=True))
        else:
            predicted = {name: each.detach().numpy() for name, each in torch.export.load(path).module()(inputs).items()}
        table = model.predict(inputs)
        optional = {"value"} & set(table) | ({"class"} if model.description.decision_weights is not None else set())
        assert set(predicted) == {"probabilities"} | optional
        if "class" in optional:
            np.testing.assert_array_equal(predicted["class"], table["class"])
        classes = [f"probability_{k}" for k in range(model.description.n_classes)]
        np.testing.assert_allclose(predicted["probabilities"], table[classes], atol=1e-4)
        if "value" in table:
            np.testing.assert_allclose(predicted["value"], table["value"], atol=1e-4)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_a_network_that_standardises_its_windows_is_saved_and_exported_with_their_scale(format, tmp_path):
    model = untrained(own_inputs(params=PLAIN | {"inputs.standardise": True}, class_names=("calm", "volatile")))
    mean, std = torch.tensor([[0.0, 5.0, -300.0], [0.01, 2.0, 100.0]])[:, : len(model.description.features)]
    model.network.input_scale.set_to(mean, std)
    assert export_model(model, tmp_path / "model", format) < TOLERANCE
    require_same(model, tmp_path / "model", format)
    model.save(tmp_path / "saved")
    inputs = mean + std * windows(model, 9)
    saved, raw = (each.predict(inputs) for each in (load_model(tmp_path / "saved"), model))
    assert saved.equals(raw)
    plain = replace(model, network=model.network.network, description=replace(model.description, params=PLAIN))
    columns = ["probability_0", "probability_1"]
    np.testing.assert_allclose(raw[columns], plain.predict((inputs - mean) / std)[columns], atol=1e-6)


GRID = [  # without those marked thorough, every fusion with every two choices
    pytest.param(*each, marks=[pytest.mark.thorough] if sum(each[1:]) % 2 else [])
    for each in itertools.product(FUSIONS, *[(False, True)] * 3)
]


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(("format", "members"), [("torch", 2), ("onnx", 3), ("onnx", 1)])
def test_a_plain_network_an_ensemble_and_a_mean_of_seeds_are_exported(format, members, tmp_path):
    models = [model_of(params("gated", cnn=False, lstm=lstm, bidirectional=False)) for lstm in (True, False)[:members]]
    weights = (0.75, 0.25)
    ensemble = Ensemble(tuple(Member(*pair, 1, 1, 1) for pair in zip(models, weights, strict=False)))
    tempered = replace(three_seeds(models[0].description), temperature=0.6)
    model = {1: models[0], 2: replace(ensemble, temperature=1.5), 3: tempered}[members]
    assert 0 <= export_model(model, tmp_path / "model", format) < TOLERANCE
    require_same(model, tmp_path / "model", format)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_stacked_ensemble_is_exported(format, tmp_path):
    models = [model_of(params("gated", cnn=False, lstm=lstm, bidirectional=False)) for lstm in (True, False)]
    members = tuple(
        Member(each, weight, 1, 1, 1, value_weight=2 * weight) for each, weight in zip(models, (0.7, 0.3), strict=True)
    )
    model = Ensemble(members, temperature=0.7, pooling="logarithmic")
    assert 0 <= export_model(model, tmp_path / "model", format) < TOLERANCE
    require_same(model, tmp_path / "model", format)


@pytest.mark.slow
@pytest.mark.parametrize(("fusion", "cnn", "lstm", "bidirectional"), GRID)
def test_every_network_is_exported_in_both_formats(fusion, cnn, lstm, bidirectional, tmp_path):
    configuration = params(fusion, cnn=cnn, lstm=lstm, bidirectional=bidirectional, layers=1 + 2 * lstm)
    plain = untrained(own_inputs(params=configuration, class_names=("down", "flat", "up")))  # no regression, no scaler
    model = model_of(configuration) if cnn else plain
    for format, name in DEFAULT_NAMES.items():
        assert export_model(model, tmp_path / name, format) < TOLERANCE
        require_same(model, tmp_path / name, format)


class Disagreeing(SavedModel):
    """Predicts NaN for several windows, unlike its network."""

    def predict(self, data):
        table = super().predict(data)
        return table if len(table) == 1 else table.assign(value=np.nan)


def test_a_file_that_predicts_something_else_is_an_error_and_is_deleted(tmp_path):
    model = model_of(PLAIN)
    with pytest.raises(RunError) as caught:
        export_model(Disagreeing(model.network, model.description), tmp_path / "model.pt2", "torch")
    assert caught.value.code == "export-differs"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "torch"])
def test_the_classes_of_decision_weights_are_compared_unless_two_classes_are_as_good(format, tmp_path, monkeypatch):
    model = model_of(PLAIN, decision_weights=(1.1, 0.9))
    assert export_model(model, tmp_path / "model", format) < TOLERANCE
    require_same(model, tmp_path / "model", format)
    (tmp_path / "model").unlink()
    right = Graph.forward

    def wrong(graph, features):
        outputs = right(graph, features)
        return outputs | {"class": 1 - outputs["class"]}  # probabilities and values stay right

    monkeypatch.setattr(Graph, "forward", wrong)
    with pytest.raises(RunError) as caught:
        export_model(model, tmp_path / "model", format)
    assert (caught.value.code, list(tmp_path.iterdir())) == ("export-differs", [])
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.zero_()  # both classes have the probability 0.5
    nearly = (1 + TOLERANCE / 4, 1 - TOLERANCE / 4)
    tied = SavedModel(model.network, replace(model.description, decision_weights=nearly))
    assert 0 < export_model(tied, tmp_path / "model", format) < TOLERANCE


def test_a_missing_extra_is_an_error_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model = model_of(PLAIN)
    with pytest.raises(ConfigError) as caught:
        export_model(model, tmp_path / "model.onnx", "onnx")
    assert (caught.value.field, caught.value.code) == ("--format", "missing-extra")
    assert "pip install 'cnn-lstm-hyperopt[onnx]'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
