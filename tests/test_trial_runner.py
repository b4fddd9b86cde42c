"""The trial runner: what a trial is depends on the seed and its number alone."""

import math
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, TrialData
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.windows import Fold, without_other_rows
from cnn_lstm_hyperopt.errors import CheckpointError
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training import ValueScale, delete_checkpoint, evaluate, last_good, read_checkpoint
from cnn_lstm_hyperopt.training.cost_model import memory_mb
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner

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
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
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


def whole(dataset: Dataset) -> Fold:
    """What finalists are trained on."""
    return Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)


def go_on(report: ProgressReport) -> Decision:
    return CONTINUE


def same(first: TrainedNetwork, second: TrainedNetwork) -> bool:
    alike = set()
    for one, other in zip(first.networks, second.networks, strict=True):
        a, b = one.state_dict(), other.state_dict()
        equal = [torch.equal(a[name], b[name]) for name in a]
        assert all(equal) or not any(equal[:2])
        alike.add(all(equal))
    assert len(alike) == 1
    return alike.pop()


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
    trial, retraining = runner.run_trial(1, PARAMS, go_on), runner.retrain(1, PARAMS, whole(dataset), 2, go_on)
    assert not same(trial, retraining)
    assert same(retraining, runner.retrain(1, PARAMS, whole(dataset), 2, go_on))
    assert not same(retraining, runner.retrain(2, PARAMS, whole(dataset), 2, go_on))
    assert not same(retraining, runner.retrain(1, PARAMS, whole(dataset), 2, go_on, purpose="another use"))
    assert same(
        trial, runner.retrain(1, PARAMS, whole(dataset), 2, go_on, purpose="trial")
    )  # but for its streams, it is one


def test_a_confirmation_is_a_trial_with_fresh_streams(dataset):
    """The same windows, epochs and validation; other weights and orders, told apart by the number."""
    runner, steps = runner_of(dataset), []
    runner.confirm(3, PARAMS, lambda report: steps.append(report.epoch) or Decision(Action.STOP))
    trial, confirmed = runner.run_trial(3, PARAMS, go_on), runner.confirm(3, PARAMS, go_on)
    assert steps == [FIRST_LOOK / math.ceil(len(dataset.search_train) / 16)]
    assert confirmed.outcome.epochs == trial.outcome.epochs == 2
    assert not same(trial, confirmed)
    assert not same(confirmed, runner.confirm(4, PARAMS, go_on))
    assert same(confirmed, runner.confirm(3, PARAMS, go_on))


def test_a_retraining_is_judged_by_the_windows_it_is_given(dataset):
    few = replace(whole(dataset), validation=dataset.validation.subset(np.arange(40)))
    trained = runner_of(dataset).retrain(1, PARAMS, few, 2, go_on)
    again = evaluate(trained.network, few.validation, ValueScale(dataset.value_mean, dataset.value_std))
    assert trained.outcome.best is not None
    assert len(trained.outcome.best.predictions.probabilities) == 40
    assert trained.outcome.best.loss == again.loss


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
    runner.retrain(1, PARAMS, whole(dataset), 9, note)
    steps = [math.ceil(len(windows) / 16) for windows in (dataset.search_train, dataset.train)]
    assert epochs == [FIRST_LOOK / count for count in steps]


def test_a_trial_runs_the_settings_epochs_and_a_retraining_those_it_is_given(dataset):
    runner = runner_of(dataset, max_epochs=2)
    assert runner.run_trial(0, PARAMS, go_on).outcome.epochs == 2
    assert runner.retrain(1, PARAMS, whole(dataset), 3, go_on).outcome.epochs == 3


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
    runner.retrain(1, PARAMS, whole(dataset), 1, go_on)
    assert dataset.test.times_opened == 0


@pytest.mark.parametrize(
    "changed", [{}, {"lstm.bidirectional": True}, {"fusion.method": "attention", "fusion.attention_heads": 4}]
)
def test_the_size_is_known_before_the_training(dataset, changed):
    runner, params = runner_of(dataset), PARAMS | changed
    network = runner.run_trial(0, params, lambda report: Decision(Action.STOP)).network
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert runner.costs.cost(params).size_mb == weights / 1e6
    assert runner.costs.profile(params).multiply_adds > weights / 4
    assert network.config == runner.costs.network_config(params)
    assert (network.config.input_dim, network.config.n_classes, network.config.has_regression) == (11, 2, True)


class TestATrialThatGoesOn:
    """A probe ends after its first epoch; another trial, of another number, may go on from what it leaves."""

    @staticmethod
    def end(action: Action, *, after: float = 1) -> Callable[[ProgressReport], Decision]:
        return lambda report: Decision(action, "a probe") if report.epoch >= after else CONTINUE

    @pytest.fixture
    def probe(self, dataset, tmp_path) -> Path:
        path = tmp_path / "probes" / "3.pt"
        outcome = runner_of(dataset).run_trial(3, PARAMS, self.end(Action.PRUNE), checkpoint=path).outcome
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
        again = runner_of(dataset).run_trial(8, PARAMS, listen("again"), start=read_checkpoint(probe))
        assert same(whole, again)
        assert told["whole"] == told["again"]
        assert [epoch for epoch, _, _ in told["again"]] == [1, 2]
        assert again.outcome.epochs == 2

    @pytest.mark.slow
    def test_it_is_the_same_in_another_process(self, dataset, probe, tmp_path):
        """All that goes over is a file of data, and the checkpoint."""
        data, weights = tmp_path / "data.safetensors", tmp_path / "weights.pt"
        save_trial_data(data, dataset.for_trials())
        script = f"""
import torch
from pathlib import Path
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import read_checkpoint
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
cpu = torch.device("cpu")
settings = TrainingSettings(max_epochs=2)
runner = TrialRunner(load_trial_data(Path({str(data)!r})), settings, seed=0, device=cpu, speeds=calibration_for(cpu))
trained = runner.run_trial(8, {PARAMS!r}, lambda report: CONTINUE, start=read_checkpoint(Path({str(probe)!r})))
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
        runner.run_trial(3, PARAMS, self.end(Action.PRUNE), checkpoint=first)
        stopped = runner.run_trial(
            4, PARAMS, self.end(Action.PRUNE, after=2), checkpoint=second, start=read_checkpoint(first)
        )
        assert stopped.outcome.epochs == 2
        assert same(whole, runner.run_trial(5, PARAMS, go_on, start=read_checkpoint(second)))

    @pytest.mark.parametrize(
        ("action", "after", "epoch"),
        [(Action.PRUNE, 0.01, None), (Action.STOP, 1, 1), (Action.PRUNE, 2, 2), (Action.CONTINUE, 9, 2)],
    )
    def test_its_state_is_kept_at_the_end_of_each_epoch_whatever_ends_it(self, dataset, tmp_path, action, after, epoch):
        path = tmp_path / "checkpoint.pt"
        runner_of(dataset).run_trial(3, PARAMS, self.end(action, after=after), checkpoint=path)
        kept = last_good(path)
        assert (None if kept is None else kept.epoch) == epoch
        delete_checkpoint(path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("how", ["confirm", "retrain"])
    def test_what_comes_after_the_search_goes_on_by_itself_and_is_not_done_twice(self, dataset, tmp_path, how):
        path, runner = tmp_path / "checkpoint.pt", runner_of(dataset)
        epochs: list[float] = []

        def train(on_report: Callable[[ProgressReport], Decision], checkpoint: Path | None) -> TrainedNetwork:
            if how == "confirm":
                return runner.confirm(7, PARAMS, on_report, checkpoint=checkpoint)
            return runner.retrain(7, PARAMS, dataset.folds[0], 2, on_report, checkpoint=checkpoint)

        def note(report: ProgressReport) -> Decision:
            if report.score is not None and not report.again:
                epochs.append(report.epoch)
            return CONTINUE

        whole = train(go_on, None)
        train(self.end(Action.STOP), path)
        assert same(whole, train(note, path))
        assert epochs == [2]
        assert same(whole, train(note, path))  # of a finished one there is nothing left to train
        assert epochs == [2]

    def test_global_randomness_is_left_as_it_was(self, dataset, probe):
        before = torch.get_rng_state()
        runner_of(dataset).run_trial(8, PARAMS, go_on, start=read_checkpoint(probe))
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_checkpoint_of_other_parameters_is_refused_by_name(self, dataset, probe):
        params = {**PARAMS, "cnn.dropout": 0.3, "training.batch_size": 32}
        differs = r"network\.cnn\.dropout is 0\.2 there and 0\.3 here; training\.batch_size is 16 there and 32 here"
        with pytest.raises(CheckpointError, match=rf"3\.pt is of another training: {differs}$"):
            runner_of(dataset).run_trial(8, params, go_on, start=read_checkpoint(probe))


def walk_forward(dataset: Dataset) -> TrialData:
    """Three folds by hand: a quarter, a half and three quarters of the trials' windows, each judged by the next quarter."""
    train, count = dataset.search_train, len(dataset.search_train)
    folds = []
    for share in (1, 2, 3):
        cut = share * count // 4
        values = train.values[:cut].double()
        parts = train.subset(np.arange(cut)), train.subset(np.arange(cut, (share + 1) * count // 4))
        folds.append(Fold(*without_other_rows(*parts), float(values.mean()), float(values.std(correction=0))))
    return TrialData(tuple(folds), dataset.n_classes, dataset.has_regression)


class TestSeveralFolds:
    @pytest.fixture
    def data(self, dataset) -> TrialData:
        return walk_forward(dataset)

    @staticmethod
    def runner(data: TrialData, *, max_epochs: int = 3, **options) -> TrialRunner:
        settings = TrainingSettings(max_epochs=max_epochs)
        return TrialRunner(data, settings, seed=0, device=CPU, speeds=calibration_for(CPU), **options)

    def test_a_trial_trains_a_network_on_each_and_its_score_is_the_mean(self, data):
        trained = self.runner(data, metric="auc").run_trial(0, PARAMS, go_on)
        best = trained.outcome.best
        assert best is not None
        assert len(trained.networks) == 3
        scores, losses, said = [], [], []
        for network, fold in zip(trained.networks, data.folds, strict=True):
            again = evaluate(network, fold.validation, ValueScale(fold.value_mean, fold.value_std))
            said.append(again.predictions.probabilities)
            losses.append(again.loss)
            scores.append(roc_auc_score(fold.validation.labels.numpy(), again.predictions.probabilities[:, 1]))
        assert best.score == pytest.approx(statistics.fmean(scores), rel=1e-12)
        assert best.loss == pytest.approx(statistics.fmean(losses), rel=1e-12)
        np.testing.assert_array_equal(best.predictions.probabilities, np.concatenate(said))

    def test_each_network_has_streams_of_its_own_and_the_first_those_of_a_trial_with_one_fold(self, data):
        trained = self.runner(data, max_epochs=1).run_trial(5, PARAMS, go_on)
        single = self.runner(replace(data, folds=data.folds[:1]), max_epochs=1).run_trial(5, PARAMS, go_on)
        assert same(replace(trained, networks=trained.networks[:1]), single)
        same_windows = replace(data, folds=(data.folds[0],) * 2)
        first, second = self.runner(same_windows, max_epochs=1).run_trial(5, PARAMS, go_on).networks
        assert not torch.equal(first.classify.weight, second.classify.weight)

    def test_a_trial_is_the_same_to_the_bit_whatever_ran_before_it(self, data):
        runner = self.runner(data)
        first = runner.run_trial(3, PARAMS, go_on)
        runner.run_trial(4, PARAMS, go_on)
        assert same(first, runner.run_trial(3, PARAMS, go_on))
        assert not same(first, runner.confirm(3, PARAMS, go_on))

    def test_there_is_no_single_network_to_be_had(self, data):
        trained = self.runner(data).run_trial(0, PARAMS, lambda report: Decision(Action.PRUNE))
        with pytest.raises(ValueError, match="trained on 3 folds"):
            _ = trained.network

    def test_a_decision_ends_all_of_them(self, data):
        decision = Decision(Action.PRUNE, "worse than the median")
        heard: list[float] = []

        def after_the_first(report: ProgressReport) -> Decision:
            heard.append(report.epoch)
            return decision if report.epoch >= 1 else CONTINUE

        outcome = self.runner(data).run_trial(0, PARAMS, after_the_first).outcome
        assert (outcome.decision, outcome.epochs) == (decision, 1)
        assert heard == [FIRST_LOOK / sum(math.ceil(len(fold.train) / 16) for fold in data.folds), 1]

    def test_the_costs_are_those_of_all_folds(self, data):
        together = self.runner(data)
        apart = [self.runner(replace(data, folds=(fold,))) for fold in data.folds]
        for share in (1.0, 0.5):
            expected = sum(runner.costs.cost(PARAMS, train_share=share).seconds for runner in apart)
            assert together.costs.cost(PARAMS, train_share=share).seconds == pytest.approx(expected)
        expected = sum(runner.costs.evaluation_seconds(PARAMS) for runner in apart)
        assert together.costs.evaluation_seconds(PARAMS) == pytest.approx(expected)
        assert (
            together.costs.cost(PARAMS).size_mb == apart[0].costs.cost(PARAMS).size_mb
        )  # of the model that is retrained in the end
        one, three = (memory_mb(together.costs.profile(PARAMS), 16, "adam", "float32", networks=n) for n in (1, 3))
        added = together.costs.cost(PARAMS).memory_mb - apart[0].costs.cost(PARAMS).memory_mb
        assert added == pytest.approx(three - one)

    def test_a_long_epoch_is_one_that_is_long_over_all_folds(self, data):
        """Each alone would be short."""
        runner = self.runner(data)
        one = self.runner(replace(data, folds=data.folds[2:])).costs.cost(PARAMS).seconds / 3
        three = runner.costs.cost(PARAMS).seconds / 3
        settings = TrainingSettings(max_epochs=3, long_epoch_seconds=(one + three) / 2)
        heard: list[float] = []

        def note(report: ProgressReport) -> Decision:
            if report.loss is not None:
                heard.append(report.epoch)
            return CONTINUE

        TrialRunner(data, settings, seed=0, device=CPU, speeds=calibration_for(CPU)).run_trial(0, PARAMS, note)
        assert len(heard) == 3 + 3
        assert heard[:3] == pytest.approx([0.25, 0.5, 0.75], abs=0.1)
        assert heard[3:] == [1, 2, 3]

    def test_a_probe_goes_on_to_the_bit_in_all_folds(self, data, tmp_path):
        path, runner = tmp_path / "probe.pt", self.runner(data)
        end = TestATrialThatGoesOn.end(Action.PRUNE)
        runner.run_trial(3, PARAMS, end, checkpoint=path)
        assert same(runner.run_trial(3, PARAMS, go_on), runner.run_trial(8, PARAMS, go_on, start=read_checkpoint(path)))

    def test_its_data_survive_the_way_to_a_worker(self, data, tmp_path):
        save_trial_data(tmp_path / "data", data)
        there = self.runner(load_trial_data(tmp_path / "data")).run_trial(3, PARAMS, go_on)
        assert same(self.runner(data).run_trial(3, PARAMS, go_on), there)

    def test_a_retraining_has_a_single_network(self, data, dataset):
        trained = self.runner(data).retrain(1, PARAMS, whole(dataset), 1, go_on)
        assert trained.networks == (trained.network,)


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize("windows", [7, 3, 1])
def test_batches_are_halved_until_they_fit_and_take_the_steps_of_whole_ones(dataset, windows):
    """A real network on a device whose memory suffices for so many windows at once, in training and in evaluation."""
    params = {**PARAMS, "cnn.dropout": 0.0, "lstm.dropout": 0.0, "fusion.dropout": 0.0, "training.optimizer": "sgd"}
    train, validation = (each.subset(torch.arange(40)) for each in (dataset.train, dataset.validation))
    fold = Fold(train, validation, dataset.value_mean, dataset.value_std)
    unlimited = runner_of(dataset).retrain(3, params, fold, 2, go_on)

    def refuse(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, Network) and len(args[0]) > windows:
            raise torch.OutOfMemoryError(f"no memory for {len(args[0])} windows")

    with torch.nn.modules.module.register_module_forward_pre_hook(refuse):
        trained = runner_of(dataset).retrain(3, params, fold, 2, go_on)
    for weight, whole_batches in zip(trained.network.parameters(), unlimited.network.parameters(), strict=True):
        torch.testing.assert_close(weight, whole_batches, rtol=1e-3, atol=1e-4)


IN_LITTLE_MEMORY = """
import logging, os, resource, sys
import torch
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

logging.basicConfig(level=logging.WARNING)

def windows(count):
    labels = torch.arange(count) % 2
    series = torch.randn(count * 60, 11, generator=torch.Generator().manual_seed(count))
    return Windows(series, torch.arange(count) * 60, 60, labels, None, list(range(count)), ["all"] * count)

params = {**PARAMS, "cnn.num_filters": 64, "training.batch_size": 512}
fold = Fold(windows(512), windows(32), 0.0, 1.0)
cpu = torch.device("cpu")
runner = TrialRunner(TrialData((fold,), 2, False), TrainingSettings(), seed=0, device=cpu, speeds=calibration_for(cpu))
runner.retrain(0, {**params, "training.batch_size": 4}, Fold(windows(8), windows(4), 0.0, 1.0), 1, lambda _: CONTINUE)
for megabytes in (60, 110, 160, 220):
    if os.fork():
        os.wait()
        continue
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 10**6,) * 2)
    try:
        runner.retrain(1, params, fold, 1, lambda _: CONTINUE)
        told = "trained"
    except MemoryError as error:
        told = f"failed {error}".splitlines()[0]
    os.write(1, f"{megabytes} MB: {told}\\n".encode())
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory as Linux does")
def test_a_training_in_too_little_memory_for_half_batches_is_done_in_smaller_parts():
    """A real limit of memory; below the least of it every level fails."""
    code = f"PARAMS = {PARAMS!r}\n{IN_LITTLE_MEMORY}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=220)
    told = dict(line.split(" MB: ") for line in ended.stdout.splitlines())
    assert ended.returncode == 0, ended.stderr
    assert len(told) == 4, (told, ended.stderr)
    assert "trained" in told.values(), told
    parts = [int(count) for count in re.findall(r"once more with batches in (\d+) parts", ended.stderr)]
    assert max(parts) > 2
