"""Settings of one training, from a trial's parameters and the study's settings."""

from dataclasses import dataclass

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
        gradient_clip: maximum norm of the whole gradient.
        weight_decay: strength of the optimiser's weight decay.
        l1, l2: strengths of the penalties Σ|w| and Σw² / 2.
        balancing: loss weighting, a key of :data:`.LOSS_WEIGHTINGS`.
        classification_weight: weight w of the cross-entropy; ``uncertainty`` ignores it.
        precision: precision of matrix products in training and evaluation.
        early_reports: shares of the first epoch after which the network is evaluated.
        metric: metric of an evaluation's score.
        micro_batches: parts of a batch that pass through the network one by one, with accumulated gradients. Less memory,
            the same step up to rounding and dropout draws. An evaluation batch is then no larger than a part.
        gradient_checkpointing: recompute intermediate results in the backward pass instead of storing them. Less memory,
            bit for bit the same step on a CPU.
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

    @property
    def regression_weight(self) -> float:
        """1 − classification weight, clipped to [0.2, 0.7]."""
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
    ) -> "TrainingConfig":
        """Return the settings of a training with these parameters over at most ``max_epochs``."""
        weighting = typed_group("regularization", params)
        del weighting["l1_switch"]  # l1 is 0 without it
        return cls(
            **typed_group("training", params),
            **weighting,
            **typed_group("multi_task", params),
            augmentation=read_group(AugmentationConfig, "augmentation", params, PARAMETERS),
            max_epochs=max_epochs,
            min_patience=settings.min_patience,
            patience_factor=settings.patience_factor,
            precision=precision,
            early_reports=early_reports,
            metric=metric,
            micro_batches=micro_batches,
            gradient_checkpointing=gradient_checkpointing,
        )
