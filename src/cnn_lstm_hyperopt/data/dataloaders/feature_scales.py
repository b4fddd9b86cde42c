"""Mean and standard deviation of the features of windows, and a warning about features that are not standardised.

The networks get the windows of DataLoaders as they are.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnn_lstm_hyperopt.utils.text import enumerated

LARGEST_MEAN, SMALLEST_STD, LARGEST_STD = 1.0, 0.25, 5.0
"""Bounds of a feature's mean and standard deviation, beyond which networks learn less. docs/lab-notes/inputs.md has figures."""
_SHOWN = 5


def feature_scales(windows: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each feature, both ``(features,)``.

    Args:
        windows: ``(windows, time, features)`` finite numbers.
    """
    rows = windows.numpy().reshape(-1, windows.shape[-1])
    return rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)


def check_scales(train: Tensor) -> list[str]:
    """Return a warning if features are far from mean 0 and standard deviation 1; otherwise an empty list.

    Constant features, and features whose values are only 0 and 1, are not counted.

    Args:
        train: ``(windows, time, features)`` training windows, finite.
    """
    mean, std = feature_scales(train)
    flags = ((train == 0) | (train == 1)).all(dim=0).all(dim=0).numpy()
    far = (np.abs(mean) > LARGEST_MEAN) | (std < SMALLEST_STD) | (std > LARGEST_STD)
    found = np.flatnonzero(far & ~flags & (std > 0))
    if not len(found):
        return []
    each = [f"feature_{place} (mean {mean[place]:.3g}, standard deviation {std[place]:.3g})" for place in found]
    return [
        f"the train loader has {len(found)} of {len(mean)} features that are not standardised: {enumerated(each, _SHOWN)};"
        " networks learn less from them, and simple baselines may be better; subtract the mean and divide by the standard"
        " deviation of the training windows, in all three loaders"
    ]
