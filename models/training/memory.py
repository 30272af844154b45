"""Lets the process keep the memory that a training step frees."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER_TRIM = 2**31 - 1


def keep_memory() -> bool:
    """Asks glibc not to give freed memory back to the system.

    By default it returns every large tensor, and fetches it anew in the next
    step, page by page and each page zeroed; a step on the CPU then spends a
    sixth of its time or more on that.

    Returns:
        Whether the C library was asked: False where it is not glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM))
