"""The class tokens of all 12 blocks of CLIP ViT-B/16, each L2-normalised: 12×768 numbers that keep low-level traces.

Koutlis & Papadopoulos, "Leveraging Representations from Intermediate Encoder-blocks for Synthetic Image Detection"
(RINE), ECCV 2024: early blocks see what generators leave in the pixels, and the last layer has already thrown away.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from deepfake_detector.encoders.clip_vit_b16 import Encoder as ProjectedEncoder

if TYPE_CHECKING:
    import torch

    from deepfake_detector.types import EncoderSpec

BLOCKS, WIDTH = 12, 768


class Encoder(ProjectedEncoder):
    """The same tower and weights as clip_vit_b16, read off after every block; columns i·768 … i·768+767 are block i."""

    @cached_property
    def spec(self) -> EncoderSpec:
        return replace(super().spec, layers="class token after each of 12 blocks", dim=BLOCKS * WIDTH)

    def read(self, tower: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) → (n, 12·768)."""
        import torch

        out = tower.forward_intermediates(batch, output_fmt="NLC", output_extra_tokens=True, intermediates_only=True)
        tokens = torch.stack([prefix[:, 0] for prefix in out["image_intermediates_prefix"]], dim=1)  # (n, 12, 768)
        return torch.nn.functional.normalize(tokens.float(), dim=-1).flatten(1)
