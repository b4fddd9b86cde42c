"""Stacked weights against scikit-learn, brute force and the conditions of an optimum; blocks of windows that share no label."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from cnn_lstm_hyperopt.evaluation import Dependence
from cnn_lstm_hyperopt.evaluation.stacking import (
    BLOCKS,
    best_penalty,
    fit_pool,
    fit_values,
    log_pool,
    purged_blocks,
    stacked_pool,
    stacked_values,
)


def library(seed=0, models=3, windows=200, classes=2):
    """Probabilities ``(models, windows, classes)`` of models that know the labels more and more, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=windows)
    logits = rng.normal(size=(models, windows, classes))
    logits[:, np.arange(windows), labels] += np.linspace(0, 1.5, models)[:, None]
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True), labels


def objective(weights, said, labels, prior, penalty):
    """What ``fit_pool`` minimises, in other words: from probabilities to powers to a product."""
    product = np.prod([each**weight for each, weight in zip(said, weights, strict=True)], axis=0)
    pooled = product / product.sum(axis=1, keepdims=True)
    return -np.log(pooled[np.arange(len(labels)), labels]).mean() + penalty / 2 * ((weights - prior) ** 2).sum()


def test_two_classes_without_a_bound_are_the_logistic_regression_of_scikit_learn():
    said, labels = library()
    odds = np.log(said[:, :, 1] / said[:, :, 0]).T
    for penalty in (0.01, 0.3):
        other = LogisticRegression(C=1 / (penalty * len(labels)), fit_intercept=False, tol=1e-10).fit(odds, labels)
        found = fit_pool(labels, said, np.zeros(3), penalty, min_weight=-np.inf)
        np.testing.assert_allclose(found, other.coef_[0], atol=1e-5)
        np.testing.assert_allclose(log_pool(said, found), other.predict_proba(odds), atol=1e-5)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from((0.0, 0.02, 0.5)), st.sampled_from((2, 3)))
def test_no_direction_within_the_bounds_is_better(seed, penalty, classes):
    said, labels = library(seed, windows=60, classes=classes)
    prior = np.array([0.5, 0.25, 0.25])
    found = fit_pool(labels, said, prior, penalty)
    assert found.min() >= 0
    reached = objective(found, said, labels, prior, penalty)
    rng = np.random.default_rng(seed)
    for size in (1e-3, 0.1, 1.0):
        other = np.maximum(found + rng.normal(size=3) * size, 0)
        assert objective(other, said, labels, prior, penalty) >= reached - 1e-9


def test_a_penalty_pulls_to_the_prior():
    said, labels = library()
    prior = np.array([0.5, 0.25, 0.25])
    distances = [np.abs(fit_pool(labels, said, prior, each) - prior).max() for each in (0.01, 0.1, 1.0, 100.0, np.inf)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0
    assert distances[-2] < 0.01


def test_a_model_stacked_with_itself_is_its_calibrated_self():
    said, labels = library(models=1)
    for penalty in (0.0, 0.05):
        once = fit_pool(labels, said, np.ones(1), penalty)
        twice = fit_pool(labels, np.repeat(said, 2, axis=0), np.full(2, 0.5), 2 * penalty)
        np.testing.assert_allclose(twice.sum(), once[0], atol=1e-5)
        np.testing.assert_allclose(log_pool(np.repeat(said, 2, axis=0), twice), log_pool(said, once), atol=1e-5)
    powers = said[0] ** once[0]
    np.testing.assert_allclose(log_pool(said, once), powers / powers.sum(axis=1, keepdims=True), rtol=1e-9)


def test_permuted_models_have_permuted_weights():
    said, labels = library(models=4, windows=80)
    prior, days = np.array([0.4, 0.3, 0.2, 0.1]), Dependence.by_date(np.arange(len(labels)) * 86_400_000_000_000)
    cycle = [1, 2, 3, 0]  # a swap would hide a confusion with its inverse
    (found, penalty), (again, same) = (
        stacked_pool(labels, said, prior, days),
        stacked_pool(labels, said[cycle], prior[cycle], days),
    )
    np.testing.assert_allclose(again, found[cycle], atol=1e-5)
    assert penalty == same
    values = np.random.default_rng(0).normal(size=(4, len(labels)))
    targets = values.mean(axis=0) + labels
    found = stacked_values(targets, values, prior, days)
    np.testing.assert_allclose(stacked_values(targets, values[cycle], prior[cycle], days), found[cycle], atol=1e-9)


def test_values_are_the_ridge_regression_of_scikit_learn_and_never_have_negative_weights():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3, 100))
    targets, prior = 0.7 * values[0] + 0.2 * values[1] - 0.5 * values[2] + rng.normal(size=100), np.full(3, 1 / 3)
    for penalty in (0.05, 0.5):
        ridge = Ridge(alpha=penalty * 100, fit_intercept=False, positive=True, tol=1e-12)
        other = ridge.fit(values.T, targets).coef_
        np.testing.assert_allclose(fit_values(targets, values, np.zeros(3), penalty), other, atol=1e-5)
        # around a prior, the regression of the rest is the same as long as no weight is at its bound
        free = values[:2]
        rest = Ridge(alpha=penalty * 100, fit_intercept=False).fit(free.T, targets - prior[:2] @ free).coef_
        np.testing.assert_allclose(fit_values(targets, free, prior[:2], penalty), prior[:2] + rest, atol=1e-9)
    assert fit_values(targets, values, prior, 0.001)[2] == 0
    np.testing.assert_array_equal(fit_values(targets, values, prior, np.inf), prior)


DAY = 86_400_000_000_000


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_blocks_of_dates_share_no_label_with_the_windows_that_fit(horizon):
    dates = np.repeat(np.arange(60), 2) * DAY  # two symbols
    dependence = Dependence.by_date(dates, horizon=horizon)
    splits = list(purged_blocks(dependence))
    assert sum(held for _, held in splits).tolist() == [1] * len(dates)
    for rows, held in splits:
        days, others = (np.unique(dates[each]) // DAY for each in (held, rows))
        assert days.tolist() == list(range(days[0], days[-1] + 1))
        bars = {day + step for day in days for step in range(1, horizon + 1)}
        apart = [day for day in range(60) if not bars & {day + step for step in range(1, horizon + 1)}]
        assert others.tolist() == apart


def test_blocks_without_an_order_are_spread_and_groups_stay_together():
    groups = np.repeat(np.arange(12), [1, 5, 2, 8, 1, 1, 3, 2, 2, 6, 1, 1])
    every_fifth = replace(Dependence.independent(200), unit=np.arange(0, 200, 5))
    for dependence, names in (
        (Dependence.by_group(groups), groups),
        (Dependence.independent(40), np.arange(40)),
        (every_fifth, np.arange(40)),
    ):
        splits = list(purged_blocks(dependence))
        assert len(splits) == BLOCKS
        for rows, held in splits:
            assert (rows != held).all()
            assert rows.sum() > held.sum() > 0
            assert not set(names[rows]) & set(names[held])
    overlapping = list(purged_blocks(Dependence.independent(40, horizon=3)))
    assert [np.flatnonzero(held).tolist() for _, held in overlapping][1] == list(range(8, 16))
    assert np.flatnonzero(~overlapping[1][0]).tolist() == list(range(6, 18))


def test_the_penalty_is_that_of_the_lowest_loss_on_held_out_blocks():
    """Noise is best without any weight of its own, and a model that knows the labels with a low penalty."""
    said, labels = library(models=2, windows=200)
    noise = np.stack([np.random.default_rng(seed).dirichlet((1, 1), 200) for seed in range(4)])
    days, few = (Dependence.by_date(np.arange(count) * DAY) for count in (200, 8))
    prior = np.full(4, 1e-3)

    def chosen(models, dependence, prior):
        def fit(rows, penalty):
            return fit_pool(labels[rows], models[:, rows], prior, penalty)

        def losses(rows, weights):
            return -np.log(log_pool(models[:, rows], weights)[np.arange(rows.sum()), labels[rows]])

        return best_penalty(fit, losses, dependence)

    assert chosen(noise, days, prior) >= 1
    assert chosen(said, days, np.array([1.0, 0.0])) < 1
    assert chosen(said[:, :8], few, np.array([1.0, 0.0])) == np.inf
