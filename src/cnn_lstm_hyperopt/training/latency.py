"""Measurement of the time of a prediction on the CPU of this machine."""

import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.runtime.device import one_thread

BATCH = 256
WARM_UP, REPEATS = 3, 20
LIMIT_SECONDS = 1.0
"""Time in seconds after which no further forward pass of a batch size starts. At least a warm-up and one measured pass run."""
MAX_NUMBERS = 2**24
"""Maximum number of inputs (numbers) in a measured batch. Larger batches could need gigabytes of memory."""


class Latency(NamedTuple):
    """Median wall time of forward passes of all networks of a model after a warm-up.

    Attributes:
        batch_1_ms: milliseconds for one window.
        batch_256_ms: milliseconds for a batch of 256 windows; None if 256 windows have more than :data:`MAX_NUMBERS`
            inputs.
        threads: number of threads of torch.
        device: device on which the time was measured.
    """

    batch_1_ms: float
    batch_256_ms: float | None
    threads: int
    device: str


def measure_latency(networks: Sequence[Network], lookback: int) -> Latency:
    """Measure the time that random windows (float32) need to pass through all networks, one network after the other.

    The measurement uses one thread and does not include the scaling of features.

    Worker processes also use one thread. Torch's default number of threads depends on earlier work of the process.

    Args:
        networks: networks on the CPU with the same inputs. This function switches them to evaluation mode.
        lookback: number of bars in a window.
    """
    for network in networks:
        network.eval()
    width = networks[0].config.input_dim
    with one_thread():
        large = None if BATCH * lookback * width > MAX_NUMBERS else _milliseconds(networks, (BATCH, lookback, width))
        return Latency(_milliseconds(networks, (1, lookback, width)), large, torch.get_num_threads(), "cpu")


def window_milliseconds(networks: Sequence[Network], lookback: int) -> float:
    """Measure the milliseconds that one window needs to pass through all networks, as in :func:`measure_latency`."""
    for network in networks:
        network.eval()
    with one_thread():
        return _milliseconds(networks, (1, lookback, networks[0].config.input_dim))


def _milliseconds(networks: Sequence[Network], shape: tuple[int, int, int]) -> float:
    windows = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    taken: list[float] = []
    begun = time.perf_counter()
    with torch.inference_mode():
        while len(taken) < WARM_UP + REPEATS and (len(taken) < 2 or time.perf_counter() - begun < LIMIT_SECONDS):
            start = time.perf_counter()
            for network in networks:
                network(windows)
            taken.append(1000 * (time.perf_counter() - start))
    taken = taken[min(WARM_UP, len(taken) - 1) :]
    return float(f"{statistics.median(taken):.4g}")
