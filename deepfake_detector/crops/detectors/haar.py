"""OpenCV's cascade of Haar features (Viola & Jones, CVPR 2001): no network and no landmarks; a second opinion, asked for by name."""

from __future__ import annotations

import functools
import threading

import numpy as np
from PIL import Image

from deepfake_detector.crops.detectors import SEARCH_FACE, Face, shrunk, without_versions
from deepfake_detector.errors import WeightsUnavailable

FINDS_EYES = False
CASCADE = "haarcascade_frontalface_alt2.xml"
STEP, NEIGHBOURS = 1.1, 3  # between the sizes that are tried; overlapping finds that make a face. Chosen by benchmarks/faces.py

_local = threading.local()  # a cascade holds the picture that it searches: one a thread

identify = functools.partial(without_versions, "haar")


def find(picture: Image.Image) -> list[Face]:
    """The faces in an RGB picture, in no order; none is an empty list. Safe to call from many threads."""
    searched, scale = shrunk(picture)
    cascade = _cascade()
    import cv2

    grey = cv2.equalizeHist(cv2.cvtColor(np.asarray(searched), cv2.COLOR_RGB2GRAY))
    boxes, _, weights = cascade.detectMultiScale3(
        grey, scaleFactor=STEP, minNeighbors=NEIGHBOURS, minSize=(SEARCH_FACE, SEARCH_FACE), outputRejectLevels=True
    )
    faces = []
    for (left, top, width, height), weight in zip(np.asarray(boxes).tolist(), np.ravel(weights).tolist(), strict=True):
        right, bottom = min((left + width) / scale, picture.width), min((top + height) / scale, picture.height)
        faces.append(Face((left / scale, top / scale, right, bottom), weight))
    return faces


def _cascade():
    if not hasattr(_local, "cascade"):
        import cv2

        cv2.setNumThreads(1)  # the callers are threads already
        cascade = cv2.CascadeClassifier(cv2.data.haarcascades + CASCADE)
        if cascade.empty():
            raise WeightsUnavailable(
                f"OpenCV {cv2.__version__} has no {CASCADE}: version 5 dropped it. Install opencv-python-headless as in requirements.txt."
            )
        _local.cascade = cascade
    return _local.cascade
