"""Windows of 224 pixels over all of the picture proper, each of which overlaps the next: to look at a picture part by part."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image

from deepfake_detector.crops import PictureCrop, Region, unframed
from deepfake_detector.windows import all_over, place, window


@dataclass(frozen=True)
class Crop(PictureCrop):
    """No settings. What frames the picture is cut off first, as by `unframed`."""

    def __call__(self, picture: Image) -> list[Region]:
        [proper] = unframed.Crop()(picture)
        return [Region(window(proper.picture, *at), _box(proper, *at)) for at in all_over(proper.picture.size)]


def _box(proper: Region, across: float, down: float) -> tuple[int, int, int, int]:
    left, top, side = place(proper.picture.size, across, down)
    left, top = left + proper.box[0], top + proper.box[1]
    return (left, top, min(proper.box[2], round(left + side)), min(proper.box[3], round(top + side)))
