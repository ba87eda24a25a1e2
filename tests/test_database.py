"""One SQLite file for many processes, from its first moment on."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time

import pytest

from deepfake_detector import database

SCHEMA = "CREATE TABLE IF NOT EXISTS t (x); CREATE INDEX IF NOT EXISTS by_x ON t (x);"
FILES, PROCESSES = 40, 6


def make_them_all(folder, together):
    for i in range(FILES):
        together.wait(60)
        database.connect(folder / f"{i}.sqlite", SCHEMA).execute("INSERT INTO t VALUES (1)")


def test_processes_may_make_the_same_new_file_at_the_same_moment(tmp_path):
    spawning = multiprocessing.get_context("spawn")
    together = spawning.Barrier(PROCESSES)
    processes = [spawning.Process(target=make_them_all, args=(tmp_path, together)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    for i in range(FILES):
        assert database.connect(tmp_path / f"{i}.sqlite", SCHEMA).execute("SELECT count(*) FROM t").fetchone() == (PROCESSES,)


def test_patience_has_an_end_and_what_is_no_database_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.3)
    holder = sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        database.connect(tmp_path / "held.sqlite", SCHEMA)
    assert 0.3 <= time.monotonic() - began < 10
    (tmp_path / "text.sqlite").write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        database.connect(tmp_path / "text.sqlite", SCHEMA)
