"""Peak memory of a training."""

import contextlib
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak(device: torch.device) -> None:
    """Starts a new measurement; where the platform can't, :func:`peak_mb` says None."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        # 5 resets the high-water mark of the resident set (Linux, proc(5)); some containers forbid it.
        with contextlib.suppress(PermissionError):
            _CLEAR.write_text("5")


def peak_mb(device: torch.device) -> float | None:
    """MB (10^6 bytes) at the highest: of the device's allocator on CUDA, of the whole process on Linux, else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
