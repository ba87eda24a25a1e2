"""What "uncanny valley" measures of faces tell: symmetry, eyes, skin, edges, light and sensor noise, each as a detector by itself.

    python benchmarks/uncanny.py DATA [--split test] [--sources ffhq,unsplash_men,sd21,sdxl]

DATA is a folder or a manifest. The largest face of each picture is levelled by its eyes and brought to 256 pixels. Printed are AUROCs, 0.5
being guessing and less the other way round: of fakes against photographs, and, as a control, of the sources of photographs against each
other. A measure that tells these apart as well as fakes from photographs knows cameras and processing, not generators.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import cv2
import numpy as np
from _input import in_words, pictures
from PIL import Image

from deepfake_detector import crops
from deepfake_detector.embed import read_file
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.images import open_picture
from deepfake_detector.metrics import auroc
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL

SIDE = 256
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
# Rows and columns of a levelled face.
_EYES = np.s_[80:125, 60:120], np.s_[80:125, 136:196]
_CHEEKS = np.s_[140:175, 60:100], np.s_[140:175, 156:196]


def asymmetry(face: np.ndarray) -> float:
    """How much its halves differ, beside its contrast."""
    smooth = cv2.GaussianBlur(_grey(face), (0, 0), 4)[48:208, 32:224]
    return float(np.abs(smooth - smooth[:, ::-1]).mean() / smooth.std())


def eyes_differ(face: np.ndarray) -> float:
    left, right = (cv2.GaussianBlur(_grey(face)[eye], (0, 0), 1.5) for eye in _EYES)
    return 1 - float(np.corrcoef(left.ravel(), right[:, ::-1].ravel())[0, 1])


def skin_texture(face: np.ndarray) -> float:
    """The cheeks' finest contrast, beside their brightness."""
    detail = cv2.Laplacian(_grey(face), cv2.CV_32F)
    return float(np.mean([detail[cheek].std() / _grey(face)[cheek].mean() for cheek in _CHEEKS]))


def edges(face: np.ndarray) -> float:
    """How much stronger the strongest are than the usual ones."""
    slope = _slope(face)
    return float(np.percentile(slope, 98) / np.median(slope))


def light_differs(face: np.ndarray) -> float:
    left, right = (_grey(face)[cheek].mean() for cheek in _CHEEKS)
    return float(abs(left - right) / _grey(face).mean())


def noise(face: np.ndarray) -> float:
    """What a median filter takes off where nothing else is."""
    return float(_grain(face).std())


def noise_alike(face: np.ndarray) -> float:
    """How much the noise of red and blue is the same."""
    grain = _grain(face)
    return float(np.corrcoef(grain[:, 0], grain[:, 2])[0, 1])


MEASURES: tuple[Callable[[np.ndarray], float], ...] = (asymmetry, eyes_differ, skin_texture, edges, light_differs, noise, noise_alike)


def _grey(face: np.ndarray) -> np.ndarray:
    return face @ _GREY


def _slope(face: np.ndarray) -> np.ndarray:
    across, down = (cv2.Sobel(_grey(face), cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    return np.hypot(across, down)


def _grain(face: np.ndarray) -> np.ndarray:
    """(n, 3) of the flattest pixels."""
    smooth = cv2.medianBlur(face.astype(np.uint8), 3)
    slope = _slope(face)
    return (face - smooth)[cv2.GaussianBlur(slope, (0, 0), 3) < np.percentile(slope, 40)]


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", help="only the pictures of this split")
    parser.add_argument("--sources", help="only these generators and sources of photographs, by comma")
    arguments = parser.parse_args()
    asked = arguments.sources.split(",") if arguments.sources else None
    crop = crops.load("largest_face:align")
    labels, sources, found = [], [], []
    for sample in pictures(arguments.data, arguments.split):
        if asked and sample.generator not in asked:
            continue
        try:
            [region] = crop(open_picture(read_file(sample.path)).image)
        except UnusablePicture:  # most often it has no face
            continue
        face = np.asarray(region.picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
        found.append([measure(face) for measure in MEASURES])
        labels.append(sample.label)
        sources.append(sample.generator)
    truth, source, values = np.array(labels), np.array(sources), np.array(found)
    if len(set(labels)) < 2:
        counts = " and ".join(f"{labels.count(label)} {name}" for label, name in enumerate(LABEL_NAMES))
        parser.error(f"{arguments.data} should show faces in real and in fake pictures; there are {counts} ones with a face. Add some.")
    photographs = sorted(set(source[truth == REAL]))
    print(", ".join(f"{name} {np.sum(source == name)}" for name in sorted(set(source))))
    pairs = list(itertools.combinations(photographs, 2))
    print(f"| measure | fakes | {' | '.join(f'{one} against {other}' for one, other in pairs)} |\n|---|---|{'---|' * len(pairs)}")
    for i, measure in enumerate(MEASURES):
        controls = [_apart(values[source == one, i], values[source == other, i]) for one, other in pairs]
        shown = [_apart(values[truth == REAL, i], values[truth == FAKE, i]), *controls]
        print(f"| {measure.__name__} | {' | '.join(f'{area:.3f}' for area in shown)} |")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return auroc(np.repeat([REAL, FAKE], [len(one), len(other)]), np.concatenate([one, other]))


if __name__ == "__main__":
    main()
