"""Where a transformer looked: how much of each patch reaches what its last layer reads, and what part of the picture the patches cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_OFF = 0.02  # of the picture's length: as far as an output's columns may lie from evenly spaced ones


def rollout(attentions: Any, model: torch.nn.Module) -> np.ndarray | None:
    """By attention rollout (Abnar & Zuidema, ACL 2020): (rows, columns) of patches, half of every block's sum being what it was given.

    `attentions` are those of the blocks, (1, heads, tokens, tokens) each. None for other than transformers of square patches and a class
    token.
    """
    import torch

    if not attentions or any(one is None or one.ndim != 4 or one.shape[-1] != one.shape[-2] for one in attentions):
        return None
    tokens = attentions[0].shape[-1]
    side = math.isqrt(tokens - 1)
    if side**2 + 1 != tokens or any(one.shape[-1] != tokens for one in attentions):
        return None
    itself = torch.eye(tokens, device=attentions[0].device)
    flow = itself
    for attention in attentions:
        flow = (attention[0].float().mean(dim=0) + itself) / 2 @ flow
    shares = _read(flow, model)[1:].reshape(side, side).cpu().numpy()
    return shares / shares.sum()


def _read(flow: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    """(tokens, tokens) shares of what was given in each token that comes out → (tokens,) in what the last layer reads."""
    by_class, by_patches = flow[0], flow[1:].mean(dim=0)
    kind = type(model).__name__
    if kind == "CLIPForImageClassification" or getattr(model.config, "use_mean_pooling", False):  # the latter of BEiT and Data2Vec
        return by_patches
    return (by_class + by_patches) / 2 if kind == "Dinov2ForImageClassification" else by_class


def seen(prepare: Callable[[Image], np.ndarray], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box that a preprocessing leaves of a picture of this width and height, by what becomes of ramps from black to white.

    None for one that does more than scale and cut: pads, say, or turns.
    """
    from PIL import Image

    dark, bright = (prepare(Image.new("RGB", size, colour))[0].mean() for colour in ("black", "white"))
    if dark == bright:
        return None
    ends = []
    for axis, length in enumerate(size):
        ramp = np.linspace(0, 255, length).round().astype(np.uint8)
        grey = np.tile(ramp, (size[1], 1)) if axis == 0 else np.tile(ramp[:, None], (1, size[0]))
        shown = (prepare(Image.fromarray(grey).convert("RGB"))[0] - dark) / (bright - dark)
        at = shown.mean(axis=axis)  # where each column, or row, of the output is from
        if np.abs(shown - (at if axis == 0 else at[:, None])).max() > _OFF:
            return None
        middles = np.arange(len(at)) + 0.5
        step, start = np.polyfit(middles, at, 1)
        if step <= 0 or np.abs(start + step * middles - at).max() > _OFF:
            return None
        # The ramp's first level is that of the middle of the first pixel, its last that of the last one's.
        ends.append([round(float(np.clip(end * (length - 1) + 0.5, 0, length))) for end in (start, start + step * len(at))])
    (left, right), (top, bottom) = ends
    return left, top, right, bottom
