"""Baselines in the form of a linear model of all inputs of a window, which can be stored without code."""

from dataclasses import dataclass

import numpy as np

from cnn_lstm_hyperopt.evaluation.baselines.base import Floats
from cnn_lstm_hyperopt.evaluation.baselines.summaries import SPANS
from cnn_lstm_hyperopt.models.linear import all_logits


@dataclass(frozen=True, eq=False)
class LinearForm:
    """Linear functions of the inputs of a window, which are ordered by bar, then by feature.

    Attributes:
        weights: ``(outputs, lookback × features)``.
        biases: ``(outputs,)``.
    """

    weights: Floats
    biases: Floats

    def before(self, weights: Floats, biases: Floats) -> "LinearForm":
        """Return the form after which another linear function follows: ``weights · form + biases``."""
        return LinearForm(weights @ self.weights, weights @ self.biases + biases)


def of_means(weights: Floats, biases: Floats, steps: int) -> LinearForm:
    """Return the form of a linear function of the columns of :func:`.summaries.means`.

    Args:
        weights: ``(outputs, 4 × features)``.
        biases: ``(outputs,)``.
        steps: number of bars in a window.
    """
    spans = (*SPANS, steps)
    shares = np.zeros((len(spans), steps))  # share of each bar in each mean
    for row, span in zip(shares, spans, strict=True):
        row[-span:] = 1 / min(span, steps)
    by_mean = weights.reshape(len(weights), len(spans), -1)
    return LinearForm(np.einsum("omf,ms->osf", by_mean, shares).reshape(len(weights), -1), biases)


def logits_of(coefficients: Floats, intercepts: Floats, mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Return weights and biases of the logits of all classes, of a logistic regression on standardised columns."""
    coefficients, intercepts = all_logits(coefficients, intercepts)
    weights = coefficients / scale
    return weights, intercepts - weights @ mean
