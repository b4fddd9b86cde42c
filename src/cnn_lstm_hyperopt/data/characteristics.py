"""Characteristics of the data of a study, by which a study library finds similar studies."""

import math
from collections.abc import Mapping

import torch

from cnn_lstm_hyperopt.data.trial_data import TrialData

SAMPLED = 500
"""Maximum number of windows from which the autocorrelation is computed."""


def characteristics(data: TrialData) -> Mapping[str, float]:
    """Return the characteristics of the training windows of the first fold.

    Counts are natural logarithms, so that a difference of 1 means 2.7 times as many.

    Returns:
        ``ln_windows``, ``ln_length`` (steps of a window), ``ln_inputs``, ``ln_classes``, ``majority`` (share of the most frequent
        class) and ``autocorrelation`` (between neighbouring steps of a window, mean over windows and inputs, 0 for constant
        inputs).
    """
    windows = data.folds[0].train
    index = torch.linspace(0, len(windows) - 1, min(SAMPLED, len(windows))).round().long()
    x = windows.gather(index.to(windows.device)).double().cpu()
    x = x - x.mean(dim=1, keepdim=True)
    variance = x.square().mean(dim=1)
    varies = variance > 1e-12
    neighbours = (x[:, 1:] * x[:, :-1]).sum(dim=1) / x.shape[1]
    share = torch.bincount(windows.labels.cpu()).max() / len(windows)
    return {
        "ln_windows": math.log(len(windows)),
        "ln_length": math.log(windows.lookback),
        "ln_inputs": math.log(windows.input_dim),
        "ln_classes": math.log(data.n_classes),
        "majority": float(share),
        "autocorrelation": float((neighbours / variance)[varies].mean()) if varies.any() else 0.0,
    }
