"""Model of a user's baseline function, with checks of its forecasts."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.evaluation.baselines.base import Floats
from cnn_lstm_hyperopt.evaluation.baselines.own_windows import BaselineWindows
from cnn_lstm_hyperopt.utils.bounded_process import end_copies
from cnn_lstm_hyperopt.utils.text import shown_name, typed_line

SETTING = "evaluation.baselines"
REQUEST, ANSWER, PROBABILITIES, VALUES = "request.json", "answer.json", "probabilities.npy", "values.npy"
PARTS = ("train", "validation", "test")
ARRAYS = ("labels", "values", "dates", "symbols", "edges", "_starts", "_series", "_segment", "_prices")
"""Fields of :class:`BaselineWindows` with arrays. A field is None if its file is missing."""
_SUM_TOLERANCE = 1e-3
"""Largest difference of a sum of probabilities from 1."""
_MAX_CHANGE = 0.01
"""Largest change of a probability when the function forecasts the same window among other windows."""


class OwnModel:
    """Result of a user's baseline function, with checks of its forecasts."""

    def __init__(self, reference: str, fit: Callable[..., Any], train: BaselineWindows, validation: BaselineWindows):
        """Fit the user's model.

        Raises:
            DataError: the function raises an error, or does not return a model.
        """
        self._reference = reference
        self._model = self._called("the function", fit, train, validation)
        self._forecast = getattr(self._model, "probabilities", None) or self._model
        if not callable(self._forecast):
            text = (
                f"must return a function of windows, or an object with the method probabilities(windows), but returns"
                f" {type(self._model).__name__}"
            )
            raise self.error(text, "not-a-model")

    def probabilities(self, windows: BaselineWindows) -> Floats:
        """Return the class probabilities ``(windows, classes)`` of the user's model. Each row sums to 1.

        Raises:
            DataError: the model raises an error, or its result is not class probabilities.
        """
        shape = len(windows), windows.n_classes
        found = self._numbers("probabilities", self._called("its forecast", self._forecast, windows), shape)
        if found.min(initial=0.0) < 0:
            text = f"probabilities must be at least 0, but {_place(found < 0)} is {found.min():.4g}"
            raise self.error(text, "not-probabilities")
        sums = found.sum(axis=1)
        wrong = np.abs(sums - 1) > _SUM_TOLERANCE
        if wrong.any():
            text = (
                f"the probabilities of a window must sum to 1, but those of {_place(wrong)} sum to {sums[wrong][0]:.4g}; divide"
                " by the sum"
            )
            raise self.error(text, "not-probabilities")
        return np.asarray(found / sums[:, None])

    def values(self, windows: BaselineWindows) -> Floats | None:
        """Return the forecasts of the regression target ``(windows,)``, or None if the user's model has none.

        Raises:
            DataError: the model raises an error, or its result is not numbers.
        """
        forecast = getattr(self._model, "values", None)
        if windows.value_name is None or not callable(forecast):
            return None
        return self._numbers("values", self._called("its method values", forecast, windows), (len(windows),))

    def require_separate(self, windows: BaselineWindows) -> None:
        """Check that the forecast of a window does not depend on the other windows that are forecast with it.

        Raises:
            DataError: a probability differs between two calls.
        """
        together, alone = self.probabilities(windows), self.probabilities(windows.part(slice(None, None, 2)))
        change = float(np.abs(together[::2] - alone).max(initial=0.0))
        if change > _MAX_CHANGE:
            text = (
                f"the probabilities of a window must not depend on the other windows of the call, but one differs by {change:.2g}"
                " between two calls; compute statistics from the training windows only, and draw random numbers with windows.seed"
            )
            raise self.error(text, "depends-on-other-windows")

    def error(self, text: str, code: str) -> DataError:
        """Return an error about the user's baseline."""
        return baseline_error(self._reference, text, code)

    def _called(self, what: str, call: Callable[..., Any], *arguments: BaselineWindows) -> Any:
        process = os.getpid()
        try:
            try:
                return call(*arguments)
            finally:
                end_copies(process)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self.error(f"{what} raises {typed_line(error)}", "function-raises") from error

    def _numbers(self, what: str, made: Any, shape: tuple[int, ...]) -> Floats:
        """Return the user's result as float64 numbers of the expected shape."""
        try:
            found = np.asarray(made)
            numbers = found.astype(np.float64) if found.dtype.kind in "fiub" else None
        except (TypeError, ValueError, RuntimeError) as error:  # a ragged list, or a tensor with gradients or on a GPU
            text = f"{what} must be an array, but {type(made).__name__} can't be converted: {typed_line(error)}"
            raise self.error(text, "not-numbers") from error
        if numbers is None:
            raise self.error(f"{what} must be an array of real numbers, but is {_kind(made, found)}", "not-numbers")
        if numbers.shape != shape:
            dimensions = "(windows, classes)" if len(shape) == 2 else "(windows,)"
            text = f"{what} must have the shape {dimensions} = {shape}, but have {numbers.shape}"
            raise self.error(text, "wrong-shape")
        bad = ~np.isfinite(numbers)
        if bad.any():
            text = f"{what} must be finite, but {_place(bad)} is {numbers[bad][0]:g} ({int(bad.sum())} in all)"
            raise self.error(text, "not-finite")
        return numbers


def baseline_error(reference: str, text: str, code: str) -> DataError:
    """Return an error about the user's baseline with this reference."""
    return DataError(f"{SETTING} {shown_name(reference)}: {text}", field=SETTING, code=code)


def _place(bad: "np.ndarray[Any, Any]") -> str:
    """Return the name of the first window that is bad."""
    return f"window {int(np.argwhere(bad)[0][0])}"


def _kind(made: Any, found: "np.ndarray[Any, Any]") -> str:
    return f"{type(made).__name__} of {found.dtype}" if found.dtype != object else type(made).__name__
