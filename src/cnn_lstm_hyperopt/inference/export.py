"""Export of a model to a file that runs without this package: an ONNX graph or a ``torch.export`` program.

The graph includes the scaling of inputs. The input ``features`` of the graph is (batch, lookback, features), float32, not
scaled, with features in the order of ``model.json``. The outputs are ``probabilities`` (batch, classes) and, with a regression
head, ``value`` (batch) in the target's units. With decision weights, the predicted ``class`` (batch) is also an output. The
graph of an ensemble returns the weighted mean of its members' outputs, or their logarithmic pool. The probabilities are
calibrated with the model's temperature.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnn_lstm_hyperopt.errors import ConfigError, RunError
from cnn_lstm_hyperopt.inference.ensemble import LOGARITHMIC, Ensemble
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY
from cnn_lstm_hyperopt.models.inputs import CLIP
from cnn_lstm_hyperopt.run_dir.outputs import PRODUCER, PRODUCER_FILE
from cnn_lstm_hyperopt.utils.atomic_io import written_beside
from cnn_lstm_hyperopt.utils.text import install_command

Format = Literal["onnx", "torch"]
DEFAULT_NAMES: dict[Format, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
TOLERANCE = 1e-4
"""Largest allowed difference between the outputs of the file and of the model.

Values are in standard deviations of the target.
"""
INPUT, PROBABILITIES, VALUE, CLASS = "features", "probabilities", "value", "class"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_TRACED, _COMPARED = 2, (1, 5)
"""Number of windows in the batch for the export, and in the batches for the comparison.

The numbers differ because the exported model must accept any number of windows.
"""

Arrays = dict[str, NDArray[np.float32]]


class Graph(nn.Module):
    """Module that scales features, runs the networks and returns class probabilities and regression values."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Predictor) -> None:
        super().__init__()
        about = model.description
        self.networks = nn.ModuleList(network for network, _ in model.parts())
        self.weights = [weight for _, weight in model.parts()]
        self.is_pool = isinstance(model, Ensemble) and model.pooling == LOGARITHMIC
        self.value_weights = model.value_weights() if isinstance(model, Ensemble) and self.is_pool else self.weights
        self.value_mean, self.value_std = about.value_scale.mean, about.value_scale.std
        self.decision_weights, self.temperature = about.decision_weights, model.temperature
        self.scales = about.scaler is not None
        if about.scaler is not None:  # float64, like the scaling of bars
            self.register_buffer("mean", torch.tensor(about.scaler.mean, dtype=torch.float64))
            self.register_buffer("std", torch.tensor(about.scaler.std, dtype=torch.float64))
        self.eval()

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Map features ``(batch, lookback, features)`` to class probabilities ``(batch, classes)``.

        With regression, also return the values ``(batch,)``; with decision weights, also the predicted classes ``(batch,)``.
        """
        inputs = features
        if self.scales:
            inputs = ((features.double() - self.mean) / self.std).clamp(-CLIP, CLIP).float()
        outputs = [network(inputs) for network in self.networks]
        parts = [torch.softmax(each.logits, dim=-1) for each in outputs]
        found = {PROBABILITIES: self._scaled(self._log_pool(parts) if self.is_pool else self._mean(parts))}
        if outputs[0].value is not None:
            value = self._sum([each.value for each in outputs], self.value_weights)
            found[VALUE] = value * self.value_std + self.value_mean
        if self.decision_weights is not None:
            found[CLASS] = (found[PROBABILITIES] * torch.tensor(self.decision_weights)).argmax(dim=-1)
        return found

    def _scaled(self, probabilities: Tensor) -> Tensor:
        """Return tempered probabilities, as :func:`cnn_lstm_hyperopt.evaluation.temperature.tempered` does."""
        if self.temperature == 1.0:
            return probabilities
        powers = (probabilities / probabilities.amax(dim=-1, keepdim=True)) ** (1 / self.temperature)
        return powers / powers.sum(dim=-1, keepdim=True)

    def _mean(self, parts: list[Tensor]) -> Tensor:
        """Return the weighted mean of the networks' probabilities. Those of a single network are returned unchanged."""
        return parts[0] if len(parts) == 1 else self._sum(parts, self.weights)

    def _log_pool(self, parts: list[Tensor]) -> Tensor:
        """Return the pool of probabilities, as :func:`cnn_lstm_hyperopt.evaluation.stacking.log_pool` does."""
        return torch.softmax(self._sum([part.clamp(min=MIN_PROBABILITY).log() for part in parts], self.weights), dim=-1)

    @staticmethod
    def _sum(parts: list[Tensor], weights: list[float]) -> Tensor:
        """Return the weighted sum of the networks' outputs."""
        total = parts[0] * weights[0]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total = total + part * weight
        return total


def export_model(model: Predictor, path: Path, format: Format) -> float:
    """Export a model to a file, then load the file and compare its predictions with those of the model.

    Args:
        model: result of ``load_model``.
        path: path of the file, which is deleted if the predictions differ.
        format: ``onnx`` or ``torch``. ``onnx`` needs the optional dependencies of the extra ``onnx``.

    Returns:
        The largest difference between the outputs of the file and of the model, on batches of other sizes than the batch for
        the export.

    Raises:
        ConfigError: the extra ``onnx`` is not installed.
        RunError: the predictions differ.
        OSError: the file can't be written.
    """
    if format == "onnx":
        _require_extra()
    graph = Graph(model)
    write, run = (_write_onnx, _run_onnx) if format == "onnx" else (_write_torch, _run_torch)
    with torch.no_grad(), _quietly(), written_beside(path) as beside:
        beside.write_bytes(write(graph, _windows(model, _TRACED)))
        written = beside.read_bytes()
        differences = [_difference(model, run(written, windows), windows) for windows in _batches(model)]
        difference = float(np.max(differences))  # unlike max, np.max keeps NaN
        if not difference <= TOLERANCE:
            raise RunError(
                f"the exported file differs from the model by {difference:.1e}, more than {TOLERANCE:g}; nothing was written: try"
                f" --format {'torch' if format == 'onnx' else 'onnx'}, and report this",
                code="export-differs",
            )
    return difference


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Context that hides torch's warnings about the tracing of a model."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--format onnx needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed;"
            f" {install_command('onnx')}",
            field="--format",
            code="missing-extra",
        )


def _batches(model: Predictor) -> list[Tensor]:
    """Return two batches of windows for the comparison. The second has values that the scaler clips."""
    one, more = _COMPARED
    return [_windows(model, one), _windows(model, more, spread=1.5 * CLIP)]


def _windows(model: Predictor, count: int, *, spread: float = 1.0) -> Tensor:
    """Return fixed random windows ``(count, lookback, features)``.

    The mean of these windows is that of the training rows. The standard deviation is ``spread`` times that of the training
    rows.
    """
    about = model.description
    shape, generator = (count, about.lookback, len(about.features)), torch.Generator().manual_seed(count)
    draws = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    if about.scaler is not None:
        return (draws * torch.tensor(about.scaler.std, dtype=torch.float64) + torch.tensor(about.scaler.mean)).float()
    own = next((scale for network, _ in model.parts() if (scale := network.input_scale) is not None), None)
    return draws.float() if own is None else own.restored(draws.float())


def _difference(model: Predictor, found: Arrays, windows: Tensor) -> float:
    """Return the largest difference between the outputs of the model and of the file; NaN if an output is NaN.

    Differences of values are in standard deviations of the target. The part that float32 rounding may cause is subtracted.
    The difference of two classes is the difference of their weighted probabilities: if it is tiny, either class is right.
    A number that is not a class has the probability 0.
    """
    table = model.predict(windows)
    probabilities = table.filter(regex=r"^probability_\d+$").to_numpy()
    distances = [np.abs(found[PROBABILITIES] - probabilities).max()]
    if VALUE in table:
        values = table[VALUE].to_numpy()
        beyond = np.abs(found[VALUE] - values) - 2 * np.spacing(np.abs(values).astype(np.float32))
        distances.append(np.maximum(beyond, 0).max() / model.description.value_scale.std)
    if model.description.decision_weights is not None:
        weighted = probabilities * np.array(model.description.decision_weights)
        expected, chosen = (
            np.where(np.arange(weighted.shape[1]) == classes[:, None], weighted, 0).sum(axis=1)
            for classes in (table[CLASS].to_numpy(), found[CLASS])
        )
        distances.append(np.abs(expected - chosen).max())
    return float(np.max(distances))


def _program(graph: Graph, windows: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(graph, (windows,), dynamic_shapes={INPUT: {0: batch}})


def _write_torch(graph: Graph, windows: Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_program(graph, windows), buffer, extra_files={PRODUCER_FILE: PRODUCER})
    return buffer.getvalue()


def _run_torch(written: bytes, windows: Tensor) -> Arrays:
    found = torch.export.load(io.BytesIO(written)).module()(windows)
    return {name: output.numpy() for name, output in found.items()}


def _write_onnx(graph: Graph, windows: Tensor) -> bytes:
    names = list(graph(windows))
    program: Any = torch.onnx.export(
        _program(graph, windows), dynamo=True, input_names=[INPUT], output_names=names, verbose=False
    )
    model = program.model_proto
    model.producer_name = PRODUCER
    written: bytes = model.SerializeToString()
    return written


def _run_onnx(written: bytes, windows: Tensor) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {INPUT: windows.numpy()}), strict=True))
