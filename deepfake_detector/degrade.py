"""What happens to pictures on their way through the world, as deterministic functions of (picture, seed).

A *view* is a degradation with a name: those of `VIEWS`, and `augment0`, `augment1`, … (the training augmentation), `clip0`, `clip1`, …
(a frame of a clip) and `poor0`, `poor1`, … (a frame of a clip coded with much loss), another draw for each number. A crop takes views after
a plus sign: `whole+jpeg50` is a crop like any other, so its embeddings are cached like any other. A name must therefore never change what
it does: another strength is another name.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont
from PIL.Image import Image as Picture
from PIL.Image import Resampling

from deepfake_detector.errors import UnknownName
from deepfake_detector.filmed import POOR, filmed, filmed_somehow

View = Callable[[Picture, int], Picture]

_WEBP_LARGEST = 16383  # pixels of a side
_AT_ONCE = 2**20  # pixels
_SMALLEST, _LARGEST = 32, 4096  # sides that resizing neither falls below nor passes


def jpeg(picture: Picture, quality: int, subsampling: int = 2) -> Picture:
    """Saved as JPEG and opened again; subsampling 0 is 4:4:4, 2 is 4:2:0."""
    return _saved(picture, "JPEG", quality=quality, subsampling=subsampling)


def webp(picture: Picture, quality: int) -> Picture:
    """Saved as lossy WebP and opened again; what is too long for one is scaled down, as whoever saves it must."""
    long = max(picture.size)
    if long > _WEBP_LARGEST:
        picture = picture.resize([max(1, side * _WEBP_LARGEST // long) for side in picture.size], Resampling.BICUBIC)
    return _saved(picture, "WEBP", quality=quality)


def resize(picture: Picture, factor: float, resampling: Resampling = Resampling.BICUBIC) -> Picture:
    """Both sides times the factor, as far as the limits allow."""
    return picture.resize(resized(picture.size, factor), resampling)


def resized(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """The width and height that `resize` gives a picture of this width and height."""
    short, long = sorted(size)
    factor = min(max(factor, min(1.0, _SMALLEST / short)), max(1.0, _LARGEST / long))
    width, height = (max(1, round(side * factor)) for side in size)
    return width, height


def centre_crop(picture: Picture, share: float) -> Picture:
    """The middle, with this share of each side."""
    return _crop(picture, share, share, 0.5, 0.5)


def blur(picture: Picture, radius: float) -> Picture:
    """Gaussian, its radius (standard deviation) in pixels."""
    return picture.filter(ImageFilter.GaussianBlur(radius))


def noise(picture: Picture, deviation: float, seed: int) -> Picture:
    """Gaussian noise on each channel, in grey levels of 255."""
    rng, pixels = np.random.default_rng(seed), np.array(picture)
    rows = max(1, _AT_ONCE // picture.width)
    for band in np.split(pixels, range(rows, picture.height, rows)):  # of a photograph all of the grain at once takes a gigabyte
        band[:] = np.clip(np.rint(band + rng.normal(0, deviation, band.shape)), 0, 255)
    return Image.fromarray(pixels)


def screenshot(picture: Picture, seed: int) -> Picture:
    """Shown smaller on a screen, a touch brighter, cut out by hand some pixels off, and saved by the phone."""
    rng = np.random.default_rng(seed)
    shown = resize(picture, 0.75, Resampling.BILINEAR)
    shown = ImageEnhance.Brightness(shown).enhance(1.04)
    return jpeg(_crop(shown, 0.97, 0.97, *rng.random(2)), 85, subsampling=0)


def phone(picture: Picture, seed: int) -> Picture:
    """A screenshot of a phone of 9:19.5 that shows it: black or white above and below, the time in a corner."""
    ground = int(np.random.default_rng(seed).integers(2)) * 255
    width, height = picture.width, max(round(picture.width * 19.5 / 9), round(picture.height * 1.2))
    screen = Image.new("RGB", (width, height), (ground,) * 3)
    screen.paste(picture, (0, (height - picture.height) // 2))
    font = ImageFont.load_default(size=max(8, round(0.04 * width)))
    ImageDraw.Draw(screen).text((round(0.06 * width), round(0.02 * height)), "9:41", (255 - ground,) * 3, font)
    return screen


def social_media(picture: Picture, seed: int) -> Picture:
    """Uploaded and passed on: scaled down, sharpened, saved, cut by a few pixels (so the grids differ), and saved again."""
    rng = np.random.default_rng(seed)
    once = jpeg(resize(picture, 0.7, Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(1, 60, 2)), 72)
    return jpeg(_crop(once, 0.98, 0.98, *rng.random(2)), 65)


def augment(picture: Picture, seed: int) -> Picture:
    """The training augmentation: a flip, a crop, other colours, another size, another sharpness, grain, a way through social
    media and a compression, each by chance.

    Both classes go through it, so that neither sharpness, colour, size nor file format can tell them apart.
    """
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.5:
        picture = _crop(picture, *rng.uniform(0.6, 1.0, 2), *rng.random(2))
    if rng.random() < 0.5:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = enhance(picture).enhance(float(rng.uniform(0.7, 1.4)))
    if rng.random() < 0.5:
        filters = (Resampling.BOX, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)
        picture = resize(picture, float(np.exp(rng.uniform(np.log(0.4), np.log(2.0)))), filters[rng.integers(len(filters))])
    sharpness = rng.random()
    if sharpness < 0.3:
        picture = blur(picture, float(rng.uniform(0.3, 1.5)))
    elif sharpness < 0.6:
        picture = picture.filter(ImageFilter.UnsharpMask(float(rng.uniform(0.5, 2.0)), int(rng.integers(30, 151)), 0))
    if rng.random() < 0.15:
        picture = noise(picture, float(rng.uniform(1.0, 6.0)), int(rng.integers(2**32)))
    if rng.random() < 0.2:
        small = jpeg(resize(picture, float(rng.uniform(0.4, 0.8))), int(rng.integers(30, 71)))
        picture = small.resize(picture.size, Resampling.BICUBIC)
    codec, quality = rng.random(), int(rng.integers(30, 96))
    if codec < 0.5:
        return jpeg(picture, quality, int(rng.choice([0, 2])))
    return webp(picture, quality) if codec < 0.75 else picture


VIEWS: dict[str, View] = {
    "jpeg90": lambda picture, seed: jpeg(picture, 90),
    "jpeg70": lambda picture, seed: jpeg(picture, 70),
    "jpeg50": lambda picture, seed: jpeg(picture, 50),
    "jpeg30": lambda picture, seed: jpeg(picture, 30),
    "webp75": lambda picture, seed: webp(picture, 75),
    "half": lambda picture, seed: resize(picture, 0.5),
    "double": lambda picture, seed: resize(picture, 2.0),
    "crop80": lambda picture, seed: centre_crop(picture, 0.8),
    "blur1": lambda picture, seed: blur(picture, 1.0),
    "noise5": lambda picture, seed: noise(picture, 5.0, seed),
    "screenshot": screenshot,
    "phone": phone,
    "social": social_media,
    "h264": filmed,
}


FRAMES = r"(?:(?:clip|poor)\d+|h264)(?:\+\w+)*"  # the names of views that are frames of clips, whatever befell these since
_DRAWN: dict[str, View] = {"augment": augment, "clip": filmed_somehow, "poor": functools.partial(filmed_somehow, coding=POOR)}


def saved_again(coding: str) -> bool:
    """Whether a coding is one of frames to which more befell: `clip0+jpeg90`."""
    return "+" in coding


def copies(asked: str) -> tuple[str, ...]:
    """The views of the degraded copies asked for: `2` is augment0 and augment1, `augment0,clip0` these; raises UnknownName."""
    names = tuple(f"augment{i}" for i in range(int(asked))) if asked.isdecimal() else tuple(asked.split(","))
    for name in names:
        view(name)
    if len(set(names)) < len(names):
        raise UnknownName(f"Each view is learnt from once; received: {asked}.")
    return names


def view(name: str) -> View:
    """A view by its name; raises UnknownName with those there are."""
    if name in VIEWS:
        return VIEWS[name]
    draw = re.fullmatch(rf"({'|'.join(_DRAWN)})(\d+)", name)
    if not draw:
        raise UnknownName(
            f"There is no view {name!r}; there are: {', '.join(VIEWS)}, augment0, augment1, …, clip0, clip1, …, poor0, poor1, …."
        )
    drawn = _DRAWN[draw[1]]
    return lambda picture, seed: drawn(picture, int(np.random.SeedSequence([seed, int(draw[2])]).generate_state(1)[0]))


def _crop(picture: Picture, share_x: float, share_y: float, at_x: float, at_y: float) -> Picture:
    """A part of this share of each side; `at` 0..1 runs from the left or upper edge to the other."""
    width, height = (max(min(side, _SMALLEST), round(side * share)) for side, share in zip(picture.size, (share_x, share_y), strict=True))
    left, top = round((picture.width - width) * at_x), round((picture.height - height) * at_y)
    return picture.crop((left, top, left + width, top + height))


def _saved(picture: Picture, codec: str, **options: int) -> Picture:
    file = io.BytesIO()
    picture.save(file, codec, **options)
    with Image.open(file) as again:
        return again.convert("RGB")
