"""The memory of the engine: content hash + crop + encoder spec → embedding, in one SQLite file that many processes share.

Write-ahead logging lets readers and a writer work side by side, and a `kill -9` at any moment loses only what was
not yet committed. Over its size limit the cache forgets the least recently used embeddings first.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_detector import database
from deepfake_detector.errors import CacheError
from deepfake_detector.types import EncoderSpec

_TOUCH_AFTER = 60  # seconds: how stale a use time may be before a hit rewrites it; keeps hits nearly read-only
_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    key BLOB PRIMARY KEY, encoder TEXT NOT NULL, vectors BLOB NOT NULL, boxes BLOB NOT NULL, note TEXT NOT NULL, used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON embeddings (used);
"""


def default_path() -> Path:
    """$DEEPFAKE_DETECTOR_EMBEDDINGS, else embeddings/cache.sqlite in the folder one works in."""
    return Path(os.environ.get("DEEPFAKE_DETECTOR_EMBEDDINGS", "embeddings/cache.sqlite"))


def cache_key(sha256: str, crop: str, spec: EncoderSpec) -> bytes:
    """Everything that changes the value, in 32 bytes. `sha256` is of the file's bytes, in hex."""
    return hashlib.sha256(f"{sha256}|{crop}|{spec.key}".encode()).digest()


@dataclass(frozen=True)
class Remembered:
    """One picture's embedding: `vectors` (regions, dim) float32, `boxes` (regions, 4) int32, `notes` on its file."""

    vectors: np.ndarray
    boxes: np.ndarray
    notes: tuple[str, ...] = ()


class Cache:
    """Open with a path and a limit in bytes; use from any thread; close, or use as a context manager."""

    def __init__(self, path: str | Path | None = None, limit: int = 20 * 2**30):
        self.path = Path(path) if path else default_path()
        self.limit = limit
        self._lock = threading.Lock()
        try:
            self._db = database.connect(self.path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise CacheError(self._advice(error, opened=False)) from error

    def _advice(self, error: Exception, opened: bool = True) -> str:
        """What to do about it; never to delete what may be somebody's photograph or history, which a mistyped command names."""
        is_database, another = database.is_one(self.path), "another file with --cache or $DEEPFAKE_DETECTOR_EMBEDDINGS"
        if is_database is False or isinstance(error, database.Foreign):
            kind = error if isinstance(error, database.Foreign) else "a file of another kind"
            return f"{self.path} is no embedding cache, but {kind}, and was left as it is. Choose {another}."
        delete = ", or delete this one: it holds nothing that can't be computed again" if is_database and opened else ""
        return f"The embedding cache {self.path} can't be used ({error}). Check the disk and its permissions, choose {another}{delete}."

    def get(self, key: bytes) -> Remembered | None:
        """What is remembered under a key, or None."""
        with self._lock:
            try:
                row = self._db.execute("SELECT vectors, boxes, note, used FROM embeddings WHERE key = ?", (key,)).fetchone()
                if row is None:
                    return None
            except sqlite3.Error as error:
                raise CacheError(self._advice(error)) from error
            now = int(time.time())
            if not isinstance(row[3], int) or now - row[3] > _TOUCH_AFTER:
                with suppress(sqlite3.Error):  # on a full disk it is known all the same
                    self._db.execute("UPDATE embeddings SET used = ? WHERE key = ?", (now, key))
        try:
            boxes = np.frombuffer(row[1], "<i4").reshape(-1, 4)
            vectors = np.frombuffer(row[0], "<f4").reshape(len(boxes), -1)
            notes = tuple(row[2].split("\n")) if row[2] else ()
        except (TypeError, ValueError, AttributeError):
            return None  # a damaged row: what it was is computed again, and written over it
        return Remembered(vectors, boxes, notes) if vectors.size and np.isfinite(vectors).all() else None

    def put(self, encoder: str, entries: Mapping[bytes, Remembered]) -> None:
        """Remember a batch in one transaction: all of it or, after a kill, none of it."""
        now = int(time.time())
        rows = [
            (key, encoder, e.vectors.astype("<f4").tobytes(), e.boxes.astype("<i4").tobytes(), "\n".join(e.notes), now)
            for key, e in entries.items()
        ]
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?)", rows)
                self._db.execute("COMMIT")
                self._forget_beyond_limit()
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise CacheError(self._advice(error)) from error

    def _forget_beyond_limit(self) -> None:
        """Drop the least recently used tenth, again and again, until the limit holds."""
        while self._bytes() > self.limit:
            oldest = "SELECT key FROM embeddings ORDER BY used LIMIT (SELECT max(1, count(*) / 10) FROM embeddings)"
            if not self._db.execute(f"DELETE FROM embeddings WHERE key IN ({oldest})").rowcount:
                return  # an empty file can be larger than a tiny limit
        self._db.execute("PRAGMA incremental_vacuum").fetchall()

    def _bytes(self) -> int:
        pages, free, size = (self._db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def summary(self) -> dict[str, object]:
        """What is in it: bytes, and the number of pictures by encoder."""
        with self._lock:
            try:
                counts = dict(self._db.execute("SELECT encoder, count(*) FROM embeddings GROUP BY encoder ORDER BY encoder"))
                return {"bytes": self._bytes(), "pictures": counts}
            except sqlite3.Error as error:
                raise CacheError(self._advice(error)) from error

    def clear(self) -> int:
        """Forget everything and shrink the file; returns how many pictures were forgotten."""
        with self._lock:
            try:
                forgotten = self._db.execute("DELETE FROM embeddings").rowcount
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # deleted rows must not linger in the log
            except sqlite3.Error as error:
                raise CacheError(self._advice(error)) from error
            return forgotten

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
