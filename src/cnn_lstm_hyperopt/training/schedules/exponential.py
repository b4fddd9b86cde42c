"""The learning-rate schedule ``exponential``."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler

from cnn_lstm_hyperopt.training.schedules.base import FINAL_SHARE, Schedule


class Exponential(Schedule):
    """Schedule that multiplies the learning rate by the same factor after each epoch, down to 1 % of its initial value."""

    name, place = "exponential", 2
    description = "multiplies the rate by the same factor after each epoch; ends at 1 % of the initial rate"

    @staticmethod
    def make(optimizer: Optimizer, max_epochs: int) -> LRScheduler:
        return ExponentialLR(optimizer, gamma=FINAL_SHARE ** (1 / max_epochs))
