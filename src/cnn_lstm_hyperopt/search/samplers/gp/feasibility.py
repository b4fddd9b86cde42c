"""Constraints in the sampler ``gp``: excesses over bounds, and the probability that a configuration keeps all bounds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from cnn_lstm_hyperopt.search.constraints import relative_excess
from cnn_lstm_hyperopt.search.observations import Observation
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import MIN_GOOD
from cnn_lstm_hyperopt.search.samplers.gp.regression import Posterior

Array = NDArray[np.float64]

MIN_MEASURED = 5
"""Number of measured values of a constraint from which its model is used. Before, the probability of feasibility is 1."""
CONFIDENT = (0.5, 0.95)
"""Probability of feasibility from which candidates are preferred to all others: in the first and in the last trial of a study."""


def excesses(history: Sequence[Observation], bounds: Mapping[str, float]) -> Array:
    """Return the relative excess r of each constraint as sign(r) ln(1 + |r|), ``(rows, constraints)``; NaN if not measured.

    The transformation is the bilog of Eriksson & Poloczek 2021 (arXiv 2002.08526), with 0 at the bound. It makes very large
    values less dominant and keeps the resolution near the bound.
    """
    found = np.full((len(history), len(bounds)), np.nan)
    for place, row in enumerate(history):
        for column, (name, bound) in enumerate(bounds.items()):
            if name in row.constraints:
                found[place, column] = relative_excess(row.constraints[name], bound)
    return np.asarray(np.sign(found) * np.log1p(np.abs(found)))


def probability_of_feasibility(mean: Array, sd: Array, bounds: Array) -> Array:
    """Return the probability that independent normal values are at most their bounds: Π Φ((bound − mean) / sd).

    Gardner, Kusner, Xu, Weinberger & Cunningham 2014, "Bayesian optimization with inequality constraints", eq. 6.

    Args:
        mean: shape ``(points, constraints)``.
        sd: standard deviations above 0, shape ``(points, constraints)``.
        bounds: shape ``(constraints,)``.
    """
    return np.asarray(np.exp(log_ndtr((bounds - mean) / sd).sum(axis=1)))


def feasibility(models: Sequence[Posterior], features: Array) -> Array:
    """Return the probability that measured values at new points keep all bounds, ``(points,)``; 1 without models.

    The models predict excesses, whose bounds are 0. The standard deviation includes the noise of a measurement.
    """
    if not models:
        return np.ones(len(features))
    predictions = [model.predict(features) for model in models]
    mean = np.column_stack([each for each, _ in predictions])
    sd = np.column_stack([np.hypot(each, model.noise_sd) for (_, each), model in zip(predictions, models, strict=True)])
    return probability_of_feasibility(mean, sd, np.zeros(len(models)))


def no_parents(excess: Array, diverged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of rows that are no parents: diverged trials, and trials that break a constraint.

    With fewer than :data:`.MIN_GOOD` other rows, the rows with the smallest excesses are parents, too.

    Args:
        excess: shape ``(rows, constraints)``; NaN counts as feasible.
        diverged: shape ``(rows,)``.
    """
    total = np.where(excess > 0, excess, 0.0).sum(axis=1)
    left_out = diverged | (total > 0)
    if (~left_out).sum() < MIN_GOOD:
        nearest = np.argsort(np.where(diverged, np.inf, total), kind="stable")[:MIN_GOOD]
        left_out[nearest] = diverged[nearest]
    return np.asarray(left_out, dtype=bool)


def promising(probability: Array, done: float) -> NDArray[np.int64]:
    """Return the indices of the candidates that are probably feasible; without such candidates, of all.

    Gelbart, Snoek & Adams 2014 (arXiv 1403.5607) require a minimum probability of feasibility, too. Without it, the product
    of gain and probability often prefers candidates just beyond the bound, where the gain is largest. The required probability
    rises during the study, because the first trials also show where the bound is.

    Args:
        probability: probability of feasibility of each candidate, shape ``(candidates,)``.
        done: finished trials as a share of all trials, 0 to 1.
    """
    first, last = CONFIDENT
    likely = np.flatnonzero(probability >= first + (last - first) * done)
    return likely if len(likely) else np.arange(len(probability))
