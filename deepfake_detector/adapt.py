"""A linear model and photographs from a source new to it → the same model, which has learnt that source too.

How the pictures of one camera, archive or platform differ from those of another is far more than what generation leaves in them,
and a model that has never seen a source takes the one for the other. A few of its real pictures tell them apart. They are learnt
beside what the model keeps of its training pictures (recall.py), with calibration and thresholds as in training.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from deepfake_detector import split
from deepfake_detector.bundle import Bundle
from deepfake_detector.errors import TrainingError
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.recall import Recall
from deepfake_detector.train import Fitted, fit_calibrated
from deepfake_detector.types import REAL, Embeddings
from deepfake_detector.versions import versions

FEWEST = 10
_FOLDS = 5


@dataclass(frozen=True)
class Adapted:
    """The new model, and how many of the photographs it and the old one answer real, unsure and fake of.

    The new one's answers are of photographs that it was not shown: each is judged by what was learnt from the others.
    """

    bundle: Bundle
    before: Counter[str]
    after: Counter[str]


def adapt(model: Bundle, photographs: Embeddings, source: str, name: str, command: str = "") -> Adapted:
    """Learn real `photographs`, embedded as the model takes them, as one more source of real pictures.

    Raises TrainingError for a model that keeps nothing to learn by, too few photographs, or a source that it knows already.
    """
    recall = recall_of(model)
    groups = split.whole_groups(photographs.rows)
    if len(np.unique(groups)) < FEWEST:
        raise TrainingError(
            f"Learning a source takes at least {FEWEST} different photographs from it; there are {len(np.unique(groups))}. Add some."
        )
    if source in set(recall.rows["generator"]):
        raise TrainingError(f"The model {model.name} has learnt a source {source!r} already. Give these photographs another name (--name).")
    scaler = model.head.pipeline_[0]
    X = (scaler.transform(np.asarray(photographs.X)) @ recall.basis).astype(np.float32)
    new = pd.DataFrame(
        {"label": REAL, "generator": source, "group": [f"{source} {group}" for group in groups], "split": "train"}
        | {"sha256": photographs.rows["sha256"].to_numpy()}
    )
    C = model.head.pipeline_[-1].C * recall.learnt_from / len(recall.rows)  # as if all training pictures were there
    fold = groups % _FOLDS
    after: Counter[str] = Counter()
    for i in range(_FOLDS):
        fitted = _fit(model, recall.joined(X[fold != i], new[fold != i]), C)
        after += Counter(map(fitted.thresholds.answer, fitted.calibration(fitted.head.p_fake(X[fold == i]))))
    before = Counter(map(model.thresholds.answer, model.p_fake(photographs.X)))
    joined = recall.joined(X, new)
    fitted = _fit(model, joined, C)
    manifest = {key: value for key, value in model.manifest.items() if key not in ("scores", "name")}  # what was measured was another head
    training = manifest["training"]
    real = training["train"]["real"] | {source: len(photographs)}
    manifest |= {
        "promise": fitted.promise,
        "training": training
        | {"train": training["train"] | {"real": real}, "adapted_from": model.name, "command": command}
        | {"photographs": {"source": source, "n": len(photographs), "before": dict(before), "after": dict(after)}},
        "versions": versions(),
    }
    bundle = dataclasses.replace(
        model,
        name=name,
        head=_as_whole(model, recall, fitted.head.linear),
        calibration=fitted.calibration,
        thresholds=fitted.thresholds,
        manifest=manifest,
        remembered=joined,
    )
    return Adapted(bundle, before, after)


def recall_of(model: Bundle) -> Recall:
    """What the model keeps to learn a source by; raises TrainingError for one that keeps nothing."""
    if model.recall is None:
        raise TrainingError(
            f"The model {model.name} keeps nothing of its training pictures to learn a source by; logistic heads that this version has "
            f"trained do, its head is {model.head_name}. Train one again with --head logistic, or on a second table of your own beside."
        )
    return model.recall


def _fit(model: Bundle, recall: Recall, C: float) -> Fitted:
    data = Embeddings(recall.rows, recall.X, dataclasses.replace(model.spec, dim=recall.X.shape[1]), model.crop)
    return fit_calibrated(functools.partial(_Inside, C), data, seed=0)


class _Inside:
    """Logistic regression on coordinates, which are standardised already."""

    def __init__(self, C: float):
        self.linear = LogisticRegression(C=C, solver="newton-cholesky")  # few numbers, many rows: the quickest by far
        self.history_: dict[str, list[float]] = {}

    def fit(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None, held_out: object = None) -> _Inside:
        self.linear.fit(X, y, weight)
        return self

    def p_fake(self, X: np.ndarray) -> np.ndarray:
        return self.linear.predict_proba(X)[:, 1]


def _as_whole(model: Bundle, recall: Recall, linear: LogisticRegression) -> EmbeddingHead:
    """The model's head with what was learnt inside the few directions."""
    head = copy.deepcopy(model.head)
    whole = head.pipeline_[-1]
    whole.coef_ = linear.coef_ @ recall.basis.T.astype(np.float64)
    whole.intercept_ = linear.intercept_
    return head
