"""The same pictures after JPEG, rescaling, blur and worse: how the figures fall, and how often a real picture's verdict flips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import degrade, split
from deepfake_detector.bundle import Bundle
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Embedder
from deepfake_detector.errors import DatasetError
from deepfake_detector.evaluate import intervals_of, per_picture
from deepfake_detector.extract import embed_samples
from deepfake_detector.metrics import summary
from deepfake_detector.types import LABEL_NAMES, REAL, Sample

KEPT = ("auroc", "accuracy", "tpr_at_5_fpr", "fpr", "ece", "abstain_rate", "error_among_answered")


def robustness(
    model: Bundle, samples: Sequence[Sample], embedder: Embedder, progress: Callable[[int], object] = lambda done: None
) -> dict[str, Any]:
    """{"views": {"as it is": figures, "jpeg90": …}}, on the pictures that can be read in every view; raises DatasetError without any.

    Each view has the main figures with intervals, and for both classes the rate at which the verdict changed at all
    (`real_changed`), and came to be wrong (`real_flipped`: real or unsure before, fake now).
    """
    scores: dict[str, pd.Series] = {}
    rows = None
    for name in ("as it is", *degrade.VIEWS):
        crop = embedder.crop if name == "as it is" else f"{embedder.crop}+{name}"
        data, _ = embed_samples(Listing(list(samples)), replace(embedder, crop=crop), progress)
        found, p = per_picture(data.rows, model.p_fake_of(data))
        scores[name] = pd.Series(p, found["path"])
        rows = found if rows is None else rows[rows["path"].isin(found["path"])]
    if rows.empty:
        raise DatasetError(f"None of the {len(samples)} pictures can be used in every view.")
    labels, groups = rows["label"].to_numpy(), split.whole_groups(rows)
    before = _verdicts(model, scores["as it is"].loc[rows["path"]].to_numpy())
    views = {}
    for name, by_path in scores.items():
        p = by_path.loc[rows["path"]].to_numpy()
        whole = summary(labels, p, model.thresholds)
        views[name] = {key: whole[key] for key in KEPT} | {
            "intervals": intervals_of(labels, p, model.thresholds, groups, KEPT),
            **_flips(labels, before, _verdicts(model, p)),
        }
    return {"pictures": len(rows), "real": int((labels == REAL).sum()), "views": views}


def _verdicts(model: Bundle, p_fake: np.ndarray) -> np.ndarray:
    return np.array([model.thresholds.answer(p) for p in p_fake])


def _flips(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, float | None]:
    rates: dict[str, float | None] = {}
    for label, (name, wrong) in enumerate(zip(LABEL_NAMES, reversed(LABEL_NAMES), strict=True)):
        own = labels == label
        changed, flipped = before != after, (before != wrong) & (after == wrong)
        rates |= {
            f"{name}_changed": float(changed[own].mean()) if own.any() else None,
            f"{name}_flipped": float(flipped[own].mean()) if own.any() else None,
        }
    return rates


def some(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """At most so many pictures, in turn from every source; which ones depends on their names alone, not on the others."""
    rows = pd.DataFrame({"source": [(s.label, s.generator) for s in samples], "name": [s.name for s in samples]})
    rows["draw"] = [hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest() for name in rows["name"]]
    turn = rows.sort_values("draw").groupby("source").cumcount()
    return [samples[i] for i in sorted(turn.sort_values(kind="stable").index[:limit])]
