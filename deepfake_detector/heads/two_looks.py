"""Logistic regression that learns from a picture's first look alone, and is asked about both: for clip_vit_b16_looks.

Of generators and sources that it has not learnt from it answers better so than by the first look alone, and better than if it
learnt from both (benchmarks/looks.py).

Photographs painted anew (repaint.py) are learnt apart, against all photographs and their degraded copies: what a GAN leaves in a picture
is the opposite of what autoencoders and diffusion leave, and one regression that learns all of them forgets the fewer. One regression
learns them from the first look alone: with so few fakes it knows what photographs have in common, and so tells fakes of generators that
none has learnt from. Another learns both looks of the pairs, which differ in nothing else, and tells a GAN's faces. Both are asked about
both looks alike. The most suspicious of the three decides, each in standard deviations of what it answers about photographs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detector import split
from deepfake_detector.families import is_repainted
from deepfake_detector.heads import EmbeddingHead, logistic
from deepfake_detector.heads._sklearn import standardised, standardiser
from deepfake_detector.torch_compat import import_skops
from deepfake_detector.types import FAKE, REAL, VIEW
from deepfake_detector.vectors import Vectors

CHOICES = logistic.CHOICES
ENCODER = "clip_vit_b16_looks"
# What the first look counts when each regression is asked: all three windows alike; both looks alike (benchmarks/apart.py).
SHARES = (2 / 3, 1 / 2, 1 / 2)
# How nearly the greatest answer alone decides, and by how much less suspicious those learnt apart are taken to be. Without reserves their
# false alarms cost more on generators left out; with more they find fewer of the faces that GANs paint.
SHARPNESS, RESERVES = 2.0, (0.5, 0.2)
# Of those learnt apart, how much more easily the intercept moves than a coefficient. Were it free it would do nearly all that sets the many
# photographs apart, and the coefficients would hold what one painter leaves and nothing else; were it held at zero they would rather hold
# what known photographs have in common. And C of the one on both looks (benchmarks/apart.py).
INTERCEPT_SCALINGS, C_APART = (4.0, 8.0), 0.1
_LEAST = 1e-6  # of the deviation of what one answers about photographs, which may all be alike


class Head(EmbeddingHead):
    """An embedding's first half is the first look, the mean of two windows; its second half is a third window.

    `experts_` are one or three regressions on standardised looks, `shares_` what the first look counts when each is asked; `placed_`
    (2, experts) the median of what each answers about photographs, with the reserve of those learnt apart, and the standard deviation,
    in log-odds.
    """

    teachable = True

    def __init__(self, seed: int = 0, C: float = 1e-2):
        super().__init__(seed)
        self.C = C

    def learn(self, X: Vectors, rows: pd.DataFrame, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        apart, real = _repainted(rows), (rows["label"] == REAL).to_numpy()
        if not apart.any() or (apart | real).all():
            return super().learn(X, rows, held_out)
        own, beside = np.flatnonzero(~apart), np.flatnonzero(apart | real)
        super().learn(X[own], rows.iloc[own])
        looks, lessons = self.lessons(X[beside], rows.iloc[beside])
        for C, scaling, which in zip((self.C, C_APART), INTERCEPT_SCALINGS, (lessons["look"] == 1, lessons["look"] > 0), strict=True):
            learnt = lessons[which]
            expert = logistic.with_held_intercept(C, scaling, self.seed, looks[which], learnt["label"], split.weights(learnt))
            self.experts_.append(expert)
        photographs = (lessons["label"] == REAL).to_numpy() & (lessons["split"] != VIEW).to_numpy()
        self.shares_ = np.array(SHARES)
        answers = self._answers(*(looks[photographs & (lessons["look"] == look).to_numpy()] for look in (1, 2)))
        deviation = np.maximum(answers.std(axis=1), _LEAST)
        self.placed_ = np.stack([np.median(answers, axis=1) + [0, *RESERVES] * deviation, deviation])
        return self

    def fit(self, X: Vectors, y: np.ndarray, weight: np.ndarray | None = None, held_out: tuple[Vectors, np.ndarray] | None = None) -> Head:
        self.width_ = X.shape[1]
        self.scaler_ = standardiser(X, first)
        self.experts_ = [logistic.regression(self.C, self.seed).fit(standardised(self.scaler_, (X, first)), y, weight)]
        self.shares_, self.placed_ = np.array(SHARES[:1]), np.array([[0.0], [1.0]])  # a single answer is taken as it is
        return self

    def scores(self, X: np.ndarray) -> np.ndarray:
        answers = self._answers(self.scaler_.transform(first(X)), self.scaler_.transform(second(X)))
        middle, deviation = self.placed_[..., None]
        joined = np.logaddexp.reduce(SHARPNESS * (answers - middle) / deviation) / SHARPNESS
        return expit(middle[0] + deviation[0] * joined)

    def _answers(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """(experts, n) log-odds by the standardised looks (n, k)."""
        by_one, by_other = (np.stack([expert.decision_function(looks) for expert in self.experts_]) for looks in (one, other))
        share = self.shares_[:, None]
        return share * by_one + (1 - share) * by_other

    def save(self, folder: Path) -> None:
        state = {"scaler": self.scaler_, "experts": self.experts_, "shares": self.shares_, "placed": self.placed_}
        import_skops().dump(state, folder / "head.skops")

    @classmethod
    def load(cls, folder: Path) -> Head:
        head, state = cls(), import_skops().load(folder / "head.skops")
        head.scaler_, head.experts_, head.shares_, head.placed_ = (state[name] for name in ("scaler", "experts", "shares", "placed"))
        head.width_ = 2 * head.scaler_.n_features_in_
        return head

    def lessons(self, X: Vectors, rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
        """All first looks; then, where some learn apart, second ones of photographs and of those painted anew, not of degraded copies."""
        apart, real = _repainted(rows), (rows["label"] == REAL).to_numpy()
        taught_apart = apart.any() or len(self.experts_) > 1
        again = np.flatnonzero((apart | real) & (rows["split"] != VIEW).to_numpy() & taught_apart)
        looks = standardised(self.scaler_, (X, first), (X[again], second))
        return looks, pd.concat([rows.assign(look=1), rows.iloc[again].assign(look=2)], ignore_index=True)

    @property
    def directions(self) -> np.ndarray:
        return np.concatenate([expert.coef_ for expert in self.experts_])

    def learn_again(self, looks: np.ndarray, lessons: pd.DataFrame, known: np.ndarray, basis: np.ndarray, times: float) -> None:
        apart, real = _repainted(lessons), (lessons["label"] == REAL).to_numpy()
        once = (lessons["look"] == 1).to_numpy()
        learnt = [once] if len(self.experts_) == 1 else [once & ~apart, once & (apart | real), apart | real]
        for expert, which in zip(self.experts_, learnt, strict=True):
            if lessons["label"][which & known].nunique() == 2:  # of many rows a model keeps some, and perhaps none painted anew
                logistic.learn_within(expert, looks[which], lessons[which], known[which], basis, times)


def first(X: np.ndarray) -> np.ndarray:
    return X[:, : X.shape[1] // 2]


def second(X: np.ndarray) -> np.ndarray:
    return X[:, X.shape[1] // 2 :]


def _repainted(rows: pd.DataFrame) -> np.ndarray:
    """(n,) whether a row is a fake made of a photograph by painting it anew."""
    named = rows["generator"].map({name: is_repainted(name) for name in set(rows["generator"])})
    return named.to_numpy(bool) & (rows["label"] == FAKE).to_numpy()
