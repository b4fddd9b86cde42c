"""Permutation importance of inputs, against a loop over windows."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from builders.finalists import params as tiny
from builders.trainings import CPU, windows
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.training.input_importance import loss_increases


def test_increases_are_those_of_single_windows_with_replaced_inputs():
    known = windows(70, seed=4)
    shape = {"n_classes": 2, "has_regression": True, "columns": {"own.off": (2,)}}
    config = network_config(tiny() | {"inputs.own.off": False}, input_dim=known.input_dim, **shape)
    network = build_network(config, seed=2, device=CPU)
    random = np.random.default_rng(5)
    sources = np.stack([random.permutation(70) for _ in range(3)])
    found = loss_increases(network, known, {"pair": (0, 1), "off": (2,)}, sources)
    np.testing.assert_allclose(found["off"], 0.0, atol=1e-6)
    network.eval()
    with torch.inference_mode():
        for place in (0, 33, 69):
            x = known.gather(torch.tensor([place]))
            label = known.labels[place : place + 1]
            losses = []
            for source in sources[:, place]:
                changed = x.clone()
                changed[..., :2] = known.gather(torch.tensor([source]))[..., :2]
                losses.append(float(functional.cross_entropy(network(changed).logits, label)))
            expected = np.mean(losses) - float(functional.cross_entropy(network(x).logits, label))
            assert found["pair"][place] == pytest.approx(expected, abs=1e-5)
