"""Faces by a GAN that no model here has learnt from, beside photographs of faces.

    python -m venv /tmp/gan && /tmp/gan/bin/pip install openvino pillow
    /tmp/gan/bin/python benchmarks/gan_faces.py PACKAGES GAN --real FFHQ [--faces 160] [--seed 0]
    python evaluate.py --model models/default --model models/seed_mlp --data GAN

The GAN is MobileStyleGAN (Belousov, *MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis*,
2021): StyleGAN2's mapping network for FFHQ, and a small network that learnt to paint as StyleGAN2's does. Its weights (Apache 2.0) lie
in the package random_face, which pip fetches into PACKAGES (38 MB). About a second a face.

Faces of 1024 pixels are brought to 448 (Lanczos) and saved as JPEG 90. The photographs are copied as they are, so FFHQ is a folder of
them that were brought the same way. Every other face is truncated (ψ 0.5, the package's own setting): more likely, and smoother.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import zipfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from _input import at_least_one, in_words
from PIL import Image
from wild import fetched

PACKAGE = "pypi:random-face==2021.7.21.1"
SHA256 = "e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5"
SIDE, QUALITY = 448, 90
KINDS = {"mobile_stylegan": 1.0, "mobile_stylegan_truncated": 0.5}  # ψ
STYLE, DRAWN_FOR_MEAN = 512, 4096


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="where the package is kept")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--real", type=Path, required=True, metavar="FFHQ", help="a folder of photographs of faces")
    parser.add_argument("--faces", type=at_least_one, default=160)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photographs = sorted(one for one in arguments.real.glob("*") if one.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not photographs:
        parser.error(f"--real should be a folder of JPEG or PNG files. There are none in {arguments.real}.")
    arguments.packages.mkdir(parents=True, exist_ok=True)
    wheel = fetched(PACKAGE, arguments.packages)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{wheel} is not the release that this script was written for. Delete it, and run this again.")
    paint = painter(wheel, np.random.default_rng(arguments.seed))
    for number, (kind, psi) in zip(range(arguments.faces), cycle(KINDS.items()), strict=False):
        file = arguments.out / "fake" / kind / f"{arguments.seed}-{number:04}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        paint(psi).resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(file, quality=QUALITY, subsampling="4:2:0")
    beside = arguments.out / "real" / arguments.real.name
    beside.mkdir(parents=True, exist_ok=True)
    for one in photographs:
        shutil.copyfile(one, beside / one.name)
    print(f"{arguments.faces} faces and {len(photographs)} photographs in {arguments.out}")


def painter(wheel: Path, rng: np.random.Generator) -> Callable[[float], Image.Image]:
    """ψ → the next face, 1024×1024."""
    import openvino

    with zipfile.ZipFile(wheel) as file:
        networks = [[file.read(f"random_face/data/{name}Network.{end}") for end in ("xml", "bin")] for name in ("Mapping", "Synthesis")]
    core = openvino.Core()
    mapping, synthesis = (core.read_model(*network) for network in networks)
    mapping.reshape([-1, STYLE])
    style, picture = core.compile_model(mapping, "CPU"), core.compile_model(synthesis, "CPU")
    mean = style(rng.standard_normal((DRAWN_FOR_MEAN, STYLE), np.float32))[0].mean(axis=0, keepdims=True)

    def paint(psi: float) -> Image.Image:
        drawn = style(rng.standard_normal((1, STYLE), np.float32))[0]
        pixels = picture(mean + psi * (drawn - mean))[0][0]
        return Image.fromarray(np.clip(np.rint((pixels.transpose(1, 2, 0) + 1) * 127.5), 0, 255).astype(np.uint8))

    return paint


if __name__ == "__main__":
    main()
