"""Baselines: one contract for all, what each learns from and chooses, and that they find a planted signal."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.data.market_history import MarketHistory
from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    UNKNOWN,
    Sample,
    base_rates,
    earlier_windows,
    fit_baselines,
    last_labels,
    not_installed,
    recent_counts,
)
from cnn_lstm_hyperopt.evaluation.baselines.boosting import GradientBoosting
from cnn_lstm_hyperopt.evaluation.baselines.known_labels import SPANS
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.baselines.minirocket import MiniRocket, steepness
from cnn_lstm_hyperopt.evaluation.baselines.simple import MajorityClass, Persistence, RollingFrequency

LOOKBACK, FEATURES = 30, 3


def planted(count: int, seed: int, *, noise: float = 0.0, n_classes: int = 2) -> Sample:
    """The class is the band of the first feature of the last bar, up to noise; the value is this feature and noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, LOOKBACK, FEATURES)).astype(np.float32)
    signal = inputs[:, -1, 0] + noise * rng.normal(size=count)
    cuts = np.quantile(signal, np.arange(1, n_classes) / n_classes)
    labels = np.searchsorted(cuts, signal).astype(np.int64)
    place = np.arange(count)
    recent = recent_counts(np.full(count, "A"), place, labels, 1, n_classes, place)
    columns = rng.normal(size=(300 + count, 8)).astype(np.float32)
    market = MarketHistory(columns, np.zeros(300 + count, np.float32), np.zeros(300 + count, np.int64), in_logs=True)
    last = np.concatenate([[UNKNOWN], labels[:-1]])
    return Sample(inputs, labels, last, recent, signal, np.roll(signal, 1), market, 300 + place)


def splits(count: int, **facts):
    return [planted(count, seed, **facts) for seed in (1, 2, 3)]


def fitted(kind, train, validation, *, n_classes: int = 2, seed: int = 0):
    baseline = kind()
    baseline.fit(train, validation, n_classes=n_classes, seed=seed)
    return baseline


def accuracy(kind, train, validation, test, **facts) -> float:
    guesses = fitted(kind, train, validation, **facts).probabilities(test).argmax(axis=1)
    return float((guesses == test.labels).mean())


def summaries(inputs):
    return np.concatenate([inputs[:, -span:].mean(axis=1) for span in (1, 5, 20, inputs.shape[1])], axis=1)


def relabelled(sample, labels, **changed) -> Sample:
    return dataclasses.replace(sample, labels=np.asarray(labels, dtype=np.int64), **changed)


def test_the_family():
    assert list(BASELINES) == [kind.name for kind in BASELINES.values()]
    assert next(iter(BASELINES)) == "majority class"
    everyone = fit_baselines(planted(90, 1), planted(60, 2), n_classes=2, seed=0)
    assert {name: type(baseline) for name, baseline in everyone.items()} == BASELINES


@pytest.mark.parametrize("kind", BASELINES.values(), ids=BASELINES)
class TestEveryBaseline:
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_gives_probabilities_of_all_classes_repeats_and_does_not_look_at_the_labels(self, kind, n_classes):
        train, validation, test = splits(120, n_classes=n_classes, noise=1.0)
        blind = relabelled(test, n_classes - 1 - test.labels)
        first = fitted(kind, train, validation, n_classes=n_classes).probabilities(test)
        assert first.shape == (120, n_classes)
        assert (first > 0).all()
        np.testing.assert_allclose(first.sum(axis=1), 1)
        np.testing.assert_array_equal(fitted(kind, train, validation, n_classes=n_classes).probabilities(blind), first)

    def test_the_number_of_threads_changes_nothing(self, kind):
        train, validation, test = splits(900, noise=1.0)
        found = []
        for threads in (1, 2, 8):
            with threadpool_limits(threads):
                found.append(fitted(kind, train, validation).probabilities(test))
        np.testing.assert_array_equal(found[1], found[0])
        np.testing.assert_array_equal(found[2], found[0])

    @pytest.mark.parametrize("classes", [(0, 2), (1,)])
    def test_gives_a_class_that_training_lacks_its_base_rate(self, kind, classes):
        """Also where it is in validation, and where training has a single class."""
        train, validation, test = (
            relabelled(s, np.take(classes, s.labels, mode="clip"), recent=None) for s in splits(200)
        )
        last = np.array(classes)[np.arange(200) % len(classes)]
        train = dataclasses.replace(train, last_labels=last)
        validation = relabelled(validation, np.arange(200) % 4)
        test = dataclasses.replace(test, last_labels=np.full(200, UNKNOWN))
        found = fitted(kind, train, validation, n_classes=4).probabilities(test)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        np.testing.assert_allclose(np.delete(found, classes, axis=1), 1 / 204)

    def test_accepts_windows_shorter_than_its_spans(self, kind):
        parts = [dataclasses.replace(each, inputs=each.inputs[:, -2:]) for each in splits(300)]
        assert accuracy(kind, *parts) > (0.85 if kind in (LogisticBaseline, GradientBoosting) else 0)


def test_the_majority_class_predicts_the_shares_of_training_whatever_validation_has():
    train = relabelled(planted(5, 1), [2, 1, 2, 0, 2])
    baseline = fitted(MajorityClass, train, relabelled(planted(9, 2), np.zeros(9)), n_classes=3)
    np.testing.assert_allclose(baseline.probabilities(planted(4, 3)), np.tile([2 / 8, 2 / 8, 4 / 8], (4, 1)))


class TestPersistence:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["A", "B", "Z"]), st.integers(-3, 25)), max_size=40), st.integers(1, 30))
    def test_it_finds_what_a_dictionary_finds(self, windows, horizon):
        """Of repeated windows the last one; a symbol's rows never reach into those of another."""
        place = {window: position for position, window in enumerate(windows)}
        expected = [place.get((symbol, start - horizon), -1) for symbol, start in windows]
        symbols, starts = np.array([symbol for symbol, _ in windows], "U1"), np.array([s for _, s in windows], np.int64)
        assert earlier_windows(symbols, starts, horizon).tolist() == expected

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 9))
    def test_recent_counts_are_those_of_a_loop(self, seed, horizon):
        rng = np.random.default_rng(seed)
        symbols, starts, labels = rng.choice(["A", "B"], 90), rng.permutation(200)[:90], rng.integers(3, size=90)
        chosen = rng.permutation(90)[:10]
        found = recent_counts(symbols, starts, labels, horizon, 3, chosen)
        order = np.argsort(starts)
        for row, window in zip(found, chosen, strict=True):
            known = [
                labels[each]
                for each in order
                if symbols[each] == symbols[window] and starts[each] <= starts[window] - horizon
            ]
            for span, counts in zip(SPANS, row, strict=True):
                assert counts.tolist() == np.bincount(known[-span:], minlength=3).tolist()

    def test_a_label_is_used_only_once_it_is_known(self):
        """Bars after the end of a window change nothing there."""
        closes = np.cumsum(np.random.default_rng(1).normal(size=60))
        lookback, horizon = 5, 4
        starts = np.arange(60 - lookback - horizon + 1)
        ends = starts + lookback - 1

        def last_known(prices):
            labels = (prices[ends + horizon] > prices[ends]).astype(np.int64)
            return last_labels(labels, earlier_windows(np.full(len(starts), "A"), starts, horizon))

        before = last_known(closes)
        for end in ends:
            changed = np.where(np.arange(60) > end, closes[::-1], closes)
            np.testing.assert_array_equal(last_known(changed)[ends <= end], before[ends <= end])
        assert (before[:horizon] == UNKNOWN).all()
        assert (before[horizon:] != UNKNOWN).all()

    def test_it_predicts_the_last_class_with_the_confidence_of_training(self):
        labels, last = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2], np.array([UNKNOWN, 0, 0, 0, 1, 1, 1, 1, 2, 2])
        train = relabelled(planted(10, 1), labels, last_labels=last)
        test = dataclasses.replace(planted(4, 3), last_labels=np.array([2, 0, 1, UNKNOWN]))
        found = fitted(Persistence, train, planted(5, 2), n_classes=3).probabilities(test)
        confidence, rates = 8 / 11, base_rates(train.labels, 3)
        assert found[:3].argmax(axis=1).tolist() == [2, 0, 1]
        np.testing.assert_allclose(found[:3].max(axis=1), confidence)
        np.testing.assert_allclose(found[0, :2], (1 - confidence) * rates[:2] / rates[:2].sum())
        np.testing.assert_allclose(found[3], rates)


def test_the_rolling_frequency_follows_the_last_known_classes():
    """The share of class 1 changes after 150 windows, so short spans are best; the majority class stays behind."""
    rng = np.random.default_rng(0)
    labels = (rng.random(900) < np.where(np.arange(900) // 150 % 2, 0.1, 0.9)).astype(np.int64)
    place = np.arange(900)
    recent = recent_counts(np.full(900, "A"), place, labels, 2, 2, place)
    parts = [
        Sample(np.zeros((len(here), 1, 1), np.float32), labels[here], np.zeros(len(here), np.int64), recent[here])
        for here in np.split(place, [300, 600])
    ]
    found = fitted(RollingFrequency, *parts[:2]).probabilities(parts[2])
    counts = recent[600:, 0] + 2 * base_rates(labels[:300], 2)
    np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True))
    assert log_loss(parts[2].labels, found) < 0.5 < 0.69


class TestLogisticRegression:
    @pytest.mark.parametrize("agreeing", [True, False])
    def test_the_penalty_is_the_best_on_validation(self, agreeing):
        """Inverted validation labels need the strongest penalty."""
        train, validation, test = planted(120, 1, noise=1.0), planted(80, 2, noise=1.0), planted(2000, 3)
        if not agreeing:
            validation = relabelled(validation, 1 - validation.labels)
        inputs = summaries(train.inputs)
        mean, std = inputs.mean(axis=0), inputs.std(axis=0)
        losses, guesses = [], []
        for penalty in np.logspace(-7, 3, 11):
            model = LogisticRegression(C=penalty, max_iter=1000).fit((inputs - mean) / std, train.labels)
            losses.append(log_loss(validation.labels, model.predict_proba((summaries(validation.inputs) - mean) / std)))
            guesses.append(model.predict_proba((summaries(test.inputs) - mean) / std))
        chosen = int(np.argmin(losses))
        assert chosen == 0 or agreeing
        ours = fitted(LogisticBaseline, train, validation).probabilities(test)
        distance = [float(np.abs(ours - guess).max()) for guess in guesses]
        assert distance[chosen] < 1e-3
        assert all(each > distance[chosen] for place, each in enumerate(distance) if place != chosen)


class TestGradientBoosting:
    @pytest.mark.parametrize("kind", [LogisticBaseline, GradientBoosting])
    def test_it_makes_no_copy_of_all_windows(self, kind):
        """20 MB of inputs; a lookback of thousands of bars may be gigabytes."""
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(100, 10_000, 5)).astype(np.float32)
        sample = Sample(inputs, rng.integers(2, size=100), np.full(100, UNKNOWN))
        tracemalloc.start()
        fitted(kind, sample, sample).probabilities(sample)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < inputs.nbytes / 2

    def test_the_number_of_trees_is_the_best_on_validation(self):
        """Of the stages of one long fit the chosen one has the lowest log loss."""
        train, validation, test = splits(600, noise=2.0)

        def inputs(sample):
            tail = sample.inputs[:, -5:].reshape(len(sample.inputs), -1)
            return np.concatenate([summaries(sample.inputs), tail, sample.inputs.std(axis=1)], axis=1)

        options = {"learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 40, "l2_regularization": 1.0}
        model = HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0, **options)
        with threadpool_limits(1):
            model.fit(inputs(train), train.labels)
            losses = [log_loss(validation.labels, each) for each in model.staged_predict_proba(inputs(validation))]
            guesses = list(model.staged_predict_proba(inputs(test)))
        best = int(np.argmin(losses))
        assert 0 < best < 199
        ours = fitted(GradientBoosting, train, validation).probabilities(test)
        np.testing.assert_allclose(ours, guesses[best], atol=1e-9)


def bumps(count: int, seed: int) -> Sample:
    """The class is a bump or its mirror image at a random place: means and deviations are the same."""
    rng = np.random.default_rng(seed)
    inputs = 0.3 * rng.normal(size=(count, LOOKBACK, 2)).astype(np.float32)
    labels = rng.integers(2, size=count)
    shape = np.array([2.0, 0.0, -2.0], dtype=np.float32)
    for window, label in enumerate(labels):
        first = rng.integers(LOOKBACK - 2)
        inputs[window, first : first + 3, 0] += shape if label else shape[::-1]
    return Sample(inputs, labels, np.full(count, UNKNOWN))


class TestMiniRocket:
    def test_it_finds_a_shape_at_any_place_in_a_few_windows(self):
        parts = bumps(80, 1), bumps(40, 2), bumps(500, 3)
        assert accuracy(MiniRocket, *parts) > 0.85
        assert accuracy(LogisticBaseline, *parts) < 0.65

    def test_its_probabilities_are_calibrated_on_decisions_about_windows_left_out(self):
        """A quarter of the labels are wrong: it fits all training windows, but its confidence is its accuracy."""
        rng = np.random.default_rng(0)

        def noisy(count, seed):
            sample = bumps(count, seed)
            return relabelled(sample, np.where(rng.random(count) < 0.25, 1 - sample.labels, sample.labels))

        train, validation, test = noisy(150, 1), noisy(20, 2), noisy(2000, 3)
        found = fitted(MiniRocket, train, validation).probabilities(test)
        right = float((found.argmax(axis=1) == test.labels).mean())
        assert 0.6 < right < 0.76
        assert abs(found.max(axis=1).mean() - right) < 0.06
        assert log_loss(test.labels, found) < log_loss(test.labels, np.full((2000, 2), 0.5)) - 0.03

    def test_the_factor_minimises_the_log_loss_with_platts_targets(self):
        rng = np.random.default_rng(0)
        decisions = rng.normal(size=(4000, 3))
        odds = np.exp(1.7 * decisions)
        labels = np.array([rng.choice(3, p=row / row.sum()) for row in odds])
        assert steepness(decisions, labels) == pytest.approx(1.7, rel=0.08)
        assert steepness(decisions, rng.integers(3, size=4000)) < 0.1
        few = steepness(np.array([[1.0, -1.0], [-1.0, 1.0]] * 5), np.array([0, 1] * 5))
        assert 1 / (1 + np.exp(-2 * few)) == pytest.approx(6 / 7, abs=1e-3)  # the target of five windows

    def test_of_many_windows_it_learns_from_evenly_spread_ones(self, monkeypatch):
        monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.minirocket.MAX_WINDOWS", 40)
        train, validation, test = bumps(79, 1), bumps(5, 2), bumps(50, 3)
        some = Sample(train.inputs[::2], train.labels[::2], train.last_labels[::2])
        ours, alone = (fitted(MiniRocket, each, validation).probabilities(test) for each in (train, some))
        np.testing.assert_array_equal(ours, alone)


def test_baselines_without_their_package_or_without_bars_and_an_order_are_skipped_with_one_line_each(
    monkeypatch, caplog
):
    for name in ("MiniRocket", "GARCH"):
        monkeypatch.setattr(BASELINES[name], "package", "no_such_package")
    bars, plain = (planted(40, 1), planted(20, 2)), (bumps(40, 1), bumps(20, 2))
    expected = (
        {
            "GARCH": "cnn-lstm-hyperopt[garch]",
            "MiniRocket": "cnn-lstm-hyperopt[rocket]",
        },
        {
            "persistence, rolling frequency": "earlier labels",
            "GARCH": "bars",
            "MiniRocket": "cnn-lstm-hyperopt[rocket]",
        },
    )
    for parts, lines in zip((bars, plain), expected, strict=True):
        caplog.clear()
        with caplog.at_level("INFO", logger="cnn_lstm_hyperopt"):
            found = fit_baselines(*parts, n_classes=2, seed=0)
        assert set(BASELINES) - set(found) == {name for names in lines for name in names.split(", ")}
        assert len(caplog.records) == len(lines)
        assert not_installed(parts[0]) == tuple(name for name, why in lines.items() if why.startswith("cnn-lstm"))
        for names, why in lines.items():
            (line,) = (record.message for record in caplog.records if names in record.message)
            assert why in line
