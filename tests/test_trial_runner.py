"""The trial runner: what a trial is depends on the seed and its number alone."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.store import save_trial_data
from cnn_lstm_hyperopt.exceptions import CheckpointError
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


class TestATrialThatGoesOn:
    """A probe ends after its first epoch; another trial, of another number, may go on from what it leaves."""

    @staticmethod
    def end(action: Action, *, after: float = 1) -> Callable[[ProgressReport], Decision]:
        return lambda report: Decision(action, "a probe") if report.epoch >= after else CONTINUE

    @pytest.fixture
    def probe(self, dataset, tmp_path) -> Path:
        path = tmp_path / "probes" / "3.pt"
        outcome = runner_of(dataset).run_trial(3, PARAMS, self.end(Action.PRUNE), keep=path).outcome
        assert (outcome.epochs, outcome.decision) == (1, Decision(Action.PRUNE, "a probe"))
        return path

    def test_it_becomes_what_the_probe_would_have_to_the_bit(self, dataset, probe):
        told: dict[str, list[tuple[float, float, float]]] = {"whole": [], "again": []}

        def listen(to: str) -> Callable[[ProgressReport], Decision]:
            def on_report(report: ProgressReport) -> Decision:
                if report.score is not None and report.loss is not None:
                    told[to].append((report.epoch, report.score, report.loss))
                return CONTINUE

            return on_report

        whole = runner_of(dataset).run_trial(3, PARAMS, listen("whole"))
        again = runner_of(dataset).run_trial(8, PARAMS, listen("again"), start=probe)
        assert same(whole, again)
        assert told["whole"] == told["again"]
        assert [epoch for epoch, _, _ in told["again"]] == [1, 2]
        assert again.outcome.epochs == 2
        assert 0 < again.outcome.own_seconds < again.outcome.seconds

    def test_it_is_the_same_in_another_process(self, dataset, probe, tmp_path):
        """All that goes over is a file of data, and the checkpoint."""
        data, weights = tmp_path / "data.safetensors", tmp_path / "weights.pt"
        save_trial_data(data, dataset.for_trials())
        script = f"""
import torch
from pathlib import Path
from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.store import load_trial_data
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.trial_runner import TrialRunner
cpu = torch.device("cpu")
settings = TrainingSettings(max_epochs=2)
runner = TrialRunner(load_trial_data(Path({str(data)!r})), settings, seed=0, device=cpu, speeds=calibration_for(cpu))
trained = runner.run_trial(8, {PARAMS!r}, lambda report: CONTINUE, start=Path({str(probe)!r}))
torch.save(trained.network.state_dict(), {str(weights)!r})
"""
        subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)
        whole = runner_of(dataset).run_trial(3, PARAMS, go_on).network.state_dict()
        there = torch.load(weights, weights_only=True)
        assert whole.keys() == there.keys()
        assert all(torch.equal(whole[name], there[name]) for name in whole)

    def test_it_can_be_a_probe_of_more_epochs_itself(self, dataset, tmp_path):
        first, second = tmp_path / "1.pt", tmp_path / "2.pt"
        runner = runner_of(dataset, max_epochs=3)
        whole = runner.run_trial(3, PARAMS, go_on)
        runner.run_trial(3, PARAMS, self.end(Action.PRUNE), keep=first)
        stopped = runner.run_trial(4, PARAMS, self.end(Action.PRUNE, after=2), keep=second, start=first)
        assert stopped.outcome.epochs == 2
        assert same(whole, runner.run_trial(5, PARAMS, go_on, start=second))

    @pytest.mark.parametrize(
        ("action", "after"), [(Action.PRUNE, 0.01), (Action.STOP, 1), (Action.PRUNE, 2), (Action.CONTINUE, 9)]
    )
    def test_nothing_is_kept_unless_it_is_pruned_at_the_end_of_an_epoch_before_the_last(
        self, dataset, tmp_path, action, after
    ):
        path = tmp_path / "checkpoint.pt"
        runner_of(dataset).run_trial(3, PARAMS, self.end(action, after=after), keep=path)
        assert list(tmp_path.iterdir()) == []

    def test_global_randomness_is_left_as_it_was(self, dataset, probe):
        before = torch.get_rng_state()
        runner_of(dataset).run_trial(8, PARAMS, go_on, start=probe)
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_checkpoint_of_other_parameters_is_refused_by_name(self, dataset, probe):
        params = {**PARAMS, "cnn.dropout": 0.3, "training.batch_size": 32}
        differs = r"network\.cnn\.dropout is 0\.2 there and 0\.3 here; training\.batch_size is 16 there and 32 here"
        with pytest.raises(CheckpointError, match=rf"3\.pt is of another training: {differs}$"):
            runner_of(dataset).run_trial(8, params, go_on, start=probe)
