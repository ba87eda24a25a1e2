"""A support vector machine with an RBF kernel."""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from deepfake_detector.heads import in_memory
from deepfake_detector.heads._sklearn import SklearnHead
from deepfake_detector.vectors import Vectors

_COMPONENTS = 256  # the kernel's cost grows with the width; this many principal components carry nearly all of it
CHOICES = tuple({"C": C} for C in (0.1, 1.0, 10.0))


class Head(SklearnHead):
    """Scores are the sigmoid of the margin; the bundle's Platt scaling makes them probabilities (`probability=True` is deprecated)."""

    def __init__(self, seed: int = 0, C: float = 1.0):
        super().__init__(seed)
        self.C = C

    def fit(self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        """Raises TrainingError for rows of a table too large for memory: the time grows with the square of their number."""
        super().fit(in_memory(X, "svm"), y, weight, held_out)
        return self

    def steps(self, shape: tuple[int, int]) -> list[BaseEstimator]:
        reduce = PCA(min(_COMPONENTS, *shape), svd_solver="randomized", random_state=self.seed)
        return [reduce, SVC(C=self.C, random_state=self.seed)]

    def scores(self, X: np.ndarray) -> np.ndarray:
        return expit(self.pipeline_.decision_function(X))
