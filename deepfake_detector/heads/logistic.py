"""Logistic regression on standardised embeddings: the linear probe, the simplest head that works."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_detector import split
from deepfake_detector.heads._sklearn import SklearnHead
from deepfake_detector.types import FAKE, REAL
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

    def learn_again(self, looks: np.ndarray, lessons: pd.DataFrame, known: np.ndarray, basis: np.ndarray, times: float) -> None:
        """Learn what is new beside what is `known` (m,) bool, inside the directions of `basis` (k, d) alone.

        `looks` (m, d) lie in it, and stand for `times` as many. With nothing new a head stays as it is.
        """
        learn_within(self.pipeline_[-1], looks, lessons, known, basis, times)


def given(weight: np.ndarray, offset: float) -> Head:
    """A head that answers as a linear layer of (k,) weights does: sigmoid(weight · x + offset)."""
    scaler = StandardScaler().fit(np.array([[-1.0], [1.0]]) * np.ones(len(weight)))  # mean 0 and deviation 1: x as it is
    linear = LogisticRegression()
    linear.classes_, linear.n_features_in_, linear.n_iter_ = np.array([REAL, FAKE]), len(weight), np.zeros(1, np.int32)
    linear.coef_, linear.intercept_ = weight.astype(np.float64)[None], np.array([offset])
    head = Head()
    head.pipeline_, head.width_ = make_pipeline(scaler, linear), len(weight)
    return head


def regression(C: float, seed: int) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=2000, random_state=seed)


def with_held_intercept(C: float, scaling: float, seed: int, X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> LogisticRegression:
    """Fitted with the intercept under the penalty too, as the coefficient of a number that is `scaling` in every row.

    scikit-learn's own for this, the solver liblinear, takes five times as long.
    """
    fitted = LogisticRegression(C=C, fit_intercept=False, intercept_scaling=scaling, tol=1e-6, max_iter=2000, random_state=seed)
    fitted.fit(np.column_stack([X, np.full(len(X), scaling, X.dtype)]), y, weight)
    fitted.coef_, fitted.intercept_ = fitted.coef_[:, :-1], scaling * fitted.coef_[:, -1]
    fitted.n_features_in_ -= 1
    return fitted


def learn_within(
    fitted: LogisticRegression, looks: np.ndarray, lessons: pd.DataFrame, known: np.ndarray, basis: np.ndarray, times: float
) -> None:
    """Gives a regression the coefficients that it would have learnt within the directions of `basis` (see Head.learn_again).

    A solver stops short of the least loss, the sooner the weaker the penalty, and rows are kept rounded. The slope that this leaves at
    the regression's place on the known rows is taken off everywhere, so that what is new moves it and nothing else does.
    """
    start = np.r_[basis.T @ fitted.coef_[0], fitted.intercept_].astype(np.float64)
    held = 0.0 if fitted.fit_intercept else fitted.intercept_scaling**-2
    left = _Loss(looks[known], lessons[known], fitted.C * times, held, np.zeros_like(start)).slope(start)
    loss = _Loss(looks, lessons, fitted.C * times, held, left)
    found = minimize(loss, start, method="trust-exact", jac=loss.slope, hess=loss.curvature)
    fitted.coef_ = fitted.coef_ + basis.astype(np.float64) @ (found.x - start)[:-1]
    fitted.intercept_ = found.x[-1:]


class _Loss:
    """That of a logistic regression by its coefficients and, last, its intercept (`held` as much as these), less `tilt` times them."""

    def __init__(self, looks: np.ndarray, lessons: pd.DataFrame, C: float, held: float, tilt: np.ndarray):
        self.columns = np.column_stack([looks, np.ones(len(looks))]).astype(np.float64)
        self.y, self.weights, self.tilt = lessons["label"].to_numpy(), C * split.weights(lessons), tilt
        self.penalised = np.r_[np.ones(looks.shape[1]), held]

    def __call__(self, at: np.ndarray) -> float:
        z = self.columns @ at
        return float(self.weights @ (np.logaddexp(0, z) - self.y * z) + self.penalised @ at**2 / 2 - self.tilt @ at)

    def slope(self, at: np.ndarray) -> np.ndarray:
        return self.columns.T @ (self.weights * (expit(self.columns @ at) - self.y)) + self.penalised * at - self.tilt

    def curvature(self, at: np.ndarray) -> np.ndarray:
        p = expit(self.columns @ at)
        return (self.columns.T * (self.weights * p * (1 - p))) @ self.columns + np.diag(self.penalised)
