"""The tab where a visitor teaches the detector a source of real pictures, or a generator, by a few of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from deepfake_detector import adapt, bundle
from deepfake_detector.datasets import Listing
from deepfake_detector.errors import DetectorError, TrainingError
from deepfake_detector.types import FAKE, REAL, Sample
from deepfake_detector.ui import uploads
from deepfake_detector.ui.corrections import Corrections, beside, told
from deepfake_detector.ui.tabs import KEPT, Visitor, picture
from deepfake_detector.ui.tabs.model import describe
from deepfake_detector.ui.warming import WAITING, Warming
from deepfake_detector.video import is_video

if TYPE_CHECKING:
    from deepfake_detector.detect import Detector
    from deepfake_detector.panel import Panel

TITLE, ORDER = "Teach it", 50
MOST = 200  # pictures at once: what a server of two cores embeds in two minutes
_INTRODUCTION = (
    f"**Unsure of your pictures?** The detector has never seen where they come from. Show it {adapt.FEWEST} or more that you know to be "
    "real, all from one camera, archive or platform; or as many fakes by one generator that it misses; or both. It learns what is in "
    f"the two boxes, in about half a second a picture, and answers by it in this browser tab for {KEPT // 3600} hours, or until you "
    "reload the page. Nobody else's answers change, and the pictures are deleted within minutes."
)


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks()."""

    bar = gr.Progress()

    def teach(
        real: list[str] | None, source: str, fake: list[str] | None, generator: str, known: Corrections, progress: Any = bar
    ) -> Iterator[tuple[Panel | dict[str, Any], str, Any, Any]]:
        try:
            boxes = Box(REAL, source.strip(), real or []), Box(FAKE, generator.strip(), fake or [])
            panel = detector.get()
            own, skipped = learn(panel.first, boxes, known, progress)
        except (DetectorError, OSError) as error:
            yield gr.skip(), f"**Nothing was learnt.** {error}", gr.skip(), gr.skip()  # what was taught before still holds
            return
        lines = [describe(own.bundle.manifest), *told_left_out(skipped)]
        lines += [f"{other.name}, which is asked beside it, has learnt nothing and answers as before." for other in panel.bundles[1:]]
        lines.append(
            "To keep it, download it and unpack it. `python app.py --model taught` asks it alone; add `--model models/face_swaps` to ask "
            "that one, too."
        )
        with tempfile.TemporaryDirectory() as folder:  # Gradio takes a copy of its own, and deletes that
            bundle.save(own.bundle, Path(folder) / "model" / "taught")
            packed = shutil.make_archive(str(Path(folder) / "taught"), "zip", Path(folder) / "model")
            answering = panel.answering_by(replace(own.bundle, remembered=None))  # here it is only asked; the download learns on
            yield answering, "\n\n".join(lines), gr.DownloadButton(value=packed, visible=True), True

    def count(known: Corrections) -> tuple[str, Any]:
        also = f"Of the pictures on the tab *{picture.TITLE}* you said what they are: {told(known)}. They are learnt with these."
        return also, gr.Row(visible=bool(known))

    def ready() -> Any:
        """Who opens the page should not gather pictures for a model that can't learn."""
        try:
            adapt.recall_of(detector.get().first.bundle)
        except DetectorError as error:
            return gr.Markdown(f"**Nothing can be taught here.** {error}", visible=True)
        return gr.skip()

    def hold(real: list[str] | None, fake: list[str] | None) -> None:
        uploads.hold([*(real or []), *(fake or [])])

    gr.Markdown(_INTRODUCTION)
    can_not = gr.Markdown(visible=False)
    with gr.Row(visible=False) as said_before:
        so_far = gr.Markdown(elem_id="teach_so_far")
        forget = gr.Button("Forget what I said", size="sm", scale=0)
    with gr.Row():
        with gr.Column():
            real = gr.File(label="Real pictures", file_count="multiple", elem_id="teach_real", height=220)
            source = gr.Textbox("my pictures", label="Where they come from", max_length=60, elem_id="teach_source")
        with gr.Column():
            fake = gr.File(label="Fakes", file_count="multiple", elem_id="teach_fake", height=220)
            generator = gr.Textbox("their generator", label="Who or what made them", max_length=60, elem_id="teach_generator")
    press = gr.Button("Learn these", variant="primary", elem_id="teach")
    outcome = gr.Markdown(elem_id="taught", min_height=80)
    download = gr.DownloadButton(
        "Download the model, within five minutes",
        visible=False,
        elem_id="teach_download",
    )
    quietly = {"api_visibility": "private", "show_progress": "hidden"}
    # Also on the press, as what was said may be gone by then.
    gr.on([visitor.corrections.change, press.click], count, visitor.corrections, [so_far, said_before], queue=False, **quietly)
    # With a second output, as Gradio takes a lone dict for one of components; in its queue, as it tells of no change that came past that.
    forget.click(lambda: ({}, ""), None, [visitor.corrections, so_far], **quietly)
    gr.context.Context.root_block.load(ready, None, can_not, concurrency_limit=WAITING, **quietly)
    press.click(hold, [real, fake], None, queue=False, api_visibility="private", show_progress="hidden")
    press.click(
        teach,
        [real, source, fake, generator, visitor.corrections],
        [visitor.taught, outcome, download, visitor.has_taught],
        concurrency_limit=1,
        api_visibility="private",
        show_progress="full",
    )


class Box(NamedTuple):
    """The uploaded files of one box, with their label and the name of where they come from."""

    label: int
    name: str
    paths: list[str]


def samples(boxes: Sequence[Box], known: Corrections) -> Listing:
    """What lies in the boxes; raises DetectorError where that, and what is known beside it, can't be learnt."""
    count = sum(len(box.paths) for box in boxes) + len(known)
    if not count:
        raise DetectorError("There are no pictures in the boxes. Drop some first.")
    if count > MOST:
        raise DetectorError(f"There are {count} pictures; at most {MOST} are learnt here. Remove some, or use the command line's adapt.")
    clips = [Path(path).name for box in boxes for path in box.paths if is_video(path)]
    if clips:
        raise DetectorError(f"Only pictures are learnt here; {clips[0]} is a clip ({len(clips)} in all). Remove them from the boxes.")
    labels = {one.label for one in known.values()}
    names = [box.name for box in boxes if box.paths or box.label in labels]
    if not all(names) or len(set(names)) < len(names):
        raise DetectorError("Each box of pictures needs a name of its own, which says where they come from.")
    return Listing(
        [
            Sample(path, f"{box.name}/{Path(path).name}", box.label, box.name, f"{box.name}/{i}")
            for box in boxes
            for i, path in enumerate(box.paths)
        ]
    )


def learn(base: Detector, boxes: Sequence[Box], known: Corrections, progress: Any) -> tuple[Detector, list[tuple[str, str]]]:
    """The detector with what it has learnt by these pictures, and the pictures that were left out, as (name, reason)."""
    model, listing = base.bundle, samples(boxes, known)
    adapt.recall_of(model)
    total, done = len(listing.samples), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress((done, total), desc="Looking at the pictures", unit="pictures")

    shown, skipped = None, []
    if total:
        with uploads.holding([sample.path for sample in listing.samples]):
            shown, skipped = adapt.embed_shown(model, listing, base.embedder, count)
    progress(None, desc="Learning")
    pictures = beside(shown, known, {box.label: box.name for box in boxes})
    names = ", ".join(dict.fromkeys(pictures.rows["generator"]))
    try:
        return base.answering_by(adapt.adapt(model, pictures, f"{model.name}, taught {names}")), skipped
    except TrainingError as error:  # too few are left, perhaps: who dropped ten hears what became of the others
        raise TrainingError("\n\n".join([str(error), *told_left_out(skipped)])) from error


def told_left_out(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each picture that was left out, as (name, reason)."""
    return [f"Left out: {Path(name).name}, {reason}." for name, reason in skipped]
