"""Real faces and their self-blended twins: to learn the seam of face swaps from real photographs alone.

Shiohara & Yamasaki, *Detecting Deepfakes with Self-Blended Images*, CVPR 2022; `self_blend.py` says what is done differently.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._pairs import MADE, Recipe, add_made, pairs


def add_options(parser: argparse.ArgumentParser) -> None:
    add_made(parser)


def scan(root: str | Path, made: str | Path = MADE) -> Listing:
    """Make the pairs of the real photographs in a folder or manifest, and list them; those without a face are left out."""
    from deepfake_detector.self_blend import SETTINGS, self_blend

    return pairs(root, Recipe("self_blended", SETTINGS, lambda photograph, seed: (photograph, self_blend(photograph, seed))), made)
