"""The tab for clips: drop one, read its verdict, and how it comes about over time and by person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from deepfake_detector import video
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.ui.moments import moments
from deepfake_detector.ui.tabs import Visitor
from deepfake_detector.ui.verdict_card import card, problem
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from deepfake_detector.panel import Panel

TITLE, ORDER = "Video", 20
MAX_SECONDS = 600  # of a longer film 16 frames say too little


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    def judge(path: str | None, own: Panel | None) -> Iterator[tuple[str, str]]:
        if path is None:
            yield "", ""
            return
        try:
            check(path)
            panel = own or detector.get()
            verdict = panel.judge_file(path)
        except (DetectorError, OSError) as error:
            yield problem(f"This file can't be judged: {error}"), ""
            return
        shown = card(verdict)
        yield shown, ""  # the verdict first: the moments take longer
        with suppress(DetectorError, OSError):  # the verdict stands without
            yield shown, moments(panel, path, verdict)

    with gr.Row():
        with gr.Column():  # which a phone sets one below the other
            clip = gr.Video(
                label="A video of up to ten minutes and 200 MB: drop or pick one",
                sources=["upload"],
                height=420,
                elem_id="clip",
                buttons=[],
                include_audio=True,
            )
        with gr.Column():
            answer = gr.HTML(label="Verdict", elem_id="clip_verdict", min_height=300)
            shown_moments = gr.HTML(label="Where it is suspicious", elem_id="clip_moments")
    clip.change(
        judge,
        [clip, visitor.taught],
        [answer, shown_moments],
        api_visibility="private",
        concurrency_limit=1,
        show_progress="full",
        show_progress_on=answer,
    )


def check(path: str) -> None:
    """Raise UnusablePicture for what is no clip, or too long a one."""
    if not video.is_video(path):
        raise UnusablePicture(f"not a video by its name; expected {video.EXPECTED}")
    seconds = video.length(path)
    if seconds > MAX_SECONDS:
        raise UnusablePicture(f"too long: {seconds:.0f} seconds; at most {MAX_SECONDS} are judged here; cut out the part that matters")
