"""Placement of worker processes on the GPUs of this machine."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError

CONTEXT_MB = 500.0
"""Memory in MB that each process uses on a GPU besides its trial: CUDA's context and the code of its libraries."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name in the variable CUDA_VISIBLE_DEVICES, and its memory in MB."""

    name: str
    memory_mb: float


def gpus_of(settings: Settings, device_type: str) -> list[Gpu]:
    """Return the GPUs that local workers share: all visible ones, or the one that ``training.device`` names."""
    if device_type != "cuda":
        return []
    names = visible_names(os.environ, torch.cuda.device_count())
    memory = [torch.cuda.get_device_properties(place).total_memory / 1e6 for place in range(len(names))]
    gpus = [Gpu(name, size) for name, size in zip(names, memory, strict=True)]
    chosen = torch.device("cuda" if settings.training.device == "auto" else settings.training.device).index
    return gpus if chosen is None else [gpus[chosen]]


def visible_names(environment: Mapping[str, str], count: int) -> list[str]:
    """Return the names of the ``count`` visible GPUs: those in CUDA_VISIBLE_DEVICES, or numbers from 0."""
    named = [name.strip() for name in environment.get(VISIBLE, "").split(",") if name.strip()]
    return named[:count] if len(named) >= count else [str(place) for place in range(count)]


def workers_per_gpu(gpu: Gpu, gpus_per_trial: float | None, trial_mb: float | None) -> int:
    """Return the number of workers that fit on a GPU, at least 1.

    Args:
        gpu: the GPU.
        gpus_per_trial: share of a GPU for each worker; None for one worker on each GPU.
        trial_mb: memory limit of a trial in MB; None without a limit.
    """
    by_share = 1 if gpus_per_trial is None else math.floor(1 / gpus_per_trial + 1e-9)
    if trial_mb is None:
        return by_share
    return max(1, min(by_share, math.floor(gpu.memory_mb / (trial_mb + CONTEXT_MB))))


def places(gpus: Sequence[Gpu], workers: int, gpus_per_trial: float | None, trial_mb: float | None) -> list[Gpu]:
    """Return the GPU of each worker, in turn over all GPUs with a free place.

    Without ``gpus_per_trial``, any number of workers shares the GPUs.

    Raises:
        ConfigError: the GPUs have fewer places than there are workers.
    """
    if gpus_per_trial is None:
        return [gpus[worker % len(gpus)] for worker in range(workers)]
    free = [workers_per_gpu(gpu, gpus_per_trial, trial_mb) for gpu in gpus]
    if workers > sum(free):
        memory = "" if trial_mb is None else f" and limits.memory_mb={trial_mb:g}"
        raise ConfigError(
            f"workers={workers}: {len(gpus)} visible GPUs have room for {sum(free)} workers with"
            f" gpus_per_trial={gpus_per_trial:g}{memory}; lower --workers or --gpus-per-trial",
            field="workers",
            code="too-many-workers",
        )
    rounds = (gpu for turn in range(max(free)) for gpu, most in zip(gpus, free, strict=True) if turn < most)
    return [gpu for gpu, _ in zip(rounds, range(workers), strict=False)]
