"""A retrained model in MLflow's PyTorch flavour, without pickled code.

It is a traced graph (``torch.export``), which MLflow loads without this package: ``mlflow.pytorch.load_model`` and
``mlflow.pyfunc.load_model`` both give what :class:`SavedModel` predicts.
"""

import warnings
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
from cnn_lstm_hyperopt.models import CnnLstm
from cnn_lstm_hyperopt.tracking.runs import Known, Runs
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.training import ValueScale

MODEL = "model_id"
"""Tag of a finalist's run: MLflow's name for the model that is whole."""
EXAMPLE_BATCH = 2
"""A batch of one would be traced as a constant."""
_NAME = "model"
_REQUIRED = ("torch", "numpy")


class Predicting(nn.Module):
    """What the network says as one tensor: probabilities, and the value in its units where there is one."""

    def __init__(self, network: CnnLstm, scale: ValueScale) -> None:
        super().__init__()
        self.network, self._scale = network, scale

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, lookback, features)`` scaled float32 → ``(batch, n_classes)`` or ``(batch, n_classes + 1)``."""
        output = self.network(x)
        probabilities = torch.softmax(output.logits, dim=1)
        if output.value is None:
            return probabilities
        value = output.value * self._scale.std + self._scale.mean
        return torch.cat([probabilities, value.unsqueeze(1)], dim=1)


def log_pytorch_model(runs: Runs, known: Known, folder: Path, target: Target) -> None:
    """Logs the model of the folder with its run, unless that is done.

    What an attempt that was cut off has left is removed first. The run's status is RUNNING until the caller ends it.
    """
    client = runs.client
    if MODEL in known.tags:
        return
    for left_over in client.search_logged_models([runs.experiment_id], f"source_run_id = '{known.run_id}'"):
        client.delete_logged_model(left_over.model_id)
    model = load_model(folder)
    if not isinstance(model, SavedModel):
        raise TrackingError(f"{folder} holds an ensemble, where a single model should be; remove {folder} and resume")
    about = model.description
    n_outputs = about.n_classes + about.has_regression
    example = np.random.default_rng(0).standard_normal((EXAMPLE_BATCH, about.lookback, len(about.features)), np.float32)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, n_outputs))]),
    )
    mlflow.set_tracking_uri(target.uri)
    mlflow.set_registry_uri(target.uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export's about the flat weights of an LSTM, whose results are the same
        with mlflow.start_run(run_id=known.run_id, log_system_metrics=False):
            info = mlflow.pytorch.log_model(
                Predicting(model.network, about.value_scale).eval(),
                name=_NAME,
                signature=signature,
                input_example=example,
                pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIRED],
                metadata={"outputs": _outputs(model), "inputs": list(about.features), "target": about.target},
                serialization_format="pt2",
            )
    runs.tag(known, {MODEL: str(info.model_id)})


def _outputs(model: SavedModel) -> list[str]:
    about = model.description
    outputs = [f"probability of {name}" for name in about.class_names]
    return outputs if about.value_name is None else [*outputs, about.value_name]
