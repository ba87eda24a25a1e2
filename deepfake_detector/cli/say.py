"""What is printed: lines that no name from outside can end, colour or make unprintable."""

from __future__ import annotations

from typing import TextIO

from deepfake_detector.files import in_one_line


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print these lines at once, each as a terminal may show it: names of files, folders and models are in them."""
    print(*(in_one_line(line) for line in lines), sep="\n", file=file, flush=True)
