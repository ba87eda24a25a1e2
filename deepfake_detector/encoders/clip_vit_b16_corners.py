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

from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.encoders.clip_vit_b16_blocks import BLOCKS, WIDTH
from deepfake_detector.encoders.clip_vit_b16_blocks import Encoder as BlocksEncoder
from deepfake_detector.windows import BLOCK, PIXELS, SHORT, window

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepfake_detector.types import EncoderSpec

CORNERS = ((0.0, 0.0), (1.0, 1.0))


class Encoder(BlocksEncoder):
    """The same tower and weights as clip_vit_b16_blocks, run twice; columns i·768 … i·768+767 are block i, a unit vector again."""

    @cached_property
    def spec(self) -> EncoderSpec:
        one = super().spec
        cut = f"upper left and lower right {PIXELS}x{PIXELS} at a shorter side of {PIXELS} to {SHORT} (Lanczos), in steps of {BLOCK}"
        layers = f"{one.layers}, mean of two windows, normalised"
        return replace(one, layers=layers, preprocessing=f"{cut}, OpenAI mean and deviation")

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

    def of_one(self, tokens: np.ndarray) -> np.ndarray:
        """(n, 12, 768) of one window each → (n, spec.dim), the rows of pictures that look so everywhere."""
        return tokens.reshape(len(tokens), -1)

    def by_window(self) -> PictureEncoder:
        return _OneWindow(self)


class _OneWindow(PictureEncoder):
    """224×224 pixels as they are."""

    def __init__(self, of: Encoder):
        super().__init__(of.device, of.weights)
        self._of = of

    @cached_property
    def spec(self) -> EncoderSpec:
        return replace(self._of.spec, name=f"{self._of.spec.name}, one window", preprocessing="as it is, in place of all windows")

    def prepare(self, picture: Image) -> np.ndarray:
        """(3, 224, 224) uint8."""
        return np.asarray(picture).transpose(2, 0, 1)

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        return self._of.of_one(self._of.tokens(prepared[:, None])[:, 0])
