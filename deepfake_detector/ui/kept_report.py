"""A verdict as one HTML file to keep: the picture, what was said of it and by whom; it needs no network, and runs nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.images import as_address, open_picture
from deepfake_detector.report.words import MEANINGS, bad_at, of_clips_too, promised
from deepfake_detector.types import Verdict
from deepfake_detector.ui.verdict_card import card
from deepfake_detector.versions import versions

if TYPE_CHECKING:
    from deepfake_detector.bundle import Bundle

SIDE = 1000  # pixels of the picture's longer side
BUTTON = "Download a report of this, within five minutes"
_HERE = Path(__file__).parent


def page(verdict: Verdict, bundles: Sequence[Bundle], name: str, content: bytes | None = None, drawn: str = "") -> str:
    """The HTML for a file of this name, judged just now by these models; everything that came from outside is escaped.

    `content` is a picture's file, and `drawn` the HTML of what was drawn below the verdict.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    picture = open_picture(content).image if content else None
    size = picture and picture.size
    if picture:
        picture.thumbnail((SIDE, SIDE))
    said = card(verdict, content, timed=False).replace("<details>", "<details open>")  # paper opens nothing
    return environment.get_template("kept_report.html.j2").render(
        models=bundles,
        name=name,
        at=datetime.now(UTC),
        versions=versions(),
        size=size,
        bytes=len(content or b""),
        shrunk=picture and picture.size != size,
        picture=picture and as_address(picture),
        card=Markup(said),
        drawn=Markup(drawn),
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        promised=promised,
        of_clips_too=of_clips_too,
        bad_at=bad_at,
        meanings=MEANINGS,
    )


@contextmanager
def kept(verdict: Verdict, bundles: Sequence[Bundle], name: str, content: bytes | None = None, drawn: str = "") -> Iterator[str]:
    """The same as a file, for as long as this lasts: Gradio takes a copy of its own, and deletes that as it does uploads."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"report_{verdict.sha256[:12]}.html"
        file.write_text(page(verdict, bundles, name, content, drawn), encoding="utf-8", errors="backslashreplace")
        yield str(file)
