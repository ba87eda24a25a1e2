"""Vectors → probability of being fake: one file a head, each with a class `Head`.

A file may offer `CHOICES`, settings of its head (keyword arguments) among which `train_classifier.py --choose` chooses, and name the one
`ENCODER` whose embeddings it learns from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake_detector import split
from deepfake_detector.errors import TableError, TrainingError
from deepfake_detector.vectors import IN_MEMORY, OnDisk, Vectors, batches


class EmbeddingHead(ABC):
    """The contract: fit, p_fake, save, load. What is learned ends in `_`; `history_` holds training curves, or nothing.

    Probabilities are the head's own; a bundle adds the calibration learned on pictures that the head never saw.
    """

    history_: dict[str, list[float]] = {}
    width_: int
    # Whether it can be taught more sources and generators by what a model keeps (recall.py, adapt.py), and so has `lessons`,
    # `directions` and `learn_again` (see logistic.py).
    teachable = False

    def __init__(self, seed: int = 0):
        self.seed = seed

    @abstractmethod
    def fit(
        self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None
    ) -> EmbeddingHead:
        """X: (n, dim) float32, in memory or on disk, y: (n,) with 1 = fake; the same rows give the same head wherever they lie.

        `weight` (n,) says how much each row counts, 1 on average; None is 1 for all. `held_out` (X, y) is only watched for the
        curves, never learned from.
        """

    def learn(self, X: Vectors, rows: pd.DataFrame, held_out: tuple[Vectors, np.ndarray] | None = None) -> EmbeddingHead:
        """Fit to a table's embeddings and rows, both classes and their sources balanced (see split.weights)."""
        return self.fit(X, rows["label"].to_numpy(), split.weights(rows), held_out)

    @abstractmethod
    def scores(self, X: np.ndarray) -> np.ndarray:
        """(n, width_) float32, checked → (n,) in 0..1."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the head's own files into an existing folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> EmbeddingHead:
        """The head that `save` wrote there, giving equal probabilities."""

    def p_fake(self, X: Vectors) -> np.ndarray:
        """X: (n, dim) float32, in memory or on disk → (n,) float64 in 0..1, higher means fake; raises TableError on another width."""
        if X.ndim != 2 or X.shape[1] != self.width_:
            raise TableError(f"This head was trained on embeddings of {self.width_} numbers; received an array of shape {X.shape}.")
        scores = np.empty(len(X))
        for which, part in batches(X):
            scores[which] = self.scores(np.ascontiguousarray(part))
        return scores


def in_memory(X: Vectors, head: str) -> np.ndarray:
    """The same rows, for a head that needs them all at once; raises TrainingError where the table was too large for that."""
    if isinstance(X, OnDisk):
        raise TrainingError(
            f"The head {head} needs all rows in memory, so it learns from tables of up to {IN_MEMORY / 2**30:g} GiB of float32 numbers; "
            f"received {len(X)} rows of {X.shape[1]} out of a larger one. Choose --head logistic or keras_mlp."
        )
    return X
