"""Tar shards in the WebDataset layout, also as img2dataset writes them: a picture and its fields are neighbours of one name."""

from __future__ import annotations

import argparse
import glob
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from deepfake_detector.datasets import Listing, _fields, stream
from deepfake_detector.datasets._fields import Fields, Reader, count
from deepfake_detector.datasets.folder import EXTENSIONS
from deepfake_detector.errors import DatasetError, UnusablePicture
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

    A shard that is damaged gives what comes before the damage; where it is, is said among what was left out.
    """
    shards, missing = _shards(str(root))
    label = label_field if all_are else label_field or "cls"
    fields = Fields(label, generator_field, group_field, fake_label or (), all_are, source)
    wanted = {name for name in (fields.label, fields.generator, fields.group) if name}
    Reader(fields)  # refuses what is wrong before anything is read

    def draw(skipped: list[tuple[str, str]], facts: dict[str, Any]) -> Iterator[Sample]:
        reader = Reader(fields)
        facts["shards"] = len(shards)
        skipped.extend((name, "there is no such shard") for name in missing)
        for name, files in islice(_pictures(shards, image_field, wanted, skipped), limit):
            outcome = _sample(reader, name, files, wanted)
            if isinstance(outcome, Sample):
                yield outcome
            else:
                skipped.append((name, outcome))
        skipped.extend((f"--fake-label {value}", "no picture has this label") for value in sorted(reader.unseen))

    return stream(draw, limit)


def _shards(root: str) -> tuple[dict[str, str], list[str]]:
    """(the shards' paths by their names below the folder that they share, what a pattern spells out but nothing has)."""
    path = Path(root).expanduser()
    if path.is_dir():
        found, missing = sorted(str(file) for file in path.rglob("*") if file.name.endswith(ENDINGS)), []
    else:
        patterns = _braces(str(path))
        by_pattern = {pattern: sorted(glob.glob(pattern, recursive=True)) for pattern in patterns}
        found = list(dict.fromkeys(file for files in by_pattern.values() for file in files))
        missing = [pattern for pattern, files in by_pattern.items() if not files]
    if not found:
        raise DatasetError(
            f"Expected tar shards (a folder of them, or a pattern such as 'shards/{{000..127}}.tar'); there are none at {root!r}."
        )
    above = path if path.is_dir() else os.path.commonpath([os.path.dirname(file) for file in found])
    return {Path(os.path.relpath(file, above)).as_posix(): file for file in found}, missing


def _braces(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    try:
        import bracex
    except ImportError as error:
        raise DatasetError("Braces are spelt out by the library `bracex`: pip install -r requirements-data.txt") from error
    return bracex.expand(pattern, limit=1_000_000)


def _pictures(
    shards: dict[str, str], image_field: str | None, wanted: set[str], skipped: list[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, bytes | str]]]:
    """(name, its files by field: "picture" and those wanted) of each picture in turn; in place of a file's bytes the reason why not."""
    for shard, path in shards.items():
        name: str | None = None
        files: dict[str, bytes | str] = {}
        read = 0
        try:
            with tarfile.open(path, "r|*") as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    key, _, field = os.path.basename(member.name).partition(".")
                    key = f"{shard}/{os.path.join(os.path.dirname(member.name), key)}"
                    if key != name:
                        if name is not None and "picture" in files:
                            yield name, files
                            read += 1
                        name, files = key, {}
                    kind = _kind(field.lower(), image_field, wanted)
                    if kind:
                        files[kind] = _content(archive.extractfile(member), member.size)
        except _BROKEN as error:
            # A file that was cut off is not in `files`, and without all of its files a picture is not whole.
            skipped.append((shard, f"damaged after {read} pictures ({error or type(error).__name__}); get it again"))
            continue
        if name is not None and "picture" in files:
            yield name, files


def _kind(field: str, image_field: str | None, wanted: set[str]) -> str | None:
    """What a file of this ending is to us: "picture", the name by which it is wanted, or None for nothing."""
    if field == image_field or (not image_field and f".{field}" in EXTENSIONS):
        return "picture"
    return field if field in wanted or any(name.startswith(f"{field}.") for name in wanted) else None


def _content(file: IO[bytes], size: int) -> bytes | str:
    try:
        check_file_size(size)
    except UnusablePicture as error:
        return str(error)
    return file.read()


def _sample(reader: Reader, name: str, files: dict[str, bytes | str], wanted: set[str]) -> Sample | str:
    content = files["picture"]
    if isinstance(content, str):
        return content
    try:
        row = {field: _value(files, field) for field in wanted}
    except ValueError as error:
        return f"its fields can't be read ({error})"
    return reader.sample(row, name, name, "", content)


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
