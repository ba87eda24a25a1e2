"""One file a tab, each with TITLE, ORDER and build(gr, detector, visitor)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepfake_detector.ui.verdict_card import under_way
from deepfake_detector.ui.warming import WAITING, Warming

if TYPE_CHECKING:
    from gradio import Checkbox, FileData, Markdown, State

    from deepfake_detector.panel import Panel
    from deepfake_detector.types import Verdict

AWAITED = "<p>The answer will stand here: real, fake or unsure, how sure, and why.</p>"  # where nothing was dropped yet
WAITS = under_way("It waits for its turn.")
KEPT = 2 * 3600  # seconds that it is kept for, less where the visitor leaves


class Upload(NamedTuple):
    """Where a file lies, and the name that it came by, or its address: Gradio takes signs out of names."""

    path: str
    name: str

    @classmethod
    def of(cls, payload: FileData | None) -> Upload | None:
        return payload and cls(payload.path, payload.orig_name or Path(payload.path).name)


@dataclass
class Held:
    """What a visitor's box holds by now: an answer about what it held before must not stand beside it.

    `frames` is how many of a clip's are to be judged. `waits` says that none has begun to judge it. `sha256` is that of a picture that was
    judged, `judged` who was asked about it and what they answered, until a report of that is made.
    """

    upload: Upload | None = None
    frames: int | None = None
    waits: bool = False
    sha256: str | None = None
    judged: tuple[Panel, Verdict] | None = None


@dataclass(frozen=True)
class Visitor:
    """What is kept for one visitor alone.

    `taught` holds the panel whose first model this visitor has taught, None for as long as it is the one that all share; `corrections`
    what the visitor has said that pictures are. `has_taught` is held by the browser, and so tells of what the server has lost by now, as it
    does with a restart. `status` is the line that says who is asked.
    """

    taught: State
    corrections: State
    has_taught: Checkbox
    status: Markdown


def asking_who_answers(detector: Warming, visitor: Visitor) -> dict[str, Any]:
    """The event that brings the status up to date: when something was taught, and after each answer, so that it is true of that."""
    return {
        "fn": detector.status,
        "inputs": [visitor.taught, visitor.has_taught],
        "outputs": visitor.status,
        "concurrency_limit": WAITING,
        "show_progress": "hidden",
        "api_visibility": "private",
    }


def into_sight(place: str) -> str:
    """JavaScript that shows the verdict at this place on a phone, where it stands below what was dropped, out of sight."""
    return f"""() => {{
  const verdict = document.querySelector('{place} .verdict');
  if (verdict && window.innerWidth < 768) verdict.scrollIntoView({{behavior: 'smooth', block: 'nearest'}});
}}"""
