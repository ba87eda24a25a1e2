"""Many rows of numbers: an array in memory or, where they are too many for it, a file of which some rows at a time are read.

Whatever takes `X: (n, dim)` takes either. From both, `X[rows]` picks rows by slice, index array or mask, and `batches(X)` reads
them. A file has no name, so that nothing of it is left behind however the program ends.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detector.errors import TableError

IN_MEMORY = 2**30  # bytes of float32; training may need several times as much beside them
BATCH = 2**22  # bytes read at a time: worth a call, and small enough for a processor's cache


class _Scratch:
    """A file without a name, closed once nobody needs it any more."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  finalize closes it
        weakref.finalize(self, self.file.close)


class OnDisk:
    """Rows of a file of numbers (`stored` as float16 or float32), in any order. Picking some of them reads and copies nothing.

    Each reading maps the file anew and lets go of it at once, so that what was read does not stay in the process's memory.
    """

    ndim = 2

    def __init__(self, scratch: _Scratch, stored: np.dtype, dim: int, rows: np.ndarray):
        self.scratch, self.stored, self.dim, self.rows = scratch, stored, dim, rows

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.dim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | np.ndarray) -> OnDisk:
        return OnDisk(self.scratch, self.stored, self.dim, self.rows[which])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The rows in memory, (n, dim) float32 unless `dtype` is another."""
        scattered = len(self.rows) > 0 and np.ptp(self.rows) > 8 * len(self.rows)
        return self.mapped(scattered)[self.rows].astype(dtype or np.float32, copy=False)

    def mapped(self, scattered: bool = False) -> np.ndarray:
        """The whole file as one read-only array, whatever `rows` are; the system keeps as much of it in memory as there is room for.

        Where only `scattered` rows will be read, the system is asked not to read their neighbours with them, 64 times as much.
        """
        numbers = mmap.mmap(self.scratch.file.fileno(), 0, access=mmap.ACCESS_READ)
        if scattered:
            numbers.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(numbers, self.stored).reshape(-1, self.dim)


Vectors = np.ndarray | OnDisk


def batches(X: Vectors) -> Iterator[tuple[slice, np.ndarray]]:
    """(which rows, their numbers as (k, dim) float32) from first to last; the same batches wherever X lies."""
    step = max(1, BATCH // (4 * X.shape[1]))
    for start in range(0, len(X), step):
        which = slice(start, min(start + step, len(X)))
        yield which, np.asarray(X[which], np.float32)


def unit(X: Vectors) -> np.ndarray:
    """(n, dim) → (n, dim) float32, rows of length 1, so that an inner product is a cosine; a row of zeros stays one."""
    X = np.ascontiguousarray(X, np.float32)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)


class Collector:
    """Takes rows batch by batch; `finish` gives them all, in memory as float32 or, above the limit, from a file in `folder` as `dtype`."""

    def __init__(self, shape: tuple[int, int], folder: Path, dtype: Any = np.float32):
        self.shape, self.folder, self.dtype = shape, folder, np.dtype(dtype)
        self.count = 0
        self._array = self._scratch = None
        if 4 * shape[0] * shape[1] <= IN_MEMORY:
            self._array = np.empty(shape, np.float32)
            return
        try:
            self._scratch = _Scratch(folder)
        except OSError as error:
            raise self._no_room(error) from error

    def add(self, X: np.ndarray) -> None:
        """(k, dim) numbers, of at most `shape[0]` rows in all."""
        if self._array is not None:
            self._array[self.count : self.count + len(X)] = X
        else:
            try:
                self._scratch.file.write(np.ascontiguousarray(X, self.dtype))
            except OSError as error:
                raise self._no_room(error) from error
        self.count += len(X)

    def finish(self) -> Vectors:
        if self._array is not None:
            return self._array
        try:
            self._scratch.file.flush()
        except OSError as error:
            raise self._no_room(error) from error
        return OnDisk(self._scratch, self.dtype, self.shape[1], np.arange(self.count))

    def _no_room(self, error: OSError) -> TableError:
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize / 2**30
        return TableError(
            f"{self.shape[0]} rows of {self.shape[1]} numbers are too many for memory and go through a file in {self.folder}, "
            f"which can't be written ({error.strerror or error}). Make room for {size:.1f} GiB there, or move the table elsewhere."
        )


def folder_of(*parts: Vectors) -> Path:
    """Where a file for more of such rows goes: beside those on disk, else where the system keeps temporary files."""
    return next((part.scratch.folder for part in parts if isinstance(part, OnDisk)), Path(tempfile.gettempdir()))


def joined(parts: list[Vectors]) -> Vectors:
    """The rows of all parts, one after another."""
    if len(parts) == 1:
        return parts[0]
    collected = Collector((sum(map(len, parts)), parts[0].shape[1]), folder_of(*parts))
    for part in parts:
        for _, X in batches(part):
            collected.add(X)
    return collected.finish()
