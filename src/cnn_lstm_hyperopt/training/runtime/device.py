"""Threads, devices and dropout's randomness: what must be set around a training."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cnn_lstm_hyperopt.errors import ConfigError

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
    """All randomness of a network's training: its own generator, and a place in torch's global ones, from which dropout draws.

    That place is where they stand when this is made. It moves only :meth:`in_force`, so trainings side by side do not meet.
    """

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device
        self._dropout = self._read()

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """torch's global generators stand where this training left them; afterwards where they stood outside."""
        outside = self._read()
        self._write(self._dropout)
        try:
            yield
        finally:
            self._dropout = self._read()
            self._write(outside)

    def state_dict(self) -> dict[str, Any]:
        """Where the generators stand."""
        cpu, cuda = self._dropout
        return {"own": self._generator.get_state(), "cpu": cpu, "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """The inverse of :meth:`state_dict`."""
        self._generator.set_state(state["own"])
        self._dropout = state["cpu"], state["cuda"]

    def _read(self) -> tuple[Tensor, Tensor | None]:
        cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
        return torch.get_rng_state(), cuda

    def _write(self, state: tuple[Tensor, Tensor | None]) -> None:
        cpu, cuda = state
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, self._device)
