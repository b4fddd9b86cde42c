"""The recurrent branch against one nn.LSTM with the same weights."""

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.cnn_lstm.params import LstmConfig


def branch_of(layers=2, dropout=0.0, bidirectional=False, attention_heads=None, skips=False):
    return LstmBranch(5, LstmConfig(8, layers, dropout, bidirectional, attention_heads, skip_connections=skips))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_without_skips_it_equals_one_stacked_lstm(num_layers, bidirectional):
    branch, x = branch_of(num_layers, bidirectional=bidirectional), torch.randn(3, 7, 5)
    stacked = nn.LSTM(5, 8, num_layers, batch_first=True, bidirectional=bidirectional)
    layers = [layer.state_dict().items() for layer in branch.layers]
    stacked.load_state_dict({n.replace("_l0", f"_l{d}"): w for d, layer in enumerate(layers) for n, w in layer})
    sequence, (hidden, _) = stacked(x)
    output = branch(x)
    torch.testing.assert_close(output.sequence, sequence)
    last = torch.cat([hidden[-2], hidden[-1]], dim=-1) if bidirectional else hidden[-1]
    torch.testing.assert_close(output.summary, last)  # PyTorch's h_n: each direction's own last state
    shape = LstmConfig(8, num_layers, 0.0, bidirectional, None, skip_connections=False).shape
    assert (output.sequence.shape[-1], output.summary.shape[-1]) == shape


@pytest.mark.parametrize("bidirectional", [False, True])
def test_skips_add_each_layers_input_from_the_second_on(bidirectional):
    branch, x = branch_of(3, bidirectional=bidirectional, skips=True), torch.randn(3, 7, 5)
    first = branch.layers[0](x)[0]
    second = first + branch.layers[1](first)[0]
    torch.testing.assert_close(branch(x).sequence, second + branch.layers[2](second)[0])
    single = branch_of(1, skips=True)
    torch.testing.assert_close(single(x).sequence, single.layers[0](x)[0])


def test_attention_pools_over_the_whole_sequence():
    branch = branch_of(attention_heads=2, bidirectional=True)
    output = branch(torch.randn(3, 7, 5))
    torch.testing.assert_close(output.summary, branch.pooling(output.sequence))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_follows_every_layer_also_a_single_one_and_only_in_training(num_layers):
    branch, x = branch_of(num_layers, dropout=0.5), torch.randn(16, 20, 5)
    assert 0.45 < float((branch.train()(x).sequence == 0).double().mean()) < 0.55
    assert not bool((branch.eval()(x).sequence == 0).any())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_forward_lstm_is_causal_and_a_bidirectional_one_is_not(bidirectional):
    branch, x = branch_of(bidirectional=bidirectional), torch.randn(1, 7, 5)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(branch(x).sequence[:, :4], branch(changed).sequence[:, :4]) is not bidirectional
