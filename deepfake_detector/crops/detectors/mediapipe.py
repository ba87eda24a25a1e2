"""MediaPipe's BlazeFace (Bazarevsky et al., 2019), where the user has installed the package and a model; neither comes with us.

    pip install --no-deps mediapipe absl-py flatbuffers

and a face detector's .tflite file (blaze_face_short_range.tflite, say) as face_detector.tflite in the cache folder. Without
`--no-deps` pip would put another OpenCV over ours. A short fingerprint of the model's file is part of the detector's name.
"""

from __future__ import annotations

import atexit
import importlib.util
import threading

import numpy as np
from PIL import Image

from deepfake_detector.crops.detectors import Face
from deepfake_detector.errors import WeightsUnavailable
from deepfake_detector.weights import cache_folder, file_sha256

FINDS_EYES = True
MODEL = "face_detector.tflite"
CONFIDENCE = 0.5  # MediaPipe's own

_making = threading.Lock()
_made = None


def identify(version: str) -> str:
    """`mediapipe@` and the fingerprint of the model at hand; raises WeightsUnavailable for none, or another than `version`."""
    if importlib.util.find_spec("mediapipe") is None:
        raise WeightsUnavailable(
            "The face detector mediapipe is not installed: pip install --no-deps mediapipe absl-py flatbuffers, or use detector=mtcnn."
        )
    model = cache_folder() / MODEL
    if not model.is_file():
        raise WeightsUnavailable(
            f"The face detector mediapipe needs a model: put blaze_face_short_range.tflite (from MediaPipe's site) at {model}, "
            "or use detector=mtcnn."
        )
    here = file_sha256(model)[:8]
    if version not in ("", here):
        raise WeightsUnavailable(f"This crop takes the MediaPipe model with the fingerprint {version}; {model} is another, {here}.")
    return f"mediapipe@{here}"


def find(picture: Image.Image) -> list[Face]:
    """The faces in an RGB picture, with eyes and nose, in no order; none is an empty list. Safe to call from many threads."""
    import mediapipe

    shown = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
    faces = []
    for one in _detector().detect(shown).detections:
        place = one.bounding_box
        left, top = max(0, place.origin_x), max(0, place.origin_y)
        right, bottom = min(place.origin_x + place.width, picture.width), min(place.origin_y + place.height, picture.height)
        landmarks = tuple((point.x * picture.width, point.y * picture.height) for point in one.keypoints[:3])
        faces.append(Face((left, top, right, bottom), one.categories[0].score, landmarks))
    return faces


def _detector():
    """One for all threads: it works on one picture at a time anyway."""
    global _made
    with _making:
        if _made is None:
            from mediapipe.tasks.python import BaseOptions, vision

            model = cache_folder() / MODEL
            try:
                options = vision.FaceDetectorOptions(BaseOptions(str(model)), min_detection_confidence=CONFIDENCE)
                _made = vision.FaceDetector.create_from_options(options)
            except (OSError, RuntimeError, ValueError) as error:
                raise WeightsUnavailable(f"{model} is no face detector that MediaPipe can use ({error}).") from error
            atexit.register(setattr, _made, "_handle", None)  # it would close itself too late in the interpreter's end, and complain
        return _made
