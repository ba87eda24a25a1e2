"""The largest face of the picture as its one region."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from deepfake_detector.crops import Region, faces


@dataclass(frozen=True)
class Crop(faces.Crop):
    """The settings are those of `faces`."""

    def __call__(self, picture: Image) -> list[Region]:
        """RGB picture → its largest face; raises NoFace."""
        return [self._cut(picture, self._find(picture)[0])]
