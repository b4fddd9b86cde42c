"""Gradient checkpointing of parts of a network."""

import pytest
import torch

from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.layers.recompute import run


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


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("number", range(4))
def test_networks_of_the_space_have_the_same_gradients_with_it(random_config, batch, number):
    gradients = []
    for recompute in (False, True):
        network = build_network(random_config(number), seed=1, device=torch.device("cpu")).train()
        network.recompute_in_backward(recompute)
        torch.manual_seed(0)
        output = network(batch)
        (output.logits[:, 0].sum() + output.value.sum()).backward()
        gradients.append([weight.grad for weight in network.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
