"""From the colours that a file states to those of a standard screen, sRGB: what CLIP learnt from, and every model here."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

_LARGEST = 4 * 2**20  # bytes of an ICC profile; a printer's takes one or two million
_ALIKE = 3  # levels of 255 by which a profile may differ from sRGB and count as sRGB: the many in use do by 1 or 2
_STATED = {  # what an ICC profile is for → the mode of the pixels that it takes, and the modes of pictures that can be brought to that
    "RGB": ("RGB", {"RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1"}),
    "GRAY": ("L", {"L", "LA", "1", "I;16", "I;16L", "I;16B", "I;16N"}),
    "CMYK": ("CMYK", {"CMYK"}),
}


@dataclass(frozen=True)
class Profile:
    """An ICC profile that is not sRGB: brings pictures of its `modes` to sRGB; safe to call from many threads."""

    takes: str
    modes: frozenset[str]
    transform: ImageCms.ImageCmsTransform

    def __call__(self, image: Image.Image) -> Image.Image:
        """Any picture of those modes, with 8 bits a channel and without its transparency → RGB."""
        return ImageCms.applyTransform(image.convert(self.takes), self.transform)


def profile_of(image: Image.Image) -> Profile | None:
    """What brings a picture's pixels to sRGB; None where they are sRGB, or nobody can tell."""
    embedded = image.info.get("icc_profile")
    if not isinstance(embedded, bytes) or not 0 < len(embedded) <= _LARGEST:
        return None
    profile = _read(embedded)
    return profile if profile and image.mode in profile.modes else None


@lru_cache(maxsize=16)
def _read(embedded: bytes) -> Profile | None:
    """A profile's bytes as what it does; None for one that changes next to nothing, and for a broken one."""
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        takes, modes = _STATED[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, _srgb(), takes, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags)
    except Exception:  # a fuzzed one has Little CMS raise many things, and the pixels are none the worse for it
        return None
    profile = Profile(takes, frozenset(modes), transform)
    colours = _cube(takes)
    before, after = np.asarray(colours.convert("RGB"), int), np.asarray(profile(colours), int)
    brightness = before.sum(axis=-1)
    # One by which white is hardly lighter than black is broken.
    shows = after[brightness == brightness.max()].mean() - after[brightness == brightness.min()].mean() > 128
    return profile if shows and np.abs(after - before).max() > _ALIKE else None


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _cube(mode: str) -> Image.Image:
    """Colours from all over a mode, black and white among them, one beside another."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    levels = np.linspace(0, 255, {1: 256, 3: 9, 4: 5}[channels]).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(1, -1, channels)
    return Image.frombytes(mode, (colours.shape[1], 1), colours.tobytes())
