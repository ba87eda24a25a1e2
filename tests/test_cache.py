"""The embedding cache: exact, shared by processes, unharmed by kill -9, bounded, clearable."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.cache import Cache, Remembered, cache_key
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import CacheError
from tests import profiles
from tests.conftest import ROOT, draw, script

SPEC = Encoder().spec
BOX = np.array([[0, 0, 9, 9]], np.int32)


def entry(seed: int, dim: int = 8) -> Remembered:
    return Remembered(np.random.default_rng(seed).normal(size=(1, dim)).astype(np.float32), BOX)


def test_what_was_put_comes_back_exactly(tmp_path):
    first, two = (
        entry(1),
        Remembered(np.eye(2, 5, dtype=np.float32), np.array([[0, 0, 1, 1], [2, 3, 4, 5]], np.int32), ("a note", "another")),
    )
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.put("e", {b"1": first, b"2": two})
    with Cache(tmp_path / "c.sqlite") as cache:
        np.testing.assert_array_equal(cache.get(b"1").vectors, first.vectors)
        back = cache.get(b"2")
        np.testing.assert_array_equal(back.vectors, two.vectors)
        np.testing.assert_array_equal(back.boxes, two.boxes)
        assert back.notes == two.notes
        assert cache.get(b"1").notes == ()
        assert cache.get(b"3") is None
    with sqlite3.connect(tmp_path / "c.sqlite") as raw:
        raw.execute("UPDATE embeddings SET used = 'no time'")
    with Cache(tmp_path / "c.sqlite") as cache:
        np.testing.assert_array_equal(cache.get(b"1").vectors, first.vectors)


def test_a_batch_that_fails_leaves_nothing_and_the_next_is_remembered(tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache, Cache(tmp_path / "c.sqlite") as beside:
        with pytest.raises(CacheError):
            cache.put("e", {b"1": entry(1), ("no", "key"): entry(2)})
        assert cache.get(b"1") is None
        for one, key in ((beside, b"2"), (cache, b"3")):
            one.put("e", {key: entry(3)})
            assert one.get(key)


@pytest.mark.parametrize("field", [f for f in SPEC.to_json() if f != "normalised"])
def test_another_spec_is_another_key(field):
    value = getattr(SPEC, field)
    other = replace(SPEC, **{field: value + 1 if isinstance(value, int) else value + "x"})
    assert cache_key("ab", "whole", SPEC) != cache_key("ab", "whole", other)


def test_what_was_remembered_of_pixels_read_otherwise_is_not_taken(tmp_path):
    picture = Image.effect_noise((32, 32), 60).convert("RGB")
    encoder = Encoder()
    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(encoder, cache=cache)
        for embedded, taken in ((profiles.SRGB, True), (profiles.RED_AS_BLUE, False)):
            file = io.BytesIO()
            picture.save(file, "PNG", icc_profile=embedded)
            old = cache_key(hashlib.sha256(file.getvalue()).hexdigest(), embedder.crop, encoder.spec)
            cache.put(encoder.spec.name, {old: entry(1, encoder.spec.dim)})
            first, second = (embedder.embed_one(file.getvalue()) for _ in range(2))
            assert (first.cached, second.cached) == (taken, True)
            assert first.sha256 == hashlib.sha256(file.getvalue()).hexdigest()


def test_another_crop_or_file_is_another_key():
    assert len({cache_key(sha, crop, SPEC) for sha in ("a", "b") for crop in ("whole", "faces")}) == 4


def test_over_its_limit_it_forgets_the_least_recently_used(tmp_path, monkeypatch):
    now = [1_000_000]
    monkeypatch.setattr("deepfake_detector.cache.time.time", lambda: now[0])
    with Cache(tmp_path / "c.sqlite", limit=300_000) as cache:
        for i in range(100):
            now[0] += 1000
            cache.put("e", {str(i).encode(): entry(i, dim=2000)})  # 8 kB each
            assert cache.get(b"0"), "used all the time, so never forgotten"
        assert cache.get(b"99")
        assert cache.get(b"1") is None
        assert cache.summary()["bytes"] <= 300_000
        assert 10 < cache.summary()["pictures"]["e"] < 40


def test_it_can_be_inspected_and_cleared_in_one_line(tmp_path):
    place = tmp_path / "c.sqlite"
    with Cache(place) as cache:
        cache.put("some_encoder", {bytes([i]): entry(i, 4000) for i in range(50)})
    big = place.stat().st_size
    shown = script("deepfake_detector", "cache", "--cache", place, cwd=tmp_path)
    assert "some_encoder" in shown.stdout
    assert "50 pictures" in shown.stdout
    assert "forgot 50" in script("deepfake_detector", "cache", "--clear", "--cache", place, cwd=tmp_path).stdout
    assert place.stat().st_size < big / 4
    mistyped = script("deepfake_detector", "cache", "--clear", "--cache", "d.sqlite", cwd=tmp_path)
    assert "d.sqlite: there is no such file" in mistyped.stdout
    assert "forgot" not in mistyped.stdout
    assert not (tmp_path / "d.sqlite").exists()


def test_a_file_that_is_no_cache_is_refused_in_words(tmp_path):
    place = tmp_path / "c.sqlite"
    place.write_bytes(b"this is no database" * 100)
    with pytest.raises(CacheError, match="c.sqlite"):
        Cache(place)


@pytest.mark.parametrize("damage", ["vectors = substr(vectors, 2)", "vectors = 'text'", "boxes = x''", "vectors = x'0000c07f'"])
def test_a_damaged_row_is_a_miss_and_is_written_anew(tmp_path, damage):
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.put("e", {b"1": entry(1)})
    with sqlite3.connect(tmp_path / "c.sqlite") as raw:
        raw.execute(f"UPDATE embeddings SET {damage}")
    with Cache(tmp_path / "c.sqlite") as cache:
        assert cache.get(b"1") is None
        cache.put("e", {b"1": entry(2)})
        np.testing.assert_array_equal(cache.get(b"1").vectors, entry(2).vectors)


def test_an_embedding_of_another_width_is_computed_again(tmp_path):
    picture, encoder = tmp_path / "a.png", Encoder()
    draw(picture, 1, 0)
    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(encoder, "whole", cache)
        right = embedder.embed_one(picture.read_bytes())
        cache.put("e", {cache_key(right.sha256, "whole", encoder.spec): entry(1, 8)})
        again = embedder.embed_one(picture.read_bytes())
        assert not again.cached
        np.testing.assert_array_equal(again.remembered.vectors, right.remembered.vectors)


def test_a_damaged_cache_is_named_when_it_is_inspected(tmp_path):
    place = tmp_path / "c.sqlite"
    with Cache(place) as cache:
        cache.put("some_encoder", {bytes([i]): entry(i, 4000) for i in range(50)})
    with place.open("r+b") as file:  # all pages but the first, which lists the tables
        file.seek(4096)
        file.write(b"\xff" * (place.stat().st_size - 4096))
    with Cache(place) as cache, pytest.raises(CacheError, match="c.sqlite can't be used.*or delete this one"):
        cache.summary()


def test_who_names_a_photograph_for_the_cache_is_not_told_to_delete_it(tmp_path):
    photograph = draw(tmp_path / "photo.jpg", 0, 1)
    before = photograph.read_bytes()
    with pytest.raises(CacheError, match="photo.jpg is no embedding cache.*Choose another file") as told:
        Cache(photograph)
    assert "delete" not in str(told.value)
    assert photograph.read_bytes() == before
    with pytest.raises(CacheError, match="can't be used.*choose another file") as told:
        Cache(tmp_path)
    assert "delete" not in str(told.value), "a folder may hold anything"


@pytest.mark.parametrize("mode", ["delete", "wal", "wal in use"])
@pytest.mark.parametrize("table", ["moz_places (id INTEGER PRIMARY KEY, url TEXT)", "embeddings (id INTEGER PRIMARY KEY, embedding BLOB)"])
def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path, mode, table):
    place = tmp_path / "history.sqlite"
    with closing(sqlite3.connect(place)) as theirs:
        theirs.execute(f"PRAGMA journal_mode = {mode.partition(' ')[0]}")
        theirs.execute(f"CREATE TABLE {table}")
        if mode != "wal in use":
            theirs.close()
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        expected = r"history.sqlite is no embedding cache, .* expected the table embeddings \(key, .*\), found \w+, .*Choose another file"
        with pytest.raises(CacheError, match=expected) as told:
            Cache(place)
        assert "delete" not in str(told.value)
        after = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert after.keys() == before.keys()
        assert [name for name in before if before[name] != after[name] and not name.endswith("-shm")] == []  # that holds locks


def test_nobody_is_told_to_delete_a_database_that_could_not_be_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr("deepfake_detector.database.PATIENCE", 0.1)
    place = tmp_path / "history.sqlite"
    with closing(sqlite3.connect(place)) as theirs:
        theirs.execute("PRAGMA locking_mode = EXCLUSIVE")
        theirs.execute("PRAGMA journal_mode = WAL")
        theirs.execute("CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)")
        with pytest.raises(CacheError, match="locked.*choose another file") as told:
            Cache(place)
        assert "delete this one" not in str(told.value)


WRITER = """
import sys
import numpy as np
from deepfake_detector.cache import Cache, Remembered
start, count, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
cache, box = Cache(place), np.zeros((1, 4), np.int32)
for i in range(start, start + count):
    pair = {f"{i}-{half}".encode(): Remembered(np.full((1, 300), i, np.float32), box) for half in "ab"}
    cache.put("e", pair)
    print(i, flush=True)
"""


def writer(place, start, count):
    command = [sys.executable, "-c", WRITER, str(start), str(count), str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_several_processes_write_at_once(tmp_path):
    place = tmp_path / "c.sqlite"
    writers = [writer(place, 1000 * n, 60) for n in range(3)]
    assert [w.communicate()[0].count("\n") for w in writers] == [60, 60, 60]
    assert [w.returncode for w in writers] == [0, 0, 0]
    with Cache(place) as cache:
        assert cache.summary()["pictures"] == {"e": 360}


def test_kill_9_loses_nothing_committed_and_splits_no_batch(tmp_path):
    place = tmp_path / "c.sqlite"
    victim = writer(place, 0, 100_000)
    reported = [int(victim.stdout.readline()) for _ in range(20)]
    time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    rest = victim.communicate()[0]
    reported += [int(line) for line in rest[: rest.rfind("\n") + 1].splitlines()]  # of a line, part may have been written
    with Cache(place) as cache:
        for i in reported:
            assert cache.get(f"{i}-a".encode()).vectors[0, 0] == i
        kept = cache.summary()["pictures"]["e"]
        assert kept % 2 == 0, "a batch is remembered whole or not at all"
        cache.put("e", {b"new": entry(0)})
