"""Random streams that depend only on study seed, trial number and purpose, never on a global random state.

Two requests for the same stream give the same random numbers. So a resumed study proposes and trains exactly like an
uninterrupted study. Streams of different numbers or purposes are independent (numpy's SeedSequence hashes its entropy).
"""

import zlib

import numpy as np


def stream_seed(seed: int, number: int, purpose: str) -> int:
    """Return the seed of a random stream, an integer in [0, 2^63), for libraries that take a plain seed.

    Args:
        seed: seed of the study, ≥ 0.
        number: number of the trial, or rank of the finalist, ≥ 0.
        purpose: use of the random numbers, such as ``"weights"``. Different purposes give different streams.
    """
    return int(_sequence(seed, number, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """Return a numpy generator for the random stream (seed, number, purpose); see :func:`stream_seed`."""
    return np.random.default_rng(_sequence(seed, number, purpose))


def _sequence(seed: int, number: int, purpose: str) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, number, zlib.crc32(purpose.encode())])
