"""A table of embeddings on disk, CSV or Parquet by its ending, with a manifest beside it that says what the numbers are.

Columns: path, label (1 = fake), generator, group, split, sha256, then the numbers: e0 … eN in CSV, in the shortest form that
reads back as exactly the same float32; in Parquet one column `embedding`, a list of fixed size. Frames of clips also have
video and time (in seconds) before the numbers, and where they were cropped to persons the number of that person's track. Pictures made
of photographs have made_from, the photograph's SHA-256.
Both are written and read some rows at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deepfake_detector import vectors
from deepfake_detector.errors import TableError
from deepfake_detector.files import check_place, cut, locked, remove_abandoned, spelt_out, sync, write_atomically, write_bytes
from deepfake_detector.types import Embeddings, EncoderSpec, Sample, made_differently

FORMAT = 2
ROW_COLUMNS = ("path", "label", "generator", "group", "split", "sha256")
VIDEO_COLUMNS = ("video", "time")  # of tables in which something is a frame of a clip
TRACK_COLUMNS = ("track",)  # of those whose crop finds persons
MADE_COLUMNS = ("made_from",)  # of tables in which something was made of a photograph
_STRINGS = {name: pa.string() for name in (*ROW_COLUMNS, *VIDEO_COLUMNS, *MADE_COLUMNS)}
_TYPES = _STRINGS | {"label": pa.int8(), "time": pa.float64(), "track": pa.int32()}
_CHUNK_BYTES, _CHUNK_ROWS = 2**24, 8192  # written, and read, at a time

Chunk = tuple[pa.RecordBatch, np.ndarray]  # some rows: the columns before the numbers, and (k, dim) float16 or float32


@dataclass(frozen=True)
class Row:
    """One embedded picture on its way into a table; `vector` is (dim,) float32."""

    sample: Sample
    sha256: str
    vector: np.ndarray

    def field(self, column: str) -> str | int | float | None:
        """What stands in one of the `columns`."""
        return self.sha256 if column == "sha256" else getattr(self.sample, "name" if column == "path" else column)


def columns(video: bool = False, tracks: bool = False, made: bool = False) -> tuple[str, ...]:
    """The columns before the numbers: of a table with frames of clips, of one with persons in them, and of one with pictures made here."""
    return ROW_COLUMNS + VIDEO_COLUMNS * video + TRACK_COLUMNS * (video and tracks) + MADE_COLUMNS * made


def manifest_path(table: str | Path) -> Path:
    """`embeddings/d3.csv` → `embeddings/d3.csv.json`."""
    return Path(f"{table}.json")


def check_target(path: str | Path, float16: bool = False) -> None:
    """Raise TableError, or OSError, unless a table can be written here: under a table's name, and over nothing but a table.

    The folder is made if need be.
    """
    _check_name(path, float16)
    if Path(path).is_file() and not (manifest_path(path).is_file() or _begins_as_a_table(Path(path))):
        raise TableError(f"{path} is there, and is no table: it would be lost. Choose another name, or move it away.")
    check_place(Path(path))


def check_replaced(path: str | Path, data: str, spec: EncoderSpec, crop: str) -> bool:
    """Whether a table that is there may be of other pictures than `data`: its manifest does not tell.

    Raises TableError where it is plainly another one: of other pictures, by another encoder, or with another crop.
    """
    try:
        there = read_manifest(path)
        of, differences = there.get("data", data), made_differently(EncoderSpec.from_json(there["encoder"]), there["crop"], spec, crop)
    except (TableError, AttributeError, KeyError, TypeError):  # none, or none that could be read
        return False
    if of != data or differences:
        what = f"of {of!r}, and this is {data!r}" if of != data else f"with embeddings that were made differently ({differences})"
        raise TableError(f"{path} is there already, {what}. Name this one with --out, or delete that one.")
    return "data" not in there


def _begins_as_a_table(path: Path) -> bool:
    """Whether a file without a manifest is one of ours, as a kill between the two leaves it; or has nothing in it to lose."""
    if not path.stat().st_size:
        return True
    try:
        if _is_parquet(path):
            import pyarrow.parquet as pq

            names = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8") as file:
                names = file.readline(1000).replace('"', "").split(",")
    except (pa.ArrowException, OSError, ValueError):
        return False
    return tuple(names[: len(ROW_COLUMNS)]) == ROW_COLUMNS and ("e0" in names or "embedding" in names)  # a list of pictures may begin so


def _check_name(path: str | Path, float16: bool = False) -> None:
    """Raise TableError unless a table can have this path: .csv or .parquet (float16: the latter), no folder, and a folder above."""
    if Path(path).suffix.lower() not in {".csv", ".parquet"}:
        raise TableError(f"A table's name should end in .csv or .parquet; received {str(path)!r}.")
    if float16 and not _is_parquet(path):
        raise TableError(f"float16 makes a .parquet table half as large; a CSV gains nothing from it. Received: {str(path)!r}.")
    if Path(path).is_dir():
        raise TableError(f"{path} is a folder; a table is a file. Choose another name.")
    above = next(folder for folder in Path(path).absolute().parents if folder.exists())
    if not above.is_dir():
        raise TableError(f"{path} would be below {above}, which is no folder. Choose another place.")


def _is_parquet(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".parquet"


# --------------------------------------------------------------------------------------------------------------- writing


def write(
    path: str | Path,
    rows: Iterable[Row],
    spec: EncoderSpec,
    manifest: dict[str, Any],
    before: Sequence[str] = ROW_COLUMNS,
    float16: bool = False,
) -> int:
    """Write table and manifest, some rows in memory at a time; returns the number of rows. `before` is one of `columns`.

    `float16` rounds the numbers to half precision. `manifest` is completed with spec, crop and row count *after* the rows are
    drawn, so a caller may fill it in while they are (what was skipped, say). Nothing appears under `path` until everything is written.
    """
    check_target(path, float16)
    return _save(Path(path), _chunks(rows, before, spec.dim), before, spec, "float16" if float16 else "float32", manifest)


def convert(source: str | Path, target: str | Path, float16: bool = False) -> int:
    """The same table under another name, CSV or Parquet by its ending, its manifest with it; returns the number of rows.

    The numbers stay exactly the same, unless `float16` rounds them to half precision.
    """
    check_target(target, float16)
    table = _Stored(source)
    dtype = "float16" if float16 else table.dtype
    return _save(Path(target), table.chunks(), table.columns, table.spec, dtype, table.manifest)


def _chunks(rows: Iterable[Row], columns: Sequence[str], dim: int) -> Iterator[Chunk]:
    """Of a row its fields are kept, never the sample itself."""
    size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // (4 * dim)))
    fields: list[list[Any]] = [[] for _ in columns]
    vectors: list[np.ndarray] = []

    def chunk() -> Chunk:
        arrays = [pa.array(values, _TYPES[name]) for name, values in zip(columns, fields, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, list(columns)), np.stack(vectors)

    for row in rows:
        for name, values in zip(columns, fields, strict=True):
            value = row.field(name)
            values.append(spelt_out(value) if isinstance(value, str) else value)
        vectors.append(row.vector)
        if len(vectors) == size:
            yield chunk()
            fields, vectors = [[] for _ in columns], []
    if vectors:
        yield chunk()


def _save(path: Path, chunks: Iterable[Chunk], columns: Sequence[str], spec: EncoderSpec, dtype: str, manifest: dict[str, Any]) -> int:
    count = 0
    remove_abandoned(path)
    with ExitStack() as alone:

        def write_table(part: Path) -> None:
            nonlocal count
            with _Writer(part, _is_parquet(path), columns, spec.dim, dtype) as out:
                for fields, X in chunks:
                    out.write(fields, X)
                    count += len(X)
            sync(part)
            alone.enter_context(locked(path.parent))  # until the manifest is there too: another's numbers must not come between
            manifest_path(path).unlink(missing_ok=True)  # a kill between the two renames must not pair new numbers with an old manifest

        write_atomically(path, write_table)
        own = {"format": FORMAT, "encoder": spec.to_json(), "dtype": dtype, "rows": count}
        whole = own | manifest | own  # in this order, whatever a manifest carried along says of itself
        write_bytes(manifest_path(path), f"{json.dumps(whole, indent=2)}\n".encode())
    return count


class _Writer:
    """Chunks → a file. `dtype` float16 rounds; in a CSV such numbers are written as the float32 that they are."""

    def __init__(self, part: Path, parquet: bool, columns: Sequence[str], dim: int, dtype: str):
        self.parquet, self.dtype = parquet, dtype
        fields = [(name, _TYPES[name]) for name in columns]
        if parquet:
            import pyarrow.parquet as pq

            number = pa.field("item", _number(dtype), nullable=False)
            self.schema = pa.schema([*fields, pa.field("embedding", pa.list_(number, dim), nullable=False)])
            # Embeddings are noise to a compressor: dictionaries, statistics and compression only cost time.
            compression = dict.fromkeys(columns, "zstd") | {"embedding.list.element": "none"}
            options = {"use_dictionary": list(columns), "write_statistics": False, "write_page_checksum": True}
            self.out = pq.ParquetWriter(part, self.schema, compression=compression, **options)
        else:
            import pyarrow.csv as csv

            self.schema = pa.schema([*fields, *((f"e{i}", pa.float32()) for i in range(dim))])
            self.out = csv.CSVWriter(part, self.schema)

    def write(self, fields: pa.RecordBatch, X: np.ndarray) -> None:
        if self.dtype == "float16":
            X = _halved(X)
        if self.parquet:
            numbers = [pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), type=self.schema.field("embedding").type)]
        else:
            numbers = list(np.ascontiguousarray(X.T, np.float32))
        # A batch at a time is a row group of its own, so that readers need no more memory than the writer did.
        self.out.write_batch(pa.record_batch([*fields.columns, *numbers], schema=self.schema))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.out.close()


def _number(dtype: str) -> pa.DataType:
    return pa.float16() if dtype == "float16" else pa.float32()


def _halved(X: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        halves = X.astype(np.float16)
    if np.isinf(halves).any() and not np.isinf(X).any():
        raise TableError(
            f"float16 holds numbers up to {np.finfo(np.float16).max:g}; these embeddings reach {np.abs(X).max():g}. Keep float32."
        )
    return halves


# --------------------------------------------------------------------------------------------------------------- reading


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


def check_there(path: str | Path) -> None:
    """Raise TableError where there is no table, or one that its beginning shows to be no use; its rows are not read."""
    _Stored(path)


def read(path: str | Path) -> Embeddings:
    """A whole table, checked against its manifest; raises TableError where they disagree.

    Its numbers are in memory, or on disk where they are too many (see vectors.py): then `X` reads them as they are needed.
    """
    table = _Stored(path)
    collected = vectors.Collector((table.rows, table.spec.dim), table.path.absolute().parent, table.dtype if table.parquet else np.float32)
    fields = []
    for before, X in table.chunks():
        fields.append(before)
        collected.add(X)
    rows = pa.Table.from_batches(fields).to_pandas()
    return Embeddings(rows, collected.finish(), table.spec, table.manifest.get("crop", "whole"))


def read_all(paths: Sequence[str | Path]) -> Embeddings:
    """Several tables as one; raises TableError where they are not of one encoder and crop, or one of them is named twice."""
    check_each_once(paths)
    parts = [read(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if differences := made_differently(first.spec, first.crop, part.spec, part.crop):
            raise TableError(
                f"{paths[0]} and {path} can't be taken together, as their embeddings were made differently ({differences}). "
                "Extract one of them again, with the other's --encoder and --crop."
            )
    return joined(parts)


def check_each_once(paths: Sequence[str | Path]) -> None:
    """Raise TableError where one is named twice, by whatever path: each of its pictures would count as two."""
    places: dict[Path, str | Path] = {}
    for path in paths:
        if before := places.get(place := Path(path).resolve()):
            raise TableError(f"{path} is named twice{f', also as {before}' if str(path) != str(before) else ''}. Name it once.")
        places[place] = path


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """The rows of all parts, of one encoder and crop, one after another."""
    import pandas as pd

    from deepfake_detector.same_names import told_apart

    if len(parts) == 1:
        return parts[0]
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    rows = rows.fillna({"video": "", "track": -1, "made_from": ""})  # of pictures, beside frames of clips, and of those not made here
    X = vectors.joined([part.X for part in parts])
    rows["group"] = told_apart(rows, X, np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    return Embeddings(rows, X, parts[0].spec, parts[0].crop)


class _Stored:
    """A table that is there, and what its manifest says of it: `rows` and `dtype` are promises that `chunks` checks."""

    def __init__(self, path: str | Path):
        _check_name(path)
        self.path, self.parquet = Path(path), _is_parquet(path)
        if not self.path.is_file():
            raise TableError(f"There is no table {path}. Make it with extract_embeddings.py DATA --out {path}.")
        self.manifest = read_manifest(path)
        if not isinstance(self.manifest, dict) or self.manifest.get("format") != FORMAT:
            found = self.manifest.get("format") if isinstance(self.manifest, dict) else None
            raise TableError(
                f"{path} should be a table of format {FORMAT}; its manifest says {found!r}, so another version of this program made it. "
                "Make it again with extract_embeddings.py: pictures that are remembered are not encoded again."
            )
        try:
            self.spec = EncoderSpec.from_json(self.manifest["encoder"])
            self.rows, self.dtype = self.manifest["rows"], self.manifest["dtype"]
        except (KeyError, TypeError) as error:
            raise TableError(f"The manifest {manifest_path(path)} lacks something ({error}). Make the table again.") from error
        if type(self.rows) is not int or type(self.spec.dim) is not int or self.dtype not in ("float16", "float32"):
            raise TableError(
                f"The manifest {manifest_path(path)} should give rows and dim as numbers and dtype as float16 or float32; it "
                f"says {self.rows!r}, {self.spec.dim!r} and {self.dtype!r}. Make the table again."
            )
        if self.rows < 1:
            raise TableError(f"{path} has no rows.")
        try:
            self._open()
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    def _open(self) -> None:
        if self.parquet:
            import pyarrow.parquet as pq

            file = pq.ParquetFile(self.path, pre_buffer=False, page_checksum_verification=True)  # a buffer would keep all that was read
            self.schema = file.schema_arrow
            size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // (4 * self.spec.dim)))
            self._batches = file.iter_batches(size)
            numbers = ["embedding"]
        else:
            import pyarrow.csv as csv

            numbers = [f"e{i}" for i in range(self.spec.dim)]
            # What a table went through may have made labels 0.0 and 1.0, as pandas does beside a gap.
            types = _TYPES | {"label": pa.float64()} | dict.fromkeys(numbers, pa.float32())
            options = csv.ConvertOptions(column_types=types, strings_can_be_null=False, quoted_strings_can_be_null=False)
            self._batches = csv.open_csv(
                self.path,
                read_options=csv.ReadOptions(block_size=_CHUNK_BYTES),  # must hold a whole row, and 12×768 numbers take 100 kB
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=options,
            )
            self.schema = self._batches.schema
        self.columns = columns(*(name in self.schema.names for name in ("video", "track", "made_from")))
        self._check_columns([*self.columns, *numbers])

    def _check_columns(self, expected: list[str]) -> None:
        names, dim = self.schema.names, self.spec.dim
        if names != expected:
            last = "embedding" if self.parquet else f"e0 … e{dim - 1}"
            raise TableError(
                f"{self.path} should have the {'' if self.parquet else 'comma-separated '}columns {', '.join(self.columns)}, {last} "
                f"({len(expected)} in all, for {self.spec.name}), but has {len(names)}: {cut(', '.join(names))}. Make the table again."
            )
        if not self.parquet:
            return
        found = self.schema.field("embedding").type
        if not pa.types.is_fixed_size_list(found) or (found.list_size, found.value_type) != (dim, _number(self.dtype)):
            raise TableError(f"{self.path}: embedding should be lists of {dim} {self.dtype} each, but is {found}. Make the table again.")

    def chunks(self) -> Iterator[Chunk]:
        """The rows, in order, once; raises TableError where they are not what the manifest says."""
        count = 0
        schema = pa.schema([(name, _TYPES[name]) for name in self.columns])
        try:
            for batch in self._batches:
                if batch.num_rows and count + batch.num_rows <= self.rows:
                    self._check_fields(batch)
                    yield batch.select(list(self.columns)).cast(schema), self._numbers(batch, count)
                count += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        if count != self.rows:
            raise TableError(f"{self.path} has {count} rows, but its manifest says {self.rows}. Make the table again.")

    def _check_fields(self, batch: pa.RecordBatch) -> None:
        filled = [*self.columns, "embedding"] if self.parquet else self.columns
        empty = [name for name in filled if name != "time" and batch.column(name).null_count]
        if empty:
            raise TableError(f"{self.path} has empty cells in the column {empty[0]}. Make the table again.")
        labels = batch.column("label").to_numpy()
        if not np.isin(labels, (0, 1)).all():
            odd = labels[~np.isin(labels, (0, 1))][0]
            raise TableError(f"{self.path}: a label is 0 (real) or 1 (fake); found {odd}. Correct the table.")

    def _numbers(self, batch: pa.RecordBatch, before: int) -> np.ndarray:
        if self.parquet:
            X = batch.column("embedding").flatten().to_numpy(zero_copy_only=False).reshape(-1, self.spec.dim)
        else:
            X = np.empty((batch.num_rows, self.spec.dim), np.float32)
            for i in range(self.spec.dim):
                X[:, i] = batch.column(len(self.columns) + i).to_numpy(zero_copy_only=False)
        if not np.isfinite(X).all():
            first = before + np.flatnonzero(~np.isfinite(X).all(axis=1))[0]
            raise TableError(f"{self.path} holds NaN or infinite numbers (the first in row {first + 2}). Make the table again.")
        return X

    def _unreadable(self, error: Exception) -> TableError:
        return TableError(f"{self.path} can't be read ({error}). Make the table again.")
