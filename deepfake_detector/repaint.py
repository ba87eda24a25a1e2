"""A small GAN, learnt on photographs, that paints a photograph anew from an eighth of its size.

A picture's forms are then those of the photograph, and its detail what a GAN takes for photographic: crisp, plausible, and free of what
a camera adds. Pairs by autoencoders, which keep the detail, teach nothing of that. After SRGAN (Ledig et al., *Photo-Realistic Single
Image Super-Resolution Using a Generative Adversarial Network*, CVPR 2017), with what StyleGAN2 is built of: noise in each layer, colours
summed over sizes, a non-saturating loss (Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import nn
from torch.nn.functional import interpolate, leaky_relu, softplus

from deepfake_detector.files import write_bytes
from deepfake_detector.photograph_parts import random_parts, reading

log = logging.getLogger(__name__)

RECIPE = "repaint 1"  # what is below: layers, losses and schedule
FACTOR = 8
_WIDTHS = (48, 40, 32, 20)  # from an eighth of the size to all of it
_CRITIC = (24, 48, 64, 64)
_SEED, _STEPS, _BATCH, _CROP, _RATE = 0, 3500, 8, 96, 2e-3
_WARM_UP = 300  # steps in which it learns to paint at all, before it is criticised
_SLOPE, _SLOPE_EVERY = 1.7e-4, 16  # R1 (Mescheder et al., ICML 2018), seldom, as in StyleGAN2
_KEPT = 0.98  # of the average of the painter's weights, at each step


class _Noise(nn.Module):
    """Adds as much noise as each channel has learnt to take."""

    def __init__(self, width: int):
        super().__init__()
        self.strength = nn.Parameter(torch.full((1, width, 1, 1), 0.1))

    def forward(self, x: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        noise = torch.randn(len(x), 1, *x.shape[2:], generator=draws)
        return leaky_relu(x + self.strength * noise.to(x.device), 0.2)


class _Stage(nn.Module):
    """(n, i, h, w) → (n, o, h, w), with noise after each convolution."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)
        self.noise = nn.ModuleList((_Noise(o), _Noise(o)))

    def forward(self, x: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        return self.noise[1](self.second(self.noise[0](self.first(x), draws)), draws)


class _Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.begin = _Stage(3, _WIDTHS[0])
        self.stages = nn.ModuleList(_Stage(i, o) for i, o in zip(_WIDTHS, _WIDTHS[1:], strict=False))
        self.colours = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in _WIDTHS[1:])

    def forward(self, coarse: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """(n, 3, h, w) → (n, 3, 8h, 8w), both about -1..1; the generator is of the CPU, so that a seed gives one picture anywhere."""
        x, picture = self.begin(coarse, draws), coarse
        for stage, colours in zip(self.stages, self.colours, strict=True):
            x = stage(_double(x), draws)
            picture = _double(picture) + 0.3 * colours(x)
        return picture


class _Critic(nn.Module):
    """(n, 3, h, w) → (n, 1, h/8, w/8): how photographic each place is."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, _CRITIC[0], 3, padding=1), nn.LeakyReLU(0.2)]
        for i, o in zip(_CRITIC, _CRITIC[1:], strict=False):
            layers += [nn.Conv2d(i, o, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(_CRITIC[-1] + 1, 1, 3, padding=1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = self.layers(pictures)
        varied = (x.var(0, unbiased=False) + 1e-6).sqrt().mean()  # among the batch, against pictures that all look the same
        return self.last(torch.cat([x, varied.expand(len(x), 1, *x.shape[2:])], 1))


def learn(photographs: Sequence[Callable[[], Image.Image | None]], kept: Path, device: str) -> None:
    """Learn to paint on parts of the photographs (see random_parts) and write the weights to a file; raises DatasetError."""
    parts = torch.cat(random_parts(photographs, "to paint", "make pairs with --dataset aligned"))
    log.info("learning to paint on %d photographs, once; a quarter of an hour without a GPU", len(parts))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        painter = _fitted(parts, device)
    state = {name: weights.cpu().contiguous() for name, weights in painter.state_dict().items()}
    write_bytes(kept, save(state), first_wins=True)


def painting(kept: Path, device: str) -> Callable[[Image.Image, int], Image.Image]:
    """What paints an RGB picture anew, its sides multiples of 8, by a seed and from any thread; raises WeightsUnavailable."""
    painter = _Painter()
    with reading(kept, "nothing learnt of painting"):
        painter.load_state_dict(load_file(kept))
    painter = painter.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    one_at_a_time = threading.Lock()

    def paint(picture: Image.Image, seed: int) -> Image.Image:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]  # (1, 3, h, w)
        draws = torch.Generator().manual_seed(seed % 2**63)
        with one_at_a_time, torch.inference_mode():
            made = painter(_coarse(_scaled(pixels, device)), draws)
            levels = ((made[0] + 1) * 127.5).round().clamp(0, 255).byte()
        return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())

    return paint


def _fitted(parts: torch.Tensor, device: str) -> _Painter:
    painter, average, critic = (network.to(device, memory_format=torch.channels_last) for network in (_Painter(), _Painter(), _Critic()))
    average.load_state_dict(painter.state_dict())
    paints, criticises = (torch.optim.Adam(network.parameters(), _RATE, (0.0, 0.99)) for network in (painter, critic))
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, _rate) for one in (paints, criticises)]
    draws, began = torch.Generator().manual_seed(_SEED), time.monotonic()
    for step in range(_STEPS):
        real = _scaled(_crops(parts), device)
        coarse = _coarse(real)
        with torch.no_grad():
            made = painter(coarse, draws)
        _step(criticises, _critic_loss(critic, real, made, step % _SLOPE_EVERY == 0))
        made = painter(coarse, draws)
        photographic = softplus(-critic(made)).mean()
        as_it_was, as_coarse = (made - real).abs().mean(), (_coarse(made) - coarse).abs().mean()
        _step(paints, 10 * as_coarse + (10 * as_it_was if step < _WARM_UP else 0.5 * as_it_was + 0.3 * photographic))
        for schedule in schedules:
            schedule.step()
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), painter.parameters(), strict=True):
                mean.lerp_(weight, 1 - _KEPT)
        if (step + 1) % (_STEPS // 6) == 0:
            log.info("learning to paint: step %d of %d, off by %.3f, %.0f s", step + 1, _STEPS, as_coarse.item(), time.monotonic() - began)
    return average


def _critic_loss(critic: _Critic, real: torch.Tensor, made: torch.Tensor, slope_too: bool) -> torch.Tensor:
    real = real.detach().requires_grad_(slope_too)
    told = critic(real)
    loss = softplus(-told).mean() + softplus(critic(made)).mean()
    if slope_too:
        (slope,) = torch.autograd.grad(told.sum(), real, create_graph=True)
        loss = loss + _SLOPE * slope.square().sum((1, 2, 3)).mean()
    return loss


def _step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _rate(step: int) -> float:
    """The first half at full rate, then down to a twentieth."""
    return min(1.0, 2 * (1 - step / _STEPS) + 0.05)


def _crops(parts: torch.Tensor) -> torch.Tensor:
    """(n, 3, h, w) uint8 → a batch of squares out of them, every other one mirrored on average."""
    batch = []
    for part in torch.randint(len(parts), (_BATCH,)).tolist():
        y, x = torch.randint(parts.shape[-1] - _CROP + 1, (2,)).tolist()
        square = parts[part, :, y : y + _CROP, x : x + _CROP]
        batch.append(square.flip(2) if torch.rand(()) < 0.5 else square)
    return torch.stack(batch)


def _scaled(pixels: torch.Tensor, device: str) -> torch.Tensor:
    return (pixels.to(device) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _coarse(pictures: torch.Tensor) -> torch.Tensor:
    return interpolate(pictures, scale_factor=1 / FACTOR, mode="bicubic", antialias=True, align_corners=False)


def _double(x: torch.Tensor) -> torch.Tensor:
    return interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)  # which is StyleGAN2's filter, too
