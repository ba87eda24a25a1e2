"""The second tab: which model answers, what it was trained on, and what it is bad at."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from deepfake_detector.errors import DetectorError
from deepfake_detector.report.words import weaknesses
from deepfake_detector.ui.warming import Warming

TITLE, ORDER = "What it is bad at", 90


def build(gr: ModuleType, detector: Warming) -> None:
    """Lay the tab out inside an open gr.Blocks(); it is filled once the model is there."""
    text = gr.Markdown("The model is still loading.", elem_id="model")

    def show() -> str:
        try:
            return describe(detector.get().bundle.manifest)
        except DetectorError:
            return "There is no model to describe."  # the top of the page says why

    gr.context.Context.root_block.load(show, None, text, concurrency_limit=None, show_progress="hidden", api_visibility="private")


def describe(manifest: dict[str, Any]) -> str:
    """A bundle's manifest as Markdown, weaknesses first."""
    scores = manifest.get("scores")
    if not scores:
        return _adapted(manifest["training"]) or "This model carries no measurements."
    generators = sorted(scores["generators"].items(), key=lambda item: item[1]["fake"])
    sources = sorted(scores["real_sources"].items(), key=lambda item: -item[1]["fake"])
    promise = manifest["promise"]
    lines = [
        f"**What it is bad at.** {' '.join(weaknesses(scores, [], None, manifest['training']))}",
        "",
        "A generator, camera or kind of picture that is not in these tables is unknown territory. A verdict is a hint, not proof.",
        f"The thresholds promise that at most {promise['false_positive_rate']:.0%} of real pictures are called fake (measured on "
        f"{promise['real_pictures_from']}), and at most {promise['false_negative_rate']:.0%} of fakes real (on {promise['fakes_from']}). "
        "Of a single source or generator it may be more, most of all of one unlike those in these tables.",
        "",
        "| generator | test pictures | AUROC | called fake | unsure | called real |",
        "|---|---|---|---|---|---|",
        *(f"| {n} | {s['n']} | {s['auroc']:.3f} | {s['fake']:.0%} | {s['unsure']:.0%} | {s['real']:.0%} |" for n, s in generators),
        "",
        "| real source | test pictures | called fake | unsure | called real |",
        "|---|---|---|---|---|",
        *(f"| {n} | {s['n']} | {s['fake']:.0%} | {s['unsure']:.0%} | {s['real']:.0%} |" for n, s in sources),
        "",
        f"Head: {manifest['head']}; encoder: {manifest['encoder']['name']}; split: {manifest['training']['split']}.",
    ]
    return "\n".join(lines)


def _adapted(training: dict[str, Any]) -> str:
    """What is known of a model that was taught a source; empty for others."""
    if "photographs" not in training:
        return ""
    shown, base = training["photographs"], training["adapted_from"]
    before, after = (
        ", ".join(f"{shown[when].get(answer, 0)} {answer}" for answer in ("real", "unsure", "fake")) for when in ("before", "after")
    )
    return (
        f"This model is {base}, which has learnt {shown['source']} by {shown['n']} photographs. Each judged by what was learnt from "
        f"the others: {after}; before: {before}. Nothing else of it was measured; evaluate.py does. Where {base} is weak, so is this one, "
        "and a fake made of a picture from this source it finds less surely."
    )
