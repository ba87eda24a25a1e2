"""Which pictures of a data set are the same file, byte for byte, and which of those are in both classes."""

from __future__ import annotations

import sqlite3

import pandas as pd

from deepfake_detector.errors import DatasetError


def in_both_classes(rows: pd.DataFrame) -> list[list[str]]:
    """Of a table's rows, the paths of each file that stands in both classes: the first of either."""
    both = rows[rows.groupby("sha256")["label"].transform("nunique") > 1].drop_duplicates(["sha256", "label"])
    return [list(paths) for _, paths in both.groupby("sha256", sort=False)["path"]]


class Twins:
    """Notes every picture; keeps them in a temporary file of SQLite's own, so that memory stays flat however many there are."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE seen (sha256 BLOB, label INTEGER, name BLOB)")
        self._db.execute("BEGIN")

    def add(self, sha256: str, label: int, name: str) -> None:
        """`sha256` in hex. A name may hold bytes that are not UTF-8, as lone surrogates. Raises DatasetError where there is no room."""
        seen = (bytes.fromhex(sha256), label, name.encode("utf-8", "surrogatepass"))
        try:
            self._db.execute("INSERT INTO seen VALUES (?, ?, ?)", seen)
        except sqlite3.Error as error:
            raise DatasetError(
                f"Which pictures are the same file is noted in a temporary file, and that can't be written ({error}). Make room there, or "
                "name another folder in $SQLITE_TMPDIR; what was encoded is remembered."
            ) from error

    def repeats(self) -> int:
        """How many pictures are a copy of an earlier one."""
        return self._db.execute("SELECT count(*) - count(DISTINCT sha256) FROM seen").fetchone()[0]

    def contradictions(self) -> list[list[str]]:
        """The names of each set of twins that stand in both classes, in the order in which they came."""
        both = "SELECT sha256 FROM seen GROUP BY sha256 HAVING min(label) < max(label)"
        found: dict[bytes, list[str]] = {}
        for sha256, name in self._db.execute(f"SELECT sha256, name FROM seen WHERE sha256 IN ({both}) ORDER BY rowid"):
            found.setdefault(sha256, []).append(name.decode("utf-8", "surrogatepass"))
        return list(found.values())

    def close(self) -> None:
        self._db.close()
