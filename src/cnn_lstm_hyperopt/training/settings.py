"""Settings of one training, which come from a trial's parameters and the study's settings."""

from dataclasses import dataclass
from typing import Literal

from cnn_lstm_hyperopt.config import PARAMETERS, Params, TrainingSettings
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.config.search_space import typed_group
from cnn_lstm_hyperopt.space.parameters import read_group
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.precision import Precision


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training.

    Attributes:
        gradient_clip: maximum norm of the gradient over all weights.
        weight_decay: strength of the optimiser's weight decay.
        l1, l2: strengths of the penalties Σ|w| and Σw² / 2.
        balancing: loss weighting, a key of :data:`.LOSS_WEIGHTINGS`.
        classification_weight: weight of the cross-entropy in the loss; the loss weighting ``uncertainty`` does not use it.
        precision: precision of matrix products in training and evaluation.
        early_reports: shares of the first epoch's steps after which the network is also evaluated.
        metric: metric from which the score of an evaluation is computed.
        micro_batches: number of parts into which a batch is divided. The parts pass through the network one by one, and their
            gradients are added. More parts need less memory. The step is the same up to rounding and the random numbers of
            dropout. With several parts, an evaluation batch is no larger than a part.
        gradient_checkpointing: whether the backward pass recomputes intermediate results that are otherwise stored. Recomputation
            needs less memory; on a CPU, the step is bit for bit the same.
        class_weights: whether classes have the weights :func:`.class_weights` in the loss and in the decision rule.
        passes: number of passes over the training windows in an epoch.
        warmup_epochs: number of epochs over whose steps the learning rate rises to the rate of the schedule.
        weight_averaging: which weights are validated and saved: ``none``, those of the last step, or ``ema``, their average.
    """

    learning_rate: float
    batch_size: int
    weight_decay: float
    optimizer: str
    scheduler: str
    gradient_clip: float
    label_smoothing: float
    l1: float
    l2: float
    dropout_schedule: str
    balancing: str
    classification_weight: float
    augmentation: AugmentationConfig
    max_epochs: int
    min_patience: int
    patience_factor: float
    precision: Precision = "float32"
    early_reports: tuple[float, ...] = ()
    metric: MetricName = "accuracy"
    micro_batches: int = 1
    gradient_checkpointing: bool = False
    class_weights: bool = False
    passes: int = 1
    warmup_epochs: float = 0.0
    weight_averaging: Literal["none", "ema"] = "none"

    @property
    def regression_weight(self) -> float:
        """Weight of the squared error in the loss: 1 − classification weight, clipped to [0.2, 0.7]."""
        return min(max(1.0 - self.classification_weight, 0.2), 0.7)

    @classmethod
    def from_params(
        cls,
        params: Params,
        settings: TrainingSettings,
        *,
        max_epochs: int,
        precision: Precision = "float32",
        early_reports: tuple[float, ...] = (),
        metric: MetricName = "accuracy",
        micro_batches: int = 1,
        gradient_checkpointing: bool = False,
        passes: int = 1,
    ) -> "TrainingConfig":
        """Return the settings of a training with these parameters over at most ``max_epochs`` epochs."""
        weighting = typed_group("regularization", params)
        del weighting["l1_switch"]  # l1 is 0 without it
        return cls(
            **typed_group("training", params),
            **weighting,
            **typed_group("multi_task", params),
            augmentation=read_group(AugmentationConfig, "augmentation", params, PARAMETERS),
            max_epochs=max_epochs,
            min_patience=settings.patience,
            patience_factor=settings.patience_factor,
            precision=precision,
            early_reports=early_reports,
            metric=metric,
            micro_batches=micro_batches,
            gradient_checkpointing=gradient_checkpointing,
            class_weights=settings.balances_classes(metric),
            passes=passes,
            warmup_epochs=settings.warmup_epochs,
            weight_averaging=settings.weight_averaging,
        )
