"""Every face of the picture as a square region of its own, the largest first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from deepfake_detector import registry
from deepfake_detector.crops import PictureCrop, Region
from deepfake_detector.crops.detectors import Face
from deepfake_detector.errors import NoFace, UnknownName


@dataclass(frozen=True)
class Crop(PictureCrop):
    """Squares around faces.

    `detector` is one of those in detectors/, `mediapipe` with a hash of its model behind an @. `padding` is how much longer
    the square's side is than the longer side of the face's box: 0.3 is the 1.3 of FaceForensics++. Faces of less than `min`
    pixels in the original are left out: blown up to what an encoder takes, they are nothing but blur. `align` turns the square
    about its middle until the eyes are level; that resamples the pixels, and hides traces that a plain cut keeps.
    """

    tracked: ClassVar[bool] = True

    detector: str = "mtcnn"
    padding: float = 0.3
    min: int = 32
    align: bool = False

    def __post_init__(self):
        name, _, version = self.detector.partition("@")
        module = registry.load("crops/detectors", name)
        object.__setattr__(self, "detector", module.identify(version))
        if not 0 <= self.padding <= 1:
            raise UnknownName(f"A face's padding should be a number from 0 to 1. Received: {self.padding:g}.")
        if self.min < 1:
            raise UnknownName(f"The smallest face, min, should be at least 1 pixel. Received: {self.min}.")
        if self.align and not module.FINDS_EYES:
            raise UnknownName(f"Faces can't be aligned with the detector {name}: it finds no eyes. Leave out align, or detector={name}.")

    def __call__(self, picture: Image.Image) -> list[Region]:
        """RGB picture → its faces; raises NoFace."""
        return [self._cut(picture, face) for face in self._find(picture)]

    def _find(self, picture: Image.Image) -> list[Face]:
        """At least one; the largest first."""
        found = registry.load("crops/detectors", self.detector.partition("@")[0]).find(picture)
        faces = sorted((face for face in found if face.side >= self.min), key=lambda face: (-face.side, face.box))
        if not faces:
            raise NoFace(f"no face of at least {self.min} pixels found; leave it out, or take a model or a crop that needs none")
        return faces

    def _cut(self, picture: Image.Image, face: Face) -> Region:
        """A square around the face, moved inside the picture where it fits, and cut short where it doesn't."""
        side = (1 + self.padding) * face.side
        spans = []
        for low, high, length in ((face.box[0], face.box[2], picture.width), (face.box[1], face.box[3], picture.height)):
            start = round(min(max((low + high - side) / 2, 0), max(length - side, 0)))
            spans.append((start, min(length, start + round(side))))
        (left, right), (top, bottom) = spans
        box = (left, top, right, bottom)
        return Region(_turned(picture, box, face.eyes) if self.align else picture.crop(box), box)


def _turned(picture: Image.Image, box: tuple[int, int, int, int], eyes: tuple[tuple[float, float], tuple[float, float]]) -> Image.Image:
    """The box's contents, turned about its middle so that the eyes are level; beyond the picture's edge it is mirrored."""
    import cv2

    left, top, right, bottom = box
    (x1, y1), (x2, y2) = eyes
    middle = ((left + right - 1) / 2, (top + bottom - 1) / 2)
    move = cv2.getRotationMatrix2D(middle, math.degrees(math.atan2(y2 - y1, x2 - x1)), 1)  # (2, 3)
    move[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    return Image.fromarray(cv2.warpAffine(np.asarray(picture), move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))
