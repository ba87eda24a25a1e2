"""What the scikit-learn heads share: a pipeline saved by skops, which never runs code that it loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from deepfake_detector.heads import EmbeddingHead


class SklearnHead(EmbeddingHead):
    """A subclass says which pipeline, given the shape of what it learns from."""

    def pipeline(self, shape: tuple[int, int]) -> Pipeline:
        raise NotImplementedError

    def fit(self, X: np.ndarray, y: np.ndarray, held_out: tuple[np.ndarray, np.ndarray] | None = None) -> SklearnHead:
        self.width_ = X.shape[1]
        self.pipeline_ = self.pipeline(X.shape).fit(X, y)
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.predict_proba(X)[:, 1]

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
