"""Tar shards in the WebDataset layout, also as img2dataset writes them: a picture and its fields are neighbours of one name."""

from __future__ import annotations

import argparse
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from deepfake_detector.datasets import Listing, _fields, stream
from deepfake_detector.datasets._fields import Fields, Reader, count
from deepfake_detector.datasets.folder import EXTENSIONS, split_of_name, split_of_word, walk
from deepfake_detector.errors import DatasetError, UnusablePicture, words_of
from deepfake_detector.files import matching, spelt_out
from deepfake_detector.images import check_file_size
from deepfake_detector.types import Sample

ENDINGS = (".tar", ".tar.gz", ".tgz")
_BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error)  # what a damaged archive raises, compressed or not


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image-field", metavar="FIELD", help="which file is the picture, e.g. jpg (default: any ending of a picture)")
    _fields.add_options(parser, label="cls; of a JSON file, json.KEY")
    parser.add_argument("--limit", type=count, metavar="N", help="read at most N pictures (default: all)")


def scan(
    root: str,
    *,
    image_field: str | None = None,
    label_field: str | None = None,
    fake_label: list[str] | None = None,
    all_are: str | None = None,
    generator_field: str | None = None,
    source: str | None = None,
    group_field: str | None = None,
    limit: int | None = None,
) -> Listing:
    """Stream the pictures of a folder of shards, or of those that a pattern names: `shards/{000..127}.tar`, `shards/*.tar`.

    The split is what a shard's name or the folder above it says: `train-000.tar`, `val/000.tar`. A shard that is damaged gives
    what comes before the damage; where it is, is said among what was left out.
    """
    above, shards, missing = _shards(str(root))
    label = label_field if all_are else label_field or "cls"
    fields = Fields(label, generator_field, group_field, fake_label or (), all_are, source)
    wanted = {name for name in (fields.label, fields.generator, fields.group) if name}
    Reader(fields, above)  # refuses what is wrong before anything is read

    def draw(skipped: list[tuple[str, str]], facts: dict[str, Any]) -> Iterator[Sample]:
        reader = Reader(fields, above)
        facts["shards"] = len(shards)
        skipped.extend(missing)
        for shard, name, files, fields_there in islice(_pictures(shards, image_field, wanted, skipped), limit):
            split = split_of_name(shard) or split_of_word(os.path.basename(above))
            outcome = _sample(reader, name, split, files, wanted, fields_there)
            if isinstance(outcome, Sample):
                yield outcome
            else:
                skipped.append((name, outcome))
        skipped.extend((f"--fake-label {value}", "no picture has this label") for value in sorted(reader.unseen))

    return stream(draw, limit)


def _shards(root: str) -> tuple[str, dict[str, str], list[tuple[str, str]]]:
    """(the folder that the shards share, their paths by their names below it, what isn't there as (name, reason))."""
    path = Path(root).expanduser()
    missing: list[tuple[str, str]] = []
    if path.is_dir():
        found = sorted(file for file, name in walk(str(path), (".tar", ".gz", ".tgz"), missing) if name.lower().endswith(ENDINGS))
    else:
        patterns = _braces(str(path))
        by_pattern = {pattern: matching(pattern, recursive=True) for pattern in patterns}
        found = list(dict.fromkeys(file for files in by_pattern.values() for file in files))
        missing.extend((pattern, "there is no such shard") for pattern, files in by_pattern.items() if not files)
    if not found:
        raise DatasetError(
            f"Expected tar shards (a folder of them, or a pattern such as 'shards/{{000..127}}.tar'); there are none at {root!r}."
        )
    above = os.path.abspath(path if path.is_dir() else os.path.commonpath([os.path.dirname(file) for file in found]))
    return above, {Path(os.path.relpath(file, above)).as_posix(): file for file in found}, missing


def _braces(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    try:
        import bracex
    except ImportError as error:
        raise DatasetError("Braces are spelt out by the library `bracex`: pip install -r requirements-data.txt") from error
    return bracex.expand(pattern, limit=1_000_000)


class _Member(tarfile.TarInfo):
    """A file of an archive that has to end as an archive does; `tarfile` itself takes a damaged header for the end."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> _Member:
        ended, archive.ended = getattr(archive, "ended", False), False
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            archive.ended = True
            raise
        except tarfile.HeaderError as error:
            if ended:  # what comes behind the end doesn't matter
                raise tarfile.EmptyHeaderError("end") from error
            raise tarfile.ReadError(f"cut off or altered: {error}") from error


def _pictures(
    shards: dict[str, str], image_field: str | None, wanted: set[str], skipped: list[tuple[str, str]]
) -> Iterator[tuple[str, str, dict[str, bytes | str], list[str]]]:
    """(shard, name, its files by field: "picture" and those wanted, the endings of those beside the picture) of each picture in turn; in
    place of a file's bytes the reason why not."""
    for shard, path in shards.items():
        read = 0
        try:
            for key, files, left in _neighbours(path, image_field, wanted):
                name = f"{shard}/{key}"
                if "picture" in files:
                    yield shard, name, files, [field for field in (*files, *left) if field != "picture"]
                    read += 1
                    twice = [field for field in left if _kind(field, image_field, wanted)]
                    skipped.extend((f"{name}.{field}", "another file of this kind came before it") for field in twice)
                else:
                    skipped.append((name, f"no picture among its files ({', '.join([*files, *left])}); a name ends at its first dot"))
        except _BROKEN as error:
            # A file that was cut off is not in `files`, and without all of its files a picture is not whole.
            skipped.append((shard, f"damaged after {read} pictures ({words_of(error)}); get it again"))


def _neighbours(path: str, image_field: str | None, wanted: set[str]) -> Iterator[tuple[str, dict[str, bytes | str], list[str]]]:
    """(name, its files as in `_pictures`, the endings of those left aside) of the files that follow each other and have one name."""
    with tarfile.open(path, "r|*", tarinfo=_Member, ignore_zeros=True) as archive:  # of archives put together each has an end
        named = (member for member in archive if not member.isdir() and _name(member)[1])
        for key, members in groupby(named, lambda member: _name(member)[0]):
            files: dict[str, bytes | str] = {}
            left = []
            for member in members:
                field = _name(member)[1]
                kind = _kind(field, image_field, wanted)
                if kind is None or kind in files:
                    left.append(field)
                else:
                    files[kind] = _content(archive, member)
            yield key, files, left


def _name(member: tarfile.TarInfo) -> tuple[str, str]:
    """A file's name with its folder, and its ending in small letters: "" for what is no part of the data, as other systems' notes."""
    folder, file = os.path.split(spelt_out(member.name))
    key, _, field = file.partition(".")
    return os.path.join(folder, key), field.lower() if key and "__MACOSX" not in folder.split("/") else ""


def _kind(field: str, image_field: str | None, wanted: set[str]) -> str | None:
    """What a file of this ending is to us: "picture", the name by which it is wanted, or None for nothing."""
    if field == (image_field or "").lower() or (not image_field and f".{field}" in EXTENSIONS):
        return "picture"
    return field if field in wanted or any(name.startswith(f"{field}.") for name in wanted) else None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | str:
    if not member.isfile():
        return "a link or device in the archive, which isn't followed"
    try:
        check_file_size(member.size)
    except UnusablePicture as error:
        return str(error)
    return archive.extractfile(member).read()


def _sample(reader: Reader, name: str, split: str, files: dict[str, bytes | str], wanted: set[str], there: list[str]) -> Sample | str:
    content = files["picture"]
    if isinstance(content, str):
        return content
    try:
        row = {field: _value(files, field) for field in wanted}
    except (ValueError, RecursionError) as error:
        return f"its fields can't be read ({error})"
    return reader.sample(row, name, split, content, there)


def _value(files: dict[str, bytes | str], field: str) -> Any:
    """A field's text, or what a JSON file has under `json.KEY.KEY`; None where there is none."""
    if field in files:
        said = files[field]
        return said.decode("utf-8").strip() if isinstance(said, bytes) else None
    ending, *keys = field.split(".")
    said = files.get(ending)
    if not isinstance(said, bytes):
        return None
    value = json.loads(said)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
