"""The smallest differences that a test set will show: a closed form, a simulation, and no look at the test set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import LockedPeriod
from cnn_lstm_hyperopt.evaluation import BASELINES, Dependence, Sample, paired_interval, smallest_differences
from cnn_lstm_hyperopt.pipeline.power_estimate import estimate_power


def pair(n: int, rng: np.random.Generator, gap: float = 0.0):
    """Labels and two forecasters that disagree in 20 % of the windows; the first is right ``gap`` more often."""
    labels, where = rng.integers(2, size=n), rng.random(n)
    wrong = where < 0.3 - gap, (where > 0.1) & (where < 0.4)
    return labels, *(np.eye(2)[np.where(each, 1 - labels, labels)] * 0.4 + 0.3 for each in wrong)


def test_the_differences_are_standard_errors_of_independent_windows_scaled_to_the_test_set():
    labels, first, second = pair(900, np.random.default_rng(0))
    found = smallest_differences(labels, first, second, Dependence.independent(900), Dependence.independent(3600))
    rows = np.arange(900)
    gains = {
        "accuracy": (first.argmax(1) == labels) * 1.0 - (second.argmax(1) == labels),
        "log_loss": np.log(first[rows, labels]) - np.log(second[rows, labels]),
    }
    for name, gain in gains.items():
        assert getattr(found, name) == pytest.approx(2.8 * gain.std(ddof=1) / np.sqrt(3600))
    assert found.sentence.startswith("3,600 test windows: differences below ")
    assert all(
        part in found.sentence for part in (f"{100 * found.accuracy:.1f} points", f"{found.log_loss:.2g} of log")
    )
    nearly = np.where(
        rows[:, None] < 450, first, first * 0.999 + 0.0005
    )  # nearly equal: a gain needs a spread of √(2 g)
    lower = smallest_differences(labels, first, nearly, Dependence.independent(900), Dependence.independent(3600))
    assert (lower.accuracy, lower.log_loss) == (None, pytest.approx(2 * 2.8**2 / 3600))


def test_forecasters_that_almost_agree_give_a_difference_that_a_test_set_can_show():
    """An exact test of a and b windows in which only one of two forecasters is right: sign test of scipy."""
    labels, first, _ = pair(900, np.random.default_rng(0))
    second = first.copy()
    second[0] = second[0, ::-1]  # the forecasters disagree in one window of 900
    n = 300
    found = smallest_differences(labels, first, second, Dependence.independent(900), Dependence.independent(n)).accuracy
    assert found == pytest.approx(2.8**2 / (n + 2.8**2))
    gains = round(n * found)  # the largest possible gain of the second forecaster: it never loses a window
    assert binomtest(gains, gains).pvalue < 0.05 < binomtest(gains // 2, gains // 2).pvalue


def test_a_true_difference_of_this_size_shows_in_four_of_five_test_sets():
    rng = np.random.default_rng(1)
    n, dependence = 2000, Dependence.independent(2000)
    size = smallest_differences(*pair(20_000, rng), Dependence.independent(20_000), dependence).accuracy
    shown = [paired_interval("accuracy", *pair(n, rng, gap=size), dependence).low > 0 for _ in range(400)]
    assert 0.74 < np.mean(shown) < 0.88  # a standard deviation is 0.02


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("kind", ["dates", "groups", "windows"])
def test_the_test_set_stays_locked_and_its_labels_have_no_influence(apple, kind):
    dataset = apple(horizon=2)
    test = dataset.test.open()
    changed = {"groups": {"groups": np.arange(len(test)) // 3}, "windows": {"dated": False}}.get(kind, {})
    found = []
    for labels in (test.labels, 1 - test.labels):
        locked = LockedPeriod(replace(test, labels=labels, **changed))
        found.append(estimate_power(replace(dataset, test=locked), seed=0))
        assert locked.times_opened == 0
    assert found[0] == found[1]
    assert found[0].units == Dependence.of(locked.open(), horizon=2).units
    assert 0 < found[0].accuracy < 1
    few = LockedPeriod(test.subset(np.arange(3)))
    assert "fewer than" in estimate_power(replace(dataset, test=few), seed=0).sentence


def test_all_validation_dates_count_however_many_symbols_there_are():
    """12,000 windows in the order of 200 symbols, with a common shock on each date: 60 dates, and not 50."""
    rng, n_symbols = np.random.default_rng(2), 200

    def windows(first, n_dates):
        dates = np.tile(np.arange(first, first + n_dates), n_symbols)
        shocks = np.append(np.zeros(first), rng.normal(size=n_dates))[dates]
        x = rng.normal(size=(len(dates), 2, 3)).astype(np.float32)
        chance = 1 / (1 + np.exp(-x[:, -1, 0] - 0.7 * np.abs(x[:, -1, 1]) - shocks))
        return dates, x, (rng.random(len(dates)) < chance).astype(np.int64)

    train, validation, test = parts = windows(0, 40), windows(40, 60), windows(100, 50)
    loaders = [[(torch.from_numpy(x), torch.from_numpy(labels))] for _, x, labels in parts]
    found = estimate_power(dataset_from_loaders(loaders, None, dates=tuple(dates for dates, *_ in parts)), seed=0)

    known, asked = (Sample(x, labels, np.full(len(labels), -1)) for _, x, labels in (train, validation))
    few_trees = type("FewTrees", (BASELINES["gradient boosting"],), {"MAX_TREES": 50})
    forecasts = []
    for baseline in (BASELINES["logistic regression"](), few_trees()):
        baseline.fit(known, asked, n_classes=2, seed=0)
        forecasts.append(baseline.probabilities(asked))
    before, after = (Dependence.by_date(dates) for dates, *_ in (validation, test))
    expected = smallest_differences(validation[2], *forecasts, before, after)
    assert (before.n_units, found.units.number) == (60, 50)
    assert 0 < expected.accuracy < 1
    assert found[1:] == pytest.approx(expected[1:], rel=1e-6)
