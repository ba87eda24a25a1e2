"""Whether a picture looks as if it had been a frame of a clip: a still out of a film says nothing of that itself.

What coding leaves of a picture is plain in an embedding, whatever it shows: a linear answer, learnt from the training pictures beside
themselves as frames of clips, and measured on sources and generators that it has not learnt from.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake_detector import degrade, split
from deepfake_detector.heads import logistic
from deepfake_detector.types import VIEW, Embeddings
from deepfake_detector.vectors import Vectors, batches

log = logging.getLogger(__name__)

MISTAKEN = 0.003  # the share of other pictures, degraded copies among them, that may look so: their fakes come to look less suspicious
_ENOUGH = 0.5  # of those that were filmed it has to know, or it is left out
_MOST = 5000  # rows of either kind that are learnt from: more of them teach little
_C = 1e-3
_FILE = "filmed.safetensors"


@dataclass(frozen=True)
class LooksFilmed:
    """`weight` (dim,) and `offset` decide; of sources and generators left out `found` of what was filmed, and `mistaken` of the rest."""

    weight: np.ndarray
    offset: float
    found: float
    mistaken: float

    def __call__(self, X: Vectors) -> np.ndarray:
        """(n, dim), in memory or on disk → (n,) bool."""
        looks = np.empty(len(X), bool)
        for which, part in batches(X):
            looks[which] = part @ self.weight + self.offset > 0
        return looks

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save

        (folder / _FILE).write_bytes(save({"weight": self.weight}))

    def to_json(self) -> dict[str, float]:
        return {"offset": self.offset, "found": self.found, "mistaken": self.mistaken}

    @classmethod
    def load(cls, folder: Path, facts: dict[str, float]) -> LooksFilmed:
        """What `save` and `to_json` gave; raises one of many errors for anything else."""
        from safetensors.numpy import load_file

        return cls(load_file(folder / _FILE)["weight"], **{name: float(value) for name, value in facts.items()})


def fit(data: Embeddings, filmed: Embeddings, seed: int) -> LooksFilmed | None:
    """Learn from pictures and the same as frames of clips; None, and the log says so, where these can't be told apart."""
    frames = (data.rows["split"] == VIEW) & data.rows["path"].str.contains(rf"#(?:{degrade.FRAMES})$")
    if "video" in data.rows:
        frames |= data.rows["video"] != ""
    parts = [_some(one, seed) for one in (data.take(~frames.to_numpy(bool)), filmed)]
    X, was_filmed = np.concatenate([X for X, _ in parts]), np.repeat([0, 1], [len(X) for X, _ in parts])
    rows = pd.concat([rows for _, rows in parts], ignore_index=True)
    place = pd.factorize(rows["label"].astype(str) + rows["generator"])[0]
    weights, scores = split.balanced(was_filmed, place, split.amounts(rows)), np.empty(len(rows))
    fold = np.random.default_rng(seed).permutation(place.max() + 1)[place] % split.FOLDS
    for one in np.unique(fold):
        own = fold == one
        if len(np.unique(was_filmed[~own])) < 2:
            log.info("whether a picture looks filmed is not told: it takes filmed ones of two sources or generators")
            return None
        weight, offset = _learn(X[~own], was_filmed[~own], weights[~own], seed)
        scores[own] = X[own] @ weight + offset
    limit = float(np.quantile(scores[was_filmed == 0], 1 - MISTAKEN, method="higher"))
    found, mistaken = (float((scores[was_filmed == one] > limit).mean()) for one in (1, 0))
    log.info("pictures that look filmed: %.1f %% of those that were, %.1f %% of others", 100 * found, 100 * mistaken)
    if found < _ENOUGH:
        return None
    weight, offset = _learn(X, was_filmed, weights, seed)
    return LooksFilmed(weight, offset - limit, found, mistaken)


def _some(data: Embeddings, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:_MOST])
    return np.asarray(data.X[chosen], np.float32), data.rows.iloc[chosen]


def _learn(X: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """(dim,) and an offset that answer as a logistic regression on the standardised numbers does, in log-odds."""
    scaler, fitted = logistic.Head(seed, _C).fit(X, y, weights).pipeline_
    weight = fitted.coef_[0] / scaler.scale_
    return weight.astype(np.float32), float(fitted.intercept_[0] - weight @ scaler.mean_)
