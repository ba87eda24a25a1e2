"""Files that a reader, or a kill at any moment, meets as they were or whole; locks; names as tables, terminals and sentences hold them."""

from __future__ import annotations

import glob
import os
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_READABLE = 100  # characters
_JUST_MADE = 60  # seconds in which a file's writer has locked it for certain, though it wrote nothing yet


def write_atomically(path: Path, write: Callable[[Path], object], first_wins: bool = False) -> None:
    """Call `write(temporary path beside it)` and move the result to `path`; the folder is made if need be.

    With `first_wins` a file that is there by then stays: what others have made by it would no longer fit another.
    A pipe or a device such as /dev/stdout is written to as it is, and a link stays one: a file moved there would be in its place for
    everybody.
    """
    if _is_no_file(path):
        write(path)
        return
    if path.is_symlink():  # also /dev/stdout, where that goes into a file
        path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        lock(handle)  # for as long as it is open: somebody writes this file
        write(part)
        os.chmod(part, 0o644)  # mkstemp makes private files
        if not (first_wins and _linked(part, path)):
            os.replace(part, path)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, first_wins: bool = False) -> None:
    """The same for what is in memory. Safetensors' own writing raises no OSError on a full disk, so its files are written by this."""
    write_atomically(path, lambda part: part.write_bytes(content), first_wins)


def check_place(path: Path) -> None:
    """Raise OSError where `write_atomically` could not put this file, as on a read-only disk."""
    if not _is_no_file(path):
        check_folder((path.resolve() if path.is_symlink() else path).parent)


def check_folder(folder: Path) -> None:
    """Raise OSError where nothing can be made in this folder, before hours are spent on what is to lie there; it need not be there yet."""
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    try:
        tempfile.TemporaryDirectory(dir=there, prefix=".").cleanup()  # a disk may be read-only
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(there)) from error  # not by a name that nobody has given


def _is_no_file(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _linked(part: Path, path: Path) -> bool:
    """Whether the file is there now, by this or another writer; False where the file system has no links."""
    try:
        os.link(part, path)
    except OSError:
        return path.exists()
    return True


def sync(path: Path) -> None:
    """Have a file, or what a folder lists, on the disk itself before something else relies on it; Windows opens no folders."""
    if not fcntl:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_abandoned(path: Path) -> None:
    """Remove what writers of this file left beside it when they were killed, and nothing that is being written."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        try:
            state = left.stat()
            if not state.st_size and state.st_mtime > time.time() - _JUST_MADE:
                continue  # its writer may be about to lock it, which it does before it writes the first byte
            with left.open("rb") as file:
                if lock(file.fileno()):
                    left.unlink()
        except OSError:  # gone meanwhile, or somebody else's
            continue


def lock(handle: int) -> bool:
    """Take an open file or folder for as long as it is open here; False if another has it, or where there are no such locks.

    The kernel lets go of it when a process ends, killed or not. Windows and some network file systems have none.
    """
    if not fcntl:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(folder: Path, busy: Exception | None = None) -> Iterator[None]:
    """Wait for the folder's lock, or raise `busy` where another has it, and hold it meanwhile, where folders can be locked."""
    if not fcntl:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except OSError as error:  # some network file systems have no locks
            if busy and isinstance(error, BlockingIOError):
                raise busy from None
        yield
    finally:
        os.close(held)


def name_of(place: Path) -> str:
    """A folder's whole name, a file's without its ending."""
    return place.stem if place.is_file() else place.name


def matching(pattern: str, **options: bool) -> list[str]:
    """The files of a glob pattern, sorted; of a name that is a file's, with brackets in it perhaps, that file."""
    return [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern, **options))


def spelt_out(text: str) -> str:
    """The text, with what no UTF-8 file can hold (halves of surrogate pairs, as Python reads odd bytes of names) as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def in_one_line(text: str) -> str:
    """The text as a terminal may show it: what ends a line, moves the cursor, colours, or turns letters round is spelt out.

    A file's name may hold all of that, and would otherwise write lines of its own.
    """
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode() for c in spelt_out(text))
    return "".join(shown)


def cut(text: str) -> str:
    """The text, or its beginning where it is longer than can be read in an error."""
    return text if len(text) <= _READABLE else f"{text[: _READABLE - 2]} …"


def listed(names: Iterable[str]) -> str:
    """`a, b and c`, of one or more."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
