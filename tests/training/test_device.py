"""Devices, threads, dropout's random stream, memory."""

import pytest
import torch

from builders.trainings import CPU
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.training.runtime.device import one_thread, resolve_device, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import peak_mb, reset_peak


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


def test_the_peak_of_the_process_covers_what_was_allocated():
    reset_peak(CPU)
    tensor = torch.ones(10_000_000)  # 40 MB
    peak = peak_mb(CPU)
    assert peak is None or peak > tensor.numel() * 4 / 1e6
