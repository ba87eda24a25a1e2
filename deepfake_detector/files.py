"""Writing a file so that a reader, or a kill at any moment, meets the old one or the whole new one."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: what a kill left behind stays there
    fcntl = None

_JUST_MADE = 60  # seconds in which a file's writer has locked it for certain


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path beside it)` and move the result to `path`; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with suppress(OSError, AttributeError):  # some network file systems, and Windows, have no such locks
            fcntl.flock(handle, fcntl.LOCK_EX)  # for as long as it is open: somebody writes this file
        write(part)
        os.chmod(part, 0o644)  # mkstemp makes private files
        os.replace(part, path)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def remove_abandoned(path: Path) -> None:
    """Remove what writers of this file left beside it when they were killed, and nothing that is being written."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part") if fcntl else ():
        try:
            if left.stat().st_mtime > time.time() - _JUST_MADE:
                continue  # its writer may be about to lock it
            with left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
        except OSError:  # locked by its writer, gone meanwhile, or somebody else's
            continue


def spelt_out(text: str) -> str:
    """The text, with what no UTF-8 file can hold (halves of surrogate pairs, as Python reads odd bytes of names) as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
