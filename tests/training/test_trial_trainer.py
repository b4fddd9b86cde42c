"""The trial runner: a trial depends only on the seed and its number."""

import math
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from builders.finalists import params
from builders.trainings import CPU, go_on
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import MemoryLimitError
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import ValueScale, evaluate, read_checkpoint
from cnn_lstm_hyperopt.training.cost_model import memory_mb
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.stopwatch import FIRST_LOOK
from cnn_lstm_hyperopt.training.trial_costs import TrialCosts
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

PARAMS = params()


def runner_of(data, *, seed=0, metric="accuracy", memory_mb=None, **settings):
    settings, options = TrainingSettings(**{"max_epochs": 2, **settings}), {"metric": metric, "memory_mb": memory_mb}
    return TrialRunner(data, settings, seed=seed, device=CPU, speeds=calibration_for(CPU), **options)


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(train_share=0.5)


@pytest.fixture(scope="module")
def one_fold(dataset):
    return dataset.for_trials()


@pytest.fixture(scope="module")
def three_folds(apple):
    return apple(train_share=0.5, cv_folds=3).for_trials()


@pytest.fixture(params=["one_fold", "three_folds"])
def data(request):
    return request.getfixturevalue(request.param)


def end(action, *, after=1):
    return lambda report: Decision(action, "a probe") if report.epoch >= after else CONTINUE


def same(first, second):
    pairs = [(one.state_dict(), other.state_dict()) for one, other in zip(first.networks, second.networks, strict=True)]
    (alike,) = {all(torch.equal(one[name], other[name]) for name in one) for one, other in pairs}
    return alike


def noted(reports):
    """A callback that records the epochs of new evaluations."""
    return lambda report: (CONTINUE, None if report.loss is None or report.again else reports.append(report.epoch))[0]


def test_a_trial_is_the_same_to_the_bit_whatever_ran_before_it_or_draws_between_its_epochs(data):
    runner = runner_of(data)
    first, other = (runner.run_trial(number, PARAMS, go_on) for number in (3, 4))
    again = runner.run_trial(3, PARAMS, lambda report: (CONTINUE, report.loss and torch.rand(5))[0])
    assert same(first, again)
    assert same(first, runner_of(data).run_trial(3, PARAMS, go_on))
    assert (first.outcome.best.loss, first.outcome.best.score) == (again.outcome.best.loss, again.outcome.best.score)
    assert not same(first, other)
    assert not same(first, runner_of(data, seed=1).run_trial(3, PARAMS, go_on))


def test_a_retraining_does_not_repeat_the_trial_of_the_same_number(apple):
    dataset = apple(train_share=1.0)
    runner = runner_of(dataset.for_trials())

    def retrain(number=1, **purpose):
        return runner.retrain(number, PARAMS, dataset.folds[0], 2, go_on, **purpose)

    trial, retraining = runner.run_trial(1, PARAMS, go_on), retrain()
    assert same(retraining, retrain())
    assert not any(same(retraining, other) for other in (trial, retrain(2), retrain(purpose="another use")))
    assert same(trial, retrain(purpose="trial"))  # only the streams differ


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


def test_a_trial_trains_on_its_share_and_a_retraining_on_all_for_its_own_epochs(dataset, one_fold):
    """The first report shows how many steps an epoch has."""
    assert len(dataset.search_train) == round(len(dataset.train) / 2)
    runner, first_reports, enough = runner_of(one_fold), [], Decision(Action.STOP, "enough")

    def stop(report):
        first_reports.append(report.epoch)
        return enough

    stopped = runner.run_trial(0, PARAMS, stop).outcome
    assert (stopped.decision, stopped.best) == (enough, None)
    runner.retrain(1, PARAMS, dataset.folds[0], 9, stop)
    steps = [math.ceil(len(windows) / 16) for windows in (dataset.search_train, dataset.train)]
    assert first_reports == [FIRST_LOOK / count for count in steps]
    assert runner.run_trial(0, PARAMS, go_on).outcome.epochs == 2
    assert runner.retrain(1, PARAMS, dataset.folds[0], 3, go_on).outcome.epochs == 3
    assert dataset.test.times_opened == 0


def test_a_retraining_is_evaluated_on_the_windows_of_its_fold(dataset, data):
    few = replace(dataset.folds[0], validation=dataset.validation.subset(np.arange(40)))
    trained = runner_of(data).retrain(1, PARAMS, few, 2, go_on)
    again = evaluate(trained.network, few.validation, ValueScale(dataset.value_mean, dataset.value_std))
    assert trained.networks == (trained.network,)
    assert len(trained.outcome.best.predictions.probabilities) == 40
    assert (trained.outcome.best.loss, trained.outcome.best.mse) == (again.loss, again.mse)
    assert trained.memory_mb is None or trained.memory_mb > 0


def test_a_trial_trains_a_network_on_each_fold_and_its_score_is_the_mean(three_folds):
    runner = runner_of(three_folds, metric="auc")
    trained = runner.run_trial(0, PARAMS, go_on)
    folds, best = list(zip(trained.networks, three_folds.folds, strict=True)), trained.outcome.best
    again = [evaluate(net, fold.validation, ValueScale(fold.value_mean, fold.value_std)) for net, fold in folds]
    probabilities = [each.predictions.probabilities for each in again]
    scores = [roc_auc_score(f.validation.labels, p[:, 1]) for (_, f), p in zip(folds, probabilities, strict=True)]
    assert best.score == pytest.approx(statistics.fmean(scores), rel=1e-12)
    assert best.loss == pytest.approx(statistics.fmean(each.loss for each in again), rel=1e-12)
    np.testing.assert_array_equal(best.predictions.probabilities, np.concatenate(probabilities))
    with pytest.raises(ValueError, match="3"):
        _ = trained.network
    assert same(trained, runner_of(three_folds).run_trial(0, PARAMS, go_on))  # the best epoch follows the loss
    assert trained.networks[0].config == runner.costs.network_config(PARAMS)
    assert runner.costs.cost(PARAMS).size_mb == runner.costs.profile(PARAMS).size_mb


def test_epochs_are_evaluated_on_some_windows_and_the_forecast_knows_it(one_fold):
    (fold,) = one_fold.folds
    few, many = fold.train.subset(np.arange(40)), fold.validation.subset(np.arange(1200) % len(fold.validation))
    whole = replace(one_fold, folds=(replace(fold, train=few, validation=many),))
    part = replace(one_fold, folds=(replace(fold, train=few, validation=many.subset(np.arange(500))),))
    whole, part = runner_of(whole, max_epochs=1), runner_of(part)
    last, each = (runner.costs.evaluation_seconds(PARAMS) for runner in (whole, part))
    assert whole.costs.validation_seconds(PARAMS, 3) == pytest.approx(3 * each + last)
    assert part.costs.validation_seconds(PARAMS, 3) == pytest.approx(3 * each)
    assert len(whole.run_trial(0, PARAMS, go_on).outcome.best.predictions.probabilities) == 1200
    earlier = TrialCosts(whole.data, TrainingSettings(max_epochs=1), calibration_for(CPU), subset=False)
    assert earlier.validation_seconds(PARAMS, 3) == pytest.approx(3 * last)


def test_each_network_has_its_own_streams_and_the_first_those_of_a_trial_with_one_fold(three_folds):
    def run(*folds):
        return runner_of(replace(three_folds, folds=folds), max_epochs=1).run_trial(5, PARAMS, go_on)

    trained, single = run(*three_folds.folds), run(three_folds.folds[0])
    assert same(replace(trained, networks=trained.networks[:1]), single)
    first, second = run(three_folds.folds[0], three_folds.folds[0]).networks
    assert not torch.equal(first.lstm.layers[0].weight_ih_l0, second.lstm.layers[0].weight_ih_l0)


def test_the_costs_are_those_of_all_folds(three_folds):
    together, last = runner_of(three_folds).costs, len(three_folds.folds[2].train)
    apart = [runner_of(replace(three_folds, folds=(fold,))).costs for fold in three_folds.folds]
    for share in (1.0, 0.5):
        expected = sum(costs.cost(PARAMS, train_share=share).seconds for costs in apart)
        assert together.cost(PARAMS, train_share=share).seconds == pytest.approx(expected)
    expected = sum(costs.evaluation_seconds(PARAMS) for costs in apart)
    assert together.evaluation_seconds(PARAMS) == pytest.approx(expected)
    assert together.cost(PARAMS).size_mb == apart[0].cost(PARAMS).size_mb  # of one model
    epoch = apart[2].cost(PARAMS).seconds / 2  # of two epochs
    within = [apart[2].epochs_within(PARAMS, last, seconds, 9) for seconds in (0, 3.5 * epoch, 99 * epoch, None)]
    assert within == [1, 3, 9, 9]
    one, three = (memory_mb(together.profile(PARAMS), 16, "adam", "float32", networks=n) for n in (1, 3))
    assert together.cost(PARAMS).memory_mb - apart[0].cost(PARAMS).memory_mb == pytest.approx(three - one)


def test_a_long_epoch_is_one_that_is_long_over_all_folds(three_folds):
    reports, last = [], replace(three_folds, folds=three_folds.folds[2:])
    one, three = (runner_of(data).costs.cost(PARAMS).seconds / 2 for data in (last, three_folds))
    runner = runner_of(three_folds, max_epochs=3, long_epoch_seconds=(one + three) / 2)
    runner.run_trial(0, PARAMS, noted(reports))
    assert reports[:3] == pytest.approx([0.25, 0.5, 0.75], abs=0.1)
    assert reports[3:] == [1, 2, 3]


def test_a_trial_that_resumes_becomes_bit_for_bit_what_the_probe_would_have(data, tmp_path):
    """Under another number, on data that a worker has loaded from a file."""
    path, probe, epochs = tmp_path / "data", tmp_path / "probes" / "3.pt", []
    save_trial_data(path, data)
    stopped = runner_of(data).run_trial(3, PARAMS, end(Action.PRUNE), checkpoint=probe).outcome
    assert (stopped.epochs, stopped.decision) == (1, Decision(Action.PRUNE, "a probe"))
    again = runner_of(load_trial_data(path)).run_trial(8, PARAMS, noted(epochs), start=read_checkpoint(probe))
    assert same(again, runner_of(data).run_trial(3, PARAMS, go_on))
    assert (epochs, again.outcome.epochs) == ([2], 2)


def weights_elsewhere(data, probe):
    trained = runner_of(load_trial_data(data)).run_trial(8, PARAMS, go_on, start=read_checkpoint(probe))
    return {name: weight.numpy() for name, weight in trained.network.state_dict().items()}


@pytest.mark.slow
def test_it_is_the_same_in_another_process(one_fold, tmp_path):
    path, probe = tmp_path / "data.safetensors", tmp_path / "3.pt"
    save_trial_data(path, one_fold)
    runner_of(one_fold).run_trial(3, PARAMS, end(Action.PRUNE), checkpoint=probe)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(weights_elsewhere, path, probe).result()
    for name, weight in runner_of(one_fold).run_trial(3, PARAMS, go_on).network.state_dict().items():
        np.testing.assert_array_equal(weight.numpy(), there[name])


@pytest.mark.parametrize("how", ["confirm", "retrain"])
def test_trainings_after_the_search_resume_by_themselves_and_are_not_repeated(one_fold, tmp_path, how):
    path, runner, epochs = tmp_path / "checkpoint.pt", runner_of(one_fold), []
    retrain = partial(runner.retrain, 7, PARAMS, one_fold.folds[0], 2)
    train = retrain if how == "retrain" else partial(runner.confirm, 7, PARAMS)
    whole, _ = train(go_on), train(end(Action.STOP), checkpoint=path)
    for _ in range(2):  # the second time nothing is left to train
        assert same(whole, train(noted(epochs), checkpoint=path))
        assert epochs == [2]
    runner.run_trial(3, {**PARAMS, "cnn.dropout": 0.45}, end(Action.STOP), checkpoint=path)  # of another training
    assert same(whole, train(noted(epochs), checkpoint=path))
    assert epochs == [2, 1, 2]


def test_a_training_above_the_memory_limit_fails_as_one_without_memory(one_fold):
    with pytest.raises(KeyError):  # another error is not retried
        runner_of(one_fold).run_trial(3, PARAMS, {}.__getitem__)
    with pytest.raises(MemoryLimitError) as caught:
        runner_of(one_fold, memory_mb=1.0).run_trial(3, PARAMS, go_on)
    assert (caught.value.field, caught.value.code) == ("limits.memory_mb", "over-memory-limit")


@pytest.mark.parametrize("windows", [7, pytest.param(1, marks=pytest.mark.slow), 0])
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
        if not windows:
            with pytest.raises(MemoryError):
                runner_of(one_fold).retrain(3, params, fold, 2, go_on)
            return
        trained = runner_of(one_fold).retrain(3, params, fold, 2, go_on)
    for weight, whole_batches in zip(trained.network.parameters(), unlimited.network.parameters(), strict=True):
        torch.testing.assert_close(weight, whole_batches, rtol=1e-3, atol=1e-4)
