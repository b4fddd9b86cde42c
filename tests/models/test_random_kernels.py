"""Random kernels: features by a loop over steps, and the linear model of them."""

import numpy as np
import pytest
import torch

from builders.trainings import CPU
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.layers.random_kernels import RandomKernels

SHAPES = [(1, 40), (3, 12), (6, 70), (2, 1)]


def by_hand(layer, window):
    """Features of one window ``(lookback, input_dim)``, one kernel response at a time (Dempster et al. 2023, section 3)."""
    lookback, groups = len(window), layer.channels.shape[1]
    dilations = [d for d in (1, 2, 4, 8, 16) if d == 1 or 8 * d < lookback]
    features = []
    for place in range(2 * len(dilations)):
        dilation = dilations[place % len(dilations)]
        form = window if place < len(dilations) else np.diff(window, axis=0)
        if len(form) == 0:
            form = np.zeros((1, window.shape[1]))
        counts = np.zeros((2, groups, 8))
        for step in range(len(form)):
            for group in range(groups):
                read = form @ layer.channels[place, group].numpy()
                at = step + dilation * np.arange(-4, 5)
                seen = np.where((at >= 0) & (at < len(form)), read[np.clip(at, 0, len(form) - 1)], 0)
                responses = layer.kernels[place].reshape(groups, 8, 9)[group].numpy() @ seen
                won, lost = responses == responses.max(), responses == responses.min()
                counts[:, group] += [won * responses, lost]
        features.append(np.sqrt(np.maximum(counts / len(form), 0)).transpose(0, 1, 2).swapaxes(0, 1).reshape(-1))
    return np.concatenate(features)


@pytest.mark.parametrize(("input_dim", "lookback"), SHAPES)
def test_the_features_are_those_of_the_paper(input_dim, lookback):
    layer = RandomKernels(input_dim, lookback, groups=2)
    x = torch.randn(3, lookback, input_dim)
    expected = np.stack([by_hand(layer, window.double().numpy()) for window in x])
    np.testing.assert_allclose(layer(x).numpy(), expected, atol=2e-3)  # the root of rounding errors of 1e-7 near 0


@torch.no_grad()
@pytest.mark.parametrize("inputs", [{}, {"inputs.window_norm": True}])
def test_a_network_adds_a_linear_model_of_the_normalised_features(make_config, batch, inputs):
    groups = {"highway.kernel_groups": 4}
    network = build_network(make_config(groups | inputs), seed=1, device=CPU)
    plain = build_network(make_config(inputs), seed=1, device=CPU).eval()
    features = network.fixed_features(batch)
    assert features.shape == (len(batch), network.config.fixed_width(batch.shape[1]))
    assert plain.fixed_features(batch) is None
    torch.testing.assert_close(network.eval()(batch), plain(batch))  # the weights start at 0
    kernels = getattr(network, "network", network).kernels
    kernels.weights.weight.normal_()
    kernels.norm.mean.copy_(features.mean(0))
    kernels.norm.variance.copy_(features.var(0))
    deviation = (features.var(0) + 1e-5).sqrt()
    linear = (features - features.mean(0)) / deviation / features.shape[1] ** 0.25 @ kernels.weights.weight.T
    for found in (network(batch), network(batch, features)):
        torch.testing.assert_close(found.logits, plain(batch).logits + linear[:, :2])
        torch.testing.assert_close(found.value, plain(batch).value + linear[:, 2])


def test_the_weights_learn_and_the_kernels_stay(make_config, batch):
    network = build_network(make_config({"highway.kernel_groups": 4}), seed=1, device=CPU).train()
    (network(batch).logits[:, 0].sum() + network(batch).value.square().sum()).backward()
    assert float(network.kernels.weights.weight.grad.norm()) > 0
    assert not any("kernels.features" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize(("input_dim", "lookback"), SHAPES)
def test_size_is_that_of_the_stored_network(make_config, groups, input_dim, lookback):
    config = make_config({"highway.kernel_groups": groups}, input_dim=input_dim, lookback=lookback)
    stored = sum(each.numel() for each in build_network(config, seed=1, device=CPU).state_dict().values())
    cost = config.cost(lookback=lookback)
    assert cost.parameters + cost.buffers == stored
