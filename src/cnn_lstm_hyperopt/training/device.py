"""Threads, devices and dropout's randomness: what must be set around a training."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch

from cnn_lstm_hyperopt.exceptions import ConfigError

log = logging.getLogger(__name__)


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means here.

    Raises:
        ConfigError: this machine or this build of torch does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {name}: torch {torch.__version__} sees no CUDA device; use --device cpu or a CUDA build of torch"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return device


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, as many as before afterwards: two trainings side by side beat one with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded_dropout(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeds it, and gives it back as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class RandomState:
    """All randomness of a training: its own generator, and torch's global ones, from which dropout draws."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device

    def state_dict(self) -> dict[str, Any]:
        """Where the generators stand."""
        return {
            "own": self._generator.get_state(),
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """The inverse of :meth:`state_dict`; sets torch's global generators (:func:`seeded_dropout` gives them back)."""
        self._generator.set_state(state["own"])
        torch.set_rng_state(state["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self._device)
