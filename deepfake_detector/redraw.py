"""The detail of a photograph drawn anew in an autoencoder's latents, as a diffusion model draws it: likely, but not what was there.

Reconstructions alone teach a decoder's traces; generators leave more, textures that are only right on average (Guillaro et al., *A
Bias-Free Training Paradigm for More General AI-generated Image Detection*, CVPR 2025, have Stable Diffusion paint real pictures again
for this reason). Here no such model is needed: latents are taken for Gaussian, with a covariance of their channels for each band of
frequencies, which is learnt from photographs in seconds. Noise is added to a picture's latents, and what it covers is drawn from what
they may then have been: the posterior, which for Gaussians is a linear filter and a second noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch.nn.functional import one_hot, pad

from deepfake_detector.files import write_bytes
from deepfake_detector.photograph_parts import reading

RECIPE = "gaussian 1"  # what is below
_BANDS = 16
_NOISE = (0.35, 1.0)  # of the latents' own deviation; each picture's lies between
_MARGIN = 8  # latents that are mirrored at each edge, as waves would wrap around


def learn(latents: Iterable[torch.Tensor], kept: Path) -> None:
    """Write the covariance of the latents' c channels, (bands, c, c), and their deviation; each (1, c, h, w), of one size."""
    total, count, squares = 0.0, 0.0, []
    for one in latents:
        plain = (one - one.mean((2, 3), keepdim=True)).double().cpu()
        squares.append(plain.square().mean())
        height, width = plain.shape[2:]
        taper = torch.outer(*(torch.hann_window(n + 2, periodic=False, dtype=plain.dtype)[1:-1] for n in (height, width)))
        waves = torch.fft.rfft2(plain * taper / taper.square().mean().sqrt(), norm="ortho")[0].flatten(1)  # (c, waves)
        own = one_hot(_bands(height, width).flatten(), _BANDS).to(waves.dtype)  # (waves, bands)
        total = total + torch.einsum("iw,wb,jw->bij", waves, own, waves.conj()).real
        count = count + own.real.sum(0)
    # Small latents have no wave in some bands: for such a band the next lower stands in.
    met = torch.where(count > 0, torch.arange(_BANDS), 0).cummax(0).values
    covariance = (total[met] / count[met][:, None, None]).float()
    write_bytes(kept, save({"covariance": covariance, "deviation": torch.stack(squares).mean().sqrt().float()}), first_wins=True)


def redrawing(kept: Path) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """(latents (1, c, h, w), seed) → others of their shape, by what was learnt; raises WeightsUnavailable."""
    with reading(kept, "nothing learnt of latents"):
        state = load_file(kept)
        covariance, deviation = state["covariance"], state["deviation"]
    return partial(_redrawn, covariance, float(deviation))


def _redrawn(covariance: torch.Tensor, deviation: float, latents: torch.Tensor, seed: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    least, most = _NOISE
    level = deviation * (least + (most - least) * torch.rand((), generator=draws).item())
    margins = [min(_MARGIN, n - 1) for n in latents.shape[2:]]
    down, across = margins
    plain = pad(latents.float().cpu(), (across, across, down, down), mode="reflect")
    size, mean = plain.shape[2:], plain.mean((2, 3), keepdim=True)
    covered = plain - mean + level * torch.randn(plain.shape, generator=draws)
    waves, fresh = (torch.fft.rfft2(x, norm="ortho")[0] for x in (covered, torch.randn(plain.shape, generator=draws)))
    bands, eye = _bands(*size), torch.eye(len(waves))
    for band, spread in enumerate(covariance):
        here = bands == band
        gain = torch.linalg.solve(spread + level**2 * eye, spread)  # of the posterior: mean gain·y, covariance level²·gain
        values, vectors = torch.linalg.eigh((gain + gain.T) / 2)
        root = vectors * values.clamp(min=0).sqrt()
        waves[:, here] = gain.to(waves.dtype) @ waves[:, here] + level * (root.to(waves.dtype) @ fresh[:, here])
    made = torch.fft.irfft2(waves[None], s=size, norm="ortho") + mean
    return made[..., down : size[0] - down, across : size[1] - across].to(latents)


def _bands(height: int, width: int) -> torch.Tensor:
    """(height, width // 2 + 1) which band of frequencies each wave of `rfft2` is in, by its length alone."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    return (frequency / 0.5**0.5 * _BANDS).long().clamp(max=_BANDS - 1)
