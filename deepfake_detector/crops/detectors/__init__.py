"""Where the faces are: one file a detector, each with `find(picture)`, `identify(version)` and FINDS_EYES.

A detector's name stands for its weights and for how they search: it is part of what an embedding of a face is. Whoever changes
either makes a new file.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from deepfake_detector.errors import UnknownName

SEARCH_SIDE = 640  # pixels of the longer side of the picture that is searched
SEARCH_FACE = 32  # the smallest face looked for there: a twentieth of the longer side


@dataclass(frozen=True)
class Face:
    """A face's box in the picture's pixels (left, top, right, bottom), and how sure the detector is, by its own measure.

    `landmarks` are (x, y): the eyes, from the picture's left to its right, and whatever more the detector finds.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: tuple[tuple[float, float], ...] = ()

    @property
    def side(self) -> float:
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def eyes(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.landmarks[0], self.landmarks[1]


def shrunk(picture: Image.Image) -> tuple[Image.Image, float]:
    """The picture that is searched, and its share of the original's side, at most 1."""
    scale = min(1.0, SEARCH_SIDE / max(picture.size))
    if scale == 1:
        return picture, scale
    return picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BILINEAR), scale


def without_versions(name: str, version: str) -> str:
    """The name of a detector of which there is one version only; raises UnknownName for another."""
    if version:
        raise UnknownName(f"The face detector {name} comes in no versions. Received: {name}@{version}.")
    return name
