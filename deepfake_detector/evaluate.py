"""A model's scores on labelled pictures → figures: overall, for every generator and every real source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector.errors import DatasetError
from deepfake_detector.metrics import bootstrap, figures, summary
from deepfake_detector.types import Thresholds


def evaluate_scores(
    rows: pd.DataFrame, p_fake: np.ndarray, thresholds: Thresholds, kinds: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Everything ready for JSON. `rows` as in Embeddings, p_fake (n,) calibrated; `kinds` names sets of sources.

    A generator's AUROC sets its fakes against all the reals; the shares of answers are of its own pictures alone. A
    generator all of whose fakes share their group with a real picture (its reconstruction, say) is also set against just
    those: the content-matched AUROC. Intervals are 95 %, by bootstrap over whole groups.
    """
    labels, source = rows["label"].to_numpy(), rows["generator"].to_numpy()
    groups = pd.factorize(rows["group"])[0]
    statistics = figures(thresholds)
    if len(np.unique(labels)) < 2:  # one class alone has no ranking figures, and no intervals for them
        statistics = {}
    report: dict[str, Any] = {
        "thresholds": {"real": thresholds.real, "fake": thresholds.fake},
        "overall": summary(labels, p_fake, thresholds)
        | {"intervals": bootstrap(labels, p_fake, statistics, groups=groups) if statistics else {}},
        "generators": {},
        "real_sources": {},
        "kinds": {},
    }
    for name in sorted(set(source[labels == 1])):
        fakes = (labels == 1) & (source == name)
        against = fakes | (labels == 0)
        matched = (labels == 0) & np.isin(groups, groups[fakes])
        report["generators"][name] = {
            "n": int(fakes.sum()),
            "auroc": summary(labels[against], p_fake[against], thresholds)["auroc"],
            "matched_auroc": _matched(labels, p_fake, thresholds, fakes, matched)
            if np.isin(groups[fakes], groups[matched]).all()
            else None,
            **_answers(p_fake[fakes], thresholds),
        }
    for name in sorted(set(source[labels == 0])):
        reals = (labels == 0) & (source == name)
        report["real_sources"][name] = {"n": int(reals.sum()), **_answers(p_fake[reals], thresholds)}
    for kind, members in (kinds or {}).items():
        unknown = sorted(set(members) - set(source))
        if unknown:
            raise DatasetError(f"--kind {kind}: no pictures come from {', '.join(unknown)}; there are: {', '.join(sorted(set(source)))}.")
        chosen = np.isin(source, members)
        report["kinds"][kind] = summary(labels[chosen], p_fake[chosen], thresholds)
    return report


def _matched(labels: np.ndarray, p_fake: np.ndarray, thresholds: Thresholds, fakes: np.ndarray, matched: np.ndarray) -> float | None:
    both = fakes | matched
    return summary(labels[both], p_fake[both], thresholds)["auroc"]


def _answers(p_fake: np.ndarray, thresholds: Thresholds) -> dict[str, float]:
    """The share of each answer."""
    fake, real = float((p_fake >= thresholds.fake).mean()), float((p_fake <= thresholds.real).mean())
    return {"fake": fake, "real": real, "unsure": 1 - fake - real}
