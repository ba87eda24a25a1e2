"""The known pictures nearest to new ones, by the cosine of their embeddings (exact search, by faiss)."""

from __future__ import annotations

import faiss
import numpy as np


class Neighbours:
    """An index over (n, dim) embeddings; `X` holds them scaled to unit length."""

    def __init__(self, X: np.ndarray):
        self.X = _unit(X)
        self._index = faiss.IndexFlatIP(self.X.shape[1])
        self._index.add(self.X)

    def nearest(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(m, dim) → the cosines, (m, k) float32 from the greatest down, and the row numbers, (m, k); k ≤ count where fewer are known."""
        return self._index.search(_unit(X), min(count, len(self.X)))


def _unit(X: np.ndarray) -> np.ndarray:
    """Rows of length 1, so that an inner product is a cosine; a row of zeros stays one."""
    X = np.ascontiguousarray(X, np.float32)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)
