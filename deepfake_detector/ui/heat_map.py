"""Which part of a picture is suspicious: windows over all of it, each judged alone, as colours over it; or else where a model looked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL.Image import Resampling
from scipy.special import expit

from deepfake_detector.images import as_address, open_picture
from deepfake_detector.metrics import log_odds
from deepfake_detector.report.words import percent
from deepfake_detector.types import Looked, Part, Thresholds
from deepfake_detector.windows import BLOCK

SIDE = 480  # pixels of the drawing's longer side
_COLOURS = ((45, 164, 78), (212, 167, 44), (207, 34, 46))  # the bar's, of real, unsure and fake
_STRENGTH = 0.45  # of a colour over the picture
_LOOKED, _STRONGEST = (9, 105, 218), 0.75  # blue, which is none of the bar's colours
_CUT_OFF = 0.35  # how bright is what frames the picture, where no window lies


def heat_map(content: bytes, parts: Sequence[Part], thresholds: Thresholds) -> str:
    """HTML: the picture under its parts' colours, and what they say; "" for fewer than two, which say no more than the whole."""
    if len(parts) < 2:
        return ""
    picture = open_picture(content).image
    size = picture.size
    picture.thumbnail((SIDE, SIDE))
    most, least = (choose(part.p_fake for part in parts) for choose in (max, min))
    return (
        f'<div class="parts" data-parts="{len(parts)}" data-most="{most}"><h3>Each part by itself</h3>'
        f'<img alt="The picture, its parts coloured from real to fake" src="{as_address(_coloured(picture, size, parts, thresholds))}">'
        "<p>Green looks real, yellow unsure, red fake. "
        f"Judged alone, its {len(parts)} overlapping parts have a probability of fake from {percent(least, 1)} to {percent(most, 1)}. "
        "This decides nothing: it shows where to look. Photographs have suspicious parts, too, above all small ones and those of a new "
        "kind.</p></div>"
    )


def attention_map(content: bytes, looked: Sequence[Looked]) -> str:
    """HTML: the picture, blue where a model looked, for those that judge no parts; "" where it can't tell."""
    if not looked:
        return ""
    picture = open_picture(content).image
    size = picture.size
    picture.thumbnail((SIDE, SIDE))
    tint = np.zeros((picture.height, picture.width, 1))
    for one in looked:
        left, top, right, bottom = (round(side * picture.size[i % 2] / size[i % 2]) for i, side in enumerate(one.box))
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)
        if right <= left or bottom <= top:
            continue
        share = one.shares - one.shares.min()
        strength = Image.fromarray((share / max(share.max(), 1e-12)).astype(np.float32))
        spread = strength.resize((right - left, bottom - top), Resampling.BICUBIC)
        there = np.s_[top:bottom, left:right]
        tint[there] = np.maximum(tint[there], _STRONGEST * np.clip(np.asarray(spread), 0, 1)[..., None])
    shown = Image.fromarray((tint * np.array(_LOOKED) + (1 - tint) * np.asarray(picture)).round().astype(np.uint8))
    return (
        '<div class="parts" data-looked="1"><h3>Where it looked</h3>'
        f'<img alt="The picture, blue where the model looked" src="{as_address(shown)}">'
        "<p>What the encoder's attention took most from is blue (attention rollout). That is where it looked, not why it "
        "answered so.</p></div>"
    )


def _coloured(picture: Image.Image, size: tuple[int, int], parts: Sequence[Part], thresholds: Thresholds) -> Image.Image:
    """The picture, which was of this size once, under the mean answer of the parts that show each pixel."""
    total, count = (np.zeros((picture.height, picture.width)) for _ in range(2))
    across, down = picture.width / size[0], picture.height / size[1]
    for part in parts:
        left, top, *ends = part.box
        # The last few pixels, which fill none of JPEG's blocks, no window shows: they take after those beside them.
        right, bottom = (side if side - end < BLOCK else end for side, end in zip(size, ends, strict=True))
        there = np.s_[round(top * down) : round(bottom * down), round(left * across) : round(right * across)]
        total[there] += log_odds(part.p_fake)
        count[there] += 1
    p_fake = expit(total / np.maximum(count, 1))
    low, high = max(thresholds.real, 1e-6), min(thresholds.fake, 1 - 1e-6)
    steps = (0, low, (low + high) / 2, high, 1)
    real, unsure, fake = (np.array(colour) for colour in _COLOURS)
    at = np.stack([np.interp(p_fake, steps, channel) for channel in zip(real, real, unsure, fake, fake, strict=True)], axis=-1)
    pixels = np.asarray(picture)
    shown = np.where(count[..., None] > 0, _STRENGTH * at + (1 - _STRENGTH) * pixels, _CUT_OFF * pixels)
    return Image.fromarray(shown.round().astype(np.uint8))
