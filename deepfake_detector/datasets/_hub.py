"""The rows of a data set on the Hugging Face hub, or of local shards of one, one after the other: nothing is fetched that isn't read."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepfake_detector.datasets._fields import count
from deepfake_detector.datasets.folder import split_of_name, split_of_word
from deepfake_detector.errors import DatasetError, words_of
from deepfake_detector.files import matching
from deepfake_detector.weights import HUB_TIMEOUT

if TYPE_CHECKING:
    from datasets import Features, IterableDataset

_REPOSITORY = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Wanted:
    """Which rows: of each split, or of one, at most `limit`, shuffled within a buffer of so many rows (0: in their own order).

    Of Parquet shards alone, `columns` are all that is fetched of them, and `batch_size` rows are decoded at a time (otherwise
    as many as were written together).
    """

    hub_split: str | None = None
    subset: str | None = None
    limit: int | None = None
    shuffle_buffer: int = 0
    seed: int = 0
    columns: tuple[str, ...] = ()
    batch_size: int | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that fill a Wanted."""
    parser.add_argument("--hub-split", metavar="NAME", help="read this split alone (default: each that there is)")
    parser.add_argument("--subset", metavar="NAME", help="which one, where the data set has several subsets (configurations)")
    add_sampling(parser)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """The options that say how many rows, and in which order."""
    parser.add_argument("--limit", type=count, metavar="N", help="read at most N rows of each split (default: all)")
    parser.add_argument(
        "--shuffle-buffer",
        type=count,
        default=0,
        metavar="N",
        help="shuffle the shards, and the rows within a buffer of N, which are all in memory (default: keep the order)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shuffling: the same seed gives the same order (default: %(default)s)")


@dataclass(frozen=True)
class Repository:
    """An opened data set. `features` is alike in all splits; `origin` is where it was read from, with the commit on the hub.

    `base` is how the addresses of its own files begin, for those that keep pictures beside their rows.
    """

    origin: str
    base: str
    splits: dict[str, IterableDataset]
    features: Features
    limit: int | None

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The rows of a split, anew each time; raises DatasetError when the stream breaks off."""
        drawn = 0
        rows = iter(islice(self.splits[split], self.limit))
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # the network, a file system or Arrow: almost anything
                raise DatasetError(
                    f"{self.origin}: the split {split!r} broke off after {drawn} rows ({words_of(error)}). If the network did, the same "
                    "command goes on from there; if a shard is damaged, get it again."
                ) from error
            yield row
            drawn += 1

    def stored_bytes(self, value: Any) -> bytes | str:
        """What a picture column holds of a row, as the file's bytes, or the reason why it holds none."""
        place = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else value
        if isinstance(place, str) and place:
            return self._file(place)
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else "no picture in its row"

    def _file(self, address: str) -> bytes | str:
        import fsspec

        if self.base and not os.path.isabs(address) and ":" not in address:
            address = self.base + address  # named from where the data set is
        place = address.rpartition("::")[2]
        if not self.base or not place.startswith(self.base) or ".." in place.split("/"):
            return f"its row has no picture, but the address of one outside the data set ({address})"
        try:
            with fsspec.open(address) as file:
                return file.read()
        except Exception as error:  # of as many kinds as there are file systems
            return f"can't be read ({words_of(error)})"

    @property
    def total(self) -> int | None:
        """The rows of all splits together, where every one says how many it has or the limit does."""
        sizes = [data.info.splits and data.info.splits.get(name) for name, data in self.splits.items()]
        known = [size.num_examples if size else None for size in sizes]
        if self.limit is not None:
            known = [self.limit if size is None else min(size, self.limit) for size in known]
        return None if None in known else sum(known)


def open_repository(root: str, wanted: Wanted) -> Repository:
    """Open `owner/name`, or `owner/name@revision`, on the hub; or a local folder, a Parquet file, or a pattern of such files."""
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(
            f"This data set is read by the library `datasets`, which can't be imported ({error}): pip install -r requirements-data.txt"
        ) from error
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else it tells a third server what is opened, and waits where there is none
    place, origin, base = _locate(str(root))
    parquet: dict[str, Any] = {"columns": list(wanted.columns)} if wanted.columns else {}
    parquet |= {"batch_size": wanted.batch_size} if wanted.batch_size else {}
    try:
        splits = datasets.load_dataset(**place, name=wanted.subset, streaming=True, **parquet)
    except Exception as error:  # a dozen kinds: no such data set, no data in it, a subset to be chosen, no network …
        said = words_of(error).replace("Config name is missing", "Choose one with --subset")
        raise DatasetError(f"{origin} can't be opened as a data set ({said}). Check its name, and that it holds data files.") from error
    if wanted.hub_split:
        if wanted.hub_split not in splits:
            raise DatasetError(f"{origin} has no split {wanted.hub_split!r}; there are: {', '.join(splits)}. Choose one with --hub-split.")
        splits = {wanted.hub_split: splits[wanted.hub_split]}
    features = next(iter(splits.values())).features
    if features is None:
        raise DatasetError(f"{origin} doesn't say which columns it has. Convert it to Parquet shards.")
    if base.startswith("/") or not base:
        _check_classes(str(root), features)
    splits = {name: data.decode(False) for name, data in splits.items()}  # decoding is for images.open_picture
    if wanted.shuffle_buffer:
        splits = {name: data.shuffle(seed=wanted.seed, buffer_size=wanted.shuffle_buffer) for name, data in splits.items()}
    return Repository(origin, base, splits, features, wanted.limit)


def _check_classes(root: str, features: Features) -> None:
    """Refuse local shards that number their classes differently: the library goes by those of the first one alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbered = {column: feature.names for column, feature in features.items() if getattr(feature, "names", None)}
    path = Path(root).expanduser()
    for file in sorted(path.rglob("*.parquet") if path.is_dir() else map(Path, matching(str(path)))) if numbered else []:
        try:
            said = json.loads((pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}"))
        except (pa.ArrowException, OSError, ValueError):
            continue  # a damaged shard is reported when it is its turn
        for column, names in numbered.items():
            own = said.get("info", {}).get("features", {}).get(column, {}).get("names", names)
            if own != names:
                raise DatasetError(f"{file} calls the labels of {column!r} {own}, but other shards call them {names}. Read them apart.")


def _locate(root: str) -> tuple[dict[str, Any], str, str]:
    """(what load_dataset takes, Repository.origin, Repository.base); for the hub after asking it for the commit."""
    path = Path(root).expanduser()
    if path.is_dir():
        return {"path": os.path.realpath(path)}, root, f"{os.path.realpath(path)}/"  # the addresses that it gives are without links
    files = matching(str(path))
    if files:
        odd = [file for file in files if not file.endswith(".parquet")]
        if odd:
            raise DatasetError(
                f"Expected Parquet files; {odd[0]!r} is none. Point to a folder, or to a pattern such as 'shards/*.parquet'."
            )
        by_split: dict[str, list[str]] = {}
        for file in files:
            split = split_of_name(os.path.basename(file)) or split_of_word(Path(file).absolute().parent.name)
            by_split.setdefault(split or "all", []).append(file)
        return {"path": "parquet", "data_files": by_split}, root, ""
    named = _REPOSITORY.fullmatch(root)
    if not named:
        raise DatasetError(
            f"Expected a data set on the hub (owner/name or owner/name@revision), or local files; there is nothing at {root!r}."
        )
    name, commit = named["name"], _commit(named["name"], named["revision"])
    return {"path": name, "revision": commit}, f"{name}@{commit}", f"hf://datasets/{name}@{commit}/"


def _commit(name: str, revision: str | None) -> str:
    """The commit that a revision stands for at this moment; the hub client itself retries for most of a minute when nobody is there."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise DatasetError(f"{name}: HF_HUB_OFFLINE is set, and there is no local folder of this name. Unset it, or point to local shards.")
    try:
        return HfApi().dataset_info(name, revision=revision, timeout=HUB_TIMEOUT).sha
    except Exception as error:
        raise DatasetError(
            f"{name}{f'@{revision}' if revision else ''} could not be found on the hub ({words_of(error)}). Check the name, log in with "
            "`hf auth login` where it is gated, try again when the hub can be reached, or point to local shards."
        ) from error
