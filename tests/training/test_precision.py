"""bfloat16: the same training with coarser products, on weights that stay float32."""

import math

import pytest
import torch

from builders.trainings import CPU, SCALE, network, windows
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import evaluate, predict
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import computing_in, supported_precisions

needs_bfloat16 = pytest.mark.skipif(
    "bfloat16" not in supported_precisions(CPU), reason="this CPU computes bfloat16 in software, many times slower"
)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_bfloat16_is_offered_where_the_hardware_computes_it(monkeypatch, avx512, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert supported_precisions(CPU) == (("float32", "bfloat16") if avx512 or amx else ("float32",))


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_in_the_precision_only_within_the_context_and_outputs_become_float32(precision, dtype):
    a = torch.randn(3, 3)
    with computing_in(precision, CPU):
        output = Output(a @ a, a @ a)
    assert output.logits.dtype is dtype
    assert (a @ a).dtype is torch.float32
    assert [part.dtype for part in output.as_float32()] == [torch.float32, torch.float32]
    assert Output(output.logits, None).as_float32().value is None


@needs_bfloat16
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_in_bfloat16_ends_near_that_in_float32_and_repeats_to_the_bit(training, monkeypatch, optimizer):
    losses, made, make = {}, [], OPTIMIZERS[optimizer].make
    monkeypatch.setattr(OPTIMIZERS[optimizer], "make", lambda *args: made.append(make(*args)) or made[-1])
    for precision in ("float32", "bfloat16", "bfloat16"):
        net, outcome, reports = training(
            windows(200, 1), windows(100, 2), max_epochs=4, precision=precision, optimizer=optimizer
        )
        assert all(math.isfinite(report.loss) for report in reports if report.loss is not None)
        stored = [value for state in made[-1].state.values() for value in state.values() if torch.is_tensor(value)]
        assert {each.dtype for each in [*net.parameters(), *(w.grad for w in net.parameters()), *stored]} == {
            torch.float32
        }
        weights = torch.cat([weight.detach().flatten() for weight in net.parameters()])
        losses.setdefault(precision, []).append((outcome.best.loss, weights))
    (single, _), (first, one), (second, other) = *losses["float32"], *losses["bfloat16"]
    assert first == second
    assert torch.equal(one, other)
    assert first == pytest.approx(single, abs=0.05)
    assert first != single
    assert first < 0.6  # chance is ln 2


@needs_bfloat16
def test_an_evaluation_in_bfloat16_is_scored_in_float32():
    net, data = network(), windows(300, 1)
    exact, coarse = (evaluate(net, data, SCALE, precision) for precision in ("float32", "bfloat16"))
    assert coarse.loss == pytest.approx(exact.loss, abs=0.02)
    assert coarse.loss != exact.loss
    assert coarse.predictions.probabilities.dtype == exact.predictions.probabilities.dtype
    assert coarse.predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert [part.dtype for part in predict(net, data, SCALE, "bfloat16")] == [torch.float32, torch.float32]
    assert evaluate(net, data, SCALE).loss == exact.loss  # float32 is the default
