"""FaceForensics++ with DeepFakeDetection: original and manipulated sequences, with the official splits by pair."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import CLIPS, PICTURES, folder, list_files
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = (
    "original_sequences/{youtube,actors}/{raw,c23,c40}/videos/000.mp4 and manipulated_sequences/METHOD/{raw,c23,c40}/videos/000_003.mp4, "
    "or original/000.mp4 and METHOD/000_003.mp4"
)
_PLACE = r"(original|manipulated)_sequences/([^/]+)/(raw|c0|c23|c40)/"
COMPRESSIONS = ("raw", "c23", "c40")
_CLIP = re.compile(_PLACE + r"videos/([^/]+)\.[^./]+")
_FRAME = re.compile(_PLACE + r"(?:images|frames)/([^/]+)/[^/]+")  # as the data set's own script extracts them
_METHODS = "Deepfakes|Face2Face|FaceSwap|FaceShifter|NeuralTextures|DeepFakeDetection"
_FLAT = re.compile(rf"(?:.*/)?(original|{_METHODS})/([^/]+)\.[^./]+")  # as it is handed on at Kaggle (FaceForensics++_C23)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compression", choices=COMPRESSIONS, help="only the clips of this compression (default: all that are there)")


def scan(root: str | Path, compression: str | None = None) -> Listing:
    """List the clips, or the frames taken from them. The two clips of a pair and all that was made of them are one group.

    Several compressions of a clip are listed if they are there and none is chosen, in one group. Without splits/*.json the pairs
    are those of the manipulated clips' names, and the split is left open; the actors' clips have no official one.
    """
    root = folder(root, EXPECTED)
    split_of, partner, absent = _splits(root)

    def describe(path: str, name: str) -> Sample | None:
        if parts := _CLIP.fullmatch(name) or _FRAME.fullmatch(name):
            kind, source, _, clip = parts.groups()
        elif (parts := _FLAT.fullmatch(name)) and name.lower().endswith(CLIPS):
            kind, clip = parts.groups()
            source = "youtube" if kind == "original" else kind
        else:
            return None
        label = REAL if kind == "original" else FAKE
        video = name.rpartition("/")[0] if _FRAME.fullmatch(name) else name
        target = clip.partition("_")[0]
        if "__" in clip:  # an actor's scene: 01__kitchen, and 02's face put into it: 01_02__kitchen__ABCDEFGH
            scene = clip.split("__")[1]
            return Sample(path, name, label, source, f"actors/{target}__{scene}", video=video)
        if clip.count("_") == 1:
            partner.setdefault(target, clip.partition("_")[2])
            partner.setdefault(clip.partition("_")[2], target)
        return Sample(path, name, label, source, target, split_of.get(target, ""), video=video)

    found = list_files(root, CLIPS + PICTURES, describe, EXPECTED)
    # Only now are all pairs known, also those which the names alone tell.
    found.samples[:] = [_paired(sample, partner) for sample in found.samples if compression in (None, _compression(sample))]
    if not found.samples:
        raise DatasetError(f"No clip in {str(root)!r} is of the compression {compression}. Leave out --compression to take what is there.")
    if absent:
        whose = "its" if split_of else "all"
        found.skipped.append(("splits", f"without {', '.join(absent)} the official split of {whose} clips is unknown"))
    return found


def _compression(sample: Sample) -> str:
    place = re.match(_PLACE, sample.name)
    kept = place[3] if place else ""
    return "raw" if kept == "c0" else kept  # what the first release called it


def _paired(sample: Sample, partner: dict[str, str]) -> Sample:
    if sample.group.startswith("actors/"):
        return sample
    return dataclasses.replace(sample, group="_".join(sorted({sample.group, partner.get(sample.group, sample.group)})))


def _splits(root: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """(clip → split, clip → the other of its pair, the files that are not there) from splits/*.json."""
    split_of: dict[str, str] = {}
    partner: dict[str, str] = {}
    absent: list[str] = []
    for split in ("train", "val", "test"):
        path = next((f for f in (root / "splits" / f"{split}.json", root / "dataset" / "splits" / f"{split}.json") if f.is_file()), None)
        if path is None:
            absent.append(f"{split}.json")
            continue
        try:
            pairs = [(str(a), str(b)) for a, b in json.loads(path.read_text(encoding="utf-8-sig"))]
        except (OSError, ValueError, TypeError) as error:
            raise DatasetError(f'{path} should be a list of pairs such as ["071", "054"]; it can\'t be read ({error}).') from error
        for pair in pairs:
            for one, other in (pair, pair[::-1]):
                if split_of.setdefault(one, split) != split:
                    raise DatasetError(
                        f"{path} puts the clip {one} into {split}, but {split_of[one]}.json has it too. Get the original files."
                    )
                partner[one] = other
    return split_of, partner, absent
