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

from PIL.Image import Resampling

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._pairs import Recipe, add_made, pairs
from deepfake_detector.datasets.folder import pictures_of
from deepfake_detector.errors import DatasetError, UnusablePicture
from deepfake_detector.types import REAL, VIEW, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

_GRID = 16  # what JPEG's blocks and the models that work on latents' patches take in whole
_SMALLEST = 64
_FINER = (1.5, 2.5)  # times as large


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--autoencoder",
        metavar="PLACE",
        help="needed: a folder of diffusers' AutoencoderKL or AutoencoderTiny, OWNER/NAME or OWNER/NAME/vae on the hub, TAESD's .pth files",
    )
    parser.add_argument(
        "--max-side", type=int, default=1024, metavar="PIXELS", help="scale larger photographs down to this (default: %(default)s)"
    )
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
    max_side: int = 1024,
    decoder: str = "own",
    redraw: bool = False,
    finer: bool = False,
    made: str | Path = "embeddings/made",
) -> Listing:
    """Make the pairs of the real photographs in a folder or manifest, and list them; fakes are of the generator NAME_recon.

    With the decoder stylegan2 they are of NAME_stylegan2_recon, with `redraw` of NAME_redrawn_recon; what was learnt for that is kept in
    `made`, for these and later photographs.

    A photograph is brought to `max_side` and cut at its right and lower edge to multiples of 16 pixels, so that JPEG's blocks
    stay where they were. With `finer`, fakes are of NAME_finer_recon: the photograph is first enlarged (at most to `max_side`), and
    what was rebuilt is reduced by 1.5 to 2.5 again; so is the real picture, which would else be told by that alone. The traces that
    are left are those of generators whose pictures are shown smaller than they were made. Such pairs are degraded copies (but those
    of the test split, which are tested on): what a protocol tests stays the same with and without them.
    """
    if not autoencoder:
        raise DatasetError("The data set 'aligned' needs an autoencoder; say which with --autoencoder FOLDER or --autoencoder OWNER/NAME.")
    if max_side < _SMALLEST:
        raise DatasetError(f"--max-side should be at least {_SMALLEST} pixels; received {max_side}.")
    from deepfake_detector.reconstruct import find

    model = find(autoencoder)
    step = max(_GRID, model.factor)  # both are powers of two
    if decoder == "stylegan2" or redraw:
        found = [partial(_opened, sample.path, max_side, step) for sample in pictures_of(REAL, root).samples]
        kept = Path(made).expanduser()
        model = model.with_learnt_decoder(kept, found) if decoder == "stylegan2" else model
        model = model.with_redrawn_latents(kept, found) if redraw else model

    def make(photograph: Image, seed: int) -> tuple[Image, Image]:
        real = _fit(photograph, max_side, step)
        return real, model.reconstruct(real, seed)

    def make_finer(photograph: Image, seed: int) -> tuple[Image, Image]:
        times = Random(seed).uniform(*_FINER)
        large = _fit(_scaled(photograph, min(times, max_side / max(photograph.size))), max_side, step)
        size = [max(1, round(n / times)) for n in large.size]
        real, fake = (picture.resize(size, Resampling.LANCZOS) for picture in (large, model.reconstruct(large, seed)))
        return real, fake

    settings = f"aligned 1, autoencoder sha256:{model.sha256}, {max_side}/{step}"
    if finer:
        listing = pairs(root, Recipe(f"{model.name}_finer_recon", f"{settings}, finer {_FINER}", make_finer), made)
        return replace(listing, samples=[_copy(sample) for sample in listing.samples])
    return pairs(root, Recipe(f"{model.name}_recon", settings, make), made)


def _copy(sample: Sample) -> Sample:
    name = f"{sample.name}#finer" if sample.label == REAL else sample.name
    return replace(sample, name=name, split=sample.split if sample.split == "test" else VIEW)


def _opened(path: str, max_side: int, step: int) -> Image | None:
    from deepfake_detector.embed import read_file
    from deepfake_detector.images import open_picture

    try:
        return _fit(open_picture(read_file(path)).image, max_side, step)
    except (UnusablePicture, OSError):
        return None  # the listing will say why


def _scaled(photograph: Image, times: float) -> Image:
    return photograph.resize([max(1, round(n * times)) for n in photograph.size], Resampling.LANCZOS)


def _fit(photograph: Image, max_side: int, step: int) -> Image:
    if max(photograph.size) > max_side:
        photograph = _scaled(photograph, max_side / max(photograph.size))
    width, height = (n // step * step for n in photograph.size)
    if min(width, height) < step:
        raise UnusablePicture(f"too small for this autoencoder: {photograph.width} x {photograph.height}, at least {step} pixels a side")
    return photograph.crop((0, 0, width, height))
