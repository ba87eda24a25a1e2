"""Another decoder for a tiny autoencoder: its last two stages upsample as StyleGAN2 does, learnt on photographs.

One autoencoder's pairs teach the traces of one decoder. Here the picture is painted by another, with zeros between the pixels, a
transposed convolution and a binomial filter (Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020,
appendix B; Zhang et al., *Detecting and Simulating Artifacts in GAN Fake Images*, WIFS 2019, for the idea of simulated upsampling).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL.Image import Image
from safetensors.torch import load_file, save
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, pad

from deepfake_detector.files import write_bytes
from deepfake_detector.photograph_parts import random_parts, reading

log = logging.getLogger(__name__)

RECIPE = "stylegan2 1"  # what is below: layers, loss and schedule
_SEED, _STEPS, _BATCH, _CROP, _RATE = 0, 1000, 12, 96, 3e-3
_SCALE = 4  # pixels for one of the middle's, where the learnt stages begin
_MIDDLE, _WIDTHS = 64, (48, 32)


class _Upsampling(nn.Module):
    """(n, i, h, w) → (n, o, 2h, 2w)."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.conv = nn.ConvTranspose2d(i, o, 3, stride=2)
        tap = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("filter", (tap[:, None] * tap).expand(o, 1, 4, 4).contiguous(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return conv2d(pad(self.conv(x), (1, 1, 1, 1)), self.filter, groups=len(self.filter))


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def _stages() -> nn.Sequential:
    """(n, 64, h, w) of the decoder's middle → (n, 3, 4h, 4w), about 0..1."""
    wide, narrow = _WIDTHS
    return nn.Sequential(
        _Upsampling(_MIDDLE, wide), _Residual(wide), _Residual(wide), _Upsampling(wide, narrow), _Residual(narrow), nn.Conv2d(narrow, 3, 1)
    )


def redecoded(autoencoder: nn.Module, kept: Path) -> nn.Module:
    """A TAESD network (see taesd.load) with the learnt stages of a file in place of its last two; raises WeightsUnavailable."""
    stages = _stages()
    with reading(kept, "no learnt decoder"):
        stages.load_state_dict(load_file(kept))
    encoder, decoder = autoencoder
    return nn.Sequential(encoder, nn.Sequential(decoder[: _second(decoder)], stages))


def learn(autoencoder: nn.Module, photographs: Sequence[Callable[[], Image | None]], kept: Path, device: str) -> None:
    """Learn the stages on parts of the photographs (see random_parts) and write them to a file; raises DatasetError."""
    parts = random_parts(photographs, "a decoder", "use the autoencoder's own decoder")
    middle = _middle(autoencoder).to(device, torch.float32).eval()
    with torch.inference_mode():
        middles = [middle(part.to(device) / 255).half().cpu() for part in parts]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        stages = _fitted(torch.cat(middles), torch.cat(parts), device)
    write_bytes(kept, save(stages.cpu().state_dict()), first_wins=True)


def _fitted(middles: torch.Tensor, pixels: torch.Tensor, device: str) -> nn.Sequential:
    stages, began = _stages().to(device), time.monotonic()
    optimiser = torch.optim.Adam(stages.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, _STEPS)
    size = _CROP // _SCALE
    for step in range(_STEPS):
        chosen = torch.randint(len(pixels), (_BATCH,))
        y, x = torch.randint(pixels.shape[-1] // _SCALE - size + 1, (2,)).tolist()
        made = stages(middles[chosen, :, y : y + size, x : x + size].to(device, torch.float32))
        wanted = pixels[chosen, :, _SCALE * y : _SCALE * (y + size), _SCALE * x : _SCALE * (x + size)].to(device) / 255
        loss = _loss(made, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % (_STEPS // 4) == 0:
            log.info("learning a decoder: step %d of %d, loss %.3f, %.0f s", step + 1, _STEPS, loss.item(), time.monotonic() - began)
    return stages


def _loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Pixels and their detail; and how much detail there is, as what is only right on average is soft, and generators are not."""
    detail, fine = _detail(made), _detail(wanted)
    return (made - wanted).abs().mean() + 2 * (detail - fine).abs().mean() + 0.5 * (_energy(detail) - _energy(fine)).abs().mean()


def _detail(x: torch.Tensor) -> torch.Tensor:
    return x - avg_pool2d(pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _energy(x: torch.Tensor) -> torch.Tensor:
    return (x.square().mean((1, 2, 3)) + 1e-6).sqrt()


def _middle(autoencoder: nn.Module) -> nn.Sequential:
    """The encoder, and the decoder up to its second upsampling: (n, 3, h, w) → (n, 64, h/4, w/4)."""
    encoder, decoder = autoencoder
    return nn.Sequential(encoder, decoder[: _second(decoder)])


def _second(decoder: nn.Sequential) -> int:
    return [i for i, layer in enumerate(decoder) if isinstance(layer, nn.Upsample)][1]
