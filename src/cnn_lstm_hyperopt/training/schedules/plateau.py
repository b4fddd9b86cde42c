"""The learning-rate schedule ``plateau``."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cnn_lstm_hyperopt.training.schedules.base import Schedule


class Plateau(Schedule):
    """Schedule that halves the learning rate after two epochs in a row without a lower validation loss."""

    name, place = "plateau", 3
    description = "halves the rate after two epochs in a row without a lower validation loss"
    _scheduler: ReduceLROnPlateau

    @staticmethod
    def make(optimizer: Optimizer, max_epochs: int) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.0)

    def step(self, loss: float) -> None:
        self._scheduler.step(loss)
