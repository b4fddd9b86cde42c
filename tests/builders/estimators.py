"""Windows and settings with which an estimator is fitted in a second."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TINY: dict[str, Any] = {
    "study": {"portfolio": False},
    "training": {"max_epochs": 2, "min_epoch_steps": 1, "min_patience": 1},
    "data": {"cv_folds": 1},
    "retrain": {"full_epochs": 2, "seeds": 1},
    "search_space": {
        "architecture": "classic",
        "cnn": {
            "num_filters": 4,
            "filter_sizes": [[3]],
            "dropout": 0,
            "activation": "relu",
            "residual": False,
            "attention": False,
        },
        "lstm": {
            "hidden_dim": [4, 8],
            "num_layers": 1,
            "dropout": 0,
            "bidirectional": False,
            "attention": False,
            "skip_connections": False,
        },
        "fusion": {"method": "concatenation", "dim": 8, "dropout": 0},
        "training": {
            "learning_rate": 0.01,
            "batch_size": 16,
            "weight_decay": 0,
            "optimizer": "adam",
            "scheduler": "cosine",
            "gradient_clip": 1,
        },
        "regularization": {"l1_switch": False, "l2": 0, "dropout_schedule": "constant", "label_smoothing": 0},
        "multi_task": {"balancing": "fixed", "classification_weight": 0.5},
        "augmentation": {"switch": False},
    },
}
"""Two configurations, two epochs, one seed."""

QUICK: dict[str, Any] = {"n_trials": 2, "n_jobs": 1, "config": TINY}


def panel(windows: int = 40, *, time: int = 6, features: int = 2, seed: int = 0) -> NDArray[np.float64]:
    """Random windows, (windows, time, features)."""
    return np.random.default_rng(seed).normal(size=(windows, time, features))


def level(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the first feature, which a network learns."""
    return np.asarray(x[:, :, 0].mean(axis=1))
