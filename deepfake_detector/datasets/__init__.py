"""Places that pictures come from: one file a place, each with a function `scan(root)` that lists labelled samples."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepfake_detector.types import Sample


@dataclass(frozen=True)
class Listing:
    """The labelled pictures in the order of their names, and what was left out as (name, reason)."""

    samples: list[Sample] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
