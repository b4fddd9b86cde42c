"""Regressor of windows with the interface of scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from cnn_lstm_hyperopt.api.estimators.base import Targets, WindowEstimator
from cnn_lstm_hyperopt.api.estimators.inputs import as_float32
from cnn_lstm_hyperopt.errors import ArrayError

MAX_CLASSES, WINDOWS_PER_CLASS = 4, 10


class CNNLSTMRegressor(RegressorMixin, WindowEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Regressor that searches for a CNN+LSTM network, with the interface of scikit-learn.

    The networks learn two tasks together: the value of y, and the class of y by its quantiles (four classes, fewer for fewer than
    40 windows). The search maximises the accuracy of the classes, and early stopping uses their log loss. The front and the
    choice of a trial use R² on validation. Predictions are values.

    The parameters and attributes are those of :class:`.CNNLSTMClassifier`, without ``classes_``. ``objectives`` begins with
    ``r2``, and ``choose="accuracy"`` takes the trial with the highest R².
    """

    _regression = True

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the value of each window, ``(windows,)``."""
        return np.asarray(self._predictions(X).values, dtype=np.float64)

    def _targets(self, y: Any) -> Targets:
        values = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y").reshape(-1)
        labels = quantile_classes(values)
        names = tuple(f"part {number} of y" for number in range(1, int(labels.max()) + 2))
        return Targets(labels, as_float32(values), names)


def quantile_classes(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the class of each value by quantiles of all values: at most four classes of about equal size, at least two.

    Raises:
        ArrayError: all values are equal.
    """
    count = int(np.clip(len(values) // WINDOWS_PER_CLASS, 2, MAX_CLASSES))
    edges = np.quantile(values, np.linspace(0, 1, count + 1)[1:-1])
    for labels in (np.searchsorted(edges, values), (values > values.min()).astype(np.int64)):
        found, classes = np.unique(labels, return_inverse=True)
        if len(found) > 1:
            return np.asarray(classes, dtype=np.int64)
    text = f"y must have at least 2 different values, but all are {values[0]:g}"
    raise ArrayError(text, field="y", code="one-value")
