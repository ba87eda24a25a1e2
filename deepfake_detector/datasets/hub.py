"""Any data set of the Hugging Face hub, or local Parquet shards, with a column of pictures and one of labels: streamed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from deepfake_detector.datasets import Listing, _fields, _hub, stream
from deepfake_detector.datasets._fields import Fields, Reader
from deepfake_detector.datasets._hub import Repository, Wanted, open_repository
from deepfake_detector.datasets.folder import split_of_word
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import Sample


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image-field", metavar="FIELD", help="which column holds the picture (default: the only one that does)")
    _fields.add_options(parser, label="the only column of classes, or `label`")
    _hub.add_options(parser)


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
    hub_split: str | None = None,
    subset: str | None = None,
    limit: int | None = None,
    shuffle_buffer: int = 0,
    seed: int = 0,
) -> Listing:
    """Stream the pictures of `owner/name` on the hub, a folder that holds a data set, or Parquet files."""
    repository = open_repository(root, Wanted(hub_split, subset, limit, shuffle_buffer, seed))
    label = None if all_are and not label_field else label_field or _label_column(repository)
    return pictures(repository, image_field, Fields(label, generator_field, group_field, fake_label or (), all_are, source))


def pictures(repository: Repository, image: str | None, fields: Fields, names: list[str] | None = None) -> Listing:
    """The pictures of a repository as a stream; a row's name is its split and place in it.

    `names` are those of numbered labels, where they are known without the repository saying so.
    """
    image = image or _image_column(repository)
    for column in (image, fields.label, fields.generator, fields.group):
        if column and column not in repository.features:
            raise DatasetError(f"{repository.origin} has no column {column!r}; there are: {', '.join(repository.features)}.")
    names = names or getattr(repository.features.get(fields.label), "names", None)
    origin = repository.base.rstrip("/") or os.path.abspath(repository.origin)
    Reader(fields, origin, names)  # refuses what is wrong before anything is drawn

    def draw(skipped: list[tuple[str, str]], facts: dict[str, Any]) -> Iterator[Sample]:
        reader = Reader(fields, origin, names)
        facts["origin"] = repository.origin
        for split in repository.splits:
            for number, row in enumerate(repository.rows(split)):
                name = f"{split}/{number}"
                content = repository.stored_bytes(row[image])
                outcome = content if isinstance(content, str) else reader.sample(row, name, split_of_word(split), content)
                if isinstance(outcome, Sample):
                    yield outcome
                else:
                    skipped.append((name, outcome))
        skipped.extend((f"--fake-label {value}", "no picture has this label") for value in sorted(reader.unseen))

    return stream(draw, repository.total)


def _image_column(repository: Repository) -> str:
    from datasets import Image

    columns = [name for name, feature in repository.features.items() if isinstance(feature, Image)]
    # Shards that were not written by the library say only that there are bytes.
    columns = columns or [
        n for n, f in repository.features.items() if (isinstance(f, dict) and "bytes" in f) or getattr(f, "dtype", "") == "binary"
    ]
    if len(columns) != 1:
        found = (
            f"several columns of pictures: {', '.join(columns)}"
            if columns
            else f"no column of pictures, but {', '.join(repository.features)}"
        )
        raise DatasetError(f"{repository.origin} has {found}. Choose one with --image-field.")
    return columns[0]


def _label_column(repository: Repository) -> str:
    from datasets import ClassLabel

    columns = [name for name, feature in repository.features.items() if isinstance(feature, ClassLabel)]
    if len(columns) == 1:
        return columns[0]
    if "label" not in repository.features:
        raise DatasetError(
            f"{repository.origin} has no column that is plainly the label, but {', '.join(repository.features)}. Choose one with "
            "--label-field, or say --all-are real or fake."
        )
    return "label"
