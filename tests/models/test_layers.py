"""Attention, dropout and branches against PyTorch, numpy, loops and statistics."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.cnn_lstm.cnn import ConvBranch
from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.layers.attention import AttentionPooling, MultiHeadAttention, SelfAttention
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.recompute import run


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_multi_head_attention_equals_pytorchs(heads):
    """Without a bias of the keys and a projection of the output."""
    layer = MultiHeadAttention(16, 16, 16, heads=heads)
    query, source = torch.randn(3, 5, 16), torch.randn(3, 9, 16)
    weight = torch.cat([layer.query.weight, layer.key.weight, layer.value.weight])
    bias = torch.cat([layer.query.bias, torch.zeros(16), layer.value.bias])
    options = {"bias_k": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0}
    options |= {"out_proj_weight": torch.eye(16), "out_proj_bias": torch.zeros(16)}
    inputs = (each.transpose(0, 1) for each in (query, source, source))
    expected, _ = functional.multi_head_attention_forward(*inputs, 16, heads, weight, bias, **options)
    torch.testing.assert_close(layer(query, source), expected.transpose(0, 1))


@torch.no_grad()
def test_multi_head_attention_equals_loops_when_all_widths_differ():
    layer = MultiHeadAttention(6, 10, 8, heads=4)
    query, source, expected = torch.randn(2, 3, 6), torch.randn(2, 5, 10), torch.zeros(2, 3, 8)
    q, k, v = layer.query(query), layer.key(source), layer.value(source)
    for window, step, head in itertools.product(range(2), range(3), range(4)):
        part = slice(2 * head, 2 * head + 2)
        scores = [math.exp(q[window, step, part] @ k[window, s, part] / math.sqrt(2)) for s in range(5)]
        expected[window, step, part] = sum(scores[s] / sum(scores) * v[window, s, part] for s in range(5))
    torch.testing.assert_close(layer(query, source), expected)


def test_self_attention_adds_to_its_input():
    layer, x = SelfAttention(8, heads=2), torch.randn(2, 5, 8)
    normed = functional.layer_norm(x, (8,))
    torch.testing.assert_close(layer(x), x + layer.output(layer.attention(normed, normed)))


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_attention_pooling_equals_loops_in_any_order_of_steps(heads):
    layer, x, expected, share = AttentionPooling(8, heads=heads), torch.randn(3, 6, 8), torch.zeros(3, 8), 8 // heads
    for window, head in itertools.product(range(3), range(heads)):
        scores, part = (
            [math.exp(layer.score.weight[head] @ bar) for bar in x[window]],
            slice(head * share, (head + 1) * share),
        )
        expected[window, part] = sum(scores[step] / sum(scores) * x[window, step, part] for step in range(6))
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[:, [2, 0, 1, 5, 4, 3]]), expected)


COUNT = 200_003  # no multiple of four


def dropped(p, seed=0, shape=(COUNT,), dtype=torch.float32):
    torch.manual_seed(seed)
    return Dropout(p).train()(torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.25, 0.5, 0.95])
def test_the_share_of_zeros_is_the_rate_and_the_mean_is_unchanged_and_the_gradient_is_the_mask(p):
    x = torch.ones(COUNT, requires_grad=True)
    y = Dropout(p).train()(x)
    y.sum().backward()
    y = y.detach()
    assert torch.equal(x.grad, y)
    assert abs(float((y == 0).double().mean()) - p) < 5 * math.sqrt(p * (1 - p) / COUNT)
    assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)
    assert float(y.double().mean()) == pytest.approx(1.0, abs=5 * math.sqrt(p / (1 - p) / COUNT))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 64])
def test_neighbours_are_dropped_independently(lag):
    """Four masks come from one random word."""
    zero = (dropped(0.5) == 0).double() - 0.5
    assert abs(4 * float((zero[:-lag] * zero[lag:]).mean())) < 5 / math.sqrt(COUNT)


def test_the_seed_decides_shapes_and_types_are_kept_and_it_is_the_identity_in_evaluation_and_at_rate_zero():
    assert torch.equal(dropped(0.4, seed=3), dropped(0.4, seed=3))
    assert not torch.equal(dropped(0.4, seed=3), dropped(0.4, seed=4))
    for shape in ((), (0,), (1,), (2, 3, 5)):
        assert dropped(0.4, shape=shape).shape == shape
    assert dropped(0.4, dtype=torch.bfloat16).dtype is torch.bfloat16
    x = torch.randn(100)
    for layer, expected in ((Dropout(0.5).eval(), x), (Dropout(0.0), x), (Dropout(1.0), torch.zeros(100))):
        assert torch.equal(layer(x), expected)
    assert isinstance(Dropout(0.1), nn.Dropout)


@pytest.mark.parametrize(
    ("recompute", "with_gradients", "passes"), [(False, True, 1), (True, False, 1), (True, True, 2)]
)
def test_a_part_is_passed_twice_only_where_backward_needs_it(recompute, with_gradients, passes):
    seen, x = [], torch.randn(3, requires_grad=True)

    def part(first, second):
        seen.append(first)
        return torch.sin(first) * second

    with torch.set_grad_enabled(with_gradients):
        y = run(part, x, torch.arange(3.0), recompute=recompute)
    assert len(seen) == 1
    if with_gradients:
        y.sum().backward()
        torch.testing.assert_close(x.grad, torch.cos(x.detach()) * torch.arange(3.0))
    assert len(seen) == passes


def cnn_branch(sizes=(3, 5), dropout=0.0, activation="relu", residual=False, attention_heads=None):
    return ConvBranch(2, CnnConfig(4, sizes, dropout, activation, residual, attention_heads))


def convolved(branch, x):
    """numpy's 'same' convolution of one window ``(time, features)``, filter by filter: ``(time, width)``."""
    columns = []
    for conv in branch.convs:
        for kernel, bias in zip(conv.weight.detach().numpy(), conv.bias.detach().numpy(), strict=True):
            # numpy flips the kernel, a network does not; padding by hand as numpy's "same" pads to the longer operand
            padded = np.pad(x, ((kernel.shape[1] // 2,) * 2, (0, 0)))
            columns.append(bias + sum(np.convolve(padded[:, f], kernel[f, ::-1], "valid") for f in range(x.shape[1])))
    return np.stack(columns, axis=1)


ACTIVATIONS = {
    "relu": lambda t: t.clamp(min=0),
    "gelu": lambda t: t * 0.5 * (1 + torch.erf(t / 2**0.5)),
    "swish": lambda t: t / (1 + torch.exp(-t)),
}


@pytest.mark.parametrize("lookback", [2, 6, 20])
@pytest.mark.parametrize(
    ("sizes", "residual", "heads"), [((3, 5, 7), False, None), ((3, 5, 7, 11), True, None), ((1,), False, 2)]
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_sequence_equals_numpys_convolution_normed_and_activated(activation, sizes, residual, heads, lookback):
    """The shortcut adds a linear view of the bar itself; the summary is the mean over time and the last step."""
    branch, x = cnn_branch(sizes, 0.0, activation, residual, heads), torch.randn(3, lookback, 2)
    filtered = torch.from_numpy(np.stack([convolved(branch, window.numpy()) for window in x])).float()
    deviation = torch.sqrt(filtered.var(dim=-1, keepdim=True, correction=0) + 1e-5)
    expected = ACTIVATIONS[activation]((filtered - filtered.mean(dim=-1, keepdim=True)) / deviation)
    if residual:
        expected = expected + x @ branch.shortcut.weight.T + branch.shortcut.bias
    if heads:
        expected = branch.attention(expected)
    sequence, summary = branch(x)
    torch.testing.assert_close(sequence, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(summary, torch.cat([sequence.sum(dim=1) / lookback, sequence[:, -1]], dim=1))
    shape = CnnConfig(4, sizes, 0.0, activation, residual, heads).shape
    assert (sequence.shape[-1], summary.shape[-1]) == shape == (4 * len(sizes), 8 * len(sizes))


def test_a_step_sees_no_further_than_half_the_largest_filter():
    branch, x = cnn_branch((3, 7)), torch.randn(1, 20, 2)
    changed = x.clone()
    changed[:, 10] += 1
    moved = (branch(x).sequence != branch(changed).sequence).any(dim=-1)[0]
    assert moved.nonzero().flatten().tolist() == list(range(7, 14))


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
def test_skips_add_each_layers_input_from_the_second_on_and_attention_pools_the_sequence(bidirectional):
    branch, x = lstm_branch(3, 0.0, bidirectional, 2, skips=True), torch.randn(3, 7, 5)
    first = branch.layers[0](x)[0]
    second = first + branch.layers[1](first)[0]
    sequence, summary = branch(x)
    torch.testing.assert_close(sequence, second + branch.layers[2](second)[0])
    torch.testing.assert_close(summary, branch.pooling(sequence))
    single = lstm_branch(1, skips=True)
    torch.testing.assert_close(single(x).sequence, single.layers[0](x)[0])


@pytest.mark.parametrize("layers", [None, 1, 2])
def test_dropout_follows_the_cnn_and_every_lstm_layer_also_a_single_one_and_only_in_training(layers):
    branch = lstm_branch(layers, dropout=0.5) if layers else cnn_branch(dropout=0.5, activation="gelu")
    x = torch.randn(16, 20, 5 if layers else 2)
    assert 0.45 < float((branch.train()(x).sequence == 0).double().mean()) < 0.55
    assert not bool((branch.eval()(x).sequence == 0).any())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_forward_lstm_is_causal_and_a_bidirectional_one_is_not(bidirectional):
    branch, x = lstm_branch(bidirectional=bidirectional), torch.randn(1, 7, 5)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(branch(x).sequence[:, :4], branch(changed).sequence[:, :4]) is not bidirectional
