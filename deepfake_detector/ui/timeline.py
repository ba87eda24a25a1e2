"""The course of a clip's verdict as HTML: a line over time for each person, and the same as tables."""

from __future__ import annotations

from deepfake_detector.report.words import percent
from deepfake_detector.types import Verdict

_COLOURS = 5  # of the persons' lines, each of which has one on light ground and one on dark


def timeline(verdict: Verdict) -> str:
    """A clip's frames as a drawing, a line for each person, and as tables."""
    persons = "".join(
        f'<tr><td class="person{number % _COLOURS}">person {number + 1}</td><td>{person.verdict}</td>'
        f"<td>{percent(person.p_fake, 1)}</td><td>{len(person.frames)}</td>"
        f"<td>{person.frames[0][0]:.1f} – {person.frames[-1][0]:.1f} s</td></tr>"
        for number, person in enumerate(verdict.persons)
    )
    frames = "".join(f"<tr><td>{seconds:.2f} s</td><td>{percent(p_fake, 1)}</td></tr>" for seconds, p_fake in verdict.frames)
    heads = "<tr><th></th><th>answer</th><th>fake</th><th>frames</th><th>seen</th></tr>"
    return (
        _course(verdict)
        + (f"<table>{heads}{persons}</table>" if persons else "")
        + f"<details><summary>Frame by frame</summary><table><tr><th>time</th><th>fake</th></tr>{frames}</table></details>"
    )


def _course(verdict: Verdict) -> str:
    """The drawing; of a single moment there is none."""
    lines = [person.frames for person in verdict.persons] or [verdict.frames]
    start, end = min(frames[0][0] for frames in lines), max(frames[-1][0] for frames in lines)
    if start == end:
        return ""

    def place(seconds: float, p_fake: float) -> str:
        return f"{100 * (seconds - start) / (end - start):.2f},{100 * (1 - p_fake):.2f}"

    drawn = []
    for number, frames in enumerate(lines):
        points = [place(*frame[:2]) for frame in frames]
        # A line of no length with round ends is a dot that stays round, however the drawing is stretched.
        dots = "".join(
            f'<path d="M{point}h0" stroke-width="8" stroke-linecap="round" vector-effect="non-scaling-stroke"/>' for point in points
        )
        drawn.append(
            f'<g class="person{number % _COLOURS}" stroke="currentColor" fill="none">'
            f'<polyline points="{" ".join(points)}" stroke-width="2" vector-effect="non-scaling-stroke"/>{dots}</g>'
        )
    limits = "".join(
        f'<path d="M0,{100 * (1 - p):.2f}h100" stroke="{colour}" stroke-dasharray="4" vector-effect="non-scaling-stroke"/>'
        for p, colour in ((verdict.thresholds.fake, "#cf222e"), (verdict.thresholds.real, "#2da44e"))
    )
    label = f"probability of fake from {start:.1f} to {end:.1f} seconds"
    return (
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{label}">{limits}{"".join(drawn)}</svg>'
        f'<div class="ends"><span>{start:.1f} s</span><span>{end:.1f} s</span></div>'
        '<p class="beside">The higher, the more suspicious: fake above the upper dashed line, real below the lower one.</p>'
    )
