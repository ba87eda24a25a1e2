"""What the scikit-learn heads share: a pipeline saved by skops, which never runs code that it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.torch_compat import import_skops
from deepfake_detector.vectors import Collector, OnDisk, Vectors, batches, folder_of


class SklearnHead(EmbeddingHead):
    """A subclass says what learns from the standardised embeddings, given their shape."""

    def steps(self, shape: tuple[int, int]) -> list[BaseEstimator]:
        raise NotImplementedError

    def fit(
        self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None
    ) -> SklearnHead:
        self.width_ = X.shape[1]
        scaler = standardiser(X)
        pipeline = make_pipeline(*self.steps(X.shape))
        pipeline.fit(standardised(scaler, (X, _all)), y, **{f"{pipeline.steps[-1][0]}__sample_weight": weight})
        self.pipeline_ = make_pipeline(scaler, *(step for _, step in pipeline.steps))
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.predict_proba(X)[:, 1]

    def save(self, folder: Path) -> None:
        import_skops().dump(self.pipeline_, folder / "head.skops")

    @classmethod
    def load(cls, folder: Path) -> SklearnHead:
        head = cls()
        head.pipeline_ = import_skops().load(folder / "head.skops")
        head.width_ = head.pipeline_.n_features_in_
        return head


Look = Callable[[np.ndarray], np.ndarray]  # rows (n, dim) → what of them is learnt, (n, k)


def _all(X: np.ndarray) -> np.ndarray:
    return X


def standardiser(X: Vectors, look: Look = _all) -> StandardScaler:
    """Fitted to all rows, some of them at a time."""
    scaler = StandardScaler()
    for _, part in batches(X):
        scaler.partial_fit(look(part))
    return scaler


def standardised(scaler: StandardScaler, *looks: tuple[Vectors, Look]) -> np.ndarray:
    """(m, k) float32, look after look, for scikit-learn; of too many rows, what the system reads from disk as it is used."""
    tables = [X for X, _ in looks]
    collected = Collector((sum(map(len, tables)), scaler.n_features_in_), folder_of(*tables))
    for X, look in looks:
        for _, part in batches(X):
            collected.add(scaler.transform(look(part)))
    kept = collected.finish()
    return kept.mapped() if isinstance(kept, OnDisk) else kept
