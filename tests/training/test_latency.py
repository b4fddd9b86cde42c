"""How long a prediction takes is measured on the network itself."""

import pytest

from builders.models import own_inputs, untrained
from cnn_lstm_hyperopt.training import latency
from cnn_lstm_hyperopt.training.latency import measure_latency


@pytest.fixture(scope="module")
def network():
    return untrained(own_inputs(features=("a", "b", "c"))).network


def test_the_median_of_repeats_is_in_milliseconds(network, monkeypatch):
    """A clock that ticks 5 ms at each look: a pass lasts one tick."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: 0.005 * next(ticks))
    found = measure_latency([network], 12)
    assert (found.batch_1_ms, found.batch_256_ms) == (5.0, 5.0)
    assert (found.threads, found.device) == (1, "cpu")


def test_a_slow_network_is_measured_once_and_a_huge_batch_not_at_all(network, monkeypatch):
    seen = []
    network.register_forward_hook(lambda _module, given, _output: seen.append(len(given[0])))
    monkeypatch.setattr(latency, "LIMIT_SECONDS", 0.0)
    monkeypatch.setattr(latency, "MAX_NUMBERS", 256 * 12 * 3 - 1)
    found = measure_latency([network], 12)
    assert found.batch_256_ms is None
    assert seen == [1, 1]  # one to warm up
    assert not network.training
