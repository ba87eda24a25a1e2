"""Tables: CSV and Parquet hold the same, half precision is said, damage is refused, and a kill leaves nothing half."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detector import table
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import TableError
from deepfake_detector.files import remove_abandoned
from deepfake_detector.types import EncoderSpec, Sample
from tests.conftest import ROOT, script

SPEC = Encoder().spec  # 64 numbers
NAMES = ["plain.jpg", 'comma, "quoted".png', "line\nbreak.png", "naïve 日本 🙂.png", "", " space ", "NULL", "nan", "1"]


def awkward(count: int, seed: int = 0) -> np.ndarray:
    """Every kind of float32, (count, 64): tiny, huge, whole, negative zero."""
    bits = np.random.default_rng(seed).integers(0, 2**32, (count, 64), dtype=np.uint32)
    X = bits.view(np.float32).copy()
    X[~np.isfinite(X)] = -0.0
    return X


def rows(X: np.ndarray, video: bool = False):
    for i, x in enumerate(X):
        clip = f"clip{i % 3}.mp4" if video and i % 4 else ""
        sample = Sample("", f"{NAMES[i % len(NAMES)]}{i}", i % 2, NAMES[i % 3], NAMES[i % len(NAMES)], "", clip, i / 7 if clip else None)
        yield table.Row(sample, f"{i:064x}", x)


def small_table(folder: Path, ending: str = "parquet", count: int = 50, **options) -> Path:
    out = folder / f"t.{ending}"
    table.write(out, rows(np.random.default_rng(0).normal(size=(count, 64)).astype(np.float32)), SPEC, {"crop": "whole"}, **options)
    return out


@pytest.mark.parametrize("video", [False, True])
def test_csv_and_parquet_turn_into_each_other_exactly(tmp_path, monkeypatch, video):
    monkeypatch.setattr(table, "_CHUNK_ROWS", 16)
    X = awkward(70)
    a, b, c = (tmp_path / name for name in ("a.csv", "b.parquet", "c.csv"))
    table.write(a, rows(X, video), SPEC, {"crop": "faces", "skipped": [{"path": "é", "reason": "x"}]}, table.columns(video))
    assert table.convert(a, b) == table.convert(b, c) == 70
    assert a.read_bytes() == c.read_bytes()
    assert table.read_manifest(a) == table.read_manifest(b) == table.read_manifest(c)
    assert table.read_manifest(c)["skipped"] == [{"path": "é", "reason": "x"}]
    of_csv, of_parquet = table.read(a), table.read(b)
    for data in (of_csv, of_parquet):
        np.testing.assert_array_equal(data.X.view(np.uint32), X.view(np.uint32))
        assert data.crop == "faces"
    assert of_csv.rows.equals(of_parquet.rows)
    assert ("time" in of_csv.rows) == video


def test_half_precision_is_half_the_size_and_says_so(tmp_path):
    X = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
    whole, half, back, again = (tmp_path / name for name in ("w.parquet", "h.parquet", "b.csv", "a.parquet"))
    table.write(whole, rows(X), SPEC, {"crop": "whole"})
    table.write(half, rows(X), SPEC, {"crop": "whole"}, float16=True)
    assert table.read_manifest(whole)["dtype"] == "float32"
    assert table.read_manifest(half)["dtype"] == "float16"
    saved = whole.stat().st_size - half.stat().st_size
    assert saved == pytest.approx(X.size * 2, rel=0.01)
    read = table.read(half)
    assert read.X.dtype == np.float32
    np.testing.assert_array_equal(read.X, X.astype(np.float16).astype(np.float32))
    table.convert(half, back)
    table.convert(back, again)
    assert table.read_manifest(again)["dtype"] == "float16"
    np.testing.assert_array_equal(table.read(again).X, read.X)
    np.testing.assert_array_equal(table.read(back).X, read.X)
    table.convert(whole, whole, float16=True)  # in place
    np.testing.assert_array_equal(table.read(whole).X, read.X)


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    X = np.full((10, 64), 1e5, np.float32)
    with pytest.raises(TableError, match="up to 65504; these embeddings reach 100000"):
        table.write(tmp_path / "t.parquet", rows(X), SPEC, {}, float16=True)
    with pytest.raises(TableError, match=r"\.parquet table half as large"):
        table.write(tmp_path / "t.csv", rows(X), SPEC, {}, float16=True)
    assert list(tmp_path.iterdir()) == []


def rewritten(path: Path, change) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, values):
    def change(t: pa.Table) -> pa.Table:
        return t.set_column(t.schema.get_field_index(name), name, values(t) if callable(values) else values)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns("embedding"), "should have the columns"),
        (lambda t: t.rename_columns([*t.column_names[:-1], "e0"]), "should have the columns"),
        (lambda t: t.slice(0, 49), "49 rows.*says 50"),
        (lambda t: pa.concat_tables([t, t]), "100 rows.*says 50"),
        (with_column("label", pa.array([7] * 50)), "0 .real. or 1 .fake.; found 7"),
        (with_column("label", pa.array([None] * 50, pa.int8())), "empty cells in the column label"),
        (with_column("group", pa.array([None] * 50, pa.string())), "empty cells in the column group"),
        (with_column("embedding", pa.array([[0.5] * 64] * 50, pa.list_(pa.float64(), 64))), "lists of 64 float32"),
        (with_column("embedding", pa.array([[0.5] * 63] * 50, pa.list_(pa.float32(), 63))), "lists of 64 float32"),
        (with_column("embedding", pa.array([[0.5] * 63 + [np.nan]] * 50, pa.list_(pa.float32(), 64))), "NaN or infinite"),
        (with_column("embedding", pa.array([[0.5] * 63 + [None]] * 50, pa.list_(pa.float32(), 64))), "NaN or infinite"),
        (with_column("embedding", pa.array([None] + [[0.5] * 64] * 49, pa.list_(pa.float32(), 64))), "empty cells in the column embedding"),
    ],
)
def test_a_parquet_table_that_was_meddled_with_is_refused(tmp_path, change, words):
    out = small_table(tmp_path)
    rewritten(out, change)
    for use in (table.read, lambda path: table.convert(path, tmp_path / "new.csv")):
        with pytest.raises(TableError, match=words):
            use(out)
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_damaged_files_and_manifests_are_refused(tmp_path, ending):
    out = small_table(tmp_path, ending)
    whole, manifest = out.read_bytes(), table.read_manifest(out)
    for content in (whole[: len(whole) // 2], b"", b"PAR1 nothing PAR1", os.urandom(5000)):
        out.write_bytes(content)
        with pytest.raises(TableError):
            table.read(out)
    out.write_bytes(whole)
    for change, words in (
        ({"format": 1}, "format 2.*says 1.*extract_embeddings"),
        ({"rows": "many"}, "'many'"),
        ({"rows": 0}, "no rows"),
        ({"rows": 10**9}, "50 rows.*1000000000"),
        ({"dtype": "float64"}, "'float64'"),
        ({"encoder": {"name": "x"}}, "lacks"),
    ):
        table.manifest_path(out).write_text(json.dumps(manifest | change))
        with pytest.raises(TableError, match=words):
            table.read(out)
    table.manifest_path(out).write_text("[]")
    with pytest.raises(TableError, match="format 2"):
        table.read(out)


def test_the_command_converts_and_says_what_is_wrong(tmp_path):
    small_table(tmp_path)
    done = script("deepfake_detector", "convert", "t.parquet", "new/t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "new/t.csv: 50 rows" in done.stdout
    assert table.read(tmp_path / "new/t.csv").rows.equals(table.read(tmp_path / "t.parquet").rows)
    for arguments, words in (
        (["none.csv", "t.csv"], "There is no table none.csv"),
        (["t.parquet", "t.xlsx"], ".csv or .parquet"),
        (["t.parquet", "t.csv", "--float16"], ".parquet table half as large"),
    ):
        failed = script("deepfake_detector", "convert", *arguments, cwd=tmp_path)
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr


# A table of ordinary size takes its time; a small one has to wait until it may end, for a kill to find it at work.
SLOW = """
import pathlib, sys, time
from deepfake_detector import table
write = table._Writer.write
def slowly(self, *chunk):
    write(self, *chunk)
    while not pathlib.Path("may end").exists():
        time.sleep(0.01)
table._Writer.write, table._CHUNK_ROWS = slowly, 10
from deepfake_detector.cli import main
sys.exit(main(sys.argv[1:]))
"""


def slow_conversion(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, "convert", *arguments]
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)


def being_written(target: Path) -> list[Path]:
    """The unfinished files of this table, once there are any. With its first bytes one is locked; before, its writer may be about to."""
    deadline = time.monotonic() + 120
    while not (parts := [part for part in target.parent.glob(f".{target.name}.*.part") if part.stat().st_size]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return parts


def test_a_killed_conversion_leaves_the_old_table_or_none(tmp_path):
    small_table(tmp_path, count=100)
    shutil.copy(small_table(tmp_path, "csv", count=20), tmp_path / "old.csv")
    shutil.copy(tmp_path / "t.csv.json", tmp_path / "old.csv.json")
    for target in ("new.csv", "old.csv"):
        victim = slow_conversion(tmp_path, "t.parquet", target)
        being_written(tmp_path / target)
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -9
    assert not (tmp_path / "new.csv").exists()
    assert len(table.read(tmp_path / "old.csv")) == 20
    table.convert(tmp_path / "t.parquet", tmp_path / "old.csv")
    assert len(table.read(tmp_path / "old.csv")) == 100


def test_what_a_kill_left_is_removed_and_what_is_being_written_is_not(tmp_path):
    small_table(tmp_path, count=100)
    running = slow_conversion(tmp_path, "t.parquet", "new.csv")
    parts = being_written(tmp_path / "new.csv")
    (tmp_path / ".new.csv.abcd.part").write_bytes(b"left by a kill")
    for part in (*parts, tmp_path / ".new.csv.abcd.part"):
        os.utime(part, (0, 0))
    remove_abandoned(tmp_path / "new.csv")
    assert list(tmp_path.glob(".new.csv.*.part")) == parts
    (tmp_path / "may end").touch()
    assert running.wait() == 0
    assert len(table.read(tmp_path / "new.csv")) == 100


def test_what_was_left_a_moment_ago_is_removed_too(tmp_path):
    """The same command is run again at once; bytes are written only once their file is locked."""
    for name, content in (("half", b"left by a kill"), ("empty", b"")):
        (tmp_path / f".t.csv.{name}.part").write_bytes(content)
    small_table(tmp_path, "csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".t.csv.empty.part", "t.csv", "t.csv.json"], "one may be about to lock it"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_no_table_is_not_written_over(tmp_path, ending):
    source, target = small_table(tmp_path, "parquet"), tmp_path / f"mine.{ending}"
    a_list = b"path,label,generator,group,split,sha256\na.jpg,0,g,a,,ab\n"
    for content in (a_list, b"\xff\xfe", b"name;points\nme;3\n", b"e0,reading\n1,3\n"):
        target.write_bytes(content)
        for write in (lambda: table.convert(source, target), lambda: table.write(target, rows(awkward(3)), SPEC, {})):
            with pytest.raises(TableError, match=rf"mine\.{ending} is there, and is no table: it would be lost. Choose another name"):
                write()
        assert target.read_bytes() == content
    target.write_bytes(b"")  # as mktemp makes it
    table.convert(source, target)
    table.convert(source, target)
    table.manifest_path(target).unlink()  # as a kill between the two leaves it
    table.convert(source, target)
    assert len(table.read(target)) == 50


def test_a_table_that_a_spreadsheet_saved_is_refused_in_few_words(tmp_path):
    out = small_table(tmp_path, "csv")
    out.write_text(out.read_text().replace('"', "").replace(",", ";"))
    with pytest.raises(TableError, match=r"should have the comma-separated columns path, .* but has 1: path;label;.* …\. Make") as raised:
        table.read(out)
    assert len(str(raised.value).replace(str(out), "")) < 350


def test_labels_that_were_made_fractions_are_read_and_others_refused(tmp_path):
    out = small_table(tmp_path, "csv")
    whole, text = table.read(out).rows, out.read_text()
    out.write_text(text.replace('",0,', '",0.0,').replace('",1,', '",1.0,'))
    assert table.read(out).rows.equals(whole)
    out.write_text(text.replace('",1,', '",0.5,'))
    with pytest.raises(TableError, match=r"0 .real. or 1 .fake.; found 0\.5"):
        table.read(out)


def test_a_name_that_no_utf8_file_can_hold_is_spelt_out(tmp_path):
    sample = Sample("x", "caf\udce9/\ud83d.jpg", 0, "real", "g")
    spec = EncoderSpec("colour_histogram", "a", "w", "l", 1, "p", True, 1)
    manifest = {"command": "extract caf\udce9", "crop": "whole"}
    table.write(tmp_path / "t.csv", [table.Row(sample, "0" * 64, np.zeros(1, np.float32))], spec, manifest)
    assert table.read(tmp_path / "t.csv").rows["path"].tolist() == ["caf\\udce9/\\ud83d.jpg"]
    assert table.manifest_path(tmp_path / "t.csv").read_bytes().isascii()


def test_two_conversions_into_one_name(tmp_path):
    small_table(tmp_path, count=100)
    running = [slow_conversion(tmp_path, "t.parquet", "new.csv") for _ in range(2)]
    being_written(tmp_path / "new.csv")
    (tmp_path / "may end").touch()
    assert [one.wait() for one in running] == [0, 0]
    assert table.read(tmp_path / "new.csv").rows.equals(table.read(tmp_path / "t.parquet").rows)


def test_two_writers_of_one_table_leave_numbers_and_manifest_of_one(tmp_path, monkeypatch):
    """The one is stopped between the two, when its numbers are there and its manifest is not; the other has to wait for it."""
    between, other, atomically = threading.Event(), [], table.write_atomically

    def slowly(path, write, **options):
        atomically(path, write, **options)
        if path.suffix == ".csv" and not other:
            other.append(threading.Thread(target=table.write, args=(path, rows(awkward(20)), SPEC, {"crop": "faces"})))
            other[0].start()
            between.wait(0.5)

    monkeypatch.setattr(table, "write_atomically", slowly)
    table.write(tmp_path / "t.csv", rows(awkward(50)), SPEC, {"crop": "whole"})
    other[0].join()
    assert (len(table.read(tmp_path / "t.csv")), table.read(tmp_path / "t.csv").crop) == (20, "faces")


def test_a_bit_that_fell_over_is_found(tmp_path):
    path = small_table(tmp_path, count=200)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(TableError, match="can't be read .*Make the table again"):
        table.read(path)


def test_a_sample_is_let_go_once_its_row_is_written(tmp_path):
    """It may carry its picture's bytes."""
    alive: weakref.WeakSet[Sample] = weakref.WeakSet()
    most = 0

    def watched():
        nonlocal most
        for row in rows(np.zeros((3000, 64), np.float32)):
            alive.add(row.sample)
            most = max(most, len(alive))
            yield row

    gc.collect()
    table.write(tmp_path / "t.parquet", watched(), SPEC, {})
    assert most <= 5


def test_several_tables_are_read_as_one(tmp_path):
    X = awkward(60)
    for name, part, video in (("a.csv", slice(0, 25), False), ("b.parquet", slice(25, 60), True)):
        table.write(tmp_path / name, list(rows(X, video))[part], SPEC, {"crop": "whole"}, table.columns(video))
    together = table.read_all([tmp_path / "a.csv", tmp_path / "b.parquet"])
    assert (together.X == X).all()
    assert list(together.rows["sha256"]) == [f"{i:064x}" for i in range(60)]
    assert set(together.rows["video"][:25]) == {""}, "pictures, beside frames of clips"
    assert set(together.rows["video"][25:]) > {""}
    alone = table.read_all([tmp_path / "a.csv"])
    assert (X[:25] == alone.X).all()


def test_tables_made_differently_are_not_taken_together(tmp_path):
    first = small_table(tmp_path)
    for name, spec, crop in (("crop", SPEC, "faces"), ("encoder", dataclasses.replace(SPEC, name="other"), "whole")):
        other = tmp_path / f"{name}.csv"
        table.write(other, rows(awkward(40)), spec, {"crop": crop})
        with pytest.raises(TableError, match=rf"t\.parquet and .*{name}\.csv can't be taken together.*{name}"):
            table.read_all([first, other])
    (tmp_path / "again.parquet").symlink_to(first)
    with pytest.raises(TableError, match=r"again\.parquet is named twice, also as .*t\.parquet\. Name it once"):
        table.read_all([first, tmp_path / "again.parquet"])
    failed = script("train_classifier.py", first, tmp_path / "crop.csv", cwd=tmp_path)
    assert failed.returncode == 2
    assert "can't be taken together" in failed.stderr
    assert not (tmp_path / "models").exists(), "nothing came to lie there"
    assert "Traceback" not in failed.stderr


def test_a_model_is_trained_on_two_tables_as_on_one(embeddings_csv, tmp_path):
    lines = embeddings_csv.read_text().splitlines(keepends=True)
    manifest = json.loads(table.manifest_path(embeddings_csv).read_text())
    middle = len(lines) // 2
    for name, part in (("a", lines[1:middle]), ("b", lines[middle:])):
        (tmp_path / f"{name}.csv").write_text("".join([lines[0], *part]))
        table.manifest_path(tmp_path / f"{name}.csv").write_text(json.dumps(manifest | {"rows": len(part)}))
    once = script("train_classifier.py", embeddings_csv, "--head", "logistic", "--out", "models/m", cwd=tmp_path)
    twice = script("train_classifier.py", "a.csv", "b.csv", "--head", "logistic", "--out", "models/m", cwd=tmp_path)
    assert once.stdout == twice.stdout, twice.stderr
    assert "Confusion matrix" in twice.stdout
