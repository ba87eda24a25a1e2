"""Where a clip is suspicious: the worst of its frames, part by part, and the worst sighting of each person's face."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING

from deepfake_detector.images import small
from deepfake_detector.report.words import percent
from deepfake_detector.types import Person, Verdict
from deepfake_detector.ui.heat_map import heat_map
from deepfake_detector.video import Clip, Sampling

if TYPE_CHECKING:
    from PIL import Image

    from deepfake_detector.panel import Panel

_MOST_PERSONS = 12


def moments(panel: Panel, path: str, verdict: Verdict, sampling: Sampling) -> str:
    """HTML for a clip of which these frames were judged; "" where its models judge no parts and found no faces.

    Raises UnusablePicture or OSError.
    """
    asked = {one.model: one for one in (verdict, *verdict.others)}
    whole = asked.get(panel.first.bundle.name)
    at, p_fake = max(whole.frames, key=lambda frame: frame[1]) if whole and not whole.persons else (None, 0.0)
    persons = [person for one in asked.values() for person in one.persons][:_MOST_PERSONS]
    sightings = [max(person.frames, key=lambda frame: frame[1]) for person in persons]
    frames = _frames(path, sampling, {at, *(seconds for seconds, _, _ in sightings)})
    return (_parts(panel, frames[at], at, p_fake) if at is not None else "") + _faces(persons, sightings, frames)


def _frames(path: str, sampling: Sampling, wanted: set[float | None]) -> dict[float, Image.Image]:
    """The frames at these seconds, which are among those that were judged."""
    clip, found = Clip(path, sampling), {}
    for nth, seconds in enumerate(clip.times):
        if seconds in wanted:
            found[seconds] = clip.picture(nth).image
        else:
            clip.forget(nth)  # or it would be held
    return found


def _parts(panel: Panel, frame: Image.Image, at: float, p_fake: float) -> str:
    content = io.BytesIO()
    frame.save(content, "PNG")
    by_parts = heat_map(content.getvalue(), panel.parts(content.getvalue(), of_clip=True), panel.first.bundle.thresholds)
    return by_parts and (
        f'<p class="moment">The frame most suspicious to {escape(panel.first.bundle.name)} is that at {at:.2f} s, with a '
        f"probability of fake of {percent(p_fake, 1)}:</p>{by_parts}"
    )


def _faces(persons: list[Person], sightings: list[tuple], frames: dict[float, Image.Image]) -> str:
    shown = "".join(
        f'<li class="{person.verdict}"><img alt="a face" src="{small(frames[seconds].crop(box))}">person {number}, {person.verdict}: '
        f"{percent(p_fake, 1)} at {seconds:.2f} s</li>"
        for number, (person, (seconds, p_fake, box)) in enumerate(zip(persons, sightings, strict=True), start=1)
    )
    return shown and (
        '<div class="verdict"><p class="beside">The most suspicious sighting of each person:</p>'
        f'<ul class="similar faces">{shown}</ul></div>'
    )
