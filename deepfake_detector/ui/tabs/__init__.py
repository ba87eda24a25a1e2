"""One file a tab, each with TITLE, ORDER and build(gr, detector, visitor)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio import State

KEPT = 2 * 3600  # seconds that it is kept for, less where the visitor leaves


@dataclass
class Held:
    """What a visitor's box holds by now: an answer about what it held before must not stand beside it."""

    path: str | None = None


@dataclass(frozen=True)
class Visitor:
    """What is kept for one visitor alone.

    `taught` holds the panel whose first model this visitor has taught, None for as long as it is the one that all share; `corrections`
    what the visitor has said that pictures are.
    """

    taught: State
    corrections: State
