"""Simple baselines that use only labels, not inputs."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN, Baseline, Floats, Sample, base_rates
from cnn_lstm_hyperopt.metrics import score


class MajorityClass(Baseline):
    """Baseline that predicts the shares of the classes in training for every window.

    The predicted class is the most frequent class.

    The forecast of the value is the mean of the training values.
    """

    name, value_name = "majority class", "training mean"

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        self._rates = base_rates(train.labels, n_classes)
        self._mean = None if train.values is None else float(train.values.mean())

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        return np.tile(self._rates, (len(sample), 1))

    def values(self, sample: Sample) -> Floats | None:
        """See the base class."""
        return None if self._mean is None else np.full(len(sample), self._mean)


class Persistence(Baseline):
    """Baseline that predicts the last known class of the same symbol.

    The probability of this class is the share of training windows whose class equals their last known class. The probability
    is kept above one half, so that this class is always the prediction. Windows without a known class get the base rates. The
    forecast of the value is the last known value. Windows without a known value get the training mean.
    """

    name = value_name = "persistence"
    MIN_CONFIDENCE = 0.501

    @classmethod
    def lacks(cls, sample: Sample) -> str | None:
        """See the base class."""
        return _lacks_known_labels(sample)

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        known = train.last_labels != UNKNOWN
        right = int((train.last_labels[known] == train.labels[known]).sum())
        self._confidence = max(self.MIN_CONFIDENCE, (right + 1) / (int(known.sum()) + 2))
        self._rates = base_rates(train.labels, n_classes)
        self._mean = None if train.values is None else float(train.values.mean())

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        found = np.tile(self._rates, (len(sample), 1))
        known = np.flatnonzero(sample.last_labels != UNKNOWN)
        last = sample.last_labels[known]
        found[known, last] = 0.0  # the other classes share the remaining probability in proportion to their base rates
        found[known] *= (1 - self._confidence) / found[known].sum(axis=1, keepdims=True)
        found[known, last] = self._confidence
        return found

    def values(self, sample: Sample) -> Floats | None:
        """See the base class."""
        if sample.last_values is None or self._mean is None:
            return None
        return np.where(np.isnan(sample.last_values), self._mean, sample.last_values)


class RollingFrequency(Baseline):
    """Baseline that predicts the shares of the classes among the last known labels of the same symbol.

    The log loss on validation selects the number of labels. Base rate × number of classes is added to each count. So no share
    is 0, and windows without a known label get the base rates.
    """

    name = "rolling frequency"

    @classmethod
    def lacks(cls, sample: Sample) -> str | None:
        """See the base class."""
        return _lacks_known_labels(sample)

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        self._rates = base_rates(train.labels, n_classes)
        self._span = 0
        if validation.recent is not None:
            losses = [
                -score("log_loss", validation.labels, self._shares(validation.recent[:, span]))
                for span in range(validation.recent.shape[1])
            ]
            self._span = int(np.argmin(losses))

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if sample.recent is None:
            return np.tile(self._rates, (len(sample), 1))
        return self._shares(sample.recent[:, self._span])

    def _shares(self, counts: NDArray[np.int32]) -> Floats:
        """Return the shares of the classes ``(windows, classes)``, computed from the counts of known labels."""
        raised = counts + len(self._rates) * self._rates
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _lacks_known_labels(sample: Sample) -> str | None:
    return None if (sample.last_labels != UNKNOWN).any() else "earlier labels of the same symbol"
