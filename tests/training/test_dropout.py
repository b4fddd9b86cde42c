"""Dropout schedules: rates against the closed form, and what they act on."""

import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training.dropout_schedules import DROPOUT_SCHEDULES, DropoutSchedule

RATES = {"cnn": 0.1, "lstm": 0.2, "fusion": 0.4}


@pytest.fixture
def net():
    """All kinds of layers that drop out: two LSTM layers, attention in both branches, attention fusion."""
    config = CnnLstmConfig(
        input_dim=3,
        n_classes=2,
        has_regression=True,
        cnn=CnnConfig(4, (1, 3), RATES["cnn"], "relu", residual=True, attention_heads=2),
        lstm=LstmConfig(
            4, num_layers=2, dropout=RATES["lstm"], bidirectional=True, attention_heads=2, skip_connections=True
        ),
        fusion=FUSIONS["attention"]("attention", 8, RATES["fusion"], 2),
    )
    return build_network(config, seed=0, device=torch.device("cpu"))


def rates(net: nn.Module) -> dict[str, float]:
    return {name: layer.p for name, layer in net.named_modules() if isinstance(layer, nn.Dropout)}


def test_every_schedule_of_the_space_is_here():
    assert tuple(DROPOUT_SCHEDULES) == PARAMETERS["regularization.dropout_schedule"].options


CLOSED = {
    "constant": lambda epoch, last: 1.0,
    "linear": lambda epoch, last: (epoch - 1) / (last - 1),
    "cosine": lambda epoch, last: (1 - math.cos(math.pi * (epoch - 1) / (last - 1))) / 2,
}


@pytest.mark.parametrize("epochs", [2, 3, 9])
@pytest.mark.parametrize("name", sorted(DROPOUT_SCHEDULES))
def test_all_rates_of_each_epoch_equal_the_closed_form(net, name, epochs):
    configured = rates(net)
    assert set(configured.values()) == set(RATES.values())
    schedule = DropoutSchedule(net, name, epochs)
    for epoch in range(1, epochs + 1):
        schedule.start_epoch(epoch)
        factor = CLOSED[name](epoch, epochs)
        assert rates(net) == pytest.approx({layer: factor * rate for layer, rate in configured.items()})


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_rising_schedules_begin_at_zero_and_end_at_the_configured_rates(net, name):
    configured = rates(net)
    schedule = DropoutSchedule(net, name, 5)
    schedule.start_epoch(1)
    assert set(rates(net).values()) == {0.0}
    schedule.start_epoch(3)
    assert rates(net) == pytest.approx({layer: rate / 2 for layer, rate in configured.items()})
    schedule.start_epoch(5)
    assert rates(net) == pytest.approx(configured)


@pytest.mark.parametrize("name", sorted(DROPOUT_SCHEDULES))
def test_a_single_epoch_has_the_configured_rates(net, name):
    configured = rates(net)
    schedule = DropoutSchedule(net, name, 1)
    schedule.start_epoch(1)
    assert rates(net) == configured


@pytest.mark.parametrize("name", sorted(DROPOUT_SCHEDULES))
def test_restore_brings_the_configured_rates_back_exactly(net, name):
    configured = rates(net)
    schedule = DropoutSchedule(net, name, 7)
    for epoch in (1, 4, 6):
        schedule.start_epoch(epoch)
    schedule.restore()
    assert rates(net) == configured


def test_it_acts_on_every_layer_that_drops_out_and_on_evaluation_not_at_all(net):
    """In training with all rates 0 the network says the same twice, with its own rates it does not."""
    x = torch.randn(4, 6, 3)
    net.eval()
    expected = net(x).logits
    schedule = DropoutSchedule(net, "linear", 3)
    schedule.start_epoch(1)
    assert torch.equal(net(x).logits, expected)
    net.train()
    assert torch.equal(net(x).logits, net(x).logits)
    torch.testing.assert_close(net(x).logits, expected)
    schedule.start_epoch(3)
    assert not torch.equal(net(x).logits, net(x).logits)
    net.eval()
    assert torch.equal(net(x).logits, expected)


@pytest.mark.parametrize("ended_by", ["itself", "a decision in an epoch", "a decision after an epoch"])
def test_a_training_moves_the_rates_by_epoch_and_leaves_the_configured_ones(
    training, make_windows, make_network, ended_by
):
    net = make_network(dropout=0.3)
    seen = []
    net.register_forward_hook(lambda module, args, output: seen.append(net.dropout.p) if module.training else None)

    def on_report(report):
        end = {"a decision in an epoch": report.loss is None, "a decision after an epoch": report.epoch == 2}
        return Decision(Action.STOP) if end.get(ended_by) else CONTINUE

    training(
        make_windows(48, 1),
        make_windows(16, 2),
        net=net,
        dropout_schedule="linear",
        max_epochs=4,
        on_report=on_report,
    )
    steps = {"itself": 24, "a decision in an epoch": 4, "a decision after an epoch": 12}[ended_by]
    assert seen == pytest.approx([0.3 * (step // 6) / 3 for step in range(steps)])
    assert set(rates(net).values()) == {0.3}
