"""The first tab: drop a picture, read the verdict."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepfake_detector.embed import read_file
from deepfake_detector.errors import DetectorError
from deepfake_detector.ui.heat_map import attention_map, heat_map
from deepfake_detector.ui.verdict_card import card, problem
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from gradio import State

    from deepfake_detector.panel import Panel

TITLE, ORDER = "Picture", 10
EXAMPLES = Path(__file__).parent.parent / "examples"


def build(gr: ModuleType, detector: Warming, taught: State) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    class UntouchedImage(gr.Image):
        """Hands on the uploaded file itself: gr.Image would decode it first, and fail in its own words on what it can't."""

        def preprocess(self, payload):
            return payload and payload.path

        def get_block_name(self) -> str:
            return "image"

    def judge(path: str | None, own: Panel | None) -> tuple[str, str]:
        if path is None:
            return "", ""
        try:
            content = read_file(path)
            return card((own or detector.get()).judge(content), content), ""
        except (DetectorError, OSError) as error:
            return problem(f"This file can't be judged: {error}"), ""

    def parts(path: str | None, own: Panel | None) -> str:
        if path is None:
            return ""
        try:
            content, panel = read_file(path), own or detector.get()
            by_parts = heat_map(content, panel.parts(content), panel.first.bundle.thresholds)
            return by_parts or attention_map(content, panel.looked_at(content))
        except (DetectorError, OSError):
            return ""  # the verdict's place says why

    with gr.Row():
        with gr.Column():
            picture = UntouchedImage(
                label="A picture: drop, paste, pick, or take one",
                type="filepath",
                image_mode=None,
                height=420,
                elem_id="picture",
                buttons=[],
            )
        with gr.Column():
            answer = gr.HTML(label="Verdict", elem_id="verdict", min_height=300)
            parts_shown = gr.HTML(label="Each part by itself", elem_id="parts")
    # Below both, so that on a phone the verdict stands right under the picture.
    gr.Examples(sorted(str(f) for f in EXAMPLES.iterdir()), picture, label="Drawn by a program, neither photograph nor generated")
    # The verdict first: the parts take longer.
    judged = picture.change(
        judge, [picture, taught], [answer, parts_shown], api_visibility="private", concurrency_limit=2, show_progress="full"
    )
    judged.then(parts, [picture, taught], parts_shown, api_visibility="private", concurrency_limit=2, show_progress="minimal")
