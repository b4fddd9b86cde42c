"""Random streams that depend on (study seed, trial number, purpose) alone, never on global state.

A stream asked for twice is the same stream, so a resumed study proposes and trains exactly what an uninterrupted one would
have. Streams of different numbers or purposes are independent (numpy's SeedSequence hashes its entropy).
"""

import zlib

import numpy as np


def stream_seed(seed: int, number: int, purpose: str) -> int:
    """An integer in [0, 2^63) that identifies the stream; for libraries that take a plain seed.

    Args:
        seed: the study's seed, ≥ 0.
        number: the trial's number (or the finalist's rank), ≥ 0.
        purpose: what the numbers are for, e.g. ``"weights"``; keeps streams of one trial apart.
    """
    return int(_sequence(seed, number, purpose).generate_state(1, np.uint64)[0] >> np.uint64(1))


def stream(seed: int, number: int, purpose: str) -> np.random.Generator:
    """A numpy generator for (seed, number, purpose); see :func:`stream_seed`."""
    return np.random.default_rng(_sequence(seed, number, purpose))


def _sequence(seed: int, number: int, purpose: str) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, number, zlib.crc32(purpose.encode())])
