"""The learning-rate schedule ``step``."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR

from cnn_lstm_hyperopt.training.schedules.base import Schedule


class Step(Schedule):
    """Schedule that divides the learning rate by 10 after each third (rounded up) of the epochs."""

    name, place = "step", 1
    description = "divides the rate by 10 after each third of the epochs"

    @staticmethod
    def make(optimizer: Optimizer, max_epochs: int) -> LRScheduler:
        return StepLR(optimizer, step_size=math.ceil(max_epochs / 3), gamma=0.1)
