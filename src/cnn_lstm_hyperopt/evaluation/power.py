"""Power of a test set: the smallest differences between two models that the test set will probably show as significant."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from cnn_lstm_hyperopt.evaluation.dependence import Dependence, Units
from cnn_lstm_hyperopt.metrics.base import NO_VARIANCE, Floats, Labels, Probabilities, hits
from cnn_lstm_hyperopt.metrics.log_loss import LogLoss

STANDARD_ERRORS = 2.8
"""Difference, in standard errors, that a two-sided test at the 5 % level detects with a probability of 80 %: 1.96 + 0.84."""


class Power(NamedTuple):
    """Smallest differences between two models that a test set will probably show as significant.

    Attributes:
        units: units of the test windows.
        accuracy: smallest difference in accuracy; None if unknown.
        log_loss: smallest difference in log loss; None if unknown.
    """

    units: Units
    accuracy: float | None
    log_loss: float | None

    @property
    def sentence(self) -> str:
        """Sentence with the number of test windows and the smallest detectable differences."""
        start = self.units.text
        if self.units.too_few is not None:
            return f"{start}: {self.units.too_few}, so the verdict can't show skill."
        known = [] if self.accuracy is None else [f"{100 * self.accuracy:.1f} points of accuracy"]
        if self.log_loss is not None:
            known.append(f"{self.log_loss:.2g} of log loss")
        if not known:
            return f"{start}: the smallest difference that will show is unknown."
        return f"{start}: differences below {' or '.join(known)} will probably not show."

    def as_dict(self) -> dict[str, Any]:
        """Return the entry ``power`` for ``data.json``."""
        return {
            "sentence": self.sentence,
            "test_windows": self.units.n_windows,
            "test_units": {"kind": self.units.kind, "number": self.units.number},
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
        }

    def to_stored(self) -> dict[str, Any]:
        """Return the study attribute ``power``, from which :meth:`from_stored` makes an equal object."""
        return {**self._asdict(), "units": self.units._asdict()}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> "Power":
        """Return the power in the study attribute ``power``."""
        return cls(**{**stored, "units": Units(**stored["units"])})


def smallest_differences(
    labels: Labels, first: Probabilities, second: Probabilities, validation: Dependence, test: Dependence
) -> Power:
    """Estimate the smallest differences that a test set will probably show as significant.

    The estimate uses the predictions of two forecasters for validation windows.

    The smallest difference is :data:`STANDARD_ERRORS` times the standard error of the paired difference of the forecasters'
    scores. To get the standard error on the test set, the standard error on validation is multiplied by √(validation units /
    test units).

    The smallest difference in log loss is at least 2 × 2.8² / n for n test windows. This lower bound matters if both
    forecasters are nearly equal. A difference of g has a standard deviation of at least √(2 g) for one window (see
    :meth:`.LogLoss.standard_error`). So the standard error of the difference is at least √(2 g / n) for n independent
    windows.

    Args:
        labels: ``(windows,)`` classes of the validation windows.
        first, second: ``(windows, classes)`` probabilities of the two forecasters.
        validation: dependence of the validation windows.
        test: dependence of the test windows.
    """
    if validation.too_few is not None or test.too_few is not None:
        return Power(test.units, None, None)

    def smallest(gain: Floats) -> float | None:
        variance = validation.variance(gain).value
        if variance <= NO_VARIANCE:
            return None
        return STANDARD_ERRORS * math.sqrt(variance * validation.n_units / test.n_units)

    log_probability = LogLoss().of_windows
    log_loss = smallest(log_probability(labels, first) - log_probability(labels, second))
    if log_loss is not None:
        log_loss = max(log_loss, 2 * STANDARD_ERRORS**2 / test.n_windows)
    return Power(test.units, smallest(hits(labels, first) - hits(labels, second)), log_loss)
