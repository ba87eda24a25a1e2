"""The known pictures that a new one is most like: evidence that a reader can look at and judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detector.datasets.folder import scan
from deepfake_detector.neighbours import Neighbours
from deepfake_detector.types import Embeddings, Similar

SHOWN = 6


class Known:
    """The pictures of a table, without their degraded copies. `pictures` is the folder or manifest where their files are, if at hand."""

    def __init__(self, data: Embeddings, pictures: str | Path | None = None):
        data = data.pictures()
        self.spec, self.crop = data.spec, data.crop
        self._neighbours = Neighbours(data.X)
        self._rows = data.rows[["path", "label", "generator"]]
        self._files = {sample.name: sample.path for sample in scan(pictures).samples} if pictures else {}

    def most_similar(self, vectors: np.ndarray) -> tuple[Similar, ...]:
        """(regions, dim) of one picture → the nearest known pictures to any of its regions, each once, the nearest first."""
        count, nearest = 0, {}
        while len(nearest) < SHOWN and count < len(self._rows):  # one picture may have many faces, or frames
            count = 4 * max(count, SHOWN)
            nearest = self._nearest(vectors, count)
        return tuple(nearest.values())[:SHOWN]

    def _nearest(self, vectors: np.ndarray, count: int) -> dict[str, Similar]:
        cosines, rows = (found.ravel() for found in self._neighbours.nearest(vectors, count))
        nearest: dict[str, Similar] = {}
        order = np.argsort(-cosines, kind="stable")
        known = self._rows.iloc[rows[order]].itertuples(index=False)
        for (path, label, generator), cosine in zip(known, cosines[order], strict=True):
            nearest.setdefault(path, Similar(path, int(label), generator, round(float(cosine), 4), self._files.get(path)))
        return nearest
