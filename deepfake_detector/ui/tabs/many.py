"""The tab for many files at once: drop them, read their verdicts, the most suspicious first, and take them away as a CSV."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepfake_detector import answers
from deepfake_detector.embed import read_file
from deepfake_detector.errors import DetectorError, UnusablePicture
from deepfake_detector.images import small, thumbnail
from deepfake_detector.report.words import percent
from deepfake_detector.types import Progress, Verdict
from deepfake_detector.ui import uploads
from deepfake_detector.ui.tabs import HIDDEN, KEPT, WAITS, Held, Visitor, another_turn, asking_who_answers, clip
from deepfake_detector.ui.verdict_card import card, problem, under_way
from deepfake_detector.ui.warming import WAITING, Warming
from deepfake_detector.video import Clip, Sampling, is_video

if TYPE_CHECKING:
    from deepfake_detector.panel import Panel

TITLE, ORDER = "Many files", 30
MOST = 100  # pictures at once: what a server of two cores judges in two minutes
_RANK = {"fake": 0, "unsure": 1, "real": 2}
_INTRODUCTION = (
    f"Up to {MOST} pictures at once, or clips, each of which counts as {Sampling().frames}, or a folder of them. The most suspicious "
    "come first; open one to read why."
)
_UNJUDGED = "<p>Not judged yet: press the button once all are here.</p>"


Files = list[tuple[str, str]]  # of each, where it lies, and the name that it came by


@dataclass
class HeldFiles(Held):
    """Whose turn begins with other files, and once more with the button; `pressed` says by which it began.

    `before` says that the button was pressed in the turn before it: answers about files that are gone may still be on their way.
    """

    pressed: bool = False
    before: bool = False


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    nothing = (gr.skip(),) * 3

    class NamedFiles(gr.File):
        """Hands on each upload's path with the name that it came by: gr.File takes signs out of names, and the answers go by them."""

        def preprocess(self, payload):
            return [(file.path, Path(file.orig_name or file.path).name) for file in payload or []]

        def get_block_name(self) -> str:
            return "file"

    def alone(html: str) -> tuple[Any, Any, Any]:
        """This, and no answers below it."""
        return html, "", gr.DownloadButton(visible=False)

    def change(turn: int, held: HeldFiles) -> None:
        """With it ends what is still being found of the files before; these wait for the button."""
        if held.takes(turn):
            held.pressed, held.before = False, held.pressed or held.before

    def clear(files: Files, turn: int, held: HeldFiles) -> tuple[Any, ...]:
        """What was said of the files before may have come later than these."""
        return alone(_UNJUDGED if files else "") if turn == held.turn and held.before else nothing

    def hold(files: Files, turn: int, held: HeldFiles) -> None:
        held.takes(turn)
        if turn == held.turn:  # also where `change` came to know of it first, as Gradio gathers what it hands on late
            held.pressed, held.before = True, False
        uploads.hold([path for path, _ in files])

    def far(done: int, of: int) -> tuple[Any, Any, Any]:
        return under_way(f"{done} of {of} files are judged.", Progress(done, of)), gr.skip(), gr.skip()

    def judge(files: Files, turn: int, own: Panel | None, held: HeldFiles) -> Iterator[tuple[Any, ...]]:
        yield nothing  # of who yields nothing at all Gradio makes an answer that empties all
        if held.pressed and held.begins(turn):
            yield from held.while_it_is(turn, about(files, own), nothing)

    def about(files: Files, own: Panel | None) -> Iterator[tuple[Any, Any, Any]]:
        paths, names = [path for path, _ in files], [name for _, name in files]
        outcomes: list[Verdict | str] = []
        try:
            check(paths)
            with uploads.holding(paths):
                yield far(0, len(paths))
                for outcome in judged(own or detector.get(), paths):
                    outcomes.append(outcome)
                    yield far(len(outcomes), len(paths))
                each = shown(paths, names, outcomes)
        except (DetectorError, OSError) as error:
            yield alone(problem(f"These files can't be judged: {error}"))
            return
        with tempfile.TemporaryDirectory() as folder:  # Gradio takes a copy of its own, and deletes that
            table = Path(folder) / "answers.csv"
            with table.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                list(answers.write(file, zip(names, outcomes, strict=True)))
            yield counted(outcomes), each, gr.DownloadButton(value=str(table), visible=True)

    gr.Markdown(_INTRODUCTION)
    files = NamedFiles(label="Pictures and clips", file_count="multiple", elem_id="many", height=220)
    press = gr.Button("Judge these", variant="primary", elem_id="judge_many", interactive=False)
    told = gr.HTML(label="What came of them", elem_id="many_told", min_height=40)
    answer = gr.HTML(label="Verdicts", elem_id="many_verdicts")
    download = gr.DownloadButton("Download the answers as a CSV, within five minutes", visible=False, elem_id="many_download")
    held, turn, places = gr.State(HeldFiles(), time_to_live=KEPT), gr.Number(0, visible=False, precision=0), [told, answer, download]
    private = {"api_visibility": "private", "trigger_mode": "multiple", "show_progress": "hidden"}
    # Several side by side, so that nobody's few wait for another's many. "hidden": Gradio would tell how long others' files took.
    slowly = {"concurrency_limit": WAITING, **private}
    pressable, not_pressable = ({"interactive": full, "__type__": "update"} for full in (True, False))
    begin = another_turn("many", [_UNJUDGED, "", HIDDEN, pressable], ["", "", HIDDEN, not_pressable])
    changed = files.change(None, files, [turn, *places, press], js=begin, **private)
    changed.then(change, [turn, held], queue=False, **private).then(clear, [files, turn, held], places, **slowly)
    begin = another_turn("many", [WAITS, "", HIDDEN], ["", "", HIDDEN], always=True)
    pressed = press.click(None, files, [turn, *places], js=begin, **private)
    judged_these = pressed.then(hold, [files, turn, held], queue=False, **private)
    judged_these.then(judge, [files, turn, visitor.taught, held], places, **slowly).then(**asking_who_answers(detector, visitor))


def check(paths: list[str]) -> None:
    """Raise DetectorError for too many."""
    clips = sum(map(is_video, paths))
    count = len(paths) - clips + clips * Sampling().frames
    if count > MOST:
        raise DetectorError(
            f"There are {count} pictures, of which a clip counts as {Sampling().frames}; at most {MOST} are judged here at once. Remove "
            "some, or use the command line's predict."
        )


def judged(panel: Panel, paths: list[str]) -> Iterator[Verdict | str]:
    """Each file's verdict, or the reason why it has none, in order."""
    refused = {path: reason for path in paths if is_video(path) and (reason := _too_long(path))}
    found = panel.judge_files(path for path in paths if path not in refused)
    return (refused[path] if path in refused else next(found)[1] for path in paths)


def _too_long(path: str) -> str:
    try:
        clip.check(path)
    except UnusablePicture as error:
        return str(error)
    return ""


def counted(outcomes: list[Verdict | str]) -> str:
    """HTML: what came of all of them, in a line."""
    counts = [sum(isinstance(outcome, Verdict) and outcome.verdict == answer for outcome in outcomes) for answer in _RANK]
    told = f"Of {len(outcomes)}: {counts[0]} fake, {counts[1]} unsure, {counts[2]} real"
    told += f", {len(outcomes) - sum(counts)} not judged." if sum(counts) < len(outcomes) else "."
    return f"<p>{told}</p>"


def shown(paths: list[str], names: list[str], outcomes: list[Verdict | str]) -> str:
    """HTML: each of them, to be opened, the most suspicious first."""
    ordered = sorted(zip(paths, names, outcomes, strict=True), key=lambda one: _suspicion(one[2]))
    return f'<div class="many">{"".join(_one(*one) for one in ordered)}</div>'


def _suspicion(outcome: Verdict | str) -> tuple[int, float]:
    return (_RANK[outcome.verdict], -outcome.p_fake) if isinstance(outcome, Verdict) else (len(_RANK), 0.0)


def _one(path: str, name: str, outcome: Verdict | str) -> str:
    name = escape(name)
    if isinstance(outcome, str):
        return f'<details class="none"><summary><i></i>{name}<b>not judged</b></summary>{problem(outcome)}</details>'
    content, picture = None, "<i></i>"
    with suppress(OSError, UnusablePicture):  # it was there when it was judged
        content = None if is_video(path) else read_file(path)
        picture = f'<img alt="" src="{thumbnail(content) if content else small(Clip(path, Sampling(1)).picture(0).image)}">'
    said = "by its own word" if outcome.by_the_file else f"{percent(outcome.p_fake, 1)} likely fake"
    return (
        f'<details class="{outcome.verdict}"><summary>{picture}{name}<b>{outcome.verdict}</b><span>{said}</span></summary>'
        f"{card(outcome, content, timed=False)}</details>"
    )
