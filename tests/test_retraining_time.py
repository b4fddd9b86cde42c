"""limits.retrain_seconds: equal parts, as many epochs as fit in, and what becomes of a finalist whose time is up."""

import math
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt import retraining
from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.retraining import TIME_IS_UP, Finalist, retrain
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale, evaluate
from cnn_lstm_hyperopt.trial_runner import TrialRunner

CPU = torch.device("cpu")
SPACE, _ = parse_space(
    {
        "cnn": {"num_filters": 4, "attention": False},
        "lstm": {"hidden_dim": 8, "num_layers": 1},
        "fusion": {"method": "gated", "dim": 8},
        "training": {"batch_size": 16, "learning_rate": 0.01, "optimizer": "adam"},
    }
)


def configuration(number):
    return random_configuration(SPACE, 0, number)


FINALISTS = [Finalist(rank, 10 * rank, configuration(rank)) for rank in (1, 2, 3)]


@pytest.fixture(scope="module")
def dataset(apple) -> Dataset:
    return apple(end=date(2007, 12, 31), lookback=10, train_share=1.0)


@pytest.fixture(scope="module")
def runner(dataset) -> TrialRunner:
    return TrialRunner(
        dataset.for_trials(), TrainingSettings(max_epochs=1), seed=0, device=CPU, speeds=calibration_for(CPU)
    )


@pytest.fixture
def clock(monkeypatch):
    """Stands still until a test moves it; no report depends on how fast this machine is."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(retraining, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("cnn_lstm_hyperopt.training.loop.LOOK_SECONDS", math.inf)
    return clock


def go_on(finalist, epochs):
    return lambda report: CONTINUE


def retrained(runner, dataset, *, seconds_left=lambda: None, on_report=go_on, full_epochs=3, finalists=FINALISTS):
    return retrain(
        finalists,
        runner,
        dataset,
        full_epochs=full_epochs,
        max_gap_days=10.0,
        on_report=on_report,
        seconds_left=seconds_left,
    )


def ticking(clock, seconds):
    """A listener under which every report takes so long."""

    def on_report(finalist, epochs):
        def decide(report):
            clock.now += seconds
            return CONTINUE

        return decide

    return on_report


# ---------------------------------------------------------------------- parts of the time


class Fake:
    """A runner that fails every finalist at once, after the time that it was told to spend on it."""

    def __init__(self, clock, spend):
        self.clock, self.spend, self.budgets = clock, list(spend), []

    def epochs_within(self, params, windows, seconds, most):
        self.budgets.append(seconds)
        return most

    def retrain(self, rank, params, windows, epochs, on_report):
        self.clock.now += self.spend.pop(0)
        raise NonFiniteLossError("the loss became nan in epoch 1")


@pytest.mark.parametrize(
    ("spend", "budgets"),
    [
        ((30, 30, 30), [30, 30, 30]),  # each takes its part
        ((0, 0, 0), [30, 45, 90]),  # what one leaves is the others'
        ((60, 30, 0), [30, 15, 0]),  # and what one takes beyond its part is theirs no more
        ((90, 0, 0), [30, 0, 0]),
    ],
)
def test_each_finalist_gets_an_equal_part_of_what_is_left(clock, dataset, spend, budgets):
    fake = Fake(clock, spend)
    retrained(fake, dataset, seconds_left=lambda: max(0.0, 90.0 - clock.now))
    assert fake.budgets == budgets


def test_without_a_limit_no_part_is_counted(clock, dataset):
    fake = Fake(clock, (1, 1, 1))
    retrained(fake, dataset)
    assert fake.budgets == [None, None, None]


# ---------------------------------------------------------------------- epochs


@pytest.fixture(scope="module")
def epoch_seconds(runner, dataset):
    """Of an epoch and its evaluation, by the cost of a trial that has one epoch on the same windows."""
    params = FINALISTS[0].params
    return runner.cost(params).seconds + runner.evaluation_seconds(params)


@given(share=st.floats(0, 300), most=st.integers(1, 200))
def test_as_many_epochs_as_fit_in_are_run_but_one_at_least(runner, dataset, epoch_seconds, share, most):
    found = runner.epochs_within(FINALISTS[0].params, len(dataset.train), share * epoch_seconds, most)
    assert 1 <= found <= most
    assert found == 1 or found * epoch_seconds <= share * epoch_seconds * (1 + 1e-9)
    assert found == most or (found + 1) * epoch_seconds > share * epoch_seconds * (1 - 1e-9)


def test_without_a_limit_all_epochs_are_run(runner, dataset):
    assert runner.epochs_within(FINALISTS[0].params, len(dataset.train), None, 123) == 123


def test_twice_the_windows_leave_half_of_the_epochs(runner, epoch_seconds):
    """But for what evaluations take, which do not grow."""
    params = FINALISTS[0].params
    evaluation = runner.evaluation_seconds(params)
    for windows in (160, 320, 640):
        epoch = windows // 16 * runner.cost(params).seconds / math.ceil(len(runner.data.folds[0].train) / 16)
        assert runner.epochs_within(params, windows, 50.5 * (epoch + evaluation), 1000) == 50


def test_the_schedule_is_told_of_the_epochs_that_fit_in(clock, runner, dataset, epoch_seconds):
    """Fewer epochs, and the learning rate comes to its end: the training is that of a run of so many epochs, to the bit."""
    heard = []

    def on_report(finalist, epochs):
        heard.append(epochs)
        return lambda report: CONTINUE

    short = retrained(
        runner,
        dataset,
        seconds_left=lambda: 2.5 * epoch_seconds,
        on_report=on_report,
        full_epochs=50,
        finalists=FINALISTS[:1],
    ).done
    plain = retrained(runner, dataset, full_epochs=2, finalists=FINALISTS[:1]).done
    assert heard == [2]
    assert (short[0].epochs, short[0].outcome.epochs, short[0].cut_short) == (2, 2, False)
    first, second = (each[0].model.network.state_dict() for each in (short, plain))
    assert all(torch.equal(first[name], second[name]) for name in first)


# ---------------------------------------------------------------------- time is up


def test_one_that_is_cut_short_leaves_its_best_epoch_so_far(clock, runner, dataset):
    """Reports after the first steps and after each epoch, 400 s apart by our clock: the third is beyond 1,000 s."""
    work = retrained(
        runner,
        dataset,
        seconds_left=lambda: 1000.0,
        on_report=ticking(clock, 400.0),
        finalists=FINALISTS[:1],
        full_epochs=9,
    )
    (done,) = work.done
    assert (work.failures, work.ended) == ([], None)
    assert done.cut_short
    assert done.epochs == 9
    assert done.outcome.decision == Decision(Action.STOP, TIME_IS_UP)
    assert 1 <= done.outcome.best_epoch <= done.outcome.epochs == 2
    scale = ValueScale(dataset.value_mean, dataset.value_std)
    assert done.outcome.best is not None
    again = evaluate(done.model.network, dataset.validation, scale)
    assert again.loss == pytest.approx(done.outcome.best.loss, rel=1e-6)


def test_the_others_go_on_after_one_was_cut_short(clock, runner, dataset):
    def on_report(finalist, epochs):
        return ticking(clock, 40.0 if finalist.rank == 1 else 0.0)(finalist, epochs)

    work = retrained(runner, dataset, seconds_left=lambda: 300.0 - clock.now, on_report=on_report)
    assert [(each.finalist.rank, each.cut_short) for each in work.done] == [(1, True), (2, False), (3, False)]
    assert [each.outcome.epochs for each in work.done[1:]] == [3, 3]


def test_one_that_ends_by_itself_as_its_time_ends_was_not_cut_short(clock, runner, dataset):
    """At the last report there is nothing left to cut."""
    work = retrained(
        runner,
        dataset,
        seconds_left=lambda: 10.0,
        on_report=ticking(clock, 4.0),
        finalists=FINALISTS[:1],
        full_epochs=1,
    )
    assert [(each.cut_short, each.outcome.epochs) for each in work.done] == [(False, 1.0)]


def test_one_without_a_whole_epoch_is_a_failure_and_the_others_go_on(clock, runner, dataset):
    def on_report(finalist, epochs):
        return ticking(clock, 200.0 if finalist.rank == 2 else 0.0)(finalist, epochs)

    work = retrained(runner, dataset, seconds_left=lambda: 300.0 - clock.now, on_report=on_report)
    assert [each.finalist.rank for each in work.done] == [1, 3]
    assert work.failures == [(FINALISTS[1], "no epoch was finished in its part of limits.retrain_seconds (150 s)")]
    assert work.ended is None


@pytest.mark.parametrize("time_is_up", [False, True])
def test_ctrl_c_ends_all_also_when_the_time_is_up(clock, runner, dataset, time_is_up):
    decision = Decision(Action.STOP, "Ctrl-C")

    def on_report(finalist, epochs):
        def decide(report):
            if finalist.rank == 1:
                return CONTINUE
            clock.now += 1000.0 * time_is_up
            return decision

        return decide

    work = retrained(runner, dataset, seconds_left=lambda: 10.0, on_report=on_report, full_epochs=1)
    assert [each.finalist.rank for each in work.done] == [1]
    assert (work.failures, work.ended) == ([], decision)


def test_the_test_period_stays_closed_whatever_happens(clock, runner, dataset):
    closed = replace(dataset, test=type(dataset.test)(dataset.test.open()))
    retrained(runner, closed, seconds_left=lambda: 0.0, on_report=ticking(clock, 1.0), full_epochs=1)
    assert closed.test.times_opened == 0
