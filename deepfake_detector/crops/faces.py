"""Every face of the picture as a region of its own, the largest first."""

from __future__ import annotations

from PIL.Image import Image

from deepfake_detector.crops import Region, _mtcnn

KEY = f"faces ({_mtcnn.SETTINGS})"


def crop(picture: Image) -> list[Region]:
    """RGB picture → its faces; raises NoFace."""
    return _mtcnn.regions(picture)
