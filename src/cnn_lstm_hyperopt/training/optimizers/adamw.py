"""AdamW: Adam with decoupled weight decay."""

from collections.abc import Iterable

from torch import nn, optim

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer


class AdamW(Optimizer):
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101); weight decay is decoupled, as in ``torch.optim.AdamW``."""

    name, place, states = "adamw", 1, 2
    description = "AdamW (arXiv 1711.05101); weight decay is decoupled, as in torch.optim.AdamW"

    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        return optim.AdamW(weights, lr=rate, weight_decay=0.0, fused=True)
