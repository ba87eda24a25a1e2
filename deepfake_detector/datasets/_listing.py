"""What the published layouts share: walk the folder, let each file's name say what it is, and account for the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepfake_detector import video
from deepfake_detector.datasets import Listing
from deepfake_detector.datasets.folder import EXTENSIONS, walk
from deepfake_detector.errors import DatasetError
from deepfake_detector.types import Sample

PICTURES, CLIPS = EXTENSIONS, video.EXTENSIONS


def list_files(
    root: str | Path, extensions: tuple[str, ...], describe: Callable[[str, str], Sample | str | None], expected: str
) -> Listing:
    """List the files with these endings. `describe(path, name)` gives a sample, the reason to skip, or None for a stranger.

    `expected` is the layout, for the error when nothing fits it.
    """
    root = folder(root, expected)
    found = Listing()
    for path, name in walk(str(root), extensions, found.skipped):
        outcome = describe(path, name)
        if isinstance(outcome, Sample):
            found.samples.append(outcome)
        else:
            found.skipped.append((name, outcome or f"not a place where this data set keeps its files ({expected})"))
    if not found.samples:
        seen = ", ".join(repr(name) for name, _ in sorted(found.skipped)[:5]) or "no such file at all"
        raise DatasetError(f"Expected {expected} in {str(root)!r}; found {seen}. Point to the data set's top folder.")
    found.samples.sort(key=lambda sample: (sample.name, sample.path))
    found.skipped.sort()
    return found


def folder(root: str | Path, expected: str) -> Path:
    """The root as a path; raises DatasetError unless it is a folder."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DatasetError(f"Expected a folder with {expected}; {str(root)!r} is {'a single file' if root.exists() else 'missing'}.")
    return root
