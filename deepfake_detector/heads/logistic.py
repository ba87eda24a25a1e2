"""Logistic regression on standardised embeddings: the linear probe, the simplest head that works."""

from __future__ import annotations

from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from deepfake_detector.heads._sklearn import SklearnHead

CHOICES = tuple({"C": C} for C in (3e-4, 1e-3, 3e-3, 1e-2))


class Head(SklearnHead):
    """`C` is the inverse of the L2 penalty."""

    teachable = True

    def __init__(self, seed: int = 0, C: float = 1e-2):
        super().__init__(seed)
        self.C = C

    def steps(self, shape: tuple[int, int]) -> list[BaseEstimator]:
        return [LogisticRegression(C=self.C, max_iter=2000, random_state=self.seed)]
