"""What became of every URL, and the pictures that came: one SQLite file and one folder of files named by their content.

A picture's file is whole before its URL is recorded, and its hash is checked whenever it is read. So a `kill -9` loses only what
was not yet recorded, and several processes may share one store.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from deepfake_detector import database
from deepfake_detector.errors import StoreError
from deepfake_detector.files import spelt_out, write_bytes

MAY_PASS = ("timeout", "error")
BY_SERVER = "status "  # so begins the detail of what a server refused
MAX_ASKED = 3  # so often is a URL asked whose trouble may pass

_SCHEMA = """
CREATE TABLE IF NOT EXISTS urls (
    url TEXT PRIMARY KEY, outcome TEXT NOT NULL, detail TEXT NOT NULL, sha256 TEXT, bytes INTEGER,
    asked INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Fetched:
    """What became of one URL. `content` is the file as it was served, for the outcome ok only; `detail` the reason for the others.

    ok             a picture that can be decoded and is large enough
    not_found      404 or 410
    refused        by us: scheme, password, port, or an address that isn't public; by the server: 401, 403 or 451
    not_a_picture  whatever came, no picture could be decoded from it
    too_small      a side has fewer pixels than can be judged
    too_large      more bytes than allowed, or more pixels than are ever decoded
    changed        the bytes recorded under this URL are gone, and it now gives others
    timeout        no answer, or no complete one, in time
    error          anything else: no such host, no connection, a bad certificate, 5xx, 429, too many redirects
    """

    url: str
    outcome: str
    content: bytes | None = None
    detail: str = ""


class PictureStore:
    """Open with a folder, which is made if need be; use from any thread; close, or use as a context manager.

    An outcome is final, but for `timeout` and `error`: their URL is due again when it comes up later, as in the next run,
    until it was asked `MAX_ASKED` times. `forget` makes any outcome due again.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._lock = threading.Lock()
        try:
            self._db = database.connect(self.folder / "urls.sqlite", _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(error) from error

    def due(self, url: str) -> bool:
        """Whether the URL is to be asked: unknown, may pass, or its picture's file is gone."""
        row = self._row(url)
        if row is None:
            return True
        outcome, _, sha256, size, asked = row
        if outcome == "ok":
            return not self._is_there(sha256, size)
        return outcome in MAY_PASS and asked < MAX_ASKED

    def recall(self, url: str) -> Fetched | None:
        """What is recorded; None if nothing is, or if its picture's file is gone or damaged."""
        row = self._row(url)
        if row is None:
            return None
        outcome, detail, sha256, *_ = row
        if outcome != "ok":
            return Fetched(url, outcome, None, detail)
        path = self._path(sha256)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return Fetched(url, outcome, content, detail)
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._trouble(error) from error
        return None

    def record(self, url: str, outcome: str, detail: str = "", content: bytes | None = None, asked: bool = True) -> None:
        """Keep an outcome, with the picture's bytes if it is ok. A picture that another process kept meanwhile stands.

        `asked` is whether the URL's host was asked at all: only then does it count.
        """
        sha256 = size = None
        try:
            if content is not None:
                sha256, size = hashlib.sha256(content).hexdigest(), len(content)
                row = self._row(url)
                if row and row[2] not in (None, sha256):
                    outcome, detail, sha256, size = "changed", f"recorded with SHA-256 {row[2]}, now {sha256}", None, None
                elif not self._is_there(sha256, size):
                    write_bytes(self._path(sha256), content)
            with self._lock, self._db:  # which commits, or rolls back what raises
                self._db.execute("BEGIN IMMEDIATE")
                row = self._db.execute("SELECT outcome, sha256, bytes FROM urls WHERE url = ?", (spelt_out(url),)).fetchone()
                if row and row[0] == "ok" and self._is_there(*row[1:]):
                    return
                self._db.execute(
                    "INSERT INTO urls VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (url) DO UPDATE SET outcome = excluded.outcome, "
                    "detail = excluded.detail, sha256 = coalesce(excluded.sha256, sha256), bytes = coalesce(excluded.bytes, bytes), "
                    "asked = asked + excluded.asked, at = excluded.at",
                    (spelt_out(url), outcome, spelt_out(" ".join(detail.split())[:300]), sha256, size, asked, int(time.time())),
                )
        except (OSError, sqlite3.Error) as error:
            raise self._trouble(error) from error

    def forget(self, *outcomes: str) -> None:
        """Make the URLs of these outcomes due again, as after a broken network or with other limits."""
        self._query(f"DELETE FROM urls WHERE outcome IN ({','.join('?' * len(outcomes))})", *outcomes)

    def forget_addresses(self) -> None:
        """Make the URLs due again that were refused by us, as before other addresses may be asked."""
        self._query("DELETE FROM urls WHERE outcome = 'refused' AND detail NOT LIKE ?", f"{BY_SERVER}%")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> PictureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, sha256: str) -> Path:
        return self.folder / "pictures" / sha256[:2] / sha256

    def _is_there(self, sha256: str, size: int) -> bool:
        try:
            return self._path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def _row(self, url: str) -> tuple | None:
        rows = self._query("SELECT outcome, detail, sha256, bytes, asked FROM urls WHERE url = ?", spelt_out(url))
        return rows[0] if rows else None

    def _query(self, statement: str, *values: object) -> list[tuple]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> StoreError:
        return StoreError(
            f"The store of fetched pictures {self.folder} can't be used ({error}). Check the disk, its free space and its permissions, "
            "or choose another folder."
        )
