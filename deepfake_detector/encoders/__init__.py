"""Pictures → vectors: one file an encoder, each with a class `Encoder`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detector.types import EncoderSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepfake_detector.types import Looked


class PictureEncoder(ABC):
    """The contract: a spec, a cheap `prepare` for the decoding threads and a heavy `encode` for the device.

    `device` is auto, cpu, cuda or mps; `weights` a local file or folder in place of the published weights. Both are
    only stored: nothing is loaded before the first `encode`.
    """

    def __init__(self, device: str = "auto", weights: str | None = None):
        self.device = device
        self.weights = weights

    @property
    @abstractmethod
    def spec(self) -> EncoderSpec:
        """Known without loading the weights, so that a remembered embedding needs no encoder."""

    @abstractmethod
    def prepare(self, picture: Image) -> np.ndarray:
        """An RGB picture → the encoder's input, a fixed-shape array; called from several threads at once."""

    @abstractmethod
    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, …) prepared pictures → (n, spec.dim) float32; a row is the same alone and in any batch."""

    def embed_batch(self, pictures: Sequence[Image]) -> np.ndarray:
        """RGB pictures → (n, spec.dim) float32."""
        if not pictures:
            return np.empty((0, self.spec.dim), np.float32)
        return self.encode(np.stack([self.prepare(p) for p in pictures]))

    def by_window(self) -> PictureEncoder | None:
        """What encodes one window of a picture (see crops/windows.py) as a picture that looks so everywhere, for the same heads; None
        where this does not look through windows."""
        return None

    def looked_at(self, picture: Image) -> Looked | None:
        """Where in an RGB picture it looks, as its attention has it; None where it can't tell."""
        return None
