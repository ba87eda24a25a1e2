"""Does the map of a picture's parts show which part was changed? Fakes of each generator are put into a part of photographs.

    python benchmarks/heat_map.py DATA [--model models/default] [--photographs 40]

DATA is a labelled folder or manifest, of which the test split is taken where it has one. A square of half the shorter side, at a place
drawn by lot, is filled with the middle of another picture: of another photograph (which is a change, too, but by no generator), or of a
fake; a fake that was made of the same photograph gives its own pixels there. All are saved as JPEG 90, also those left as they are.
Printed is, by what was put in, of the pictures:

    map             mean AUROC of windows at least half of which the square fills against all others, by their probabilities
    found           share in which the most suspicious window shares half of the square or more; beside it, the share by chance
    a part fake     share with any window called fake by the model's threshold
    whole           shares that the model calls fake, real by its answer about the whole picture
"""

from __future__ import annotations

import argparse
import io
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from _input import at_least_one, in_words, opened
from PIL import Image

from deepfake_detector.datasets.folder import scan
from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.errors import DatasetError
from deepfake_detector.metrics import auroc
from deepfake_detector.types import FAKE, REAL, Part, Sample

Box = tuple[int, int, int, int]


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--photographs", type=at_least_one, default=40)
    arguments = parser.parse_args()
    samples = scan(arguments.data).samples
    samples = [sample for sample in samples if sample.split == "test"] or samples
    detector, outcomes = Detector(arguments.model), defaultdict(list)
    # All at once, so that one that can't be read is met before the minutes that judging takes.
    for name, picture, square in list(changed(samples, arguments.photographs, np.random.default_rng(0))):
        outcomes[name].append(outcome(detector, picture, square))
    print("| put in | pictures | map | found (by chance) | a part fake | whole: fake, real |\n|---|---|---|---|---|---|")
    for name, rows in outcomes.items():
        area, found, chance, part, fake, real = np.nanmean(rows, axis=0)
        shares = f"{found:.0%} ({chance:.0%}) | {part:.0%} | {fake:.0%}, {real:.0%}"
        print(f"| {name} | {len(rows)} | {area:.3f} | {shares} |", flush=True)


def changed(samples: list[Sample], count: int, rng: np.random.Generator) -> Iterable[tuple[str, bytes, Box]]:
    """(what was put in, the picture's file, where), for each photograph and each kind."""
    by_source = defaultdict(list)
    for sample in samples:
        by_source[sample.label, sample.generator].append(sample)
    photographs = [sample for label, name in sorted(by_source) if label == REAL for sample in by_source[label, name]]
    photographs = [photographs[i] for i in rng.permutation(len(photographs))[:count]]
    if len(photographs) < 2:
        raise DatasetError(f"Expected at least two photographs, to put a part of one into another. Received: {len(photographs)}. Add some.")
    for number, photograph in enumerate(photographs):
        picture = opened(photograph.path)
        side = min(picture.size) // 2
        left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
        square = (left, top, left + side, top + side)
        yield "nothing", saved(picture), square
        yield "a photograph", saved(with_square(picture, opened(photographs[number - 1].path), square)), square
        for label, name in sorted(by_source):
            if label == FAKE:
                fakes = by_source[label, name]
                own = [fake for fake in fakes if fake.group == photograph.group]
                if own:
                    yield name, saved(with_square(picture, opened(own[0].path), square, square)), square
                elif not any(fake.group == other.group for fake in fakes for other in photographs):
                    yield name, saved(with_square(picture, opened(fakes[number % len(fakes)].path), square)), square


def with_square(picture: Image.Image, other: Image.Image, square: Box, taken: Box | None = None) -> Image.Image:
    """The picture with a square of another: of the same place, or from its middle, scaled up if it is too small."""
    side, short = square[2] - square[0], min(other.size)
    if taken is None:
        if short < side:
            other = other.resize([-(-length * side // short) for length in other.size], Image.Resampling.LANCZOS)
        left, top = ((length - side) // 2 for length in other.size)
        taken = (left, top, left + side, top + side)
    whole = picture.copy()
    whole.paste(other.crop(taken), square[:2])
    return whole


def saved(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def outcome(detector: Detector, picture: bytes, square: Box) -> list[float]:
    parts, thresholds = detector.parts(picture), detector.bundle.thresholds
    covered = np.array([share(part, square) for part in parts])
    p_fake = np.array([part.p_fake for part in parts])
    inside = covered >= 0.5
    whole = thresholds.answer(float(detector.bundle.p_fake(detector.embedder.embed_one(picture).remembered.vectors).max()))
    area = auroc(inside, p_fake) if 0 < inside.sum() < len(parts) else np.nan
    return [area, inside[0], inside.mean(), p_fake[0] >= thresholds.fake, whole == "fake", whole == "real"]


def share(part: Part, square: Box) -> float:
    """Of the square, that the part shows."""
    width, height = (min(part.box[i + 2], square[i + 2]) - max(part.box[i], square[i]) for i in (0, 1))
    return max(width, 0) * max(height, 0) / (square[2] - square[0]) ** 2


if __name__ == "__main__":
    main()
