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

    For n test windows, the smallest difference is at least 2.8² / (n + 2.8²) in accuracy and 2 × 2.8² / n in log loss. These
    lower bounds matter if both forecasters are nearly equal. Two forecasters whose accuracy differs by g disagree in at least
    this share of the windows, so the difference has a variance of at least g (1 − g) for one window, and g (1 − g) / n for the
    mean of n independent windows. A difference of g in log loss has a standard deviation of at least √(2 g) for one window (see
    :meth:`.LogLoss.standard_error`), and √(2 g / n) for the mean.

    Args:
        labels: ``(windows,)`` classes of the validation windows.
        first, second: ``(windows, classes)`` probabilities of the two forecasters.
        validation: dependence of the validation windows.
        test: dependence of the test windows.
    """
    if validation.too_few is not None or test.too_few is not None:
        return Power(test.units, None, None)

    def smallest(gain: Floats, lower_bound: float) -> float | None:
        variance = validation.variance(gain).value
        if variance <= NO_VARIANCE:
            return None
        return max(lower_bound, STANDARD_ERRORS * math.sqrt(variance * validation.n_units / test.n_units))

    square, n = STANDARD_ERRORS**2, test.n_windows
    log_probability = LogLoss().of_windows
    return Power(
        test.units,
        accuracy=smallest(hits(labels, first) - hits(labels, second), square / (n + square)),
        log_loss=smallest(log_probability(labels, first) - log_probability(labels, second), 2 * square / n),
    )
