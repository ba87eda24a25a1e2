"""The middle of the picture at twice the resolution that an encoder sees the whole at: less content, more of the pixels' own traces."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image, Resampling

from deepfake_detector.crops import PictureCrop, Region

SIDE = 224  # what the encoders take: the region reaches them as it is, not resampled once more
SHORT = 2 * SIDE


@dataclass(frozen=True)
class Crop(PictureCrop):
    """The middle 224×224 pixels, as if a shorter side above 448 were scaled down to 448, or one below 224 up to 224. No settings."""

    def __call__(self, picture: Image) -> list[Region]:
        short = min(picture.size)
        side = SIDE * short / min(max(short, SIDE), SHORT)  # in the picture's own pixels
        left, top = (round((length - side) / 2) for length in picture.size)
        box = (left, top, left + side, top + side)
        region = picture.resize((SIDE, SIDE), Resampling.LANCZOS, box)
        return [Region(region, (left, top, round(left + side), round(top + side)))]
