"""Is the latency in an estimator's leaderboard the time that a stopwatch shows?

Builds random networks of three spaces. For each, the table has the milliseconds of one window as in the column
``ms_per_prediction`` of the leaderboard, the median of a stopwatch around the prediction of one window by the network, and the
median of their ratios. Both run alternately on one thread.

    python benchmarks/latency.py --networks 4 --repeats 15
"""

import argparse
import statistics
import time

import torch

from cnn_lstm_hyperopt.config import parse_space
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training.latency import window_milliseconds

LOOKBACK, FEATURES, LARGEST_MB = 60, 11, 5.0
CALLS = 23
SPACES = {"classic": {"architecture": "classic"}, "full": {"architecture": "full"}, "tcn": {"family": "tcn"}}


def main() -> None:
    """Print a line for each network, then the median and the largest difference."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--networks", type=int, default=4, help="networks of each space")
    arguments.add_argument("--repeats", type=int, default=15, help="measurements of each network; their median counts")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    differences = []
    for name, section in SPACES.items():
        for number, network in enumerate(_networks(section, given.networks)):
            pairs = [(window_milliseconds([network], LOOKBACK), _stopwatch(network)) for _ in range(given.repeats)]
            shown, watched = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(left / right for left, right in pairs)
            differences.append(abs(ratio - 1))
            print(f"{name} {number}: leaderboard {shown:.3f} ms, stopwatch {watched:.3f} ms, ratio {ratio:.2f}")
    print(f"difference: median {100 * statistics.median(differences):.0f}%, largest {100 * max(differences):.0f}%")


def _networks(section: dict[str, str], count: int) -> list[Network]:
    """Return the first random networks of a space that are not larger than :data:`LARGEST_MB`."""
    space, _ = parse_space({**section, "inputs": {"standardise": False}})
    found: list[Network] = []
    number = 0
    while len(found) < count:
        params = random_configuration(space, 0, number)
        number += 1
        config = network_config(params, input_dim=FEATURES, n_classes=2, has_regression=False, lookback=LOOKBACK)
        if config.cost(lookback=LOOKBACK).size_mb <= LARGEST_MB:
            found.append(build_network(config, seed=0, device=torch.device("cpu")))
    return found


def _stopwatch(network: Network) -> float:
    """Return the median milliseconds from a window in memory to its class probabilities."""
    network.eval()
    window = torch.randn(1, LOOKBACK, FEATURES)
    taken = []
    with torch.inference_mode():
        for _ in range(CALLS):
            begun = time.perf_counter()
            torch.softmax(network(window).logits, dim=-1)
            taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[3:])


if __name__ == "__main__":
    main()
