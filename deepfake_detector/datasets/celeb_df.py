"""Celeb-DF, versions 1 and 2: Celeb-real, YouTube-real and Celeb-synthesis, with the official list of testing videos."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import CLIPS, PICTURES, folder, list_files
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL, Sample

TEST_LIST = "List_of_testing_videos.txt"
EXPECTED = f"Celeb-real/, YouTube-real/, Celeb-synthesis/ and {TEST_LIST}"
_PLACE = r"(Celeb-real|YouTube-real|Celeb-synthesis)/"
_CLIP = re.compile(_PLACE + r"([^/]+)\.[^./]+")
_FRAME = re.compile(_PLACE + r"(?:frames/)?([^/]+)/[^/]+")  # as others extract them, a folder a clip
_SWAP = re.compile(r"(id\d+)_id\d+_(\d+)")  # id0_id16_0000: the face of 16 put into the clip id0_0000


def scan(root: str | Path) -> Listing:
    """List the clips, or the frames taken from them. A fake is in the group of the real clip it was made from; the generator is the folder.

    The official list takes some fakes of a clip for testing and leaves others, so a group may be in both splits; whoever
    trains has to leave those out.
    """
    root = folder(root, EXPECTED)
    testing = _testing(root / TEST_LIST)

    def describe(path: str, name: str) -> Sample | None:
        parts = (_CLIP if name.lower().endswith(CLIPS) else _FRAME).fullmatch(name)
        if not parts:
            return None
        place, clip = parts.groups()
        whole = f"{place}/{clip}"
        label = FAKE if place == "Celeb-synthesis" else REAL
        listed = testing.get(whole)
        if listed and listed[1] != label:
            raise DatasetError(
                f"{root / TEST_LIST} should say 1 for real and 0 for fake, as it is published; of {name} it says the opposite. "
                "Get the original list."
            )
        swap = _SWAP.fullmatch(clip)
        group = f"{swap[1]}_{swap[2]}" if swap else clip if place == "Celeb-real" else f"{place}/{clip}"
        split = ("test" if listed else "train") if testing else ""
        return Sample(path, name, label, place, group, split, video=name if name.lower().endswith(CLIPS) else whole)

    found = list_files(root, CLIPS + PICTURES, describe, EXPECTED)
    there = {_unended(sample.video) if sample.video == sample.name else sample.video for sample in found.samples}
    found.skipped.extend((name, f"in {TEST_LIST}, but not there") for clip, (name, _) in testing.items() if clip not in there)
    if not testing:
        found.skipped.append((TEST_LIST, "not there, so the official split is unknown"))
    found.skipped.sort()
    return found


def _unended(name: str) -> str:
    """The name by which a clip is looked up in the list: it stays the same clip as .MP4, or converted to another container."""
    return name.rpartition(".")[0]


def _testing(path: Path) -> dict[str, tuple[str, int]]:
    """The official list as name without its ending → (name, our label); it says 1 for real, we say 1 for fake."""
    if not path.is_file():
        return {}
    testing = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        said, _, name = line.strip().partition(" ")
        if said not in ("0", "1") or not name:
            raise DatasetError(f"{path}, line {number}: expected 1 (real) or 0 (fake) and a path, got {line!r}. Get the original list.")
        testing[_unended(name.strip())] = (name.strip(), {"1": REAL, "0": FAKE}[said])
    if not testing:
        raise DatasetError(f"{path} is empty; expected lines such as '1 YouTube-real/00170.mp4' (1 is real).")
    return testing
