"""Any folder of clips, labelled by the same folder names as pictures are (real/… and fake/GENERATOR/…)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import CLIPS, list_files
from deepfake_detector.datasets.folder import check_words, from_layout
from deepfake_detector.types import Sample


def scan(root: str | Path) -> Listing:
    """List the clips; each is its own group."""
    found = list_files(root, CLIPS, _describe, "clips below folders that say real or fake")
    check_words(found.samples)
    return found


def _describe(path: str, name: str) -> Sample | str:
    sample = from_layout(path, name)
    return dataclasses.replace(sample, video=name) if sample else "no real/fake folder above it"
