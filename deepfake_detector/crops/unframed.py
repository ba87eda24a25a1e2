"""The picture proper, without the bars, the frame or the rest of a screenshot around it, as the one region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from deepfake_detector.crops import PictureCrop, Region

Span = tuple[int, int]

_NEAR = 6  # grey levels within which a pixel is of the frame's colour, as it still is after JPEG
_FAR = 16  # grey levels by which a picture's edge differs from its frame; less may be a wall that grows darker
_PLAIN = 0.98  # share of such pixels above which a line is plain: a scroll bar or a speck of dust does not count
_SHARP = 1 / 2  # share of an edge that does; where a skyline or a thing on white begins it is less
_OUTERMOST = 0.02  # of the picture's side, in which the edge is looked for
_RINGING = 8  # lines over which compression blurs the edge
_GAP = 0.01  # of the side: a plain stretch shorter than that is part of the picture
_SMALLEST = 64  # pixels a side; what would leave less is not taken for a frame
_SAMPLED = 1024  # lines that are looked at, and pixels of each, at most
_ENOUGH = 64  # of these, to tell a line's middle colour
_BLOCK = 16  # JPEG's, with halved colours


@dataclass(frozen=True)
class Crop(PictureCrop):
    """No settings. A line of pixels of one colour is *plain*; the picture lies between plain stretches.

    Of several stretches that are not plain (the time above a photograph on a phone's screen, the words below it) the longest is the
    picture if it is twice as long as any other; of two pictures of about one size both are kept, and what lies between them. A box
    that is cut starts in steps of 16 pixels, so that JPEG's grid lies in it as in a picture that was not cut.
    """

    def __call__(self, picture: Image) -> list[Region]:
        box = _box(picture)
        if box == (0, 0, *picture.size):
            return [Region(picture, box)]
        left, top, right, bottom = box
        kept = f"{right - left} x {bottom - top} of its {picture.width} x {picture.height} pixels"
        return [Region(picture.crop(box), box, f"what frames the picture was cut off: looked at were {kept}")]


def _box(picture: Image) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the picture proper; all of it where nothing is to be cut."""
    step = -(-max(picture.size) // _SAMPLED)
    pixels = np.asarray(picture)[::step, ::step]
    down, across = ((0, length) for length in pixels.shape[:2])
    before = None
    while before != (across, down):  # what lay beside a picture may have hidden what lies above it
        before = across, down
        down = _picture(pixels[slice(*down), slice(*across)], down)
        across = _picture(pixels[slice(*down), slice(*across)].swapaxes(0, 1), across)
    (left, right), (top, bottom) = (_within(span, step, length) for span, length in ((across, picture.width), (down, picture.height)))
    small = right - left < min(_SMALLEST, picture.width) or bottom - top < min(_SMALLEST, picture.height)
    return (0, 0, *picture.size) if small else (left, top, right, bottom)


def _within(span: Span, step: int, length: int) -> Span:
    """What surely lies in the span, of which each `step`-th of so many pixels was looked at; beginning with one of JPEG's blocks."""
    start, end = span[0] * step, span[1] * step
    return start + -start % _BLOCK, length if end >= length else end - step + 1


def _picture(lines: np.ndarray, span: Span) -> Span:
    """(n, m, 3) lines of pixels that take up this span → the part of it with the picture; the span itself where nothing frames it."""
    distance = _from_the_frame(lines)
    plain = (distance <= _NEAR).mean(axis=1) >= _PLAIN
    stretches: list[Span] = []
    for start, end in np.flatnonzero(np.diff(np.r_[True, plain, True])).reshape(-1, 2).tolist():
        if stretches and start - stretches[-1][1] <= _GAP * len(lines):
            start = stretches.pop()[0]
        stretches.append((start, end))
    if not stretches:
        return span
    (start, end), *others = sorted(stretches, key=lambda one: one[0] - one[1])
    if others and end - start < 2 * (others[0][1] - others[0][0]):
        start, end = stretches[0][0], stretches[-1][1]
    found = distance[start:end]
    across = found[:, (found <= _NEAR).mean(axis=0) < _PLAIN] > _FAR  # not what frames it on its other sides
    depth = max(_RINGING, round(_OUTERMOST * (end - start)))
    sharp = [across.size and outermost.mean(axis=1).max() >= _SHARP for outermost in (across[:depth], across[-depth:])]
    return span[0] + (start if sharp[0] else 0), span[0] + (end if sharp[1] else len(lines))


def _from_the_frame(lines: np.ndarray) -> np.ndarray:
    """(n, m, 3) uint8 → (n, m) how many grey levels a pixel is from the colour that most plain lines have; 255 where none is plain."""
    lines = lines.astype(np.int16)
    middle = np.median(lines[:, :: -(-lines.shape[1] // _ENOUGH)], axis=1, keepdims=True).astype(np.int16)  # (n, 1, 3)
    alone = (np.abs(lines - middle).max(axis=2) <= _NEAR).mean(axis=1) >= _PLAIN
    if not alone.any():
        return np.full(lines.shape[:2], 255, np.int16)
    return np.abs(lines - np.median(middle[alone], axis=0).astype(np.int16)).max(axis=2)
