"""How the process keeps and gives back the memory that it has freed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_NEVER_TRIM = 2**31 - 1
# Where glibc's thresholds end up by themselves, which they do no longer once one was set.
_USUAL = {_M_MMAP_MAX: 65_536, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def keep_memory() -> Iterator[bool]:
    """Asks glibc not to give freed memory back to the system meanwhile.

    By default it returns every large tensor, and fetches it anew in the next
    step, page by page and each page zeroed; a step on the CPU then spends a
    sixth of its time or more on that.

    Yields:
        Whether the C library was asked: False where it is not glibc.
    """
    libc = _glibc()
    if libc is None:
        yield False
        return
    kept = libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield bool(kept)
    finally:
        for option, value in _USUAL.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def release_memory() -> None:
    """Gives back what is left of models that are gone: graphs, cycles, freed pages.

    TensorFlow keeps each gradient of `tf.custom_gradient` that a graph was built with, and with
    it the graph and its variables, to the end of the process. Call this only where no graph
    is left whose gradient is still to be built.
    """
    import tensorflow as tf
    from tensorflow.python.framework import ops

    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]
    tf.keras.backend.clear_session()
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> Any:
    """Returns the C library, or None where it is not glibc."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):
        return None
