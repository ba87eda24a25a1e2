"""Writing a file so that a reader, or a kill at any moment, meets the old one or the whole new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path beside it)` and move the result to `path`; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        os.chmod(part, 0o644)  # mkstemp makes private files
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
