"""clip_vit_b16_corners, and beside it a second look: the middle of the same picture at half its size, for a head to be asked about.

What a head has learnt of the corners holds at a coarser scale too, where it finds what the corners hide: fakes that their makers had
reduced already, and traces in pictures that came small. Learning from the second look is another matter: there a head sees what a
picture is about (see heads/two_looks.py).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Resampling

from deepfake_detector.degrade import resized
from deepfake_detector.encoders.clip_vit_b16_corners import Encoder as CornersEncoder
from deepfake_detector.windows import PIXELS, place

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepfake_detector.types import EncoderSpec


class Encoder(CornersEncoder):
    """The first 12·768 numbers are those of clip_vit_b16_corners, the others the class tokens of the second look, block by block."""

    @cached_property
    def spec(self) -> EncoderSpec:
        one = super().spec
        return replace(
            one,
            layers=f"{one.layers}; then of a third window",
            preprocessing=f"{one.preprocessing}; the third from the middle of the picture at half its size (bicubic)",
            dim=2 * one.dim,
        )

    def prepare(self, picture: Image) -> np.ndarray:
        """RGB picture → (3, 3, 224, 224) uint8."""
        middle = np.asarray(_middle_of_half(picture)).transpose(2, 0, 1)
        return np.concatenate([super().prepare(picture), middle[None]])

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 3, 3, 224, 224) uint8 → (n, 2·12·768) float32."""
        tokens = self.tokens(prepared)
        return np.concatenate([self.mean(tokens[:, :-1]), tokens[:, -1].reshape(len(tokens), -1)], axis=1)

    def of_one(self, tokens: np.ndarray) -> np.ndarray:
        """(n, 12, 768) of one window each → (n, spec.dim): both looks see the same."""
        return np.tile(super().of_one(tokens), 2)


def _middle_of_half(picture: Image) -> Image:
    """window(resize(picture, 0.5), 0.5, 0.5), of which no more is scaled than the window takes in: a photograph's half is megapixels."""
    half = resized(picture.size, 0.5)
    left, top, side = place(half, 0.5, 0.5)
    reach = ceil(3 * max(1, side / PIXELS)) + 1  # how far Lanczos looks beyond the window
    x0, y0 = max(0, left - reach), max(0, top - reach)
    x1, y1 = (min(length, ceil(start + side) + reach) for length, start in zip(half, (left, top), strict=True))
    across, down = (length / halved for length, halved in zip(picture.size, half, strict=True))
    within = (x0 * across, y0 * down, min(x1 * across, picture.width), min(y1 * down, picture.height))
    part = picture.resize((x1 - x0, y1 - y0), Resampling.BICUBIC, within)
    left, top = left - x0, top - y0
    return part.resize((PIXELS, PIXELS), Resampling.LANCZOS, (left, top, left + side, top + side))
