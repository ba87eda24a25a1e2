"""What the scikit-learn heads share: a pipeline saved by skops, which never runs code that it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.vectors import Collector, OnDisk, Vectors, batches, folder_of


class SklearnHead(EmbeddingHead):
    """A subclass says what learns from the standardised embeddings, given their shape."""

    def steps(self, shape: tuple[int, int]) -> list[BaseEstimator]:
        raise NotImplementedError

    def learnt(self, X: np.ndarray) -> np.ndarray:
        """(n, width_) → what of it is learnt from, (n, k)."""
        return X

    def asked(self, X: np.ndarray) -> np.ndarray:
        """(n, width_) → what the answer is about, (n, k)."""
        return X

    def fit(
        self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None
    ) -> SklearnHead:
        self.width_ = X.shape[1]
        scaler = standardiser(X, self.learnt)
        pipeline = make_pipeline(*self.steps((len(X), scaler.n_features_in_)))
        pipeline.fit(self._standardised(X, scaler), y, **{f"{pipeline.steps[-1][0]}__sample_weight": weight})
        self.pipeline_ = make_pipeline(scaler, *(step for _, step in pipeline.steps))
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.predict_proba(self.asked(X))[:, 1]

    def save(self, folder: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline_, folder / "head.skops")

    @classmethod
    def load(cls, folder: Path) -> SklearnHead:
        import skops.io

        head = cls()
        head.pipeline_ = skops.io.load(folder / "head.skops")
        head.width_ = head.pipeline_.n_features_in_
        return head

    def _standardised(self, X: Vectors, scaler: StandardScaler) -> np.ndarray:
        """What is learnt, float32, as one array for scikit-learn; of too many rows, one that the system reads from disk as it is used."""
        collected = Collector((len(X), scaler.n_features_in_), folder_of(X))
        for _, part in batches(X):
            collected.add(scaler.transform(self.learnt(part)))
        kept = collected.finish()
        return kept.mapped() if isinstance(kept, OnDisk) else kept


def standardiser(X: Vectors, learnt: Callable[[np.ndarray], np.ndarray] = lambda part: part) -> StandardScaler:
    """Fitted to all rows of (n, dim), some of them at a time; `learnt` says what of them."""
    scaler = StandardScaler()
    for _, part in batches(X):
        scaler.partial_fit(learnt(part))
    return scaler
