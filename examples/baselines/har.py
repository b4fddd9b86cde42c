"""Your own model as a baseline: logistic regression on mean log ranges over a day, a week and a month (HAR, Corsi 2009).

cnn-lstm-hyperopt run --demo --retrain-best --baseline examples.baselines.har:fit
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from cnn_lstm_hyperopt import BaselineWindows


class Har:
    """Logistic regression for the classes, and linear regression for the value."""

    def __init__(self, train: BaselineWindows) -> None:
        """Fit both regressions on the training windows."""
        columns = self._columns(train)
        self._classes = LogisticRegression().fit(columns, train.labels)
        design = np.column_stack([columns, np.ones(len(columns))])
        self._weights = np.linalg.lstsq(design, train.values - train.edges[:, 0], rcond=None)[0]

    def probabilities(self, windows: BaselineWindows) -> NDArray[np.float64]:
        """Return the class probabilities, (windows, classes)."""
        return self._classes.predict_proba(self._columns(windows))

    def values(self, windows: BaselineWindows) -> NDArray[np.float64]:
        """Return forecasts of the regression target, (windows,). This method may be missing."""
        columns = self._columns(windows)
        return columns @ self._weights[:-1] + self._weights[-1] + windows.edges[:, 0]

    @staticmethod
    def _columns(windows: BaselineWindows) -> NDArray[np.float64]:
        """Return the mean of the last 1, 5 and 22 log ranges, relative to the boundary between calm and volatile."""
        ranges = windows.series(22)
        means = [np.nanmean(ranges[:, -span:], axis=1) for span in (1, 5, 22)]
        return np.stack(means, axis=1) - windows.edges


def fit(train: BaselineWindows, validation: BaselineWindows) -> Har:
    """Return a fitted model. The target must be volatility."""
    if train.target != "volatility":
        raise ValueError(f"needs --target volatility, but the target is {train.target}")
    return Har(train)
