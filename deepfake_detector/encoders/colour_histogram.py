"""Colours alone, with no weights: the tests' encoder, and the trivial baseline that a detector must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.types import EncoderSpec

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_BINS = 4  # a channel: 4³ = 64 colours
_SIDE = 64


class Encoder(PictureEncoder):
    """The share of each of 64 colours in the picture, shrunk to 64×64."""

    @property
    def spec(self) -> EncoderSpec:
        return EncoderSpec(
            name="colour_histogram",
            architecture=f"{_BINS}x{_BINS}x{_BINS} RGB histogram",
            weights="none",
            layers="histogram",
            pixels=_SIDE,
            preprocessing="box resize to the square",
            normalised=False,
            dim=_BINS**3,
        )

    def prepare(self, picture: Picture) -> np.ndarray:
        """RGB picture → (64, 64, 3) uint8."""
        return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX))

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 64, 64, 3) uint8 → (n, 64) float32, each row summing to 1."""
        step = 256 // _BINS
        r, g, b = np.moveaxis(prepared.astype(np.int64) // step, -1, 0)  # each (n, 64, 64)
        colour = ((r * _BINS + g) * _BINS + b).reshape(len(prepared), -1)
        return np.stack([np.bincount(row, minlength=self.spec.dim) for row in colour]).astype(np.float32) / _SIDE**2
