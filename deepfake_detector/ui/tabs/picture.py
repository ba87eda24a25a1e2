"""The first tab: drop a picture, read the verdict."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from deepfake_detector.embed import read_file
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.images import check_file_size, open_picture
from deepfake_detector.types import FAKE, REAL
from deepfake_detector.ui import uploads
from deepfake_detector.ui.corrections import Corrections, corrected
from deepfake_detector.ui.heat_map import attention_map, heat_map
from deepfake_detector.ui.kept_report import BUTTON, kept
from deepfake_detector.ui.tabs import AWAITED, HIDDEN, KEPT, Held, Upload, Visitor, another_turn, asking_who_answers
from deepfake_detector.ui.verdict_card import card, problem
from deepfake_detector.ui.warming import Warming

if TYPE_CHECKING:
    from deepfake_detector.panel import Panel
    from deepfake_detector.types import Verdict

TITLE, ORDER = "Picture", 10
_LOCAL = re.compile(r"""["']?(file:|[a-z]:[\\/]|\\\\|/(?!/)|~|\.\.?[\\/])""", re.IGNORECASE)  # what names a file on the visitor's device
EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass
class HeldPicture(Held):
    """`sha256` is that of a picture that was judged, `judged` who was asked about it and what they answered until a report is made.

    `full` says whether there is a picture in this turn.
    """

    full: bool = False
    sha256: str | None = None
    judged: tuple[Panel, Verdict] | None = None


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    class UntouchedImage(gr.Image):
        """Hands on the uploaded file itself: gr.Image would decode it first, and fail in its own words on what it can't."""

        def preprocess(self, payload):
            return Upload.of(payload)

        def postprocess(self, value):
            shown = super().postprocess(value.path if isinstance(value, Upload) else value)
            if isinstance(value, Upload):
                shown.orig_name = value.name  # the address that it came from
            return shown

        def get_block_name(self) -> str:
            return "image"

    def judge(upload: Upload, turn: int, own: Panel | None, held: HeldPicture, so_far: Corrections) -> tuple[Any, ...]:
        judged = sha256 = None
        try:
            content, shared = read_file(upload.path), detector.get()
            panel = own or shared
            judged = panel, (verdict := panel.judge(content))
            said, teachable, sha256 = card(verdict, content), shared.first.bundle.recall is not None, verdict.sha256
        except (DetectorError, OSError) as error:
            said, teachable = problem(f"This file can't be judged: {error}"), False
        if turn != held.turn:
            return nothing
        held.judged, held.sha256 = judged, sha256
        return said, "", gr.Row(visible=teachable), "", gr.DownloadButton(visible=False), retractable(held, so_far)

    def judge_first(upload: Upload | None, turn: int, own: Panel | None, held: HeldPicture, so_far: Corrections) -> tuple[Any, ...]:
        if not held.begins(turn):
            return nothing
        if upload is None:  # what was found of the one before may have come later than it was taken away
            return alone(AWAITED)
        return judge(upload, turn, own, held, so_far)

    def judge_again(upload: Upload | None, turn: int, own: Panel | None, held: HeldPicture, so_far: Corrections) -> tuple[Any, ...]:
        """What was taught may have another answer; the old one stays where the file is gone by now."""
        return judge(upload, turn, own, held, so_far) if upload and Path(upload.path).exists() else nothing

    def retractable(held: HeldPicture, so_far: Corrections) -> Any:
        """Only what was said of this very picture can be taken back."""
        return gr.Button(visible=held.sha256 in so_far)

    def hold(upload: Upload | None, turn: int, held: HeldPicture) -> None:
        if held.takes(turn):
            held.full, held.judged, held.sha256 = upload is not None, None, None

    def alone(html: str) -> tuple[Any, ...]:
        """This in the verdict's place, and nothing beside it."""
        return html, "", gr.Row(visible=False), "", gr.DownloadButton(visible=False), gr.Button(visible=False)

    def correct(label: int | None, upload: Upload | None, so_far: Corrections) -> tuple[Any, str]:
        if upload is None:
            return gr.skip(), ""
        try:
            with uploads.holding([upload.path]):
                return corrected(detector.get().first, upload.path, label, so_far)
        except (DetectorError, OSError) as error:
            return gr.skip(), str(error)

    def parts(upload: Upload | None, turn: int, held: HeldPicture) -> Iterator[tuple[str, Any]]:
        """What is drawn below the verdict, and the report, which has that in it."""
        yield (gr.skip(),) * 2  # of who yields nothing Gradio makes an answer that empties both
        if upload is None or turn != held.turn or held.judged is None:
            return  # the verdict's place says why, or the picture was judged before and is gone by now
        (panel, verdict), held.judged = held.judged, None
        with suppress(DetectorError, OSError):
            content = read_file(upload.path)
            by_parts = heat_map(content, panel.parts(content), panel.first.bundle.thresholds)
            drawn = by_parts or attention_map(content, panel.looked_at(content))
            with kept(verdict, panel.bundles, upload.name, content, drawn) as file:
                if turn == held.turn:
                    yield drawn, gr.DownloadButton(value=file, visible=True)

    def fetch(url: str, turn: int, held: HeldPicture) -> Iterator[tuple[Any, str, Any]]:
        left = "" if _holds_it(url.strip()) else gr.skip()  # Gradio keeps what a box held last, and no picture is to stay
        with tempfile.TemporaryDirectory() as folder:  # Gradio takes a copy of its own, and deletes that
            try:
                found = fetched(url.strip(), Path(folder))
                if held.full and held.turn > turn:  # it may take long, and whoever drops a picture meanwhile wants that
                    raise UnusablePicture("Another picture came meanwhile, and stays. To have this one in its place, fetch it again.")
                yield found, "", left
            except (DetectorError, OSError) as error:
                yield gr.skip(), f'<p role="alert">{escape(str(error))}</p>', left  # the picture that is there, and its verdict, stay

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
            address = gr.Textbox(
                placeholder="https://…",
                label="Or its address on the web, for this server to fetch",
                elem_id="address",
                submit_btn="Fetch",
            )
            address_said = gr.HTML(elem_id="address_said")
        with gr.Column():
            answer = gr.HTML(AWAITED, label="Verdict", elem_id="verdict", min_height=300)
            with gr.Row(visible=False, elem_id="correct") as correction:
                known = {
                    REAL: gr.Button("I know it is real", size="sm", min_width=100),
                    FAKE: gr.Button("I know it is fake", size="sm", min_width=100),
                }
                known[None] = gr.Button("Take that back", size="sm", min_width=100, visible=False)
            noted = gr.Markdown(elem_id="noted")
            report = gr.DownloadButton(BUTTON, size="sm", visible=False, elem_id="report")
            parts_shown = gr.HTML(label="Each part by itself", elem_id="parts")
    # Below both, so that on a phone the verdict stands right under the picture.
    gr.HTML(_examples(), label="Examples", elem_id="examples")
    shown = [answer, parts_shown, correction, noted, report, known[None]]
    nothing = (gr.skip(),) * len(shown)
    held, turn = gr.State(HeldPicture(), time_to_live=KEPT), gr.Number(0, visible=False, precision=0)
    # "multiple": what comes while another is judged would otherwise be passed over, and never be judged.
    private = {"api_visibility": "private", "trigger_mode": "multiple"}
    beside = ["", HIDDEN, "", HIDDEN, HIDDEN]
    begin = another_turn("picture", ["", *beside], [AWAITED, *beside])
    begun = picture.change(None, picture, [turn, *shown], js=begin, show_progress="hidden", **private)
    held_on = begun.then(hold, [picture, turn, held], queue=False, show_progress="hidden", **private)
    drawing = {"show_progress": "minimal", "show_progress_on": parts_shown}
    asked, slowly = [picture, turn, visitor.taught, held, visitor.corrections], {"concurrency_limit": 2, **private}
    for event, how in ((held_on.then, judge_first), (visitor.taught.change, judge_again)):
        judged = event(how, asked, shown, show_progress="full", show_progress_on=[answer, parts_shown], **slowly)
        judged.then(**asking_who_answers(detector, visitor))
        # The verdict first: the parts take longer.
        judged.then(parts, [picture, turn, held], [parts_shown, report], **drawing, **slowly)
    for label, button in known.items():
        button.click(
            partial(correct, label),
            [picture, visitor.corrections],
            [visitor.corrections, noted],
            concurrency_limit=1,  # of all three together, or what was said first might be noted last
            concurrency_id="correct",
            show_progress="minimal",
            **private,
        )
    said = [held, visitor.corrections]  # here, or forgotten on another tab
    visitor.corrections.change(retractable, said, known[None], queue=False, show_progress="hidden", api_visibility="private")
    fetching = {"api_visibility": "private", "concurrency_limit": 2, "show_progress": "full"}
    address.submit(fetch, [address, turn, held], [picture, address_said, address], **fetching)


def _examples() -> str:
    """HTML: a button for each, whose picture page.js has go the way of one that is dropped."""
    buttons = []
    for file in sorted(EXAMPLES.iterdir()):
        name, content = f"Example: {file.stem.replace('_', ' ')}", base64.b64encode(file.read_bytes()).decode()
        buttons.append(f'<button title="{name}"><img alt="" src="data:image/jpeg;base64,{content}"></button>')
    return f"<p>Or one of these, drawn by a program, neither photograph nor generated:</p>{''.join(buttons)}"


def fetched(url: str, folder: Path) -> Upload:
    """The picture at this address, or in it, as a file in `folder`; raises UnusablePicture saying why none came."""
    if not url:
        raise UnusablePicture("There is no address. Paste one, such as https://example.org/picture.jpg.")
    if _LOCAL.match(url):
        raise UnusablePicture("That is a file on your own device, which this server can't see. Drop the file above, or pick it there.")
    file = folder / "fetched.jpg"  # whatever it is: a browser looks at the bytes
    file.write_bytes(_held_by(url) if _holds_it(url) else _asked_for(url))
    return Upload(str(file), f"{url.partition(',')[0]},…" if _holds_it(url) else url)


def _holds_it(address: str) -> bool:
    return address[:5].lower() == "data:"


def _asked_for(url: str) -> bytes:
    from deepfake_detector.fetch import fetched_now

    [(_, content)] = fetched_now([url if "://" in url else f"https://{url}"], uploads.place())
    if isinstance(content, str):
        raise UnusablePicture(f"{content[:1].upper()}{content[1:]}.")
    return content


def _held_by(address: str) -> bytes:
    """What a data: address holds, which is all that some pages give of a small picture; nobody is asked for it."""
    header, _, held = address.partition(",")
    content = unquote_to_bytes(held)
    try:
        if header.lower().endswith(";base64"):
            content = base64.b64decode(content, validate=True)
        check_file_size(len(content))
        open_picture(content)
    except (ValueError, UnusablePicture) as error:
        raise UnusablePicture(f"This data: address holds no whole picture: {error}. Save the picture first, and drop its file.") from error
    return content
