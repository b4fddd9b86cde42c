"""Linear models of all inputs of a window, in the form of networks. An ensemble stores baselines in this form.

No search has this family: its parameters do not belong to the search space.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cost import Profile, linear
from cnn_lstm_hyperopt.space.domains import Fixed
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params

Floats = NDArray[np.float64]

FAMILY, NAME = "model.family", "linear"
STEPS = "linear.steps"
"""Name of the parameter with the number of bars of a window."""
LINEAR_PARAMETERS = {
    FAMILY: ParameterSpec("choice", Fixed(NAME), options=(NAME,)),
    STEPS: ParameterSpec("int", Fixed(1), low=1, high=10_000),
}
"""Parameters of a linear model, which are all in its configuration."""


@dataclass(frozen=True)
class LinearConfig(NetworkConfig):
    """Configuration of a linear model of windows of ``steps`` bars."""

    family: ClassVar[str] = NAME
    steps: int

    @property
    def outputs(self) -> int:
        """Number of outputs: the logits of the classes and, with regression, the value."""
        return self.n_classes + self.has_regression

    def cost(self, *, lookback: int) -> Profile:
        return linear(lookback * self.input_dim, self.outputs)

    def describe(self) -> str:
        return "a linear model of all inputs of the window"


def all_logits(coefficients: Floats, intercepts: Floats) -> tuple[Floats, Floats]:
    """Return weights ``(classes, columns)`` and biases ``(classes,)`` of the logits of all classes of a logistic regression.

    With two classes, a logistic regression of scikit-learn has coefficients ``(1, columns)`` of the second class only. Then
    the first class has the logit 0.
    """
    if len(coefficients) > 1:
        return coefficients, intercepts
    return np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)


def linear_params(steps: int) -> Params:
    """Return the configuration of a linear model of windows of ``steps`` bars."""
    return {FAMILY: NAME, STEPS: steps}


def is_linear(params: Params) -> bool:
    """Return whether a configuration is that of a linear model."""
    return params.get(FAMILY) == NAME
