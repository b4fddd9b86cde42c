"""Devices, threads, memory and numeric precision of a training."""

import contextlib
import ctypes
import errno
import importlib.util
import math
import platform
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from builders.trainings import CPU, SCALE, Training, assert_same_end, windows
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import evaluate, is_out_of_memory, predict
from cnn_lstm_hyperopt.training.runtime import memory
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

NAMES = [(0, "cpu", "cpu"), (0, "auto", "cpu"), (0, "cuda", "no-cuda"), (0, "cuda:1", "no-cuda")]
NAMES += [(2, "auto", "cuda"), (2, "cuda:1", "cuda:1"), (2, "cuda:2", "no-such-device")]


@pytest.mark.parametrize(("count", "name", "expected"), NAMES)
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
    with contextlib.suppress(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


def test_seeded_dropout_repeats_for_seeds_of_63_bits_and_leaves_the_global_generator_alone():
    before, draws = torch.get_rng_state(), []
    for seed in (2**63 - 1, 2**63 - 1, 2**31 - 1):
        with seeded_dropout(seed, CPU):
            draws.append(tuple(torch.rand(4).tolist()))
    assert draws[0] == draws[1] != draws[2]
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
    reset_peak(CPU)
    tensor = torch.ones(10_000_000)  # 40 MB
    peak = peak_mb(CPU)
    assert peak is None or peak > tensor.numel() * 4 / 1e6


def test_the_memory_of_a_container_is_its_limit_and_systems_without_proc_are_unknown(monkeypatch, tmp_path):
    (tmp_path / "limit").write_text("5000000\n")
    for name, file in {"_STATUS": "none", "_VMSTAT": "none", "_CGROUP": "limit"}.items():
        monkeypatch.setattr(memory, name, tmp_path / file)
    assert (resident_mb(), memory_kills(), total_mb(CPU)) == (0.0, None, 5.0)


SCRIPT = """
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
assert keep_freed_pages() is keep_freed_pages() is True
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


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("library", ["", "musl", "glibc"])
def test_another_c_library_is_not_touched_and_one_that_refuses_is_no_error(monkeypatch, system, library):
    loaded, trimmed, loads = [], [], int((system, library) == ("linux", "glibc"))
    refusing = SimpleNamespace(mallopt=lambda option, value: 0, malloc_trim=trimmed.append)
    spec = importlib.util.find_spec("cnn_lstm_hyperopt.training.runtime.allocator")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)  # without cached answers
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda *_: (library, "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or refusing)
    assert fresh.keep_freed_pages() is False
    fresh.give_back_pages()
    assert (len(loaded), len(trimmed)) == (loads, loads)


REQUESTS = [lambda: torch.empty(10**15), lambda: torch.zeros(1).expand(10**15).contiguous()]
REQUESTS += [lambda: np.ones(10**15), lambda: bytearray(10**15)]


@pytest.mark.parametrize("action", REQUESTS, ids=["torch", "a step's result", "numpy", "Python"])
def test_errors_of_requests_for_far_too_much(action):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        action()
    assert is_out_of_memory(caught.value)


LACKS = """CUDA error: out of memory
CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`
cuDNN error: CUDNN_STATUS_ALLOC_FAILED
[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate
std::bad_alloc
bad allocation
could not create a primitive
could not execute a primitive
could not create a memory object"""
LACK = [*map(RuntimeError, LACKS.splitlines()), torch.OutOfMemoryError(), OSError(errno.ENOMEM, ""), MemoryError()]
OTHER = [
    RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive."),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    *(OSError(errno.ENOSPC, "No space left on device"), ValueError("out of memory"), KeyboardInterrupt()),
]


@pytest.mark.parametrize(("error", "lack"), [*((each, True) for each in LACK), *((each, False) for each in OTHER)])
def test_errors_of_libraries_that_lack_memory(error, lack):
    assert is_out_of_memory(error) is lack


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
    assert (output.logits.dtype, (a @ a).dtype) == (dtype, torch.float32)
    assert [part.dtype for part in output.as_float32()] == [torch.float32, torch.float32]
    assert Output(output.logits, None).as_float32().value is None


@needs_bfloat16
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_training_in_bfloat16_ends_near_that_in_float32_and_repeats_to_the_bit(optimizer):
    def run(precision):
        one = Training((200,), max_epochs=4, learning_rate=0.01, precision=precision, optimizer=optimizer)
        one.windows, one.validation = [windows(200, 1)], [windows(100, 2)]
        one.run()
        assert all(math.isfinite(report.loss) for report in one.evaluated())
        stored = [leaf.dtype for name, leaf in one.states[4].items() if re.search(r"network|optimizer\.state\.", name)]
        assert {dtype for dtype in stored if dtype.kind == "f"} == {np.dtype("float32")}
        return one

    single, first, second = map(run, ("float32", "bfloat16", "bfloat16"))
    assert_same_end(first, second)
    assert first.outcome.best.loss == pytest.approx(single.outcome.best.loss, abs=0.05)
    assert first.outcome.best.loss != single.outcome.best.loss
    assert first.outcome.best.loss < 0.6  # chance is ln 2
    net, data = first.networks[0], first.validation[0]
    exact, coarse = (evaluate(net, data, SCALE, precision) for precision in ("float32", "bfloat16"))
    assert coarse.loss == first.outcome.best.loss == pytest.approx(exact.loss, abs=0.02)
    assert coarse.loss != exact.loss == evaluate(net, data, SCALE).loss  # float32 is the default
    assert coarse.predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert [part.dtype for part in predict(net, data, SCALE, "bfloat16")] == [torch.float32, torch.float32]
