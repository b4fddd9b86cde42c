"""The recurrent branch against one nn.LSTM with the same weights."""

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.cnn_lstm.params import LstmConfig


def config(**changed) -> LstmConfig:
    plain = {
        "hidden_dim": 8,
        "num_layers": 2,
        "dropout": 0.0,
        "bidirectional": False,
        "attention_heads": None,
        "skip_connections": False,
    }
    return LstmConfig(**(plain | changed))


def stacked(branch: LstmBranch, input_dim: int, about: LstmConfig) -> nn.LSTM:
    """PyTorch's stacked LSTM with the branch's weights."""
    lstm = nn.LSTM(input_dim, about.hidden_dim, about.num_layers, batch_first=True, bidirectional=about.bidirectional)
    weights = {}
    for depth, layer in enumerate(branch.layers):
        for name, weight in layer.state_dict().items():
            weights[name.replace("_l0", f"_l{depth}")] = weight
    lstm.load_state_dict(weights)
    return lstm


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_without_skips_it_equals_one_stacked_lstm(num_layers, bidirectional):
    about = config(num_layers=num_layers, bidirectional=bidirectional)
    branch = LstmBranch(5, about)
    x = torch.randn(3, 7, 5)
    sequence, (hidden, _) = stacked(branch, 5, about)(x)
    output = branch(x)
    torch.testing.assert_close(output.sequence, sequence)
    last = torch.cat([hidden[-2], hidden[-1]], dim=-1) if bidirectional else hidden[-1]
    torch.testing.assert_close(output.summary, last)  # PyTorch's h_n: each direction's own last state
    assert (output.sequence.shape[-1], output.summary.shape[-1]) == about.shape


@pytest.mark.parametrize("bidirectional", [False, True])
def test_skips_add_each_layers_input_from_the_second_on(bidirectional):
    about = config(num_layers=3, bidirectional=bidirectional, skip_connections=True)
    branch = LstmBranch(5, about)
    x = torch.randn(3, 7, 5)
    first = branch.layers[0](x)[0]
    second = first + branch.layers[1](first)[0]
    third = second + branch.layers[2](second)[0]
    torch.testing.assert_close(branch(x).sequence, third)


def test_skips_change_nothing_of_a_single_layer():
    torch.manual_seed(1)
    plain = LstmBranch(5, config(num_layers=1))
    torch.manual_seed(1)
    skipping = LstmBranch(5, config(num_layers=1, skip_connections=True))
    x = torch.randn(3, 7, 5)
    assert torch.equal(plain(x).sequence, skipping(x).sequence)


def test_attention_pools_over_the_whole_sequence():
    about = config(attention_heads=2, bidirectional=True)
    branch = LstmBranch(5, about)
    output = branch(torch.randn(3, 7, 5))
    assert branch.pooling is not None
    torch.testing.assert_close(output.summary, branch.pooling(output.sequence))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_follows_every_layer_also_a_single_one_and_only_in_training(num_layers):
    branch = LstmBranch(5, config(num_layers=num_layers, dropout=0.5))
    x = torch.randn(16, 20, 5)
    dropped = branch.train()(x).sequence == 0
    assert 0.45 < float(dropped.double().mean()) < 0.55
    assert not bool((branch.eval()(x).sequence == 0).any())


def test_a_forward_lstm_is_causal_and_a_bidirectional_one_is_not():
    x = torch.randn(1, 7, 5)
    changed = x.clone()
    changed[:, 4:] += 1
    for bidirectional in (False, True):
        branch = LstmBranch(5, config(bidirectional=bidirectional))
        same = torch.equal(branch(x).sequence[:, :4], branch(changed).sequence[:, :4])
        assert same is not bidirectional
