"""glibc's allocator, told to keep what a training frees: by default it hands large blocks back at once and faults them in again.

Other C libraries are left as they are.
"""

import ctypes
import functools
import logging
import platform
import sys

import numpy as np
from scipy.linalg.blas import dgemm

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h; mallopt(3)
_NEVER = 2**31 - 1


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        log.info("the C library is not glibc: its allocator is left as it is")
        return None
    return ctypes.CDLL(None)


@functools.cache
def keep_freed_pages() -> bool:
    """Once a process: freed memory stays with the process until :func:`give_back_pages`. Whether that could be set."""
    libc = _glibc()
    return libc is not None and bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))


@functools.cache
def reserve_blas_buffers() -> None:
    """Once a process: OpenBLAS, of which numpy and scipy have one each, takes the buffer that it keeps while there is memory.

    Where it is refused one later, it ends the process without a word of ours.
    """
    square = np.ones((256, 256))
    np.matmul(square, square)
    dgemm(1.0, square, square)


def give_back_pages() -> None:
    """Hands what is free back to the system: between trials, so that a large one does not weigh on the next."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
