"""Baselines: one contract over all, what each learns from and chooses, and that they find a planted signal."""

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

from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    UNKNOWN,
    Sample,
    base_rates,
    earlier_windows,
    fit_baselines,
    last_labels,
    persistence_values,
)
from cnn_lstm_hyperopt.evaluation.baselines import GradientBoosting, LogisticBaseline, MajorityClass, Persistence
from cnn_lstm_hyperopt.evaluation.minirocket import MiniRocket, steepness

LOOKBACK, FEATURES = 30, 3


def planted(count: int, seed: int, *, span: int = 1, noise: float = 0.0, n_classes: int = 2) -> Sample:
    """The class says in which band the mean of the first feature over the last ``span`` bars lies, up to noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, LOOKBACK, FEATURES)).astype(np.float32)
    signal = inputs[:, -span:, 0].mean(axis=1) * np.sqrt(span) + noise * rng.normal(size=count)
    cuts = np.quantile(signal, np.arange(1, n_classes) / n_classes)
    labels = np.searchsorted(cuts, signal).astype(np.int64)
    last = np.concatenate([[UNKNOWN], labels[:-1]])
    return Sample(inputs, labels, last)


def fitted(baseline, train, validation, *, n_classes: int = 2, seed: int = 0):
    baseline.fit(train, validation, n_classes=n_classes, seed=seed)
    return baseline


def accuracy(baseline, sample) -> float:
    return float((baseline.probabilities(sample).argmax(axis=1) == sample.labels).mean())


def summaries(inputs):
    spans = (1, 5, 20, inputs.shape[1])
    return np.concatenate([inputs[:, -span:].mean(axis=1) for span in spans], axis=1)


def relabelled(sample, labels) -> Sample:
    return dataclasses.replace(sample, labels=np.asarray(labels, dtype=np.int64))


def test_the_family():
    assert list(BASELINES) == [
        "majority class",
        "persistence",
        "logistic regression",
        "gradient boosting",
        "MiniRocket",
    ]
    assert all(kind.name == name for name, kind in BASELINES.items())
    train, validation = planted(90, 1), planted(60, 2)
    everyone = fit_baselines(train, validation, n_classes=2, seed=0)
    assert {name: type(baseline) for name, baseline in everyone.items()} == BASELINES


@pytest.mark.parametrize("kind", BASELINES.values(), ids=BASELINES)
class TestEveryBaseline:
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_gives_probabilities_of_all_classes_and_repeats(self, kind, n_classes):
        train, validation, test = (planted(120, seed, n_classes=n_classes, noise=1.0) for seed in (1, 2, 3))
        first, again = (fitted(kind(), train, validation, n_classes=n_classes).probabilities(test) for _ in range(2))
        assert first.shape == (120, n_classes)
        assert (first > 0).all()
        np.testing.assert_allclose(first.sum(axis=1), 1)
        np.testing.assert_array_equal(first, again)

    def test_knows_of_a_class_that_training_lacks_that_it_is_rare(self, kind):
        train, validation, test = (planted(200, seed) for seed in (1, 2, 3))
        train = relabelled(train, 2 * train.labels)  # 0 and 2
        train = dataclasses.replace(train, last_labels=np.where(train.last_labels == 1, 2, train.last_labels))
        test = dataclasses.replace(test, last_labels=np.full(200, UNKNOWN))
        validation = relabelled(validation, np.where(validation.labels == 1, 2, np.arange(200) % 2))
        said = fitted(kind(), train, validation, n_classes=4).probabilities(test)
        assert said.shape == (200, 4)
        np.testing.assert_allclose(said.sum(axis=1), 1)
        np.testing.assert_allclose(said[:, [1, 3]], 1 / 204)

    def test_a_single_class_of_training_is_what_it_says(self, kind):
        train, validation, test = (planted(50, seed) for seed in (1, 2, 3))
        train = dataclasses.replace(train, labels=np.ones(50, np.int64), last_labels=np.ones(50, np.int64))
        test = dataclasses.replace(test, last_labels=np.full(50, UNKNOWN))
        said = fitted(kind(), train, validation).probabilities(test)
        np.testing.assert_allclose(said, np.tile([1 / 52, 51 / 52], (50, 1)))

    def test_does_not_look_at_the_labels_it_is_to_guess(self, kind):
        train, validation, test = (planted(120, seed) for seed in (1, 2, 3))
        baseline = fitted(kind(), train, validation)
        np.testing.assert_array_equal(
            baseline.probabilities(test), baseline.probabilities(relabelled(test, 1 - test.labels))
        )

    def test_reads_windows_shorter_than_its_spans_whole(self, kind):
        train, validation, test = (
            dataclasses.replace(each, inputs=each.inputs[:, -2:]) for each in (planted(300, seed) for seed in (1, 2, 3))
        )
        baseline = fitted(kind(), train, validation)
        assert baseline.probabilities(test).shape == (300, 2)
        if kind in (LogisticBaseline, GradientBoosting):
            assert accuracy(baseline, test) > 0.85


def test_the_majority_class_says_the_shares_of_training_whatever_validation_says():
    train = relabelled(planted(5, 1), [2, 1, 2, 0, 2])
    baseline = fitted(MajorityClass(), train, relabelled(planted(9, 2), np.zeros(9)), n_classes=3)
    np.testing.assert_allclose(baseline.probabilities(planted(4, 3)), np.tile([2 / 8, 2 / 8, 4 / 8], (4, 1)))


class TestPersistence:
    def test_the_window_a_horizon_earlier_is_of_the_same_symbol(self):
        symbols = np.array(["A", "A", "A", "B", "B", "A", "B"])
        starts = np.array([0, 1, 2, 10, 12, 4, 3])
        assert earlier_windows(symbols, starts, 2).tolist() == [-1, -1, 0, -1, 3, 2, -1]
        assert earlier_windows(symbols, starts, 1).tolist() == [-1, 0, 1, -1, -1, -1, -1]

    def test_windows_in_any_order_find_what_a_search_finds(self):
        rng = np.random.default_rng(0)
        starts = rng.permutation(300)[:200]
        symbols = np.where(starts < 150, "A", "B")
        for horizon in (1, 3, 20):
            found = earlier_windows(symbols, starts, horizon)
            for window in range(200):
                same = np.flatnonzero((starts == starts[window] - horizon) & (symbols == symbols[window]))
                assert found[window] == (same[0] if len(same) else -1)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(["A", "B", "Z"]), st.integers(-3, 25)), max_size=40),
        st.integers(1, 30),
    )
    def test_it_finds_what_a_dictionary_finds(self, windows, horizon):
        """Of windows that are there twice, the last one; a symbol's rows never reach into those of another."""
        place = {window: position for position, window in enumerate(windows)}
        expected = [place.get((symbol, start - horizon), -1) for symbol, start in windows]
        symbols, starts = np.array([symbol for symbol, _ in windows], "U1"), np.array([s for _, s in windows], np.int64)
        assert earlier_windows(symbols, starts, horizon).tolist() == expected

    def test_starts_that_can_be_no_rows_are_refused(self):
        starts = np.array([-(2**62), 2**62])
        with pytest.raises(ValueError, match="starts must be rows of one series, but are between -46116"):
            earlier_windows(np.array(["A", "B"]), starts, 1)

    def test_a_label_is_used_only_once_it_is_known(self):
        """Changing what happens after the bar at which a window ends changes nothing of what is said there."""
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

    def test_it_says_the_last_class_as_surely_as_it_was_right_in_training(self):
        train = dataclasses.replace(
            planted(10, 1),
            labels=np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2]),
            last_labels=np.array([UNKNOWN, 0, 0, 0, 1, 1, 1, 1, 2, 2]),
        )
        baseline = fitted(Persistence(), train, planted(5, 2), n_classes=3)
        said = baseline.probabilities(dataclasses.replace(planted(4, 3), last_labels=np.array([2, 0, 1, UNKNOWN])))
        sure, rates = 8 / 11, base_rates(train.labels, 3)
        assert said[:3].argmax(axis=1).tolist() == [2, 0, 1]
        np.testing.assert_allclose(said[:3].max(axis=1), sure)
        np.testing.assert_allclose(said[0, :2], (1 - sure) * rates[:2] / rates[:2].sum())
        np.testing.assert_allclose(said[3], rates)

    def test_it_says_the_last_class_even_where_that_was_mostly_wrong(self):
        labels = np.arange(100) % 2
        train = dataclasses.replace(planted(100, 1), labels=labels, last_labels=1 - labels)
        baseline = fitted(Persistence(), train, planted(5, 2))
        said = baseline.probabilities(dataclasses.replace(planted(2, 3), last_labels=np.array([0, 1])))
        np.testing.assert_allclose(said, [[0.501, 0.499], [0.499, 0.501]])

    def test_values_are_the_last_known_ones_or_the_mean_of_training(self):
        values, earlier = np.array([1.0, 2.0, 3.0], np.float32), np.array([-1, 0, 1])
        assert persistence_values(values, earlier, 7.5).tolist() == [7.5, 1.0, 2.0]


class TestLogisticRegression:
    @pytest.mark.parametrize("span", [1, 5, 20, 30])
    def test_it_finds_a_signal_over_each_of_its_spans(self, span):
        train, validation, test = (planted(300, seed, span=span) for seed in (1, 2, 3))
        logistic = accuracy(fitted(LogisticBaseline(), train, validation), test)
        majority = accuracy(fitted(MajorityClass(), train, validation), test)
        assert logistic > 0.85 > 0.6 > majority

    def test_of_several_classes_it_beats_the_majority(self):
        train, validation, test = (planted(400, seed, n_classes=3) for seed in (1, 2, 3))
        assert accuracy(fitted(LogisticBaseline(), train, validation, n_classes=3), test) > 0.6

    @pytest.mark.parametrize("agreeing", [True, False])
    def test_the_penalty_is_the_best_on_validation(self, agreeing):
        """Validation with its labels inverted asks for the strongest penalty; training alone would ask for the weakest."""
        train, validation, test = planted(120, 1, noise=1.0), planted(80, 2, noise=1.0), planted(2000, 3)
        if not agreeing:
            validation = relabelled(validation, 1 - validation.labels)
        inputs = summaries(train.inputs)
        mean, std = inputs.mean(axis=0), inputs.std(axis=0)
        losses, guesses = [], []
        for penalty in LogisticBaseline.PENALTIES:
            model = LogisticRegression(C=penalty, max_iter=1000).fit((inputs - mean) / std, train.labels)
            losses.append(log_loss(validation.labels, model.predict_proba((summaries(validation.inputs) - mean) / std)))
            guesses.append(model.predict_proba((summaries(test.inputs) - mean) / std))
        chosen = int(np.argmin(losses))
        assert chosen == 0 or agreeing
        ours = fitted(LogisticBaseline(), train, validation).probabilities(test)
        distance = [float(np.abs(ours - guess).max()) for guess in guesses]
        assert distance[chosen] < 1e-3
        assert all(each > 1e-2 for place, each in enumerate(distance) if place != chosen)

    def test_validation_windows_of_a_class_that_training_lacks_have_no_say_in_the_choice(self):
        train, validation, test = planted(100, 1), planted(60, 2), planted(200, 3)
        labels = validation.labels.copy()
        labels[:10] = 2
        known = Sample(validation.inputs[10:], validation.labels[10:], validation.last_labels[10:])
        ours, alone = (
            fitted(LogisticBaseline(), train, each, n_classes=3).probabilities(test)
            for each in (relabelled(validation, labels), known)
        )
        np.testing.assert_array_equal(ours, alone)


class TestGradientBoosting:
    def test_it_finds_what_no_linear_model_can(self):
        """The class is whether the last two bars' first features have the same sign."""
        train, validation, test = (planted(1500, seed) for seed in (1, 2, 3))
        train, validation, test = (
            relabelled(each, each.inputs[:, -1, 0] * each.inputs[:, -2, 0] > 0) for each in (train, validation, test)
        )
        assert accuracy(fitted(GradientBoosting(), train, validation), test) > 0.8
        assert accuracy(fitted(LogisticBaseline(), train, validation), test) < 0.6

    def test_it_sees_the_deviation_over_the_window(self):
        def calm_or_wild(seed):
            sample = planted(600, seed)
            wild = sample.inputs[:, :, 1].std(axis=1)
            return relabelled(sample, wild > np.median(wild))

        train, validation, test = (calm_or_wild(seed) for seed in (1, 2, 3))
        assert accuracy(fitted(GradientBoosting(), train, validation), test) > 0.9

    def test_windows_read_a_few_at_a_time_say_the_same(self, monkeypatch):
        train, validation, test = (planted(300, seed, noise=0.5) for seed in (1, 2, 3))
        whole = fitted(GradientBoosting(), train, validation).probabilities(test)
        monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines._NUMBERS_AT_ONCE", 7 * LOOKBACK * FEATURES)
        np.testing.assert_array_equal(fitted(GradientBoosting(), train, validation).probabilities(test), whole)

    @pytest.mark.parametrize("count", [24, 40, 67])
    def test_it_learns_from_a_few_dozen_windows(self, count):
        """Its leaves once held 40 windows, so that it said the majority class."""
        train, validation, test = (
            planted(count, 1, noise=0.1),
            planted(count // 2, 2, noise=0.1),
            planted(1000, 3, noise=0.1),
        )
        assert accuracy(fitted(GradientBoosting(), train, validation), test) > 0.8

    @pytest.mark.parametrize("kind", [LogisticBaseline, GradientBoosting])
    def test_it_makes_no_copy_of_all_windows(self, kind):
        """40 MB of inputs: a lookback of thousands of bars may hold gigabytes."""
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(200, 10_000, 5)).astype(np.float32)
        sample = Sample(inputs, rng.integers(2, size=200), np.full(200, UNKNOWN))
        tracemalloc.start()
        fitted(kind(), sample, sample).probabilities(sample)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < inputs.nbytes / 2

    def test_on_noise_validation_chooses_few_trees_or_none(self):
        rng = np.random.default_rng(0)
        train, validation, test = (relabelled(planted(400, seed), rng.integers(2, size=400)) for seed in (1, 2, 3))
        against = relabelled(validation, 1 - planted(400, 2).labels)
        learnt = planted(400, 1)
        rates = np.tile(base_rates(learnt.labels, 2), (400, 1))
        np.testing.assert_array_equal(fitted(GradientBoosting(), learnt, against).probabilities(test), rates)
        said = fitted(GradientBoosting(), train, validation).probabilities(test)
        assert log_loss(test.labels, said, labels=[0, 1]) < 0.72

    def test_the_number_of_trees_is_the_best_on_validation(self):
        """Of one long fit, stage by stage, the chosen one has the least log loss."""
        train, validation, test = (planted(600, seed, noise=2.0) for seed in (1, 2, 3))

        def inputs(sample):
            tail = sample.inputs[:, -5:].reshape(len(sample.inputs), -1)
            return np.concatenate([summaries(sample.inputs), tail, sample.inputs.std(axis=1)], axis=1)

        options = {"learning_rate": 0.05, "max_leaf_nodes": 15, "min_samples_leaf": 40, "l2_regularization": 1.0}
        model = HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0, **options)
        with threadpool_limits(1):
            model.fit(inputs(train), train.labels)
            losses = [log_loss(validation.labels, said) for said in model.staged_predict_proba(inputs(validation))]
            guesses = list(model.staged_predict_proba(inputs(test)))
        best = int(np.argmin(losses))
        assert 0 < best < 199
        ours = fitted(GradientBoosting(), train, validation).probabilities(test)
        np.testing.assert_allclose(ours, guesses[best], atol=1e-9)


def bumps(count: int, seed: int, *, lookback: int = LOOKBACK) -> Sample:
    """The class says whether a bump or its mirror image lies at a random place: means and deviations are alike."""
    rng = np.random.default_rng(seed)
    inputs = 0.3 * rng.normal(size=(count, lookback, 2)).astype(np.float32)
    labels = rng.integers(2, size=count)
    shape = np.array([2.0, 0.0, -2.0], dtype=np.float32)
    for window, label in enumerate(labels):
        first = rng.integers(lookback - 2)
        inputs[window, first : first + 3, 0] += shape if label else shape[::-1]
    return Sample(inputs, labels, np.full(count, UNKNOWN))


class TestMiniRocket:
    def test_it_finds_a_shape_at_any_place_in_a_few_windows(self):
        train, validation, test = bumps(80, 1), bumps(40, 2), bumps(500, 3)
        assert accuracy(fitted(MiniRocket(), train, validation), test) > 0.85
        assert accuracy(fitted(LogisticBaseline(), train, validation), test) < 0.65

    @pytest.mark.parametrize("lookback", [3, 8, 9])
    def test_windows_shorter_than_its_kernels_are_lengthened(self, lookback):
        train, validation, test = (bumps(count, seed, lookback=lookback) for count, seed in ((80, 1), (9, 2), (300, 3)))
        assert accuracy(fitted(MiniRocket(), train, validation), test) > 0.9

    def test_its_probabilities_are_calibrated_on_decisions_about_windows_left_out(self):
        """A quarter of the labels are wrong: it fits all training windows without an error, but is as sure as it is right."""
        rng = np.random.default_rng(0)

        def noisy(count, seed):
            sample = bumps(count, seed)
            return relabelled(sample, np.where(rng.random(count) < 0.25, 1 - sample.labels, sample.labels))

        train, validation, test = noisy(150, 1), noisy(20, 2), noisy(2000, 3)
        said = fitted(MiniRocket(), train, validation).probabilities(test)
        right = float((said.argmax(axis=1) == test.labels).mean())
        assert 0.6 < right < 0.76
        assert abs(said.max(axis=1).mean() - right) < 0.06
        assert log_loss(test.labels, said) < log_loss(test.labels, np.full((2000, 2), 0.5)) - 0.03

    def test_the_factor_is_that_of_the_least_log_loss(self):
        rng = np.random.default_rng(0)
        decisions = rng.normal(size=(4000, 3))
        odds = np.exp(1.7 * decisions)
        labels = np.array([rng.choice(3, p=row / row.sum()) for row in odds])
        assert steepness(decisions, labels) == pytest.approx(1.7, rel=0.08)
        assert steepness(decisions, rng.integers(3, size=4000)) < 0.1

    def test_few_windows_without_an_error_do_not_make_it_sure(self):
        sure = np.array([[1.0, -1.0], [-1.0, 1.0]] * 5)
        factor = steepness(sure, np.array([0, 1] * 5))
        assert 1 / (1 + np.exp(-2 * factor)) == pytest.approx(6 / 7, abs=1e-3)  # Platt's target of five windows

    def test_a_class_that_training_lacks_gets_its_base_rate(self):
        train = bumps(40, 1)
        baseline = fitted(MiniRocket(), relabelled(train, 2 * train.labels), bumps(5, 2), n_classes=4)
        rates = base_rates(2 * train.labels, 4)
        np.testing.assert_allclose(baseline.probabilities(bumps(3, 3))[:, [1, 3]], np.tile(rates[[1, 3]], (3, 1)))

    def test_of_many_windows_it_learns_from_some_that_are_evenly_spread(self, monkeypatch):
        monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.minirocket.MAX_WINDOWS", 40)
        train, validation, test = bumps(79, 1), bumps(5, 2), bumps(50, 3)
        spread = Sample(train.inputs[::2], train.labels[::2], train.last_labels[::2])
        np.testing.assert_array_equal(
            fitted(MiniRocket(), train, validation).probabilities(test),
            fitted(MiniRocket(), spread, validation).probabilities(test),
        )

    def test_numpys_global_stream_is_left_alone(self):
        np.random.seed(5)  # noqa: NPY002
        expected = np.random.rand()  # noqa: NPY002
        np.random.seed(5)  # noqa: NPY002
        fitted(MiniRocket(), bumps(20, 1), bumps(5, 2)).probabilities(bumps(5, 3))
        assert np.random.rand() == expected  # noqa: NPY002

    def test_without_its_package_it_is_left_out_with_one_line_that_says_how_to_get_it(self, monkeypatch, caplog):
        monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.minirocket.find_spec", lambda name: None)
        with caplog.at_level("INFO", logger="cnn_lstm_hyperopt"):
            found = fit_baselines(bumps(40, 1), bumps(20, 2), n_classes=2, seed=0)
        assert MiniRocket.name not in found
        assert [record.message for record in caplog.records] == [
            "The baseline MiniRocket is skipped: pip install 'cnn-lstm-hyperopt[rocket]' (in its repository: pip install -e"
            " '.[rocket]') adds it"
        ]
