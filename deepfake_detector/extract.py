"""A data set → a table: every labelled picture through crop, encoder and cache, and an account of what was left out."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import table
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Content, Embedded, Embedder, Timing, Undecoded, read_once, undecoded
from deepfake_detector.errors import DatasetError, UnusablePicture
from deepfake_detector.files import write_atomically, write_bytes
from deepfake_detector.frames import Shot, shots
from deepfake_detector.tracking import NOBODY, Tracker
from deepfake_detector.twins import Twins
from deepfake_detector.types import LABEL_NAMES, VIEW, Embeddings, Sample
from deepfake_detector.versions import versions
from deepfake_detector.video import Sampling


@dataclass
class Extraction:
    """What an extraction did: rows written, `skipped` as (name, reason), duplicates, and where the time went.

    `notes` holds (name, note) for each clip of which not all could be used.
    """

    rows: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    contradictions: list[list[str]] = field(default_factory=list)
    repeats: int = 0
    classes: list[str] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0


def extract(
    listing: Listing,
    embedder: Embedder,
    out: str,
    command: str = "",
    progress: Callable[[int], object] = lambda done: None,
    views: Sequence[str] = (),
    sampling: Sampling | None = None,
    float16: bool = False,
    embed: Embed | None = None,
    data: str = "",
) -> Extraction:
    """Embed the samples of a data set in order into the table `out`, by the engine `embed` (default: `embed_here`).

    A sample that is a clip gives a row for each frame that `sampling` chooses; `progress` counts samples, and their
    copies: behind each picture outside the test split come those in `views`, degraded, for training (see degrade.py). `float16`
    halves the table. `data` is where the samples come from, for the manifest.
    Whatever is killed meanwhile is in the cache up to the last full batch, so the next run goes on from there.
    """
    table.check_target(out, float16)
    done = Extraction()
    manifest: dict[str, Any] = {"crop": embedder.crop, "views": list(views), "command": command, "versions": versions()}
    manifest |= {"data": data} if data else {}
    began = time.perf_counter()
    found = (embed or embed_here)(listing, embedder, sampling, views, done.timing)
    rows = _rows(found, listing, embedder, done, manifest, progress)
    done.rows = table.write(out, rows, embedder.encoder.spec, manifest, _columns(listing, embedder), float16)
    done.seconds = time.perf_counter() - began
    return done


def embed_samples(
    listing: Listing,
    embedder: Embedder,
    progress: Callable[[int], object] = lambda done: None,
    sampling: Sampling | None = None,
) -> tuple[Embeddings, list[tuple[str, str]]]:
    """Embed the samples in memory, without a table → (embeddings, what was skipped as (name, reason))."""
    done = Extraction()
    fields: dict[str, list[Any]] = {column: [] for column in _columns(listing, embedder)}
    vectors = []
    for row in _rows(embed_here(listing, embedder, sampling, (), done.timing), listing, embedder, done, {}, progress):
        for column, values in fields.items():
            values.append(row.field(column))
        vectors.append(row.vector)
    X = np.stack(vectors) if vectors else np.empty((0, embedder.encoder.spec.dim), np.float32)
    return Embeddings(pd.DataFrame(fields), X, embedder.encoder.spec, embedder.crop), done.skipped


def as_files(
    listing: Listing,
    folder: Path,
    sampling: Sampling | None,
    progress: Callable[[int], object],
) -> tuple[Listing, list[tuple[str, str]]]:
    """The same pictures as files that can be gone back to → (these, what is missing of clips as (name, note)).

    Each chosen frame of a clip is a PNG in `folder`, and a stream's pictures lie there as they came; named by their content, and what is
    there is not written again. `progress` counts samples.
    """
    found: list[Sample] = []
    skipped, notes, last = [], [], -1
    for shot in shots(listing.samples, lambda sample: sample.path, sampling):
        sample = _sample(shot)
        if shot.number != last:
            progress(1)
            notes.extend((shot.item.name, note) for note in shot.notes)
        last = shot.number
        if shot.time is None and not listing.is_stream:  # a file of its own, or a clip that can't be read, of which that will be said
            found.append(sample)
            continue
        try:
            found.append(replace(sample, path=str(_kept(shot.read(), folder))))
        except UnusablePicture as error:
            skipped.append((sample.name, str(error)))
    return Listing(found, [*listing.skipped, *skipped], facts=dict(listing.facts)), notes


def _kept(content: Content, folder: Path) -> Path:
    own = undecoded(content)
    file = folder / own.sha256[:2] / own.sha256
    if not file.is_file():
        if isinstance(content, bytes):
            write_bytes(file, content)
        else:
            write_atomically(file, functools.partial(own.decode().image.save, format="PNG"))
    return file


def _columns(listing: Listing, embedder: Embedder) -> tuple[str, ...]:
    video, made = (not listing.is_stream and any(getattr(sample, field) for sample in listing.samples) for field in ("video", "made_from"))
    return table.columns(video, embedder.tracked, made)


def _sample(shot: Shot[Sample]) -> Sample:
    """A picture's own sample, or one for this frame of a clip, named as a player would address it."""
    if shot.time is None:
        return shot.item
    return replace(shot.item, name=f"{shot.item.name}#t={f'{shot.time:.6f}'.rstrip('0').rstrip('.')}", time=shot.time)


@dataclass(frozen=True)
class Take:
    """A shot as it is, or in one of its views."""

    shot: Shot[Sample]
    view: str
    read: Callable[[], Content]


# An engine: what became of each take of a data set, in order, by an embedder's encoder and crop.
Embed = Callable[[Listing, Embedder, Sampling | None, Sequence[str], Timing], Iterator[Embedded[Take]]]


def embed_here(
    listing: Listing, embedder: Embedder, sampling: Sampling | None, views: Sequence[str], timing: Timing
) -> Iterator[Embedded[Take]]:
    """The local engine: all in this process."""
    return embedder.embed(takes(listing.samples, sampling, views), lambda take: take.read(), timing)


def takes(samples: Iterable[Sample], sampling: Sampling | None, views: Sequence[str]) -> Iterator[Take]:
    """Each shot, and if it may be learnt from, its degraded copies behind it; it is read and decoded once for all of them."""
    for shot in shots(samples, lambda sample: sample.path, sampling):
        if not views or shot.item.split == "test":
            yield Take(shot, "", shot.read)
            continue
        read = read_once(shot.read)
        for view in ("", *views):
            yield Take(shot, view, functools.partial(_view, [read], view))


def _view(held: list[Callable[[], Undecoded]], view: str) -> Undecoded:
    read = held.pop()  # taken along, so that the pixels are gone once the last view has seen them
    return replace(read(), view=view)


def _rows(
    found: Iterable[Embedded[Take]],
    listing: Listing,
    embedder: Embedder,
    done: Extraction,
    manifest: dict[str, Any],
    progress: Callable[[int], object],
) -> Iterator[table.Row]:
    """Yield the rows, and complete `done` and the manifest once they are all drawn."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in LABEL_NAMES}
    twins = Twins()
    written = 0
    last: dict[str, int] = {}  # of each view, the number of the sample that came last
    video, tracker = "", Tracker()
    for embedded in found:
        shot, view = embedded.item.shot, embedded.item.view
        sample = _sample(shot)
        if shot.number != last.get(view):
            progress(1)
            done.notes.extend((shot.item.name, note) for note in shot.notes if not view)
        last[view] = shot.number
        vectors, boxes = (embedded.remembered.vectors, embedded.remembered.boxes) if embedded.remembered else ((), NOBODY)
        if view:  # whatever could not be read is reported with the picture itself
            copy = replace(sample, name=f"{sample.name}#{view}", split=VIEW)
            yield from (table.Row(copy, embedded.sha256, vector) for vector in vectors)
            continue
        if sample.video != video:
            video, tracker = sample.video, Tracker()
        tracks = tracker.update(boxes) if video and embedder.tracked else [-1] * len(boxes)
        if embedded.error:
            done.skipped.append((sample.name, embedded.error))
            continue
        counts[LABEL_NAMES[sample.label]][sample.generator] += 1
        twins.add(embedded.sha256, sample.label, sample.name)
        for vector, track in zip(vectors, tracks, strict=True):
            written += 1
            yield table.Row(replace(sample, track=track), embedded.sha256, vector)
    done.skipped = [*listing.skipped, *done.skipped]
    if not written:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in done.skipped[:3])
        pictures = last.get("", -1) + 1 or len(done.skipped)  # of a stream that had nothing but what it skipped itself
        raise DatasetError(f"None of the {pictures} pictures could be embedded ({reasons}). Mend that, or name the folder they lie in.")
    done.classes = [label for label, by in counts.items() if by]
    done.repeats, done.contradictions = twins.repeats(), twins.contradictions()
    twins.close()
    manifest |= {
        "counts": {label: dict(sorted(by.items())) for label, by in counts.items()},
        "skipped": [{"path": name, "reason": reason} for name, reason in done.skipped],
        "notes": [{"path": name, "note": note} for name, note in done.notes],
        "facts": dict(listing.facts),
        "duplicates": {"repeated_files": done.repeats, "in_both_classes": done.contradictions},
    }
