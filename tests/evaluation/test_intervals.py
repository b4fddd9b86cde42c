"""Intervals: against papers and packages, in their range, on simulated truth, and on dependent windows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from cnn_lstm_hyperopt.evaluation import Dependence, paired_interval, score_interval
from cnn_lstm_hyperopt.evaluation.dependence import MIN_UNITS, automatic_length
from cnn_lstm_hyperopt.metrics import METRICS, Metric
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.metrics.proportions import paired_difference

Z = stats.norm.ppf(0.975)


def width(interval) -> float:
    return interval.high - interval.low


def hits(right):
    """Labels, and probabilities of a classifier that is right where ``right`` is true."""
    labels = np.arange(len(right)) % 2
    return labels, np.eye(2)[np.where(right, labels, 1 - labels)]


def accuracy_interval(right, dependence):
    return score_interval("accuracy", *hits(np.asarray(right)), dependence)


def difference_interval(ours, theirs, dependence):
    return paired_interval("accuracy", *hits(ours), hits(theirs)[1], dependence)


def autoregression(shocks, phi: float):
    series = np.array(shocks)
    for t in range(1, len(series)):
        series[t] += phi * series[t - 1]
    return series


def seeded(n: int, phi: float, seed: int):
    return autoregression(np.random.default_rng(seed).normal(size=n), phi)


KINDS = {
    "windows": lambda units, **facts: Dependence.independent(len(units), **facts),
    "groups": Dependence.by_group,
    "dates": Dependence.by_date,
}


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (31, 40), (40, 40), (970, 1000)])
def test_an_accuracy_of_independent_windows_has_wilsons_interval(right, n):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    found = accuracy_interval(np.arange(n) < right, Dependence.independent(n))
    assert found == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("gains", "losses", "n"), [(1, 7, 21), (6, 16, 161), (9, 0, 40), (0, 1, 1000)])
def test_a_difference_of_accuracies_has_tangos_interval(gains, losses, n):
    """Its ends are on the edge of the score test, with the most likely shares found by search."""

    def score_test(difference):
        def likelihood(share):  # of losses alone; gains alone have share + difference
            parts = ((gains, share + difference), (losses, share), (n - gains - losses, 1 - 2 * share - difference))
            return -sum(count * math.log(max(each, 1e-300)) for count, each in parts if count)

        bounds = max(0.0, -difference), (1 - difference) / 2
        share = optimize.minimize_scalar(likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (gains - losses - n * difference) / math.sqrt(n * (2 * share + difference * (1 - difference)))

    low, high = paired_difference(gains, losses, n, Z)
    assert (score_test(low), score_test(high)) == pytest.approx((Z, -Z), abs=1e-3)


def test_tangos_interval_of_a_published_example():
    """Airway hyper-responsiveness before and after a transplantation, 21 children (Bentur et al. 2009)."""
    assert paired_difference(1, 7, 21, Z) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_a_difference_excludes_0_exactly_where_mcnemars_test_says_so(gains, losses, others):
    n = max(1, gains + losses + others)
    low, high = paired_difference(gains, losses, n, Z)
    assert (low > 0 or high < 0) == (abs(gains - losses) > Z * math.sqrt(gains + losses))
    assert -1 <= low <= (gains - losses) / n <= high <= 1
    assert paired_difference(losses, gains, n, Z) == pytest.approx((-high, -low), abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(METRICS)),
    st.integers(0, 10**6),
    st.integers(5, 60),
    st.integers(2, 4),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 4),
)
def test_no_interval_leaves_its_range_and_each_contains_its_estimate(metric, seed, n, classes, share, kind, horizon):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes) if rng.random() < 0.8 else np.full(n, rng.integers(classes))

    def model(right):
        said = np.where(rng.random(n) < right, labels, rng.integers(classes, size=n))
        sure = rng.choice([0.6, 0.999, 1.0])
        return np.eye(classes)[said] * sure + (1 - sure) / classes

    dependence = KINDS[kind](rng.integers(max(5, n // 3), size=n), horizon=horizon)
    ours, theirs = model(share), model(rng.random())
    low, high = METRICS[metric].score_range
    found = score_interval(metric, labels, ours, dependence)
    estimate = metric_score(metric, labels, ours)
    if found is not None:
        assert low - 1e-9 <= found.low <= estimate + 1e-9
        assert estimate - 1e-9 <= found.high <= high + 1e-9
    found = paired_interval(metric, labels, ours, theirs, dependence)
    if found is not None:
        difference = estimate - metric_score(metric, labels, theirs)
        assert low - high - 1e-9 <= found.low <= difference + 1e-9
        assert difference - 1e-9 <= found.high <= high - low + 1e-9
        turned = paired_interval(metric, labels, theirs, ours, dependence)
        assert turned == pytest.approx((-found.high, -found.low), abs=1e-7)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc"])
def test_a_constant_prediction_scores_the_same_whatever_the_windows(metric):
    labels, said = np.arange(60) % 3, np.tile([0.5, 0.3, 0.2], (60, 1))
    value = metric_score(metric, labels, said)
    assert score_interval(metric, labels, said, Dependence.independent(60)) == (value, value)


@pytest.mark.parametrize("kind", ["windows", "dates"])
def test_the_order_of_rows_and_the_kind_of_dates_do_not_matter(kind):
    """Windows sorted by class: a baseline that knows one class errs in one long run."""
    rng, labels, dates = np.random.default_rng(1), np.repeat([0, 1], 20), np.arange(40)
    days = np.datetime64("2020-01-01", "ns") + dates.astype("timedelta64[D]")
    ours, theirs = rng.dirichlet([2, 1], size=40), np.tile([0.9, 0.1], (40, 1))
    order = rng.permutation(40)
    for metric in METRICS:
        expected = paired_interval(metric, labels, ours, theirs, KINDS[kind](dates))
        turned = paired_interval(metric, labels[order], ours[order], theirs[order], KINDS[kind](dates[order]))
        assert turned == pytest.approx(expected)
        assert paired_interval(metric, labels, ours, theirs, KINDS[kind](days)) == expected


@pytest.mark.parametrize(
    ("dependence", "run", "at_least", "at_most"),
    [
        (Dependence.by_group(np.arange(1000) // 20), 20, 3.3, 5.6),  # about √20
        (Dependence.by_date(np.arange(1000)), 20, 2.5, 8.0),
        (Dependence.by_date(np.arange(1000), horizon=20), 20, 2.5, 8.0),
        (Dependence.by_date(np.arange(1000) // 5), 5, 1.7, 2.8),  # about √5
    ],
)
def test_windows_that_err_together_widen_the_interval(dependence, run, at_least, at_most):
    rng = np.random.default_rng(3)
    together = np.repeat(rng.random(1000 // run) < 0.5, run)
    wide, narrow = (width(accuracy_interval(each, dependence)) for each in (together, rng.permutation(together)))
    assert at_least < wide / narrow < at_most


TOO_FEW = [(kind, MIN_UNITS[kind], None) for kind in KINDS]
TOO_FEW += [("dates", n, longest) for n, longest in ((10, 2), (14, 2), (120, 24), (400, 80))]


@pytest.mark.parametrize(("kind", "n", "longest"), TOO_FEW)
def test_too_few_units_or_a_horizon_above_a_fifth_of_the_dates_give_no_interval(kind, n, longest):
    """Above the ``longest`` horizon, or below ``n`` units."""
    for enough in (False, True):
        units = n - (longest is None and not enough)
        horizon = 1 if longest is None else longest + (not enough)
        dependence = KINDS[kind](np.arange(units if kind == "windows" else 40 * units) % units, horizon=horizon)
        right = np.random.default_rng(6).random(dependence.n_windows) < 0.5
        assert (accuracy_interval(right, dependence) is not None) is enough
        assert (difference_interval(right, ~right, dependence) is not None) is enough
        assert (dependence.too_few is None) is enough


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "mcc", "log_loss"])
def test_groups_with_equally_many_hits_keep_the_error_of_independent_windows(metric):
    """Five of seven windows right in each of six groups: sums by group do not vary."""
    labels, place = np.tile([0, 1, 0, 1, 0, 1, 0], 6), np.arange(42) % 7
    ours = np.eye(2)[np.where(np.isin(place, (2, 5)), 1 - labels, labels)] * 0.8 + 0.1
    theirs = np.eye(2)[np.where(place < 3, 1 - labels, labels)] * 0.8 + 0.1
    grouped, independent = Dependence.by_group(np.repeat(np.arange(6), 7)), Dependence.independent(42)
    for interval, args in ((score_interval, (ours,)), (paired_interval, (ours, theirs))):
        found, alone = (interval(metric, labels, *args, dependence) for dependence in (grouped, independent))
        assert width(found) >= 0.9 * width(alone)


def test_perfect_or_equal_windows_are_not_certain():
    labels = np.arange(3000) % 2
    sure = np.eye(2)[labels] * 0.8 + 0.1
    low, high = score_interval("log_loss", labels[:40], sure[:40], Dependence.independent(40))
    assert low < metric_score("log_loss", labels, sure) < high
    low, high = score_interval("accuracy", labels, sure, Dependence.by_group(np.arange(3000) // 500))
    assert low < 0.65 < high == 1  # only groups count


@pytest.mark.parametrize(
    ("n", "phi", "seed", "expected"),
    [
        (100, 0.0, 0, 1.6221846450524713),
        (480, 0.5, 1, 7.528829766177723),
        (480, 0.9, 2, 21.936124451068398),
        (1000, 0.3, 3, 7.799490110805462),
        (60, 0.5, 4, 1.7843167964644275),
        (250, -0.5, 5, 8.666895043987088),
        (2000, 0.95, 6, 80.92815819893258),
    ],
)
def test_the_automatic_length_is_that_of_arch(n, phi, seed, expected):
    """arch 8.0.0: ``optimal_block_length(series)["circular"]``."""
    assert automatic_length(seeded(n, phi, seed)) == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_influences_are_the_effect_of_a_little_more_of_a_window(n_classes):
    """To first order, of a score with one more copy of a window among many."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=297)])
    said = rng.dirichlet([2] * n_classes, size=len(labels)) + 0.3 * np.eye(n_classes)[labels]
    said /= said.sum(axis=1, keepdims=True)
    copies, n = 200, len(labels)
    for metric, its in METRICS.items():
        influence = its.influence(labels, said)
        assert influence == pytest.approx(Metric.influence(its, labels, said), abs=0.1)  # the jackknife
        base = metric_score(metric, labels, said)
        for window in range(0, n, 37):
            index = np.concatenate([np.repeat(np.arange(n), copies), [window]])
            moved = (metric_score(metric, labels[index], said[index]) - base) * n * copies
            assert moved == pytest.approx(influence[window], abs=0.05)


def test_the_variance_of_an_area_is_delongs():
    """By its definition: the variances of the placements of both classes."""
    rng = np.random.default_rng(1)
    labels = (rng.random(80) < 0.3).astype(int)
    scores = rng.normal(size=80) + labels
    ones, zeros = scores[labels == 1], scores[labels == 0]
    wins = (ones[:, None] > zeros[None, :]) + 0.5 * (ones[:, None] == zeros[None, :])
    expected = wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(zeros)
    influence = METRICS["auc"].influence(labels, np.column_stack([1 - scores, scores]))
    assert (influence @ influence) / 80**2 == pytest.approx(expected)


def coverage(simulate, truth, *, runs, metric="accuracy"):
    """Share of runs whose interval covers the truth."""
    found = 0
    for run in range(runs):
        labels, said, dependence = simulate(np.random.default_rng(run))
        low, high = score_interval(metric, labels, said, dependence)
        found += low <= truth <= high
    return found / runs


def five_symbols(n_dates: int, phi: float, depth: float):
    """Five symbols whose errors of a date come together, under an autocorrelated difficulty; with the true accuracy."""

    def simulate(rng):
        difficulty = math.sqrt(1 - phi**2) * autoregression(rng.normal(size=n_dates + 100), phi)[100:]
        shared = depth * difficulty + 0.5 * rng.normal(size=n_dates)
        right = (0.13 + shared[:, None] + rng.normal(size=(n_dates, 5)) > 0).ravel()
        return *hits(right), Dependence.by_date(np.repeat(np.arange(n_dates), 5))

    return simulate, float(stats.norm.cdf(0.13 / math.sqrt(1.25 + depth**2)))


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(
    ("n_dates", "phi", "runs", "at_least", "at_most"),
    [
        (15, 0.0, 300, 0.91, 0.99),  # the standard error of the share of 300 runs is 0.013
        (300, 0.0, 300, 0.92, 0.99),
        (480, 0.0, 1000, 0.935, 0.985),
        (480, 0.5, 1000, 0.93, 0.985),
        (480, 0.8, 1000, 0.92, 0.985),
        (480, 0.9, 1000, 0.90, 0.985),
        (120, 0.5, 1000, 0.92, 0.985),
    ],
)
def test_the_interval_covers_the_truth_about_95_times_in_100(n_dates, phi, runs, at_least, at_most):
    assert at_least <= coverage(*five_symbols(n_dates, phi, 0.5), runs=runs) <= at_most


@pytest.mark.slow
def test_it_covers_the_truth_where_labels_overlap():
    """Each date's outcome is the sum of 20 days' shocks, one of which is new."""

    def simulate(rng):
        shocks = rng.normal(size=(499, 5)) * 0.7 + rng.normal(size=(499, 1)) * 0.7
        total = np.concatenate([np.zeros((1, 5)), np.cumsum(shocks, axis=0)])
        right = ((total[20:] - total[:-20]) / math.sqrt(20) + 0.13 > 0).ravel()
        return *hits(right), Dependence.by_date(np.repeat(np.arange(480), 5), horizon=20)

    assert 0.92 <= coverage(simulate, float(stats.norm.cdf(0.13 / math.sqrt(0.98))), runs=600) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc", "log_loss"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_covers_its_truth(metric, kind):
    """The score of 10⁶ windows is the truth."""

    def draw(rng, count, shared):
        labels = (rng.random(count) < 0.4).astype(np.int64)
        evidence = math.sqrt(0.3) * shared + math.sqrt(0.7) * rng.normal(size=count) + 0.8 * labels
        up = 1 / (1 + np.exp(-(0.8 * evidence - 0.6)))
        return labels, np.column_stack([1 - up, up])

    def simulate(rng):
        unit = np.repeat(np.arange(200), 2)
        if kind == "windows":
            shared = rng.normal(size=400)
        elif kind == "groups":
            shared = rng.normal(size=200)[unit]
        else:
            shared = 0.6 * autoregression(rng.normal(size=300), 0.8)[100:][unit]
        return *draw(rng, 400, shared), KINDS[kind](unit)

    rng = np.random.default_rng(99)
    truth = metric_score(metric, *draw(rng, 1_000_000, rng.normal(size=1_000_000)))
    assert 0.92 <= coverage(simulate, truth, runs=400, metric=metric) <= 0.98


@pytest.mark.parametrize("kind", ["windows", "dates"])
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_classifier_without_skill_rarely_beats_a_constant(kind, share):
    """A coin on 250 windows: the interval is above 0 about 2.5 times in 100, even if they differ on five windows only."""
    constant, above = np.eye(2)[np.zeros(250, np.int64)], 0
    for run in range(300):
        rng = np.random.default_rng(run)
        labels, other = rng.integers(2, size=250), (rng.random(250) < share).astype(np.int64)
        above += paired_interval("accuracy", labels, np.eye(2)[other], constant, KINDS[kind](np.arange(250))).low > 0
    assert above / 300 <= 0.045


@pytest.mark.parametrize(("n_dates", "horizon"), [(120, 24), (400, 80)])
def test_labels_that_overlap_for_long_rarely_look_like_skill(n_dates, horizon):
    """A random walk, whose past and future both last but are independent. Measured with 600 runs: 1.3 and 0.7 of 100."""
    above, constant = 0, np.eye(2)[np.zeros(n_dates, np.int64)]
    dependence = Dependence.by_date(np.arange(n_dates), horizon=horizon)
    for run in range(150):
        walk = np.cumsum(np.random.default_rng(run).normal(size=n_dates + 2 * horizon))
        now = walk[horizon : horizon + n_dates]
        labels, said = (walk[2 * horizon :] > now).astype(np.int64), (now > walk[:n_dates]).astype(np.int64)
        above += paired_interval("accuracy", labels, np.eye(2)[said], constant, dependence).low > 0
    assert above / 150 <= 0.05
