"""Tar shards: which files make a picture, what labels mean, and what a broken shard still gives."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from deepfake_detector import table
from deepfake_detector.datasets import _fields
from deepfake_detector.datasets.webdataset import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import DatasetError
from deepfake_detector.extract import extract
from deepfake_detector.types import FAKE, REAL
from tests.conftest import draw, script


def shard(path: Path, members: dict[str, bytes | str | dict], compressed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if compressed else "w") as archive:
        for name, content in members.items():
            content = json.dumps(content) if isinstance(content, dict) else content
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def found(listing) -> dict[str, tuple]:
    """The group without what sets data sets apart."""
    return {s.name: (s.label, s.generator, s.name if s.group.endswith(f"/{s.name}") else s.group) for s in listing.samples}


def test_neighbours_of_one_name_are_a_picture_and_its_fields(tmp_path):
    members = {"x/a.jpg": b"1", "x/a.cls": "fake\n", "x/a.txt": "a cat", "b.cls": "real", "b.PNG": b"2", "c.cls": "real", "d.jpg": b"3"}
    shard(tmp_path / "s.tar", members)
    listing = scan(tmp_path)
    samples = list(listing.samples)
    assert [(s.name, s.label, s.content) for s in samples] == [("s.tar/x/a", FAKE, b"1"), ("s.tar/b", REAL, b"2")]
    assert listing.skipped == [
        ("s.tar/c", "no picture among its files (cls); a name ends at its first dot"),
        ("s.tar/d", "no label in 'cls' (there are: none; see --label-field and --all-are)"),
    ]
    assert list(listing.samples) == samples, "drawn again it is the same"
    assert len(listing.skipped) == 2


def test_numbers_mean_what_one_says_they_mean(tmp_path):
    shard(tmp_path / "s.tar", {"a.jpg": b"1", "a.cls": "0", "b.jpg": b"2", "b.cls": "1"})
    with pytest.raises(DatasetError, match="'0' means real or fake can't be told.*--fake-label"):
        found(scan(tmp_path))
    listing = scan(tmp_path, fake_label=["0", "7"])
    assert found(listing) == {"s.tar/a": (FAKE, "fake", "s.tar/a"), "s.tar/b": (REAL, "real", "s.tar/b")}
    assert listing.skipped == [("--fake-label 7", "no picture has this label")]


def test_fields_inside_json(tmp_path):
    rows = [{"made": {"by": "sdxl", "ai": True}, "person": 4}, {"made": {"by": "nikon", "ai": False}, "person": 4}]
    members = {f"{i}{ending}": content for i, row in enumerate(rows) for ending, content in ((".json", row), (".webp", b"1"))}
    shard(tmp_path / "s.tar", members | {"2.webp": b"2", "2.json": "{", "3.webp": b"3", "3.json": "[1]"})
    options = {"label_field": "json.made.ai", "fake_label": ["true"], "generator_field": "json.made.by", "group_field": "json.person"}
    listing = scan(tmp_path, **options)
    assert found(listing) == {"s.tar/0": (FAKE, "sdxl", "4"), "s.tar/1": (REAL, "nikon", "4")}
    reasons = dict(listing.skipped)
    assert "can't be read" in reasons["s.tar/2"]
    assert reasons["s.tar/3"] == "no label in 'json.made.ai' (there are: json; see --label-field and --all-are)"


def test_where_no_picture_has_a_label_what_there_is_is_said(tmp_path):
    shard(tmp_path / "s.tar", {"a.jpg": b"1", "a.json": "{}", "a.txt": "a cat", "b.jpg": b"2", "b.json": "{}", "b.txt": "a dog"})
    said = (
        r"^None of the 2 pictures could be embedded \(s\.tar/a: no label in 'cls' \(there are: json, txt; see --label-field and --all-are\)"
    )
    with pytest.raises(DatasetError, match=said):
        extract(scan(tmp_path), Embedder(Encoder()), str(tmp_path / "t.csv"))


def test_names_of_generators_as_labels(tmp_path):
    shard(tmp_path / "s.tar", {"a.jpg": b"1", "a.cls": "sdxl", "b.jpg": b"2", "b.cls": "ffhq"})
    assert found(scan(tmp_path, fake_label=["SDXL"])) == {"s.tar/a": (FAKE, "sdxl", "s.tar/a"), "s.tar/b": (REAL, "ffhq", "s.tar/b")}


def test_what_img2dataset_writes(tmp_path):
    for number in range(3):
        key = f"{number:05}0000"
        shard(tmp_path / f"{number:05}.tar", {f"{key}.jpg": b"1", f"{key}.txt": "caption", f"{key}.json": {"key": key, "url": "http://x"}})
        (tmp_path / f"{number:05}_stats.json").write_text("{}")
    listing = scan(tmp_path, all_are="real", source="laion")
    assert found(listing) == {f"{n:05}.tar/{n:05}0000": (REAL, "laion", f"{n:05}.tar/{n:05}0000") for n in range(3)}
    assert len(list(scan(tmp_path, all_are="fake", limit=2).samples)) == 2
    with pytest.raises(DatasetError, match="there is no label to read"):
        scan(tmp_path, all_are="fake", fake_label=["x"])


def test_patterns_of_shards(tmp_path, monkeypatch):
    for name in ("a/00.tar", "a/01.tar.gz", "a/03.tar", "b/00.tar", "b/00.txt"):
        shard(tmp_path / name, {"x.jpg": b"1", "x.cls": "real"}, compressed=name.endswith("gz"))
    assert list(found(scan(tmp_path))) == ["a/00.tar/x", "a/01.tar.gz/x", "a/03.tar/x", "b/00.tar/x"]
    assert list(found(scan(f"{tmp_path}/*/00.tar"))) == ["a/00.tar/x", "b/00.tar/x"]
    monkeypatch.chdir(tmp_path)
    listing = scan("{a,b}/{00..02}.tar")
    assert list(found(listing)) == ["a/00.tar/x", "b/00.tar/x"]
    assert sorted(name for name, _ in listing.skipped) == ["a/01.tar", "a/02.tar", "b/01.tar", "b/02.tar"]
    assert list(found(scan("a/03.tar"))) == ["03.tar/x"]
    for nothing in ("c/{0..9}.tar", "nothing", "b/*.zip"):
        with pytest.raises(DatasetError, match="Expected tar shards"):
            scan(nothing)


def test_brackets_in_a_shards_own_name_are_no_pattern(tmp_path):
    one = shard(tmp_path / "we[1]rd" / "s[0].tar", {"a.jpg": b"1", "a.cls": "fake"})
    assert list(found(scan(one))) == ["s[0].tar/a"]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_broken_shard_gives_what_it_has_and_says_so(tmp_path, compressed):
    members = {f"{i:03}.{ending}": bytes([i]) * 3000 if ending == "jpg" else b"real" for i in range(50) for ending in ("jpg", "cls")}
    whole = shard(tmp_path / "a.tar", members, compressed).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.tar").write_bytes(b"not an archive")
    (tmp_path / "c.tar").write_bytes(b"")
    shard(tmp_path / "d.tar", {"x.jpg": b"1", "x.cls": "real"})
    listing = scan(tmp_path)
    samples = {s.name: s.content for s in listing.samples}
    assert "d.tar/x" in samples
    assert 10 < len(samples) < 45
    assert all(content in (bytes([i]) * 3000, b"1") for i, content in enumerate(samples.values())), "nothing cut off passes for a picture"
    reasons = dict(listing.skipped)
    assert f"damaged after {len(samples) - 1} pictures" in reasons["a.tar"]
    assert "damaged after 0 pictures" in reasons["b.tar"]


def test_a_field_that_is_no_label_and_a_member_that_is_no_file(tmp_path):
    path = shard(tmp_path / "s.tar", {"a.jpg": b"1", "a.cls": "real"})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert list(found(scan(tmp_path))) == ["s.tar/a"], "a link out of the archive is not followed"
    assert list(found(scan(tmp_path, image_field="png"))) == []


def test_no_picture_goes_without_a_word(tmp_path):
    members = {"1.5.jpg": b"1", "1.5.cls": "fake", "b.jpg": b"2", "b.png": b"3", "b.cls": "fake", "README": "?"}
    path = shard(tmp_path / "s.tar", members)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("c.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "b.jpg"
        archive.addfile(link)
    listing = scan(tmp_path)
    assert list(found(listing)) == ["s.tar/b"]
    reasons = dict(listing.skipped)
    assert reasons.keys() == {"s.tar/1", "s.tar/b.png", "s.tar/c"}
    assert "first dot" in reasons["s.tar/1"]
    assert "link" in reasons["s.tar/c"]


def test_what_other_systems_put_between_is_not_seen(tmp_path):
    members = {"._a.cls": "?", "a.cls": "real", "._a.jpg": b"?", "a.jpg": b"1", "__MACOSX/a.jpg": b"?", ".DS_Store": "?"}
    shard(tmp_path / "d/s.tar", members)
    (tmp_path / "d/._s.tar").write_bytes(b"\0\5\x16\7")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/d").symlink_to(tmp_path / "d")
    listing = scan(tmp_path / "links")
    assert found(listing) == {"d/s.tar/a": (REAL, "real", "d/s.tar/a")}
    assert listing.skipped == []


@pytest.mark.parametrize("harm", ["altered", "cut between files", "cut in a header"])
def test_a_shard_that_ends_too_early_is_no_whole_one(tmp_path, harm):
    members = {f"{i}.{ending}": content for i in range(4) for ending, content in (("jpg", b"1"), ("cls", "real"))}
    content = bytearray(shard(tmp_path / "s.tar", members).read_bytes())
    with tarfile.open(tmp_path / "s.tar") as archive:
        third = archive.getmember("2.jpg").offset
    content[third + 148 : third + 156] = b"checksum"
    content = content if harm == "altered" else content[: third + 100 * (harm == "cut in a header")]
    (tmp_path / "s.tar").write_bytes(content)
    listing = scan(tmp_path)
    assert list(found(listing)) == ["s.tar/0"], "whether the next one is whole can't be known"
    assert "damaged after 1 pictures (cut off or altered" in dict(listing.skipped)["s.tar"]


def test_archives_put_together_are_read_to_the_end(tmp_path):
    parts = [shard(tmp_path / name, {f"{name}.jpg": b"1", f"{name}.cls": "real"}).read_bytes() for name in "ab"]
    (tmp_path / "s").mkdir()
    (tmp_path / "s/s.tar").write_bytes(b"".join(parts) + b"what follows the end" * 100)
    listing = scan(tmp_path / "s")
    assert list(found(listing)) == ["s.tar/a", "s.tar/b"]
    assert listing.skipped == []


def test_the_names_of_shards_tell_the_split(tmp_path):
    names = ("train-00000-of-00002.tar", "imagenet_val_001.tar", "test/000.tar", "train/validation.tar", "latest.tar")
    for name in names:
        shard(tmp_path / name, {"x.jpg": b"1", "x.cls": "real"})
    splits = {s.name.removesuffix("/x"): s.split for s in scan(tmp_path).samples}
    assert splits == dict(zip(names, ("train", "val", "test", "val", ""), strict=True))


def test_a_folder_pointed_at_by_its_shards_tells_the_split_too(tmp_path):
    for name in ("val/0.tar", "a test of shards/1.tar"):
        shard(tmp_path / name, {"x.jpg": b"1", "x.cls": "real"})
    assert [s.split for s in scan(tmp_path / "val/*.tar").samples] == ["val"]
    assert [s.split for s in scan(tmp_path / "a test of shards").samples] == [""]


def test_pictures_of_one_name_in_two_data_sets_do_not_belong_together(tmp_path):
    """img2dataset calls the first picture of every download 00000.tar/000000000."""
    for folder in ("laion", "sdxl"):
        shard(tmp_path / folder / "00000.tar", {"000000000.jpg": b"1"})
    groups = [s.group for folder in ("laion", "sdxl") for s in scan(tmp_path / folder, all_are="real").samples]
    assert len(set(groups)) == 2
    assert groups[:1] == [s.group for s in scan(tmp_path / "laion/*.tar", all_are="real").samples]


def test_a_number_that_is_none_is_no_group(tmp_path):
    shard(
        tmp_path / "s.tar", {f"{name}{end}": body for name in "ab" for end, body in ((".jpg", b"1"), (".json", {"person": float("nan")}))}
    )
    assert len({s.group for s in scan(tmp_path, all_are="fake", group_field="json.person").samples}) == 2


def test_names_that_are_not_utf8_can_be_written(tmp_path):
    shard(tmp_path / "s.tar", {"caf\udce9.jpg": b"1", "caf\udce9.json": {"gen": "\ud83d", "made": "fake"}})
    (sample,) = scan(tmp_path, label_field="json.made", generator_field="json.gen").samples
    assert (sample.name, sample.generator) == ("s.tar/caf\\udce9", "\\ud83d")


def test_fields_nested_without_end_cost_their_picture_alone(tmp_path):
    shard(tmp_path / "s.tar", {"a.json": "[" * 100_000, "a.jpg": b"1", "b.json": {"made": "fake"}, "b.jpg": b"2"})
    listing = scan(tmp_path, label_field="json.made")
    assert list(found(listing)) == ["s.tar/b"]
    assert "fields can't be read" in dict(listing.skipped)["s.tar/a"]


def test_from_the_command_line(tmp_path):
    pictures = {
        f"{i}.{kind}": v for i in range(6) for kind, v in (("png", draw(tmp_path / "p.png", i % 2, i).read_bytes()), ("cls", "01"[i % 2]))
    }
    shard(tmp_path / "s/0.tar", pictures | {"6.png": b"no picture", "6.cls": "0", "7.\x1b[31m": "red"})
    options = ("--dataset", "webdataset", "--encoder", "colour_histogram", "--out", "t.csv")
    done = script("extract_embeddings.py", "s/{0..1}.tar", *options, "--fake-label", "1", "--views", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'s/1.tar': there is no such shard" in done.stdout
    assert "shards: 1" in done.stdout
    assert r"no picture among its files (\x1b[31m)" in done.stdout, "a stranger's archive colours no terminal"
    read = table.read(tmp_path / "t.csv")
    assert read.pictures().rows["label"].tolist() == [0, 1, 0, 1, 0, 1]
    assert read.rows["split"].tolist() == ["", "view"] * 6
    failed = script("extract_embeddings.py", "s", *options, cwd=tmp_path)
    assert failed.returncode == 2
    assert "--fake-label" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_counts_are_counts():
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=_fields.count)
    for wrong in ("-1", "x", "1.5"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--limit={wrong}"])
