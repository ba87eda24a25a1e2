"""CLIP ViT-B/16's class tokens of all 12 blocks, of the whole picture and of its middle at twice the resolution, averaged.

What a generator leaves in the pixels shows best where the picture is not scaled down to 224 pixels; what it does to
composition and light shows best in the whole. One head on the mean of both is the mean of that head's two answers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Resampling

from deepfake_detector.encoders._open_clip import PIXELS
from deepfake_detector.encoders.clip_vit_b16_blocks import BLOCKS, WIDTH
from deepfake_detector.encoders.clip_vit_b16_blocks import Encoder as BlocksEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepfake_detector.types import EncoderSpec

SHORT = 2 * PIXELS  # the middle is taken at this shorter side


class Encoder(BlocksEncoder):
    """The same tower and weights as clip_vit_b16_blocks, run twice; columns i·768 … i·768+767 are block i, a unit vector again."""

    @cached_property
    def spec(self) -> EncoderSpec:
        one = super().spec
        return replace(
            one,
            name="clip_vit_b16_scales",
            layers=f"{one.layers}, mean of two scales, normalised",
            preprocessing=f"{one.preprocessing}; and the middle {PIXELS}x{PIXELS} at a shorter side of {PIXELS} to {SHORT} (Lanczos)",
        )

    def prepare(self, picture: Image) -> np.ndarray:
        """RGB picture → (2, 3, 224, 224) uint8: the whole, and the middle."""
        return np.stack([super().prepare(picture), np.asarray(window(picture)).transpose(2, 0, 1)])

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 2, 3, 224, 224) uint8 → (n, 12·768) float32."""
        tokens = super().encode(prepared.reshape(-1, *prepared.shape[2:])).reshape(-1, 2, BLOCKS, WIDTH).mean(axis=1)
        return (tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)).reshape(-1, BLOCKS * WIDTH)


def window(picture: Image, across: float = 0.5, down: float = 0.5) -> Image:
    """224×224 pixels out of the picture, as if a shorter side above 448 were scaled down to 448, or one below 224 up to 224.

    `across` and `down` say where: 0 is left or top, 1 right or bottom.
    """
    short = min(picture.size)
    side = PIXELS * short / min(max(short, PIXELS), SHORT)  # in the picture's own pixels
    left, top = (round((length - side) * share) for length, share in zip(picture.size, (across, down), strict=True))
    return picture.resize((PIXELS, PIXELS), Resampling.LANCZOS, (left, top, left + side, top + side))
