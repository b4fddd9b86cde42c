"""The four fusions against their formulas, and what all of them keep."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_lstm_hyperopt.config import PARAMETERS
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.network import FusionLayers
from cnn_lstm_hyperopt.models.cnn_lstm.params import read_fusion

CNN, LSTM, DIM = BranchShape(6, 12), BranchShape(10, 10), 8


def fusion_of(method: str) -> nn.Module:
    """With the first choice of the parameters that only this fusion has."""
    member = FUSIONS[method]
    own = {name: spec.default.values[0] for name, spec in member.parameters.items()}
    return FusionLayers(member(method=method, dim=DIM, dropout=0.0, **own), CNN, LSTM)


def branches(batch: int = 3, steps: int = 5) -> tuple[BranchOutput, BranchOutput]:
    return tuple(
        BranchOutput(torch.randn(batch, steps, shape.width), torch.randn(batch, shape.summary_width))
        for shape in (CNN, LSTM)
    )


def linear(layer: nn.Linear, x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def summaries(cnn: BranchOutput, lstm: BranchOutput) -> tuple[NDArray[np.float64], ...]:
    c, v = cnn.summary.double().numpy(), lstm.summary.double().numpy()
    return c, v, np.concatenate([c, v], axis=1)


def test_the_fusions_keep_their_places_on_which_random_draws_depend():
    assert list(FUSIONS)[:4] == ["concatenation", "attention", "gated", "bilinear"]
    assert tuple(FUSIONS) == PARAMETERS["fusion.method"].options == PARAMETERS["fusion.method"].default.values


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_the_parameters_of_a_fusion_are_its_own_fields(method):
    own = [f"fusion.{name}" for name in FUSIONS[method].parameters]
    assert own == [f"fusion.{each.name}" for each in fields(FUSIONS[method])][3:]
    assert all(PARAMETERS[name].when["fusion.method"] == (method,) for name in own)


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_every_fusion_has_the_weights_that_it_counts(method):
    layers = fusion_of(method)
    counted = layers._fusion.cost(CNN, LSTM, 7).parameters
    assert counted == sum(weight.numel() for weight in layers.parameters())


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_every_fusion_gives_one_finite_vector_a_window(method):
    for batch, steps in ((1, 2), (3, 5), (4, 60)):
        fused = fusion_of(method)(*branches(batch, steps))
        assert fused.shape == (batch, DIM)
        assert bool(fused.isfinite().all())


@pytest.mark.parametrize("method", sorted(FUSIONS))
def test_every_fusion_reads_both_branches(method):
    fusion, (cnn, lstm) = fusion_of(method), branches()
    fused = fusion(cnn, lstm)
    others = branches()
    assert not torch.allclose(fusion(others[0], lstm), fused)
    assert not torch.allclose(fusion(cnn, others[1]), fused)


def test_concatenation_is_a_rectified_linear_layer_of_both_summaries():
    fusion, (cnn, lstm) = fusion_of("concatenation"), branches()
    _, _, both = summaries(cnn, lstm)
    expected = np.maximum(linear(fusion.project, both), 0)
    np.testing.assert_allclose(fusion(cnn, lstm).detach(), expected, rtol=1e-4, atol=1e-6)


def test_the_gated_unit_equals_the_papers_formula():
    """h = z ∘ tanh(W_c c) + (1 − z) ∘ tanh(W_l l), z = σ(W_z [c, l])."""
    fusion, (cnn, lstm) = fusion_of("gated"), branches()
    c, v, both = summaries(cnn, lstm)
    z = 1 / (1 + np.exp(-linear(fusion.gate, both)))
    expected = z * np.tanh(linear(fusion.from_cnn, c)) + (1 - z) * np.tanh(linear(fusion.from_lstm, v))
    np.testing.assert_allclose(fusion(cnn, lstm).detach(), expected, rtol=1e-4, atol=1e-6)


def test_a_gate_that_is_wide_open_lets_the_cnn_through_alone():
    fusion, (cnn, lstm) = fusion_of("gated"), branches()
    nn.init.constant_(fusion.gate.bias, 100.0)
    torch.testing.assert_close(fusion(cnn, lstm), torch.tanh(fusion.from_cnn(cnn.summary)))
    nn.init.constant_(fusion.gate.bias, -100.0)
    torch.testing.assert_close(fusion(cnn, lstm), torch.tanh(fusion.from_lstm(lstm.summary)))


def test_bilinear_pooling_equals_the_papers_formula():
    """P (tanh(U c) ∘ tanh(V l)) + b."""
    fusion, (cnn, lstm) = fusion_of("bilinear"), branches()
    c, v, _ = summaries(cnn, lstm)
    expected = linear(fusion.project, np.tanh(linear(fusion.from_cnn, c)) * np.tanh(linear(fusion.from_lstm, v)))
    np.testing.assert_allclose(fusion(cnn, lstm).detach(), expected, rtol=1e-4, atol=1e-6)


def test_in_cross_attention_each_summary_asks_the_other_branchs_sequence():
    fusion, (cnn, lstm) = fusion_of("attention"), branches()

    def answers(asking: nn.Module, query: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        rows = []
        for window in range(len(query)):
            q, k, v = asking.query(query[window]), asking.key(source[window]), asking.value(source[window])
            parts = []
            for head in range(4):
                part = slice(head * 2, head * 2 + 2)
                weights = torch.softmax(k[:, part] @ q[part] / 2**0.5, dim=0)
                parts.append(weights @ v[:, part])
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    from_lstm = answers(fusion.cnn_asks, cnn.summary, lstm.sequence)
    from_cnn = answers(fusion.lstm_asks, lstm.summary, cnn.sequence)
    expected = torch.relu(fusion.project(torch.cat([from_lstm, from_cnn], dim=1)))
    torch.testing.assert_close(fusion(cnn, lstm), expected)


def test_cross_attention_without_heads_says_what_is_missing():
    params = {"fusion.method": "attention", "fusion.dim": DIM, "fusion.dropout": 0.0}
    with pytest.raises(ConfigError, match=r"fusion\.attention_heads is missing"):
        read_fusion(params)
