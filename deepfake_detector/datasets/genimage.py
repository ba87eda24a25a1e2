"""GenImage: GENERATOR/{train,val}/{ai,nature}; its real pictures are JPEG and its fakes PNG, which alone tells them apart."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import PICTURES, folder, list_files
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "GENERATOR/{train,val}/{ai,nature}"
_PICTURE = re.compile(r"(?:(.*)/)?(train|val)/(ai|nature)/(?:.*/)?([^/]+)")


def scan(root: str | Path) -> Listing:
    """List the pictures. The generator is the outermost folder, as in `Midjourney/imagenet_midjourney/train/ai`.

    Folders that all of them are below, such as `GenImage/` around the generators', name none. The same ImageNet photograph
    may stand beside several generators: reals of one file name are one group. Results are usually quoted on val.
    """
    root = folder(root, EXPECTED)

    def describe(path: str, name: str) -> Sample | None:
        parts = _PICTURE.fullmatch(name)
        if not parts:
            return None
        above, split, kind, file = parts.groups()
        if kind == "nature":
            return Sample(path, name, REAL, "imagenet", f"nature/{file}", split)
        return Sample(path, name, FAKE, above or "", name, split)

    found = list_files(root, PICTURES, describe, EXPECTED)
    generators = _generators({sample.generator for sample in found.samples if sample.label == FAKE}, root)
    found.samples[:] = [dataclasses.replace(s, generator=generators[s.generator]) if s.label == FAKE else s for s in found.samples]
    return found


def _generators(places: set[str], root: Path) -> dict[str, str]:
    """The folders above train and val → the generator that they stand for."""
    if len(places) > 1:
        around = f"{os.path.commonpath(places)}/".lstrip("/")
        return {place: place.removeprefix(around).split("/")[0] or root.resolve().name for place in places}
    # Of one alone nothing is known to be around it. Pointed at its folder, that folder is its name.
    return {place: re.sub(r"(?:.*/)?([^/]+)/imagenet_[^/]+", r"\1", place).split("/")[0] or root.resolve().name for place in places}
