"""Baseline MiniRocket, which is strong for time series: ridge regression on features of random convolutions.

The package sktime-cython (extra ``rocket``) computes the features. The classifier is that of the MiniRocket paper.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Floats, Inputs, Labels, Sample, base_rates, spread

MIN_STEPS = 9
"""Number of time steps of a convolution kernel. Windows with fewer steps are padded."""
MAX_WINDOWS, MAX_STEPS = 2_000, 5_000_000
"""Maximum number of training windows, and of the time steps in all of them.

At the maximum, a fit takes a few hundred MB and 10 s.
"""
WINDOWS_AT_ONCE = 500
"""Maximum number of windows whose 9,996 features are in memory at the same time (20 MB)."""
STRENGTHS = np.logspace(-3, 3, 10)
"""Strengths of the penalty from which the ridge regression selects, as in the MiniRocket paper."""
MAX_STEEPNESS = 1e3
"""Maximum factor by which a decision value of the ridge regression (about ±1) is multiplied to get log-odds."""


class MiniRocket(Baseline):
    """MiniRocket features with ridge regression (Dempster, Schmidt & Webb 2021), calibrated to give probabilities.

    Ridge regression gives a decision value for each class, not a probability. The decision values are multiplied by one
    factor to get log-odds (temperature scaling, Guo et al. 2017). The factor gives the lowest log loss for the leave-one-out
    decision values of the training windows. These decision values also select the penalty. In the log loss, Platt's targets
    (1999) replace 0 and 1, so that a few windows without an error do not cause overconfidence. The factor is positive, so the
    class with the highest decision value is also the most probable class.
    """

    name = "MiniRocket"
    package, extra = "sktime_cython", "rocket"

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class; this baseline does not use the validation windows."""
        from sklearn.linear_model import RidgeCV
        from sklearn.preprocessing import StandardScaler
        from sktime_cython.transformations.rocket import rocket_fit

        self._rates = base_rates(train.labels, n_classes)
        self._model: Any = None
        chosen = _evenly(len(train.labels), min(MAX_WINDOWS, max(2, MAX_STEPS // train.inputs.shape[1])))
        labels = train.labels[chosen]
        self._classes, places = np.unique(labels, return_inverse=True)
        if len(self._classes) < 2:
            return
        panel = _panel(train.inputs[chosen])
        with _numpy_stream_restored():
            self._kernels = rocket_fit(panel, random_state=seed % 2**31)
        features = self._features(panel)
        self._scaler = StandardScaler(copy=False)
        targets = np.where(places[:, None] == np.arange(len(self._classes)), 1.0, -1.0)
        with threadpool_limits(1):  # sums in one order: the same result on every machine
            inputs = self._scaler.fit_transform(features).astype(np.float64)
            # the default scoring; naming it makes scikit-learn store decision values instead of errors
            model = RidgeCV(STRENGTHS, scoring="neg_mean_squared_error", store_cv_results=True).fit(inputs, targets)
        self._model = model
        decisions = model.cv_results_[:, :, int(np.flatnonzero(model.alpha_ == STRENGTHS)[0])]
        self._steepness = steepness(decisions, places)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._model is None:
            return np.tile(self._rates, (len(sample.inputs), 1))
        found = np.empty((len(sample.inputs), len(self._classes)))
        with threadpool_limits(1):
            for first in range(0, len(found), WINDOWS_AT_ONCE):
                part = slice(first, first + WINDOWS_AT_ONCE)
                features = self._scaler.transform(self._features(_panel(sample.inputs[part])))
                found[part] = _softmax(self._steepness * self._model.predict(features.astype(np.float64)))
        return spread(found, self._classes, self._rates)

    def _features(self, panel: Inputs) -> Inputs:
        """Return the MiniRocket features, ``(windows, 9996)``.

        Each feature is the share of positive values of one convolution.
        """
        from sktime_cython.transformations.rocket import rocket_transform

        features: Inputs = rocket_transform(panel, self._kernels, n_jobs=-1)
        return features


def steepness(decisions: Floats, labels: Labels) -> float:
    """Return the factor between decision values and log-odds that minimises the log loss.

    Args:
        decisions: ``(windows, classes)`` decision values for each window from a model that was not fitted on this window.
        labels: ``(windows,)`` position of the true class among the columns of ``decisions``.
    """
    from scipy.optimize import minimize_scalar  # imports in 0.5 s

    counts = np.bincount(labels, minlength=decisions.shape[1])
    own = (counts + 1) / (counts + 2)
    targets = np.tile(((1 - own) / (decisions.shape[1] - 1))[labels, None], decisions.shape[1])
    targets[np.arange(len(labels)), labels] = own[labels]

    def log_loss(logarithm: float) -> float:
        logits = np.exp(logarithm) * decisions
        highest = logits.max(axis=1, keepdims=True)
        logs = logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
        return float(-(targets * logs).sum(axis=1).mean())

    found = minimize_scalar(log_loss, bounds=(-np.log(MAX_STEEPNESS), np.log(MAX_STEEPNESS)), method="bounded")
    return float(np.exp(found.x))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _panel(inputs: Inputs) -> Inputs:
    """Transpose windows to ``(windows, features, time)``. In windows with fewer than 9 steps, the first step is repeated."""
    short = max(0, MIN_STEPS - inputs.shape[1])
    longer = np.pad(inputs, ((0, 0), (short, 0), (0, 0)), mode="edge") if short else inputs
    return np.ascontiguousarray(longer.transpose(0, 2, 1), dtype=np.float32)


def _evenly(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most ``limit`` evenly spread positions between 0 and ``count`` − 1."""
    return np.arange(count) if count <= limit else np.linspace(0, count - 1, limit).round().astype(np.int64)


@contextmanager
def _numpy_stream_restored() -> Iterator[None]:
    """Context that restores the state of numpy's global random number generator at its end.

    The library sktime seeds this generator, which would change random numbers of the user's program.
    """
    state: Any = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
