"""Device, threads and random state of a training."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cnn_lstm_hyperopt.errors import ConfigError

log = logging.getLogger(__name__)


def resolve_device(name: str) -> torch.device:
    """Return the torch device for a name: ``auto``, ``cpu``, ``cuda`` or, for example, ``cuda:1``.

    Raises:
        ConfigError: this machine or this build of torch does not have the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {name}: torch {torch.__version__} finds no CUDA device. Use --device cpu or a CUDA build of torch",
            field="--device",
            code="no-cuda",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {name}: there are {torch.cuda.device_count()} CUDA devices, counted from 0",
            field="--device",
            code="no-such-device",
        )
    return device


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Context with one torch thread, because two trainings with one thread each are faster than one training with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded_dropout(seed: int, device: torch.device) -> Iterator[None]:
    """Context in which torch's global random number generators (used by dropout) are seeded; restores their states afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class RandomState:
    """Random state of one training: its own random number generator, and a state of torch's global generators for dropout.

    The dropout state starts as a copy of the global state when this object is created. Only random draws within :meth:`active`
    change the dropout state, so trainings in one process are independent of each other.
    """

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self._generator, self._device = generator, device
        self._dropout = self._read()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Context with this training's dropout state as torch's global state; restores the global state afterwards."""
        outside = self._read()
        self._write(self._dropout)
        try:
            yield
        finally:
            self._dropout = self._read()
            self._write(outside)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the training's random number generators."""
        cpu, cuda = self._dropout
        return {"own": self._generator.get_state(), "cpu": cpu, "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
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
