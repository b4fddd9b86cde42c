"""The four fusions against their formulas, and the contract of all fusions."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.config import PARAMETERS
from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.network import FusionLayers

CNN, LSTM, DIM = BranchShape(6, 12), BranchShape(10, 10), 8


def fusion_of(method):
    """With the first choice of the parameters that only this fusion has."""
    own = {name: spec.default.values[0] for name, spec in FUSIONS[method].parameters.items()}
    return FUSIONS[method](method=method, dim=DIM, dropout=0.0, **own)


def layers_of(method):
    return FusionLayers(fusion_of(method), CNN, LSTM)


def branches(batch=3, steps=5):
    return tuple(
        BranchOutput(torch.randn(batch, steps, shape.width), torch.randn(batch, shape.summary_width))
        for shape in (CNN, LSTM)
    )


def linear(layer, x):
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def test_the_fusions_keep_their_places_on_which_random_draws_depend():
    assert list(FUSIONS)[:4] == ["concatenation", "attention", "gated", "bilinear"]
    assert tuple(FUSIONS) == PARAMETERS["fusion.method"].options == PARAMETERS["fusion.method"].default.values


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_every_fusion_has_its_parameters_as_fields_and_the_weights_that_it_counts(method):
    own = [f"fusion.{name}" for name in FUSIONS[method].parameters]
    assert own == [f"fusion.{each.name}" for each in fields(FUSIONS[method])][3:]
    assert all(PARAMETERS[name].when["fusion.method"] == (method,) for name in own)
    counted = fusion_of(method).cost(CNN, LSTM, (7, 5)).parameters
    assert counted == sum(weight.numel() for weight in layers_of(method).parameters())


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_every_fusion_gives_one_finite_vector_a_window_and_reads_both_branches(method):
    fusion = layers_of(method)
    for batch, steps in ((1, 2), (3, 5), (4, 60)):
        (cnn, lstm), others = branches(batch, steps), branches(batch, steps)
        fused = fusion(cnn, lstm)
        assert fused.shape == (batch, DIM)
        assert bool(fused.isfinite().all())
        assert not torch.allclose(fusion(others[0], lstm), fused)
        assert not torch.allclose(fusion(cnn, others[1]), fused)


def gated(layers, c, v, both):
    """h = z ∘ tanh(W_c c) + (1 − z) ∘ tanh(W_l l), z = σ(W_z [c, l])."""
    z = 1 / (1 + np.exp(-linear(layers.gate, both)))
    return z * np.tanh(linear(layers.from_cnn, c)) + (1 - z) * np.tanh(linear(layers.from_lstm, v))


FORMULAS = {
    "concatenation": lambda layers, c, v, both: np.maximum(linear(layers.project, both), 0),
    "gated": gated,
    "bilinear": lambda layers, c, v, both: linear(
        layers.project, np.tanh(linear(layers.from_cnn, c)) * np.tanh(linear(layers.from_lstm, v))
    ),
}


# The bias of the gate: both branches, the CNN alone, the LSTM alone.
@pytest.mark.parametrize(("method", "bias"), [*((m, None) for m in FORMULAS), ("gated", 100.0), ("gated", -100.0)])
def test_fusions_of_the_summaries_equal_the_papers_formulas(method, bias):
    layers, (cnn, lstm) = layers_of(method), branches()
    if bias is not None:
        nn.init.constant_(layers.gate.bias, bias)
    c, v = cnn.summary.double().numpy(), lstm.summary.double().numpy()
    expected = FORMULAS[method](layers, c, v, np.concatenate([c, v], axis=1))
    np.testing.assert_allclose(layers(cnn, lstm).detach(), expected, rtol=1e-4, atol=1e-6)


def test_in_cross_attention_each_summary_attends_to_the_other_branchs_sequence():
    fusion, (cnn, lstm) = layers_of("attention"), branches()

    def answers(asking, query, source):
        rows = []
        for window in range(len(query)):
            q, k, v = asking.query(query[window]), asking.key(source[window]), asking.value(source[window])
            parts = [slice(head * 2, head * 2 + 2) for head in range(4)]
            rows.append(torch.cat([torch.softmax(k[:, p] @ q[p] / 2**0.5, dim=0) @ v[:, p] for p in parts]))
        return torch.stack(rows)

    from_lstm = answers(fusion.cnn_asks, cnn.summary, lstm.sequence)
    from_cnn = answers(fusion.lstm_asks, lstm.summary, cnn.sequence)
    expected = torch.relu(fusion.project(torch.cat([from_lstm, from_cnn], dim=1)))
    torch.testing.assert_close(fusion(cnn, lstm), expected)
