"""The last tab: which models answer, what they were trained on, and what they are bad at."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepfake_detector.errors import DetectorError
from deepfake_detector.report.words import MEANINGS, of_clips_too, percent, promised, weaknesses
from deepfake_detector.types import Thresholds
from deepfake_detector.ui.tabs import Visitor
from deepfake_detector.ui.warming import WAITING, Warming

if TYPE_CHECKING:
    from deepfake_detector.bundle import Bundle
    from deepfake_detector.panel import Panel

TITLE, ORDER = "What it is bad at", 90
_RIGHT, _WRONG = {"real": "real", "fake": "fake"}, {"real": "fake", "fake": "real"}


def build(gr: ModuleType, detector: Warming, visitor: Visitor) -> None:
    """Lay the tab out inside an open gr.Blocks(); it is filled once the model is there."""
    text = gr.Markdown("The model is still loading.", elem_id="model")

    def show(own: Panel | None) -> str:
        try:
            return describe_all((own or detector.get()).bundles)
        except DetectorError:
            return "There is no model to describe."  # the top of the page says why

    shown = {"concurrency_limit": WAITING, "show_progress": "hidden", "api_visibility": "private"}
    visitor.status.change(show, visitor.taught, text, **shown)  # which others answer by now, it says


def describe_all(bundles: Sequence[Bundle]) -> str:
    """The models that are asked, as Markdown; under headings where there are several."""
    if len(bundles) == 1:
        return describe(bundles[0].manifest)
    return "\n\n".join(f"## {bundle.name}\n\n{describe(bundle.manifest)}" for bundle in bundles)


def describe(manifest: dict[str, Any]) -> str:
    """A bundle's manifest as Markdown, weaknesses first."""
    scores, elsewhere = manifest.get("scores"), _elsewhere(manifest.get("elsewhere", {}))
    if not scores:
        return "\n".join([_taught(manifest["training"]) or "Of its own test pictures this model carries no measurements.", *elsewhere])
    generators = sorted(scores["generators"].items(), key=lambda item: item[1]["fake"])
    sources = sorted(scores["real_sources"].items(), key=lambda item: -item[1]["fake"])
    lines = [
        "**What it is bad at**",
        "",
        *(f"- {weakness}" for weakness in weaknesses(scores, [], None, manifest)),
        "",
        f"AUROC is {MEANINGS['AUROC']}.",
        "",
        "A generator, camera or kind of picture that is not in these tables is unknown territory. A verdict is a hint, not proof.",
        "",
        "**What it promises**",
        "",
        *(f"- {line}" for line in promised(Thresholds(**scores["thresholds"]), manifest["promise"]) + of_clips_too(manifest)),
        "",
        "Of a single source or generator it may be more, most of all of one unlike those in these tables.",
        *_all_known(manifest["training"], generators, sources),
        "",
        "| generator | test pictures | AUROC | called fake | unsure | called real |",
        "|---|---|---|---|---|---|",
        *(f"| {n} | {s['n']} | {s['auroc']:.3f} | {_answers(s, ' | ')} |" for n, s in generators),
        "",
        "| real source | test pictures | called fake | unsure | called real |",
        "|---|---|---|---|---|",
        *(f"| {n} | {s['n']} | {_answers(s, ' | ')} |" for n, s in sources),
        *elsewhere,
        "",
        f"Head: {manifest['head']}; encoder: {manifest['encoder']['name']}; split: {manifest['training']['split']}.",
    ]
    return "\n".join(lines)


def _all_known(training: dict[str, Any], *tested: list[tuple[str, Any]]) -> list[str]:
    """What to say above figures that are all of generators and sources that the model has learnt from."""
    learnt = {name for sources in training.get("train", {}).values() for name in sources}
    return ["It learnt from other pictures of these generators and sources; new ones fare worse."] * all(
        name in learnt for places in tested for name, _ in places
    )


def _elsewhere(figures: dict[str, Any]) -> list[str]:
    """A table of what the model keeps of pictures from other places, where it keeps any."""
    if not figures:
        return []
    lines = [
        "",
        "| pictures from elsewhere | AUROC | real ones called fake, unsure, real | fakes called fake, unsure, real |",
        "|---|---|---|---|",
    ]
    for name, one in figures.items():
        area = "–" if one["auroc"] is None else f"{one['auroc']:.3f}"
        lines.append(f"| {name} | {area} | {_counted(one['real'])} | {_counted(one['fake'])} |")
    return lines


def _counted(one: dict[str, Any]) -> str:
    return f"{_answers(one)} of {one['n']}" if one["n"] else "–"


def _answers(one: dict[str, Any], between: str = ", ") -> str:
    return between.join(percent(one[answer]) for answer in ("fake", "unsure", "real"))


def _whether_it_helped(shown: list[dict[str, Any]]) -> str:
    """What being taught changed on the pictures shown, each judged by what was learnt from the others."""
    n = sum(one["n"] for one in shown)
    right, wrong = (
        [sum(one[when].get(answer[one["label"]], 0) for one in shown) for when in ("before", "after")] for answer in (_RIGHT, _WRONG)
    )
    told = f"Of these {n} pictures answered rightly: {right[0]} before, {right[1]} now; wrongly: {wrong[0]} before, {wrong[1]} now."
    return f"{told} It did not help." if right[1] - right[0] <= wrong[1] - wrong[0] else told


def _taught(training: dict[str, Any]) -> str:
    """What is known of a model that was taught sources or generators; empty for others."""
    if "shown" not in training:
        return ""
    base = training["adapted_from"]
    lines = [
        f"This model is {base}, which has learnt what is in this table. Each picture was judged by what it learns from the others.",
        "",
        f"| shown | pictures | real, unsure, fake by {base} | real, unsure, fake now |",
        "|---|---|---|---|",
    ]
    for one in training["shown"]:
        before, after = (", ".join(str(one[when].get(answer, 0)) for answer in ("real", "unsure", "fake")) for when in ("before", "after"))
        lines.append(f"| {one['name']} | {one['n']} {one['label']} | {before} | {after} |")
    lines += [
        "",
        _whether_it_helped(training["shown"]),
        "",
        f"Thresholds are those of {base}. Nothing else of this one was measured; evaluate.py does. Where {base} is weak, so is it. What a "
        "fake shares with a source of real pictures that was taught, as does a face swapped into one of them, is held against it less; "
        "what a real picture shares with fakes that were taught, more.",
    ]
    return "\n".join(lines)
