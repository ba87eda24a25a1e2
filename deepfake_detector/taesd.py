"""The tiny autoencoders of the TAESD project from their plain .pth files: TAESD, TAESDXL, TAESD3, TAEF1 and TAEF2.

All have one layout (madebyollin/taesd, MIT): 64 channels, eight times down and up again, three 3×3 convolutions a block. They
differ in the number of latent channels, and in the newest the blocks at the lowest resolution have a second branch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from deepfake_detector.errors import WeightsUnavailable, words_of
from deepfake_detector.torch_compat import undrawn

FACTOR = 8  # pixels for the side of a latent
_WIDTH = 64


class _Block(nn.Module):
    def __init__(self, pooled: bool = False):
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())
        if pooled:
            wide = 4 * _WIDTH
            self.pool = nn.Sequential(
                nn.Conv2d(_WIDTH, wide, 1, bias=False), nn.GroupNorm(4, wide), nn.ReLU(), nn.Conv2d(wide, _WIDTH, 1, bias=False)
            )
        self.pooled = pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pooled:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _Clamp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


def load(encoder: Path, decoder: Path) -> nn.Module:
    """Both, one after the other: (n, 3, h, w) → the same, about 0..1, h and w multiples of FACTOR. Raises WeightsUnavailable."""
    down, up = _read(encoder), _read(decoder)
    try:
        latents, pooled = len(down["14.weight"]), "11.pool.0.weight" in down
        with undrawn():
            network = nn.Sequential(_encoder(latents, pooled), _decoder(latents, pooled))
        for part, state in zip(network, (down, up), strict=True):
            part.load_state_dict(state, assign=True)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsUnavailable(
            f"{encoder} and {decoder.name} are no autoencoder of TAESD's layout with 64 channels, 8 times down ({words_of(error, -1)}). "
            "Point to those of TAESD, TAESDXL, TAESD3, TAEF1 or TAEF2, or to a folder of diffusers'."
        ) from error
    return network


def _read(file: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises almost anything
        raise WeightsUnavailable(f"{file} is not a readable weights file ({type(error).__name__}). Fetch it again.") from error


def _encoder(latents: int, pooled: bool) -> nn.Sequential:
    layers = [nn.Conv2d(3, _WIDTH, 3, padding=1), _Block()]
    for last in (False, False, True):
        layers += [_conv(stride=2, bias=False), *(_Block(pooled and last) for _ in range(3))]
    return nn.Sequential(*layers, nn.Conv2d(_WIDTH, latents, 3, padding=1))


def _decoder(latents: int, pooled: bool) -> nn.Sequential:
    layers = [_Clamp(), nn.Conv2d(latents, _WIDTH, 3, padding=1), nn.ReLU()]
    for first in (True, False, False):
        layers += [*(_Block(pooled and first) for _ in range(3)), nn.Upsample(scale_factor=2), _conv(bias=False)]
    return nn.Sequential(*layers, _Block(), nn.Conv2d(_WIDTH, 3, 3, padding=1))


def _conv(**options) -> nn.Conv2d:
    return nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, **options)
