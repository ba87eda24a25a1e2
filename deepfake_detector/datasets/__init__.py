"""Places that pictures come from: one file a place, each with a function `scan(root)` that lists labelled samples.

A file may also offer `add_options(parser)`: its own options, each with a default, are then taken beside `--dataset NAME` and
reach it as `scan(root, **options)`. Their names are none that the scripts have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deepfake_detector.types import Sample


@dataclass(frozen=True)
class Listing:
    """The labelled pictures in their order, and what was left out as (name, reason).

    `samples` is a list, or a stream (see `stream`): pictures that come by one after the other, as often as they are drawn.
    `total` is about how many a stream has, None where nobody knows. `facts` are for the table's manifest: what the data set
    has to say about its pictures as a whole, by name.
    """

    samples: Iterable[Sample] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    total: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_stream(self) -> bool:
        return not isinstance(self.samples, list)


Draw = Callable[[list[tuple[str, str]], dict[str, Any]], Iterator[Sample]]


def stream(draw: Draw, total: int | None = None) -> Listing:
    """A listing whose samples are drawn anew, the same in the same order, each time that somebody goes through them.

    `draw(skipped, facts)` yields them, pictures only and with their `content`, and fills the listing's `skipped` and `facts`
    on its way; both are empty again when the next one begins, and complete once all is drawn.
    """
    skipped: list[tuple[str, str]] = []
    facts: dict[str, Any] = {}
    return Listing(_Stream(draw, skipped, facts), skipped, total, facts)


@dataclass(frozen=True)
class _Stream:
    draw: Draw
    skipped: list[tuple[str, str]]
    facts: dict[str, Any]

    def __iter__(self) -> Iterator[Sample]:
        self.skipped.clear()
        self.facts.clear()
        return self.draw(self.skipped, self.facts)
