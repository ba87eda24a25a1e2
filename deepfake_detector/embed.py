"""Bytes → regions → vectors, remembered: the one path by which a picture becomes an embedding, for every door.

Threads read, hash, look up, decode, crop and resize ahead of the encoder; the encoder only ever sees full batches of
what the cache did not know; results come out in the order in which the pictures went in.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from deepfake_detector import crops, degrade
from deepfake_detector.cache import Cache, Remembered, cache_key
from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.errors import CacheError, UnusablePicture
from deepfake_detector.images import Picture, check_file_size, open_picture, reading
from deepfake_detector.once import Once

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_MAX_WAITING = 2048  # results held back for the order's sake before a part-filled batch is encoded


@dataclass(frozen=True)
class Undecoded:
    """A picture that is decoded only if nobody remembers it. `sha256` stands for its content; `decode` may raise as `read` may.

    `reading` names how its pixels are read where they once were read otherwise, "" where they never were. `view` names a degradation
    that it goes through before it is cropped, "" for none.
    """

    sha256: str
    decode: Callable[[], Picture]
    reading: str = ""
    view: str = ""

    @property
    def way(self) -> str:
        """All that becomes of the content before it is cropped."""
        return "+".join(filter(None, (self.reading, self.view)))


Content = bytes | Undecoded


def undecoded(content: Content) -> Undecoded:
    """A file's bytes as a picture to be decoded."""
    if isinstance(content, bytes):
        return Undecoded(hashlib.sha256(content).hexdigest(), functools.partial(open_picture, content), reading(content))
    return content


def read_once(read: Callable[[], Content]) -> Callable[[], Undecoded]:
    """Gives what `read` does, which is read and decoded once however often it is asked for."""
    opened = Once(lambda: undecoded(read()))
    decode = Once(lambda: opened().decode())
    return lambda: replace(opened(), decode=decode)


@dataclass
class Embedded(Generic[Item]):
    """What became of one item: `error` is set, or `remembered` is. `cached` says that the encoder was not run for it."""

    item: Item
    sha256: str = ""
    remembered: Remembered | None = None
    cached: bool = False
    error: str | None = None


@dataclass
class Timing:
    """Where the time went, in seconds of the calling thread, and what it did."""

    waiting: float = 0.0
    encoding: float = 0.0
    encoded: int = 0
    cached: int = 0


@dataclass
class Prepared(Generic[Item]):
    """An item on its way: a final result, or the prepared regions that wait for the encoder. `way` is its content's."""

    result: Embedded[Item]
    way: str = ""
    prepared: np.ndarray | None = None  # (regions, …)
    boxes: np.ndarray | None = None  # (regions, 4) int32
    notes: tuple[str, ...] = ()

    def encoded(self, vectors: np.ndarray, cached: bool = False) -> None:
        """(regions, dim) are what the encoder gave for it; they are no result where some of them are no numbers."""
        self.prepared = None  # free the pixels
        if np.isfinite(vectors).all():
            self.result.remembered, self.result.cached = Remembered(vectors, self.boxes, self.notes), cached
        else:
            self.result.error = "the encoder gave numbers for it that are none"


@dataclass
class Embedder:
    """An encoder, a crop and a cache (or None) working together; safe to use from several threads.

    A crop may have settings, and be followed by degradations that the picture goes through first: `faces:padding=0.2+jpeg50`
    (see crops/ and degrade.py). `crop` becomes its full name, by which cache, tables and models know it.
    """

    encoder: PictureEncoder
    crop: str = "whole"
    cache: Cache | None = None
    batch_size: int = 32
    workers: int = field(default_factory=lambda: min(16, 2 * (os.cpu_count() or 1)))

    def __post_init__(self):
        crop, *views = self.crop.split("+")
        self._crop = crops.load(crop)
        self._views = [degrade.view(name) for name in views]
        self.crop = "+".join([self._crop.name, *views])  # as it is written down: with all its settings

    @property
    def tracked(self) -> bool:
        """Whether its regions are persons, to be followed through a clip."""
        return self._crop.tracked

    def embed(self, items: Iterable[Item], read: Callable[[Item], Content], timing: Timing | None = None) -> Iterator[Embedded[Item]]:
        """Yield what became of each item, in order; only one bad picture's own result is lost to it.

        `read` gives an item's content and may raise OSError or UnusablePicture; it is called from the worker threads.
        """
        return self.embed_prepared((functools.partial(self.prepare, item, read) for item in items), timing)

    def embed_prepared(self, prepared: Iterable[Callable[[], Prepared[Item]]], timing: Timing | None = None) -> Iterator[Embedded[Item]]:
        """As `embed`, of the items that these prepare; they are called from the worker threads."""
        timing = timing if timing is not None else Timing()
        _ = self.encoder.spec  # where it needs a weights file that is missing, say so before any thread starts
        ahead: deque[Future[Prepared[Item]]] = deque()
        waiting: deque[Prepared[Item]] = deque()
        misses: dict[bytes, list[Prepared[Item]]] = {}  # of `waiting`: each distinct unknown picture, then its twins
        source, pool = iter(prepared), ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while True:
                ahead.extend(map(pool.submit, itertools.islice(source, 2 * self.batch_size + self.workers - len(ahead))))
                if not ahead:
                    break
                began = time.perf_counter()
                one = ahead.popleft().result()
                timing.waiting += time.perf_counter() - began
                waiting.append(one)
                if one.prepared is not None:
                    self._note_miss(one, misses)
                if sum(len(same[0].prepared) for same in misses.values()) >= self.batch_size or len(waiting) >= _MAX_WAITING:
                    self._encode(misses, timing)
                    misses = {}
                if not misses:
                    yield from self._release(waiting, timing)
            self._encode(misses, timing)
            yield from self._release(waiting, timing)
        finally:
            pool.shutdown(cancel_futures=True)

    def embed_one(self, content: bytes) -> Embedded[None]:
        """One picture's bytes in the calling thread; raises UnusablePicture."""
        one = self.prepare(None, lambda _: content)
        if one.prepared is not None:
            self._encode({self._key(one.result.sha256, one.way): [one]}, Timing())
        if one.result.error:
            raise UnusablePicture(one.result.error)
        return one.result

    def prepare(self, item: Item, read: Callable[[Item], Content]) -> Prepared[Item]:
        """Bytes, hash, cache; and for the unknown: decode, crop, prepare. From any thread; without a cache the spec is not asked for."""
        result = Embedded(item)
        try:
            content = undecoded(read(item))
            result.sha256 = content.sha256
            if known := self._known(result.sha256, content.way):
                result.remembered, result.cached = known, True
                return Prepared(result)
            picture = content.decode()
            image = picture.image
            for view in [*self._views, *([degrade.view(content.view)] if content.view else [])]:
                image = view(image, int(result.sha256[:8], 16))
            regions = self._crop(image)
            prepared = np.stack([self.encoder.prepare(r.picture) for r in regions])
            boxes, notes = np.array([r.box for r in regions], np.int32), (*picture.notes, *(r.note for r in regions if r.note))
            return Prepared(result, content.way, prepared, boxes, notes)
        except UnusablePicture as error:
            result.error = str(error)
        except OSError as error:
            result.error = f"can't be read ({error.strerror or error})"
        return Prepared(result)

    def _key(self, sha256: str, way: str) -> bytes:
        return cache_key(sha256, f"{self.crop}+{way}" if way else self.crop, self.encoder.spec)

    def _known(self, sha256: str, way: str) -> Remembered | None:
        """What the cache has, unless it is damaged."""
        known = self.cache.get(self._key(sha256, way)) if self.cache else None
        return known if known and known.vectors.shape[1] == self.encoder.spec.dim else None

    def _note_miss(self, one: Prepared[Item], misses: dict[bytes, list[Prepared[Item]]]) -> None:
        """Among those to encode, unless a twin was encoded after this one was looked up."""
        key = self._key(one.result.sha256, one.way)
        if key not in misses and (known := self._known(one.result.sha256, one.way)):
            one.result.remembered, one.result.cached, one.prepared = known, True, None
        else:
            misses.setdefault(key, []).append(one)

    def _encode(self, misses: dict[bytes, list[Prepared[Item]]], timing: Timing) -> None:
        """Fill in the results of unknown pictures, each distinct one encoded once, and remember them in one transaction."""
        if not misses:
            return
        began = time.perf_counter()
        firsts = [same[0] for same in misses.values()]
        vectors = self.encoder.encode(np.concatenate([first.prepared for first in firsts]))
        ends = np.cumsum([len(first.prepared) for first in firsts])
        entries = {}
        for (key, same), rows in zip(misses.items(), np.split(vectors, ends[:-1]), strict=True):
            for nth, one in enumerate(same):
                one.encoded(rows, cached=nth > 0)
            if same[0].result.remembered:
                entries[key] = same[0].result.remembered
        if self.cache:
            try:
                self.cache.put(self.encoder.spec.name, entries)
            except CacheError as error:  # a full disk, say; the answers are there all the same
                log.warning("what was embedded is not remembered: %s", error)
        timing.encoding += time.perf_counter() - began
        timing.encoded += len(entries)

    def _release(self, waiting: deque[Prepared[Item]], timing: Timing) -> Iterator[Embedded[Item]]:
        while waiting:
            one = waiting.popleft()
            timing.cached += one.result.cached
            yield one.result


def embed_by_each(embedders: Sequence[Embedder], items: Iterable[Item], read: Callable[[Item], Content]) -> list[Iterator[Embedded[Item]]]:
    """What became of each item by each embedder, in order; it is read and decoded once for all of them.

    Best drawn from in step: what another has yet to encode is held, as its encoder takes it.
    """

    def prepare(item: Item) -> list[Prepared[Item]]:
        content = read_once(lambda: read(item))
        return [embedder.prepare(item, lambda _: content()) for embedder in embedders]

    shared = itertools.tee((Once(functools.partial(prepare, item)) for item in items), len(embedders))
    return [
        embedder.embed_prepared(map(functools.partial(_nth, nth), own))
        for nth, (embedder, own) in enumerate(zip(embedders, shared, strict=True))
    ]


def _nth(nth: int, prepared: Once[list[Prepared[Item]]]) -> Callable[[], Prepared[Item]]:
    return lambda: prepared()[nth]


def read_file(path: str) -> bytes:
    """A file's bytes; refuses one too large to be a picture, and anything that is not a plain file, before opening it."""
    try:
        state = os.stat(path)
    except ValueError as error:
        raise UnusablePicture(f"no file can have this name ({error})") from error
    if not stat.S_ISREG(state.st_mode):
        raise UnusablePicture("not a plain file")  # opening a named pipe would wait for ever
    check_file_size(state.st_size)
    return Path(path).read_bytes()
