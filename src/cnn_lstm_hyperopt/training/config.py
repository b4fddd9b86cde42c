"""What a training needs to know, read from a trial's parameters and the settings."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params, TrainingSettings


@dataclass(frozen=True)
class TrainingConfig:
    """One training.

    Attributes:
        gradient_clip: largest norm of the whole gradient.
        classification_weight: weight w of the cross-entropy.
        regression_weight: weight of the squared error, 1 − w clipped to [0.2, 0.7].
    """

    learning_rate: float
    batch_size: int
    weight_decay: float
    optimizer: str
    scheduler: str
    gradient_clip: float
    label_smoothing: float
    classification_weight: float
    max_epochs: int
    min_patience: int
    patience_factor: float

    @property
    def regression_weight(self) -> float:
        """1 − classification weight, clipped to [0.2, 0.7]."""
        return min(max(1.0 - self.classification_weight, 0.2), 0.7)

    @classmethod
    def from_params(cls, params: Params, settings: TrainingSettings, *, max_epochs: int) -> "TrainingConfig":
        """The training that a trial's parameters describe, over at most ``max_epochs``."""
        return cls(
            learning_rate=float(params["training.learning_rate"]),
            batch_size=int(params["training.batch_size"]),
            weight_decay=float(params["training.weight_decay"]),
            optimizer=str(params["training.optimizer"]),
            scheduler=str(params["training.scheduler"]),
            gradient_clip=float(params["training.gradient_clip"]),
            label_smoothing=float(params["regularization.label_smoothing"]),
            classification_weight=float(params["multi_task.classification_weight"]),
            max_epochs=max_epochs,
            min_patience=settings.min_patience,
            patience_factor=settings.patience_factor,
        )
