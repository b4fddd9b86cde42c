"""Attention against PyTorch's own and against loops."""

import math

import pytest
import torch
from torch.nn import functional

from cnn_lstm_hyperopt.models.layers.attention import AttentionPooling, MultiHeadAttention, SelfAttention


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
