"""The whole picture as its one region."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from deepfake_detector.crops import PictureCrop, Region


@dataclass(frozen=True)
class Crop(PictureCrop):
    """No settings."""

    def __call__(self, picture: Image) -> list[Region]:
        return [Region(picture, (0, 0, *picture.size))]
