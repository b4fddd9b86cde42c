"""Attention, dropout and gradient checkpointing against PyTorch, loops and statistics."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.layers.attention import AttentionPooling, MultiHeadAttention, SelfAttention
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.recompute import run


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_multi_head_attention_equals_pytorchs(heads):
    """Without a bias of the keys and a projection of the output."""
    layer = MultiHeadAttention(16, 16, 16, heads=heads)
    query, source = torch.randn(3, 5, 16), torch.randn(3, 9, 16)
    expected, _ = functional.multi_head_attention_forward(
        *(each.transpose(0, 1) for each in (query, source, source)),
        embed_dim_to_check=16,
        num_heads=heads,
        in_proj_weight=torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]),
        in_proj_bias=torch.cat([layer.query.bias, torch.zeros(16), layer.value.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=torch.eye(16),
        out_proj_bias=torch.zeros(16),
    )
    torch.testing.assert_close(layer(query, source), expected.transpose(0, 1))


@torch.no_grad()
def test_multi_head_attention_equals_loops_when_all_widths_differ():
    layer = MultiHeadAttention(6, 10, 8, heads=4)
    query, source = torch.randn(2, 3, 6), torch.randn(2, 5, 10)
    q, k, v = layer.query(query), layer.key(source), layer.value(source)
    expected = torch.zeros(2, 3, 8)
    for window in range(2):
        for step in range(3):
            for head in range(4):
                part = slice(2 * head, 2 * head + 2)
                scores = [float(q[window, step, part] @ k[window, s, part]) / math.sqrt(2) for s in range(5)]
                weights = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
                expected[window, step, part] = sum(weights[s] * v[window, s, part] for s in range(5))
    torch.testing.assert_close(layer(query, source), expected)


def test_self_attention_adds_to_its_input():
    layer, x = SelfAttention(8, heads=2), torch.randn(2, 5, 8)
    normed = functional.layer_norm(x, (8,))
    torch.testing.assert_close(layer(x), x + layer.output(layer.attention(normed, normed)))
    torch.nn.init.zeros_(layer.output.weight)
    torch.nn.init.zeros_(layer.output.bias)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_attention_pooling_equals_loops_in_any_order_of_steps(heads):
    layer, x, expected, share = AttentionPooling(8, heads=heads), torch.randn(3, 6, 8), torch.zeros(3, 8), 8 // heads
    for window in range(3):
        for head in range(heads):
            scores = [float(layer.score.weight[head] @ x[window, step]) for step in range(6)]
            total = sum(math.exp(score) for score in scores)
            for step in range(6):
                part = slice(head * share, (head + 1) * share)
                expected[window, part] += math.exp(scores[step]) / total * x[window, step, part]
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[:, [2, 0, 1, 5, 4, 3]]), expected)


COUNT = 200_003  # no multiple of four


def dropped(p, seed=0, shape=(COUNT,), dtype=torch.float32):
    torch.manual_seed(seed)
    return Dropout(p).train()(torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize("p", [0.01, 0.1, 0.25, 0.5, 0.95])
def test_the_share_of_zeros_is_the_rate_and_the_mean_is_unchanged(p):
    y = dropped(p)
    assert abs(float((y == 0).double().mean()) - p) < 5 * math.sqrt(p * (1 - p) / COUNT)
    assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)
    assert float(y.double().mean()) == pytest.approx(1.0, abs=5 * math.sqrt(p / (1 - p) / COUNT))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 64])
def test_neighbours_are_dropped_independently(lag):
    """Four masks come from one random word."""
    zero = (dropped(0.5) == 0).double() - 0.5
    assert abs(4 * float((zero[:-lag] * zero[lag:]).mean())) < 5 / math.sqrt(COUNT)


def test_the_gradient_is_the_mask():
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.3).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_the_seed_decides_and_shapes_and_types_are_kept():
    assert torch.equal(dropped(0.4, seed=3), dropped(0.4, seed=3))
    assert not torch.equal(dropped(0.4, seed=3), dropped(0.4, seed=4))
    for shape in ((), (0,), (1,), (2, 3, 5)):
        assert dropped(0.4, shape=shape).shape == shape
    assert dropped(0.4, dtype=torch.bfloat16).dtype is torch.bfloat16


def test_it_is_the_identity_in_evaluation_and_at_rate_zero_and_zero_at_rate_one():
    x = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.equal(Dropout(1.0).train()(x), torch.zeros(100))
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
