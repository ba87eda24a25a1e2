"""A data set → a table: every labelled picture through crop, encoder and cache, and an account of what was left out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import table
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Content, Embedder, Timing
from deepfake_detector.errors import DatasetError
from deepfake_detector.frames import Shot, shots
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
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0


def extract(
    listing: Listing,
    embedder: Embedder,
    out: str,
    command: str = "",
    progress: Callable[[int], object] = lambda done: None,
    views: int = 0,
    sampling: Sampling | None = None,
) -> Extraction:
    """Embed the samples of a data set in order into the table `out`.

    A sample that is a clip gives a row for each frame that `sampling` chooses; `progress` counts samples. Behind them come
    `views` degraded copies of each picture outside the test split, for training (see degrade.py).
    Whatever is killed meanwhile is in the cache up to the last full batch, so the next run goes on from there.
    """
    table.check_ending(out)
    done = Extraction()
    manifest: dict[str, Any] = {"crop": embedder.crop, "views": views, "command": command, "versions": versions()}
    began = time.perf_counter()
    rows = chain(
        _rows(listing, embedder, done, manifest, progress, sampling),
        _view_rows(listing.samples, embedder, views, done, progress, sampling),
    )
    done.rows = table.write(out, rows, embedder.encoder.spec, manifest, video=_has_video(listing))
    done.seconds = time.perf_counter() - began
    return done


def _view_rows(
    samples: Iterable[Sample],
    embedder: Embedder,
    views: int,
    done: Extraction,
    progress: Callable[[int], object],
    sampling: Sampling | None,
) -> Iterator[table.Row]:
    """The rows of the degraded copies; whatever could not be read is reported with the pictures themselves."""
    for view in (f"augment{i}" for i in range(views)):
        degrading = replace(embedder, crop=f"{embedder.crop}+{view}")
        learnt_from = (s for s in samples if s.split != "test")
        last = -1
        for embedded in degrading.embed(shots(learnt_from, _path, sampling), _read, done.timing):
            shot = embedded.item
            progress(shot.number != last)
            last = shot.number
            if not embedded.error:
                sample = _sample(shot)
                copy = replace(sample, name=f"{sample.name}#{view}", split=VIEW)
                yield from (table.Row(copy, embedded.sha256, vector) for vector in embedded.remembered.vectors)


def embed_samples(
    listing: Listing,
    embedder: Embedder,
    progress: Callable[[int], object] = lambda done: None,
    sampling: Sampling | None = None,
) -> tuple[Embeddings, list[tuple[str, str]]]:
    """Embed the samples in memory, without a table → (embeddings, what was skipped as (name, reason))."""
    done = Extraction()
    rows = list(_rows(listing, embedder, done, {}, progress, sampling))
    columns = table.ROW_COLUMNS + table.VIDEO_COLUMNS if _has_video(listing) else table.ROW_COLUMNS
    frame = pd.DataFrame({column: [row.field(column) for row in rows] for column in columns})
    return Embeddings(frame, np.stack([r.vector for r in rows]), embedder.encoder.spec, embedder.crop), done.skipped


def _has_video(listing: Listing) -> bool:
    return not listing.is_stream and any(sample.video for sample in listing.samples)


def _path(sample: Sample) -> str:
    return sample.path


def _read(shot: Shot[Sample]) -> Content:
    return shot.read()


def _sample(shot: Shot[Sample]) -> Sample:
    """A picture's own sample, or one for this frame of a clip, named as a player would address it."""
    if shot.time is None:
        return shot.item
    return replace(shot.item, name=f"{shot.item.name}#t={f'{shot.time:.6f}'.rstrip('0').rstrip('.')}", time=shot.time)


def _rows(
    listing: Listing,
    embedder: Embedder,
    done: Extraction,
    manifest: dict[str, Any],
    progress: Callable[[int], object],
    sampling: Sampling | None,
) -> Iterator[table.Row]:
    """Yield the rows, and complete `done` and the manifest once they are all drawn."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in LABEL_NAMES}
    seen: dict[bytes, list[Sample]] = {}
    written = 0
    last = -1
    for embedded in embedder.embed(shots(listing.samples, _path, sampling), _read, done.timing):
        shot = embedded.item
        sample = _sample(shot)
        if shot.number != last:
            progress(1)
            done.notes.extend((shot.item.name, note) for note in shot.notes)
        last = shot.number
        if embedded.error:
            done.skipped.append((sample.name, embedded.error))
            continue
        counts[LABEL_NAMES[sample.label]][sample.generator] += 1
        seen.setdefault(bytes.fromhex(embedded.sha256), []).append(sample)
        for vector in embedded.remembered.vectors:
            written += 1
            yield table.Row(sample, embedded.sha256, vector)
    done.skipped = [*listing.skipped, *done.skipped]
    if not written:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in done.skipped[:3])
        raise DatasetError(f"None of the {last + 1} pictures could be embedded ({reasons}). No table was written.")
    twins = [same for same in seen.values() if len(same) > 1]
    done.repeats = sum(len(same) - 1 for same in twins)
    done.contradictions = [[s.name for s in same] for same in twins if len({s.label for s in same}) > 1]
    manifest |= {
        "counts": {label: dict(sorted(by.items())) for label, by in counts.items()},
        "skipped": [{"path": name, "reason": reason} for name, reason in done.skipped],
        "notes": [{"path": name, "note": note} for name, note in done.notes],
        "facts": listing.facts,
        "duplicates": {"repeated_files": done.repeats, "in_both_classes": done.contradictions},
    }
