"""CNNSpot (ForenSynths) and UnivFD's test sets: GENERATOR/0_real and 1_fake, where need be with a class between."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import PICTURES, folder, list_files
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "GENERATOR/0_real and GENERATOR/1_fake, or GENERATOR/CLASS/0_real, below train, val or test or not"
_SPLITS = {"train": "train", "progan_train": "train", "val": "val", "progan_val": "val", "test": "test"}
_PAIRED = ("crn", "imle", "san", "seeingdark")  # a fake is made from the real picture of the same name


def scan(root: str | Path) -> Listing:
    """List the pictures. In train and val the folders are classes, and all fakes are ProGAN's, as published."""
    root = folder(root, EXPECTED)
    around = root.resolve().name

    def describe(path: str, name: str) -> Sample | None:
        *above, kind, file = name.split("/")
        if kind not in ("0_real", "1_fake"):
            return None
        split = next((_SPLITS[f] for f in (*reversed(above), around) if f in _SPLITS), "")
        named = [f for f in above if f not in _SPLITS]
        # Pointed at one generator's folder, that folder is its name.
        generator = "progan" if split in ("train", "val") else named[0] if named else around
        group = f"{'/'.join(above)}/{re.sub(r'[.][^.]+$', '', file)}" if generator in _PAIRED else name
        return Sample(path, name, FAKE, generator, group, split) if kind == "1_fake" else Sample(path, name, REAL, "real", group, split)

    return list_files(root, PICTURES, describe, EXPECTED)
