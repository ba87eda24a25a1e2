"""Data sets of the hub and Parquet shards: streamed undecoded, labels told by their names, refused where they can't be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake_detector import table
from deepfake_detector.datasets import hemg
from deepfake_detector.datasets.hub import scan
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL
from tests.conftest import ROOT, draw, draw_dataset, process
from tests.hub import COMMIT, hub

datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def _library_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.1)  # after each shuffled pass, against a crash at exit


def picture(i: int, folder: Path) -> bytes:
    return draw(folder / "p.jpg", i % 2, i).read_bytes()


def shards(folder: Path, split: str, rows: int, label: object, first: int = 0, **columns: list) -> Path:
    """Two Parquet shards as the hub has them; `label` is the feature, the labels are 0, 1, 0 …"""
    folder.mkdir(exist_ok=True)
    content = {"image": [{"bytes": picture(i, folder.parent), "path": None} for i in range(first, first + rows)]}
    content |= {"label": [i % 2 for i in range(rows)], **columns}
    features = {"image": datasets.Image(), "label": label} | dict.fromkeys(columns, datasets.Value("string"))
    data = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    for part in range(2):
        data.shard(2, part).to_parquet(folder / f"{split}-{part:05}-of-00002.parquet")
    return folder


def labels(listing) -> dict[str, tuple]:
    return {s.name: (s.label, s.generator) for s in listing.samples}


def test_the_names_of_classes_tell_the_direction(tmp_path):
    for names, first in ((["Fake", "Real"], FAKE), (["nature", "ai"], REAL)):
        folder = shards(tmp_path / names[0], "train", 4, datasets.ClassLabel(names=names))
        found = list(scan(folder).samples)
        assert [s.label for s in found] == [first, 1 - first] * 2
        assert [s.name for s in found] == [f"train/{i}" for i in range(4)]
        assert found[0].content == picture(0, tmp_path), "byte for byte as it is stored"
        assert {s.split for s in found} == {"train"}


@pytest.mark.parametrize(
    ("label", "options", "words"),
    [
        (datasets.ClassLabel(names=["cat", "dog"]), {}, "'cat' means real or fake can't be told .*'cat', 'dog'.*--fake-label"),
        (datasets.ClassLabel(names=["real", "midjourney"]), {}, "'midjourney' means"),
        (datasets.ClassLabel(names=["fake", "generated"]), {}, "all of them mean fake"),
        (datasets.ClassLabel(names=["fake", "real"]), {"fake_label": ["fakes"]}, "--fake-label fakes is none"),
        (datasets.Value("int64"), {}, "'?0'? means real or fake can't be told"),
        (datasets.Value("int64"), {"label_field": "colour"}, "no column 'colour'; there are: image, label"),
        (datasets.Value("int64"), {"image_field": "png", "fake_label": ["1"]}, "no column 'png'"),
        (datasets.Value("int64"), {"hub_split": "test"}, "no split 'test'; there are: train"),
    ],
)
def test_what_is_ambiguous_or_wrong_is_refused(tmp_path, label, options, words):
    folder = shards(tmp_path / "d", "train", 4, label)
    with pytest.raises(DatasetError, match=words):
        list(scan(folder, **options).samples)


def test_numbers_and_names_by_option(tmp_path):
    folder = shards(tmp_path / "a", "train", 4, datasets.Value("int64"), made_by=["sd", "", "sd", None], person=["x", "y", "x", None])
    listing = scan(folder, fake_label=["0"], generator_field="made_by", group_field="person")
    assert [(s.label, s.generator, s.group) for s in listing.samples] == [
        (FAKE, "sd", "x"),
        (REAL, "real", "y"),
        (FAKE, "sd", "x"),
        (REAL, "real", f"{folder}/train/3"),
    ]

    folder = shards(tmp_path / "b", "test", 3, datasets.ClassLabel(names=["coco", "midjourney", "sdxl"]))
    assert set(labels(scan(folder, fake_label=["midjourney", "sdxl"])).values()) == {(REAL, "coco"), (FAKE, "midjourney")}
    assert set(labels(scan(folder, all_are="fake", source="mixed")).values()) == {(FAKE, "mixed")}


@pytest.mark.parametrize("empty", ["", None])
def test_what_has_no_group_or_generator_is_alone(tmp_path, empty):
    folder = shards(tmp_path / "a", "train", 3, datasets.Value("int64"), person=[empty, "p", empty])
    found = list(scan(folder, fake_label=["0"], source="mine", generator_field="person", group_field="person").samples)
    assert [s.generator for s in found] == ["mine", "p", "mine"]
    assert len({s.group for s in found}) == 3


def test_pictures_of_two_data_sets_do_not_belong_together(tmp_path):
    groups = [s.group for name in "ab" for s in scan(shards(tmp_path / name, "train", 2, datasets.Value("int64")), all_are="real").samples]
    assert len(set(groups)) == 4


def test_splits_limit_and_order(tmp_path):
    folder = shards(tmp_path / "d", "train", 30, datasets.ClassLabel(names=["real", "fake"]))
    shards(folder, "validation", 4, datasets.ClassLabel(names=["real", "fake"]), first=100)
    assert [s.split for s in scan(folder).samples] == ["train"] * 30 + ["val"] * 4
    assert [s.name for s in scan(folder, hub_split="validation", limit=2).samples] == ["validation/0", "validation/1"]
    assert scan(folder, limit=2).total == 4
    plain = [s.content for s in scan(folder, hub_split="train").samples]
    listing = scan(folder, hub_split="train", shuffle_buffer=8, seed=1)
    shuffled = [s.content for s in listing.samples]
    assert shuffled != plain
    assert sorted(shuffled) == sorted(plain)
    assert [s.content for s in listing.samples] == shuffled, "drawn again it is the same"
    assert [s.content for s in scan(folder, hub_split="train", shuffle_buffer=8, seed=2).samples] != shuffled


def test_shards_that_another_program_wrote(tmp_path):
    content = [picture(i, tmp_path) for i in range(3)]
    pq.write_table(pa.table({"png": content, "label": ["real", "ai", None]}), tmp_path / "a.parquet")
    listing = scan(tmp_path / "*.parquet")
    assert [(s.name, s.label, s.content, s.split) for s in listing.samples] == [
        ("all/0", REAL, content[0], ""),
        ("all/1", FAKE, content[1], ""),
    ]
    assert listing.skipped == [("all/2", "no label in 'label'")]
    for name in ("train-00000-of-00001", "test"):
        pq.write_table(pa.table({"png": content[:1], "label": ["real"]}), tmp_path / f"{name}.parquet")
    splits = {s.name: s.split for s in scan(tmp_path / "t*.parquet").samples}
    assert splits == {"train/0": "train", "test/0": "test"}
    pq.write_table(pa.table({"a": content, "b": content, "label": ["real", "ai", None]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="several columns of pictures: a, b.*--image-field"):
        scan(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": content}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="plainly the label"):
        scan(tmp_path / "a.parquet")


def test_a_folder_of_files_is_read_as_the_library_reads_it(tmp_path):
    draw_dataset(tmp_path / "d", each=2)
    for file in sorted((tmp_path / "d").rglob("*.jpg")):
        file.rename(tmp_path / "d" / file.parts[-3] / file.name)
    (tmp_path / "d/real/camera_0").rmdir()
    (tmp_path / "d/fake/0.jpg").write_bytes(b"")
    found = list(scan(tmp_path / "d").samples)
    assert sorted(s.label for s in found) == [REAL, REAL, FAKE, FAKE, FAKE]
    assert all(isinstance(s.content, bytes) for s in found)


def test_addresses_out_of_the_data_set_are_not_followed(tmp_path):
    secret = draw(tmp_path / "secret.png", 0, 1)
    folder = shards(tmp_path / "d", "train", 2, datasets.ClassLabel(names=["real", "fake"]))
    rows = pa.array([{"bytes": None, "path": str(secret)}, {"bytes": None, "path": f"{folder}/../secret.png"}])
    for file in folder.iterdir():
        file.unlink()
    pq.write_table(pa.table({"image": rows, "label": ["real", "fake"]}), folder / "a.parquet")
    listing = scan(folder)
    assert list(listing.samples) == []
    assert all("outside the data set" in reason for _, reason in listing.skipped)
    assert len(listing.skipped) == 2


def test_a_shard_can_be_evaluated_by_its_name(model, tmp_path):
    from deepfake_detector import cli

    folder = shards(tmp_path / "d", "train", 40, datasets.ClassLabel(names=["real", "fake"]))
    cache = str(tmp_path / "c.sqlite")
    assert (
        cli.evaluate(["--model", str(model), "--data", str(folder / "train-00000-of-00002.parquet"), "--dataset", "hub", "--cache", cache])
        == 0
    )


def test_hemg_is_turned_round(tmp_path):
    published = shards(tmp_path / "d", "train", 4, datasets.ClassLabel(names=["Fake", "Real"]))
    assert [s.label for s in hemg.scan(published).samples] == [FAKE, REAL, FAKE, REAL]
    plain = shards(tmp_path / "p", "train", 4, datasets.Value("int64"))
    assert list(labels(hemg.scan(plain, limit=2)).values()) == [(FAKE, "fake"), (REAL, "real")]
    other = shards(tmp_path / "o", "train", 4, datasets.ClassLabel(names=["Real", "Fake"]))
    with pytest.raises(DatasetError, match="should have the labels"):
        hemg.scan(other)


@pytest.mark.parametrize(("kind", "values"), [("string", ["Fake", "Real"]), ("bool", [False, True]), ("float64", [0.0, 1.0])])
def test_hemg_with_labels_of_another_kind_is_refused(tmp_path, kind, values):
    rows = {"image": [{"bytes": picture(0, tmp_path), "path": None}] * 2, "label": pa.array(values, kind)}
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "d/train-0.parquet")
    with pytest.raises(DatasetError, match=r"should have the labels \['Fake', 'Real'\].*Use --dataset hub"):
        hemg.scan(tmp_path / "d")


def test_a_number_that_is_no_class_is_no_label(tmp_path):
    rows = {"image": [{"bytes": picture(0, tmp_path), "path": None}] * 4, "label": [0, 1, 2, -1]}
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "d/train-0.parquet")
    listing = hemg.scan(tmp_path / "d")
    assert [s.label for s in listing.samples] == [FAKE, REAL]
    assert [name for name, _ in listing.skipped] == ["train/2", "train/3"]
    listing = scan(tmp_path / "d", fake_label=["1", "2"])
    assert [s.label for s in listing.samples] == [REAL, FAKE, FAKE]
    assert listing.skipped == [("train/3", "no label in 'label'")]


def test_shards_that_number_their_classes_differently_are_refused(tmp_path):
    folder = shards(tmp_path / "d", "train", 2, datasets.ClassLabel(names=["fake", "real"]))
    shards(folder, "test", 2, datasets.ClassLabel(names=["real", "fake"]))
    for place in (folder, f"{folder}/*.parquet"):
        with pytest.raises(DatasetError, match="calls the labels of 'label' .* but other shards call them"):
            scan(place)


def test_pictures_beside_local_shards_are_read_from_there(tmp_path):
    draw(tmp_path / "d/images/ü 1.jpg", 1, 7)
    places = ["images/ü 1.jpg", "images/gone.jpg", "../p.jpg", "/etc/passwd"]
    for name, image in (("a", [{"bytes": None, "path": place} for place in places]), ("b", places)):
        for file in (tmp_path / "d").glob("*.parquet"):
            file.unlink()
        pq.write_table(pa.table({"image": image, "label": ["fake"] * 4}), tmp_path / f"d/{name}.parquet")
        listing = scan(tmp_path / "d", image_field="image")
        assert [s.content for s in listing.samples] == [(tmp_path / "d/images/ü 1.jpg").read_bytes()]
        reasons = [reason for _, reason in listing.skipped]
        assert "can't be read" in reasons[0]
        assert all("outside the data set" in reason for reason in reasons[1:])


def test_nothing_there_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.csv").write_text("a,b")
    for root, words in (
        (tmp_path / "empty", "can't be opened as a data set"),
        (tmp_path / "gone", "there is nothing at"),
        (tmp_path / "text.csv", "Expected Parquet files"),
        ("owner/name", "HF_HUB_OFFLINE is set"),
    ):
        with pytest.raises(DatasetError, match=words):
            scan(root)


def test_a_damaged_shard_ends_in_words(tmp_path):
    folder = shards(tmp_path / "d", "train", 8, datasets.ClassLabel(names=["real", "fake"]))
    last = folder / "train-00001-of-00002.parquet"
    last.write_bytes(last.read_bytes()[:-50])
    with pytest.raises(DatasetError, match=r"the split 'train' broke off after 4 rows .*get it again"):
        list(scan(folder).samples)


ARGUMENTS = ["--dataset", "hemg", "--encoder", "colour_histogram", "--out", "t.csv"]


def online(endpoint: str, folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    return kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1"}


def test_a_hub_is_streamed_from_and_not_downloaded(tmp_path):
    """The library's own way to the hub, against a local server; only as much is fetched as the limit needs."""
    folder = tmp_path / "repository"
    shards(folder, "train", 4, datasets.ClassLabel(names=["Fake", "Real"]))
    (folder / "train-00001-of-00002.parquet").write_bytes(os.urandom(40_000_000))  # far behind the limit
    command = [sys.executable, str(ROOT / "extract_embeddings.py"), "Hemg/deepfake-and-real-images", *ARGUMENTS, "--limit", "2"]
    with hub("Hemg/deepfake-and-real-images", folder) as (endpoint, asked):
        done = subprocess.run(command, cwd=tmp_path, env=online(endpoint, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sum(sent for _, _, sent in asked) < 1_000_000
    assert all(f"/{COMMIT}/" in path for _, path, _ in asked if path.endswith("parquet"))
    rows = table.read(tmp_path / "t.csv").rows
    assert rows["label"].tolist() == [1, 0]
    assert rows["sha256"].tolist() == [hashlib.sha256(picture(i, tmp_path)).hexdigest() for i in range(2)]
    assert table.read_manifest(tmp_path / "t.csv")["facts"]["origin"] == f"Hemg/deepfake-and-real-images@{COMMIT}"


def test_pictures_as_files_of_the_hub_are_read_from_it(tmp_path):
    kept = [draw(tmp_path / f"repository/{kind}/{i}.jpg", kind == "fake", i) for kind in ("fake", "real") for i in range(2)]
    command = [sys.executable, str(ROOT / "extract_embeddings.py"), "me/pictures", *ARGUMENTS[2:], "--dataset", "hub"]
    with hub("me/pictures", tmp_path / "repository") as (endpoint, _):
        done = subprocess.run(command, cwd=tmp_path, env=online(endpoint, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = table.read(tmp_path / "t.csv").rows
    assert rows["sha256"].tolist() == [hashlib.sha256(file.read_bytes()).hexdigest() for file in kept]
    assert rows["label"].tolist() == [1, 1, 0, 0]


def test_a_hub_out_of_reach_is_said_at_once(tmp_path):
    command = [sys.executable, str(ROOT / "extract_embeddings.py"), "Hemg/deepfake-and-real-images", *ARGUMENTS]
    done = subprocess.run(command, cwd=tmp_path, env=online("http://127.0.0.1:9", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Retrying" not in done.stderr, "the library's own way takes a long row of retries"
    assert "could not be found on the hub" in done.stderr
    assert "Traceback" not in done.stderr
    missing = tmp_path / "without"
    missing.mkdir()
    (missing / "datasets.py").write_text("raise ImportError('no such library')")
    failed = process("extract_embeddings.py", ".", *ARGUMENTS, cwd=tmp_path, PYTHONPATH=f"{missing}{os.pathsep}{ROOT}")
    assert failed.returncode == 2
    assert "pip install -r requirements-data.txt" in failed.stderr
