"""A table of embeddings on disk, CSV or Parquet by its ending, with a manifest beside it that says what the numbers are.

Columns: path, label (1 = fake), generator, group, split, sha256, e0 … eN. Frames of clips also have video and time (in
seconds) before e0, and where they were cropped to persons the number of that person's track. Floats are written in the
shortest form that reads back as exactly the same float32.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deepfake_detector.errors import TableError
from deepfake_detector.files import write_atomically
from deepfake_detector.types import Embeddings, EncoderSpec, Sample

ROW_COLUMNS = ("path", "label", "generator", "group", "split", "sha256")
VIDEO_COLUMNS = ("video", "time")  # of tables in which something is a frame of a clip
TRACK_COLUMNS = ("track",)  # of those whose crop finds persons
_STRINGS = {name: pa.string() for name in (*ROW_COLUMNS, *VIDEO_COLUMNS)}
_TYPES = _STRINGS | {"label": pa.int8(), "time": pa.float64(), "track": pa.int32()}
_CHUNK = 1024  # rows written at a time


@dataclass(frozen=True)
class Row:
    """One embedded picture on its way into a table; `vector` is (dim,) float32."""

    sample: Sample
    sha256: str
    vector: np.ndarray

    def field(self, column: str) -> str | int | float | None:
        """What stands in one of the `columns`."""
        return self.sha256 if column == "sha256" else getattr(self.sample, "name" if column == "path" else column)


def columns(video: bool = False, tracks: bool = False) -> tuple[str, ...]:
    """The columns before the numbers: of a table with frames of clips, and of one with persons in them."""
    return ROW_COLUMNS + VIDEO_COLUMNS * video + TRACK_COLUMNS * (video and tracks)


def manifest_path(table: str | Path) -> Path:
    """`embeddings/d3.csv` → `embeddings/d3.csv.json`."""
    return Path(f"{table}.json")


def check_ending(path: str | Path) -> None:
    """Raise TableError unless the path ends in .csv or .parquet."""
    if Path(path).suffix.lower() not in {".csv", ".parquet"}:
        raise TableError(f"A table's name should end in .csv or .parquet; received {str(path)!r}.")


def write(path: str | Path, rows: Iterable[Row], spec: EncoderSpec, manifest: dict[str, Any], before: Sequence[str] = ROW_COLUMNS) -> int:
    """Write table and manifest, a chunk of rows in memory at a time; returns the number of rows. `before` is one of `columns`.

    `manifest` is completed with spec, crop and row count *after* the rows are drawn, so a caller may fill it in
    while they are (what was skipped, say). Nothing appears under `path` until everything is written.
    """
    check_ending(path)
    path = Path(path)
    schema = pa.schema([*((name, _TYPES[name]) for name in before), *((f"e{i}", pa.float32()) for i in range(spec.dim))])
    count = 0

    def write_table(part: Path) -> None:
        nonlocal count
        with _writer(path, part, schema) as out:
            chunk: list[Row] = []
            for row in rows:
                chunk.append(row)
                if len(chunk) == _CHUNK:
                    out.write_table(_to_arrow(chunk, schema))
                    count += len(chunk)
                    chunk = []
            if chunk:
                out.write_table(_to_arrow(chunk, schema))
                count += len(chunk)
        _sync(part)
        manifest_path(path).unlink(missing_ok=True)  # a kill between the two renames must not pair new numbers with an old manifest

    write_atomically(path, write_table)
    whole = {"format": 1, "encoder": spec.to_json(), "rows": count, **manifest}
    write_atomically(manifest_path(path), lambda part: part.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n"))
    return count


def _writer(path: Path, part: Path, schema: pa.Schema):
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        return pq.ParquetWriter(part, schema)
    import pyarrow.csv as csv

    return csv.CSVWriter(part, schema)


def _sync(part: Path) -> None:
    with part.open("rb") as stream:
        os.fsync(stream.fileno())


def _to_arrow(rows: list[Row], schema: pa.Schema) -> pa.Table:
    X = np.stack([row.vector for row in rows]).T  # (dim, rows): one array a column
    fields = [[_storable(row.field(name)) for row in rows] for name in schema.names[: -len(X)]]
    return pa.table([*fields, *(np.ascontiguousarray(x) for x in X)], schema=schema)


def _storable(value: Any) -> Any:
    """File names may hold bytes that are not UTF-8 (Python keeps them as lone surrogates); tables may not."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a table; raises TableError when there is none."""
    beside = manifest_path(path)
    try:
        return json.loads(beside.read_text())
    except FileNotFoundError:
        raise TableError(
            f"{path} has no manifest {beside.name} beside it, so nobody can tell which encoder made its numbers. Keep the two files "
            "together, or make the table again with extract_embeddings.py."
        ) from None
    except (OSError, ValueError) as error:
        raise TableError(f"The manifest {beside} can't be read ({error}). Make the table again with extract_embeddings.py.") from error


def read(path: str | Path) -> Embeddings:
    """A whole table in memory, checked against its manifest; raises TableError where they disagree."""
    check_ending(path)
    if not Path(path).is_file():
        raise TableError(f"There is no table {path}. Make it with extract_embeddings.py DATA --out {path}.")
    manifest = read_manifest(path)
    try:
        spec = EncoderSpec.from_json(manifest["encoder"])
    except (KeyError, TypeError) as error:
        raise TableError(f"The manifest {manifest_path(path)} names no encoder ({error}). Make the table again.") from error
    table = _read_arrow(Path(path))
    before = columns("video" in table.column_names, "track" in table.column_names)
    expected = [*before, *(f"e{i}" for i in range(spec.dim))]
    if table.column_names != expected:
        raise TableError(
            f"{path} should have the columns {', '.join(before)}, e0 … e{spec.dim - 1} ({len(expected)} in all, for {spec.name}), "
            f"but has {len(table.column_names)}: {', '.join(table.column_names[:8])} … {table.column_names[-1]}. Make the table again."
        )
    if table.num_rows != manifest.get("rows"):
        raise TableError(f"{path} has {table.num_rows} rows, but its manifest says {manifest.get('rows')}. Make the table again.")
    if table.num_rows == 0:
        raise TableError(f"{path} has no rows.")
    X = np.empty((table.num_rows, spec.dim), np.float32)
    for i in range(spec.dim):
        X[:, i] = table.column(len(before) + i).to_numpy()
    if not np.isfinite(X).all():
        bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
        raise TableError(f"{path} holds NaN or infinite numbers in {len(bad)} rows (the first: row {bad[0] + 2}). Make the table again.")
    rows = table.select(list(before)).to_pandas()
    if not rows["label"].isin([0, 1]).all():
        odd = rows.loc[~rows["label"].isin([0, 1]), "label"].iloc[0]
        raise TableError(f"{path}: a label is 0 (real) or 1 (fake); found {odd!r}. Correct the table.")
    return Embeddings(rows, X, spec, manifest.get("crop", "whole"))


def _read_arrow(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path)
        import pyarrow.csv as csv

        header = csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)).schema.names
        types = {name: _TYPES.get(name, pa.float32()) for name in header}
        options = csv.ConvertOptions(column_types=types, strings_can_be_null=False, quoted_strings_can_be_null=False)
        # Blocks must hold a whole row, and a row of 12×768 numbers takes 100 kB.
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=2**24),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path} can't be read ({error}). Make the table again.") from error
