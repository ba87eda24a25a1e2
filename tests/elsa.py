"""Parquet shards with ELSA-D3's columns and types, as the hub has them, with small pictures in them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

MODELS = (
    "DeepFloyd/IF-II-L-v1.0",
    "CompVis/stable-diffusion-v1-4",
    "stabilityai/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-xl-base-1.0",
)
TEXTS = ("id", "original_prompt", "positive_prompt", "negative_prompt", "url")
FEATURES = datasets.Features(
    dict.fromkeys(TEXTS, datasets.Value("string"))
    | {f"model_gen{i}": datasets.Value("string") for i in range(4)}
    | {f"{what}_gen{i}": datasets.Value("int64") for what in ("width", "height", "num_inference_steps") for i in range(4)}
    | {f"filepath_gen{i}": datasets.Value("string") for i in range(4)}
    | {f"image_gen{i}": datasets.Image() for i in range(4)}
)


def picture(seed: int, blue: bool = False) -> bytes:
    """A noisy PNG, bluish or reddish; every seed another one."""
    pixels = np.random.default_rng([seed, blue]).integers(0, 120, (24, 28, 3)) + np.array([0, 20, 110] if blue else [110, 20, 0])
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def row(number: int, url: str | None) -> dict:
    """One row; its fakes are picture(10 * number + 0 … 3, blue=True)."""
    content: dict = dict.fromkeys(TEXTS, "a photo of a lake") | {"id": f"{number:09}", "url": url}
    for i, model in enumerate(MODELS):
        content |= {f"model_gen{i}": model, f"width_gen{i}": 28, f"height_gen{i}": 24, f"num_inference_steps_gen{i}": 50}
        content |= {
            f"filepath_gen{i}": f"images/{number}/gen{i}.png",
            f"image_gen{i}": {"bytes": picture(10 * number + i, blue=True), "path": None},
        }
    return content


def shards(folder: Path, url_of: Callable[[int], str | None], rows: int, split: str = "train", parts: int = 2, first: int = 0) -> Path:
    """Write rows `first` … into so many shards, several row groups each."""
    folder.mkdir(parents=True, exist_ok=True)
    content = [row(number, url_of(number)) for number in range(first, first + rows)]
    data = datasets.Dataset.from_list(content, features=FEATURES)
    for part in range(parts):
        data.shard(parts, part, contiguous=True).to_parquet(folder / f"{split}-{part:05}-of-{parts:05}.parquet", batch_size=5)
    return folder
