"""A training of a fixed number of epochs without validation windows."""

from dataclasses import replace

import pytest
import torch

from builders.trainings import PRUNE, Training, go_on
from cnn_lstm_hyperopt.training import NonFiniteLossError, train_folds
from cnn_lstm_hyperopt.training.fixed_length import FixedLength, train_fixed

EPOCHS = 4


def train(length, *, on_report=go_on, start=None, windows=None, **changed):
    """Network, outcome and last checkpoint of a training with the seeds of ``Training(max_epochs=6, **changed)``."""
    again, taken = Training(**{"max_epochs": 6, **changed}), []
    again.windows = again.windows if windows is None else [windows]
    again.validation = [each.subset([]) for each in again.validation]
    (fold,) = again.folds()
    saved = {"start": start, "on_epoch_end": lambda decision, take: taken.append(take())}
    outcome = train_fixed(fold, again.config, length, on_report=on_report, **saved)
    return fold.network, outcome, taken[-1] if taken else None


def same(net, weights):
    return all(torch.equal(weight, weights[name]) for name, weight in net.state_dict().items())


@pytest.mark.parametrize("scheduler", ["cosine", "step", "exponential", "plateau"])
def test_with_the_windows_and_losses_of_an_earlier_training_it_repeats_its_epochs(scheduler):
    changed = {"scheduler": scheduler, "dropout_schedule": "linear", "balancing": "dynamic", "opposed": True}
    earlier, weights, rates, reports = Training(max_epochs=6, **changed), [], [], []

    def save(decision, take):
        state = take().states["fold 1"]
        weights.append({name: each.clone() for name, each in state["network"].items()})
        rates.append(state["optimizer"]["param_groups"][0]["lr"])

    outcome = train_folds(earlier.folds(), earlier.config, on_report=go_on, on_epoch_end=save)
    assert (len(set(rates)) > 1, len(outcome.losses)) == (True, 6)
    length = FixedLength(EPOCHS, outcome.losses)
    net, found, _ = train(length, on_report=lambda report: reports.append(report) or go_on(report), **changed)
    assert same(net, weights[EPOCHS - 1])
    assert (found.epochs, found.best_epoch, found.best, found.losses) == (EPOCHS, EPOCHS, None, ())
    assert {(report.score, report.loss) for report in reports} == {(None, None)}
    assert [report.last for report in reports] == [False] * (len(reports) - 1) + [True]


def test_averaged_weights_are_those_after_the_last_epoch():
    net, _, end = train(FixedLength(EPOCHS), weight_averaging="ema")
    average = {name.removeprefix("module."): each for name, each in end.states["fold 1"]["average"].items()}
    assert same(net, average)
    plain, _, _ = train(FixedLength(EPOCHS))
    assert not same(plain, average)


def test_a_stopped_one_is_resumed_to_the_same_weights():
    length = FixedLength(EPOCHS, (1.0, 2.0))
    net, _, end = train(length)
    _, outcome, start = train(length, on_report=lambda report: PRUNE if report.epoch == 2 else go_on(report))
    assert (outcome.decision, outcome.best_epoch, start.epoch, end.finished) == (PRUNE, 0, 2, True)
    again, outcome, _ = train(length, start=start)
    assert same(again, net.state_dict())
    assert (outcome.epochs, outcome.best_epoch) == (EPOCHS, EPOCHS)


def test_after_the_last_recorded_loss_no_epoch_counts_as_better():
    assert [FixedLength(4, (3.0, 2.0)).loss_after(epoch) for epoch in (1, 2, 3, 4)] == [3.0, 2.0, 2.0, 2.0]


def test_a_loss_that_is_not_finite_is_an_error():
    own = Training().windows[0]
    with pytest.raises(NonFiniteLossError):
        train(FixedLength(EPOCHS), windows=replace(own, series=torch.full_like(own.series, float("inf"))))
