"""What was measured → report.json, report.html and a model card for each of our own models."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detector import audit
from deepfake_detector.comparison import Scored, compare
from deepfake_detector.embed import read_file
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.evaluate import evaluate_scores, family_answers, promise_kept
from deepfake_detector.files import write_bytes
from deepfake_detector.report.words import MEANINGS, counted, given, of_clips_too, percent, promise_on_unseen, weaknesses
from deepfake_detector.split import without
from deepfake_detector.types import REAL, Thresholds
from deepfake_detector.versions import versions

WORST = 10  # mistakes shown each way
_NOTHING = "–"  # in place of a figure that there is not
_FIGURES = {
    "accuracy": "Accuracy at 0.5",
    "precision": "Precision at 0.5",
    "recall": "Recall at 0.5",
    "f1": "F1 at 0.5",
    "auroc": "AUROC",
    "ap": "Average precision",
    "eer": "Equal error rate",
    "tpr_at_1_fpr": "Fakes found at 1 % FPR",
    "tpr_at_5_fpr": "Fakes found at 5 % FPR",
    "ece": "Calibration error (ECE)",
    "abstain_rate": "Unsure",
    "error_among_answered": "Wrong among answered",
}


@dataclass(frozen=True)
class _Layout:
    """How a template writes a table, a row of one and a row's cell, none of them inside another; its first `heads` rows are titles."""

    table: re.Pattern[str]
    row: re.Pattern[str]
    cell: re.Pattern[str]
    heads: int


_HTML = _Layout(*(re.compile(one, re.S) for one in (r"<table.*?</table>", r"<tr>.*?</tr>", r"<t[hd]>.*?</t[hd]>")), heads=1)
_MARKDOWN = _Layout(*(re.compile(one, re.M) for one in (r"(?:^\|.*\n)+", r"^\|.*\n", r"(?<=\|)[^|\n]+\|")), heads=2)


@dataclass(frozen=True)
class Content:
    """All that a report is made of. `detectors` scored the same rows in the same order; `files` finds a row's picture.

    `audit` is what the shortcut audit found, or why there is none, as it stands behind a colon.
    `notes` are things that a reader should know first: what was left out, and why a part is missing. `learnt` says which of the
    rows, (n,) bool, each of our own models has learnt.
    """

    detectors: Sequence[Scored]
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    audit: audit.Audit | str = "its pictures were not at hand"
    protocols: Sequence[dict[str, Any]] = ()
    robustness: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    learnt: Mapping[str, np.ndarray] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]] = ()
    data: str = ""
    command: str = ""


def measure(content: Content) -> dict[str, Any]:
    """Every figure of the report, ready for JSON."""
    rows = content.detectors[0].rows
    audited, unaudited = (None, content.audit) if isinstance(content.audit, str) else (content.audit, None)
    detectors = {}
    for detector in content.detectors:
        scores = evaluate_scores(rows, detector.p_fake, detector.thresholds, content.kinds, detector.regions)
        promise = detector.manifest.get("promise", {})
        training = detector.manifest.get("training", {})
        kept = []
        if "false_positive_rate" in promise:
            known = content.learnt.get(detector.name, np.zeros(len(rows), bool))
            seen = {*training.get("train", {}).get("real", {}), *rows["generator"][known & (rows["label"] == REAL)]}
            kept = promise_kept(rows, detector.p_fake, detector.thresholds, promise["false_positive_rate"], seen)
        robust = content.robustness.get(detector.name)
        detectors[detector.name] = scores | {
            "weaknesses": weaknesses(scores, kept, robust, detector.manifest),
            "promise": promise,
            "promise_kept": kept,
            "of_clips_too": of_clips_too(detector.manifest),
            "training": training,
            "head": detector.manifest.get("head"),
            "encoder": detector.manifest.get("encoder"),
            "crop": detector.manifest.get("crop"),
            "robustness": robust,
            "family": detector.manifest.get("family"),
            "elsewhere": detector.manifest.get("elsewhere", {}),
            "family_answers": {} if detector.families is None else family_answers(detector.families),
        }
    return {
        "data": {"name": content.data, "pictures": len(rows), "skipped": [{"path": p, "reason": r} for p, r in content.skipped]},
        "notes": list(content.notes),
        "audit": audited.to_json() if audited else None,
        "unaudited": unaudited,
        "baselines": {
            name: {"auroc": f.auroc, "interval": f.interval, "n": f.a + f.b}
            for name, f in (audit.baselines(audited) if audited else {}).items()
        },
        "detectors": detectors,
        "comparison": compare(list(content.detectors)) if len(content.detectors) > 1 else [],
        "protocols": list(content.protocols),
        "command": content.command,
        "versions": versions(),
    }


def write(content: Content, out: str | Path) -> dict[str, Any]:
    """Write report.json, report.html and model_card.md (model_card_NAME.md where there are several); returns the JSON."""
    out = Path(out)
    measured = measure(content)
    templates = _templates()
    write_bytes(out / "report.json", f"{json.dumps(measured, indent=2)}\n".encode())
    own = [d for d in content.detectors if d.manifest]
    taken: set[str] = set()
    for detector in own:
        as_file = re.sub(r"[^\w.-]", "_", detector.name)  # models of the same name go by their folders
        while as_file in taken:
            as_file += "_"
        taken.add(as_file)
        name = "model_card.md" if len(own) == 1 else f"model_card_{as_file}.md"
        card = templates("card.md.j2")(name=detector.name, d=measured["detectors"][detector.name], r=measured, figures=_FIGURES)
        write_bytes(out / name, _without_empty_columns(card, _MARKDOWN).encode())
    page = templates("page.html.j2")(
        r=measured, figures=_FIGURES, words=MEANINGS.items(), drawings=_drawings(content), mistakes=_mistakes(content)
    )
    write_bytes(out / "report.html", _without_empty_columns(page, _HTML).encode())
    return measured


def _drawings(content: Content) -> dict[str, Any]:
    from deepfake_detector.report import figures

    labels = content.detectors[0].rows["label"].to_numpy()
    both = len(np.unique(labels)) == 2
    return {
        "curves": figures.curves(labels, content.detectors) if both else None,
        "scores": {d.name: figures.scores(labels, d) for d in content.detectors},
        "robustness": figures.robustness(content.robustness) if content.robustness else None,
    }


def _mistakes(content: Content) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """For each detector, the reals that score highest and the fakes that score lowest, where they are on the wrong side of one half."""
    rows = content.detectors[0].rows
    labels = rows["label"].to_numpy()
    worst = {}
    for detector in content.detectors:
        p = detector.p_fake
        by_badness = {
            "real": sorted(np.flatnonzero((labels == 0) & (p >= 0.5)), key=lambda i: -p[i]),
            "fake": sorted(np.flatnonzero((labels == 1) & (p < 0.5)), key=lambda i: p[i]),
        }
        worst[detector.name] = {name: [_mistake(content, rows.iloc[i], p[i]) for i in which[:WORST]] for name, which in by_badness.items()}
    return worst


def _mistake(content: Content, row: Any, p_fake: float) -> dict[str, Any]:
    from deepfake_detector.images import thumbnail

    shown = {"path": row["path"], "source": row["generator"], "p_fake": float(p_fake), "thumbnail": None}
    try:
        return shown | {"thumbnail": thumbnail(read_file(content.files[row["path"]]))}
    except (KeyError, OSError, UnusablePicture):  # the table outlived the picture; its name is shown all the same
        return shown


def _templates() -> Callable[[str], Callable[..., str]]:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        finalize=jinja2.pass_eval_context(lambda context, value: value if context.autoescape else _as_markdown(value)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "p_value": _p_value,
        "cell": _cell,
        "promise": promise_on_unseen,
        "counted": counted,
        "given": lambda thresholds: given(Thresholds(**thresholds)),
        "without": lambda run: without(run["generators"], run["sources"]),
    }
    return lambda name: environment.get_template(name).render


def _as_markdown(value: Any) -> Any:
    """Names come from outside: none may be markup, or end a table's cell."""
    return re.sub(r"[&<|]", lambda found: f"&#{ord(found[0])};", value).replace("\n", " ") if isinstance(value, str) else value


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else percent(value, 1)


def _p_value(p: float | None) -> str:
    """A p value: of a tiny one, that it is."""
    return "< 0.001" if p is not None and p < 0.001 else _number(p)


def _cell(figures: Mapping[str, Any], key: str) -> str:
    """`0.912 [0.880, 0.940]`."""
    interval = figures.get("intervals", {}).get(key)
    return _number(figures[key]) + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval and figures[key] is not None else "")


def _without_empty_columns(text: str, layout: _Layout) -> str:
    """The text, its tables without those columns, but for the first, in which no row has anything to say."""

    def filled(found: re.Match[str]) -> str:
        rows = [layout.cell.findall(row) for row in layout.row.findall(found[0])][layout.heads :]
        empty = {i for i, column in enumerate(zip(*rows, strict=True)) if i and all(map(_says_nothing, column))}

        def kept(row: re.Match[str]) -> str:
            number = itertools.count()
            return layout.cell.sub(lambda cell: "" if next(number) in empty else cell[0], row[0])

        return layout.row.sub(kept, found[0])

    return layout.table.sub(filled, text)


def _says_nothing(cell: str) -> bool:
    return re.sub(r"<.*?>|\|", "", cell).strip() in ("", _NOTHING)
