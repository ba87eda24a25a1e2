"""The report's drawings, each as a data: address, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from deepfake_detector.comparison import Scored
from deepfake_detector.metrics import reliability

_STYLE = {
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_REAL, _FAKE = "#2b6cb0", "#c05621"
_POINTS = 400  # of a curve: more can't be seen


def curves(labels: np.ndarray, detectors: Sequence[Scored]) -> str:
    """ROC and precision–recall of all detectors."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 4), layout="constrained")
        roc, pr = figure.subplots(1, 2)
        for detector in detectors:
            fpr, tpr, _ = roc_curve(labels, detector.p_fake, drop_intermediate=False)
            precision, recall, _ = precision_recall_curve(labels, detector.p_fake)
            roc.plot(*_thin(fpr, tpr), label=detector.name)
            pr.plot(*_thin(recall[::-1], precision[::-1]), label=detector.name)
        roc.plot([0, 1], [0, 1], ":", color="grey", lw=1)
        roc.set(xlabel="reals called fake (FPR)", ylabel="fakes found (TPR)", title="ROC")
        pr.set(xlabel="fakes found (recall)", ylabel="precision", title="Precision and recall", ylim=(0, 1.02))
        roc.legend(loc="lower right")
        return _svg(figure)


def scores(labels: np.ndarray, detector: Scored) -> str:
    """A detector's score histograms with its thresholds, beside its reliability diagram."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        bins = np.linspace(0, 1, 31)
        for label, name, colour in ((0, "real", _REAL), (1, "fake", _FAKE)):
            left.hist(detector.p_fake[labels == label], bins, alpha=0.6, label=f"{name} ({(labels == label).sum()})", color=colour)
        for edge in {detector.thresholds.real, detector.thresholds.fake}:
            left.axvline(edge, color="black", lw=1, ls="--")
        left.set(xlabel="probability of being fake (dashed: thresholds)", ylabel="pictures", title="Scores")
        figure.legend(loc="outside upper left", ncols=2)  # no place over the bars is free for every detector
        bars = reliability(labels, detector.p_fake)
        right.plot([0, 1], [0, 1], ":", color="grey", lw=1)
        right.plot([b.mean_p for b in bars], [b.share_fake for b in bars], "-", color="black", lw=1)
        right.scatter([b.mean_p for b in bars], [b.share_fake for b in bars], [8 + 200 * b.n / len(labels) for b in bars], color=_FAKE)
        right.set(xlabel="said: probability of being fake", ylabel="was: share of fakes", xlim=(0, 1), ylim=(0, 1.02))
        right.set_title("Reliability, both classes weighing the same")
        return _svg(figure)


def robustness(by_detector: Mapping[str, dict[str, Any]]) -> str:
    """AUROC and flipped real pictures by view, all detectors."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        for axes, key, title in zip(
            figure.subplots(2, 1, sharex=True), ("auroc", "real_flipped"), ("AUROC", "reals newly called fake"), strict=True
        ):
            for name, measured in by_detector.items():
                views = measured["views"]
                values = [np.nan if v[key] is None else v[key] for v in views.values()]
                axes.plot(range(len(views)), values, "o-", ms=4, lw=1, label=name)
                axes.set_xticks(range(len(views)), list(views), rotation=30, ha="right")
            low, high = axes.get_ylim()
            axes.set(ylabel=title, ylim=(max(low, -0.005), min(high, 1.005)))  # a share's margins are no shares
            axes.grid(alpha=0.3)
        axes.legend(loc="upper left")  # of what is newly called fake, most is near 0
        return _svg(figure)


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.unique(np.linspace(0, len(x) - 1, min(_POINTS, len(x))).astype(int))
    return x[kept], y[kept]


def _svg(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
