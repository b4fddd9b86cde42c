"""The trial runner: a trial depends only on the seed and its number."""

import math
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from builders.finalists import params
from builders.trainings import CPU, go_on
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.windows import Fold, without_other_rows
from cnn_lstm_hyperopt.errors import CheckpointError, MemoryLimitError
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import ValueScale, evaluate, read_checkpoint
from cnn_lstm_hyperopt.training.cost_model import memory_mb
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

PARAMS, TESTS = params(), Path(__file__).parents[1]


def runner_of(data, *, seed=0, max_epochs=2, **options):
    settings = TrainingSettings(max_epochs=max_epochs)
    return TrialRunner(data, settings, seed=seed, device=CPU, speeds=calibration_for(CPU), **options)


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(train_share=0.5)


@pytest.fixture(scope="module")
def one_fold(dataset):
    return dataset.for_trials()


@pytest.fixture(scope="module")
def three_folds(dataset):
    """A quarter, a half and three quarters of the trials' windows, each validated on the next quarter."""
    train, count, folds = dataset.search_train, len(dataset.search_train), []
    for share in (1, 2, 3):
        cut = share * count // 4
        values = train.values[:cut].double()
        parts = train.subset(np.arange(cut)), train.subset(np.arange(cut, (share + 1) * count // 4))
        folds.append(Fold(*without_other_rows(*parts), float(values.mean()), float(values.std(correction=0))))
    return TrialData(tuple(folds), dataset.n_classes, dataset.has_regression)


@pytest.fixture(scope="module")
def final(dataset):
    """The fold of a retraining."""
    return Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)


@pytest.fixture(params=["one fold", "three folds"])
def data(request, one_fold, three_folds):
    return one_fold if request.param == "one fold" else three_folds


def end(action, *, after=1):
    return lambda report: Decision(action, "a probe") if report.epoch >= after else CONTINUE


def same(first, second):
    alike = set()
    for one, other in zip(first.networks, second.networks, strict=True):
        a, b = one.state_dict(), other.state_dict()
        alike.add(all(torch.equal(a[name], b[name]) for name in a))
    assert len(alike) == 1
    return alike.pop()


def noted(reports, decision=CONTINUE):
    """A callback that records new evaluations."""

    def note(report):
        if report.score is not None and not report.again:
            reports.append(report.epoch)
        return decision

    return note


# ---------------------------------------------------------------------- seeds and streams


def test_a_trial_is_the_same_to_the_bit_whatever_ran_before_it(data):
    runner = runner_of(data)
    first = runner.run_trial(3, PARAMS, go_on)
    other = runner.run_trial(4, PARAMS, go_on)
    torch.rand(5)
    again = runner.run_trial(3, PARAMS, go_on)
    assert same(first, again)
    assert same(first, runner_of(data).run_trial(3, PARAMS, go_on))
    assert (first.outcome.best.loss, first.outcome.best.score) == (again.outcome.best.loss, again.outcome.best.score)
    assert not same(first, other)
    assert not same(first, runner_of(data, seed=1).run_trial(3, PARAMS, go_on))


def test_a_retraining_does_not_repeat_the_trial_of_the_same_number(apple):
    dataset = apple(train_share=1.0)
    runner, final = runner_of(dataset.for_trials()), dataset.folds[0]
    trial, retraining = runner.run_trial(1, PARAMS, go_on), runner.retrain(1, PARAMS, final, 2, go_on)
    assert not same(trial, retraining)
    assert same(retraining, runner.retrain(1, PARAMS, final, 2, go_on))
    assert not same(retraining, runner.retrain(2, PARAMS, final, 2, go_on))
    assert not same(retraining, runner.retrain(1, PARAMS, final, 2, go_on, purpose="another use"))
    assert same(trial, runner.retrain(1, PARAMS, final, 2, go_on, purpose="trial"))  # only the streams differ


def test_a_confirmation_is_a_trial_with_new_streams(data):
    runner, first_reports = runner_of(data), []
    runner.confirm(3, PARAMS, lambda report: first_reports.append(report.epoch) or Decision(Action.STOP))
    trial, confirmed = runner.run_trial(3, PARAMS, go_on), runner.confirm(3, PARAMS, go_on)
    assert first_reports == [FIRST_LOOK / sum(math.ceil(len(fold.train) / 16) for fold in data.folds)]
    assert confirmed.outcome.epochs == trial.outcome.epochs == 2
    assert not same(trial, confirmed)
    assert not same(confirmed, runner.confirm(4, PARAMS, go_on))
    assert same(confirmed, runner.confirm(3, PARAMS, go_on))


def test_global_randomness_and_threads_are_left_as_they_were(data, tmp_path):
    torch.set_num_threads(2)
    before, threads, path = torch.get_rng_state(), set(), tmp_path / "checkpoint.pt"

    def look(report):
        threads.add(torch.get_num_threads())
        return end(Action.STOP)(report)

    runner_of(data).run_trial(0, PARAMS, look, checkpoint=path)
    runner_of(data).run_trial(8, PARAMS, go_on, start=read_checkpoint(path))
    assert threads == {1}
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------- data, epochs, outcome


def test_a_trial_trains_on_its_share_and_a_retraining_on_all_for_its_own_epochs(dataset, one_fold, final):
    """The first report shows how many steps an epoch has."""
    assert len(dataset.search_train) == round(len(dataset.train) / 2)
    runner, first_reports = runner_of(one_fold), []

    def stop(report):
        first_reports.append(report.epoch)
        return Decision(Action.STOP, "enough")

    stopped = runner.run_trial(0, PARAMS, stop).outcome
    assert (stopped.decision, stopped.best) == (Decision(Action.STOP, "enough"), None)
    runner.retrain(1, PARAMS, final, 9, stop)
    steps = [math.ceil(len(windows) / 16) for windows in (dataset.search_train, dataset.train)]
    assert first_reports == [FIRST_LOOK / count for count in steps]
    assert runner.run_trial(0, PARAMS, go_on).outcome.epochs == 2
    assert runner.retrain(1, PARAMS, final, 3, go_on).outcome.epochs == 3
    assert dataset.test.times_opened == 0


def test_a_retraining_is_evaluated_on_the_windows_of_its_fold(dataset, one_fold, three_folds, final):
    few = replace(final, validation=dataset.validation.subset(np.arange(40)))
    for data in (one_fold, three_folds):
        trained = runner_of(data).retrain(1, PARAMS, few, 2, go_on)
        again = evaluate(trained.network, few.validation, ValueScale(dataset.value_mean, dataset.value_std))
        assert trained.networks == (trained.network,)
        assert len(trained.outcome.best.predictions.probabilities) == 40
        assert (trained.outcome.best.loss, trained.outcome.best.mse) == (again.loss, again.mse)
        assert trained.memory_mb is None or trained.memory_mb > 0


def test_a_trial_trains_a_network_on_each_fold_and_its_score_is_the_mean(three_folds):
    trained = runner_of(three_folds, metric="auc").run_trial(0, PARAMS, go_on)
    best, scores, losses, predictions = trained.outcome.best, [], [], []
    for network, fold in zip(trained.networks, three_folds.folds, strict=True):
        again = evaluate(network, fold.validation, ValueScale(fold.value_mean, fold.value_std))
        predictions.append(again.predictions.probabilities)
        losses.append(again.loss)
        scores.append(roc_auc_score(fold.validation.labels.numpy(), again.predictions.probabilities[:, 1]))
    assert best.score == pytest.approx(statistics.fmean(scores), rel=1e-12)
    assert best.loss == pytest.approx(statistics.fmean(losses), rel=1e-12)
    np.testing.assert_array_equal(best.predictions.probabilities, np.concatenate(predictions))
    with pytest.raises(ValueError, match="3"):
        _ = trained.network


def test_each_network_has_its_own_streams_and_the_first_those_of_a_trial_with_one_fold(three_folds):
    def run(*folds):
        return runner_of(replace(three_folds, folds=folds), max_epochs=1).run_trial(5, PARAMS, go_on)

    trained, single = run(*three_folds.folds), run(three_folds.folds[0])
    assert same(replace(trained, networks=trained.networks[:1]), single)
    first, second = run(three_folds.folds[0], three_folds.folds[0]).networks
    assert not torch.equal(first.classify.weight, second.classify.weight)


# ---------------------------------------------------------------------- costs


@pytest.mark.parametrize(
    "changed", [{}, {"lstm.bidirectional": True}, {"fusion.method": "attention", "fusion.attention_heads": 4}]
)
def test_the_size_is_known_before_the_training(one_fold, changed):
    runner, params = runner_of(one_fold), PARAMS | changed
    network = runner.run_trial(0, params, end(Action.STOP, after=0)).network
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert runner.costs.cost(params).size_mb == weights / 1e6
    assert runner.costs.profile(params).multiply_adds > weights / 4
    assert network.config == runner.costs.network_config(params)
    assert (network.config.input_dim, network.config.n_classes, network.config.has_regression) == (11, 2, True)


def test_the_costs_are_those_of_all_folds(three_folds):
    together = runner_of(three_folds).costs
    apart = [runner_of(replace(three_folds, folds=(fold,))).costs for fold in three_folds.folds]
    for share in (1.0, 0.5):
        expected = sum(costs.cost(PARAMS, train_share=share).seconds for costs in apart)
        assert together.cost(PARAMS, train_share=share).seconds == pytest.approx(expected)
    expected = sum(costs.evaluation_seconds(PARAMS) for costs in apart)
    assert together.evaluation_seconds(PARAMS) == pytest.approx(expected)
    assert together.cost(PARAMS).size_mb == apart[0].cost(PARAMS).size_mb  # of one model
    one, three = (memory_mb(together.profile(PARAMS), 16, "adam", "float32", networks=n) for n in (1, 3))
    assert together.cost(PARAMS).memory_mb - apart[0].cost(PARAMS).memory_mb == pytest.approx(three - one)


def test_a_long_epoch_is_one_that_is_long_over_all_folds(three_folds):
    reports, last = [], replace(three_folds, folds=three_folds.folds[2:])
    one, three = (runner_of(data).costs.cost(PARAMS).seconds / 2 for data in (last, three_folds))
    settings = TrainingSettings(max_epochs=3, long_epoch_seconds=(one + three) / 2)
    speeds = calibration_for(CPU)
    TrialRunner(three_folds, settings, seed=0, device=CPU, speeds=speeds).run_trial(0, PARAMS, noted(reports))
    assert reports[:3] == pytest.approx([0.25, 0.5, 0.75], abs=0.1)
    assert reports[3:] == [1, 2, 3]


# ---------------------------------------------------------------------- checkpoints


@pytest.fixture
def probe(data, tmp_path):
    """The checkpoint of a trial that ends after its first epoch."""
    path = tmp_path / "probes" / "3.pt"
    outcome = runner_of(data).run_trial(3, PARAMS, end(Action.PRUNE), checkpoint=path).outcome
    assert (outcome.epochs, outcome.decision) == (1, Decision(Action.PRUNE, "a probe"))
    return path


def test_a_trial_that_resumes_becomes_bit_for_bit_what_the_probe_would_have(data, probe, tmp_path):
    """Under another number, on data that a worker has loaded from a file."""
    save_trial_data(tmp_path / "data", data)
    curves = {"whole": [], "again": []}

    def listen(curve):
        return lambda r: (curve.append((r.epoch, r.score, r.loss)) if r.loss is not None else None) or CONTINUE

    whole = runner_of(data).run_trial(3, PARAMS, listen(curves["whole"]))
    worker = runner_of(load_trial_data(tmp_path / "data"))
    again = worker.run_trial(8, PARAMS, listen(curves["again"]), start=read_checkpoint(probe))
    assert same(whole, again)
    assert curves["whole"] == curves["again"]
    assert [epoch for epoch, _, _ in curves["again"]] == [1, 2]
    assert again.outcome.epochs == 2


@pytest.mark.slow
@pytest.mark.parametrize("data", ["one fold"], indirect=True)
def test_it_is_the_same_in_another_process(data, probe, tmp_path):
    path, weights = tmp_path / "data.safetensors", tmp_path / "weights.pt"
    save_trial_data(path, data)
    script = f"""
import torch
from pathlib import Path
from builders.trainings import CPU, go_on
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data
from cnn_lstm_hyperopt.training import read_checkpoint
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
data, settings = load_trial_data(Path({str(path)!r})), TrainingSettings(max_epochs=2)
runner = TrialRunner(data, settings, seed=0, device=CPU, speeds=calibration_for(CPU))
trained = runner.run_trial(8, {PARAMS!r}, go_on, start=read_checkpoint(Path({str(probe)!r})))
torch.save(trained.network.state_dict(), {str(weights)!r})
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=TESTS)
    there = torch.load(weights, weights_only=True)
    for name, weight in runner_of(data).run_trial(3, PARAMS, go_on).network.state_dict().items():
        assert torch.equal(weight, there[name])


@pytest.mark.parametrize("how", ["confirm", "retrain"])
def test_trainings_after_the_search_resume_by_themselves_and_are_not_repeated(one_fold, tmp_path, how):
    path, runner, epochs = tmp_path / "checkpoint.pt", runner_of(one_fold), []

    def train(on_report, checkpoint):
        if how == "confirm":
            return runner.confirm(7, PARAMS, on_report, checkpoint=checkpoint)
        return runner.retrain(7, PARAMS, one_fold.folds[0], 2, on_report, checkpoint=checkpoint)

    whole = train(go_on, None)
    train(end(Action.STOP), path)
    for _ in range(2):  # the second time nothing is left to train
        assert same(whole, train(noted(epochs), path))
        assert epochs == [2]
    runner.run_trial(3, {**PARAMS, "cnn.dropout": 0.45}, end(Action.STOP), checkpoint=path)  # of another training
    assert same(whole, train(noted(epochs), path))
    assert epochs == [2, 1, 2]


def test_a_checkpoint_of_other_parameters_is_refused_with_their_names(data, probe):
    params = {**PARAMS, "cnn.dropout": 0.45, "training.batch_size": 32}
    with pytest.raises(CheckpointError) as caught:
        runner_of(data).run_trial(8, params, go_on, start=read_checkpoint(probe))
    assert {violation.code for violation in caught.value.violations} == {"other-training"}
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["network.cnn.dropout", "training.batch_size"]


# ---------------------------------------------------------------------- memory


def test_a_training_above_the_memory_limit_fails_as_one_without_memory(one_fold):
    with pytest.raises(MemoryLimitError) as caught:
        runner_of(one_fold, memory_mb=1.0).run_trial(3, PARAMS, go_on)
    assert (caught.value.field, caught.value.code) == ("limits.memory_mb", "over-memory-limit")


@pytest.mark.parametrize("windows", [7, 3, 1])
def test_batches_are_halved_until_they_fit_and_take_the_steps_of_whole_ones(dataset, one_fold, windows):
    """A real network on a device whose memory is enough for this number of windows, in training and in evaluation."""
    params = {**PARAMS, "cnn.dropout": 0.0, "lstm.dropout": 0.0, "fusion.dropout": 0.0, "training.optimizer": "sgd"}
    train, validation = (each.subset(torch.arange(40)) for each in (dataset.train, dataset.validation))
    fold = Fold(train, validation, dataset.value_mean, dataset.value_std)
    unlimited = runner_of(one_fold).retrain(3, params, fold, 2, go_on)

    def refuse(module, args):
        if isinstance(module, Network) and len(args[0]) > windows:
            raise torch.OutOfMemoryError(f"no memory for {len(args[0])} windows")

    with torch.nn.modules.module.register_module_forward_pre_hook(refuse):
        trained = runner_of(one_fold).retrain(3, params, fold, 2, go_on)
    for weight, whole_batches in zip(trained.network.parameters(), unlimited.network.parameters(), strict=True):
        torch.testing.assert_close(weight, whole_batches, rtol=1e-3, atol=1e-4)


IN_LITTLE_MEMORY = """
import os, resource
import torch
from builders.trainings import CPU, go_on
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

parts = []


def note(module, args):
    if isinstance(module, Network) and module.training:
        parts.append(len(args[0]))


torch.nn.modules.module.register_module_forward_pre_hook(note)


def fold_of(*counts):
    folds = []
    for count in counts:
        series = torch.randn(count * 60, 11, generator=torch.Generator().manual_seed(count))
        names = list(range(count)), ["all"] * count
        folds.append(Windows(series, torch.arange(count) * 60, 60, torch.arange(count) % 2, None, *names))
    return Fold(*folds, 0.0, 1.0)


params, fold = {**PARAMS, "cnn.num_filters": 64, "training.batch_size": 512}, fold_of(512, 32)
data = TrialData((fold,), 2, False)
runner = TrialRunner(data, TrainingSettings(), seed=0, device=CPU, speeds=calibration_for(CPU))
runner.retrain(0, {**params, "training.batch_size": 4}, fold_of(8, 4), 1, go_on)
for megabytes in range(0, 240, 20):
    if os.fork():
        os.wait()
        continue
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 10**6,) * 2)
    parts.clear()
    try:
        runner.retrain(1, params, fold, 1, go_on)
        result = "trained"
    except MemoryError:
        result = "failed"
    except BaseException as error:
        result = type(error).__name__
    result += f" {max(parts)} {min(parts)}"
    os.write(1, f"{megabytes} MB: {result}\\n".encode())
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory as Linux does")
def test_a_training_in_too_little_memory_for_half_batches_is_done_in_smaller_parts():
    """Real limits of memory: an error is recognised wherever it occurs, as a lack of memory."""
    command = [sys.executable, "-c", f"PARAMS = {PARAMS!r}\n{IN_LITTLE_MEMORY}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=220, cwd=TESTS)
    results = dict(line.split(" MB: ") for line in ended.stdout.splitlines())
    assert ended.returncode == 0, ended.stderr
    assert len(results) >= 9, (results, ended.stderr)  # a C library may end with a signal instead, now and then
    outcomes, largest, smallest = zip(*(result.split() for result in results.values()), strict=True)
    assert "trained" in outcomes, results
    assert set(outcomes) <= {"trained", "failed"}, (results, ended.stderr)
    assert set(largest) == {"512"}
    assert min(map(int, smallest)) < 256, results
