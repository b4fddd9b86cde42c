"""Retries of a training that runs out of memory; each retry needs less memory."""

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
    """Train at the first memory level, and retry at the next level each time the training runs out of memory.

    Args:
        attempt: function that trains at the memory level with the given index in ``levels``.
        device: device whose memory is released between attempts.
        levels: memory levels in the order in which they are tried.
        first: index of the level of the first attempt.

    Returns:
        The result of ``attempt``, and the index of the memory level at which ``attempt`` succeeded.

    Raises:
        MemoryError: the training runs out of memory at the last level, too.
        Exception: ``attempt`` fails for another reason.
    """
    index = first
    while True:
        try:
            return attempt(index), index
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if index + 1 >= len(levels):
                raise error if isinstance(error, MemoryError) else MemoryError(one_line(error)) from error
            index += 1
            log.warning("out of memory (%s); retrying with %s", one_line(error), levels[index])
        _release_memory(device)  # after the except block: the exception's frames no longer refer to tensors


def _release_memory(device: torch.device) -> None:
    gc.collect()
    give_back_pages()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def used_mb(device: torch.device) -> float:
    """Return the memory of the tensors on the device, in MB; on a CPU, return the memory of the whole process."""
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else resident_mb()
