"""The largest face of the picture as its one region."""

from __future__ import annotations

from PIL.Image import Image

from deepfake_detector.crops import Region, _mtcnn

KEY = f"largest_face ({_mtcnn.SETTINGS})"


def crop(picture: Image) -> list[Region]:
    """RGB picture → its largest face; raises NoFace."""
    return _mtcnn.regions(picture)[:1]
