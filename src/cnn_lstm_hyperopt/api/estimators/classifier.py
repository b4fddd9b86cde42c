"""Classifier of windows with the interface of scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from cnn_lstm_hyperopt.api.estimators.base import Targets, WindowEstimator, class_texts
from cnn_lstm_hyperopt.errors import ArrayError
from cnn_lstm_hyperopt.utils.text import shown


class CNNLSTMClassifier(ClassifierMixin, WindowEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier that searches for a CNN+LSTM network, with the interface of scikit-learn.

    ``fit`` runs a study (search with pruning), chooses a trial of the front, and trains its configuration with several seeds. The
    prediction is the mean of these networks, with tempered probabilities. Validation windows are part of X: the last dates if
    dates are given, else whole groups, else a stratified sample. Features are standardised with the training windows. Test the
    estimator on other data; ``fit`` has no test set.

    Args:
        n_trials: number of trials; None: the default of ``study.n_trials``, 1000.
        budget: time of a fit, such as ``"10m"`` or seconds: 70 % for the search, the rest for the final training. None: no limit.
        objectives: objectives of the front: a metric, which the search maximises, and the costs ``seconds`` and ``MB``. None:
            ``("accuracy", "seconds", "MB")``. The search itself always considers both costs.
        choose: trial of the front to train: ``accuracy`` (the best score), ``balanced`` (the knee of the front, see
            :func:`.knee`), ``fastest``, ``smallest``, or a function of the leaderboard that returns a value of its column
            ``trial``.
        layout: order of a 3-d array: ``time_features`` for (windows, time, features), ``channels_time`` for (windows, channels,
            time), as in aeon.
        validation_share: share of the windows for validation.
        random_state: seed. Results may differ between runs, because measured seconds decide which trials are on the front.
        n_jobs: number of worker processes; None: the default of ``workers``; −1: one per core.
        config: all other settings, as in :class:`.CNNLSTMHyperparameterOptimizer`.
        save_dir: new directory for the study, its report and its MLflow runs; None: they are not kept.
        verbose: True to print the progress.

    Attributes:
        classes_: the classes.
        n_features_in_: number of features; of a table ``(windows, time)``, the number of columns.
        n_timepoints_in_: number of time steps of a window.
        best_trial_, best_params_: number and configuration of the chosen trial.
        above_chance_: whether the trials of the front beat chance on validation.
    """

    _regression = False

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each window, ``(windows,)``."""
        predictions = self._predictions(X)
        return np.asarray(self.classes_[predictions.classes])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, ``(windows, classes)``, in the order of ``classes_``."""
        probabilities = self._predictions(X).probabilities.astype(np.float64)
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def _targets(self, y: Any) -> Targets:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            text = (
                f"y must have at least 2 classes, but has only one class: {shown(self.classes_[0])}; give other windows"
            )
            raise ArrayError(text, field="y", code="one-class")
        return Targets(labels.astype(np.int64), None, class_texts(self.classes_))
