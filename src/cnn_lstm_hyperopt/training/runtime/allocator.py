"""Settings of glibc's memory allocator, so that the process keeps freed memory for the next allocation.

Returning large blocks to the system and requesting them again is slow. With other C libraries, the functions of this module do
nothing.
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
        log.info("the C library is not glibc: allocator settings are unchanged")
        return None
    return ctypes.CDLL(None)


@functools.cache
def keep_freed_pages() -> bool:
    """Keep freed memory in the process until :func:`give_back_pages`; return whether glibc accepted this.

    Only the first call changes the settings of glibc.
    """
    libc = _glibc()
    return libc is not None and bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, _NEVER))


@functools.cache
def reserve_blas_buffers() -> None:
    """Let OpenBLAS (of numpy and of scipy) allocate its buffers now. Only the first call has an effect.

    OpenBLAS would end the process if no memory for these buffers were available later.
    """
    square = np.ones((256, 256))
    np.matmul(square, square)
    dgemm(1.0, square, square)


def give_back_pages() -> None:
    """Return the free memory of the process to the system; this function is called between trials."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
