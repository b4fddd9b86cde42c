"""The block bootstrap: against loops and the package arch, on simulated truth, and on correlated errors."""

import math

import numpy as np
import pytest
from scipy import stats

from cnn_lstm_hyperopt.evaluation import Interval, paired_interval, score_interval
from cnn_lstm_hyperopt.evaluation.bootstrap import (
    LEAST_DATES,
    RESAMPLES,
    automatic_length,
    block_length,
    too_little,
)
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.randomness import stream


def width(interval) -> float:
    return interval.high - interval.low


def hits(right):
    """Labels and probabilities of a classifier that is right where ``right`` says so; labels are even."""
    labels = np.arange(len(right)) % 2
    return labels, np.eye(2)[np.where(right, labels, 1 - labels)]


def accuracy_interval(right, dates, *, horizon=1, seed=0):
    return score_interval("accuracy", *hits(np.asarray(right)), dates, horizon=horizon, seed=seed)


def difference_interval(ours, theirs, dates, *, horizon=1, seed=0):
    labels, our_probabilities = hits(ours)
    return paired_interval("accuracy", labels, our_probabilities, hits(theirs)[1], dates, horizon=horizon, seed=seed)


def mean_interval(log_probabilities, dates, *, seed):
    """Interval of a mean, as a log loss with its sign turned."""
    happened = np.exp(log_probabilities)
    labels, said = np.ones(len(happened), np.int64), np.column_stack([1 - happened, happened])
    return score_interval("log_loss", labels, said, dates, horizon=1, seed=seed)


def autoregression(n: int, phi: float, seed: int):
    rng = np.random.default_rng(seed)
    series, shocks = np.zeros(n), rng.normal(size=n)
    series[0] = shocks[0]
    for t in range(1, n):
        series[t] = phi * series[t - 1] + shocks[t]
    return series


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
    assert automatic_length(autoregression(n, phi, seed)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "length", "seed", "level", "expected"),
    [(100, 10, 0, 0.9829, 0.140817), (480, 22, 1, 0.96684, 0.045746), (240, 48, 2, 0.99809, 0.046956)],
)
def test_resamples_spread_as_those_of_arch(n, length, seed, level, expected, monkeypatch):
    """arch 8.0.0, ``CircularBlockBootstrap(length, x).apply(np.mean, 100_000)``: quantile at ``level`` of |it − x.mean()|."""
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.bootstrap.block_length", lambda *_: length)
    blocks = n / length
    reach = stats.t.ppf(0.975, blocks - 1) * math.sqrt(blocks / (blocks - 1))
    assert 1 - 2 * stats.norm.cdf(-reach) == pytest.approx(level, abs=1e-5)
    halves = [
        width(mean_interval(autoregression(n, 0.6, seed) / 4 - 2, np.arange(n), seed=each)) / 2 for each in range(5)
    ]
    assert np.mean(halves) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize(
    ("n_dates", "horizon", "expected"),
    [(1, 1, 1), (4, 3, 1), (10, 1, 2), (100, 1, 10), (101, 1, 11), (480, 1, 22), (480, 40, 40), (480, 200, 96)],
)
def test_blocks_are_the_root_of_the_dates_but_span_the_horizon_and_at_most_a_fifth(n_dates, horizon, expected):
    """A constant has no dependence of its own."""
    assert block_length(np.ones(n_dates), horizon) == expected


def test_blocks_are_twice_the_automatic_length_where_dates_depend_on_each_other():
    series = autoregression(480, 0.9, 2)
    assert block_length(series, 1) == math.ceil(2 * 21.936)


@pytest.mark.mostly_slow(5)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("horizon", "classes"), [(1, 2), (4, 2), (2, 3)])
def test_intervals_equal_loops_that_wrap_round_the_end(metric, horizon, classes):
    """Dates hold 1 to 4 windows, in no order. A block that runs past the last date goes on with the first; the last block ends
    where the resample has as many dates as there are. Of three classes probabilities take few values, so that there are ties."""
    rng = np.random.default_rng(horizon)
    dates = rng.permutation(np.repeat(np.arange(23), rng.integers(1, 5, size=23)))
    labels = rng.integers(classes, size=len(dates))
    ours, theirs = rng.dirichlet([2] * classes, size=(2, len(dates)))
    if classes == 3:
        ours, theirs = (
            (1 + np.floor(5 * each)) / (1 + np.floor(5 * each)).sum(axis=1)[:, None] for each in (ours, theirs)
        )
    found = paired_interval(metric, labels, ours, theirs, dates, horizon=horizon, seed=5)
    alone = score_interval(metric, labels, ours, dates, horizon=horizon, seed=5)

    def loops(value, contributions):
        per_date = np.array([(contributions - contributions.mean())[dates == day].sum() for day in range(23)])
        length = block_length(per_date, horizon)
        starts = stream(5, 0, "bootstrap").integers(23, size=(RESAMPLES, math.ceil(23 / length)))
        whole, deviations = value(np.arange(len(dates))), []
        windows = [np.flatnonzero(dates == day) for day in range(23)]
        for row in starts:
            days = [(start + step) % 23 for start in row for step in range(length)][:23]
            deviations.append(abs(value(np.concatenate([windows[day] for day in days])) - whole))
        blocks = 23 / length
        z = stats.t.ppf(0.975, blocks - 1) * math.sqrt(blocks / (blocks - 1))
        half = np.quantile(deviations, stats.norm.cdf(z) - stats.norm.cdf(-z))
        return whole - half, whole + half

    def parts(said):
        happened = said[np.arange(len(labels)), labels]
        return np.log(happened) if metric == "log_loss" else (said.argmax(axis=1) == labels) * 1.0

    def scored(said, index):
        return metric_score(metric, labels[index], said[index])

    assert found == pytest.approx(loops(lambda i: scored(ours, i) - scored(theirs, i), parts(ours) - parts(theirs)))
    low, high = loops(lambda i: scored(ours, i), parts(ours))
    assert alone == pytest.approx((max(low, -1) if metric != "log_loss" else low, high))


def test_weights_in_chunks_are_the_weights_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    dates, labels = np.repeat(np.arange(40), 3), rng.integers(3, size=120)
    said = rng.dirichlet([1, 1, 1], size=120)
    whole = score_interval("auc", labels, said, dates, horizon=1, seed=0)
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.bootstrap._CHUNK", 1000)
    assert score_interval("auc", labels, said, dates, horizon=1, seed=0) == pytest.approx(whole)


def coverage(simulate, truth, *, runs, horizon=1, metric="accuracy"):
    """Share of runs whose interval covers the truth."""
    found = 0
    for run in range(runs):
        labels, said, dates = simulate(np.random.default_rng(run))
        low, high = score_interval(metric, labels, said, dates, horizon=horizon, seed=run)
        found += low <= truth <= high
    return found / runs


def five_symbols(n_dates: int, phi: float, depth: float):
    """Five symbols whose errors of a date come together, under a difficulty that lasts; with the true accuracy."""

    def simulate(rng):
        shocks, difficulty = rng.normal(size=n_dates + 100), np.zeros(n_dates + 100)
        for t in range(1, len(difficulty)):
            difficulty[t] = phi * difficulty[t - 1] + math.sqrt(1 - phi**2) * shocks[t]
        shared = depth * difficulty[100:] + 0.5 * rng.normal(size=n_dates)
        right = (0.13 + shared[:, None] + rng.normal(size=(n_dates, 5)) > 0).ravel()
        return *hits(right), np.repeat(np.arange(n_dates), 5)

    return simulate, float(stats.norm.cdf(0.13 / math.sqrt(1.25 + depth**2)))


def test_the_interval_covers_the_truth_about_95_times_in_100():
    """The standard error of the share of 300 runs is 0.013."""
    for n_dates, least in ((15, 0.91), (300, 0.92)):
        simulate, truth = five_symbols(n_dates, 0.0, 0.5)
        assert least <= coverage(simulate, truth, runs=300) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_dates", "phi", "depth", "least"),
    [
        (480, 0.0, 0.5, 0.935),
        (480, 0.5, 0.5, 0.93),
        (480, 0.8, 0.5, 0.92),
        (480, 0.9, 0.5, 0.91),
        (120, 0.5, 0.5, 0.92),
    ],
)
def test_it_covers_the_truth_under_a_difficulty_that_lasts(n_dates, phi, depth, least):
    """Measured: 95, 96, 94, 93 and 95 of 100; plain percentiles of blocks of n^(1/3) dates have 96, 93, 89, 80 and 91."""
    simulate, truth = five_symbols(n_dates, phi, depth)
    assert least <= coverage(simulate, truth, runs=1000) <= 0.985


@pytest.mark.slow
def test_it_covers_the_truth_where_labels_overlap():
    """Each date's outcome is the sum of 20 days' shocks, one of which is new."""

    def simulate(rng):
        shocks = rng.normal(size=(499, 5)) * 0.7 + rng.normal(size=(499, 1)) * 0.7
        total = np.concatenate([np.zeros((1, 5)), np.cumsum(shocks, axis=0)])
        right = ((total[20:] - total[:-20]) / math.sqrt(20) + 0.13 > 0).ravel()
        return *hits(right), np.repeat(np.arange(480), 5)

    assert coverage(simulate, float(stats.norm.cdf(0.13 / math.sqrt(0.98))), runs=600, horizon=20) >= 0.915


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc", "log_loss"])
def test_every_metric_covers_its_truth(metric):
    """Scores of 10⁶ windows stand for the truth."""

    def draw(rng, count):
        labels = (rng.random(count) < 0.4).astype(np.int64)
        evidence = rng.normal(size=count) + 0.8 * labels
        up = 1 / (1 + np.exp(-(0.8 * evidence - 0.6)))
        return labels, np.column_stack([1 - up, up])

    truth = metric_score(metric, *draw(np.random.default_rng(99), 1_000_000))
    share = coverage(lambda rng: (*draw(rng, 400), np.repeat(np.arange(200), 2)), truth, runs=300, metric=metric)
    assert 0.91 <= share <= 0.99


def test_a_classifier_without_skill_rarely_beats_a_constant():
    """A coin against the constant, on 250 dates: about 2.5 times in 100 the interval lies above 0; even where they differ on five
    windows only, which plain percentiles get wrong twice as often."""
    constant = np.eye(2)[np.zeros(250, np.int64)]
    for share, most in ((0.5, 0.045), (0.02, 0.045)):
        above = 0
        for run in range(300):
            rng = np.random.default_rng(run)
            labels, other = rng.integers(2, size=250), (rng.random(250) < share).astype(np.int64)
            interval = paired_interval(
                "accuracy", labels, np.eye(2)[other], constant, np.arange(250), horizon=1, seed=run
            )
            above += interval is not None and interval.low > 0
        assert above / 300 <= most


def test_on_independent_dates_the_width_is_that_of_the_normal_approximation():
    right = np.random.default_rng(1).random(5000) < 0.6
    interval = accuracy_interval(right, np.arange(5000))
    p = right.mean()
    assert width(interval) == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 5000), rel=0.12)
    assert interval.low < p < interval.high


@pytest.mark.parametrize("horizon", [1, 20])
def test_it_widens_when_errors_come_in_runs(horizon):
    rng = np.random.default_rng(2)
    runs = np.repeat(rng.random(50) < 0.5, 20)
    shuffled = rng.permutation(runs)
    dates = np.arange(1000)
    in_runs, alone = (accuracy_interval(each, dates, horizon=horizon) for each in (runs, shuffled))
    assert width(in_runs) > 3 * width(alone)


def test_it_widens_when_symbols_of_a_date_err_together():
    rng = np.random.default_rng(3)
    day = rng.random(400) < 0.5
    together, alone = np.repeat(day, 5), rng.permutation(np.repeat(day, 5))
    dates = np.repeat(np.arange(400), 5)
    ratio = width(accuracy_interval(together, dates)) / width(accuracy_interval(alone, dates))
    assert ratio == pytest.approx(np.sqrt(5), rel=0.25)


def test_the_order_of_windows_and_the_kind_of_date_do_not_matter():
    rng = np.random.default_rng(4)
    dates, (labels, said) = np.arange(60), hits(rng.random(60) < 0.5)
    order = rng.permutation(60)
    days = np.datetime64("2020-01-01", "ns") + dates.astype("timedelta64[D]")
    for metric in ("accuracy", "auc"):
        expected = score_interval(metric, labels, said, dates, horizon=1, seed=0)
        assert score_interval(metric, labels[order], said[order], dates[order], horizon=1, seed=0) == pytest.approx(
            expected
        )
        assert score_interval(metric, labels, said, days, horizon=1, seed=0) == expected


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_near_one():
    series, dates = np.random.default_rng(5).random(300) - 2, np.arange(300)
    first, again, other = (mean_interval(series, dates, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, abs=0.005)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_has_no_width(right):
    assert accuracy_interval(np.full(50, right), np.arange(50), horizon=3) == (right, right)


def test_no_interval_leaves_the_range_of_its_score():
    right = np.arange(60) != 7
    assert accuracy_interval(right, np.arange(60)).high == 1
    assert accuracy_interval(~right, np.arange(60)).low == 0


def test_what_cannot_be_known_is_none():
    right = np.random.default_rng(6).random(200) < 0.5
    few, enough = np.arange(200) % (LEAST_DATES - 1), np.arange(200) % LEAST_DATES
    assert accuracy_interval(right, few) is None
    assert difference_interval(right, ~right, few) is None
    assert accuracy_interval(right, np.zeros(200)) is None
    assert isinstance(accuracy_interval(right, enough), Interval)
    constant, said = np.ones(200, np.int64), hits(right)[1]
    assert score_interval("auc", constant, said, np.arange(200), horizon=1, seed=0) is None
    assert paired_interval("auc", constant, said, said[::-1], np.arange(200), horizon=1, seed=0) is None


@pytest.mark.parametrize(("n_dates", "longest"), [(10, 2), (14, 2), (120, 24), (400, 80)])
def test_a_horizon_above_a_fifth_of_the_dates_tells_no_interval(n_dates, longest):
    """Blocks shorter than the horizon would take overlapping labels for independent ones."""
    rng = np.random.default_rng(7)
    ours, theirs, dates = rng.random(n_dates) < 0.5, rng.random(n_dates) < 0.5, np.arange(n_dates)
    assert too_little(n_dates, longest) is None
    assert accuracy_interval(ours, dates, horizon=longest) is not None
    assert difference_interval(ours, theirs, dates, horizon=longest) is not None
    assert accuracy_interval(ours, dates, horizon=longest + 1) is None
    assert difference_interval(ours, theirs, dates, horizon=longest + 1) is None
    assert too_little(n_dates, longest + 1).startswith(f"a horizon of {longest + 1} bars leaves too few independent")


@pytest.mark.parametrize(("n_dates", "horizon"), [(120, 24), (120, 60), (400, 80)])
def test_labels_that_overlap_for_long_rarely_look_like_skill(n_dates, horizon):
    """A random walk: its past says nothing of its future, but both last. Measured with 400 runs: 3.5, 0 and 3.7 of 100."""
    above, constant = 0, np.eye(2)[np.zeros(n_dates, np.int64)]
    for run in range(150):
        walk = np.cumsum(np.random.default_rng(run).normal(size=n_dates + 2 * horizon))
        now = walk[horizon : horizon + n_dates]
        labels, said = (walk[2 * horizon :] > now).astype(np.int64), (now > walk[:n_dates]).astype(np.int64)
        interval = paired_interval(
            "accuracy", labels, np.eye(2)[said], constant, np.arange(n_dates), horizon=horizon, seed=run
        )
        above += interval is not None and interval.low > 0
    assert above / 150 <= 0.07


def test_a_difference_that_never_varies_is_not_known_but_none_at_all_is_zero():
    right, wrong, dates = np.ones(100, bool), np.zeros(100, bool), np.arange(100)
    assert difference_interval(right, wrong, dates) is None
    assert difference_interval(right, right, dates) == (0, 0)
    mixed = np.random.default_rng(6).random(301) < 0.5
    assert difference_interval(mixed, mixed, np.repeat(np.arange(43), 7), horizon=2) == (0, 0)


def test_the_difference_is_paired():
    """Two classifiers that differ in few windows: the paired interval is far narrower than that of either accuracy."""
    rng = np.random.default_rng(7)
    theirs = rng.random(500) < 0.5
    ours = theirs.copy()
    wrong = rng.choice(np.flatnonzero(~theirs), 20, replace=False)
    ours[wrong] = True
    dates = np.arange(500)
    paired = difference_interval(ours, theirs, dates)
    assert width(paired) < 0.6 * width(accuracy_interval(ours, dates))
    assert paired.low < 20 / 500 < paired.high
    reverse = difference_interval(theirs, ours, dates)
    assert reverse == pytest.approx((-paired.high, -paired.low))
