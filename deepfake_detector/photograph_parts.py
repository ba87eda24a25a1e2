"""What is learnt on a user's own pictures before fakes are made of them: the parts that it is learnt from, and its file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image

from deepfake_detector.errors import DatasetError, WeightsUnavailable, words_of

FEWEST, MOST = 20, 500  # photographs to learn from
SIDE = 192  # pixels of the part of each; a multiple of every autoencoder's factor
_SEED = 0


def random_parts(photographs: Sequence[Callable[[], Image | None]], learnt: str, instead: str) -> list[torch.Tensor]:
    """(1, 3, SIDE, SIDE) uint8 each, of at most MOST of the photographs, drawn at random, the same every time.

    A photograph is called for, and may be None (unusable) or too small. Raises DatasetError where fewer than FEWEST are left; it names
    what was to be `learnt`, and what to do `instead`.
    """
    rng = random.Random(_SEED)
    parts: list[torch.Tensor] = []
    for photograph in rng.sample(photographs, len(photographs)):
        picture = photograph()
        if picture is None or min(picture.size) < SIDE:
            continue
        left, top = (rng.randint(0, length - SIDE) for length in picture.size)
        parts.append(torch.from_numpy(np.array(picture.crop((left, top, left + SIDE, top + SIDE)))).permute(2, 0, 1)[None])
        if len(parts) == MOST:
            break
    if len(parts) < FEWEST:
        raise DatasetError(
            f"Learning {learnt} takes at least {FEWEST} photographs of {SIDE} pixels a side; found {len(parts)}. "
            f"Add photographs (or raise --max-side, where it makes them smaller), or {instead}."
        )
    return parts


@contextmanager
def reading(kept: Path, otherwise: str) -> Iterator[None]:
    """Around what reads the file of something learnt: raises WeightsUnavailable for a damaged one, which holds `otherwise`."""
    try:
        yield
    except Exception as error:  # safetensors and torch each raise their own
        raise WeightsUnavailable(f"{kept} holds {otherwise} ({words_of(error, -1)}). Delete it: the next run learns it again.") from error
