"""Coverage of the conformal sets and intervals of a model on the test windows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, Interval, score_interval
from cnn_lstm_hyperopt.inference.conformal import Conformal
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True)
class Coverage:
    """Coverage: the share of test windows whose set or interval contains the true class or value.

    Attributes:
        share: share of the test windows.
        interval: confidence interval of the share; None if there are too few units.
        size: mean number of classes of a set, or mean width of an interval.
    """

    share: float
    interval: Interval | None
    size: float

    @classmethod
    def of(cls, inside: NDArray[np.bool_], dependence: Dependence, size: float) -> "Coverage":
        """Return the coverage from a mask (windows,) of the windows whose true class or value is inside."""
        hits = np.eye(2)[inside.astype(np.int64)]
        interval = score_interval("accuracy", np.ones(len(inside), dtype=np.int64), hits, dependence)
        return cls(float(inside.mean()), interval, size)


@dataclass(frozen=True)
class ConformalTest:
    """Test result of the conformal sets and intervals of a model.

    Attributes:
        conformal: the calibrated sets and intervals.
        classes: coverage of the sets.
        singletons: share of windows whose set has one class.
        values: coverage of the intervals; None without regression.
    """

    conformal: Conformal
    classes: Coverage
    singletons: float
    values: Coverage | None


def conformal_test(
    conformal: Conformal | None, predictions: Predictions, test: Windows, dependence: Dependence
) -> ConformalTest | None:
    """Return the coverage of a model's sets and intervals on the test windows; None if the model has no sets."""
    if conformal is None:
        return None
    labels, sets = test.labels.numpy(), conformal.sets(predictions.probabilities)
    sizes, values = sets.sum(axis=1), None
    ends = None if predictions.values is None else conformal.intervals(predictions.values)
    if ends is not None and test.values is not None:
        truth = test.values.numpy()
        values = Coverage.of((ends[0] <= truth) & (truth <= ends[1]), dependence, float((ends[1] - ends[0]).mean()))
    classes = Coverage.of(sets[np.arange(len(labels)), labels], dependence, float(sizes.mean()))
    return ConformalTest(conformal, classes, float((sizes == 1).mean()), values)
