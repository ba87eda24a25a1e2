"""One SQLite file that many processes read and write side by side, opened: write-ahead log, patience, tables."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

_SIGNATURE = b"SQLite format 3\0"
PATIENCE = 60  # seconds that one process waits for another
_NAMED = 3  # tables of another program's database


class Foreign(sqlite3.DatabaseError):
    """Another program's database, which was left as it is."""


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """A connection for any thread, without transactions of its own; the folder is made if need be.

    Raises Foreign for a database that holds other tables than the schema's; OSError or another sqlite3.Error for what can't be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + PATIENCE
    while True:
        db = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
        try:
            if path.is_file():  # to open a named pipe for reading would be to wait for ever
                _check(path, schema)
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


def _check(path: Path, schema: str) -> None:
    """Raise Foreign for another program's database; nothing is written into it, and no file is made beside it."""
    path = path.resolve()  # the log lies beside the file that a link points to
    # With a log, part of the tables may be in that alone. Without one, to read as those do who share the file would make one.
    way = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    with (
        closing(sqlite3.connect(":memory:")) as ours,
        closing(sqlite3.connect(f"{path.as_uri()}?{way}", timeout=PATIENCE, uri=True)) as db,
    ):
        ours.executescript(schema)
        there, wanted = _tables(db), _tables(ours)
        if there and any(_columns(db, table) != _columns(ours, table) for table in wanted):
            expected = "; ".join(f"{table} ({', '.join(_columns(ours, table))})" for table in wanted)
            more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
            raise Foreign(f"another program's database: expected the table {expected}, found {', '.join(there[:_NAMED])}{more}")


def _tables(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")]


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in db.execute("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))]


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
