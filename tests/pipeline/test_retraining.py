"""Retraining: finalists trained anew with every seed, within a time limit, resumed after a kill."""

import math
from collections import Counter
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import loaders
from builders.finalists import CTRL_C, Killed, confirmation, go_on, params, runner_of
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.pipeline import confirmation as confirmation_module
from cnn_lstm_hyperopt.pipeline import retraining
from cnn_lstm_hyperopt.pipeline.calibration import held_out
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP
from cnn_lstm_hyperopt.pipeline.ensemble_selection import blend
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, SeedState, retrain
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale, evaluate

FINALISTS = [
    Finalist(1, 17, params(17), confirmation(2, 17, 0.61, 0.6, 0.59)),
    Finalist(2, 4, params(4) | {"lstm.bidirectional": True}),
    Finalist(3, 9, params(9) | {"fusion.method": "bilinear"}),
]
FACTS = {"full_epochs": 2, "max_gap_days": 10.0, "known": {}, "on_seed_state": go_on}
NAN = "the loss became nan in epoch 1"


@pytest.fixture(scope="module")
def prepared(apple) -> Dataset:
    return apple(end=date(2007, 12, 31), lookback=10, horizon=2, train_share=1.0)


@pytest.fixture
def dataset(prepared) -> Dataset:
    """A dataset whose test period was never opened, also not by the test."""
    dataset = replace(prepared, test=LockedPeriod(prepared.test.open()))
    yield dataset
    assert dataset.test.times_opened == 0


@pytest.fixture
def train(dataset, tmp_path):
    def train(finalists=FINALISTS, on_report=go_on, runner=None, **facts):
        facts = {**FACTS, "on_report": on_report, "checkpoints": tmp_path, **facts}
        return retrain(finalists, runner or runner_of(dataset), dataset, **facts)

    return train


@pytest.fixture(scope="module")
def models(prepared, tmp_path_factory) -> list[Retrained]:
    """Three finalists with two seeds each."""
    facts = {**FACTS, "seeds": 2, "on_report": go_on, "checkpoints": tmp_path_factory.mktemp("checkpoints")}
    work = retrain(FINALISTS, runner_of(prepared), prepared, **facts)
    assert (work.failures, work.ended) == ([], None)
    return work.done


def weights_of(network):
    return torch.cat([weight.flatten() for weight in network.state_dict().values()])


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.runs, other.runs, strict=True):
            assert torch.equal(weights_of(a.model.network), weights_of(b.model.network))
            assert (a.seed, a.epochs, a.loss) == (b.seed, b.epochs, b.loss)


def test_finalists_are_retrained_in_order_with_every_seed(models, prepared):
    assert [each.finalist for each in models] == FINALISTS
    for each in models:
        runs = [(run.seed, run.epochs, run.outcome.epochs, run.cut_short) for run in each.runs]
        assert (runs, each.failures) == ([(1, 2, 2.0, False), (2, 2, 2.0, False)], ())
        assert len({run.loss for run in each.runs}) == 2
        assert each.kept == min(each.runs, key=lambda run: run.loss)
        for run in each.runs:
            about = run.model.description
            assert (about.params, about.scaler) == (each.finalist.params, prepared.scaler)
            assert (about.lookback, about.horizon, about.max_gap_days, about.target) == (10, 2, 10.0, "volatility")
            assert (about.value_scale.mean, about.value_scale.std) == (prepared.value_mean, prepared.value_std)
            assert run.model.network.config == about.network_config()


def test_its_loss_is_that_of_the_saved_network_on_validation(models, prepared):
    scale = ValueScale(prepared.value_mean, prepared.value_std)
    for run in (run for each in models for run in each.runs):
        again = evaluate(run.model.network, prepared.validation, scale)
        assert (run.loss, run.outcome.best.score) == (pytest.approx(again.loss, rel=1e-6), again.accuracy)


def test_a_seed_is_a_training_by_the_runner_on_all_training_windows(models, dataset):
    fold = Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)
    finalist = FINALISTS[0]
    for run in models[0].runs:
        number = SEEDS_APART * finalist.trial_number + run.seed
        trained = runner_of(dataset).retrain(number, finalist.params, fold, 2, go_on())
        assert torch.equal(weights_of(trained.network), weights_of(run.model.network))


def test_with_folds_of_loaders_each_seed_trains_on_another_fold_and_unseen_windows_calibrate(tmp_path):
    """Seed 4 of three folds is on the first fold again. A window is predicted by the networks that did not see it."""
    dataset = dataset_from_loaders(loaders.three(), None, cv_folds=3)
    finalist = Finalist(1, 5, params(5) | {"highway.enabled": False})
    facts = {**FACTS, "seeds": 4, "on_report": go_on, "checkpoints": tmp_path}
    done = retrain([finalist], runner_of(dataset), dataset, **facts).done
    for run, source in zip(done[0].runs, (*dataset.folds, dataset.folds[0]), strict=True):
        fold = Fold(source.train, source.validation, dataset.value_mean, dataset.value_std)
        trained = runner_of(dataset).retrain(SEEDS_APART * 5 + run.seed, finalist.params, fold, 2, go_on())
        assert torch.equal(weights_of(trained.network), weights_of(run.model.network))
        assert (run.fold, run.outcome.best.loss) == ((run.seed - 1) % 3, trained.outcome.best.loss)
    known = held_out(done, dataset)
    assert sorted(known.windows.dates) == list(range(len(dataset.train) + len(dataset.validation)))
    first, *others = ([run.model for run in done[0].runs if run.fold == place] for place in range(3))
    assert [len(each) for each in (first, *others)] == [2, 1, 1]
    expected = []
    for models, fold in zip((first, *others), dataset.folds, strict=True):
        expected.append(np.mean([each.predict_windows(fold.validation).probabilities for each in models], axis=0))
    for said in known.of_runs[0]:
        np.testing.assert_allclose(said.probabilities, np.concatenate(expected), rtol=1e-6)
    facts = {"selected_by": "log_loss", "alike": True}
    found = blend(done, known.of_runs, known.windows, "accuracy", **facts)
    assert [each.weight for each in found.ensemble.members] == pytest.approx([0.25] * 4)


class Log:
    """Listener of a run that counts epochs and stores seed states; at an epoch it kills or, with a decision, stops the run.

    Attributes:
        states: seed states by trial and seed.
        trained, again: (rank, seed, epoch) that were trained, and that were reported again.
    """

    def __init__(self, end_at=None, decision=None):
        self.end_at, self.decision, self.states, self.trained, self.again = end_at, decision, {}, Counter(), []

    def on_report(self, finalist, seed, epochs):
        def decide(report):
            moment = (finalist.rank, seed, report.epoch)
            if report.score is not None and report.again:
                self.again.append(moment)
            elif report.score is not None:
                self.trained[moment] += 1
                if moment == self.end_at:
                    self.end_at = None
                    if self.decision is None:
                        raise Killed
                    return self.decision
            return CONTINUE

        return decide

    def on_seed_state(self, finalist, seed, state):
        self.states[finalist.trial_number, seed] = state

    def run(self, train, finalists=FINALISTS[:2], **facts):
        known = {"known": dict(self.states), "on_seed_state": self.on_seed_state}
        return train(finalists, self.on_report, **{"seeds": 2, **known, **facts})


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(
    ("end_at", "decision"), [((1, 1, 1), None), ((2, 1, 1), CTRL_C), ((1, 2, 2), None), ((2, 2, 2), None)]
)
def test_an_ended_retraining_is_resumed_to_the_same_models(models, train, end_at, decision):
    """A killed one trains one epoch twice, a stopped one none."""
    log = Log(end_at, decision)
    if decision is None:
        with pytest.raises(Killed):
            log.run(train)
    else:
        cut = log.run(train)
        assert ([each.finalist for each in cut.done], cut.failures, cut.ended) == (FINALISTS[:1], [], decision)
    work = log.run(train)
    assert (work.failures, work.ended) == ([], None)
    assert_same(work.done, models[:2])
    everything = [(rank, seed, epoch) for rank in (1, 2) for seed in (1, 2) for epoch in (1, 2)]
    twice = decision is None
    assert log.trained == {moment: 1 + (twice and moment == end_at) for moment in everything}
    assert log.again == everything[: everything.index(end_at) + (not twice)]
    trained = log.trained.copy()
    assert_same(log.run(train).done, models[:2])  # without training
    assert log.trained == trained


def test_a_checkpoint_of_another_number_of_epochs_is_not_used(models, train):
    log = Log((1, 1, 2))
    with pytest.raises(Killed):
        log.run(train, full_epochs=3)
    assert_same(log.run(train, known={}).done, models[:2])
    assert log.again == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    clock = SimpleNamespace(now=0.0)
    for module in (confirmation_module, retraining):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("cnn_lstm_hyperopt.training.stopwatch.LOOK_SECONDS", math.inf)
    return clock


@pytest.mark.parametrize(
    ("seeds", "spend", "budgets"),
    [
        (1, (30, 30, 30), [30, 30, 30]),
        (1, (0, 0, 0), [30, 45, 90]),  # the others get what one leaves
        (1, (60, 30, 0), [30, 15, 0]),  # and lose what one takes beyond its part
        (2, (0,) * 6, [15, 18, 22.5, 30, 45, 90]),
        (2, (40, 10, 10, 10, 10, 10), [15, 10, 10, 10, 10, 10]),
    ],
)
@pytest.mark.parametrize("limited", [True, False])
def test_each_training_gets_an_equal_part_of_the_time_left(clock, train, seeds, spend, budgets, limited):
    """Each training fails after the given seconds; without a limit there are no parts."""
    spending, found = iter(spend), []

    def epochs_within(configuration, windows, seconds, limit):
        found.append(seconds)
        return limit

    def fail(*_, **__):
        clock.now += next(spending)
        raise NonFiniteLossError(NAN)

    runner = SimpleNamespace(costs=SimpleNamespace(epochs_within=epochs_within), retrain=fail)
    train(runner=runner, seeds=seeds, **({"seconds_left": lambda: max(0.0, 90.0 - clock.now)} if limited else {}))
    assert found == (budgets if limited else [None] * len(budgets))


@given(share=st.floats(0, 300), limit=st.integers(1, 200))
def test_as_many_epochs_as_fit_are_run_but_at_least_one(prepared, share, limit):
    costs = runner_of(prepared).costs
    configuration, windows = FINALISTS[0].params, len(prepared.train)
    seconds = costs.cost(configuration).seconds + costs.evaluation_seconds(configuration)  # of an epoch
    found = costs.epochs_within(configuration, windows, share * seconds, limit)
    assert 1 <= found <= limit
    assert found == 1 or found <= share * (1 + 1e-9)
    assert found == limit or found + 1 > share * (1 - 1e-9)
    assert costs.epochs_within(configuration, windows, None, limit) == limit


def test_the_learning_rate_schedule_ends_with_the_epochs_that_fit(clock, train, models, dataset):
    """The training is that of a run of two epochs, to the bit."""
    costs, configuration = runner_of(dataset).costs, FINALISTS[0].params
    seconds = costs.cost(configuration).seconds + costs.evaluation_seconds(configuration)
    short = train(FINALISTS[:1], full_epochs=50, seconds_left=lambda: 2.5 * seconds).done[0].kept
    assert (short.epochs, short.outcome.epochs, short.cut_short) == (2, 2, False)
    assert torch.equal(weights_of(short.model.network), weights_of(models[0].runs[0].model.network))


def ticking(clock, *ticks):
    """A listener under which every report takes ``ticks[rank - 1]`` seconds."""

    def on_report(finalist, seed, epochs):
        def decide(report):
            clock.now += ticks[finalist.rank - 1]
            return CONTINUE

        return decide

    return on_report


def test_a_training_that_is_cut_short_leaves_its_best_epoch_also_to_the_next_run(clock, train, dataset):
    """Reports after the first steps and after each epoch; the third is beyond 1,000 s."""
    log = Log()
    facts = {"full_epochs": 9, "seconds_left": lambda: 1000.0, "on_seed_state": log.on_seed_state}
    cut = train(FINALISTS[:1], ticking(clock, 400.0), **facts).done[0].kept
    assert (cut.cut_short, cut.epochs, cut.outcome.decision) == (True, 9, Decision(Action.STOP, TIME_IS_UP))
    assert 1 <= cut.outcome.best_epoch <= cut.outcome.epochs == 2
    again = evaluate(cut.model.network, dataset.validation, ValueScale(dataset.value_mean, dataset.value_std))
    assert again.loss == pytest.approx(cut.loss, rel=1e-6)
    assert log.states == {(17, 1): SeedState(9, cut_short=True)}
    for _ in range(2):
        heard = []
        listen = lambda *_, h=heard: lambda report: h.append(report.again) or CONTINUE  # noqa: E731
        resumed = train(FINALISTS[:1], listen, known=log.states, **facts)
        (had,) = resumed.done[0].runs
        assert (heard, had.cut_short, had.epochs, had.loss) == ([True, True], True, 9, cut.loss)
        assert (had.outcome.best_epoch, had.outcome.epochs) == (cut.outcome.best_epoch, 2.0)
        assert torch.equal(weights_of(had.model.network), weights_of(cut.model.network))


@pytest.mark.parametrize(
    ("ticks", "cut", "failed"),
    [
        ((40.0, 0.0, 0.0), [True, False, False], []),
        ((0.0, 200.0, 0.0), [False, False], [2]),  # without a whole epoch
    ],
)
def test_the_others_continue_after_one_whose_time_is_up(clock, train, ticks, cut, failed):
    log, facts = Log(), {"full_epochs": 3, "seconds_left": lambda: 300.0 - clock.now}
    work = train(FINALISTS, ticking(clock, *ticks), on_seed_state=log.on_seed_state, **facts)
    assert ([each.kept.cut_short for each in work.done], work.ended) == (cut, None)
    assert [finalist.rank for finalist, _ in work.failures] == failed
    again = train(FINALISTS, ticking(clock, *ticks), known=log.states, **facts)
    assert again.failures == work.failures  # and is not tried again
