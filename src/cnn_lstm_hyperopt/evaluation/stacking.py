"""Stacking: weights of models by penalised logistic regression on their log probabilities, and by ridge regression of values.

The weights are not negative (Breiman 1996, "Stacked Regressions", Machine Learning 24), and the penalty pulls them towards given
weights, such as equal ones. Cross-validation over blocks of held-out windows chooses the penalty. The combined probabilities are
the logarithmic pool of the models' probabilities (Genest & Zidek 1986): the softmax of the weighted sum of their logarithms.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY

PENALTIES = (0.001, 0.01, 0.1, 1.0, np.inf)
"""Penalties among which cross-validation chooses. With an infinite penalty, the weights are the given ones."""
BLOCKS = 5
"""Number of blocks of the cross-validation."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Split = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Masks ``(windows,)`` of the windows that fit weights and of the windows that score them."""


def log_pool(probabilities: Sequence[NDArray[np.floating]], weights: Sequence[float]) -> Floats:
    """Return the softmax of the weighted sum of log probabilities, ``(windows, classes)``.

    Args:
        probabilities: for each model, ``(windows, classes)`` class probabilities.
        weights: weight of each model.
    """
    logits = sum(weight * _logs(each) for weight, each in zip(weights, probabilities, strict=True))
    powers = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_pool(
    labels: Labels, probabilities: NDArray[np.floating], prior: Floats, penalty: float, *, min_weight: float = 0.0
) -> Floats:
    """Return the weights ``(models,)`` of the logarithmic pool with the lowest penalised log loss.

    The function minimises L(w) + penalty / 2 · ‖w − prior‖² over w ≥ ``min_weight``. L is the mean log loss, in nats. For two
    classes this is logistic regression on log odds without an intercept. The problem is convex.

    Args:
        labels: ``(windows,)`` true classes.
        probabilities: ``(models, windows, classes)`` class probabilities of each model.
        prior: ``(models,)`` weights without information from the windows.
        penalty: penalty, ≥ 0; infinity returns ``prior``.
        min_weight: lowest weight of a model.
    """
    if np.isinf(penalty):
        return prior.copy()
    from scipy.optimize import minimize  # imports in 0.1 s

    logs = np.stack([_logs(each) for each in probabilities], axis=-1)  # (windows, classes, models)
    at_true = logs[np.arange(len(labels)), labels]  # (windows, models)

    def objective(weights: Floats) -> tuple[float, Floats]:
        logits = logs @ weights
        top = logits.max(axis=1, keepdims=True)
        powers = np.exp(logits - top)
        sums = powers.sum(axis=1)
        loss = (np.log(sums) + top[:, 0] - at_true @ weights).mean()
        expected = (powers / sums[:, None]).ravel() @ logs.reshape(-1, len(weights)) / len(labels)
        away = weights - prior
        return float(loss + penalty / 2 * away @ away), expected - at_true.mean(axis=0) + penalty * away

    bounds = [(min_weight, None)] * len(prior)
    options = {"maxiter": 1_000, "ftol": 1e-12, "gtol": 1e-7}
    found = minimize(objective, prior, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)


def fit_values(targets: Floats, values: NDArray[np.floating], prior: Floats, penalty: float) -> Floats:
    """Return the non-negative weights ``(models,)`` of values by ridge regression towards ``prior``.

    The function minimises ½ mean (y − Σ w v)² + penalty / 2 · ‖w − prior‖² over w ≥ 0, without an intercept.

    Args:
        targets: ``(windows,)`` true values, standardised.
        values: ``(models, windows)`` forecast values of each model, standardised in the same way.
        prior: ``(models,)`` weights without information from the windows.
        penalty: penalty, ≥ 0; infinity returns ``prior``.
    """
    if np.isinf(penalty):
        return prior.copy()
    from scipy.optimize import nnls  # imports in 0.1 s

    n, scale = len(targets), np.sqrt(penalty)
    rows = np.vstack([values.astype(np.float64).T / np.sqrt(n), scale * np.eye(len(prior))])
    return np.asarray(nnls(rows, np.concatenate([targets / np.sqrt(n), scale * prior]))[0])


def stacked_pool(
    labels: Labels,
    probabilities: NDArray[np.floating],
    prior: Floats,
    dependence: Dependence,
    *,
    min_weight: float = 0.0,
) -> tuple[Floats, float]:
    """Return the weights of :func:`fit_pool` with the penalty that cross-validation chooses, and this penalty."""

    def fit(rows: NDArray[np.bool_], penalty: float) -> Floats:
        return fit_pool(labels[rows], probabilities[:, rows], prior, penalty, min_weight=min_weight)

    def losses(rows: NDArray[np.bool_], weights: Floats) -> Floats:
        pooled = log_pool(list(probabilities[:, rows]), weights.tolist())
        return -np.log(np.maximum(pooled[np.arange(rows.sum()), labels[rows]], MIN_PROBABILITY))

    penalty = best_penalty(fit, losses, dependence)
    return fit(np.ones(len(labels), bool), penalty), penalty


def stacked_values(targets: Floats, values: NDArray[np.floating], prior: Floats, dependence: Dependence) -> Floats:
    """Return the weights of :func:`fit_values` with the penalty that cross-validation chooses."""

    def fit(rows: NDArray[np.bool_], penalty: float) -> Floats:
        return fit_values(targets[rows], values[:, rows], prior, penalty)

    def losses(rows: NDArray[np.bool_], weights: Floats) -> Floats:
        return np.asarray((targets[rows] - weights @ values[:, rows]) ** 2)

    return fit(np.ones(len(targets), bool), best_penalty(fit, losses, dependence))


def best_penalty(
    fit: Callable[[NDArray[np.bool_], float], Floats],
    losses: Callable[[NDArray[np.bool_], Floats], Floats],
    dependence: Dependence,
) -> float:
    """Return the penalty with the lowest mean loss on held-out blocks. Of equal losses, the largest penalty is used.

    With too few windows for an interval, the penalty is infinite.

    Args:
        fit: returns the weights that the windows in a mask give with a penalty.
        losses: returns the loss of weights in each window in a mask.
        dependence: dependence between the windows.
    """
    if dependence.too_few is not None:
        return float(np.inf)
    splits = list(purged_blocks(dependence))
    means = [np.concatenate([losses(held, fit(rows, each)) for rows, held in splits]).mean() for each in PENALTIES]
    lowest = min(means)
    return max(each for each, mean in zip(PENALTIES, means, strict=True) if mean <= lowest)


def purged_blocks(dependence: Dependence) -> Iterator[Split]:
    """Yield the masks of the windows that fit and that score, for each block.

    Blocks of dates or days are consecutive, and so are blocks of windows whose labels overlap. Windows whose labels overlap with
    labels of the block are left out: those nearer than the horizon. Groups and independent windows have no order, so each
    block has every fifth of them.
    """
    unit, overlap = dependence.unit, dependence.kind == "windows" and dependence.horizon > 1
    ordered = overlap or dependence.kind in ("dates", "days")
    block = unit * BLOCKS // dependence.n_units if ordered else np.unique(unit, return_inverse=True)[1] % BLOCKS
    for number in range(BLOCKS):
        held = block == number
        near = held
        if ordered:
            first, last = unit[held].min(), unit[held].max()
            near = (unit > first - dependence.horizon) & (unit < last + dependence.horizon)
        yield ~near, held


def _logs(probabilities: NDArray[np.floating]) -> Floats:
    """Return logarithms of probabilities, of which the largest of each window is 0."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY))
    return np.asarray(logs - logs.max(axis=1, keepdims=True))
