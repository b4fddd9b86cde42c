"""Schedules of learning rate and dropout, and patience, against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from builders.trainings import network, structured, windows
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training.dropout_schedules import DROPOUT_SCHEDULES, DropoutSchedule
from cnn_lstm_hyperopt.training.patience import Patience
from cnn_lstm_hyperopt.training.schedules import SCHEDULES

RATE = 0.2


def rates(name, max_epochs, losses=None):
    """The learning rate of each epoch, and after the last one."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule = SCHEDULES[name](optimizer, max_epochs)
    seen = [optimizer.param_groups[0]["lr"]]
    for epoch in range(max_epochs):
        optimizer.step()
        schedule.step(1.0 if losses is None else losses[epoch])
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


RATE_FACTORS = {
    "cosine": lambda t, last: 0.01 + 0.99 * (1 + math.cos(math.pi * t / last)) / 2,
    "exponential": lambda t, last: 0.01 ** (t / last),
    "step": lambda t, last: 0.1 ** (t // math.ceil(last / 3)),
}


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 6, 20, 198, 200])
@pytest.mark.parametrize("name", RATE_FACTORS)
def test_rates_equal_the_closed_form(name, max_epochs):
    expected = [RATE * RATE_FACTORS[name](t, max_epochs) for t in range(max_epochs + 1)]
    assert rates(name, max_epochs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_plateau_halves_the_rate_again_and_again_unless_the_loss_falls_at_least_every_other_epoch():
    assert rates("plateau", 20, [1 / (epoch + 1) for epoch in range(20)]) == [RATE] * 21
    assert rates("plateau", 10, [1.0, 1.0, 0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6]) == [RATE] * 11
    seen = rates("plateau", 20)
    levels = list(dict.fromkeys(seen))
    assert len(levels) > 4
    assert levels == pytest.approx([RATE * 0.5**k for k in range(len(levels))])
    (stay,) = {seen.count(level) for level in levels[1:-1]}
    assert stay <= 3


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_no_schedule_ever_raises_the_rate_or_reaches_zero(name):
    assert sorted(SCHEDULES) == sorted(PARAMETERS["training.scheduler"].options)
    for max_epochs in (1, 2, 4, 5, 20, 50):
        seen = rates(name, max_epochs)
        assert seen == sorted(seen, reverse=True)
        assert (seen[0], seen[-1] > 0) == (RATE, True)


DROPOUT_FACTORS = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}


@pytest.fixture
def net():
    """All kinds of layers that drop out: two LSTM layers, attention in both branches, attention fusion; three dropout_rates."""
    made = structured("attention", 2, 2, True, dropout=0.4)
    made.cnn.dropout.p, made.lstm.dropout.p = 0.1, 0.2
    return made


def dropout_rates(net):
    return {name: layer.p for name, layer in net.named_modules() if isinstance(layer, nn.Dropout)}


@pytest.mark.parametrize("epochs", [1, 2, 3, 9])
@pytest.mark.parametrize("name", sorted(DROPOUT_SCHEDULES))
def test_all_rates_of_each_epoch_equal_the_closed_form(net, name, epochs):
    """From 0 to the configured dropout_rates, which a single epoch has and which are exact in the end."""
    assert tuple(DROPOUT_SCHEDULES) == PARAMETERS["regularization.dropout_schedule"].options
    configured = dropout_rates(net)
    assert set(configured.values()) == {0.1, 0.2, 0.4}
    schedule = DropoutSchedule(net, name, epochs)
    for epoch in range(1, epochs + 1):
        schedule.start_epoch(epoch)
        factor = DROPOUT_FACTORS[name]((epoch - 1) / (epochs - 1) if epochs > 1 else 1.0)
        assert dropout_rates(net) == pytest.approx({layer: factor * rate for layer, rate in configured.items()})
    schedule.start_epoch(1)
    schedule.restore()
    assert dropout_rates(net) == configured


def test_it_acts_on_every_layer_that_drops_out_and_not_on_evaluation(net):
    """In training with all dropout_rates 0 the network predicts the same twice; with its own dropout_rates it does not."""
    x, schedule = torch.randn(4, 6, 3), DropoutSchedule(net, "linear", 3)
    expected = net.eval()(x).logits
    for epoch, alike in ((1, True), (3, False)):
        schedule.start_epoch(epoch)
        assert torch.equal(net.eval()(x).logits, expected)
        first, second = (net.train()(x).logits for _ in range(2))
        assert torch.equal(first, second) is torch.allclose(first, expected, rtol=1e-4, atol=1e-5) is alike


@pytest.mark.parametrize(("end", "steps"), [(4, 24), (4 / 6, 4), (2, 12)])
def test_a_training_changes_the_rates_by_epoch_and_restores_the_configured_ones(training, end, steps):
    net, seen, stop = network(dropout=0.3), [], Decision(Action.STOP)
    net.register_forward_hook(lambda module, args, output: seen.append(net.dropout.p) if module.training else None)
    options = {"dropout_schedule": "linear", "max_epochs": 4}
    training(windows(48), windows(16), net=net, on_report=lambda r: stop if r.epoch == end else CONTINUE, **options)
    assert seen == pytest.approx([0.3 * (step // 6) / 3 for step in range(steps)])
    assert set(dropout_rates(net).values()) == {0.3}


@given(losses=st.lists(st.floats(0, 10), min_size=1, max_size=40), minimum=st.integers(1, 9), factor=st.floats(0, 2))
def test_patience_equals_a_second_way_of_counting(losses, minimum, factor):
    patience = Patience(minimum=minimum, factor=factor)
    assert (patience.best_epoch, patience.best_loss, patience.exhausted(0)) == (0, math.inf, False)
    for epoch, loss in enumerate(losses, start=1):
        best = losses.index(min(losses[:epoch])) + 1
        assert patience.improved(epoch, loss) is (best == epoch)
        assert patience.exhausted(epoch) is (epoch >= best + minimum and epoch >= best + factor * best)
