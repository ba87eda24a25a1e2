"""What networks run on: which device, how many pictures at a time, and, on a CPU, with memory that is kept for the next batch."""

from __future__ import annotations

import ctypes
import sys

import numpy as np

from deepfake_detector.errors import DetectorError

CPU_AT_ONCE = 8  # pictures: more are no faster, and outputs over _LARGEST_KEPT are mapped anew each time
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_KEPT, _MOST_KEPT = 32 * 2**20, 256 * 2**20  # bytes; glibc takes no higher limit for one block


def pick_device(asked: str) -> str:
    """`auto` → the best device there is; any other name only if it is there. Raises DetectorError."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name in there if there[name])
    if not there.get(asked.split(":")[0]):
        raise DetectorError(f"There is no device {asked!r} here; there are: auto, {', '.join(name for name in there if there[name])}.")
    return asked


def at_a_time(prepared: np.ndarray, device: str) -> list[np.ndarray]:
    """(n, …) prepared pictures in the parts that go through a network on this device together, at least one each."""
    count = CPU_AT_ONCE if device == "cpu" else max(1, len(prepared))
    return np.split(prepared, range(count, len(prepared), count))


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
