"""Baselines: simple forecasters that a model must beat. Like models, they use the training and validation windows."""

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.evaluation.baseline import UNKNOWN, Baseline, Floats, Inputs, Labels, Sample, base_rates, spread
from cnn_lstm_hyperopt.evaluation.minirocket import MiniRocket
from cnn_lstm_hyperopt.metrics import score

if TYPE_CHECKING:  # imports in 1 s
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

_NUMBERS_AT_ONCE = 1_000_000
"""Maximum number of inputs (windows × lookback × features) to copy at once: 4 MB."""


def earlier_windows(symbols: NDArray[Any], starts: NDArray[np.int64], horizon: int) -> NDArray[np.int64]:
    """Return, for each window, the position of the same symbol's window that starts ``horizon`` rows earlier, or −1.

    The label of the earlier window looks ahead to the last bar of the later window, so it is the last label known at that bar.
    Pass the windows of training, validation and test together: a test label is known to windows that end a horizon later.

    Args:
        symbols: ``(windows,)`` names.
        starts: ``(windows,)`` first row of each window in the series that all windows share.
        horizon: bars that a label looks ahead, ≥ 1.

    Raises:
        ValueError: the starts are too far apart to be rows of one series.
    """
    if len(starts) == 0:
        return np.empty(0, dtype=np.int64)
    names, who = np.unique(symbols, return_inverse=True)
    low, high = int(starts.min()), int(starts.max())
    if len(names) * (high - low + 1 + horizon) > np.iinfo(np.int64).max:
        raise ValueError(f"starts must be rows of one series, but are between {low} and {high}")
    # one number for each (symbol, row); symbols are more than a horizon apart
    keys = who * (high - low + 1 + horizon) + (starts - low + horizon)
    order = np.argsort(keys, kind="stable")
    wanted = keys - horizon
    place = order[np.maximum(np.searchsorted(keys, wanted, side="right", sorter=order) - 1, 0)]
    return np.where(keys[place] == wanted, place, -1)


def last_labels(labels: Labels, earlier: NDArray[np.int64]) -> Labels:
    """Return the label at each position in ``earlier`` (see :func:`earlier_windows`); :data:`UNKNOWN` where it is −1."""
    return np.where(earlier >= 0, labels[earlier], UNKNOWN)


def persistence_values(values: NDArray[np.floating], earlier: NDArray[np.int64], mean: float) -> Floats:
    """Return the persistence forecast of the regression: the last known value of the same symbol.

    Args:
        values: ``(windows,)`` true values of all windows.
        earlier: ``(windows,)`` positions from :func:`earlier_windows`.
        mean: mean of the training values, used if no value is known.
    """
    return np.where(earlier >= 0, values[earlier].astype(np.float64), mean)


class MajorityClass(Baseline):
    """Predicts the training shares of the classes for every window, so the predicted class is the most frequent one."""

    name = "majority class"

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        self._rates = base_rates(train.labels, n_classes)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        return np.tile(self._rates, (len(sample.inputs), 1))


class Persistence(Baseline):
    """Predicts the last known class of the same symbol.

    The probability of this class is the share of training windows that repeat their last known class. It is kept above one
    half, so that this class is always the prediction. Windows without a known class get the base rates.
    """

    name = "persistence"
    MIN_CONFIDENCE = 0.501

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        known = train.last_labels != UNKNOWN
        right = int((train.last_labels[known] == train.labels[known]).sum())
        self._confidence = max(self.MIN_CONFIDENCE, (right + 1) / (int(known.sum()) + 2))
        self._rates = base_rates(train.labels, n_classes)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        found = np.tile(self._rates, (len(sample.inputs), 1))
        known = np.flatnonzero(sample.last_labels != UNKNOWN)
        last = sample.last_labels[known]
        found[known, last] = 0.0  # the other classes share the remaining probability in proportion to their base rates
        found[known] *= (1 - self._confidence) / found[known].sum(axis=1, keepdims=True)
        found[known, last] = self._confidence
        return found


class LogisticBaseline(Baseline):
    """Logistic regression on the last bar's features and their means over 5 bars, 20 bars and the window.

    A linear model of volatility needs means over several spans (Corsi 2009, HAR). A regression on all bars of the window
    predicts worse and is slower. The log loss on validation selects the strength of the L2 penalty.
    """

    name = "logistic regression"
    PENALTIES = (0.01, 0.1, 1.0, 10.0)

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
        inputs, held_out = _means(train.inputs), _means(validation.inputs)

        def fitted(penalty: float) -> "Pipeline":
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
            with warnings.catch_warnings():
                # an incomplete fit is no problem: the validation loss compares it with the other fits
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(inputs, train.labels)

        with threadpool_limits(1):  # sums in one order: the same result on every machine
            models = [fitted(penalty) for penalty in self.PENALTIES]
            losses = [
                -score(
                    "log_loss", validation.labels, spread(model.predict_proba(held_out), model.classes_, self._rates)
                )
                for model in models
            ]
        self._model = models[int(np.argmin(losses))]

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._model is None:
            return np.tile(self._rates, (len(sample.inputs), 1))
        return spread(self._model.predict_proba(_means(sample.inputs)), self._model.classes_, self._rates)


class GradientBoosting(Baseline):
    """Boosted trees on the last bar, the last 5 bars, means over 5 bars, 20 bars and the window, and deviations over the window.

    The log loss on validation selects the number of trees, from 0 (base rates) to 200. A leaf has at least 40 windows. With
    fewer than 600 training windows a leaf has at least 1/15 of these windows and at least 5 (the usual limit of regression
    trees, Breiman 2001), so that trees can grow on a few dozen windows.
    """

    name = "gradient boosting"
    MAX_TREES = 200
    MAX_LEAVES = 15
    MIN_LEAF, MAX_MIN_LEAF = 5, 40

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        self._rates = base_rates(train.labels, n_classes)
        self._model: HistGradientBoostingClassifier | None = None
        if len(np.unique(train.labels)) < 2:
            return
        inputs, held_out = _summaries(train.inputs), _summaries(validation.inputs)
        nothing = np.tile(self._rates, (len(validation.labels), 1))
        losses = [-score("log_loss", validation.labels, nothing)]
        with threadpool_limits(1):
            longest = self._fitted(self.MAX_TREES, inputs, train.labels, seed)
            losses += [
                -score("log_loss", validation.labels, spread(each, longest.classes_, self._rates))
                for each in longest.staged_predict_proba(held_out)
            ]
            best = int(np.argmin(losses))
            if best > 0:  # trees grow one after the other, so a refit with fewer trees gives the same first trees
                self._model = self._fitted(best, inputs, train.labels, seed)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._model is None:
            return np.tile(self._rates, (len(sample.inputs), 1))
        with threadpool_limits(1):
            found = self._model.predict_proba(_summaries(sample.inputs))
        return spread(found, self._model.classes_, self._rates)

    @classmethod
    def _fitted(cls, trees: int, inputs: Floats, labels: Labels, seed: int) -> "HistGradientBoostingClassifier":
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            max_iter=trees,
            learning_rate=0.05,
            max_leaf_nodes=cls.MAX_LEAVES,
            min_samples_leaf=max(cls.MIN_LEAF, min(len(labels) // cls.MAX_LEAVES, cls.MAX_MIN_LEAF)),
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed % 2**32,
        )
        return model.fit(inputs, labels)


BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind for kind in (MajorityClass, Persistence, LogisticBaseline, GradientBoosting, MiniRocket)
}
"""All baselines by name, the majority class first."""


def fit_baselines(train: Sample, validation: Sample, *, n_classes: int, seed: int) -> dict[str, Baseline]:
    """Fit all of :data:`BASELINES` whose packages are installed; log the baselines whose packages are missing."""
    fitted: dict[str, Baseline] = {}
    for name, kind in BASELINES.items():
        if (missing := kind.missing()) is not None:
            log.info("%s", missing)
            continue
        fitted[name] = kind()
        fitted[name].fit(train, validation, n_classes=n_classes, seed=seed)
    return fitted


def _means(inputs: Inputs) -> Floats:
    """Return each feature's last value and means over 5, 20 and all bars: ``(windows, 4 × features)``, last value first."""
    parts = [inputs[:, -1], inputs[:, -5:].mean(axis=1), inputs[:, -20:].mean(axis=1), inputs.mean(axis=1)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _summaries(inputs: Inputs) -> Floats:
    """Return the result of :func:`_means`, the last 5 bars and the deviations: ``(windows, (4 + 5 + 1) × features)``."""
    tail = inputs[:, -5:].reshape(len(inputs), -1)
    return np.concatenate([_means(inputs), tail, _deviations(inputs)], axis=1)


def _deviations(inputs: Inputs) -> Inputs:
    """Return the standard deviation of each feature over a window's bars, ``(windows, features)``.

    Computes some windows at a time, because numpy copies its input and a copy of all windows may take gigabytes.
    """
    found = np.empty((len(inputs), inputs.shape[2]), dtype=inputs.dtype)
    rows = max(1, _NUMBERS_AT_ONCE // max(1, inputs.shape[1] * inputs.shape[2]))
    for first in range(0, len(inputs), rows):
        inputs[first : first + rows].std(axis=1, out=found[first : first + rows])
    return found
