"""How the C library hands out memory: freed blocks are kept for the next batch instead of being mapped anew."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_KEPT, _MOST_KEPT = 32 * 2**20, 256 * 2**20  # bytes; glibc takes no higher limit for one block


def keep_freed_memory() -> None:
    """Under glibc, let this process keep up to 256 MiB that it has freed; elsewhere nothing happens.

    Otherwise each layer's output goes back to the system at once, and the next layer pays for fresh, zeroed pages.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt:
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
