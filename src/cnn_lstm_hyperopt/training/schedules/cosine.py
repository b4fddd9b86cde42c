"""The learning-rate schedule ``cosine``."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from cnn_lstm_hyperopt.training.schedules.base import FINAL_SHARE, Schedule


class Cosine(Schedule):
    """Schedule that lowers the learning rate to 1 % of its initial value, by half a cosine (Loshchilov & Hutter 2017, eq. 5)."""

    name, place = "cosine", 0
    description = "falls from the initial rate to 1 % of it along half a cosine"

    @staticmethod
    def make(optimizer: Optimizer, max_epochs: int) -> LRScheduler:
        rate = float(optimizer.param_groups[0]["lr"])
        return CosineAnnealingLR(optimizer, T_max=max_epochs, eta_min=FINAL_SHARE * rate)
