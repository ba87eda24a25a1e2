"""Photographs, and the same painted anew from an eighth of their size by a GAN that is learnt on them: pairs of one content."""

from __future__ import annotations

import argparse
import hashlib
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._pairs import (
    GRID,
    MADE,
    MAX_SIDE,
    Recipe,
    add_made,
    add_max_side,
    check_max_side,
    pairs,
    photographs_to_learn,
    place_for_made,
    shown_smaller,
)
from deepfake_detector.devices import pick_device

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGER = (1.0, 2.3)  # times; the most is from 448 pixels to the 1,024 of face GANs


def add_options(parser: argparse.ArgumentParser) -> None:
    add_max_side(parser)
    add_made(parser)


def scan(root: str | Path, max_side: int = MAX_SIDE, made: str | Path = MADE) -> Listing:
    """Make the pairs of the real photographs in a folder or manifest, and list them; fakes are of the generator `repainted`.

    What paints them is learnt on them first, and kept in `made` for these and later photographs. A photograph is painted up to 2.3
    times as large as it is (at most `max_side`) and reduced again, and so is the real picture: with the factor varies at which size
    the painted detail begins. Raises DatasetError.
    """
    check_max_side(max_side)
    from deepfake_detector import repaint
    from deepfake_detector.weights import file_sha256

    kept = place_for_made(made) / f"painter-{hashlib.sha256(repaint.RECIPE.encode()).hexdigest()[:12]}.safetensors"
    device = pick_device("auto")
    if not kept.is_file():
        repaint.learn(photographs_to_learn(root, max_side, GRID), kept, device)
    paint = repaint.painting(kept, device)

    def make(photograph: Image, seed: int) -> tuple[Image, Image]:
        return shown_smaller(photograph, Random(seed).uniform(*_LARGER), max_side, GRID, partial(paint, seed=seed))

    settings = f"repainted 1, painter sha256:{file_sha256(kept)}, {max_side}/{GRID}, larger {_LARGER}"
    return pairs(root, Recipe("repainted", settings, make), made)
