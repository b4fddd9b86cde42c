"""Logging of a retrained model in MLflow's PyTorch flavour (one of MLflow's formats for models).

The logged model is a ``torch.export`` program without pickled code, so MLflow loads it without this package:
``mlflow.pytorch.load_model`` and ``mlflow.pyfunc.load_model`` give the predictions of :class:`SavedModel`.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn

from cnn_lstm_hyperopt.errors import TrackingError
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training import ValueScale

_EXAMPLE_BATCH = 2
"""Number of windows in the example batch, above 1, because torch.export would treat a batch size of 1 as a constant."""
_REQUIRED = ("torch", "numpy")


class Predictions(nn.Module):
    """Module that returns the mean output of networks as one tensor: the class probabilities and, with regression, the value.

    The value is in the target's units.
    """

    def __init__(self, networks: Sequence[Network], scale: ValueScale) -> None:
        super().__init__()
        self.networks, self._scale = nn.ModuleList(networks), scale

    def forward(self, x: Tensor) -> Tensor:
        """Map scaled windows ``(batch, lookback, features)`` to the mean output, ``(batch, n_classes)``.

        With regression, the output is ``(batch, n_classes + 1)``.
        """
        outputs = [self._predictions(network, x) for network in self.networks]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)

    def _predictions(self, network: nn.Module, x: Tensor) -> Tensor:
        output = network(x)
        probabilities = torch.softmax(output.logits, dim=1)
        if output.value is None:
            return probabilities
        value = output.value * self._scale.std + self._scale.mean
        return torch.cat([probabilities, value.unsqueeze(1)], dim=1)


def log_pytorch_model(folder: Path, run_id: str) -> str:
    """Log the model in ``folder`` to an MLflow run. Return MLflow's id of the model. The run's status becomes RUNNING.

    Raises:
        TrackingError: the folder contains an ensemble.
    """
    model = load_model(folder, tested=True)
    if not isinstance(model, SavedModel):
        text = f"{folder} holds an ensemble, where a single model should be; remove {folder} and resume"
        raise TrackingError(text, code="not-a-single-model")
    about = model.description
    outputs = [f"probability of {name}" for name in about.class_names]
    outputs += [] if about.value_name is None else [about.value_name]
    example = np.random.default_rng(0).standard_normal(
        (_EXAMPLE_BATCH, about.lookback, len(about.features)), np.float32
    )
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, about.n_classes + about.has_regression))]),
    )
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        info = mlflow.pytorch.log_model(
            Predictions([network for network, _ in model.parts()], about.value_scale).eval(),
            name="model",
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIRED],
            metadata={"outputs": outputs, "inputs": list(about.features), "target": about.target},
            serialization_format="pt2",
        )
    return str(info.model_id)
