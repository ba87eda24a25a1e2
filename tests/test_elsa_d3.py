"""ELSA-D3 from shards with its own columns and a web that serves, stalls, lies and dies: rows, groups, yield, kill and resume."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest

from deepfake_detector import table
from deepfake_detector.cache import Cache
from deepfake_detector.datasets import elsa_d3
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import DatasetError
from deepfake_detector.extract import embed_samples, extract
from deepfake_detector.fetch import Fetcher
from deepfake_detector.types import FAKE, REAL
from tests.conftest import ROOT, script
from tests.elsa import MODELS, picture, shards
from tests.hub import COMMIT, hub
from tests.test_fetch import QUICK, Server, reply, stall
from tests.test_hub import online

datasets.disable_progress_bars()
GENERATORS = [model.split("/")[1] for model in MODELS]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1)  # after each shuffled pass, against a crash at exit
    monkeypatch.setattr(elsa_d3, "Fetcher", functools.partial(Fetcher, limits=QUICK))
    monkeypatch.setenv("DEEPFAKE_DETECTOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def web():
    """Serves /0, /1 … as pictures, but for /3 not found, /5 no picture, /6 stalled, /7 too large."""
    server = Server()
    server.answers = {f"/{i}": reply(picture(1000 + i)) for i in range(100)}
    server.answers |= {"/3": reply(status=404), "/5": reply(b"<html>gone</html>"), "/6": stall, "/7": reply(b"x" * 300_000)}
    yield server
    server.close()


def scan(folder, **options):
    return elsa_d3.scan(str(folder), allow_private=True, **options)


def test_a_row_is_a_group_of_a_real_picture_and_four_fakes(web, tmp_path):
    listing = scan(shards(tmp_path / "d", lambda i: f"{web.url}/{i}", 2))
    samples = list(listing.samples)
    assert [s.name for s in samples[:5]] == [f"train/000000000/{name}" for name in ("real", "gen0", "gen1", "gen2", "gen3")]
    assert [s.label for s in samples] == [REAL, FAKE, FAKE, FAKE, FAKE] * 2
    assert [s.generator for s in samples[5:]] == ["laion", *GENERATORS]
    assert {s.group for s in samples[:5]} == {"train/000000000"}
    assert {s.group for s in samples[5:]} == {"train/000000001"}
    assert {s.split for s in samples} == {"train"}
    assert samples[5].content == picture(1001)
    assert samples[8].content == picture(12, blue=True)
    assert samples[5].path == f"{web.url}/1"


def test_what_became_of_the_real_pictures_is_counted(web, tmp_path):
    folder = shards(tmp_path / "d", lambda i: None if i == 1 else f"{web.url}/{i}", 10)
    became = {"ok": 5, "refused": 1, "not_found": 1, "not_a_picture": 1, "timeout": 1, "too_large": 1}
    for paired, word, pictures in ((False, "kept", 45), (True, "left out", 25)):
        done = extract(scan(folder, paired_only=paired), Embedder(Encoder()), str(tmp_path / f"{paired}.csv"))
        facts = table.read_manifest(tmp_path / f"{paired}.csv")["facts"]
        assert facts["real pictures"] == became
        assert facts["rows"] == {"read": 10, f"{word} without a real picture": 5}
        assert done.rows == pictures
    rows = table.read(tmp_path / "True.csv").rows
    assert (rows.groupby("group")["label"].agg(list) == [[0, 1, 1, 1, 1]] * 5).all()
    assert web.asked["/0"] == web.asked["/3"] == web.asked["/5"] == 1, "no URL whose fate is settled is asked twice"


def test_later_draws_take_the_real_pictures_as_the_first_found_them(web, tmp_path):
    listing = scan(shards(tmp_path / "d", lambda i: f"{web.url}/{i}", 8), paired_only=True)
    with Cache(tmp_path / "c.sqlite") as cache:
        done = extract(listing, Embedder(Encoder(), cache=cache), str(tmp_path / "t.csv"), views=("augment0",))
    asked = dict(web.asked)
    assert done.rows == 2 * 5 * 4
    web.answers["/6"] = reply(picture(1006))
    again, _ = embed_samples(listing, Embedder(Encoder()))
    assert len(again) == 20, "what timed out at first is no more asked for"
    assert dict(web.asked) == asked
    later = scan(tmp_path / "d", paired_only=True)
    assert len(list(later.samples)) == 25, "another run asks again for what may have passed"
    assert web.asked["/6"] == asked["/6"] + 1


def test_failures_are_asked_again_on_demand(web, tmp_path):
    web.answers["/0"] = [reply(status=500)] * 50 + [reply(picture(1000))]
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i}", 1, parts=1)
    outcomes = []
    for ask_again in (False, False, False, False, True):
        listing = scan(folder, ask_again=ask_again)
        asked = web.asked["/0"]
        list(listing.samples)
        outcomes.append((dict(listing.facts["real pictures"]), web.asked["/0"] > asked))
        if len(outcomes) == 4:
            web.answers["/0"] = reply(picture(1000))
    assert outcomes[3] == ({"error": 1}, False), "three runs are enough"
    assert outcomes[4] == ({"ok": 1}, True)


def test_what_was_refused_is_asked_again_on_demand(web, tmp_path):
    web.answers["/1"] = [reply(status=403), reply(picture(1001))]
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i}", 2, parts=1)
    became = []
    for options in ({}, {}, {"allow_private": True}, {"allow_private": True}, {"allow_private": True, "ask_again": True}):
        listing = elsa_d3.scan(str(folder), **options)
        list(listing.samples)
        became.append((dict(listing.facts["real pictures"]), sum(web.asked.values())))
    assert became[:2] == [({"refused": 2}, 0)] * 2, "private addresses are not asked"
    assert became[2:4] == [({"ok": 1, "refused": 1}, 2)] * 2, "what a server refused stands"
    assert became[4] == ({"ok": 2}, 3)


def test_shuffled_rows_keep_their_own_real_pictures(web, tmp_path):
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i + 20}", 40, parts=3)
    listing = scan(folder, shuffle_buffer=12, seed=3, limit=25)
    reals = [s for s in listing.samples if s.label == REAL]
    numbers = [int(s.group.split("/")[1]) for s in reals]
    assert len(numbers) == 25
    assert numbers != sorted(numbers)
    assert all(s.content == picture(1020 + n) for s, n in zip(reals, numbers, strict=True))
    assert sum(web.asked.values()) <= 25, "no address of a row behind the limit is asked"
    assert [s.name for s in scan(folder, shuffle_buffer=12, seed=3, limit=25).samples] == [s.name for s in listing.samples]
    assert [s.name for s in scan(folder, shuffle_buffer=12, seed=4, limit=25).samples] != [s.name for s in listing.samples]


def test_train_and_validation(web, tmp_path):
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i + 20}", 4)
    shards(folder, lambda i: f"{web.url}/{i + 20}", 3, "validation", first=50)
    assert {s.split for s in scan(folder, hub_split="validation").samples} == {"val"}
    listing = scan(folder, limit=2)
    assert [s.group for s in listing.samples if s.label == REAL] == [
        "train/000000000",
        "train/000000001",
        "validation/000000050",
        "validation/000000051",
    ]
    assert listing.facts["rows"]["read"] == 4


def test_another_data_set_is_refused(tmp_path):
    data = datasets.Dataset.from_dict({"id": ["1"], "url": ["http://x"], "image": [b"1"]})
    (tmp_path / "d").mkdir()
    data.to_parquet(tmp_path / "d/a.parquet")
    with pytest.raises(DatasetError, match="not ELSA-D3: it has no column model_gen0.*--dataset hub"):
        scan(tmp_path / "d")
    with pytest.raises(DatasetError, match="--concurrency should be at least 1"):
        scan(tmp_path / "d", concurrency=0)


def test_a_picture_that_is_missing_from_its_row_is_named(web, tmp_path):
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i}", 2, parts=1)
    data = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "hf"))
    data = data.cast_column("image_gen2", datasets.Image(decode=False))
    rows = [r | {"image_gen2": None, "model_gen3": None} for r in data.cast_column("image_gen3", datasets.Image(decode=False)).to_list()]
    datasets.Dataset.from_list(rows, features=data.features).to_parquet(folder / "train-00000-of-00001.parquet")
    listing = scan(folder)
    assert [s.generator for s in listing.samples][:4] == ["laion", *GENERATORS[:2], "gen3"]
    assert listing.skipped == [(f"train/00000000{i}/gen2", "no picture in its row") for i in range(2)]


def command(folder: Path | str, out: str, *more: str) -> list[str]:
    options = ["--dataset", "elsa_d3", "--encoder", "colour_histogram", "--batch-size", "8", "--allow-private", "--paired-only"]
    return [sys.executable, str(ROOT / "extract_embeddings.py"), str(folder), *options, "--out", out, *more]


def test_killed_in_the_middle_the_same_command_goes_on(web, tmp_path):
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i + 20}" if i % 4 else f"{web.url}/3", 60)
    settings = os.environ | {"PYTHONPATH": str(ROOT), "DEEPFAKE_DETECTOR_CACHE": str(tmp_path / "cache")}
    web.answers |= {f"/{i + 20}": reply(picture(1020 + i), delay=0.1) for i in range(60)}
    run = command(folder, "t.csv", "--cache", "c.sqlite", "--concurrency", "2")
    process = subprocess.Popen(run, cwd=tmp_path, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(web.asked) < 15 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "t.csv").exists()
    assert 15 <= len(web.asked) < 46
    web.answers |= {f"/{i + 20}": reply(picture(1020 + i)) for i in range(60)}  # nobody waits for a kill any more
    done = script("extract_embeddings.py", *run[2:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(web.asked.values()) <= 46 + 2, "only those under way at the kill are asked again"
    assert "real pictures: not_found 15, ok 45" in done.stdout
    assert "rows: read 60, left out without a real picture 15" in done.stdout
    extract(scan(folder, paired_only=True, real_pictures=str(tmp_path / "other")), Embedder(Encoder()), str(tmp_path / "whole.csv"))
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_few_rows_of_the_hub_are_not_the_whole_of_it(web, tmp_path):
    folder = shards(tmp_path / "repository/data", lambda i: f"{web.url}/{i + 20}", 4)
    (folder / "train-00001-of-00002.parquet").write_bytes(os.urandom(40_000_000))  # far behind the limit
    with hub("elsaEU/ELSA_D3", folder.parent) as (endpoint, asked):
        settings = online(endpoint, tmp_path) | {"DEEPFAKE_DETECTOR_CACHE": str(tmp_path / "cache")}
        run = command("elsaEU/ELSA_D3", "t.csv", "--limit", "2")
        done = subprocess.run(run, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sum(sent for _, _, sent in asked) < 1_000_000
    assert f"origin: elsaEU/ELSA_D3@{COMMIT}" in done.stdout
    assert len(table.read(tmp_path / "t.csv")) == 10


def test_evaluation_streams_too(web, model, tmp_path):
    folder = shards(tmp_path / "d", lambda i: f"{web.url}/{i + 20}", 6)
    options = ("--dataset", "elsa_d3", "--allow-private", "--paired-only", "--limit", "5", "--json", "r.json")
    done = script("evaluate.py", "--model", model, "--data", folder, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "25 pictures, 0 skipped" in done.stdout
    assert "stable-diffusion-v1-4" in done.stdout
