"""CNNSpot (ForenSynths) and UnivFD's test sets: GENERATOR/0_real and 1_fake, where need be with a class between."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import PICTURES, folder, list_files
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "GENERATOR/0_real and GENERATOR/1_fake, or GENERATOR/CLASS/0_real, below train, val or test or not"
_SPLITS = {"train": "train", "progan_train": "train", "val": "val", "progan_val": "val", "test": "test"}
_SPLITS |= dict.fromkeys(("CNN_synth_testset", "diffusion_datasets"), "test")  # as the archives of the test sets are called
# ProGAN's classes, of which one more is `train`; then those of StyleGAN and CycleGAN.
_CLASSES = {
    "airplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
}
_CLASSES |= {"person", "pottedplant", "sheep", "sofa", "tvmonitor"} | {"bedroom", "church", "apple", "orange", "summer", "winter", "zebra"}
_PAIRED = ("crn", "imle", "san", "seeingdark")  # a fake is made from the real picture of the same name


def scan(root: str | Path) -> Listing:
    """List the pictures. In train and val the folders are classes, and all fakes are ProGAN's, as published."""
    root = folder(root, EXPECTED)
    around = root.resolve().name

    @cache
    def has_classes(place: Path) -> bool:
        return any((place / name).is_dir() for name in _CLASSES)

    def describe(path: str, name: str) -> Sample | None:
        *above, kind, file = name.split("/")
        if kind not in ("0_real", "1_fake"):
            return None
        folders = list(above)
        if folders and (folders[-1] in _CLASSES or folders[-1] == "train" and has_classes(Path(path).parents[2])):
            folders.pop()
        at = next((i for i in reversed(range(len(folders))) if folders[i] in _SPLITS), -1)
        split = _SPLITS.get(folders[at] if at >= 0 else around, "")
        if split in ("train", "val"):
            generator = next(iter(folders[at + 1 :]), "progan")
        else:  # pointed at one generator's folder, that folder is its name
            generator = next(iter(folders[at + 1 :] or folders[:at][-1:]), around)
        group = f"{'/'.join(above)}/{re.sub(r'[.][^.]+$', '', file)}" if generator in _PAIRED else name
        return Sample(path, name, FAKE, generator, group, split) if kind == "1_fake" else Sample(path, name, REAL, "real", group, split)

    return list_files(root, PICTURES, describe, EXPECTED)
