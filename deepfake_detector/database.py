"""One SQLite file that many processes read and write side by side, opened: write-ahead log, patience, tables."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_SIGNATURE = b"SQLite format 3\0"
PATIENCE = 60  # seconds that one process waits for another


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """A connection for any thread, without transactions of its own; the folder is made if need be. Raises OSError or sqlite3.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + PATIENCE
    while True:
        db = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that forgetting shrinks the file; only heeded in a new one
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(schema)
            return db
        except sqlite3.OperationalError as error:
            db.close()
            # Where several processes make the same new file, SQLite tells all but one that it is locked, without waiting.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        except sqlite3.Error:
            db.close()
            raise


def is_one(path: Path) -> bool | None:
    """Whether a file begins as SQLite's do; None where there is none, or an empty one, or it can't be read."""
    try:
        if not path.is_file():  # to open a named pipe would be to wait for ever
            return None
        with path.open("rb") as file:
            start = file.read(len(_SIGNATURE))
    except OSError:
        return None
    return start == _SIGNATURE if start else None
