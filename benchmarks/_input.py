"""What benchmarks share: the way to the package, how they read what they are given, and words in place of a traceback where it won't do."""

from __future__ import annotations

import argparse
import functools
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from deepfake_detector.errors import DatasetError, DetectorError, UnusablePicture  # noqa: E402
from deepfake_detector.files import in_one_line  # noqa: E402
from deepfake_detector.types import LABEL_NAMES, Sample  # noqa: E402

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


def in_words(main: Callable[[], int | None]) -> Callable[[], int | None]:
    """A script's `main` that ends as the command lines do where its input won't do: in one line, with exit status 2.

    That is where something is raised on purpose, a file or folder can't be used, or a program that was started failed.
    """

    @functools.wraps(main)
    def run() -> int | None:
        try:
            return main()
        except DetectorError as error:
            said = str(error)
        except OSError as error:
            if not error.filename:
                raise
            said = f"{error.filename}: {error.strerror}. Correct the path, or choose another."
        except subprocess.CalledProcessError as error:
            print(error.stderr or "", end="", file=sys.stderr)  # what was not captured has been seen
            said = f"`{' '.join(map(str, error.cmd))}` failed, for the reason above."
        print(in_one_line(f"{Path(sys.argv[0]).name}: error: {said}"), file=sys.stderr)
        raise SystemExit(2)

    return run


def at_least_one(text: str) -> int:
    """An option that is a number of things, so 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more. Received: {text}.")
    return number


def pictures(data: str, split: str | None = None) -> list[Sample]:
    """The labelled pictures of a folder or manifest, or those of one split alone; raises DatasetError where there are none."""
    from deepfake_detector.datasets.folder import scan

    samples = scan(data).samples
    of_split = [sample for sample in samples if split in (None, sample.split)]
    if not of_split:
        there = ", ".join(sorted({repr(sample.split) for sample in samples}))
        raise DatasetError(f"{data} has no pictures of the split {split!r}; there are: {there}. Correct --split, or leave it out.")
    return of_split


def half_of_each(data: str, number: int) -> list[Sample]:
    """So many labelled pictures by lot, as many real as fake."""
    samples = pictures(data)
    return [
        sample
        for label, name in enumerate(LABEL_NAMES)
        for sample in by_lot([one for one in samples if one.label == label], max(1, number // 2), f"{name} pictures in {data}")
    ]


def by_lot(found: list[T], number: int, what: str) -> list[T]:
    """So many of what was found, the same each time; raises DatasetError where there are fewer."""
    if number > len(found):
        raise DatasetError(f"Expected at least {number} {what}; there are {len(found)}. Add some, or ask for fewer with --pictures.")
    return random.Random(0).sample(found, number)


def copied(samples: list[Sample], folder: Path) -> None:
    """Copy pictures into a folder, below others that say what each is."""
    for i, sample in enumerate(samples):
        target = folder / LABEL_NAMES[sample.label] / sample.generator / f"{i}{Path(sample.path).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample.path, target)


def opened(path: str | Path) -> Image:
    """A file's picture; raises UnusablePicture with the file's name."""
    from deepfake_detector.embed import read_file
    from deepfake_detector.images import open_picture

    try:
        return open_picture(read_file(str(path))).image
    except (OSError, UnusablePicture) as error:
        raise UnusablePicture(f"{path} can't be used ({error}). Replace it, or leave it out.") from error
