"""Overfitting: against loops, on noise and on skill, and the papers' numbers on Sharpe ratios."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from cnn_lstm_hyperopt.evaluation import (
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
    sharpe,
)
from cnn_lstm_hyperopt.evaluation.overfitting import overfitting_of_blocks, sharpe_confidence
from cnn_lstm_hyperopt.metrics import METRICS


def pbo_by_loops(sums, counts, n_blocks):
    """The paper's steps one after the other, with logits."""
    n_dates, n_trials = sums.shape
    edges = [n_dates * block // n_blocks for block in range(n_blocks + 1)]
    blocks = [range(low, high) for low, high in itertools.pairwise(edges)]
    logits = []
    for chosen in itertools.combinations(range(n_blocks), n_blocks // 2):
        inside = [date for block in chosen for date in blocks[block]]
        outside = [date for date in range(n_dates) if date not in inside]
        means = [
            [sums[dates, trial].sum() / counts[dates].sum() for trial in range(n_trials)] for dates in (inside, outside)
        ]
        ranks = stats.rankdata(np.round(means[1], 12))
        best = [ranks[trial] for trial in range(n_trials) if means[0][trial] >= max(means[0]) - 1e-12]
        omega = np.mean(best) / (n_trials + 1)
        logits.append(math.log(omega / (1 - omega)))
    return np.mean([logit <= 1e-12 for logit in logits])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n_dates", "n_trials", "n_blocks"), [(24, 12, 4), (31, 10, 6), (40, 11, 4)])
def test_it_equals_loops_over_all_combinations_in_any_order_of_trials(n_dates, n_trials, n_blocks, seed):
    """Hits out of 1 to 4 windows a date: many trials are tied."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, size=n_dates)
    sums = rng.binomial(counts[:, None], 0.5, size=(n_dates, n_trials)).astype(float)
    sums[:, -1] = sums[:, 0] if seed % 2 else sums[:, -1]
    for each in (sums, sums[:, ::-1]):
        found = probability_of_backtest_overfitting(each, counts, n_blocks=n_blocks)
        assert found.probability == pytest.approx(pbo_by_loops(sums, counts, n_blocks))
        assert found.n_combinations == math.comb(n_blocks, n_blocks // 2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_halves_are_those_of_their_windows(metric, n_classes):
    """Pairs of one fold count for an AUC; many probabilities are tied."""
    rng = np.random.default_rng(n_classes)
    labels, block = rng.integers(n_classes, size=160), rng.integers(4, size=160)
    trials = [softmax(np.round(rng.normal(size=(160, n_classes)), 1) + np.eye(n_classes)[labels], axis=1) for _ in "ab"]
    halves, its = np.array([[1.0, 1, 0, 0], [0, 1, 0, 1]]), METRICS[metric]
    statistics = np.stack([its.block_statistics(labels, each, block, 4) for each in trials])
    for row, half in zip(its.block_scores(statistics, halves), halves, strict=True):
        inside = half[block] > 0
        assert row == pytest.approx([its.score(labels[inside], each[inside]) for each in trials])
    one_class = np.stack([its.block_statistics(np.zeros(160, int), each, block, 4) for each in trials])
    found = overfitting_of_blocks(its.block_scores, np.repeat(one_class, 6, axis=0), 160, unit="windows")
    assert (found.probability is None) == (metric in ("auc", "mcc"))


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(("alike", "n_blocks", "runs"), [(False, 10, 40), (False, 16, 20), (True, 10, 40)])
def test_on_noise_it_averages_about_one_half(alike, n_blocks, runs):
    """200 dates × 30 trials: independent, or nearly always right together, as trials of one search are."""
    rng = np.random.default_rng(runs)

    def noise():
        if alike:
            return ((rng.random((200, 1)) < 0.5) ^ (rng.random((200, 30)) < 0.2)) * 1.0
        return rng.binomial(5, 0.5, size=(200, 30)) / 5

    found = [probability_of_backtest_overfitting(noise(), n_blocks=n_blocks).probability for _ in range(runs)]
    assert 0.4 <= np.mean(found) <= 0.6


@pytest.mark.parametrize("skill", [0.5, 0.0])
def test_a_truly_better_trial_keeps_its_score_and_the_best_of_noise_does_not(skill):
    sums = np.random.default_rng(3).normal(size=(320, 100))
    sums[:, 7] += skill
    found = probability_of_backtest_overfitting(sums)
    assert (found.probability < 0.02) == (skill > 0)
    assert found.in_sample > 0.1
    assert found.out_of_sample == pytest.approx(found.in_sample if skill else 0, abs=0.06)


@pytest.mark.parametrize(
    "sums",
    [np.eye(31), *(np.random.default_rng(0).random((40, n)) for n in (2, 9)), np.tile(np.arange(40.0), (12, 1)).T],
)
def test_too_few_dates_or_trials_or_equal_trials_give_a_reason(sums):
    found = probability_of_backtest_overfitting(sums)
    assert (found.probability, found.in_sample, found.out_of_sample) == (None, None, None)
    assert found.reason


def test_without_skill_the_probability_is_uniform():
    rng = np.random.default_rng(1)
    found = [probabilistic_sharpe(rng.normal(size=250)) for _ in range(400)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_example_of_bailey_and_lopez_de_prado_2012():
    """24 months with a Sharpe ratio of 0.458 a month: 0.982 with normal moments, 0.913 with the real ones."""
    assert sharpe_confidence(0.458, 0, n=24, skewness=0, kurtosis=3) == pytest.approx(0.982, abs=5e-4)
    assert sharpe_confidence(0.458, 0, n=24, skewness=-2.448, kurtosis=10.164) == pytest.approx(0.913, abs=5e-4)


def test_the_example_of_bailey_and_lopez_de_prado_2014():
    """Sharpe ratio 2.5 a year from 1250 days, the best of 100 whose ratios vary by 1/2 a year: DSR about 0.90."""
    maximum = expected_maximum_sharpe(0.5 / 250, 100)
    assert maximum == pytest.approx(0.1132, abs=5e-5)
    found = sharpe_confidence(2.5 / math.sqrt(250), maximum, n=1250, skewness=-3, kurtosis=10)
    assert found == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize("n_trials", [10, 100, 1000])
def test_the_expected_maximum_is_that_of_drawn_normal_ratios(n_trials):
    drawn = np.random.default_rng(n_trials).normal(scale=0.3, size=(4000, n_trials)).max(axis=1).mean()
    assert expected_maximum_sharpe(0.09, n_trials) == pytest.approx(drawn, rel=0.03)


def test_returns_have_the_ratio_of_their_own_moments():
    """A second implementation, with moments as sums of powers."""
    returns = np.random.default_rng(0).gamma(2.0, size=300) - 1.8
    trials = [0.1, -0.05, 0.02, 0.2]
    m, s = returns.mean(), returns.std()
    ratio = m / np.sqrt(((returns - m) ** 2).sum() / 299)
    third, fourth = ((returns - m) ** 3).mean() / s**3, ((returns - m) ** 4).mean() / s**4

    def confidence(benchmark):
        z = (ratio - benchmark) * np.sqrt(299) / np.sqrt(1 - third * ratio + (fourth - 1) / 4 * ratio**2)
        return 0.5 * math.erfc(-z / math.sqrt(2))

    assert sharpe(returns) == pytest.approx(ratio)
    assert probabilistic_sharpe(returns, 0.1) == pytest.approx(confidence(0.1))
    normal, spread = stats.norm(), np.std(trials, ddof=1)
    maximum = spread * ((1 - 0.5772156649) * normal.isf(1 / 40) + 0.5772156649 * normal.isf(math.exp(-1) / 40))
    assert deflated_sharpe(returns, trials, 40) == pytest.approx(confidence(maximum))


def test_constant_returns_and_too_few_ratios_have_no_probability():
    for returns in (np.zeros(50), np.full(50, 0.01), np.array([0.1]), np.array([])):
        found = sharpe(returns), probabilistic_sharpe(returns), deflated_sharpe(returns, [0.1, 0.2], 2)
        assert found == (None, None, None)
    assert deflated_sharpe(np.array([0.1, -0.1, 0.2]), [0.1], 10) is None
