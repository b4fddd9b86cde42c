"""Errors that report a lack of memory, and errors that only sound like it."""

import errno
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.training import is_out_of_memory


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


STEP_IN_LITTLE_MEMORY = """
import os, resource
import torch
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.training import is_out_of_memory

torch.set_num_threads(1)
config = CnnLstmConfig(
    11, 2, True,
    CnnConfig(64, (3, 5), 0.1, "relu", residual=True, attention_heads=4),
    LstmConfig(128, 2, 0.1, bidirectional=True, attention_heads=4, skip_connections=True),
    FUSIONS["attention"]("attention", 64, 0.1, 4),
)
network = build_network(config, seed=1, device=torch.device("cpu"))
optimizer = torch.optim.RMSprop(network.parameters(), foreach=True)
windows = torch.randn(64, 60, 11)
for megabytes in range(0, 200, 5):
    if os.fork():
        os.wait()
        continue
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 10**6,) * 2)
    try:
        for _ in range(2):
            optimizer.zero_grad()
            sum(part.sum() for part in network(windows)).backward()
            optimizer.step()
        result = "fine"
    except BaseException as error:
        result = f"{is_out_of_memory(error)} {type(error).__name__} {error}".splitlines()[0]
    os.write(1, f"{result}\\n".encode())
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory as Linux does")
def test_a_real_step_in_too_little_memory_is_recognised_wherever_it_ends():
    ended = subprocess.run([sys.executable, "-c", STEP_IN_LITTLE_MEMORY], capture_output=True, text=True, timeout=300)
    results = Counter(re.sub(r"\d{4,}", "N", line) for line in ended.stdout.splitlines())
    assert ended.returncode == 0, ended.stderr
    assert not [line for line in results if not line.startswith(("True ", "fine"))], results
    assert sum(count for line, count in results.items() if line.startswith("True ")) > 10, results
    assert sum(results.values()) >= 35, results  # a C library may end with a signal instead, now and then
