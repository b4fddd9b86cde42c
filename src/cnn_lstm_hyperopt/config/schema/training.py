"""The section ``training``, with the settings of the training that are equal for all trials."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_SECONDS, Section, SettingError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.utils.text import shown

SMALL_DATA = 500
"""Number of training and validation windows below which data are small."""
MIN_PATIENCE = 4
"""Minimum patience in epochs on data that are not small."""


class TrainingSettings(Section):
    """Settings of the training of each trial. The searched hyperparameters are in ``search_space.training``."""

    max_epochs: int = Field(20, ge=1, le=10_000, description="maximum number of epochs of a trial")
    min_epoch_steps: int = Field(
        16,
        ge=1,
        le=10_000,
        description="minimum number of training steps in an epoch with the largest batch size of the search space and all "
        "training windows. On small data, an epoch has several passes over the windows, as many as this number needs and as the "
        "time limit of a trial allows; 1: always one pass",
    )
    min_patience: Literal["auto"] | Annotated[int, Field(ge=1, le=100_000)] = Field(
        "auto",
        description=f"minimum number of epochs without improvement before training stops. auto: {MIN_PATIENCE}; with fewer than "
        f"{SMALL_DATA} training and validation windows the number of all epochs, so that each learning-rate schedule "
        "completes, because the loss of few windows is mostly noise",
    )
    patience_factor: float = Field(
        0.5,
        ge=0,
        le=100,
        description="patience is at least this factor times the number of the best epoch, so that a late improvement gets more "
        "time",
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="number of epochs, which may be fractional, over whose steps the learning rate rises from 0 to the rate of "
        "its schedule; 0: no warm-up",
    )
    weight_averaging: Literal["none", "ema"] = Field(
        "none",
        description="weights that are validated and saved: those of the last step, or ema, an exponential moving average over "
        "about one epoch of steps",
    )
    long_epoch_seconds: float = Field(
        10.0,
        gt=0,
        le=MAX_SECONDS,
        description="threshold in seconds: if the first epoch is predicted to take longer, it is also evaluated at a "
        "quarter, a half and three quarters",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="precision of matrix products; auto: bfloat16 if the hardware supports it and the trial becomes "
        "faster, otherwise float32",
    )
    class_weights: Literal["auto", "none", "balanced"] = Field(
        "auto",
        description="weights of the classes in the training loss and in the decision rule; balanced: inverse frequency, so that "
        "rare classes count as much as frequent ones; auto: balanced if study.metric is balanced_accuracy or mcc, otherwise "
        "none",
    )
    device: str = Field("auto", description="device for training: auto, cpu, cuda, or one GPU such as cuda:1")

    def balances_classes(self, metric: str) -> bool:
        """Return True if classes have weights in a study with the given metric."""
        return METRICS[metric].balances_classes if self.class_weights == "auto" else self.class_weights == "balanced"

    @property
    def patience(self) -> int:
        """Minimum patience in epochs; ``auto`` is that of data that are not small."""
        return MIN_PATIENCE if self.min_patience == "auto" else self.min_patience

    @field_validator("device")
    @classmethod
    def _a_device(cls, value: str) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value) is None:
            raise SettingError(
                f"must be auto, cpu, cuda or one GPU such as cuda:1, but got {shown(value)}", "not-a-device"
            )
        return value
