"""Whether a picture looks as if it had been a frame of a clip, and how coded: a still out of a film says nothing of that itself.

What coding leaves of a picture is plain in an embedding, whatever it shows: linear answers, one for each coding, learnt from the training
pictures beside themselves as frames of clips, and measured on sources and generators that they have not learnt from.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import degrade, split
from deepfake_detector.heads import logistic
from deepfake_detector.types import VIEW, Embeddings
from deepfake_detector.vectors import Vectors, batches

log = logging.getLogger(__name__)

MISTAKEN = 0.006  # the share of other pictures, copies too, that may look like each coding: their fakes come to look less suspicious
NEARLY = 0.95  # of what was coded in each way is to look so or nearly so, as less shows of a source that is not known,
DOUBTED = 0.05  # but no larger share of other pictures: of their fakes fewer are called so, though none more is called real
_ENOUGH = 0.5  # of those that were filmed it has to know, or it is left out
_MOST = 5000  # rows of either kind that are learnt from: more of them teach little
_C = 1e-2
_FILE = "filmed.safetensors"


@dataclass(frozen=True)
class LooksFilmed:
    """A linear answer for each of k codings, `weight` (k, dim) and `offset` (k,): what any of them finds looks filmed.

    Of sources and generators left out, all together find `found` of what was coded in each way, and `mistaken` of the rest. Codings that
    can't be found are in `found` alone. What lacks no more than `doubted` (k,) to be found may have been filmed nevertheless: of a source
    that is not known less shows.
    """

    codings: tuple[str, ...]
    weight: np.ndarray
    offset: np.ndarray
    doubted: np.ndarray
    found: dict[str, float]
    mistaken: float

    def margins(self, X: Vectors) -> np.ndarray:
        """(n, dim), in memory or on disk → (n, k): above 0 where it looks so coded, and the more so, the greater."""
        return _margins(X, self.weight, self.offset)

    def like(self, margins: np.ndarray, of_clips: bool | np.ndarray, saved_again: bool = False) -> np.ndarray:
        """(n, k) → (n,) the number of the coding that each looks like, -1 for what looks like none.

        Frames that are known to be `of_clips` were not saved again, unless they are known to be, too, and those that look like none were
        coded in the mildest way.
        """
        allowed, of_clips = margins.copy(), np.broadcast_to(of_clips, len(margins))
        own = [saved_again or not degrade.saved_again(name) for name in self.codings]
        if any(own):
            allowed[np.ix_(of_clips, ~np.array(own))] = -np.inf
        mildest = min(range(len(own)), key=lambda i: (not own[i], self.found[self.codings[i]]))
        return np.where(allowed.max(axis=1) > 0, allowed.argmax(axis=1), np.where(of_clips, mildest, -1))

    def nearly_like(self, margins: np.ndarray) -> np.ndarray:
        """(n, k) → (n,) the number of the coding that each looks or nearly looks like, -1 for what plainly was not filmed."""
        nearly = margins + self.doubted
        return np.where(nearly.max(axis=1) > 0, nearly.argmax(axis=1), -1)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save

        (folder / _FILE).write_bytes(save({"weight": self.weight}))

    def to_json(self) -> dict[str, Any]:
        numbers = {"offset": self.offset.tolist(), "doubted": self.doubted.tolist()}
        return {"codings": [*self.codings], **numbers, "found": self.found, "mistaken": self.mistaken}

    @classmethod
    def load(cls, folder: Path, facts: dict[str, Any]) -> LooksFilmed:
        """What `save` and `to_json` gave; raises one of many errors for anything else."""
        from safetensors.numpy import load_file

        weight, codings = load_file(folder / _FILE)["weight"], tuple(facts["codings"])
        offset = np.array(facts["offset"], float)
        doubted = np.array(facts.get("doubted", np.zeros(len(codings))), float)
        if weight.ndim != 2 or not (len(codings),) == weight.shape[:1] == offset.shape == doubted.shape:
            raise ValueError(f"weights of shape {weight.shape}, offsets {offset} and doubts {doubted} for {codings}")
        if not np.isfinite([offset, doubted]).all():
            raise ValueError(f"not all of {offset} and {doubted} are finite")
        return cls(
            codings, weight, offset, doubted, {name: float(share) for name, share in facts["found"].items()}, float(facts["mistaken"])
        )


def fit(data: Embeddings, filmed: Embeddings, seed: int) -> tuple[LooksFilmed | None, np.ndarray]:
    """Learn from pictures and the same as frames of clips, whose paths end with `#` and the coding, all draws of which are one.

    Beside the answers the number of the coding that each frame looks like, (n,), to answers that have not learnt its source or generator.
    A coding that leaves nothing to be told by is not looked for; None, 0 for each, and the log says so, where none leaves any.
    """
    copies = (data.rows["split"] == VIEW) & data.rows["path"].str.contains(rf"#(?:{degrade.FRAMES})$")
    if "video" in data.rows:
        copies |= data.rows["video"] != ""
    pictures = data.take(~copies.to_numpy(bool))
    named = filmed.rows["path"].str.rpartition("#")[2]
    codings, coding = np.unique(named.str.replace(r"^(clip|poor)\d+", r"\g<1>0", regex=True), return_inverse=True)
    parts = [_some(one, seed) for one in (pictures, *(filmed.take(coding == i) for i in range(len(codings))))]
    X, kind = np.concatenate([X for X, _ in parts]), np.repeat(range(len(parts)), [len(X) for X, _ in parts])  # 0 is no frame
    rows = pd.concat([*(rows for _, rows in parts), filmed.rows], ignore_index=True)
    place = pd.factorize(rows["label"].astype(str) + rows["generator"])[0]
    folds = np.random.default_rng(seed).permutation(place.max() + 1)[place] % split.FOLDS
    fold, of_frames = np.split(folds, [len(X)])
    if any(len(np.unique(kind[fold != one])) < len(parts) for one in np.unique(fold)):
        log.info("whether a picture looks filmed is not told: it takes filmed ones of two sources or generators")
        return None, np.zeros(len(filmed), int)
    amounts = split.amounts(rows[: len(X)])

    def learn(chosen: np.ndarray, which: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Of the rows chosen, the weights (k, dim) and offsets (k,) that tell each of these codings from pictures."""
        answers = []
        for i in which:
            of = chosen & np.isin(kind, (0, i + 1))
            was_filmed = (kind[of] > 0).astype(int)
            answers.append(_learn(X[of], was_filmed, split.balanced(was_filmed, place[: len(X)][of], amounts[of]), seed))
        weights, offsets = zip(*answers, strict=True)
        return np.stack(weights), np.array(offsets)

    every = range(len(codings))
    scores, margins = np.empty((len(X), len(codings))), np.empty((len(filmed), len(codings)))
    for one in np.unique(folds):  # of a small source none may be among those that are learnt from
        weight, offset = learn(fold != one, every)
        scores[fold == one] = _margins(X[fold == one], weight, offset)
        margins[of_frames == one] = _margins(filmed.X[of_frames == one], weight, offset)
    limits, last = (np.quantile(scores[kind == 0], 1 - share, axis=0, method="higher") for share in (MISTAKEN, DOUBTED))
    margins -= limits
    lacking = np.array([-np.quantile(margins[coding == i, i], 1 - NEARLY) for i in every])
    doubted = np.clip(lacking, 0, limits - last)
    told = [i for i in every if (margins[coding == i, i] > 0).mean() >= _ENOUGH]
    found = {name: float((margins[coding == i][:, told] > 0).any(axis=1).mean()) for i, name in enumerate(codings)}
    mistaken = float((scores[kind == 0][:, told] > limits[told]).any(axis=1).mean())
    known = ", ".join(f"{share:.1%} of {name}" for name, share in found.items())
    log.info("pictures that look filmed: %s, %.1f %% of others", known, 100 * mistaken)
    if not told:
        return None, np.zeros(len(filmed), int)
    weight, offset = learn(np.ones(len(X), bool), told)
    looks = LooksFilmed(tuple(codings[told].tolist()), weight, offset - limits[told], doubted[told], found, mistaken)
    return looks, looks.like(margins[:, told], of_clips=np.array([not degrade.saved_again(name) for name in codings])[coding])


def _margins(X: Vectors, weight: np.ndarray, offset: np.ndarray) -> np.ndarray:
    margins = np.empty((len(X), len(weight)))
    for which, part in batches(X):
        margins[which] = part @ weight.T + offset
    return margins


def _some(data: Embeddings, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:_MOST])
    return np.asarray(data.X[chosen], np.float32), data.rows.iloc[chosen]


def _learn(X: np.ndarray, y: np.ndarray, weights: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """(dim,) and an offset that answer as a logistic regression on the standardised numbers does, in log-odds."""
    scaler, fitted = logistic.Head(seed, _C).fit(X, y, weights).pipeline_
    weight = fitted.coef_[0] / scaler.scale_
    return weight.astype(np.float32), float(fitted.intercept_[0] - weight @ scaler.mean_)
