"""Devices, threads, dropout's randomness, memory."""

import pytest
import torch

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.training.runtime.device import one_thread, resolve_device, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import peak_mb, reset_peak


@pytest.fixture
def cuda_devices(monkeypatch):
    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("count", "expected"), [(0, "cpu"), (2, "cuda")])
def test_auto_takes_cuda_where_it_is(cuda_devices, count, expected):
    cuda_devices(count)
    assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_missing_cuda_says_what_to_do(cuda_devices, name):
    cuda_devices(0)
    with pytest.raises(ConfigError, match=rf"^--device {name}: torch \S+ sees no CUDA device; use --device cpu .*$"):
        resolve_device(name)


def test_a_cuda_index_beyond_the_last_says_how_many_there_are(cuda_devices):
    cuda_devices(2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match=r"^--device cuda:2: there are 2 CUDA devices, counted from 0$"):
        resolve_device("cuda:2")


def test_one_thread_gives_the_threads_back_also_after_an_error():
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_seeded_dropout_repeats_and_leaves_the_global_generator_alone():
    cpu = torch.device("cpu")
    before = torch.get_rng_state()
    draws = []
    for seed in (5, 5, 6):
        with seeded_dropout(seed, cpu):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_up_to_63_bits_are_told_apart():
    cpu = torch.device("cpu")
    with seeded_dropout(2**63 - 1, cpu):
        first = torch.rand(4)
    with seeded_dropout(2**31 - 1, cpu):
        assert not torch.equal(torch.rand(4), first)


def test_the_peak_of_the_process_covers_what_was_allocated():
    """Where the platform has no such number the answer is None."""
    cpu = torch.device("cpu")
    reset_peak(cpu)
    tensor = torch.ones(10_000_000)  # 40 MB
    peak = peak_mb(cpu)
    assert peak is None or peak > tensor.numel() * 4 / 1e6
