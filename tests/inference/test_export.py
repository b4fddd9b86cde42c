"""Exported models say what the saved ones say: every kind of network, in both formats, for any batch."""

import builtins
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.errors import ConfigError, RunError
from cnn_lstm_hyperopt.inference import export as module
from cnn_lstm_hyperopt.inference.export import TOLERANCE, export_model
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.training import ValueScale

LOOKBACK = 6
HEADS = {"cnn.attention": "cnn.attention_heads", "lstm.attention": "lstm.attention_heads"}
BOTH = (False, True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    description = ModelDescription(
        params=configuration,
        class_names=("calm", "volatile"),
        value_name="ln range",
        features=("a", "b", "c"),
        scaler=Scaler((0.0, 5.0, -300.0), (0.01, 2.0, 100.0)),
        value_scale=ValueScale(-4.0, 0.5),
        target="volatility",
        lookback=LOOKBACK,
        horizon=1,
        max_gap_days=10.0,
    )
    description = replace(description, **changed)
    network = build_network(description.network_config(), seed=3, device=torch.device("cpu"))
    return SavedModel(network.eval(), description)


def windows(model: SavedModel, count: int) -> torch.Tensor:
    scaler = model.description.scaler
    draws = np.random.default_rng(count).normal(size=(count, LOOKBACK, len(model.description.features)))
    if scaler is not None:
        draws = draws * np.array(scaler.std) + np.array(scaler.mean)
    return torch.from_numpy(draws.astype(np.float32))


def says(model: SavedModel, inputs: torch.Tensor) -> dict[str, np.ndarray]:
    table = model.predict(inputs)
    return {"probabilities": table.filter(like="probability_").to_numpy(), "value": table["value"].to_numpy()}


def require_same(model: SavedModel, path: Path, format: str) -> None:
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


def test_a_plain_network_is_exported_for_torch(tmp_path):
    model = model_of(params("gated", cnn=False, lstm=True, bidirectional=False))
    difference = export_model(model, tmp_path / "model.pt2", "torch")
    assert 0 <= difference < TOLERANCE
    require_same(model, tmp_path / "model.pt2", "torch")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.slow
@pytest.mark.parametrize("configuration", GRID)
def test_every_network_is_exported_in_both_formats(configuration, tmp_path):
    model = model_of(configuration)
    for format, name in module.DEFAULT_NAMES.items():
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


def test_what_says_something_else_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    """Of several windows alone: a graph that knows but the number of windows with which it was traced, say."""
    monkeypatch.setattr(module, "_write_torch", lambda graph, windows: b"written")
    monkeypatch.setattr(
        module,
        "_run_torch",
        lambda written, windows: {**says(model, windows), **({"value": np.nan} if len(windows) > 1 else {})},
    )
    model = model_of(params("gated", cnn=False, lstm=False, bidirectional=False))
    with pytest.raises(
        RunError, match=r"differs from the model by nan, of which 0.0001 is the most; nothing was written"
    ):
        export_model(model, tmp_path / "model.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_the_missing_extra_is_one_line_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else builtins)
    model = model_of(params("gated", cnn=False, lstm=False, bidirectional=False))
    said = (
        r"onnxscript, which is not installed; pip install 'cnn-lstm-hyperopt\[onnx\]'"
        r" \(in its repository: pip install -e '\.\[onnx\]'\)$"
    )
    with pytest.raises(ConfigError, match=said):
        export_model(model, tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []
