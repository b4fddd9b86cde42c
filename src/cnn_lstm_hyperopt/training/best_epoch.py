"""The best epoch of a training so far: what it was worth, and its weights."""

from typing import Any

import torch
from torch import Tensor

from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.validation import Evaluation, Predictions


class BestEpoch:
    """Empty until :meth:`keep` is called for the first time."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._weights: dict[str, Tensor] = {}
        self.evaluation: Evaluation | None = None

    def keep(self, evaluation: Evaluation) -> None:
        """The network as it is now, with its evaluation, in place of what was kept before."""
        self.evaluation = evaluation
        self._weights = {name: weight.detach().clone() for name, weight in self._network.state_dict().items()}

    def restore_weights(self) -> None:
        """Gives the network the weights that were kept; leaves it as it is when none were."""
        if self._weights:
            self._network.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """What was kept, as tensors and numbers.

        When the network still has these weights they are its own tensors, not the copies: a file that holds both holds them once.
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
        """The inverse of :meth:`state_dict`; weights that lie on the network's device become its own without a copy."""
        now, kept = self._network.state_dict(), state["evaluation"]
        self._weights = {name: weight.to(now[name].device) for name, weight in state["weights"].items()}
        self.evaluation = None
        if kept is not None:
            values = None if kept["values"] is None else kept["values"].numpy()
            predictions = Predictions(kept["probabilities"].numpy(), values)
            self.evaluation = Evaluation(kept["loss"], kept["accuracy"], kept["mse"], predictions, kept["score"])
