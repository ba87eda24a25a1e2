"""A data set → a table: every labelled picture through crop, encoder and cache, and an account of what was left out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import table
from deepfake_detector.embed import Embedder, Timing, read_file
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import LABEL_NAMES, VIEW, Embeddings, Sample
from deepfake_detector.versions import versions


@dataclass
class Extraction:
    """What an extraction did: rows written, `skipped` as (name, reason), duplicates, and where the time went."""

    rows: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    contradictions: list[list[str]] = field(default_factory=list)
    repeats: int = 0
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0


def extract(
    samples: list[Sample],
    embedder: Embedder,
    out: str,
    skipped: list[tuple[str, str]] | None = None,
    command: str = "",
    progress: Callable[[int], object] = lambda done: None,
    views: int = 0,
) -> Extraction:
    """Embed the samples in order into the table `out`. `skipped` starts with what the data set itself left out.

    Behind them come `views` degraded copies of each picture outside the test split, for training (see degrade.py).
    Whatever is killed meanwhile is in the cache up to the last full batch, so the next run goes on from there.
    """
    table.check_ending(out)
    done = Extraction(skipped=list(skipped or []))
    manifest: dict[str, Any] = {"crop": embedder.crop, "views": views, "command": command, "versions": versions()}
    began = time.perf_counter()
    rows = chain(_rows(samples, embedder, done, manifest, progress), _view_rows(samples, embedder, views, done, progress))
    done.rows = table.write(out, rows, embedder.encoder.spec, manifest)
    done.seconds = time.perf_counter() - began
    return done


def _view_rows(
    samples: list[Sample], embedder: Embedder, views: int, done: Extraction, progress: Callable[[int], object]
) -> Iterator[table.Row]:
    """The rows of the degraded copies; whatever could not be read is reported with the pictures themselves."""
    for view in (f"random{i}" for i in range(views)):
        degrading = replace(embedder, crop=f"{embedder.crop}+{view}")
        learnt_from = (s for s in samples if s.split != "test")
        for embedded in degrading.embed(learnt_from, lambda sample: read_file(sample.path), done.timing):
            progress(1)
            if not embedded.error:
                copy = replace(embedded.item, name=f"{embedded.item.name}#{view}", split=VIEW)
                yield from (table.Row(copy, embedded.sha256, vector) for vector in embedded.remembered.vectors)


def embed_samples(
    samples: list[Sample], embedder: Embedder, progress: Callable[[int], object] = lambda done: None
) -> tuple[Embeddings, list[tuple[str, str]]]:
    """Embed the samples in memory, without a table → (embeddings, what was skipped as (name, reason))."""
    done = Extraction()
    rows = list(_rows(samples, embedder, done, {}, progress))
    columns = {column: [getattr(r.sample, "name" if column == "path" else column) for r in rows] for column in table.ROW_COLUMNS[:-1]}
    frame = pd.DataFrame(columns | {"sha256": [r.sha256 for r in rows]})
    return Embeddings(frame, np.stack([r.vector for r in rows]), embedder.encoder.spec, embedder.crop), done.skipped


def _rows(
    samples: list[Sample], embedder: Embedder, done: Extraction, manifest: dict[str, Any], progress: Callable[[int], object]
) -> Iterator[table.Row]:
    """Yield the rows, and complete `done` and the manifest once they are all drawn."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in LABEL_NAMES}
    seen: dict[bytes, list[Sample]] = {}
    written = 0
    for embedded in embedder.embed(samples, lambda sample: read_file(sample.path), done.timing):
        progress(1)
        sample = embedded.item
        if embedded.error:
            done.skipped.append((sample.name, embedded.error))
            continue
        counts[LABEL_NAMES[sample.label]][sample.generator] += 1
        seen.setdefault(bytes.fromhex(embedded.sha256), []).append(sample)
        for vector in embedded.remembered.vectors:
            written += 1
            yield table.Row(sample, embedded.sha256, vector)
    if not written:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in done.skipped[:3])
        raise DatasetError(f"None of the {len(samples)} pictures could be embedded ({reasons}). No table was written.")
    twins = [same for same in seen.values() if len(same) > 1]
    done.repeats = sum(len(same) - 1 for same in twins)
    done.contradictions = [[s.name for s in same] for same in twins if len({s.label for s in same}) > 1]
    manifest |= {
        "counts": {label: dict(sorted(by.items())) for label, by in counts.items()},
        "skipped": [{"path": name, "reason": reason} for name, reason in done.skipped],
        "duplicates": {"repeated_files": done.repeats, "in_both_classes": done.contradictions},
    }
