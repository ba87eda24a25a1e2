"""Nearest neighbours: a picture is as fake as the known pictures that it looks most like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from deepfake_detector.heads import EmbeddingHead, in_memory
from deepfake_detector.neighbours import Neighbours
from deepfake_detector.vectors import Vectors

NEIGHBOURS, SHARPNESS = 20, 20.0


class Head(EmbeddingHead):
    """Each of the nearest 20 votes with its weight times exp(20 · cosine).

    One vote for either class is added, so that no score is 0 or 1.
    """

    def fit(self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        """Raises TrainingError for rows of a table too large for memory: what is learnt is all of them."""
        self.width_ = X.shape[1]
        self.known_, self.y_ = Neighbours(in_memory(X, "knn")), np.asarray(y, np.int8)
        self.weight_ = np.ones(len(y), np.float32) if weight is None else np.asarray(weight, np.float32)
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        cosine, nearest = self.known_.nearest(X, NEIGHBOURS)
        votes = self.weight_[nearest] * np.exp(SHARPNESS * (cosine.astype(np.float64) - cosine[:, :1]))
        for_fake, for_real = ((votes * (self.y_[nearest] == label)).sum(axis=1) for label in (1, 0))
        return (for_fake + 1) / (for_fake + for_real + 2)

    def save(self, folder: Path) -> None:
        (folder / "head.safetensors").write_bytes(save({"X": self.known_.X, "y": self.y_, "weight": self.weight_}))

    @classmethod
    def load(cls, folder: Path) -> Head:
        state = load_file(folder / "head.safetensors")
        head = cls()
        head.width_, head.known_ = state["X"].shape[1], Neighbours(state["X"], scaled=True)
        head.y_, head.weight_ = state["y"], state["weight"]
        return head
