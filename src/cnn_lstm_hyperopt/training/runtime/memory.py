"""Memory of a training: its peak, and how it is told that it did not suffice."""

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
    r"|bad_alloc|bad allocation"  # what C++ says of it, libstdc++ and Microsoft's
    r"|out of memory|ALLOC_FAILED"  # CUDA and its libraries
    # oneDNN; a primitive *descriptor* that it could not create is one that it does not support
    r"|could not (create a (primitive$|memory object)|execute a primitive)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: Python's, or torch's and its libraries', who have several words for it.

    On a CPU they raise a plain RuntimeError, so that the text alone tells.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


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
    return _status_mb("VmHWM")


def resident_mb() -> float:
    """MB of this process in memory now; 0 where the platform does not say."""
    return _status_mb("VmRSS") or 0.0


def total_mb(device: torch.device) -> float | None:
    """MB that the device, or the machine, or the container that this process runs in, has; None where nobody says."""
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
    """The machine's start (an id), and how many processes its kernel has killed since for lack of memory; None: not known."""
    with contextlib.suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return [_BOOT.read_text().strip(), int(count)]
    return None


def have_grown(before: Sequence[str | int] | None, now: Sequence[str | int] | None) -> bool:
    """Whether the kernel has killed a process between two answers of :func:`memory_kills`; False where that is not known."""
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
