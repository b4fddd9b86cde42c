"""Finalists: retrained in order, measured once on the test period, beside the baselines."""

import math
from collections.abc import Iterator
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef, mean_squared_error

from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.retraining import Finalist, Retrained, evaluate_once, retrain
from cnn_lstm_hyperopt.saved_model import load_model
from cnn_lstm_hyperopt.trial_runner import TrialRunner

CPU = torch.device("cpu")
PARAMS = {
    "cnn.num_filters": 4,
    "cnn.filter_sizes": "3-5",
    "cnn.dropout": 0.2,
    "cnn.activation": "relu",
    "cnn.residual": False,
    "cnn.attention": False,
    "lstm.hidden_dim": 8,
    "lstm.num_layers": 1,
    "lstm.dropout": 0.2,
    "lstm.bidirectional": False,
    "lstm.attention": False,
    "lstm.skip_connections": False,
    "fusion.method": "concatenation",
    "fusion.dim": 8,
    "fusion.dropout": 0.1,
    "training.learning_rate": 0.01,
    "training.batch_size": 16,
    "training.weight_decay": 1e-5,
    "training.optimizer": "adam",
    "training.scheduler": "cosine",
    "training.gradient_clip": 1.0,
    "regularization.l1_switch": False,
    "regularization.l2": 1e-5,
    "regularization.dropout_schedule": "constant",
    "regularization.label_smoothing": 0.1,
    "multi_task.balancing": "fixed",
    "multi_task.classification_weight": 0.5,
    "augmentation.switch": False,
}
FINALISTS = [
    Finalist(1, 17, PARAMS),
    Finalist(2, 4, PARAMS | {"lstm.bidirectional": True}),
    Finalist(3, 9, PARAMS | {"fusion.method": "bilinear"}),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def prepared(apple) -> Dataset:
    return apple(horizon=2)


@pytest.fixture
def dataset(prepared) -> Dataset:
    """With a test period that nobody has opened yet."""
    return replace(prepared, test=LockedPeriod(prepared.test.open()))


def retrained(dataset: Dataset, finalists, on_report=lambda finalist, epochs: lambda report: CONTINUE, full_epochs=2):
    runner = TrialRunner(
        dataset.for_trials(), TrainingSettings(max_epochs=1), seed=0, device=CPU, speeds=calibration_for(CPU)
    )
    return retrain(finalists, runner, dataset, full_epochs=full_epochs, max_gap_days=10.0, on_report=on_report)


@pytest.fixture(scope="module")
def models(prepared) -> list[Retrained]:
    work = retrained(prepared, FINALISTS)
    assert (work.failures, work.ended) == ([], None)
    return work.done


@pytest.fixture
def verdict(models, dataset):
    return evaluate_once(models, dataset, seed=0)


def test_finalists_are_retrained_in_order_over_the_full_epochs(models):
    assert [each.finalist for each in models] == FINALISTS
    assert [each.outcome.epochs for each in models] == [2, 2, 2]
    for each in models:
        assert each.outcome.best is not None
        assert each.model.description.params == each.finalist.params
        assert each.model.network.config == each.model.description.network_config()


def test_a_retrained_model_holds_what_new_bars_need(models, prepared):
    about = models[0].model.description
    assert about.scaler == prepared.scaler
    assert (about.lookback, about.horizon, about.max_gap_days, about.target) == (20, 2, 10.0, "volatility")
    assert (about.value_scale.mean, about.value_scale.std) == (prepared.value_mean, prepared.value_std)


def test_retraining_repeats_to_the_bit_and_never_opens_the_test(models, dataset):
    again = retrained(dataset, FINALISTS[1:2]).done
    first = models[1].model.network.state_dict()
    second = again[0].model.network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert dataset.test.times_opened == 0


def test_a_stop_returns_what_was_finished_and_never_opens_the_test(dataset):
    decision = Decision(Action.STOP, "Ctrl-C")
    heard = []

    def listen(finalist, epochs):
        heard.append(finalist.rank)
        return lambda report: decision if finalist.rank == 2 else CONTINUE

    work = retrained(dataset, FINALISTS, listen)
    assert [each.finalist.rank for each in work.done] == [1]
    assert (work.failures, work.ended) == ([], decision)
    assert heard == [1, 2]  # the third is not begun
    assert dataset.test.times_opened == 0


def test_a_stop_in_the_first_finalist_leaves_nothing(dataset):
    work = retrained(dataset, FINALISTS, lambda finalist, epochs: lambda report: Decision(Action.STOP, "time"))
    assert (work.done, work.failures, work.ended) == ([], [], Decision(Action.STOP, "time"))


def test_a_finalist_that_fails_is_told_of_and_the_others_go_on(dataset):
    diverging = Finalist(1, 5, PARAMS | {"training.learning_rate": 1e30, "training.optimizer": "sgd"})
    work = retrained(dataset, [diverging, FINALISTS[1]])
    assert [each.finalist for each in work.done] == [FINALISTS[1]]
    assert work.ended is None
    ((finalist, reason),) = work.failures
    assert finalist is diverging
    assert reason in ("the loss became nan in epoch 1", "the loss became inf in epoch 1")
    assert dataset.test.times_opened == 0


@pytest.mark.parametrize(
    ("error", "reason"), [(RuntimeError("out of\n  memory"), "out of memory"), (MemoryError(), "MemoryError")]
)
def test_a_lack_of_memory_is_a_failure_of_that_finalist_alone(dataset, error, reason):
    def listen(finalist, epochs):
        def on_report(report):
            if finalist.rank == 2:
                raise error
            return CONTINUE

        return on_report

    work = retrained(dataset, FINALISTS, listen, full_epochs=1)
    assert [each.finalist.rank for each in work.done] == [1, 3]
    assert work.failures == [(FINALISTS[1], reason)]
    assert work.ended is None


def test_the_test_period_is_opened_exactly_once(models, dataset):
    evaluate_once(models, dataset, seed=0)
    assert dataset.test.times_opened == 1
    nobody = replace(dataset, test=LockedPeriod(dataset.test.open()))
    assert evaluate_once([], nobody, seed=0).finalists == ()
    assert nobody.test.times_opened == 1


def test_finalists_come_in_order_and_the_majority_class_is_the_first_baseline(verdict):
    assert [result.name for result in verdict.finalists] == ["model 1", "model 2", "model 3"]
    assert [result.name for result in verdict.baselines] == ["majority class", "logistic regression"]


def test_every_number_is_finite_and_every_interval_holds_its_value(verdict):
    for result in (*verdict.finalists, *verdict.baselines):
        numbers = [number for number in astuple(result.scores) if number is not None]
        assert all(math.isfinite(number) for number in (*numbers, *result.interval))
        assert 0 <= result.interval.low <= result.scores.accuracy <= result.interval.high <= 1
        assert result.interval.high - result.interval.low < 0.5


def test_all_but_the_majority_class_are_compared_with_it(verdict):
    majority, *others = (*verdict.baselines, *verdict.finalists)
    assert majority.against_majority is None
    for result in others:
        difference = result.scores.accuracy - majority.scores.accuracy
        assert result.against_majority is not None
        assert -1 <= result.against_majority.low <= difference <= result.against_majority.high <= 1


def test_scores_equal_scikit_learns_on_the_test_windows(verdict, models, dataset):
    test = dataset.test.open()
    assert verdict.windows is test
    labels = test.labels.numpy()
    for result, each in zip(verdict.finalists, models, strict=True):
        predictions = each.model.predict_windows(test)
        np.testing.assert_array_equal(result.predictions.probabilities, predictions.probabilities)
        guesses = predictions.probabilities.argmax(axis=1)
        assert result.scores.accuracy == pytest.approx((guesses == labels).mean())
        assert result.scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, guesses))
        assert result.scores.mcc == pytest.approx(matthews_corrcoef(labels, guesses), abs=1e-12)


def test_the_squared_error_is_in_the_targets_units(verdict, models, dataset):
    """The target is ln(high / low), near −4; a standardised error would be another number."""
    test = dataset.test.open()
    for result, each in zip(verdict.finalists, models, strict=True):
        with torch.no_grad():
            output = each.model.network(test.gather(torch.arange(len(test))))
        values = output.value.numpy() * dataset.value_std + dataset.value_mean
        assert result.scores.mse == pytest.approx(mean_squared_error(test.values.numpy(), values), rel=1e-4)
        np.testing.assert_allclose(result.predictions.values, values, rtol=1e-4)
    assert all(result.scores.mse is None and result.predictions is None for result in verdict.baselines)


def test_the_majority_class_is_that_of_training(verdict, dataset):
    majority = np.bincount(dataset.train.labels.numpy()).argmax()
    labels = dataset.test.open().labels.numpy()
    assert verdict.baselines[0].scores.accuracy == pytest.approx((labels == majority).mean())
    assert verdict.baselines[0].scores.mcc == 0


def test_the_same_seed_gives_the_same_intervals(models, dataset, verdict):
    again, other = (evaluate_once(models, dataset, seed=seed) for seed in (0, 1))
    assert [r.interval for r in again.finalists] == [r.interval for r in verdict.finalists]
    assert [r.interval for r in other.finalists] != [r.interval for r in verdict.finalists]


def test_nothing_is_learnt_from_test_labels(models, dataset, verdict):
    """With its labels inverted every classifier is wrong where it was right."""
    test = dataset.test.open()
    inverted = replace(dataset, test=LockedPeriod(replace(test, labels=1 - test.labels)))
    other = evaluate_once(models, inverted, seed=0)
    for before, after in zip(
        (*verdict.finalists, *verdict.baselines), (*other.finalists, *other.baselines), strict=True
    ):
        assert after.scores.accuracy == pytest.approx(1 - before.scores.accuracy)


def test_a_finalist_that_was_saved_and_loaded_gets_the_same_verdict(models, dataset, verdict, tmp_path):
    models[0].model.save(tmp_path)
    loaded = replace(models[0], model=load_model(tmp_path))
    (again,) = evaluate_once([loaded], dataset, seed=0).finalists
    assert again.scores == verdict.finalists[0].scores
    assert again.interval == verdict.finalists[0].interval
