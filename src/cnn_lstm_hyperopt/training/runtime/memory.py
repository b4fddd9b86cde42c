"""Memory of a training: measurement of the peak, limits, and errors that report a lack of memory."""

import contextlib
import errno
import re
from collections.abc import Sequence
from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_VMSTAT = Path("/proc/vmstat")
_BOOT = Path("/proc/sys/kernel/random/boot_id")

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory"  # torch's CPU allocator, on Linux and macOS, on Windows
    r"|bad_alloc|bad allocation"  # C++: libstdc++, Microsoft
    r"|out of memory|ALLOC_FAILED"  # CUDA and its libraries
    # oneDNN; "could not create a primitive descriptor" means an unsupported operation
    r"|could not (create a (primitive$|memory object)|execute a primitive)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, torch or torch's libraries reports a lack of memory.

    On a CPU, torch raises a RuntimeError, so only the text of the error shows the lack of memory.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def reset_peak(device: torch.device) -> None:
    """Start a new measurement of the peak memory for :func:`peak_mb`, if the platform supports a new measurement."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        # 5 resets the peak of the resident set (Linux, proc(5)); some containers forbid it.
        with contextlib.suppress(PermissionError):
            _CLEAR.write_text("5")


def peak_mb(device: torch.device) -> float | None:
    """Return the peak memory in MB (10^6 bytes): of the device's allocator on CUDA, of the process on a CPU.

    Return None if the platform does not measure the peak memory. Linux measures the peak memory.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return _status_mb("VmHWM")


def resident_mb() -> float:
    """Return the resident memory of this process in MB; 0 if unknown."""
    return _status_mb("VmRSS") or 0.0


def total_mb(device: torch.device) -> float | None:
    """Return the total memory in MB of a GPU or, for a CPU, of the machine or its container; None if unknown."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory) / 1e6
    limits = []
    with contextlib.suppress(OSError):
        lines = _MEMINFO.read_text().splitlines()
        limits += [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("MemTotal:")]
    with contextlib.suppress(OSError):
        text = _CGROUP.read_text().strip()
        if text != "max":
            limits.append(int(text) / 1e6)
    return min(limits, default=None)


def memory_kills() -> list[str | int] | None:
    """Return the id of the machine's last boot, and the number of processes killed by its kernel since then for lack of memory.

    Return None if the number is unknown.
    """
    with contextlib.suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return [_BOOT.read_text().strip(), int(count)]
    return None


def have_grown(before: Sequence[str | int] | None, now: Sequence[str | int] | None) -> bool:
    """Return whether the kernel killed a process for lack of memory between two calls of :func:`memory_kills`; False if unknown.

    ``before`` and ``now`` are the results of the two calls.
    """
    if before is None or now is None or before[0] != now[0]:
        return False
    return int(now[1]) > int(before[1])


def _status_mb(field: str) -> float | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
