"""GenImage: GENERATOR/{train,val}/{ai,nature}; its real pictures are JPEG and its fakes PNG, which alone tells them apart."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import PICTURES, folder, list_files
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "GENERATOR/{train,val}/{ai,nature}"
_PICTURE = re.compile(r"(?:.*/)?(train|val)/(ai|nature)/(?:.*/)?([^/]+)")


def scan(root: str | Path) -> Listing:
    """List the pictures. The generator is the outermost folder, as in `Midjourney/imagenet_midjourney/train/ai`.

    The same ImageNet photograph may stand beside several generators: reals of one file name are one group. Results are
    usually quoted on val.
    """
    root = folder(root, EXPECTED)

    def describe(path: str, name: str) -> Sample | None:
        parts = _PICTURE.fullmatch(name)
        if not parts:
            return None
        split, kind, file = parts.groups()
        if kind == "nature":
            return Sample(path, name, REAL, "imagenet", f"nature/{file}", split)
        above = name.split("/")[0]
        # Pointed at one generator's folder, that folder is its name.
        return Sample(path, name, FAKE, root.resolve().name if above == split else above, name, split)

    return list_files(root, PICTURES, describe, EXPECTED)
