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

PQ, HLG, BT709 = 16, 18, 1  # as the frames of a clip state their curve, and their primaries (ITU-T H.273)
_WHITE = 203  # cd/m² of the white of paper in HDR (ITU-R BT.2408), which is 1 below
_SOFT = 0.8  # the light from which on a standard screen, which ends at 1, shows less than there is
_BAND = 2**20  # pixels that are worked on at once
_BT2020_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)  # BT.2087


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


def to_standard(codes: np.ndarray, curve: int, primaries: int) -> np.ndarray:
    """(height, width, 3) uint16 RGB of a frame by the curve PQ or HLG → uint8 sRGB: darks and middle tones alike, highlights bent."""
    shown = np.empty(codes.shape, np.uint8)
    rows = max(1, _BAND // codes.shape[1])
    for top in range(0, len(codes), rows):
        light = _light(curve)[codes[top : top + rows]]
        if primaries != BT709:  # both curves belong to BT.2020, which is also meant where nothing is said
            light = (light @ _BT2020_TO_BT709.T).clip(0)
        strongest = light.max(axis=-1, keepdims=True)
        bent = 1 - (1 - _SOFT) * np.exp((_SOFT - strongest.clip(_SOFT)) / (1 - _SOFT))
        light *= np.where(strongest > _SOFT, bent / strongest.clip(_SOFT), 1)  # all three alike, so that the hue stays
        shown[top : top + rows] = _levels()[(light * 65535).astype(np.uint16)]
    return shown


@cache
def _light(curve: int) -> np.ndarray:
    """Each of the 65536 codes as light, by ITU-R BT.2100.

    HLG tells the light of the scene, and each screen has its own gamma for that. It is 1 for one that shows the white of HLG with 90 cd/m²,
    about as bright as a standard screen's is meant to be.
    """
    code = np.arange(2**16) / (2**16 - 1)
    if curve == PQ:
        root = code ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305) * 10_000 / _WHITE
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        light /= (np.exp((0.75 - c) / a) + b) / 12  # its white is at 75 %
    return light.astype(np.float32)


@cache
def _levels() -> np.ndarray:
    """Light in 65536 steps as sRGB's levels."""
    light = np.arange(2**16) / (2**16 - 1)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)
