"""Logistic regression on standardised embeddings: the linear probe, the simplest head that works."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from deepfake_detector import split
from deepfake_detector.heads._sklearn import SklearnHead
from deepfake_detector.vectors import Vectors

CHOICES = tuple({"C": C} for C in (3e-4, 1e-3, 3e-3, 1e-2))


class Head(SklearnHead):
    """`C` is the inverse of the L2 penalty."""

    teachable = True

    def __init__(self, seed: int = 0, C: float = 1e-2):
        super().__init__(seed)
        self.C = C

    def steps(self, shape: tuple[int, int]) -> list[BaseEstimator]:
        return [regression(self.C, self.seed)]

    def lessons(self, X: Vectors, rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
        """What is learnt of a table, standardised, (m, k), and of which row each is; `look` counts from 1 where a row is learnt twice."""
        return self.pipeline_[0].transform(np.asarray(X)), rows.assign(look=1)

    @property
    def directions(self) -> np.ndarray:
        """(regressions, k) by what is learnt each answers."""
        return self.pipeline_[-1].coef_

    def learn_again(self, looks: np.ndarray, lessons: pd.DataFrame, basis: np.ndarray, times: float) -> None:
        """Anew, inside the directions of `basis` (k, d) alone: `looks` (m, d) lie in it, and stand for `times` as many."""
        learn_within(self.pipeline_[-1], looks, lessons, basis, times)


def regression(C: float, seed: int) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=2000, random_state=seed)


def learn_within(fitted: LogisticRegression, looks: np.ndarray, lessons: pd.DataFrame, basis: np.ndarray, times: float) -> None:
    """Gives a regression the coefficients that it would have learnt within the directions of `basis` (see Head.learn_again)."""
    linear = LogisticRegression(C=fitted.C * times, solver="newton-cholesky")  # few numbers, many rows: the quickest by far
    linear.fit(looks, lessons["label"], split.weights(lessons))
    fitted.coef_ = linear.coef_ @ basis.T.astype(np.float64)
    fitted.intercept_ = linear.intercept_
