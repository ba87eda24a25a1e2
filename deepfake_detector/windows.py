"""Windows of 224 pixels out of a picture: where they lie, and what they show."""

from __future__ import annotations

from math import ceil

from PIL.Image import Image, Resampling

PIXELS = 224
SHORT = 2 * PIXELS  # windows are cut at this shorter side, where the picture has as much
BLOCK = 16  # JPEG's, with halved colours
_MOST = 24  # windows in a row, so that a panorama takes no minutes


def window(picture: Image, across: float, down: float) -> Image:
    """224×224 pixels out of the picture, as if a shorter side above 448 were scaled down to 448, or one below 224 up to 224.

    `across` and `down` say where: 0 is left or top, 1 right or bottom.
    """
    left, top, side = place(picture.size, across, down)
    return picture.resize((PIXELS, PIXELS), Resampling.LANCZOS, (left, top, left + side, top + side))


def place(size: tuple[int, int], across: float, down: float) -> tuple[int, int, float]:
    """Left, top and side of a window, in pixels of a picture of this width and height.

    Where pixels stay as they are it begins with one of JPEG's blocks, or else how these lie in a window would tell pictures apart by
    their size.
    """
    short = min(size)
    side = PIXELS * short / min(max(short, PIXELS), SHORT)
    step = BLOCK if side == PIXELS else 1
    left, top = (int((length - side) * share) // step * step for length, share in zip(size, (across, down), strict=True))
    return left, top, side


def all_over(size: tuple[int, int]) -> list[tuple[float, float]]:
    """(across, down) of windows over all of a picture of this width and height, row by row; each overlaps the next by half or more."""
    side = place(size, 0, 0)[2]
    counts = [min(_MOST, ceil(2 * (length - side) / side) + 1) for length in size]
    across, down = ([i / max(1, count - 1) for i in range(count)] for count in counts)
    return [(x, y) for y in down for x in across]
