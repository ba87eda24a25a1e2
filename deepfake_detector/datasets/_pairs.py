"""Photographs and the fakes made of them, as pairs that are kept in a folder: the next run makes none of them again."""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets.folder import pictures_of
from deepfake_detector.embed import read_file
from deepfake_detector.errors import DatasetError, UnusablePicture
from deepfake_detector.files import write_atomically
from deepfake_detector.images import open_picture
from deepfake_detector.types import BESIDE, FAKE, REAL, Sample

log = logging.getLogger(__name__)

GRID = 16  # what JPEG's blocks and the models that work on latents' patches take in whole
MAX_SIDE, _SMALLEST = 1024, 64  # what --max-side is unless told, and may be at least
MADE = "embeddings/made"
_SAY_EVERY = 30  # seconds
_LOSSLESS = (b"\x89PNG", b"BM", b"GIF8", b"II*\0", b"MM\0*")  # PNG, BMP, GIF and TIFF begin so


@dataclass(frozen=True)
class Recipe:
    """How fakes are made. `generator` is their name in the table; `settings` says all that decides what is made of a photograph.

    `make(photograph, seed)` gives the real and the fake picture: RGB, of one size. It is called from several threads and may
    raise UnusablePicture.
    """

    generator: str
    settings: str
    make: Callable[[Image.Image, int], tuple[Image.Image, Image.Image]]


def add_made(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--made", default=MADE, metavar="FOLDER", help="where the pictures that are made are kept (default: %(default)s)")


def add_max_side(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-side", type=int, default=MAX_SIDE, metavar="PIXELS", help="scale larger photographs down to this (default: %(default)s)"
    )


def pairs(root: str | Path, recipe: Recipe, made: str | Path) -> Listing:
    """Each real photograph of a folder or manifest, and the fake made of it, in one group.

    Both pictures of a pair are new files that were cut, coloured and encoded in the same way, so that a file tells nothing:
    as JPEG with the photograph's own tables if it is one, as PNG if it is free of loss, else as JPEG 90. Kept in `made` by the
    photograph's content and the recipe; whatever is killed goes on where it was. The names are the photograph's
    with `#` and the generator, and `:real` for the real one, which is another picture than the photograph.
    """
    photographs = pictures_of(REAL, root)
    kept = Path(made).expanduser() / f"{recipe.generator}-{hashlib.sha256(recipe.settings.encode()).hexdigest()[:12]}"
    found = Listing(skipped=list(photographs.skipped), facts={"made": {"generator": recipe.generator, "settings": recipe.settings}})
    began = said = time.monotonic()
    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="make")
    try:
        outcomes = pool.map(partial(_pair, recipe, kept), photographs.samples)
        for number, (photograph, outcome) in enumerate(zip(photographs.samples, outcomes, strict=True), start=1):
            if isinstance(outcome, str):
                found.skipped.append((photograph.name, outcome))
                continue
            sha256, real, fake = outcome
            name, own = f"{photograph.name}#{recipe.generator}", replace(photograph, made_from=sha256)
            found.samples.append(replace(own, path=real, name=name + BESIDE))
            found.samples.append(replace(own, path=fake, name=name, label=FAKE, generator=recipe.generator))
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                log.info("%s: %d of %d pairs after %.0f s", recipe.generator, number, len(photographs.samples), said - began)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt need not wait for all the rest
    if not found.samples:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.skipped[:3])
        raise DatasetError(f"Nothing could be made of any picture in {str(root)!r} ({reasons}). Point to a folder of real photographs.")
    found.skipped.sort()
    return found


def _pair(recipe: Recipe, kept: Path, photograph: Sample) -> tuple[str, str, str] | str:
    """The photograph's SHA-256, and the files of the real and the fake picture, made now or before; or the reason why there are none."""
    try:
        content = read_file(photograph.path)
        sha256 = hashlib.sha256(content).hexdigest()
        ending, options = _encoding(content)
        files = tuple(kept / sha256[:2] / f"{sha256}-{side}{ending}" for side in ("real", "fake"))
        if all(file.is_file() for file in files):
            return sha256, *map(str, files)
        made = recipe.make(open_picture(content).image, int(sha256[:16], 16))
    except UnusablePicture as error:
        return str(error)
    except OSError as error:
        return f"can't be read ({error.strerror or error})"
    pixels = np.asarray(made[0])
    if (pixels == pixels[..., :1]).all():  # of a grey photograph the fake is grey as well
        made = [picture.convert("L") for picture in made]
    try:
        for file, picture in zip(files, made, strict=True):
            write_atomically(file, partial(picture.save, **options))
    except OSError as error:
        raise DatasetError(
            f"{kept} can't be written to ({error.strerror or error}). Make room, or choose another folder with --made."
        ) from error
    return sha256, *map(str, files)


def photographs_to_learn(root: str | Path, max_side: int, step: int) -> list[Callable[[], Image.Image | None]]:
    """What opens each real photograph of a folder or manifest as `fitted` gives it, or gives None; the listing will say why."""

    def opened(path: str) -> Image.Image | None:
        try:
            return fitted(open_picture(read_file(path)).image, max_side, step)
        except (UnusablePicture, OSError):
            return None

    return [partial(opened, sample.path) for sample in pictures_of(REAL, root).samples]


def place_for_made(made: str | Path) -> Path:
    """The folder; raises DatasetError where it can't be made or written to, before anything is learnt for a quarter of an hour."""
    folder = Path(made).expanduser()
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise DatasetError(f"{folder} can't be written to: {there} is no folder, or not yours. Choose another with --made.")
    return folder


def check_max_side(max_side: int) -> None:
    """Raise DatasetError for one that leaves too little of a photograph."""
    if max_side < _SMALLEST:
        raise DatasetError(f"--max-side should be at least {_SMALLEST} pixels; received {max_side}.")


def fitted(photograph: Image.Image, max_side: int, step: int) -> Image.Image:
    """Scaled down to `max_side` and cut at its right and lower edge to multiples of `step`; raises UnusablePicture."""
    if max(photograph.size) > max_side:
        photograph = _scaled(photograph, max_side / max(photograph.size))
    width, height = (n // step * step for n in photograph.size)
    if min(width, height) < step:
        raise UnusablePicture(f"too small to be rebuilt: {photograph.width} x {photograph.height}, at least {step} pixels a side")
    return photograph.crop((0, 0, width, height))


def shown_smaller(
    photograph: Image.Image, times: float, max_side: int, step: int, rebuild: Callable[[Image.Image], Image.Image]
) -> tuple[Image.Image, Image.Image]:
    """The photograph and what `rebuild` makes of it at so many times its size, at most `max_side`; both then reduced by as much.

    The real picture goes through the same, as it would else be told by that alone.
    """
    large = fitted(_scaled(photograph, min(times, max_side / max(photograph.size))), max_side, step)
    size = [max(1, round(n / times)) for n in large.size]
    real, fake = (picture.resize(size, Image.Resampling.LANCZOS) for picture in (large, rebuild(large)))
    return real, fake


def _scaled(photograph: Image.Image, times: float) -> Image.Image:
    return photograph.resize([max(1, round(n * times)) for n in photograph.size], Image.Resampling.LANCZOS)


def _encoding(content: bytes) -> tuple[str, dict[str, Any]]:
    """The ending of both files of a pair, and what Pillow is to save them with."""
    if content[:2] == b"\xff\xd8":
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as file:
                tables = [[min(255, step) for step in table] for _, table in sorted(file.quantization.items())]
                return ".jpg", {"format": "JPEG", "qtables": tables, "subsampling": JpegImagePlugin.get_sampling(file)}
        except Exception as error:
            raise UnusablePicture("truncated or damaged JPEG file; get a complete copy") from error
    if content.startswith(_LOSSLESS):
        return ".png", {"format": "PNG"}
    return ".jpg", {"format": "JPEG", "quality": 90, "subsampling": 2}
