"""Dropout schedules: rates against the closed form, and their effect on the network."""

import math

import pytest
import torch
from torch import nn

from builders.trainings import network, structured, windows
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training.dropout_schedules import DROPOUT_SCHEDULES, DropoutSchedule

CLOSED = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - math.cos(math.pi * progress)) / 2,
}


@pytest.fixture
def net():
    """All kinds of layers that drop out: two LSTM layers, attention in both branches, attention fusion; three rates."""
    made = structured("attention", 2, 2, True, dropout=0.4)
    made.cnn.dropout.p, made.lstm.dropout.p = 0.1, 0.2
    return made


def rates(net):
    return {name: layer.p for name, layer in net.named_modules() if isinstance(layer, nn.Dropout)}


@pytest.mark.parametrize("epochs", [1, 2, 3, 9])
@pytest.mark.parametrize("name", sorted(DROPOUT_SCHEDULES))
def test_all_rates_of_each_epoch_equal_the_closed_form(net, name, epochs):
    """From 0 to the configured rates, which a single epoch has and which are exact in the end."""
    assert tuple(DROPOUT_SCHEDULES) == PARAMETERS["regularization.dropout_schedule"].options
    configured = rates(net)
    assert set(configured.values()) == {0.1, 0.2, 0.4}
    schedule = DropoutSchedule(net, name, epochs)
    for epoch in range(1, epochs + 1):
        schedule.start_epoch(epoch)
        factor = CLOSED[name]((epoch - 1) / (epochs - 1) if epochs > 1 else 1.0)
        assert rates(net) == pytest.approx({layer: factor * rate for layer, rate in configured.items()})
    schedule.start_epoch(1)
    schedule.restore()
    assert rates(net) == configured


def test_it_acts_on_every_layer_that_drops_out_and_not_on_evaluation(net):
    """In training with all rates 0 the network predicts the same twice; with its own rates it does not."""
    x, schedule = torch.randn(4, 6, 3), DropoutSchedule(net, "linear", 3)
    expected = net.eval()(x).logits
    schedule.start_epoch(1)
    assert torch.equal(net(x).logits, expected)
    net.train()
    assert torch.equal(net(x).logits, net(x).logits)
    torch.testing.assert_close(net(x).logits, expected)
    schedule.start_epoch(3)
    assert not torch.equal(net(x).logits, net(x).logits)
    assert torch.equal(net.eval()(x).logits, expected)


@pytest.mark.parametrize(
    ("ends", "steps"),
    [(lambda report: False, 24), (lambda report: report.loss is None, 4), (lambda report: report.epoch == 2, 12)],
    ids=["all epochs", "within an epoch", "after an epoch"],
)
def test_a_training_changes_the_rates_by_epoch_and_restores_the_configured_ones(training, ends, steps):
    net, seen, stop = network(dropout=0.3), [], Decision(Action.STOP)
    net.register_forward_hook(lambda module, args, output: seen.append(net.dropout.p) if module.training else None)
    options = {"dropout_schedule": "linear", "max_epochs": 4}
    training(windows(48), windows(16), net=net, on_report=lambda r: stop if ends(r) else CONTINUE, **options)
    assert seen == pytest.approx([0.3 * (step // 6) / 3 for step in range(steps)])
    assert set(rates(net).values()) == {0.3}
