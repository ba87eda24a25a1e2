"""The Deepfake Detection Challenge: folders of clips, each with a metadata.json that says which are fake and made from what."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from deepfake_detector.datasets import Listing
from deepfake_detector.datasets._listing import CLIPS, folder, list_files
from deepfake_detector.datasets.folder import walk
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import FAKE, REAL, Sample

EXPECTED = "clips with a metadata.json beside them (dfdc_train_part_0/metadata.json, …)"
_LABELS = {"REAL": REAL, "FAKE": FAKE, 0: REAL, 1: FAKE}  # the test set's files have is_fake, 0 or 1
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def scan(root: str | Path) -> Listing:
    """List the clips. A fake is in the group of its original, wherever that lies; the generator of all fakes is `dfdc`."""
    root = folder(root, EXPECTED)
    places = ((name.rpartition("/"), path) for path, name in walk(str(root), (".json",), []))  # as the clips are found
    tables = {where or ".": _read(Path(path)) for (where, _, file), path in sorted(places) if file == "metadata.json"}
    seen: set[tuple[str, str]] = set()

    def describe(path: str, name: str) -> Sample | str:
        where = PurePosixPath(name)
        entry = tables.get(where.parent.as_posix(), {}).get(where.name)
        if entry is None:
            return "not in a metadata.json beside it"
        seen.add((where.parent.as_posix(), where.name))
        said = entry.get("label", entry.get("is_fake"))
        label = _LABELS.get(said) if isinstance(said, str | int) else None
        if label is None:
            return f"metadata.json should say REAL or FAKE of it; it says {said!r}"
        group = str(entry.get("original") or where.name)
        return Sample(path, name, label, "dfdc" if label == FAKE else "real", group, _SPLITS.get(str(entry.get("split")), ""), video=name)

    found = list_files(root, CLIPS, describe, EXPECTED)
    absent = [(place, clip) for place, table in tables.items() for clip in table if (place, clip) not in seen]
    found.skipped.extend((clip if place == "." else f"{place}/{clip}", "in metadata.json, but not there") for place, clip in absent)
    found.skipped.sort()
    return found


def _read(path: Path) -> dict[str, dict]:
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
        if not all(isinstance(entry, dict) for entry in table.values()):
            raise ValueError("an entry is no object")
    except (OSError, ValueError, AttributeError) as error:
        raise DatasetError(f'{path} should map clips to {{"label": "FAKE", "original": …}}; it can\'t be read ({error}).') from error
    return table
