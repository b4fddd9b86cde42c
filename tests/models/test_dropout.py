"""Dropout: independent zeros of the right share, the rest scaled so that the mean is unchanged."""

import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.models.layers.dropout import Dropout

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
