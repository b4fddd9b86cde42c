"""Training with less and less memory as long as it does not suffice."""

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from cnn_lstm_hyperopt.search import MemoryLevel
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages
from cnn_lstm_hyperopt.training.runtime.memory import is_out_of_memory, resident_mb
from cnn_lstm_hyperopt.utils.text import one_line

log = logging.getLogger(__name__)

T = TypeVar("T")


def save_memory(
    attempt: Callable[[int], T], device: torch.device, levels: Sequence[MemoryLevel], first: int = 0
) -> tuple[T, int]:
    """Trains with more and more memory saved as long as it does not suffice.

    Args:
        attempt: trains with a place in ``levels``.
        device: whose memory is given back in between.
        levels: of memory saved, in the order of trying.
        first: place to begin with.

    Returns:
        What was trained, and the place.

    Raises:
        MemoryError: memory does not suffice at all, in whatever words that was said.
        Exception: of ``attempt``, for another reason.
    """
    place = first
    while True:
        try:
            return attempt(place), place
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if place + 1 >= len(levels):
                raise error if isinstance(error, MemoryError) else MemoryError(one_line(error)) from error
            place += 1
            log.warning("memory did not suffice (%s); once more with %s", one_line(error), levels[place])
        _release_memory(device)  # here, where the exception no longer holds what its frames held


def _release_memory(device: torch.device) -> None:
    gc.collect()
    give_back_pages()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def used_mb(device: torch.device) -> float:
    """Memory of the device's tensors; on a CPU that of the process."""
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else resident_mb()
