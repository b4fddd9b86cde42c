"""Baseline with logistic regression on summaries of a window."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Floats, Sample, base_rates, spread
from cnn_lstm_hyperopt.evaluation.baselines.linear_form import LinearForm, logits_of, of_means
from cnn_lstm_hyperopt.evaluation.baselines.summaries import means
from cnn_lstm_hyperopt.metrics import score

if TYPE_CHECKING:  # imports in 1 s
    from sklearn.pipeline import Pipeline


class LogisticBaseline(Baseline):
    """Logistic regression on the features of the last bar, and on their means over 5 bars, 20 bars and all bars of the window.

    A linear model of volatility needs means over several numbers of bars (Corsi 2009, HAR). A regression on all bars of the
    window predicts worse and is slower. The log loss on validation selects the strength of the L2 penalty. As long as the
    best strength is the smallest or the largest strength that was tried, the next strength is also tried.
    """

    name = "logistic regression"
    PENALTIES = (0.01, 0.1, 1.0, 10.0)
    """Inverse strengths C of the penalty that are tried first. Neighbouring strengths differ by the factor :data:`STEP`."""
    STEP, MIN_PENALTY, MAX_PENALTY = 10.0, 1e-7, 1e5

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self._rates = base_rates(train.labels, n_classes)
        self._model: Pipeline | None = None
        if len(np.unique(train.labels)) < 2:
            return
        inputs, held_out = means(train.inputs), means(validation.inputs)
        models: dict[float, Pipeline] = {}

        def loss(penalty: float) -> float:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
            with warnings.catch_warnings():
                # an incomplete fit is no problem: the validation loss compares all fits
                warnings.simplefilter("ignore", ConvergenceWarning)
                models[penalty] = model.fit(inputs, train.labels)
            said = spread(model.predict_proba(held_out), model.classes_, self._rates)
            return -score("log_loss", validation.labels, said)

        with threadpool_limits(1):  # sums in one order: the same result on every machine
            self._model = models[self._best_penalty(loss)]

    @classmethod
    def _best_penalty(cls, loss: Callable[[float], float]) -> float:
        """Return the penalty with the smallest loss.

        While the best penalty is the smallest or the largest, try further penalties.
        """
        losses = {penalty: loss(penalty) for penalty in cls.PENALTIES}
        while True:
            best = min(losses, key=losses.__getitem__)
            if best == min(losses) and best > cls.MIN_PENALTY:
                losses[best / cls.STEP] = loss(best / cls.STEP)
            elif best == max(losses) and best < cls.MAX_PENALTY:
                losses[best * cls.STEP] = loss(best * cls.STEP)
            else:
                return best

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._model is None:
            return np.tile(self._rates, (len(sample), 1))
        with threadpool_limits(1):
            found = self._model.predict_proba(means(sample.inputs))
        return spread(found, self._model.classes_, self._rates)

    def linear_form(self, steps: int) -> LinearForm | None:
        """Return the logits of the classes in windows of ``steps`` bars; None if a class has no training window."""
        if self._model is None or len(self._model.classes_) < len(self._rates):
            return None
        scaler, model = self._model.steps[0][1], self._model.steps[1][1]
        weights, biases = logits_of(model.coef_, model.intercept_, scaler.mean_, scaler.scale_)
        return of_means(weights, biases, steps)
