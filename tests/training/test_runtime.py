"""Devices, threads, memory and numeric precision of a training."""

import ctypes
import errno
import importlib.util
import math
import platform
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from builders.trainings import CPU, SCALE, network, windows
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import evaluate, is_out_of_memory, predict
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.device import one_thread, resolve_device, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import (
    have_grown,
    memory_kills,
    peak_mb,
    reset_peak,
    resident_mb,
    total_mb,
)
from cnn_lstm_hyperopt.training.runtime.precision import computing_in, supported_precisions


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("cpu", 0, "cpu"),
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda", 0, "no-cuda"),
        ("cuda:1", 0, "no-cuda"),
        ("cuda:2", 2, "no-such-device"),
    ],
)
def test_a_name_means_a_device_that_is_there(monkeypatch, name, count, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if not expected.startswith("no-"):
        assert resolve_device(name) == torch.device(expected)
        return
    with pytest.raises(ConfigError) as caught:
        resolve_device(name)
    assert (caught.value.field, caught.value.code) == ("--device", expected)


def test_one_thread_restores_the_threads_also_after_an_error():
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_seeded_dropout_repeats_for_seeds_of_63_bits_and_leaves_the_global_generator_alone():
    before, draws = torch.get_rng_state(), []
    for seed in (2**63 - 1, 2**63 - 1, 2**31 - 1):
        with seeded_dropout(seed, CPU):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_on_a_gpu_the_devices_memory_counts(monkeypatch):
    gpu, resets = torch.device("cuda"), []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=8_000_000))
    reset_peak(gpu)
    assert (resets, peak_mb(gpu), total_mb(gpu)) == ([gpu], 5.0, 8.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_the_machine_has_more_memory_than_the_process_and_counts_its_kills():
    assert 0 < resident_mb() < total_mb(CPU)
    boot, count = memory_kills() or ["not known here", 0]
    cases = {(boot, count): False, (boot, count + 1): True, ("another boot", count + 1): False, None: False}
    assert {now: have_grown([boot, count], now) for now in cases} == cases
    assert not have_grown(None, [boot, count])


def test_the_peak_of_the_process_covers_what_was_allocated():
    reset_peak(CPU)
    tensor = torch.ones(10_000_000)  # 40 MB
    peak = peak_mb(CPU)
    assert peak is None or peak > tensor.numel() * 4 / 1e6


SCRIPT = """
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb

assert keep_freed_pages() is True
assert keep_freed_pages() is True
import torch
print(resident_mb())
big = [torch.ones(2_000_000) for _ in range(25)]  # 200 MB in blocks that malloc would map one by one
print(resident_mb())
del big
print(resident_mb())
give_back_pages()
print(resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has these settings")
def test_freed_memory_stays_until_it_is_returned():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, used, freed, returned = map(float, done.stdout.split())
    assert used > before + 190
    assert freed > before + 190  # by default glibc would have returned it already
    assert returned < before + 20


@pytest.mark.parametrize(
    ("system", "library", "loads"),
    [
        ("linux", ("", ""), 0),
        ("linux", ("musl", "1.2"), 0),
        ("darwin", ("glibc", "2.36"), 0),
        ("win32", ("", ""), 0),
        ("linux", ("glibc", "2.36"), 1),
    ],
)
def test_another_c_library_is_not_touched_and_one_that_refuses_is_no_error(monkeypatch, system, library, loads):
    loaded, trimmed = [], []
    refusing = SimpleNamespace(mallopt=lambda option, value: 0, malloc_trim=trimmed.append)
    spec = importlib.util.find_spec("cnn_lstm_hyperopt.training.runtime.allocator")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)  # without cached answers
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda *_: library)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or refusing)
    assert fresh.keep_freed_pages() is False
    fresh.give_back_pages()
    assert (len(loaded), len(trimmed)) == (loads, loads)


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.empty(10**15),
        lambda: torch.zeros(1).expand(10**15).contiguous(),
        lambda: np.ones(10**15),
        lambda: bytearray(10**15),
    ],
    ids=["torch", "a step's result", "numpy", "Python"],
)
def test_errors_of_requests_for_far_too_much(action):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        action()
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("bad allocation"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not execute a primitive"),
        RuntimeError("could not create a memory object"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        MemoryError(),
    ],
)
def test_errors_of_libraries_that_lack_memory(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive."),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("out of memory"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_a_lack_of_memory(error):
    assert not is_out_of_memory(error)


needs_bfloat16 = pytest.mark.skipif(
    "bfloat16" not in supported_precisions(CPU), reason="this CPU computes bfloat16 in software, many times slower"
)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_bfloat16_is_offered_where_the_hardware_computes_it(monkeypatch, avx512, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: avx512)
    assert supported_precisions(CPU) == (("float32", "bfloat16") if avx512 or amx else ("float32",))
    assert supported_precisions(torch.device("cuda")) == (("float32", "bfloat16") if avx512 else ("float32",))


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
