"""Retraining: each finalist anew with every seed, in order, stopped on validation; the test period stays closed."""

import contextlib
import errno
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders.finalists import (
    CTRL_C,
    DIVERGING,
    Planted,
    confirmation,
    go_on,
    outcome,
    params,
    planted,
    runner_of,
    sure,
)
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, retrain
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import ValueScale, evaluate

FINALISTS = [
    Finalist(1, 17, params(17), confirmation(2, 17, 0.61, 0.6, 0.59)),
    Finalist(2, 4, params(4) | {"lstm.bidirectional": True}),
    Finalist(3, 9, params(9) | {"fusion.method": "bilinear"}),
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


def retrained(dataset: Dataset, finalists, on_report=go_on, **facts):
    facts = {"full_epochs": 2, "max_gap_days": 10.0, "known": {}, "on_epochs_set": go_on, **facts}
    with contextlib.ExitStack() as stack:
        if "checkpoints" not in facts:
            facts["checkpoints"] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return retrain(finalists, runner_of(dataset), dataset, on_report=on_report, **facts)


@pytest.fixture(scope="module")
def models(prepared) -> list[Retrained]:
    """Three finalists with two seeds each."""
    work = retrained(prepared, FINALISTS, seeds=2)
    assert (work.failures, work.ended) == ([], None)
    return work.done


def weights_of(run):
    return torch.cat([weight.flatten() for weight in run.model.network.state_dict().values()])


def test_finalists_are_retrained_in_order_over_the_full_epochs_with_every_seed(models):
    assert [each.finalist for each in models] == FINALISTS
    for each in models:
        assert [(run.seed, run.epochs, run.outcome.epochs, run.cut_short) for run in each.runs] == [
            (1, 2, 2.0, False),
            (2, 2, 2.0, False),
        ]
        assert each.failures == ()
        for run in each.runs:
            assert run.model.description.params == each.finalist.params
            assert run.model.network.config == run.model.description.network_config()


def test_listeners_are_made_for_finalist_seed_and_epochs(dataset):
    heard = []

    def listen(finalist, seed, epochs):
        heard.append((finalist.rank, seed, epochs))
        return go_on()

    retrained(dataset, FINALISTS[:2], listen, seeds=2, full_epochs=1)
    assert heard == [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1)]


def test_no_two_seeds_give_the_same_network(models):
    first, second = models[0].runs
    assert not torch.equal(weights_of(first), weights_of(second))
    assert first.loss != second.loss


def test_the_seed_with_the_lowest_validation_loss_is_kept(models):
    for each in models:
        assert each.kept.loss == min(run.loss for run in each.runs)
        assert each.kept in each.runs


@pytest.mark.parametrize(("losses", "kept"), [((0.7, 0.6, 0.65), 2), ((0.6, 0.7, 0.6), 1), ((0.9,), 1)])
def test_of_seeds_that_are_alike_the_first_is_kept(losses, kept):
    model = Planted(sure(np.zeros(3, np.int64)))
    assert planted(1, *[model] * len(losses), losses=losses).kept.seed == kept


def test_a_run_without_an_evaluation_has_no_loss(models):
    lost = replace(models[0].runs[0], outcome=replace(outcome(0.6), best=None))
    with pytest.raises(RuntimeError, match="has an evaluation"):
        _ = lost.loss


def test_its_loss_is_that_of_the_saved_network_on_validation(models, prepared):
    scale = ValueScale(prepared.value_mean, prepared.value_std)
    for run in (run for each in models for run in each.runs):
        again = evaluate(run.model.network, prepared.validation, scale)
        assert run.loss == pytest.approx(again.loss, rel=1e-6)
        assert run.outcome.best is not None
        assert run.outcome.best.score == again.accuracy


def test_a_retrained_model_holds_what_new_bars_need(models, prepared):
    about = models[0].runs[1].model.description
    assert about.scaler == prepared.scaler
    assert (about.lookback, about.horizon, about.max_gap_days, about.target) == (20, 2, 10.0, "volatility")
    assert (about.value_scale.mean, about.value_scale.std) == (prepared.value_mean, prepared.value_std)


def test_a_saved_one_says_the_same_after_loading(models, prepared, tmp_path):
    model = models[0].kept.model
    model.save(tmp_path)
    said, again = (each.predict_windows(prepared.validation) for each in (model, load_model(tmp_path)))
    assert (said.probabilities == again.probabilities).all()
    assert (said.values == again.values).all()


def test_retraining_repeats_to_the_bit_and_never_opens_the_test(models, dataset):
    """The second finalist alone: neither its place nor what ran before it matters."""
    again = retrained(dataset, FINALISTS[1:2], seeds=2).done[0]
    for first, second in zip(models[1].runs, again.runs, strict=True):
        assert torch.equal(weights_of(first), weights_of(second))
        assert first.loss == second.loss
    assert dataset.test.times_opened == 0


def test_a_seed_is_a_training_by_the_runner_on_all_training_windows(models, dataset):
    fold = Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)
    finalist = FINALISTS[0]
    for run in models[0].runs:
        number = SEEDS_APART * finalist.trial_number + run.seed
        trained = runner_of(dataset).retrain(number, finalist.params, fold, 2, go_on())
        alone = torch.cat([weight.flatten() for weight in trained.network.state_dict().values()])
        assert torch.equal(alone, weights_of(run))


# ---------------------------------------------------------------------- ends


def test_a_stop_returns_what_was_finished_and_never_opens_the_test(dataset):
    heard = []

    def listen(finalist, seed, epochs):
        heard.append((finalist.rank, seed))
        return lambda report: CTRL_C if (finalist.rank, seed) == (2, 2) else CONTINUE

    work = retrained(dataset, FINALISTS, listen, seeds=2, full_epochs=1)
    assert [(each.finalist.rank, len(each.runs)) for each in work.done] == [(1, 2)]
    assert (work.failures, work.ended) == ([], CTRL_C)
    assert heard == [(1, 1), (1, 2), (2, 1), (2, 2)]  # the third is not begun
    assert dataset.test.times_opened == 0


def test_a_stop_in_the_first_finalist_leaves_nothing(dataset):
    work = retrained(dataset, FINALISTS, lambda *about: lambda report: Decision(Action.STOP, "time"), seeds=3)
    assert (work.done, work.failures, work.ended) == ([], [], Decision(Action.STOP, "time"))


# ---------------------------------------------------------------------- failures


def test_a_finalist_that_fails_with_every_seed_is_told_of_and_the_others_go_on(dataset):
    diverging = Finalist(1, 5, DIVERGING)
    work = retrained(dataset, [diverging, FINALISTS[1]], seeds=2, full_epochs=1)
    assert [each.finalist for each in work.done] == [FINALISTS[1]]
    assert work.ended is None
    ((finalist, reason),) = work.failures
    assert finalist is diverging
    for part in reason.split("; "):  # once, where both seeds failed for the same reason
        assert part in ("the loss became nan in epoch 1", "the loss became inf in epoch 1")
    assert dataset.test.times_opened == 0


def failing(*which, error):
    """A listener in whose trainings of these ranks and seeds something breaks."""

    def listen(finalist, seed, epochs):
        def on_report(report):
            if (finalist.rank, seed) in which:
                raise error
            return CONTINUE

        return on_report

    return listen


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    ("error", "reason"), [(RuntimeError("out of\n  memory"), "out of memory"), (MemoryError(), "MemoryError")]
)
def test_a_lack_of_memory_is_a_failure_of_that_finalist_alone(dataset, error, reason):
    listen = failing((2, 1), (2, 2), error=error)
    work = retrained(dataset, FINALISTS, listen, seeds=2, full_epochs=1)
    assert [each.finalist.rank for each in work.done] == [1, 3]
    assert work.failures == [(FINALISTS[1], reason)]
    assert work.ended is None


@pytest.mark.slow
def test_a_seed_that_fails_is_told_of_and_the_others_are_kept(dataset):
    listen = failing((1, 1), (1, 3), error=RuntimeError("out of memory"))
    work = retrained(dataset, FINALISTS[:1], listen, seeds=3, full_epochs=1)
    assert (work.failures, work.ended) == ([], None)
    (done,) = work.done
    assert [run.seed for run in done.runs] == [2]
    assert done.kept.seed == 2
    assert done.failures == ("seed 1: out of memory", "seed 3: out of memory")


def test_an_error_of_this_program_is_not_taken_for_a_failed_training(dataset):
    with pytest.raises(ZeroDivisionError):
        retrained(dataset, FINALISTS[:1], failing((1, 1), error=ZeroDivisionError()))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), StorageFailedError("study.db can't be written")]
)
def test_a_failure_of_the_storage_is_none_of_the_training(dataset, error):
    with pytest.raises(type(error)):
        retrained(dataset, FINALISTS[:1], failing((1, 1), error=error), full_epochs=1)


# ---------------------------------------------------------------------- killed and gone on with


class Killed(BaseException):
    """The process ends here."""


class Log:
    """Hears of a run's trainings, keeps what is decided, and may end the process as an epoch is told of.

    Attributes:
        given: what a run was told to keep, by trial and seed.
        trained: how often each (rank, seed, epoch) was trained.
        again: those that were told of again.
    """

    def __init__(self, kill_at=None):
        self.kill_at, self.given, self.trained, self.again = kill_at, {}, Counter(), []

    def on_report(self, finalist, seed, epochs):
        def decide(report):
            moment = (finalist.rank, seed, report.epoch)
            if report.score is not None and report.again:
                self.again.append(moment)
            elif report.score is not None:
                self.trained[moment] += 1
                if moment == self.kill_at:
                    self.kill_at = None
                    raise Killed
            return CONTINUE

        return decide

    def on_epochs_set(self, finalist, seed, given):
        self.given[finalist.trial_number, seed] = given

    def run(self, dataset, folder, **facts):
        facts = {
            "known": dict(self.given),
            "on_epochs_set": self.on_epochs_set,
            "seeds": 2,
            "checkpoints": folder,
            **facts,
        }
        return retrained(dataset, FINALISTS[:2], self.on_report, **facts)


def same(first, second):
    return all(
        torch.equal(weights_of(a), weights_of(b)) and (a.seed, a.epochs, a.loss) == (b.seed, b.epochs, b.loss)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one.runs, other.runs, strict=True)
    )


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("kill_at", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_a_killed_retraining_goes_on_where_it_was_and_gives_the_same_models(models, dataset, tmp_path, kill_at):
    """Nothing is trained twice but the epoch in which it was killed; finished trainings are had again, in their order."""
    log = Log(kill_at)
    with pytest.raises(Killed):
        log.run(dataset, tmp_path)
    work = log.run(dataset, tmp_path)
    assert (work.failures, work.ended) == ([], None)
    assert same(work.done, models[:2])
    everything = [(rank, seed, epoch) for rank in (1, 2) for seed in (1, 2) for epoch in (1, 2)]
    assert log.trained == {moment: 1 + (moment == kill_at) for moment in everything}
    assert log.again == everything[: everything.index(kill_at)]
    assert same(log.run(dataset, tmp_path).done, models[:2])  # and once more: nothing but reading
    assert log.trained.total() == 9
    assert dataset.test.times_opened == 0


def test_what_is_interrupted_by_ctrl_c_goes_on_there_too(models, dataset, tmp_path):
    """Pressed after the first epoch of the second seed: that epoch is kept."""
    log = Log()

    def listen(finalist, seed, epochs):
        hear = log.on_report(finalist, seed, epochs)

        def decide(report):
            hear(report)
            return CTRL_C if (seed, report.epoch) == (2, 1.0) else CONTINUE

        return decide

    keep = {"on_epochs_set": log.on_epochs_set, "seeds": 2, "checkpoints": tmp_path}
    cut = retrained(dataset, FINALISTS[:2], listen, **keep)
    assert (cut.done, cut.ended) == ([], CTRL_C)
    work = log.run(dataset, tmp_path)
    assert same(work.done, models[:2])
    assert set(log.trained.values()) == {1}


def test_a_state_of_other_epochs_is_not_gone_on_from(models, dataset, tmp_path):
    """Killed with three epochs each; now two are asked for."""
    log = Log((1, 1, 2))
    with pytest.raises(Killed):
        log.run(dataset, tmp_path, full_epochs=3)
    log.again.clear()
    work = log.run(dataset, tmp_path, known={})
    assert same(work.done, models[:2])
    assert log.again == []


def test_a_seed_that_diverged_is_told_of_and_not_tried_again(dataset, tmp_path):
    told, asked = {}, []

    def listen(finalist, seed, epochs):
        asked.append(seed)
        return go_on()

    diverging = [Finalist(1, 5, DIVERGING)]
    facts = {
        "on_epochs_set": lambda f, seed, given: told.update({(f.trial_number, seed): given}),
        "checkpoints": tmp_path,
    }
    first = retrained(dataset, diverging, listen, **facts, seeds=2)
    assert {seed: given.failure is None for (_, seed), given in told.items()} == {1: False, 2: False}
    again = retrained(dataset, diverging, listen, **facts, seeds=2, known=told)
    assert again == first
    assert asked == [1, 2]


def test_a_seed_that_lacked_memory_is_tried_again(dataset, tmp_path):
    log = Log()
    listen = failing((1, 1), error=MemoryError())
    facts = {"on_epochs_set": log.on_epochs_set, "checkpoints": tmp_path, "full_epochs": 1}
    assert retrained(dataset, FINALISTS[:1], listen, **facts).failures == [(FINALISTS[0], "MemoryError")]
    work = retrained(dataset, FINALISTS[:1], **facts, known=log.given)
    assert [run.seed for run in work.done[0].runs] == [1]
