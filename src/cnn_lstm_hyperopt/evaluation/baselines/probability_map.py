"""Logistic regression that maps forecasts to class probabilities."""

import numpy as np

from cnn_lstm_hyperopt.evaluation.baselines.base import Floats, Labels, spread
from cnn_lstm_hyperopt.evaluation.baselines.linear_form import logits_of


class ProbabilityMap:
    """Logistic regression that maps forecasts ``(windows, forecasts)`` to class probabilities.

    The penalty counts as much as a few windows. So the penalty matters only if there are no more than a few dozen windows.
    """

    def __init__(self, forecasts: Floats, labels: Labels, rates: Floats) -> None:
        """Fit the logistic regression.

        Args:
            forecasts: ``(windows, forecasts)`` forecasts of models whose fit does not depend on the window.
            labels: ``(windows,)`` classes, at least two different ones.
            rates: ``(classes,)`` base rates. A class that does not occur in ``labels`` gets its base rate as probability.
        """
        from sklearn.linear_model import LogisticRegression

        self._rates = rates
        self._mean, deviation = forecasts.mean(axis=0), forecasts.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)
        self._model = LogisticRegression(C=10.0, max_iter=1000).fit(self._scaled(forecasts), labels)

    def probabilities(self, forecasts: Floats) -> Floats:
        """Return the class probabilities ``(windows, classes)`` for forecasts."""
        return spread(self._model.predict_proba(self._scaled(forecasts)), self._model.classes_, self._rates)

    def logits(self) -> tuple[Floats, Floats] | None:
        """Return weights and biases that give the logits of the classes from forecasts; None if a class has no label."""
        if len(self._model.classes_) < len(self._rates):
            return None
        return logits_of(self._model.coef_, self._model.intercept_, self._mean, self._scale)

    def _scaled(self, forecasts: Floats) -> Floats:
        return np.asarray((forecasts - self._mean) / self._scale)
