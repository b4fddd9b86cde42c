"""Storage of the weights and the evaluation of a training's best epoch so far."""

from typing import Any

import torch
from torch import Tensor

from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.validation import Evaluation, Predictions


class BestEpoch:
    """Weights and evaluation of the best epoch so far; empty until the first :meth:`save`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._weights: dict[str, Tensor] = {}
        self.evaluation: Evaluation | None = None

    def save(self, evaluation: Evaluation, network: Network | None = None) -> None:
        """Save the current weights of the network, and their evaluation; they replace what was saved before.

        ``network`` has the weights to save, if these are not the weights of the network in training.
        """
        self.evaluation = evaluation
        source = self._network if network is None else network
        self._weights = {name: weight.detach().clone() for name, weight in source.state_dict().items()}

    def restore_weights(self) -> None:
        """Load the saved weights into the network; does nothing if no weights were saved."""
        if self._weights:
            self._network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the saved weights and evaluation as tensors and numbers.

        If the network still has the saved weights, the method returns the network's own tensors, so that a file with the states
        of the network and of this object stores these tensors once.
        """
        if self.evaluation is None:
            return {"weights": {}, "evaluation": None}
        now = self._network.state_dict()
        unchanged = all(torch.equal(now[name], weight) for name, weight in self._weights.items())
        predictions = self.evaluation.predictions
        return {
            "weights": now if unchanged else self._weights,
            "evaluation": {
                "loss": self.evaluation.loss,
                "accuracy": self.evaluation.accuracy,
                "mse": self.evaluation.mse,
                "score": self.evaluation.score,
                "probabilities": torch.as_tensor(predictions.probabilities),
                "values": None if predictions.values is None else torch.as_tensor(predictions.values),
            },
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`; weights that are already on the network's device are not copied."""
        now, saved = self._network.state_dict(), state["evaluation"]
        self._weights = {name: weight.to(now[name].device) for name, weight in state["weights"].items()}
        self.evaluation = None
        if saved is not None:
            values = None if saved["values"] is None else saved["values"].numpy()
            predictions = Predictions(saved["probabilities"].numpy(), values)
            self.evaluation = Evaluation(saved["loss"], saved["accuracy"], saved["mse"], predictions, saved["score"])
