"""The known pictures nearest to new ones, by the cosine of their embeddings (by faiss)."""

from __future__ import annotations

import faiss
import numpy as np

from deepfake_detector.vectors import Vectors, batches, unit

SHORTLIST = 1000  # rows of a table on disk whose cosines are computed for a search
_SAMPLE = 10_000


class Neighbours:
    """An index over (n, dim) embeddings.

    In memory the search is exact, and `X` holds them scaled to unit length. Of those on disk one bit a number is in memory (Gao &
    Long, *RaBitQ*, SIGMOD 2024), by which the likeliest rows are found; only their cosines are exact.
    """

    def __init__(self, X: Vectors, scaled: bool = False):
        """`scaled` says that X, in memory, is of unit length already: scaled once more it would change by rounding."""
        if isinstance(X, np.ndarray):
            self.X = X if scaled else unit(X)
            self._index = faiss.IndexFlatIP(X.shape[1])
            self._index.add(self.X)
            return
        self.X = X
        self._index = faiss.IndexRaBitQ(X.shape[1], faiss.METRIC_INNER_PRODUCT)
        self._index.train(unit(X[np.linspace(0, len(X) - 1, min(_SAMPLE, len(X))).astype(int)]))
        for _, rows in batches(X):
            self._index.add(unit(rows))

    def nearest(self, X: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(m, dim) → the cosines, (m, k) float32 from the greatest down, and the row numbers, (m, k); k ≤ count where fewer are known."""
        wanted, count = unit(X), min(count, len(self.X))
        if isinstance(self.X, np.ndarray):
            return self._index.search(wanted, count)
        _, likely = self._index.search(wanted, min(max(SHORTLIST, count), len(self.X)))
        likely.sort(axis=1)  # as they lie on disk
        cosines = np.stack([unit(self.X[rows]) @ one for rows, one in zip(likely, wanted, strict=True)])
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(cosines, best, axis=1), np.take_along_axis(likely, best, axis=1)
