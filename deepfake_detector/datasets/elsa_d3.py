"""ELSA-D3 (elsaEU/ELSA_D3 on the hub, or Parquet shards of it): four generators' pictures to a caption, and the real one by its address."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_detector.datasets import Listing, _hub, stream
from deepfake_detector.datasets._hub import Repository, Wanted, open_repository
from deepfake_detector.datasets.folder import split_of_word
from deepfake_detector.errors import DatasetError
from deepfake_detector.fetch import Fetcher
from deepfake_detector.picture_store import MAY_PASS, Fetched, PictureStore
from deepfake_detector.types import FAKE, REAL, Sample
from deepfake_detector.weights import cache_folder

GENERATORS = range(4)
COLUMNS = ("id", "url", *(f"model_gen{i}" for i in GENERATORS), *(f"image_gen{i}" for i in GENERATORS))
SOURCE = "laion"  # of the real pictures
_BATCH = 8  # rows decoded from a shard at a time: they have a megabyte each


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hub-split", choices=("train", "validation"), help="read this split alone (default: each that there is)")
    _hub.add_sampling(parser)
    parser.add_argument("--paired-only", action="store_true", help="leave out the rows whose real picture could not be had")
    parser.add_argument(
        "--real-pictures", metavar="FOLDER", help="where the fetched real pictures are kept (default: fetched/ in the cache folder)"
    )
    parser.add_argument("--concurrency", type=int, default=32, metavar="N", help="real pictures fetched at once (default: %(default)s)")
    parser.add_argument(
        "--ask-again", action="store_true", help="also fetch what failed, timed out or was refused in earlier runs, as by a broken network"
    )
    parser.add_argument(
        "--allow-private", action="store_true", help="also fetch from addresses of this machine and its network, such as a mirror's"
    )


def scan(
    root: str,
    *,
    hub_split: str | None = None,
    limit: int | None = None,
    shuffle_buffer: int = 0,
    seed: int = 0,
    paired_only: bool = False,
    real_pictures: str | None = None,
    concurrency: int = 32,
    ask_again: bool = False,
    allow_private: bool = False,
) -> Listing:
    """Stream the pictures, row by row: the real one, where it can still be had, and the fakes. One group a row.

    The data set names the real picture by an address alone, and many are dead; `facts` count what became of them. A second
    draw takes them as the first one found them.
    """
    if concurrency < 1:
        raise DatasetError(f"--concurrency should be at least 1; received {concurrency}.")
    wanted = Wanted(hub_split, None, limit, shuffle_buffer, seed, batch_size=_BATCH)
    repository = open_repository(root, wanted)
    missing = [column for column in COLUMNS if column not in repository.features]
    if missing:
        raise DatasetError(
            f"{repository.origin} is not ELSA-D3: it has no column {', '.join(missing)}, but {', '.join(repository.features)}. "
            "For another data set use --dataset hub."
        )
    # The addresses are a thousandth of the data: read on their own they can be far ahead of the pictures.
    addresses = open_repository(repository.origin, replace(wanted, columns=("url",), batch_size=None))
    reals = _Reals(Path(real_pictures).expanduser() if real_pictures else cache_folder() / "fetched", concurrency, allow_private, ask_again)

    def draw(skipped: list[tuple[str, str]], facts: dict[str, Any]) -> Iterator[Sample]:
        rows, became = Counter({"read": 0}), Counter()
        facts |= {"origin": repository.origin, "rows": rows, "real pictures": became, "real pictures kept in": str(reals.store)}
        with closing(reals.of(_address(row) for split in addresses.splits for row in addresses.rows(split))) as found:
            for split in repository.splits:
                for row in repository.rows(split):
                    real = next(found, None)
                    if real is None or real.url != _address(row):
                        raise DatasetError(f"{repository.origin} was changed while it was read. Start again.")
                    rows["read"] += 1
                    became[real.outcome] += 1
                    if real.content is None:
                        rows["left out without a real picture" if paired_only else "kept without a real picture"] += 1
                    if real.content is not None or not paired_only:
                        yield from _samples(repository, row, real.content, split, skipped)
        reals.settled = True

    pictures = len(GENERATORS) + 1
    return stream(draw, repository.total and repository.total * pictures)


def _address(row: dict[str, Any]) -> str:
    return row["url"] or ""


def _samples(
    repository: Repository, row: dict[str, Any], real: bytes | None, split: str, skipped: list[tuple[str, str]]
) -> Iterator[Sample]:
    group = f"{split}/{row['id']}"
    if real is not None:
        yield Sample(row["url"], f"{group}/real", REAL, SOURCE, group, split_of_word(split), content=real)
    for i in GENERATORS:
        name = f"{group}/gen{i}"
        content = repository.stored_bytes(row[f"image_gen{i}"])
        if isinstance(content, str):
            skipped.append((name, content))
        else:
            generator = (row[f"model_gen{i}"] or f"gen{i}").rpartition("/")[2]  # CompVis/stable-diffusion-v1-4
            yield Sample(name, name, FAKE, generator, group, split_of_word(split), content=content)


@dataclass
class _Reals:
    """The real pictures by address: fetched by the first draw, and as that one found them for those that follow."""

    store: Path
    concurrency: int
    allow_private: bool
    ask_again: bool
    settled: bool = False

    def of(self, urls: Iterator[str]) -> Iterator[Fetched]:
        """What became of each, in their order."""
        if self.settled:
            with PictureStore(self.store) as store:
                yield from (store.recall(url) or Fetched(url, "error", detail="its file is gone") for url in urls)
            return
        with Fetcher(self.store, allow_private=self.allow_private, concurrency=self.concurrency) as fetcher:
            if self.ask_again:
                fetcher.store.forget(*MAY_PASS, "refused")
            elif self.allow_private:
                fetcher.store.forget_addresses()
            yield from fetcher.fetch(urls)
