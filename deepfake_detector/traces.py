"""What a picture betrays without being looked at: facts of its file, and low-level statistics of its pixels.

No detector should need these to tell real from fake; the audit and the trivial baselines measure whether they would do.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture

_STANDARD_LUMINANCE_MEAN = 3688 / 64  # of the JPEG standard's quantisation table at quality 50 (ITU T.81, table K.1)
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
_RINGS = 16
_WINDOW = 512  # pixels a side, from the middle, on the 8-pixel grid of JPEG


def file_facts(content: bytes, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Families of numbers about the file alone; `size` is of the upright picture."""
    with Image.open(io.BytesIO(content)) as file:  # the header alone; no pixel is decoded
        kind, mode, info = file.format, file.mode, file.info
        tables = getattr(file, "quantization", None) or {}
        layers = getattr(file, "layer", None)
    width, height = size
    extras = [key in info for key in ("exif", "icc_profile", "dpi", "progressive", "jfif", "xmp")]
    return {
        "file format": np.array([kind == name for name in _FORMATS] + [mode == name for name in ("RGB", "RGBA", "P", "L")], float),
        "embedded data": np.array(extras + [len(info)], float),
        "picture size": np.array([width, height, min(width, height), max(width, height), width * height], float),
        "aspect ratio": np.array([width / height], float),
        "JPEG quality": np.array([_jpeg_quality(tables), *_table_means(tables), layers[0][1] if layers else 0], float),
        "bits per pixel": np.array([8 * len(content) / (width * height)]),
    }


def _table_means(tables: dict[int, list[int]]) -> tuple[float, float]:
    means = [float(np.mean(table)) for table in tables.values()]
    return (means + [-1.0, -1.0])[0], (means + [-1.0, -1.0])[1]


def _jpeg_quality(tables: dict[int, list[int]]) -> float:
    """The quality (1..100) at which libjpeg would write a luminance table of this mean; -1 where there is none."""
    if not tables:
        return -1.0
    scale = 100 * float(np.mean(tables[min(tables)])) / _STANDARD_LUMINANCE_MEAN
    return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))


def low_level(picture: Picture) -> np.ndarray:
    """(38,) noise residual moments and correlations, the radial spectrum, the traces of JPEG's 8-pixel grid, and clipping."""
    rgb = np.asarray(_middle(picture), np.float32)  # (h, w, 3)
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    residual = _high_pass(grey)
    return np.array(
        [*_moments(residual), *_colour_noise(rgb), *_radial_spectrum(grey), *_grid(grey), *_clipping(grey)],
        np.float64,
    )


def tones(picture: Picture) -> np.ndarray:
    """(9,) how bright a picture is and how far its grey levels reach: their mean, deviation and quantiles, and the share that occurs."""
    grey = np.asarray(picture.convert("L"), np.float64)
    return np.array([grey.mean(), grey.std(), *np.quantile(grey, (0.01, 0.1, 0.25, 0.75, 0.9, 0.99)), _used_levels(grey)])


def layout(picture: Picture) -> np.ndarray:
    """(80,) where it is bright: 8×8 grey levels of the whole, and of each corner, a tenth of a side, the mean, deviation and extremes."""
    grey = picture.convert("L")
    coarse = np.asarray(grey.resize((8, 8), Image.Resampling.BOX), np.float64).ravel()
    pixels, reach = np.asarray(grey, np.float64), max(8, min(picture.size) // 10)
    corners = [pixels[rows, columns] for rows in (np.s_[:reach], np.s_[-reach:]) for columns in (np.s_[:reach], np.s_[-reach:])]
    return np.array([*coarse, *(number for one in corners for number in (one.mean(), one.std(), one.min(), one.max()))])


def _middle(picture: Picture) -> Picture:
    width, height = (min(side, _WINDOW) for side in picture.size)
    left, top = ((whole - part) // 16 * 8 for whole, part in zip(picture.size, (width, height), strict=True))
    return picture.crop((left, top, left + width, top + height))


def _high_pass(grey: np.ndarray) -> np.ndarray:
    """(h, w) → (h - 2, w - 2): each pixel less the mean of its eight neighbours' separable 3×3 prediction."""
    across = grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2
    return across[1:-1] - (across[:-2] + across[2:]) / 2


def _moments(residual: np.ndarray) -> list[float]:
    deviation = float(residual.std()) + 1e-6
    z = (residual - residual.mean()) / deviation
    lags = [float((z[:, k:] * z[:, :-k]).mean()) for k in (1, 2)] + [float((z[k:] * z[:-k]).mean()) for k in (1, 2)]
    quiet = float(np.quantile(np.abs(residual), 0.25))
    return [
        np.log(deviation),
        float((z**3).mean()),
        np.log(float((z**4).mean()) + 1e-3),
        np.log(quiet + 0.05),
        float((residual == 0).mean()),
        *lags,
    ]


def _colour_noise(rgb: np.ndarray) -> list[float]:
    """Strength of each channel's residual, and how far the channels' residuals agree."""
    r, g, b = (_high_pass(rgb[..., channel]).ravel() for channel in range(3))
    strengths = [np.log(float(channel.std()) + 1e-3) for channel in (r, g, b)]
    agreement = [float((x * y).mean() / ((x.std() * y.std()) + 1e-3)) for x, y in ((r, g), (g, b))]
    return [strengths[0] - strengths[1], strengths[2] - strengths[1], *agreement]


def _radial_spectrum(grey: np.ndarray) -> np.ndarray:
    """(16,) log power by spatial frequency, from coarse to the finest, less its own mean."""
    height, width = grey.shape
    windowed = (grey - grey.mean()) * np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.rfft2(windowed)) ** 2
    ring, inside = _rings(height, width)
    by_ring = np.bincount(ring, power[inside], _RINGS) / np.maximum(np.bincount(ring, minlength=_RINGS), 1)
    spectrum = np.log(by_ring + 1.0)
    return spectrum - spectrum.mean()


@lru_cache(maxsize=8)  # of many sizes, as photographs from the web are, all would fill the memory
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The ring of each frequency, and which frequencies lie within the rings (not in the corners)."""
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    inside = (radius > 0) & (radius < 0.5)
    return (radius[inside] * 2 * _RINGS).astype(int), inside


def _grid(grey: np.ndarray) -> list[float]:
    """For columns and rows: the step across the borders of 8×8 blocks against the other steps, and the same at 4."""
    traces = []
    for lines in (grey, grey.T):
        steps = np.abs(np.diff(lines, axis=1)).mean(axis=0)  # (w - 1,)
        for period in (8, 4):
            border = np.arange(len(steps)) % period == period - 1
            traces.append(float(np.log((steps[border].mean() + 0.1) / (steps[~border].mean() + 0.1))))
    return traces


def _clipping(grey: np.ndarray) -> list[float]:
    return [float((grey < 1).mean()), float((grey > 254).mean()), float(grey.mean()) / 255, float(grey.std()) / 255, _used_levels(grey)]


def _used_levels(grey: np.ndarray) -> float:
    """The share of grey levels that occur: gaps betray a stretched histogram."""
    return float((np.bincount(grey.astype(int).ravel(), minlength=256) > 0).mean())
