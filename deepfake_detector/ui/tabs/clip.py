"""The tab for clips: drop one, read its verdict, and how it comes about over time and by person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepfake_detector import video
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.types import Progress
from deepfake_detector.ui import uploads
from deepfake_detector.ui.kept_report import BUTTON, kept
from deepfake_detector.ui.moments import moments
from deepfake_detector.ui.tabs import AWAITED, HIDDEN, KEPT, WAITS, Held, Upload, Visitor, another_turn, asking_who_answers, once_more
from deepfake_detector.ui.verdict_card import card, problem, under_way
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from deepfake_detector.panel import Panel

TITLE, ORDER = "Video", 20
MAX_SECONDS = 600  # of a longer film 16 frames say too little
MOST_FRAMES = 144  # of a clip: what a server of two cores judges in two minutes
# Three times as many have all of the fewer among them, which are remembered then.
_CLOSENESS = {"16 frames": 16, "48 frames: three times as long": 48, "144 frames: nine times as long": MOST_FRAMES}


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    class NamedVideo(gr.Video):
        """Hands on the upload with the name that it came by."""

        def preprocess(self, payload):
            return Upload.of(payload)

        def get_block_name(self) -> str:
            return "video"

    def hold(upload: Upload | None, turn: int, held: Held) -> None:
        held.takes(turn)
        if upload:
            uploads.hold([upload.path])  # which may have been there for minutes, and now waits for its turn

    def alone(html: str) -> tuple[str, str, Any]:
        """This, and nothing below it."""
        return html, "", gr.DownloadButton(visible=False)

    def judge(upload: Upload | None, frames: int, turn: int, own: Panel | None, held: Held) -> Iterator[tuple[Any, ...]]:
        nothing = (gr.skip(),) * 3
        yield nothing  # of who yields nothing at all Gradio makes an answer that empties all
        if held.begins(turn):
            # Where none is there, what was told of the one before may have come later than it was taken away.
            said = about(upload, video.Sampling(frames), own) if upload else [alone(AWAITED)]
            yield from held.while_it_is(turn, said, nothing)

    def about(upload: Upload, sampling: video.Sampling, own: Panel | None) -> Iterator[tuple[str, str, Any]]:
        yield alone(under_way("Its first frames are being judged."))
        try:
            with uploads.holding([upload.path]):
                check(upload.path)
                panel = own or detector.get()
                for so_far in panel.judging(upload.path, sampling):
                    if isinstance(so_far, Progress):
                        yield alone(under_way(f"{so_far.done} of {so_far.of} frames are judged.", so_far))
        except (DetectorError, OSError) as error:
            yield alone(problem(f"This file can't be judged: {error}"))
            return
        shown = card(verdict := so_far)
        yield alone(shown)  # the verdict first: the moments take longer
        with suppress(DetectorError, OSError):  # the verdict stands without
            drawn = moments(panel, upload.path, verdict, sampling)
            with kept(verdict, panel.bundles, upload.name, drawn=drawn) as file:
                yield shown, drawn, gr.DownloadButton(value=file, visible=True)

    with gr.Row():
        with gr.Column():  # which a phone sets one below the other
            clip = NamedVideo(
                label="A video, up to ten minutes and 200 MB",
                sources=["upload"],
                height=420,
                elem_id="clip",
                buttons=[],
                include_audio=True,
            )
            frames = gr.Radio(
                list(_CLOSENESS.items()),
                value=video.Sampling().frames,
                label="How closely to look",
                info="More frames show more of its course, and what is seen for a moment only.",
                elem_id="clip_frames",
            )
        with gr.Column():
            answer = gr.HTML(AWAITED, label="Verdict", elem_id="clip_verdict", min_height=300)
            report = gr.DownloadButton(BUTTON, size="sm", visible=False, elem_id="clip_report")
            shown_moments = gr.HTML(label="Where it is suspicious", elem_id="clip_moments")
    held, turn, places = gr.State(Held(), time_to_live=KEPT), gr.Number(0, visible=False, precision=0), [answer, shown_moments, report]
    private = {"api_visibility": "private", "trigger_mode": "multiple", "show_progress": "hidden"}
    first = [WAITS, "", HIDDEN], [AWAITED, "", HIDDEN]
    begun = gr.on([clip.change, frames.input], None, [clip, frames], [turn, *places], js=another_turn("clip", *first), **private)
    # Two, so that few frames of one clip don't wait for many of another. "hidden": Gradio would tell how long other clips took.
    asked = [clip, frames, turn, visitor.taught, held]
    heard = begun.then(hold, [clip, turn, held], queue=False, **private)
    heard = heard.then(None, None, places, js=once_more("clip", *first), **private)
    judged = heard.then(judge, asked, places, concurrency_limit=2, **private)
    judged.then(**asking_who_answers(detector, visitor))


def check(path: str) -> None:
    """Raise UnusablePicture for what is no clip, or too long a one."""
    if not video.is_video(path):
        raise UnusablePicture(f"not a video by its name; expected {video.EXPECTED}")
    seconds = video.length(path)
    if seconds > MAX_SECONDS:
        raise UnusablePicture(f"too long: {seconds:.0f} seconds; at most {MAX_SECONDS} are judged here; cut out the part that matters")
