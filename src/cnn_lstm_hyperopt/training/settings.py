"""What a training needs to know, read from a trial's parameters and the settings."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import PARAMETERS, Params, TrainingSettings
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.config.search_space import typed_group
from cnn_lstm_hyperopt.space.parameters import read_group
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.precision import Precision


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        gradient_clip: largest norm of the whole gradient.
        weight_decay: strength, in the way of the optimiser.
        l1, l2: strengths of the penalties Σ|w| and Σw² / 2.
        balancing: how the two losses are weighed.
        classification_weight: weight w of the cross-entropy; not used by ``uncertainty``.
        precision: of the matrix products, in training and in evaluation.
        early_reports: shares of the first epoch after which it is evaluated, too.
        metric: that evaluations are scored by.
        micro_batches: parts in which a batch passes through the network, their gradients added up: less memory, the same step
            up to rounding and the draws of dropout. Evaluations then take no more windows at once than such a part has.
        gradient_checkpointing: intermediate results are computed anew in the backward pass instead of kept: less memory, the
            same step to the bit on a CPU.
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
        """The training that a trial's parameters describe, over at most ``max_epochs``."""
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
