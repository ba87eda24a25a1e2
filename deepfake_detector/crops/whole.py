"""The whole picture as its one region."""

from __future__ import annotations

from PIL.Image import Image

from deepfake_detector.crops import Region


def crop(picture: Image) -> list[Region]:
    """RGB picture → itself."""
    return [Region(picture, (0, 0, *picture.size))]
