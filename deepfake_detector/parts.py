"""An extraction's parts on disk: what became of the pictures of some consecutive samples each, so that a run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_detector.cache import Remembered
from deepfake_detector.embed import Content, Embedded
from deepfake_detector.errors import EngineError
from deepfake_detector.extract import Take
from deepfake_detector.files import write_atomically
from deepfake_detector.frames import Shot
from deepfake_detector.types import Sample

_FORMAT = 2
_NOTHING = Remembered(np.empty((0, 0), np.float32), np.empty((0, 4), np.int32))
_OF_SAMPLE = ("name", "label", "generator", "group", "split", "video", "made_from")
# A row is a take. `number` counts the data set's samples; `vectors` and `boxes` are those of all `regions`, one after another.
_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        *((name, pa.int8() if name == "label" else pa.string()) for name in _OF_SAMPLE),
        ("time", pa.float64()),
        ("view", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("sha256", pa.string()),
        ("error", pa.string()),
        ("regions", pa.int32()),
        ("boxes", pa.list_(pa.int32())),
        ("vectors", pa.list_(pa.float32())),
    ]
)


def to_table(outcomes: Iterable[Embedded[Take]]) -> pa.Table:
    """A row for each outcome."""
    rows = []
    for one in outcomes:
        shot, found = one.item.shot, one.remembered or _NOTHING
        row: dict[str, Any] = {name: getattr(shot.item, name) for name in _OF_SAMPLE}
        row |= {"number": shot.number, "time": shot.time, "view": one.item.view, "notes": shot.notes, "sha256": one.sha256}
        row |= {"error": one.error, "regions": len(found.vectors), "boxes": found.boxes.ravel(), "vectors": found.vectors.ravel()}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def write(path: Path, table: pa.Table, mark: str) -> None:
    """All of a part, or nothing. `mark` says what it was made of; see `fingerprint`. Raises EngineError."""
    marked = table.replace_schema_metadata({"fingerprint": mark})
    try:
        write_atomically(path, lambda file: pq.write_table(marked, file, compression="zstd", write_statistics=False))
    except OSError as error:
        raise EngineError(f"{path} can't be written ({error}). Make room, or choose another --out; then go on.") from error


def read(path: Path, mark: str) -> Iterator[Embedded[Take]]:
    """The outcomes that `write` was given. A sample has no path any more, and its content can't be read again.

    Raises EngineError, also for a part with another mark: of another run, where folders can't be locked.
    """
    try:
        file = pq.ParquetFile(path)
        if _mark(file.schema_arrow) != mark:
            raise EngineError(f"{path} was written by another run meanwhile. Let one finish, and run the same command again.")
        for batch in file.iter_batches():
            yield from _outcomes(batch)
    except (pa.ArrowException, OSError) as error:
        raise EngineError(f"{path} can't be read ({error}). Delete it, and run the same command again.") from error


def _outcomes(batch: pa.RecordBatch) -> Iterator[Embedded[Take]]:
    ends = batch.column("vectors").offsets.to_numpy()
    numbers = batch.column("vectors").values.to_numpy()
    for i, row in enumerate(batch.drop_columns("vectors").to_pylist()):
        sample = Sample(path="", **{name: row[name] for name in _OF_SAMPLE})
        shot = Shot(sample, row["number"], _gone, row["time"], tuple(row["notes"]))
        one = Embedded(Take(shot, row["view"], _gone), row["sha256"], error=row["error"])
        if not one.error:
            vectors = numbers[ends[i] : ends[i + 1]].reshape(row["regions"], -1)
            one.remembered = Remembered(vectors, np.array(row["boxes"], np.int32).reshape(-1, 4))
        yield one


def _gone() -> Content:
    raise OSError("what was embedded is not read again")


def marks(folder: Path) -> dict[int, str]:
    """Number → fingerprint of each part in a folder; one that can't be read counts as not there."""
    found = {}
    for path in folder.glob("*.parquet"):
        try:
            found[int(path.stem)] = _mark(pq.read_schema(path))
        except (pa.ArrowException, OSError, ValueError):
            continue
    return found


def _mark(schema: pa.Schema) -> str:
    return (schema.metadata or {}).get(b"fingerprint", b"").decode()


def fingerprint(samples: Iterable[Sample], settings: dict[str, Any]) -> str:
    """Equal for equal samples with unchanged files, or content, that are embedded alike. A file is known by its size and time."""
    digest = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode())
    for sample in samples:
        fields = asdict(sample) | {"path": None, "content": _state(sample)}
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return digest.hexdigest()


def _state(sample: Sample) -> str | list[int] | None:
    if sample.content is not None:
        return hashlib.sha256(sample.content).hexdigest()
    try:
        state = os.stat(sample.path)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]
