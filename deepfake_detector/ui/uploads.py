"""The folder for what visitors upload: one server's own, emptied of what is old, and gone with the server, however it ended."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake_detector.errors import DetectorError
from deepfake_detector.files import lock

CHECKED_EVERY, KEPT = 60, 300  # seconds
_PREFIX = "deepfake_detector_uploads_"


@contextmanager
def folder() -> Iterator[Path]:
    """Gradio's folder for files, private, for as long as this lasts; what servers that were killed have left beside it is removed.

    It lies in $GRADIO_TEMP_DIR, or the system's folder for temporary files. To be entered before gradio is imported.
    """
    parent = Path(place()).resolve()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        own, held = _make(parent)
    except OSError as error:
        raise DetectorError(
            f"Uploads can't be put in {parent} ({error}). Name a folder that can be written in $GRADIO_TEMP_DIR."
        ) from error
    os.environ["GRADIO_TEMP_DIR"] = str(own)
    try:
        yield own
    finally:
        os.environ["GRADIO_TEMP_DIR"] = str(parent)
        shutil.rmtree(own, ignore_errors=True)  # where an upload that still runs is in the way, the next server removes it
        if held is not None:
            os.close(held)


@contextmanager
def sweeping(own: Path, forget: Callable[[], None]) -> Iterator[None]:
    """Remove every minute what is old in the folder, also what is in no list of gradio's: an upload that was cut off; and `forget` more."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(CHECKED_EVERY):
            remove_old(own, KEPT)
            forget()

    threading.Thread(target=sweep, name="uploads", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def place() -> str:
    """Where an upload that is not gradio's own is to be put for as long as it is judged: in the folder, while there is one."""
    return os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()


def hold(paths: Iterable[str]) -> int:
    """Let uploads count as new, so that none is deleted while it waits for others' turn; returns how many are gone already."""
    gone = 0
    for path in paths:
        try:
            os.utime(path)
        except FileNotFoundError:
            gone += 1
    return gone


@contextmanager
def holding(paths: Collection[str]) -> Iterator[None]:
    """Hold them for as long as this lasts; raises DetectorError where some are gone already."""
    if gone := hold(paths):
        which, them = ("It is", "it") if len(paths) == 1 else (f"{gone} of the {len(paths)} files are", "them")
        raise DetectorError(
            f"{which} no longer here: uploads are deleted after {KEPT // 60} minutes, and when the server starts anew. "
            f"Take {them} away, and drop {them} again."
        )
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(CHECKED_EVERY):
            hold(paths)

    threading.Thread(target=again, name="holding", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def remove_old(place: Path, age: float) -> None:
    """Remove the files that nobody has written or moved for so many seconds, and then the folders that are empty for as long."""
    for file in [one for one in place.rglob("*") if not one.is_dir()]:
        try:
            if time.time() - file.lstat().st_ctime > age:
                file.unlink()
        except OSError:
            pass  # half an upload that now has its own name, say; what still can't be removed is tried again
    for folder in sorted((one for one in place.rglob("*") if one.is_dir()), reverse=True):  # the inner ones first
        try:
            if time.time() - folder.lstat().st_ctime > age:
                folder.rmdir()
        except OSError:
            pass  # not empty


def _make(parent: Path) -> tuple[Path, int | None]:
    """A new folder, and what holds its lock; None where there are no locks, and what a killed server leaves stays there."""
    fresh = Path(tempfile.mkdtemp(dir=parent))
    try:
        held = os.open(fresh, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return fresh, None
    if not lock(held):
        os.close(held)
        return fresh, None
    # Only now does it get a name by which others look, so none can take it for abandoned.
    return fresh.rename(parent / f"{_PREFIX}{fresh.name}"), held


def _remove_abandoned(parent: Path) -> None:
    for place in parent.glob(f"{_PREFIX}*"):
        try:
            found = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or another server has just removed it
        if lock(found):  # its server has ended
            shutil.rmtree(place, ignore_errors=True)
        os.close(found)
