"""bfloat16: the same training, a little coarser, on weights that stay float32."""

import math

import pytest
import torch

from cnn_lstm_hyperopt.models.cnn_lstm.network import Output
from cnn_lstm_hyperopt.training import ValueScale, evaluate
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import computing_in, supported_precisions
from cnn_lstm_hyperopt.training.validation import predict

CPU = torch.device("cpu")
SCALE = ValueScale(5.0, 3.0)
needs_bfloat16 = pytest.mark.skipif(
    "bfloat16" not in supported_precisions(CPU), reason="this CPU computes bfloat16 in software, many times slower"
)


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [
        (False, False, ("float32",)),
        (True, False, ("float32", "bfloat16")),
        (False, True, ("float32", "bfloat16")),
    ],
)
def test_bfloat16_is_offered_where_the_hardware_computes_it(monkeypatch, avx512, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert supported_precisions(CPU) == expected


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_matrix_products_are_computed_in_the_precision_and_only_within_the_context(precision, dtype):
    a = torch.randn(3, 3)
    with computing_in(precision, CPU):
        assert (a @ a).dtype is dtype
    assert (a @ a).dtype is torch.float32


def test_an_output_in_bfloat16_is_widened_and_one_in_float32_is_left_alone():
    narrow = Output(torch.zeros(2, 2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16))
    assert [part.dtype for part in narrow.widened()] == [torch.float32, torch.float32]
    assert Output(narrow.logits, None).widened().value is None
    wide = Output(torch.zeros(2, 2), None)
    assert wide.widened() is wide


@needs_bfloat16
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_in_bfloat16_ends_near_that_in_float32_with_weights_in_float32(training, make_windows, optimizer):
    losses = {}
    for precision in ("float32", "bfloat16"):
        net, outcome, reports = training(
            make_windows(200, 1), make_windows(100, 2), max_epochs=4, precision=precision, optimizer=optimizer
        )
        assert all(math.isfinite(report.loss) for report in reports if report.loss is not None)
        assert {weight.dtype for weight in net.state_dict().values()} == {torch.float32}
        losses[precision] = outcome.best.loss
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)
    assert losses["bfloat16"] != losses["float32"]  # it did compute otherwise
    assert losses["bfloat16"] < 0.6  # chance is ln 2


@needs_bfloat16
def test_a_training_in_bfloat16_repeats_to_the_bit(training, make_windows):
    first, again = (
        training(make_windows(80, 1), make_windows(40, 2), precision="bfloat16", early_reports=(0.5,))[0].state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)


@needs_bfloat16
def test_gradients_and_the_optimisers_numbers_are_float32(training, make_windows, make_network, monkeypatch):
    made, adam, net = [], OPTIMIZERS["adam"].make, make_network()
    monkeypatch.setattr(OPTIMIZERS["adam"], "make", lambda *args: made.append(adam(*args)) or made[0])
    training(make_windows(40, 1), make_windows(20, 2), net=net, precision="bfloat16", max_epochs=1)
    assert {weight.grad.dtype for weight in net.parameters()} == {torch.float32}
    kept = [value for state in made[0].state.values() for value in state.values() if torch.is_tensor(value)]
    assert {value.dtype for value in kept} == {torch.float32}


@needs_bfloat16
def test_an_evaluation_in_bfloat16_is_scored_in_float32(make_windows, make_network):
    net, windows = make_network(), make_windows(300, 1)
    exact, coarse = (evaluate(net, windows, SCALE, precision) for precision in ("float32", "bfloat16"))
    assert coarse.loss == pytest.approx(exact.loss, abs=0.02)
    assert coarse.loss != exact.loss
    assert coarse.predictions.probabilities.dtype == exact.predictions.probabilities.dtype
    assert coarse.predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    logits, values = predict(net, windows, SCALE, "bfloat16")
    assert (logits.dtype, values.dtype) == (torch.float32, torch.float32)
    assert evaluate(net, windows, SCALE).loss == exact.loss  # float32 is what is computed unless told
