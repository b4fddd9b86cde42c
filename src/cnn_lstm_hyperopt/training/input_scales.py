"""Scales by which networks standardise the windows of a fold."""

from weakref import WeakKeyDictionary

import torch

from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Fold, rows_of
from cnn_lstm_hyperopt.models.network import Network


class InputScales:
    """Scales of folds: mean and standard deviation of each feature in the training windows. A scale is computed once per fold."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Fold, Scaler] = WeakKeyDictionary()

    def apply(self, network: Network, fold: Fold) -> None:
        """Let the network standardise its windows by the training windows of the fold, if it standardises them at all."""
        scale = network.input_scale
        if scale is None:
            return
        if fold not in self._found:
            self._found[fold] = Scaler.fit(fold.train.series.cpu().numpy(), rows_of(fold.train).numpy(), unit=0)
        found = self._found[fold]
        scale.set_to(torch.tensor(found.mean), torch.tensor(found.std))
