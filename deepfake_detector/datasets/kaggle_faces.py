"""Two collections of faces as Kaggle hands them out: manjilkarki's (from OpenForensics) and xhlulu's 140k (FFHQ and StyleGAN)."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import PICTURES, list_files
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "Dataset/{Train,Validation,Test}/{Real,Fake} or real_vs_fake/real-vs-fake/{train,valid,test}/{real,fake}"
_SPLITS = {"Train": "train", "Validation": "val", "Test": "test", "train": "train", "valid": "val", "test": "test"}
_MANJILKARKI = re.compile(r"(?:.*/)?(Train|Validation|Test)/(Real|Fake)/[^/]+")
_XHLULU = re.compile(r"(?:.*/)?(train|valid|test)/(real|fake)/[^/]+")


def scan(root: str | Path) -> Listing:
    """List the pictures by their folders; xhlulu's CSV files say 1 for real, and are not needed. Each is its own group."""
    return list_files(root, PICTURES, _describe, EXPECTED)


def _describe(path: str, name: str) -> Sample | None:
    for layout, sources in ((_MANJILKARKI, ("openforensics", "openforensics")), (_XHLULU, ("ffhq", "stylegan"))):
        if parts := layout.fullmatch(name):
            label = FAKE if parts[2].lower() == "fake" else REAL
            return Sample(path, name, label, sources[label], name, _SPLITS[parts[1]])
    return None
