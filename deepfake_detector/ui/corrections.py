"""What a visitor says that pictures are, one by one, kept as numbers until there are enough to learn: no file has to wait for the tenth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import adapt, table
from deepfake_detector.datasets import Listing
from deepfake_detector.errors import TrainingError
from deepfake_detector.extract import embed_samples
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Embeddings, Sample

if TYPE_CHECKING:
    from deepfake_detector.detect import Detector


@dataclass(frozen=True, eq=False)
class Correction:
    """One picture, embedded, and the label that it was given; a row for each of its regions. `name` is its file's."""

    label: int
    name: str
    picture: Embeddings


Corrections = Mapping[str, Correction]  # by the picture's SHA-256


def corrected(detector: Detector, path: str, label: int | None, so_far: Corrections) -> tuple[Corrections, str]:
    """`so_far` with the picture in this file as one of `label`, or without it for None; and what to tell the visitor.

    Raises TrainingError for a model that can't learn, or a picture that it has learnt, or has nothing to look at in.
    """
    adapt.recall_of(detector.bundle)
    picture, skipped = embed_samples(Listing([Sample(path, path, label or REAL, "", path)]), detector.embedder)
    if skipped:
        raise TrainingError(f"It can't be learnt: {skipped[0][1]}.")
    if detector.bundle.has_learnt(picture.rows).any():
        raise TrainingError(f"The model {detector.bundle.name} has learnt this very picture already.")
    sha256 = picture.rows["sha256"].iloc[0]
    known = {key: one for key, one in so_far.items() if key != sha256}
    if label is None:
        return known, f"Taken back. {_enough(known)}"
    known[sha256] = Correction(label, Path(path).name, picture)
    return known, f"Noted as {LABEL_NAMES[label]}. {_enough(known)}"


def told(corrections: Corrections) -> str:
    """How many there are of each kind, as "2 real and 1 fake"; empty for none."""
    counts = Counter(LABEL_NAMES[one.label] for one in corrections.values())
    return " and ".join(f"{counts[name]} {name}" for name in LABEL_NAMES if counts[name])


def beside(shown: Embeddings | None, corrections: Corrections, names: Mapping[int, str]) -> Embeddings:
    """The pictures `shown` and, after them, those of the corrections that are not among them, as of the source or generator of that name.

    Corrections of a class that has fewer pictures than can be learnt, and none that were shown, wait for more. Raises TrainingError where
    nothing is left, or where a picture is shown as what it is said not to be.
    """
    there = {} if shown is None else dict(zip(shown.rows["sha256"], shown.rows["label"], strict=True))
    if contradicted := [one.name for sha256, one in corrections.items() if there.get(sha256, one.label) != one.label]:
        raise TrainingError(
            f"What lies in the boxes you called otherwise before: {', '.join(contradicted[:5])}{', …' * (len(contradicted) > 5)}. Take it "
            "out of the box, or forget what you said."
        )
    asked_for = set(there.values())
    counts = Counter(one.label for one in corrections.values())
    parts = [] if shown is None else [shown]
    for sha256, one in corrections.items():
        if sha256 not in there and (one.label in asked_for or counts[one.label] >= adapt.FEWEST):
            name = names[one.label]
            rows = one.picture.rows.assign(generator=name, group=f"{name}/{sha256}", path=f"{name}/{sha256}")
            parts.append(Embeddings(rows, one.picture.X, one.picture.spec, one.picture.crop))
    if not parts:
        raise TrainingError(f"There are {told(corrections)} pictures; learning takes {adapt.FEWEST} of a kind. Add some.")
    return table.joined(parts)


def _enough(corrections: Corrections) -> str:
    counts = Counter(one.label for one in corrections.values())
    if max(counts[REAL], counts[FAKE]) >= adapt.FEWEST:
        return f"{told(corrections)} so far: the tab *Teach it* can learn them."
    so_far = f"{told(corrections)} so far" if corrections else "None so far"
    return f"{so_far}; from {adapt.FEWEST} of a kind on the tab *Teach it* can learn them."
