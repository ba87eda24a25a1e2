"""Logistic regression that learns from a picture's first look alone, and is asked about both: for clip_vit_b16_looks.

Of generators and sources that it has not learnt from it answers better so than by the first look alone, and better than if it
learnt from both (benchmarks/looks.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detector.heads import logistic

CHOICES = logistic.CHOICES
ENCODER = "clip_vit_b16_looks"


class Head(logistic.Head):
    """An embedding's first half is the first look, the mean of two windows; its second half is a third window."""

    def learnt(self, X: np.ndarray) -> np.ndarray:
        return X[:, : X.shape[1] // 2]

    def asked(self, X: np.ndarray) -> np.ndarray:
        """The mean over all three windows, of which a linear head's log-odds are the mean of its three answers."""
        first, second = np.split(X, 2, axis=1)
        return (2 * first + second) / 3

    @classmethod
    def load(cls, folder: Path) -> Head:
        head = super().load(folder)
        head.width_ *= 2
        return head
