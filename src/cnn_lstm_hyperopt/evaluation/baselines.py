"""What a model must beat: simple classifiers on the same windows, chosen on validation as the models are."""

import abc
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]


class Baseline(abc.ABC):
    """Learns from training windows, may choose on validation, predicts classes. Inputs: ``(windows, lookback, features)``."""

    name: str

    @abc.abstractmethod
    def fit(self, train: tuple[Inputs, Labels], validation: tuple[Inputs, Labels]) -> None:
        """Learns."""

    @abc.abstractmethod
    def predict(self, inputs: Inputs) -> Labels:
        """Classes ``(windows,)``."""


class MajorityClass(Baseline):
    """The most frequent class of the training windows, always."""

    name = "majority class"

    def fit(self, train: tuple[Inputs, Labels], validation: tuple[Inputs, Labels]) -> None:
        """See the base class."""
        self._class = int(np.bincount(train[1]).argmax())

    def predict(self, inputs: Inputs) -> Labels:
        """See the base class."""
        return np.full(len(inputs), self._class, dtype=np.int64)


class LogisticBaseline(Baseline):
    """Logistic regression on the last bar's features and their means over 5 bars, 20 bars and the window.

    Means over several spans are what a linear model of volatility needs (Corsi 2009, HAR); on the flattened window it is weaker
    and slower. The strength of the L2 penalty is chosen by log loss on validation.
    """

    name = "logistic regression"
    PENALTIES = (0.01, 0.1, 1.0, 10.0)

    def fit(self, train: tuple[Inputs, Labels], validation: tuple[Inputs, Labels]) -> None:
        """See the base class."""
        inputs, held_out = _summaries(train[0]), _summaries(validation[0])
        classes = np.unique(train[1])

        def fitted(penalty: float) -> Pipeline:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", ConvergenceWarning
                )  # an unfinished fit is judged on validation like the others
                return model.fit(inputs, train[1])

        known = np.isin(validation[1], classes)
        models = [fitted(penalty) for penalty in self.PENALTIES]
        losses = [log_loss(validation[1][known], m.predict_proba(held_out[known]), labels=classes) for m in models]
        self._model = models[int(np.argmin(losses))]

    def predict(self, inputs: Inputs) -> Labels:
        """See the base class."""
        classes: Labels = self._model.predict(_summaries(inputs)).astype(np.int64)
        return classes


def _summaries(inputs: Inputs) -> Inputs:
    """``(windows, lookback, features)`` → ``(windows, 4 × features)``."""
    parts = [inputs[:, -1], inputs[:, -5:].mean(axis=1), inputs[:, -20:].mean(axis=1), inputs.mean(axis=1)]
    return np.concatenate(parts, axis=1)


BASELINES: tuple[type[Baseline], ...] = (MajorityClass, LogisticBaseline)
