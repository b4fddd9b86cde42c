"""limits.retrain_seconds: equal parts for all trainings that are left, as many epochs as fit in, and what becomes of one whose
time is up."""

import contextlib
import math
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.finalists import CTRL_C, go_on, params, runner_of
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.pipeline import confirmation, retraining
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Given, retrain
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale, evaluate
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

FINALISTS = [Finalist(rank, 10 * rank, params(rank)) for rank in (1, 2, 3)]


@pytest.fixture(scope="module")
def dataset(apple) -> Dataset:
    return apple(end=date(2007, 12, 31), lookback=10, train_share=1.0)


@pytest.fixture(scope="module")
def runner(dataset) -> TrialRunner:
    return runner_of(dataset)


@pytest.fixture
def clock(monkeypatch):
    """Stands still until a test moves it; no report depends on how fast this machine is."""
    clock = SimpleNamespace(now=0.0)
    for module in (confirmation, retraining):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
    return clock


def retrained(runner, dataset, *, full_epochs=3, finalists=FINALISTS, **facts):
    facts = {"max_gap_days": 10.0, "on_report": go_on, "known": {}, "on_epochs_set": go_on, **facts}
    with contextlib.ExitStack() as stack:
        if "checkpoints" not in facts:
            facts["checkpoints"] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return retrain(finalists, runner, dataset, full_epochs=full_epochs, **facts)


def ticking(clock, seconds):
    """A listener under which every report takes so long."""

    def on_report(finalist, seed, epochs):
        def decide(report):
            clock.now += seconds
            return CONTINUE

        return decide

    return on_report


# ---------------------------------------------------------------------- parts of the time


class Fake:
    """A runner that fails every training at once, after the time that it was told to spend on it."""

    def __init__(self, clock, spend):
        self.clock, self.spend, self.budgets, self.numbers = clock, list(spend), [], []
        self.costs = self

    def epochs_within(self, configuration, windows, seconds, most):
        self.budgets.append(seconds)
        return most

    def retrain(self, number, configuration, fold, epochs, on_report, *, checkpoint):
        self.numbers.append(number)
        self.clock.now += self.spend.pop(0)
        raise NonFiniteLossError("the loss became nan in epoch 1")


@pytest.mark.parametrize(
    ("seeds", "spend", "budgets"),
    [
        (1, (30, 30, 30), [30, 30, 30]),  # each takes its part
        (1, (0, 0, 0), [30, 45, 90]),  # what one leaves is the others'
        (1, (60, 30, 0), [30, 15, 0]),  # and what one takes beyond its part is theirs no more
        (1, (90, 0, 0), [30, 0, 0]),
        (2, (15,) * 6, [15] * 6),  # parts are those of all finalists and all their seeds
        (2, (0,) * 6, [15, 18, 22.5, 30, 45, 90]),
        (2, (40, 10, 10, 10, 10, 10), [15, 10, 10, 10, 10, 10]),
    ],
)
def test_each_training_gets_an_equal_part_of_what_is_left(clock, dataset, seeds, spend, budgets):
    fake = Fake(clock, spend)
    work = retrained(fake, dataset, seconds_left=lambda: max(0.0, 90.0 - clock.now), seeds=seeds)
    assert fake.budgets == budgets
    assert fake.numbers == [10_000 * rank + seed for rank in (1, 2, 3) for seed in range(1, seeds + 1)]
    assert [reason for _, reason in work.failures] == ["the loss became nan in epoch 1"] * 3


def test_without_a_limit_no_part_is_counted(clock, dataset):
    fake = Fake(clock, (1, 1, 1))
    retrained(fake, dataset)
    assert fake.budgets == [None, None, None]


# ---------------------------------------------------------------------- epochs


@pytest.fixture(scope="module")
def epoch_seconds(runner, dataset):
    """Of an epoch and its evaluation, by the cost of a trial that has one epoch on the same windows."""
    params = FINALISTS[0].params
    return runner.costs.cost(params).seconds + runner.costs.evaluation_seconds(params)


@given(share=st.floats(0, 300), most=st.integers(1, 200))
def test_as_many_epochs_as_fit_in_are_run_but_one_at_least(runner, dataset, epoch_seconds, share, most):
    found = runner.costs.epochs_within(FINALISTS[0].params, len(dataset.train), share * epoch_seconds, most)
    assert 1 <= found <= most
    assert found == 1 or found * epoch_seconds <= share * epoch_seconds * (1 + 1e-9)
    assert found == most or (found + 1) * epoch_seconds > share * epoch_seconds * (1 - 1e-9)


def test_without_a_limit_all_epochs_are_run(runner, dataset):
    assert runner.costs.epochs_within(FINALISTS[0].params, len(dataset.train), None, 123) == 123


def test_twice_the_windows_leave_half_of_the_epochs(runner, epoch_seconds):
    """But for what evaluations take, which do not grow."""
    params = FINALISTS[0].params
    evaluation = runner.costs.evaluation_seconds(params)
    for windows in (160, 320, 640):
        epoch = windows // 16 * runner.costs.cost(params).seconds / math.ceil(len(runner.data.folds[0].train) / 16)
        assert runner.costs.epochs_within(params, windows, 50.5 * (epoch + evaluation), 1000) == 50


def test_the_schedule_is_told_of_the_epochs_that_fit_in(clock, runner, dataset, epoch_seconds):
    """Fewer epochs, and the learning rate comes to its end: the training is that of a run of so many epochs, to the bit."""
    heard = []

    def on_report(finalist, seed, epochs):
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
    run = short[0].kept
    assert (run.epochs, run.outcome.epochs, run.cut_short) == (2, 2, False)
    first, second = (each[0].kept.model.network.state_dict() for each in (short, plain))
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
    (done,) = work.done[0].runs
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
    def on_report(finalist, seed, epochs):
        return ticking(clock, 40.0 if finalist.rank == 1 else 0.0)(finalist, seed, epochs)

    work = retrained(runner, dataset, seconds_left=lambda: 300.0 - clock.now, on_report=on_report)
    assert [(each.finalist.rank, each.kept.cut_short) for each in work.done] == [(1, True), (2, False), (3, False)]
    assert [each.kept.outcome.epochs for each in work.done[1:]] == [3, 3]


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
    assert [(run.cut_short, run.outcome.epochs) for run in work.done[0].runs] == [(False, 1.0)]


def test_one_without_a_whole_epoch_is_a_failure_and_the_others_go_on(clock, runner, dataset):
    def on_report(finalist, seed, epochs):
        return ticking(clock, 200.0 if finalist.rank == 2 else 0.0)(finalist, seed, epochs)

    work = retrained(runner, dataset, seconds_left=lambda: 300.0 - clock.now, on_report=on_report)
    assert [each.finalist.rank for each in work.done] == [1, 3]
    assert work.failures == [(FINALISTS[1], "no epoch was finished in its part of limits.retrain_seconds (150 s)")]
    assert work.ended is None


def test_a_seed_without_a_whole_epoch_is_left_out_and_told_of(clock, runner, dataset):
    def on_report(finalist, seed, epochs):
        return ticking(clock, 200.0 if seed == 2 else 0.0)(finalist, seed, epochs)

    work = retrained(
        runner,
        dataset,
        seconds_left=lambda: 300.0 - clock.now,
        on_report=on_report,
        full_epochs=1,
        finalists=FINALISTS[:1],
        seeds=3,
    )
    (done,) = work.done
    assert [run.seed for run in done.runs] == [1, 3]
    assert done.failures == ("seed 2: no epoch was finished in its part of limits.retrain_seconds (150 s)",)


@pytest.mark.parametrize("time_is_up", [False, True])
def test_ctrl_c_ends_all_also_when_the_time_is_up(clock, runner, dataset, time_is_up):
    def on_report(finalist, seed, epochs):
        def decide(report):
            if finalist.rank == 1:
                return CONTINUE
            clock.now += 1000.0 * time_is_up
            return CTRL_C

        return decide

    work = retrained(runner, dataset, seconds_left=lambda: 10.0, on_report=on_report, full_epochs=1)
    assert [each.finalist.rank for each in work.done] == [1]
    assert (work.failures, work.ended) == ([], CTRL_C)


def test_the_test_period_stays_closed_whatever_happens(clock, runner, dataset):
    closed = replace(dataset, test=type(dataset.test)(dataset.test.open()))
    retrained(runner, closed, seconds_left=lambda: 0.0, on_report=ticking(clock, 1.0), full_epochs=1)
    assert closed.test.times_opened == 0


# ---------------------------------------------------------------------- killed and gone on with


class Observation(dict):
    """What is decided, by trial and seed."""

    def __call__(self, finalist, seed, given):
        self[finalist.trial_number, seed] = given


def test_what_a_training_was_given_stays_and_only_the_time_is_shared_anew(clock, dataset, tmp_path):
    """Of the first it is known that it has two epochs; whatever time is left now, it keeps them."""
    fake, told, heard = Fake(clock, (10, 10, 10)), Observation(), []

    def on_report(finalist, seed, epochs):
        heard.append((finalist.rank, epochs))
        return go_on()

    retrained(
        fake,
        dataset,
        full_epochs=9,
        seconds_left=lambda: 90.0 - clock.now,
        known={(10, 1): Given(2)},
        on_epochs_set=told,
        on_report=on_report,
        checkpoints=tmp_path,
    )
    assert heard == [(1, 2), (2, 9), (3, 9)]
    assert fake.budgets == [40, 70]
    assert told[10, 1] == Given(2, failure="the loss became nan in epoch 1")


def test_one_that_was_cut_short_is_had_again_and_not_trained_on(clock, runner, dataset, tmp_path):
    """Also where there is time now; and a run after that finds it the same."""
    told = Observation()
    facts = {"on_epochs_set": told, "finalists": FINALISTS[:1], "full_epochs": 9, "checkpoints": tmp_path}
    first = retrained(runner, dataset, seconds_left=lambda: 1000.0, on_report=ticking(clock, 400.0), **facts)
    (cut,) = first.done[0].runs
    assert told == {(10, 1): Given(9, cut_short=True)}
    for _ in range(2):
        heard = []

        def on_report(finalist, seed, epochs, heard=heard):
            return lambda report: heard.append(report.again) or CONTINUE

        again = retrained(runner, dataset, seconds_left=lambda: 1000.0, known=dict(told), on_report=on_report, **facts)
        (had,) = again.done[0].runs
        assert heard == [True, True]
        assert (had.cut_short, had.epochs, had.loss) == (True, 9, cut.loss)
        assert (had.outcome.best_epoch, had.outcome.epochs) == (cut.outcome.best_epoch, 2.0)
        mine, theirs = (run.model.network.state_dict() for run in (had, cut))
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_one_that_was_cut_short_and_whose_state_is_lost_is_trained_again(clock, runner, dataset, tmp_path):
    known = {(10, 1): Given(2, cut_short=True)}
    work = retrained(
        runner,
        dataset,
        seconds_left=lambda: 1000.0,
        known=known,
        finalists=FINALISTS[:1],
        full_epochs=2,
        checkpoints=tmp_path,
    )
    assert [(run.cut_short, run.outcome.epochs) for run in work.done[0].runs] == [(False, 2.0)]


def test_one_without_a_whole_epoch_stays_a_failure(clock, runner, dataset, tmp_path):
    told, heard = Observation(), []

    def on_report(finalist, seed, epochs):
        heard.append(finalist.rank)
        return ticking(clock, 200.0)(finalist, seed, epochs)

    facts = {"on_epochs_set": told, "finalists": FINALISTS[:1], "on_report": on_report, "checkpoints": tmp_path}
    first = retrained(runner, dataset, seconds_left=lambda: 100.0, **facts)
    again = retrained(runner, dataset, seconds_left=lambda: 100.0, known=dict(told), **facts)
    assert first.failures == again.failures
    assert first.failures[0][1] == "no epoch was finished in its part of limits.retrain_seconds (100 s)"
    assert heard == [1]
