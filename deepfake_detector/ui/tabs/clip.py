"""The tab for clips: drop one, read its verdict, and how it comes about over time and by person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepfake_detector import video
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.ui.moments import moments
from deepfake_detector.ui.tabs import KEPT, Held, Visitor, asking_who_answers
from deepfake_detector.ui.verdict_card import card, problem
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from deepfake_detector.panel import Panel

TITLE, ORDER = "Video", 20
MAX_SECONDS = 600  # of a longer film 16 frames say too little


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    def clear(path: str | None, held: Held) -> tuple[str, str]:
        """As for a picture: what was said of another, or is still being found, must not stand beside it."""
        held.path = path
        return "", ""

    def judge(path: str | None, own: Panel | None, held: Held) -> Iterator[tuple[Any, Any]]:
        for shown in about(path, own) if path == held.path else ():
            yield shown if path == held.path else (gr.skip(), gr.skip())

    def about(path: str | None, own: Panel | None) -> Iterator[tuple[str, str]]:
        if path is None:
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
    held, places = gr.State(Held(), time_to_live=KEPT), [answer, shown_moments]
    private = {"api_visibility": "private", "trigger_mode": "multiple"}
    cleared = clip.change(clear, [clip, held], places, queue=False, show_progress="hidden", **private)
    asked = [clip, visitor.taught, held]
    judged = cleared.then(judge, asked, places, concurrency_limit=1, show_progress="full", show_progress_on=answer, **private)
    judged.then(**asking_who_answers(detector, visitor))


def check(path: str) -> None:
    """Raise UnusablePicture for what is no clip, or too long a one."""
    if not video.is_video(path):
        raise UnusablePicture(f"not a video by its name; expected {video.EXPECTED}")
    seconds = video.length(path)
    if seconds > MAX_SECONDS:
        raise UnusablePicture(f"too long: {seconds:.0f} seconds; at most {MAX_SECONDS} are judged here; cut out the part that matters")
