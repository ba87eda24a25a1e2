"""Extraction: the table is exact and in order; kills, twins, bad files and second runs change none of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import table
from deepfake_detector.cache import Cache
from deepfake_detector.datasets import Listing
from deepfake_detector.datasets.folder import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import DatasetError, TableError, UnusablePicture
from deepfake_detector.extract import extract
from deepfake_detector.files import name_of
from tests.conftest import ROOT, draw, draw_dataset, process, script


class CountingEncoder(Encoder):
    """Notes how many pictures it was shown, and how many batches."""

    shown = batches = 0

    def encode(self, prepared):
        CountingEncoder.shown += len(prepared)
        CountingEncoder.batches += 1
        return super().encode(prepared)


@pytest.fixture(autouse=True)
def _fresh_count():
    CountingEncoder.shown = CountingEncoder.batches = 0


def test_the_table_says_what_the_encoder_says(dataset, tmp_path):
    out = tmp_path / "t.csv"
    extract(scan(dataset), Embedder(Encoder(), batch_size=7), str(out))
    read = table.read(out)
    assert list(read.rows.columns) == list(table.ROW_COLUMNS)
    assert list(read.rows["path"]) == [s.name for s in scan(dataset).samples]
    for i in (0, 13, 79):
        picture = Image.open(dataset / read.rows["path"][i]).convert("RGB")
        np.testing.assert_array_equal(read.X[i], Encoder().embed_batch([picture])[0])
    manifest = table.read_manifest(out)
    assert manifest["counts"]["fake"] == {"generator_0": 20, "generator_1": 20}
    assert manifest["rows"] == 80
    assert "torch" in manifest["versions"]


def test_csv_and_parquet_hold_the_same_float32(tmp_path, dataset):
    class Awkward(Encoder):
        """Numbers that a careless writer would round."""

        def encode(self, prepared):
            bits = np.random.default_rng(int(prepared.sum())).integers(0, 2**32, (len(prepared), 64), dtype=np.uint32)
            numbers = bits.view(np.float32).copy()
            numbers[~np.isfinite(numbers)] = np.float32(1e-45)
            return numbers

    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(Awkward(), cache=cache)
        for ending in ("csv", "parquet"):
            extract(scan(dataset), embedder, str(tmp_path / f"t.{ending}"))
    a, b = table.read(tmp_path / "t.csv"), table.read(tmp_path / "t.parquet")
    np.testing.assert_array_equal(a.X.view(np.uint32), b.X.view(np.uint32))
    assert a.rows.equals(b.rows)


def test_a_second_run_never_calls_the_encoder(dataset, tmp_path):
    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(CountingEncoder(), cache=cache)
        first = extract(scan(dataset), embedder, str(tmp_path / "a.csv"))
        assert (first.timing.encoded, CountingEncoder.shown) == (80, 80)
        second = extract(scan(dataset), embedder, str(tmp_path / "b.csv"))
        assert (second.timing.encoded, second.timing.cached, CountingEncoder.shown) == (0, 80, 80)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_picture_that_the_encoder_gives_no_numbers_for_is_left_out_and_not_remembered(dataset, tmp_path):
    """A table with such a row could not be read again, and would name nobody."""

    class Stumbling(Encoder):
        def encode(self, prepared):
            numbers = super().encode(prepared)
            numbers[0, 3] = np.nan
            return numbers

    with Cache(tmp_path / "cache.sqlite") as cache:
        done = extract(scan(dataset), Embedder(Stumbling(), "whole", cache, batch_size=8), str(tmp_path / "t.csv"))
        assert done.skipped
        assert {reason for _, reason in done.skipped} == {"the encoder gave numbers for it that are none"}
        assert len(table.read(tmp_path / "t.csv")) == done.rows == len(scan(dataset).samples) - len(done.skipped)
        whole = extract(scan(dataset), Embedder(Encoder(), "whole", cache), str(tmp_path / "t.csv"))
        assert whole.timing.encoded == len(done.skipped), "what was not remembered is encoded now"
    with pytest.raises(UnusablePicture, match="gave numbers for it that are none"):
        Embedder(Stumbling(), "whole", None).embed_one(Path(scan(dataset).samples[0].path).read_bytes())


def test_identical_files_are_encoded_once_and_reported(tmp_path):
    data = draw_dataset(tmp_path / "d", each=6)
    same = (data / "real/camera_0/000.jpg").read_bytes()
    (data / "real/camera_1/copy.jpg").write_bytes(same)
    (data / "fake/generator_0/copy.jpg").write_bytes(same)
    done = extract(scan(data), Embedder(CountingEncoder(), batch_size=4), str(tmp_path / "t.csv"))
    assert done.rows == 14
    assert CountingEncoder.shown == 14  # without a cache twins in other batches are encoded again …
    CountingEncoder.shown = 0
    with Cache(tmp_path / "c.sqlite") as cache:
        done = extract(scan(data), Embedder(CountingEncoder(), cache=cache, batch_size=64), str(tmp_path / "t.csv"))
    assert CountingEncoder.shown == 12  # … with one never
    CountingEncoder.shown = 0
    with Cache(tmp_path / "d.sqlite") as cache:
        extract(scan(data), Embedder(CountingEncoder(), cache=cache, batch_size=1), str(tmp_path / "t.csv"))
    assert CountingEncoder.shown == 12  # even if all were looked up before the first was known
    assert done.repeats == 2
    assert sorted(done.contradictions[0]) == ["fake/generator_0/copy.jpg", "real/camera_0/000.jpg", "real/camera_1/copy.jpg"]
    assert table.read_manifest(tmp_path / "t.csv")["duplicates"]["in_both_classes"] == done.contradictions


def test_bad_files_are_skipped_with_their_reasons_and_odd_ones_are_read(tmp_path):
    data = draw_dataset(tmp_path / "d", each=4)
    real = data / "real"
    (real / "empty.jpg").write_bytes(b"")
    (real / "text.jpg").write_text("no picture")
    whole = (real / "camera_0/000.jpg").read_bytes()
    (real / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (real / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    draw(real / "dot.png", 0, 1, size=(1, 1))
    Image.new("1", (30_000, 30_000)).save(real / "bomb.png", compress_level=1)
    odd = {"naïve 日本 🙂.png", 'comma, "quoted".png', "line\nbreak.png"}
    for name in odd:
        draw(real / name, 0, 5)
    draw(real / "cmyk.png", 0, 9).unlink()
    Image.open(real / "camera_0/000.jpg").convert("CMYK").save(real / "cmyk.jpg")
    Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16).save(real / "deep.png")
    (real / "bytes").mkdir()
    draw(Path(os.fsdecode(os.fsencode(real / "bytes") + b"/\xff\xfe.png")), 0, 8)

    for ending in ("csv", "parquet"):
        out = tmp_path / f"t.{ending}"
        listing = scan(data)
        done = extract(listing, Embedder(Encoder()), str(out))
        skipped = dict(done.skipped)
        assert {"real/empty.jpg", "real/text.jpg", "real/cut.jpg", "real/gone.jpg", "real/dot.png", "real/bomb.png"} == set(skipped)
        assert all(skipped.values())
        assert "too large" in skipped["real/bomb.png"], "not only blank, which it is as well"
        read = table.read(out)
        assert {f"real/{name}" for name in odd} <= set(read.rows["path"])
        assert {"real/cmyk.jpg", "real/deep.png"} <= set(read.rows["path"])
        assert len(read) == 8 + len(odd) + 3
        assert {s["path"]: s["reason"] for s in table.read_manifest(out)["skipped"]} == skipped


def test_a_named_pipe_does_not_hang(tmp_path):
    data = draw_dataset(tmp_path / "d", each=2)
    os.mkfifo(data / "real/pipe.jpg")
    (data / "real/link.jpg").symlink_to(data / "real/pipe.jpg")
    result = []
    worker = threading.Thread(target=lambda: result.append(extract(scan(data), Embedder(Encoder()), str(tmp_path / "t.csv"))), daemon=True)
    worker.start()
    worker.join(30)
    assert result, "extraction waits for a named pipe"
    assert result[0].rows == 4


def test_nothing_readable_is_an_error_and_leaves_no_table(tmp_path):
    (tmp_path / "d/real").mkdir(parents=True)
    (tmp_path / "d/real/a.jpg").write_text("no")
    with pytest.raises(DatasetError, match="None of the 1 pictures"):
        extract(scan(tmp_path / "d"), Embedder(Encoder()), str(tmp_path / "t.csv"))
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_order_is_kept_whatever_the_batches(tmp_path):
    data = draw_dataset(tmp_path / "d", each=30)
    samples = scan(data).samples
    random.Random(1).shuffle(samples)
    with Cache(tmp_path / "c.sqlite") as cache:
        embedder = Embedder(Encoder(), cache=cache, batch_size=8)
        list(embedder.embed(samples[::3], lambda s: Path(s.path).read_bytes()))  # a third is known beforehand
        extract(Listing(samples), embedder, str(tmp_path / "mixed.csv"))
    extract(Listing(samples), Embedder(Encoder(), batch_size=1), str(tmp_path / "plain.csv"))
    assert (tmp_path / "mixed.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


# A real encoder takes its time; the histogram has to wait in its second batch for a kill to find it at work.
SLOW = """
import os, sys, time
from deepfake_detector.encoders import colour_histogram
encode, begun = colour_histogram.Encoder.encode, []
def slowly(self, prepared):
    with open("shown.txt", "a") as log:
        log.write(f"{len(prepared)}\\n")
    begun.append(1)
    while len(begun) == 2 and not os.path.exists("may end"):
        time.sleep(0.01)
    return encode(self, prepared)
colour_histogram.Encoder.encode = slowly
from deepfake_detector.cli import extract
sys.exit(extract(sys.argv[1:]))
"""


def hear_interrupts() -> None:
    """A program started in the background by a shell is deaf to SIGINT, and hands that on to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def slow_extraction(data: Path, cwd: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-c",
        SLOW,
        str(data),
        "--encoder",
        "colour_histogram",
        "--out",
        "t.csv",
        "--batch-size",
        "8",
        "--cache",
        "c.sqlite",
    ]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
        text=True,
    )


def finished(running: subprocess.Popen) -> tuple[int, str]:
    """(exit status, what it wrote to stderr), its pipes closed."""
    error = running.communicate()[1]
    return running.returncode, error


def batches_shown(cwd: Path) -> list[int]:
    log = cwd / "shown.txt"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def until_it_shows(cwd: Path, batches: int) -> None:
    deadline = time.monotonic() + 120
    while len(batches_shown(cwd)) < batches:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_three_kills_change_nothing_and_cost_at_most_a_batch_each(dataset, embeddings_csv, tmp_path, how):
    for kill in range(3):
        victim = slow_extraction(dataset, tmp_path)
        until_it_shows(tmp_path, 2 * (kill + 1))
        victim.send_signal(how)
        status, error = finished(victim)
        assert status == (-9 if how == signal.SIGKILL else 130)
        if how == signal.SIGINT:
            assert "goes on from there" in error
            assert "Traceback" not in error
        assert not (tmp_path / "t.csv").exists(), f"kill {kill}: no half table"
    (tmp_path / "may end").touch()
    assert finished(slow_extraction(dataset, tmp_path))[0] == 0
    assert (tmp_path / "t.csv").read_bytes() == embeddings_csv.read_bytes()
    assert sum(batches_shown(tmp_path)) <= 80 + 3 * 8


def test_two_extractions_at_once_into_one_cache(dataset, tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        (folder / "c.sqlite").symlink_to(tmp_path / "shared.sqlite")
    running = [slow_extraction(dataset, folder) for folder in folders]
    for folder in folders:
        until_it_shows(folder, 2)
    for folder in folders:
        (folder / "may end").touch()
    assert [finished(r)[0] for r in running] == [0, 0]
    assert (folders[0] / "t.csv").read_bytes() == (folders[1] / "t.csv").read_bytes()
    with Cache(tmp_path / "shared.sqlite") as cache:
        assert cache.summary()["pictures"] == {"colour_histogram": 80}


def test_the_script_tells_what_it_did_and_what_is_wrong(dataset, tmp_path):
    done = process("extract_embeddings.py", dataset, "--encoder", "colour_histogram", "--out", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "80 rows of 64 numbers" in done.stdout
    assert (tmp_path / "embeddings/cache.sqlite").exists()
    (tmp_path / "embeddings.csv").mkdir()
    (tmp_path / "m.csv").write_text("path,label\na.jpg,real\n")
    for arguments, words in (
        ([dataset, "--encoder", "clip_vit_x"], "there are: clip_vit_b16"),
        ([tmp_path / "missing", "--encoder", "colour_histogram", "--out", "new/t.csv"], "missing"),
        ([dataset, "--encoder", "colour_histogram", "--out", "t.xlsx"], ".csv or .parquet"),
        ([dataset, "--encoder", "colour_histogram", "--batch-size", "0"], "at least 1"),
        ([dataset, "--encoder", "colour_histogram", "--out", "embeddings.csv"], "embeddings.csv is a folder"),
        ([dataset, "--encoder", "colour_histogram", "--out", "t.csv/t.csv"], "would be below"),
        (["m.csv", "--encoder", "colour_histogram", "--out", tmp_path / "m.csv"], "written over m.csv, which it is made from"),
    ):
        failed = script("extract_embeddings.py", *arguments, cwd=tmp_path)
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr
    assert not (tmp_path / "new").exists()


def test_another_table_of_the_same_name_is_not_replaced_unless_it_is_named(tmp_path):
    mine, others = (draw_dataset(tmp_path / owner / "pictures", each=2) for owner in ("mine", "others"))
    options = ["--encoder", "colour_histogram", "--no-cache"]
    out = tmp_path / "embeddings/pictures.csv"
    for _ in range(2):  # the same again is welcome
        done = script("extract_embeddings.py", mine, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "replaces" not in done.stdout
    assert table.read_manifest(out)["data"] == str(mine)
    before = out.read_bytes()
    for changed, words in (
        ([others, *options], f"of '{mine}', and this is '{others}'"),
        ([mine, *options, "--crop", "unframed"], "made differently (crop: 'whole' ≠ 'unframed"),
    ):
        failed = script("extract_embeddings.py", *changed, cwd=tmp_path)
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Name this one with --out, or delete that one" in failed.stderr
        assert out.read_bytes() == before
    whole = table.read_manifest(out)
    table.manifest_path(out).write_text(json.dumps({key: value for key, value in whole.items() if key != "data"}))
    done = script("extract_embeddings.py", others, *options, cwd=tmp_path)
    assert "it replaces a table of this name" in done.stdout, "one from before that was told"
    done = script("extract_embeddings.py", mine, *options, "--out", "embeddings/pictures.csv", cwd=tmp_path)
    assert done.returncode == 0, "which was asked for by its name"


def test_a_full_disk_is_said_in_words(dataset, tmp_path):
    """A limit on a file's size stands in for it."""
    command = (
        f"ulimit -f 20; exec {sys.executable} {ROOT}/extract_embeddings.py {dataset} --encoder colour_histogram --no-cache --out t.csv"
    )
    failed = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert failed.returncode == 2
    assert "Make room, or choose another place" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("given", "name"), [("sd1.5", "sd1.5"), ("list.csv", "list"), ("owner/sd1.5", "sd1.5")])
def test_what_a_table_is_called_unless_told(tmp_path, monkeypatch, given, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sd1.5").mkdir()
    (tmp_path / "list.csv").touch()
    assert name_of(Path(given).resolve()) == name


def corrupt(out: Path, **changes) -> None:
    beside = table.manifest_path(out)
    beside.write_text(json.dumps(json.loads(beside.read_text()) | changes))


def test_a_table_that_does_not_fit_its_manifest_is_refused(dataset, tmp_path):
    out = tmp_path / "t.csv"
    extract(scan(dataset), Embedder(Encoder()), str(out))
    lines = out.read_text().splitlines()

    corrupt(out, rows=79)
    with pytest.raises(TableError, match="80 rows.*79"):
        table.read(out)
    corrupt(out, rows=80, encoder=Encoder().spec.to_json() | {"dim": 63})
    with pytest.raises(TableError, match="e62"):
        table.read(out)
    corrupt(out, encoder=Encoder().spec.to_json())
    out.write_text("\n".join([lines[0], lines[1].rsplit(",", 1)[0] + ",nan", *lines[2:]]))
    with pytest.raises(TableError, match="NaN"):
        table.read(out)
    out.write_text("\n".join([lines[0], lines[1].replace(",1,", ",7,", 1), *lines[2:]]))
    with pytest.raises(TableError, match="label"):
        table.read(out)
    out.write_text("\n".join([lines[0], "some,words", *lines[2:]]))
    with pytest.raises(TableError, match="can't be read"):
        table.read(out)
    table.manifest_path(out).unlink()
    with pytest.raises(TableError, match="no manifest"):
        table.read(out)
    with pytest.raises(TableError, match="There is no table"):
        table.read(tmp_path / "other.csv")
