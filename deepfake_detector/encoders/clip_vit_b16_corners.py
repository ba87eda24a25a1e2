"""CLIP ViT-B/16's class tokens of all 12 blocks, of windows in two opposite corners of the picture, averaged.

What a generator leaves in the pixels shows best where the picture is not scaled down to 224 pixels. What the picture is about shows
least in its corners, and that is what a head takes for generation where its fakes show other things than its photographs do (Zheng
et al., NeurIPS 2024, break the picture into patches for the same reason). One head on the mean of both windows is the mean of that
head's two answers.
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

CORNERS = ((0.0, 0.0), (1.0, 1.0))
SHORT = 2 * PIXELS  # windows are cut at this shorter side, where the picture has as much
_BLOCK = 16  # JPEG's, with halved colours


class Encoder(BlocksEncoder):
    """The same tower and weights as clip_vit_b16_blocks, run twice; columns i·768 … i·768+767 are block i, a unit vector again."""

    @cached_property
    def spec(self) -> EncoderSpec:
        one = super().spec
        cut = f"upper left and lower right {PIXELS}x{PIXELS} at a shorter side of {PIXELS} to {SHORT} (Lanczos), in steps of {_BLOCK}"
        layers = f"{one.layers}, mean of two windows, normalised"
        return replace(one, name="clip_vit_b16_corners", layers=layers, preprocessing=f"{cut}, OpenAI mean and deviation")

    def prepare(self, picture: Image) -> np.ndarray:
        """RGB picture → (2, 3, 224, 224) uint8."""
        return np.stack([np.asarray(window(picture, *corner)).transpose(2, 0, 1) for corner in CORNERS])

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 2, 3, 224, 224) uint8 → (n, 12·768) float32."""
        return self.mean(self.tokens(prepared))

    def tokens(self, prepared: np.ndarray) -> np.ndarray:
        """(n, windows, 3, 224, 224) uint8 → (n, windows, 12, 768) float32, each token a unit vector."""
        return super().encode(prepared.reshape(-1, *prepared.shape[2:])).reshape(*prepared.shape[:2], BLOCKS, WIDTH)

    @staticmethod
    def mean(tokens: np.ndarray) -> np.ndarray:
        """(n, windows, 12, 768) → (n, 12·768), each block's mean a unit vector."""
        mean = tokens.mean(axis=1)
        return (mean / np.linalg.norm(mean, axis=-1, keepdims=True)).reshape(len(tokens), -1)


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
    step = _BLOCK if side == PIXELS else 1
    left, top = (int((length - side) * share) // step * step for length, share in zip(size, (across, down), strict=True))
    return left, top, side
