"""Baseline with gradient boosting on summaries of a window."""

from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Floats, Labels, Sample, base_rates, spread
from cnn_lstm_hyperopt.evaluation.baselines.summaries import summaries
from cnn_lstm_hyperopt.metrics import score

if TYPE_CHECKING:  # imports in 1 s
    from sklearn.ensemble import HistGradientBoostingClassifier


class GradientBoosting(Baseline):
    """Boosted trees on summaries of a window: the last 5 bars, means over 5 bars, 20 bars and all bars, and standard deviations.

    The log loss on validation selects the number of trees, from 0 (base rates) to 200. A leaf has at least 40 windows. With
    fewer than 600 training windows, a leaf has at least 1/15 of the training windows and at least 5 windows. So trees can be
    built from a few dozen windows. Five is the usual limit of regression trees (Breiman 2001).
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
        inputs, held_out = summaries(train.inputs), summaries(validation.inputs)
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
            return np.tile(self._rates, (len(sample), 1))
        with threadpool_limits(1):
            found = self._model.predict_proba(summaries(sample.inputs))
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
