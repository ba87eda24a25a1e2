"""Draw the page's example pictures: `python -m deepfake_detector.ui.draw_examples`; nobody's photograph, nobody's rights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SIZE = (384, 288)


def landscape(rng: np.random.Generator) -> Image.Image:
    """Hills under an evening sky, each ridge a random walk."""
    width, height = _SIZE
    sky = np.linspace((250, 190, 120), (70, 90, 150), height)[::-1, None, :].repeat(width, axis=1)
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for i in range(5):
        ridge = height * (0.45 + 0.12 * i) + np.cumsum(rng.normal(0, 1.6, width))
        colour = tuple(int(c * (1 - i / 7)) for c in (90, 110, 100))
        draw.polygon([(0, height), *zip(range(width), ridge.tolist(), strict=True), (width, height)], fill=colour)
    return _with_grain(picture, rng)


def still_life(rng: np.random.Generator) -> Image.Image:
    """Shaded balls on a table."""
    width, height = _SIZE
    y, x = np.mgrid[:height, :width]
    canvas = np.where((y > height * 0.6)[..., None], (150, 110, 80), (205, 200, 190)).astype(np.float64)
    for _ in range(6):
        centre_x, centre_y, radius = rng.uniform(50, width - 50), rng.uniform(height * 0.5, height * 0.8), rng.uniform(18, 48)
        dx, dy = (x - centre_x) / radius, (y - centre_y) / radius
        inside = dx**2 + dy**2 < 1
        light = np.clip(0.25 + 0.75 * (np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1)) * 0.7 - dx * 0.4 - dy * 0.5), 0, 1)
        canvas[inside] = (light[..., None] * rng.uniform(80, 255, 3))[inside]
    return _with_grain(Image.fromarray(canvas.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8)), rng)


def _with_grain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float64) + rng.normal(0, 4, (*picture.size[::-1], 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    folder = Path(__file__).parent / "examples"
    for seed, draw_one in enumerate((landscape, still_life)):
        draw_one(np.random.default_rng(seed)).save(folder / f"{draw_one.__name__}.jpg", quality=90)
