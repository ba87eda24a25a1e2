"""The engine ray: the local engine's table, part by part; what was finished is not done again, whoever was killed."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from deepfake_detector import cli, frames, parts, table
from deepfake_detector.cache import Remembered
from deepfake_detector.datasets import Listing, stream
from deepfake_detector.datasets.elsa_d3 import scan as scan_rows
from deepfake_detector.datasets.folder import scan
from deepfake_detector.datasets.videos import scan as scan_clips
from deepfake_detector.datasets.webdataset import scan as scan_tars
from deepfake_detector.embed import Embedded, Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import DatasetError, EngineError
from deepfake_detector.extract import Take, extract
from deepfake_detector.frames import Shot
from deepfake_detector.types import Sample
from deepfake_detector.video import Sampling
from tests.by_ray import Mortal, by_ray, finished_parts
from tests.clips import draw_clip
from tests.conftest import ROOT, draw, draw_dataset
from tests.test_streams import streamed

SETTINGS = {
    "RAY_worker_niceness": "0",  # else whatever else runs here holds up its workers
    "RAY_idle_worker_killing_time_threshold_ms": "600000",  # else each test starts its own: a second of a core, each
}
needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed (requirements-ray.txt)")


def is_alive(worker: int) -> bool:
    try:
        os.kill(worker, 0)
    except ProcessLookupError:
        return False
    return True


def encoded(folder: Path) -> int:
    log = folder / "encoded"
    return sum(map(int, log.read_text().split())) if log.exists() else 0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Ray on this machine, for all tests of this file."""
    from deepfake_detector.engine_ray import RayEngine

    with patch.dict(os.environ, SETTINGS), RayEngine(tmp_path_factory.mktemp("ray") / "none"):
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Listing:
    """120 pictures: some are broken, some are copies, one of them in the other class."""
    root = draw_dataset(tmp_path_factory.mktemp("pictures"), each=57)
    whole = (root / "real/camera_0/000.jpg").read_bytes()
    (root / "real/broken.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "real/empty.png").write_bytes(b"")
    (root / "real/gone.jpg").symlink_to(root / "nowhere.jpg")
    draw(root / "test/fake/a.png", 1, 1000)
    shutil.copy(root / "real/camera_0/000.jpg", root / "real/copy.jpg")
    shutil.copy(root / "real/camera_0/000.jpg", root / "fake/copy.jpg")
    return scan(root)


def same(a: Path, b: Path) -> bool:
    return a.read_bytes() == b.read_bytes() and table.read_manifest(a) == table.read_manifest(b)


@needs_ray
def test_the_table_is_that_of_the_local_engine_and_nothing_is_done_twice(cluster, pictures, tmp_path):
    embedder = Embedder(Encoder(), batch_size=16)
    pictures = Listing([replace(one, made_from="ab" * 32 if i % 2 else "") for i, one in enumerate(pictures.samples)])  # pairs among them
    here = extract(pictures, embedder, str(tmp_path / "here.csv"), views=("augment0",))
    there = by_ray(pictures, embedder, tmp_path / "there.csv", views=("augment0",))
    assert same(tmp_path / "here.csv", tmp_path / "there.csv")
    assert (here.rows, here.skipped, here.repeats, here.contradictions) == (there.rows, there.skipped, there.repeats, there.contradictions)
    assert {name for name, _ in there.skipped} == {"real/broken.jpg", "real/empty.png", "real/gone.jpg"}
    assert there.repeats == 2
    assert (there.timing.encoded, there.timing.cached) == (here.rows, 0)

    changed = Path(pictures.samples[30].path)
    draw(changed, 1, 4321)
    os.utime(changed, (1, 1))
    extract(pictures, embedder, str(tmp_path / "here.csv"), views=("augment0",))
    again = by_ray(pictures, embedder, tmp_path / "there.csv", views=("augment0",))
    assert same(tmp_path / "here.csv", tmp_path / "there.csv")
    assert (again.timing.encoded, again.timing.cached) == (50, 183)


@needs_ray
def test_a_stream_is_drawn_elsewhere_and_its_account_comes_back(cluster, pictures, tmp_path):
    files = Listing(pictures.samples[:60])
    for engine, out in ((extract, str(tmp_path / "here.parquet")), (by_ray, tmp_path / "there.parquet")):
        engine(streamed(files, bad=2), Embedder(Encoder()), out)
    assert same(tmp_path / "here.parquet", tmp_path / "there.parquet")
    assert table.read_manifest(tmp_path / "there.parquet")["facts"] == {"drawn": 60}

    def breaks_off(skipped, facts):
        yield from list(streamed(files).samples)[:50]
        raise DatasetError("The stream broke off.")

    with pytest.raises(DatasetError, match=r"^The stream broke off.$"):
        by_ray(stream(breaks_off), Embedder(Encoder()), tmp_path / "broken.csv")
    assert not (tmp_path / "broken.csv").exists()


@needs_ray
def test_shards_give_the_rows_that_they_give_locally(cluster, tmp_path):
    from tests import elsa
    from tests.test_fetch import Server, reply
    from tests.test_webdataset import shard

    web = Server()
    web.answers = {f"/{i}": reply(elsa.picture(1000 + i)) if i % 5 else reply(status=404) for i in range(12)}
    rows = elsa.shards(tmp_path / "rows", lambda i: f"{web.url}/{i}", 12)
    for n in range(2):
        content = {f"{i}.png": elsa.picture(10 * n + i) for i in range(9)} | {f"{i}.cls": ("real", "fake")[i % 2] for i in range(9)}
        shard(tmp_path / f"tars/train-{n}.tar", dict(sorted(content.items())))
    try:
        for listing, count in (
            (scan_rows(str(rows), allow_private=True, real_pictures=str(tmp_path / "fetched")), 57),
            (scan_tars(str(tmp_path / "tars")), 18),
        ):
            here, there = tmp_path / f"here{count}.parquet", tmp_path / f"there{count}.parquet"
            by_ray(listing, Embedder(Encoder(), batch_size=8), there, part=16)
            extract(listing, Embedder(Encoder()), str(here))
            assert same(here, there)
            assert len(table.read(there)) == count
        next((tmp_path / f"{there.name}.parts").glob("*1.parquet")).unlink()
        again = by_ray(listing, Embedder(Encoder(), batch_size=8), there, part=16)
        assert again.timing.encoded == 2, "one part was lost, and it alone is done again"
        assert same(here, there)
    finally:
        web.close()


@needs_ray
def test_clips_give_the_rows_that_they_give_locally(cluster, tmp_path):
    for number, label in enumerate(("real", "fake")):
        draw_clip(tmp_path / "d" / label / "clip.mp4", [40 * i for i in range(10)], tint=(0, 0, 40 * number))
    (tmp_path / "d/fake/bad.mp4").write_bytes(b"no clip")
    for engine, out in ((extract, str(tmp_path / "here.csv")), (by_ray, tmp_path / "there.csv")):
        engine(scan_clips(tmp_path / "d"), Embedder(Encoder(), batch_size=3), out, sampling=Sampling(frames=7))
    assert same(tmp_path / "here.csv", tmp_path / "there.csv")
    assert len(table.read(tmp_path / "there.csv")) == 14


@needs_ray
def test_two_runs_do_not_share_their_parts(cluster, tmp_path):
    from deepfake_detector.engine_ray import RayEngine

    with RayEngine(tmp_path / "t.csv"), pytest.raises(EngineError, match=r"Another process extracts into .*t\.csv\.parts"):
        RayEngine(tmp_path / "t.csv").__enter__()
    with RayEngine(tmp_path / "t.csv"):
        pass


@needs_ray
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Exception("The current node timed out during startup.\nMore."), r"\(The current node timed out .*Wait until .*--engine local"),
        (ConnectionError("no such node"), r"can't be started, or joined \(no such node\)"),
    ],
)
def test_a_ray_that_does_not_start_is_said_in_words(tmp_path, monkeypatch, caplog, capfd, error, words):
    import ray

    from deepfake_detector.engine_ray import RayEngine

    def init(**_):
        os.write(2, b"[1 I] logging.cc:303: Set ray log level")
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    with caplog.at_level("INFO"), pytest.raises(EngineError, match=words):
        RayEngine(tmp_path / "t.csv").__enter__()
    assert "joining Ray at 10.0.0.7:6379" in caplog.text
    os.write(2, b"and so on")
    assert capfd.readouterr().err == "and so on", "what Ray's C++ says of its log alone is not shown"


@needs_ray
def test_killed_workers_change_nothing(cluster, pictures, tmp_path):
    for where in ("die preparing", "die encoding"):
        (tmp_path / where).touch()
    extract(pictures, Embedder(Encoder()), str(tmp_path / "here.csv"))
    done = by_ray(pictures, Embedder(Mortal(weights=str(tmp_path)), batch_size=16), tmp_path / "there.csv")
    assert not (tmp_path / "die preparing").exists()
    assert not (tmp_path / "die encoding").exists()
    assert same(tmp_path / "here.csv", tmp_path / "there.csv")
    assert done.timing.encoded == 117


DRIVER = """
import sys
from deepfake_detector.datasets.folder import scan
from tests.by_ray import Embedder, Mortal, Path, by_ray
data, folder = sys.argv[1:]
by_ray(scan(data), Embedder(Mortal(weights=folder), batch_size=8), Path(folder) / "there.csv", part=12)
"""


@needs_ray
def test_after_a_killed_driver_only_unfinished_parts_are_done_again(cluster, pictures, tmp_path):
    import ray

    root = Path(os.path.commonpath([sample.path for sample in pictures.samples]))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    (tmp_path / "wait after three parts").touch()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(root), str(tmp_path)], cwd=ROOT, env=environment)
    deadline = time.monotonic() + 120
    while len(finished_parts(tmp_path)) < 3:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    assert not (tmp_path / "there.csv").exists()
    workers = [int(file.name.split()[1]) for file in tmp_path.glob("worker *")]
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (tmp_path / "wait after three parts").unlink()
    finished = len(finished_parts(tmp_path))
    before = encoded(tmp_path)
    done = by_ray(pictures, Embedder(Mortal(weights=str(tmp_path)), batch_size=8), tmp_path / "there.csv", part=12)
    extract(pictures, Embedder(Encoder()), str(tmp_path / "here.csv"))
    assert same(tmp_path / "here.csv", tmp_path / "there.csv")
    assert finished >= 3
    assert done.timing.cached >= 12 * finished - 3
    assert encoded(tmp_path) - before == done.timing.encoded == 117 - done.timing.cached


@needs_ray
def test_the_script_takes_the_engine(cluster, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = os.path.commonpath([sample.path for sample in pictures.samples])
    command = [os.path.relpath(root), "--encoder", "colour_histogram", "--engine", "ray", "--out", "t.csv"]
    assert cli.extract(command) == 0
    printed = capsys.readouterr().out
    assert "t.csv: 117 rows of 64 numbers by colour_histogram" in printed
    assert "encoded 117, remembered 0" in printed
    assert "skipped 3" in printed
    assert json.loads((tmp_path / "t.csv.json").read_text())["rows"] == 117
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.csv.json", "t.csv.parts"]

    assert cli.extract([*command, "--cache", "c.sqlite"]) == 2
    assert "remembers in t.csv.parts, and uses no cache" in capsys.readouterr().err
    assert cli.extract([*command, "--device", "cuda"]) == 2
    assert "There is no GPU in this cluster" in capsys.readouterr().err


@needs_ray
def test_what_failed_in_passing_is_tried_again_by_the_next_run(tmp_path, monkeypatch):
    from deepfake_detector import engine_ray

    def failing(path):
        raise OSError(errno.EIO, "Input/output error") if "flaky" in path else FileNotFoundError(errno.ENOENT, "No such file")

    monkeypatch.setattr(frames, "read_file", failing)
    job = engine_ray._Job(str(tmp_path), Encoder, "cpu", None, Encoder().spec, "whole", None, 0, 8)
    for name, passing in (("flaky.png", True), ("gone.png", False)):
        chunk = engine_ray._Chunk(0, "mark", 0, 1, 7, [Sample(name, name, 0, "real", name)])
        (piece,) = map(engine_ray._item, engine_ray._read(job, engine_ray._row(chunk)))
        assert piece.passing == passing
        assert piece.outcomes[0].result.error.startswith("can't be read")
        assert piece.outcomes[0].result.item.shot.number == 7


def test_a_part_gives_back_what_was_put_in(tmp_path):
    def nothing():
        return b""

    boxes = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.int32)
    frame = Shot(Sample("", "clip", 1, "made", "g", "train", "clip", made_from="ab"), 3, nothing, 0.5, ("cut off",))
    broken = Shot(Sample("", "b", 0, "real", "b"), 4, nothing)
    outcomes = [
        Embedded(Take(frame, "augment0", nothing), "ab", Remembered(np.arange(6, dtype=np.float32).reshape(2, 3), boxes)),
        Embedded(Take(broken, "", nothing), error="empty file"),
    ]
    parts.write(tmp_path / "00000.parquet", parts.to_table(outcomes), "mark")
    assert parts.marks(tmp_path) == {0: "mark"}
    one, other = parts.read(tmp_path / "00000.parquet", "mark")
    assert (one.item.shot.item, one.item.shot.number, one.item.shot.time, one.item.shot.notes) == (frame.item, 3, 0.5, ("cut off",))
    assert (one.item.view, one.sha256, one.error) == ("augment0", "ab", None)
    np.testing.assert_array_equal(one.remembered.vectors, outcomes[0].remembered.vectors)
    np.testing.assert_array_equal(one.remembered.boxes, boxes)
    assert (other.item.shot.item, other.item.shot.number, other.error, other.remembered) == (broken.item, 4, "empty file", None)

    whole = (tmp_path / "00000.parquet").read_bytes()
    (tmp_path / "00001.parquet").write_bytes(whole[:-20])
    (tmp_path / "notes.parquet").write_bytes(whole)
    assert parts.marks(tmp_path) == {0: "mark"}
    with pytest.raises(EngineError, match=r"00001\.parquet can't be read .*Delete it"):
        list(parts.read(tmp_path / "00001.parquet", "mark"))
    with pytest.raises(EngineError, match=r"00000\.parquet was written by another run meanwhile"):
        list(parts.read(tmp_path / "00000.parquet", "another mark"))


def test_without_ray_the_script_names_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "deepfake_detector.engine_ray", raising=False)
    assert cli.extract([str(tmp_path), "--engine", "ray"]) == 2
    assert "pip install -r requirements-ray.txt" in capsys.readouterr().err


@needs_ray
def test_a_listing_that_can_not_travel_is_refused(cluster, tmp_path):
    def pictures(skipped, facts):
        yield from lock

    lock = threading.Lock()
    with pytest.raises(EngineError, match=r"can't be handed to another process .*Use --engine local\.$"):
        by_ray(stream(pictures), Embedder(Encoder()), tmp_path / "t.csv")
