"""From files, pictures and clips mixed, to the single pictures that are embedded: a picture as it is, a clip as its chosen frames."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from deepfake_detector.embed import Content, Undecoded, read_file
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.types import Sample
from deepfake_detector.video import READING, Clip, Sampling, is_video

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shot(Generic[Item]):
    """One picture of an item: what `Embedder.embed` reads by `Shot.read`, once.

    `number` counts the items, so that the shots of one clip have it in common, and there are `of` them; `time` is a frame's, in seconds.
    `notes` say what is missing of the clip, `sha256` is its file's.
    """

    item: Item
    number: int
    read: Callable[[], Content]
    time: float | None = None
    notes: tuple[str, ...] = ()
    sha256: str = ""
    of: int = 1


def shots(items: Iterable[Item], path_of: Callable[[Item], str], sampling: Sampling | None = None) -> Iterator[Shot[Item]]:
    """The shots of each item, in order; at least one each, which for a clip that can't be read raises the reason."""
    for number, item in enumerate(items):
        if isinstance(item, Sample) and item.content is not None:
            # Whoever reads the bytes takes them along, since a shot may have to wait behind thousands of others.
            yield Shot(replace(item, content=None), number, [item.content].pop)
            continue
        path = path_of(item)
        if not is_video(path):
            yield Shot(item, number, functools.partial(read_file, path))
            continue
        try:
            clip = Clip(path, sampling)
        except (UnusablePicture, OSError) as error:
            yield Shot(item, number, functools.partial(_fail, error))
            continue
        for nth, time in enumerate(clip.times):
            yield Shot(item, number, functools.partial(_frame, clip, nth), time, clip.notes, clip.sha256, len(clip.times))


def _frame(clip: Clip, nth: int) -> Undecoded:
    frame = Undecoded(clip.identity(nth), functools.partial(clip.picture, nth), READING)
    weakref.finalize(frame, clip.forget, nth)  # the cache has answered, or all views of it are done: nobody can ask for it any more
    return frame


def _fail(error: Exception) -> Content:
    raise error
