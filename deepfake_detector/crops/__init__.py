"""A picture → the regions to embed: one file a crop, each with a function `crop(picture)` that never returns nothing."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image


@dataclass(frozen=True)
class Region:
    """A part of a picture: RGB pixels, and its box (left, top, right, bottom) in the oriented picture's pixels."""

    picture: Image
    box: tuple[int, int, int, int]
