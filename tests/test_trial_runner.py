"""The trial runner: what a trial is depends on the seed and its number alone."""

import math
from collections.abc import Iterator

import pytest
import torch

from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training import ValueScale, evaluate
from cnn_lstm_hyperopt.training.loop import FIRST_LOOK
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork, TrialRunner

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
    "fusion.method": "gated",
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


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread; and no report depends on how fast this machine is."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.loop.LOOK_SECONDS", math.inf)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(apple) -> Dataset:
    return apple(train_share=0.5)


def runner_of(dataset: Dataset, *, seed: int = 0, max_epochs: int = 2) -> TrialRunner:
    return TrialRunner(
        dataset.for_trials(),
        TrainingSettings(max_epochs=max_epochs),
        seed=seed,
        device=CPU,
        speeds=calibration_for(CPU),
    )


def go_on(report: ProgressReport) -> Decision:
    return CONTINUE


def same(first: TrainedNetwork, second: TrainedNetwork) -> bool:
    a, b = first.network.state_dict(), second.network.state_dict()
    equal = [torch.equal(a[name], b[name]) for name in a]
    assert all(equal) or not any(equal[:2])
    return all(equal)


def test_a_trial_is_the_same_to_the_bit_whatever_ran_before_it(dataset):
    runner = runner_of(dataset)
    first = runner.run_trial(3, PARAMS, go_on)
    runner.run_trial(4, PARAMS, go_on)
    torch.rand(5)
    again = runner.run_trial(3, PARAMS, go_on)
    elsewhere = runner_of(dataset).run_trial(3, PARAMS, go_on)
    assert same(first, again)
    assert same(first, elsewhere)
    assert first.outcome.best is not None
    assert again.outcome.best is not None
    assert (first.outcome.best.loss, first.outcome.best.accuracy) == (
        again.outcome.best.loss,
        again.outcome.best.accuracy,
    )


def test_another_number_and_another_seed_are_other_trials(dataset):
    first = runner_of(dataset).run_trial(3, PARAMS, go_on)
    assert not same(first, runner_of(dataset).run_trial(4, PARAMS, go_on))
    assert not same(first, runner_of(dataset, seed=1).run_trial(3, PARAMS, go_on))


def test_a_retraining_does_not_repeat_the_trial_of_the_same_number(apple):
    dataset = apple(train_share=1.0)
    runner = runner_of(dataset)
    trial, retraining = runner.run_trial(1, PARAMS, go_on), runner.retrain(1, PARAMS, dataset.train, 2, go_on)
    assert not same(trial, retraining)
    assert same(retraining, runner.retrain(1, PARAMS, dataset.train, 2, go_on))


def test_global_randomness_and_threads_are_left_as_they_were(dataset):
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    seen = []

    def look(report):
        seen.append(torch.get_num_threads())
        return CONTINUE

    runner_of(dataset).run_trial(0, PARAMS, look)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trial_trains_on_its_share_and_a_retraining_on_all(dataset):
    """The first look says how many steps an epoch has."""
    assert len(dataset.search_train) == round(len(dataset.train) / 2)
    runner, epochs = runner_of(dataset), []

    def note(report):
        epochs.append(report.epoch)
        return Decision(Action.STOP)

    runner.run_trial(0, PARAMS, note)
    runner.retrain(1, PARAMS, dataset.train, 9, note)
    steps = [math.ceil(len(windows) / 16) for windows in (dataset.search_train, dataset.train)]
    assert epochs == [FIRST_LOOK / count for count in steps]


def test_a_trial_runs_the_settings_epochs_and_a_retraining_those_it_is_given(dataset):
    runner = runner_of(dataset, max_epochs=2)
    assert runner.run_trial(0, PARAMS, go_on).outcome.epochs == 2
    assert runner.retrain(1, PARAMS, dataset.train, 3, go_on).outcome.epochs == 3


def test_the_outcome_is_that_of_the_network_on_validation(dataset):
    trained = runner_of(dataset).run_trial(0, PARAMS, go_on)
    again = evaluate(trained.network, dataset.validation, ValueScale(dataset.value_mean, dataset.value_std))
    assert trained.outcome.best is not None
    assert again.loss == trained.outcome.best.loss
    assert again.mse == trained.outcome.best.mse
    assert trained.memory_mb is None or trained.memory_mb > 0


def test_a_decision_reaches_the_outcome(dataset):
    decision = Decision(Action.PRUNE, "worse than the median")
    outcome = runner_of(dataset).run_trial(0, PARAMS, lambda report: decision).outcome
    assert outcome.decision == decision
    assert outcome.best is None


def test_no_training_opens_the_test_period(apple):
    dataset = apple(train_share=0.5)
    runner = runner_of(dataset)
    runner.run_trial(0, PARAMS, go_on)
    runner.retrain(1, PARAMS, dataset.train, 1, go_on)
    assert dataset.test.times_opened == 0


@pytest.mark.parametrize(
    "changed", [{}, {"lstm.bidirectional": True}, {"fusion.method": "attention", "fusion.attention_heads": 4}]
)
def test_the_size_is_known_before_the_training(dataset, changed):
    runner, params = runner_of(dataset), PARAMS | changed
    network = runner.run_trial(0, params, lambda report: Decision(Action.STOP)).network
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert runner.cost(params).size_mb == weights / 1e6
    assert runner.profile(params).multiply_adds > weights / 4
    assert network.config == runner.network_config(params)
    assert (network.config.input_dim, network.config.n_classes, network.config.has_regression) == (11, 2, True)
