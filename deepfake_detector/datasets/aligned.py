"""Photographs and their reconstructions by an autoencoder: pairs of one content, told apart by what the autoencoder does to it.

Rajan et al., *Aligned Datasets Improve Detection of Latent Diffusion-Generated Images*, ICLR 2025.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
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
    fitted,
    pairs,
    photographs_to_learn,
    place_for_made,
    shown_smaller,
)
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import VIEW

if TYPE_CHECKING:
    from PIL.Image import Image

_FINER = (1.5, 2.5)  # times as large


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--autoencoder",
        metavar="PLACE",
        help="needed: a folder of diffusers' AutoencoderKL or AutoencoderTiny, OWNER/NAME or OWNER/NAME/vae on the hub, TAESD's .pth files",
    )
    add_max_side(parser)
    parser.add_argument(
        "--decoder",
        choices=("own", "stylegan2"),
        default="own",
        help="the autoencoder's own, or one with StyleGAN2's upsampling that is first learnt on the photographs (default: %(default)s)",
    )
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="draw the detail anew in the latents before they are decoded, as a diffusion model would: likely, but not what was there",
    )
    parser.add_argument(
        "--finer",
        action="store_true",
        help="rebuild the photograph 1.5 to 2.5 times as large as both pictures are kept, as what is made large is shown small; "
        "such pairs are learnt from, as degraded copies are, and not tested on",
    )
    add_made(parser)


def scan(
    root: str | Path,
    autoencoder: str | None = None,
    max_side: int = MAX_SIDE,
    decoder: str = "own",
    redraw: bool = False,
    finer: bool = False,
    made: str | Path = MADE,
) -> Listing:
    """Make the pairs of the real photographs in a folder or manifest, and list them; fakes are of the generator NAME_recon.

    With the decoder stylegan2 they are of NAME_stylegan2_recon, with `redraw` of NAME_redrawn_recon; what was learnt for that is kept in
    `made`, for these and later photographs.

    A photograph is brought to `max_side` and cut at its right and lower edge to multiples of 16 pixels, so that JPEG's blocks
    stay where they were. With `finer`, fakes are of NAME_finer_recon: photographs are rebuilt 1.5 to 2.5 times as large as both
    pictures are then kept. The traces that are left are those of generators whose pictures are shown smaller than they were made.
    Such pairs are degraded copies (but those of the test split, which are tested on): what a protocol tests stays the same with and
    without them.
    """
    if not autoencoder:
        raise DatasetError("The data set 'aligned' needs an autoencoder; say which with --autoencoder FOLDER or --autoencoder OWNER/NAME.")
    check_max_side(max_side)
    from deepfake_detector.reconstruct import find

    model = find(autoencoder)
    step = max(GRID, model.factor)  # both are powers of two
    if decoder == "stylegan2" or redraw:
        found = photographs_to_learn(root, max_side, step)
        kept = place_for_made(made)
        model = model.with_learnt_decoder(kept, found) if decoder == "stylegan2" else model
        model = model.with_redrawn_latents(kept, found) if redraw else model

    def make(photograph: Image, seed: int) -> tuple[Image, Image]:
        real = fitted(photograph, max_side, step)
        return real, model.reconstruct(real, seed)

    def make_finer(photograph: Image, seed: int) -> tuple[Image, Image]:
        return shown_smaller(photograph, Random(seed).uniform(*_FINER), max_side, step, partial(model.reconstruct, seed=seed))

    settings = f"aligned 1, autoencoder sha256:{model.sha256}, {max_side}/{step}"
    if finer:
        listing = pairs(root, Recipe(f"{model.name}_finer_recon", f"{settings}, finer {_FINER}", make_finer), made)
        copies = [replace(sample, split=sample.split if sample.split == "test" else VIEW) for sample in listing.samples]
        return replace(listing, samples=copies)
    return pairs(root, Recipe(f"{model.name}_recon", settings, make), made)
