"""The branches against numpy and one stacked nn.LSTM."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.cnn_lstm.cnn import ConvBranch
from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig


def cnn_branch(sizes=(3, 5), dropout=0.0, activation="relu", residual=False, attention_heads=None):
    return ConvBranch(2, CnnConfig(4, sizes, dropout, activation, residual, attention_heads))


def convolved(branch, x):
    """numpy's 'same' convolution of one window ``(time, features)``, filter by filter: ``(time, width)``."""
    columns = []
    for conv in branch.convs:
        kernels, biases = conv.weight.detach().numpy(), conv.bias.detach().numpy()
        for kernel, bias in zip(kernels, biases, strict=True):  # (features, size)
            # numpy flips the kernel, a network does not; padding by hand as numpy's "same" pads to the longer operand
            half = kernel.shape[1] // 2
            padded = np.pad(x, ((half, half), (0, 0)))
            columns.append(bias + sum(np.convolve(padded[:, f], kernel[f, ::-1], "valid") for f in range(x.shape[1])))
    return np.stack(columns, axis=1)


ACTIVATIONS = {
    "relu": lambda t: t.clamp(min=0),
    "gelu": lambda t: t * 0.5 * (1 + torch.erf(t / 2**0.5)),
    "swish": lambda t: t / (1 + torch.exp(-t)),
}


@pytest.mark.parametrize("lookback", [2, 6, 20])
@pytest.mark.parametrize("sizes", [(3, 5, 7), (3, 5, 7, 11), (1,)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_sequence_equals_numpys_convolution_normed_and_activated(activation, sizes, lookback):
    branch, x = cnn_branch(sizes, activation=activation), torch.randn(3, lookback, 2)
    filtered = torch.from_numpy(np.stack([convolved(branch, window.numpy()) for window in x])).float()
    deviation = torch.sqrt(filtered.var(dim=-1, keepdim=True, correction=0) + 1e-5)
    expected = ACTIVATIONS[activation]((filtered - filtered.mean(dim=-1, keepdim=True)) / deviation)
    torch.testing.assert_close(branch(x).sequence.detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_summary_is_the_mean_over_time_and_the_last_step():
    sequence, summary = cnn_branch()(torch.randn(3, 6, 2))
    torch.testing.assert_close(summary, torch.cat([sequence.sum(dim=1) / 6, sequence[:, 5]], dim=1))
    shape = CnnConfig(4, (3, 5), 0.0, "relu", residual=False, attention_heads=None).shape
    assert (sequence.shape[-1], summary.shape[-1]) == shape == (8, 16)


def test_the_shortcut_adds_a_linear_view_of_the_bar_itself():
    branch, x = cnn_branch(residual=True), torch.randn(3, 6, 2)
    straight = x @ branch.shortcut.weight.T + branch.shortcut.bias
    filtered = torch.cat([conv(x.transpose(1, 2)) for conv in branch.convs], dim=1).transpose(1, 2)
    activated = functional.relu(functional.layer_norm(filtered, (8,)))
    torch.testing.assert_close(branch(x).sequence, activated + straight)


def test_self_attention_reads_the_filtered_sequence():
    branch, x = cnn_branch(attention_heads=2), torch.randn(3, 6, 2)
    attention, branch.attention = branch.attention, None
    without, branch.attention = branch(x).sequence, attention
    torch.testing.assert_close(branch(x).sequence, attention(without))


def test_a_step_sees_no_further_than_half_the_largest_filter():
    branch, x = cnn_branch((3, 7)), torch.randn(1, 20, 2)
    changed = x.clone()
    changed[:, 10] += 1
    moved = (branch(x).sequence != branch(changed).sequence).any(dim=-1)[0]
    assert moved.nonzero().flatten().tolist() == list(range(7, 14))


def test_dropout_is_for_training_only():
    branch, x = cnn_branch(dropout=0.5, activation="gelu"), torch.randn(8, 50, 2)
    assert 0.45 < float((branch.train()(x).sequence == 0).double().mean()) < 0.55
    assert torch.equal(branch.eval()(x).sequence, branch(x).sequence)


def lstm_branch(layers=2, dropout=0.0, bidirectional=False, attention_heads=None, skips=False):
    return LstmBranch(5, LstmConfig(8, layers, dropout, bidirectional, attention_heads, skip_connections=skips))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_without_skips_it_equals_one_stacked_lstm(num_layers, bidirectional):
    branch, x = lstm_branch(num_layers, bidirectional=bidirectional), torch.randn(3, 7, 5)
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
    branch, x = lstm_branch(3, bidirectional=bidirectional, skips=True), torch.randn(3, 7, 5)
    first = branch.layers[0](x)[0]
    second = first + branch.layers[1](first)[0]
    torch.testing.assert_close(branch(x).sequence, second + branch.layers[2](second)[0])
    single = lstm_branch(1, skips=True)
    torch.testing.assert_close(single(x).sequence, single.layers[0](x)[0])


def test_attention_pools_over_the_whole_sequence():
    branch = lstm_branch(attention_heads=2, bidirectional=True)
    output = branch(torch.randn(3, 7, 5))
    torch.testing.assert_close(output.summary, branch.pooling(output.sequence))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_follows_every_layer_also_a_single_one_and_only_in_training(num_layers):
    branch, x = lstm_branch(num_layers, dropout=0.5), torch.randn(16, 20, 5)
    assert 0.45 < float((branch.train()(x).sequence == 0).double().mean()) < 0.55
    assert not bool((branch.eval()(x).sequence == 0).any())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_forward_lstm_is_causal_and_a_bidirectional_one_is_not(bidirectional):
    branch, x = lstm_branch(bidirectional=bidirectional), torch.randn(1, 7, 5)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(branch(x).sequence[:, :4], branch(changed).sequence[:, :4]) is not bidirectional
