"""Baseline GARCH(1,1), whose forecast of the variance is mapped to class probabilities.

The package arch (extra ``garch``) fits it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.data.market_history import MarketHistory
from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Floats, Sample, base_rates
from cnn_lstm_hyperopt.evaluation.baselines.probability_map import ProbabilityMap

MAX_FITS, MAX_BARS, MIN_BARS = 5, 5_000, 250
"""Maximum number of segments that are fitted, and maximum and minimum number of bars of a segment."""
_FLOOR = 1e-10
"""Smallest variance of returns. This variance corresponds to moves of 1e-5, the smallest range of the target volatility."""


class Dynamics(NamedTuple):
    """Parameters of GARCH(1,1): the weights α of the last squared return and β of the last variance.

    The sum α + β is below 1.
    """

    alpha: float
    beta: float


class Garch(Baseline):
    """GARCH(1,1) of the returns (Bollerslev 1986) with variance targeting (Engle & Mezrich 1996).

    σ²[t+1] = (1 − α − β) v[t] + α r[t]² + β σ²[t], where r[t] is the return of bar t and v[t] the mean of the squared returns
    of the segment up to t. α and β are medians over the longest segments with training windows. A logistic regression
    computes class probabilities from ln σ[t+1] and ln v[t] / 2. From both, the logarithm of the usual size of a move is
    subtracted.
    """

    name = "GARCH"
    package, extra = "arch", "garch"

    @classmethod
    def lacks(cls, sample: Sample) -> str | None:
        """See the base class."""
        return "bars" if sample.bars is None else None

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class. This baseline does not use the validation windows."""
        self._rates = base_rates(train.labels, n_classes)
        self._dynamics: Dynamics | None = None
        if train.bars is None or len(np.unique(train.labels)) < 2:
            return
        self._dynamics = fitted_dynamics(*train.bars)
        if self._dynamics is not None:
            with threadpool_limits(1):
                self._to_classes = ProbabilityMap(self._columns(train, self._dynamics), train.labels, self._rates)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._dynamics is None:
            return np.tile(self._rates, (len(sample), 1))
        with threadpool_limits(1):
            return self._to_classes.probabilities(self._columns(sample, self._dynamics))

    @staticmethod
    def _columns(sample: Sample, dynamics: Dynamics) -> Floats:
        """Return the columns of the logistic regression, ``(windows, 2)``.

        The columns are the logarithms of the forecast and of the past standard deviation, relative to the usual size of a move.
        """
        if sample.bars is None:
            raise ValueError("windows of GARCH must come from bars")
        market, rows = sample.bars
        variances = np.column_stack(variance_forecasts(market, dynamics))[rows]
        return np.asarray(np.log(variances) / 2 - market.level[rows, None])


def fitted_dynamics(market: MarketHistory, rows: NDArray[np.int64]) -> Dynamics | None:
    """Return the medians of α and β over the longest segments, or None if all segments are too short.

    Each segment is used up to its last row in ``rows``.

    Args:
        market: facts about the bars.
        rows: ``(windows,)`` last rows of the training windows.
    """
    from arch import arch_model  # imports in 2 s

    returns, found = market.returns(), []
    last = np.full(int(market.segment.max()) + 1, -1)  # last training row of each segment
    np.maximum.at(last, market.segment[rows], rows)
    used = (np.arange(len(returns)) <= last[market.segment]) & np.isfinite(returns)
    names, counts = np.unique(market.segment[used], return_counts=True)
    for segment in names[np.argsort(-counts, kind="stable")][:MAX_FITS]:
        known = returns[used & (market.segment == segment)][-MAX_BARS:]
        deviation = float(known.std())
        if len(known) < MIN_BARS or deviation <= np.sqrt(_FLOOR):
            continue
        model = arch_model(known / deviation, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
        with threadpool_limits(1):  # sums in one order: the same result on every machine
            params = model.fit(disp="off", show_warning=False).params
        found.append(params[["alpha[1]", "beta[1]"]].to_numpy())
    return Dynamics(*np.median(found, axis=0).tolist()) if found else None


def variance_forecasts(market: MarketHistory, dynamics: Dynamics) -> tuple[Floats, Floats]:
    """Return at each row the forecast variance of the next bar's return, and the mean squared return so far, both ``(rows,)``.

    Row t depends only on returns of the same segment up to t. The results are NaN before the first known return of a segment.
    """
    from scipy.signal import lfilter  # imports in 0.3 s

    squares = np.square(market.returns())
    forecast, mean = np.full(len(squares), np.nan), np.full(len(squares), np.nan)
    borders = np.flatnonzero(np.diff(market.segment, prepend=-1, append=-1))
    for start, stop in pairwise(borders.tolist()):
        known = np.flatnonzero(np.isfinite(squares[start:stop]))
        if not len(known):
            continue
        here = slice(start + known[0], stop)
        so_far = np.cumsum(squares[here]) / np.arange(1, stop - here.start + 1)
        news = (1 - sum(dynamics)) * so_far + dynamics.alpha * squares[here]
        filtered, _ = lfilter([1.0], [1.0, -dynamics.beta], news, zi=[dynamics.beta * so_far[0]])
        forecast[here], mean[here] = np.maximum(filtered, _FLOOR), np.maximum(so_far, _FLOOR)
    return forecast, mean
