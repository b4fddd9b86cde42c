"""Adam, with weight decay as an L2 penalty in the gradient."""

from collections.abc import Iterable, Sequence

from torch import nn, optim

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay is part of the gradient, as in ``torch.optim.Adam``."""

    name, place, states = "adam", 0, 2
    description = "Adam (arXiv 1412.6980); weight decay is part of the gradient, as in torch.optim.Adam"

    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        return optim.Adam(weights, lr=rate, fused=True)

    def decay(self, weights: Sequence[nn.Parameter], *, learning_rate: float, strength: float) -> None:
        """Add the gradient of strength / 2 · Σ w² to the gradients of the weights w."""
        add_penalty_gradients(weights, l1=0.0, l2=strength)
