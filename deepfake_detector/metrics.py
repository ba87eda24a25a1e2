"""The figures by which a detector is judged; label 1 is fake, and how far each is to be trusted is in intervals.py.

Everything is read off one table of counts: how many fakes and reals, in each bootstrap draw, share each distinct score.

    auroc(labels, p_fake)                                             one figure; raises if it needs a class that is missing
    summary(labels, p_fake, thresholds)                               all figures, ready for JSON; None where undefined

In every function `labels` is (n,) of 0 and 1, and `p_fake` is (n,) float: higher means fake.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deepfake_detector.errors import TrainingError
from deepfake_detector.types import FAKE, REAL, Thresholds

_BINS = 15  # of probabilities, in which said and true shares of fakes are set beside each other


@dataclass(frozen=True)
class Confusion:
    """Right and wrong answers at one threshold; `p` (positive) is fake. Counts, or arrays (draws,) of them.

    A share is NaN where its denominator is 0; precision and F1 also where a class is missing, as they depend on the mix.
    """

    tn: Any
    fp: Any
    fn: Any
    tp: Any

    @property
    def both(self) -> Any:
        """Whether both classes are there."""
        return (self.tp + self.fn > 0) & (self.tn + self.fp > 0)

    @property
    def accuracy(self) -> Any:
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> Any:
        return _ratio(self.tp, (self.tp + self.fp) * self.both)

    @property
    def recall(self) -> Any:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> Any:
        return _ratio(2 * self.tp, (2 * self.tp + self.fp + self.fn) * self.both)

    @property
    def fpr(self) -> Any:
        """The share of reals called fake."""
        return _ratio(self.fp, self.tn + self.fp)


@dataclass(frozen=True, eq=False)
class Curve:
    """How many fakes and reals share each distinct score, from the highest down: all that the figures need.

    `scores` is (m,), `fake` and `real` are (draws, m). Every figure is (draws,), NaN where a class that it needs is missing.
    """

    scores: np.ndarray
    fake: np.ndarray
    real: np.ndarray

    @classmethod
    def of(cls, labels: Any, p_fake: Any) -> Curve:
        """A set of pictures as they are, in one draw."""
        labels, p_fake = checked(labels, p_fake)
        return Ranking(labels, p_fake).curve(np.ones((1, len(labels))))

    @cached_property
    def tp(self) -> np.ndarray:
        """(draws, m): fakes at or above each score."""
        return np.cumsum(self.fake, axis=1)

    @cached_property
    def fp(self) -> np.ndarray:
        """(draws, m): reals at or above each score."""
        return np.cumsum(self.real, axis=1)

    @property
    def n_fake(self) -> np.ndarray:
        return self.tp[:, -1]

    @property
    def n_real(self) -> np.ndarray:
        return self.fp[:, -1]

    def auroc(self) -> np.ndarray:
        """The chance that a fake scores above a real; a tie counts half."""
        wins = np.einsum("dm,dm->d", self.real, self.tp - self.fake / 2)
        return _ratio(wins, self.n_fake * self.n_real)

    def average_precision(self) -> np.ndarray:
        """Precision at each step of recall, without interpolation, as scikit-learn has it."""
        shown = self.tp + self.fp
        precision = np.divide(self.tp, shown, out=np.zeros_like(shown), where=shown > 0)
        return _ratio(np.einsum("dm,dm->d", self.fake, precision), self.n_fake * (self.n_real > 0))

    def eer(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the straight-line ROC has FPR = FNR: that rate, and the highest score at which FPR has reached FNR."""
        fakes, reals = self.n_fake[:, None], self.n_real[:, None]
        before = self.tp * reals + self.fp * fakes < fakes * reals  # FPR < FNR, in whole numbers and so exact
        after = np.minimum(before.sum(axis=1, keepdims=True), len(self.scores) - 1)
        (fpr_0, tpr_0), (fpr_1, tpr_1) = (
            (_ratio(_before(self.fp, k), reals), _ratio(_before(self.tp, k), fakes)) for k in (after, after + 1)
        )
        step = _ratio(1 - tpr_0 - fpr_0, tpr_1 - tpr_0 + fpr_1 - fpr_0)
        rate = (fpr_0 + step * (fpr_1 - fpr_0))[:, 0]
        return rate, np.where(np.isnan(rate), np.nan, self.scores[after[:, 0]])

    def tpr_at_fpr(self, fpr: float) -> np.ndarray:
        """The largest share of fakes found with at most this share of reals called fake; no interpolation."""
        allowed = _ratio(self.fp, self.n_real[:, None]) <= fpr
        return _ratio(_before(self.tp, allowed.sum(axis=1, keepdims=True))[:, 0], self.n_fake * (self.n_real > 0))

    def confusion(self, threshold: float) -> Confusion:
        """Fake at or above the threshold."""
        return self._confusion_after(np.sum(self.scores >= threshold))

    def abstain_rate(self, thresholds: Thresholds) -> np.ndarray:
        """The share of pictures answered with "unsure"."""
        _, answered = self._answers(thresholds)
        n = self.n_fake + self.n_real
        return _ratio(n - answered, n)

    def error_among_answered(self, thresholds: Thresholds) -> np.ndarray:
        """The share of wrong answers where the answer is not "unsure"; NaN where it always is."""
        wrong, answered = self._answers(thresholds)
        return _ratio(wrong, answered)

    def ece(self) -> np.ndarray:
        """Expected calibration error over bins of equal width: the mean gap between p_fake and the share of fakes.

        Both classes weigh the same, whatever the mix of the pictures, since that is the case which p_fake is a probability for.
        """
        bin_of = _bin_of(self.scores)[:, None] == np.arange(_BINS)  # (m, bins)
        fake, real = (_ratio(counts, 2 * counts.sum(axis=1, keepdims=True)) for counts in (self.fake, self.real))
        return np.abs((fake - (fake + real) * self.scores) @ bin_of).sum(axis=1)

    def _confusion_after(self, k: int) -> Confusion:
        """The k highest scores are called fake."""
        tp, fp = _before(self.tp, k)[:, 0], _before(self.fp, k)[:, 0]
        return Confusion(self.n_real - fp, fp, self.n_fake - tp, tp)

    def _answers(self, thresholds: Thresholds) -> tuple[np.ndarray, np.ndarray]:
        """The wrong answers and all answers but "unsure", (draws,) each; "fake" goes first, as in `Thresholds.answer`."""
        called_fake = thresholds.calls_fake(self.scores)
        fake = self._confusion_after(np.sum(called_fake))
        real = self._confusion_after(np.sum(~thresholds.calls_real(self.scores)))
        wrong = fake.fp + real.fn
        return wrong, wrong + fake.tp + real.tn


HALF = 0.5  # the threshold of the answer that knows no "unsure"
Statistic = Callable[[Curve], np.ndarray]  # a figure of each draw, (draws,)
RANKING: dict[str, Statistic] = {  # what compares fakes with reals by their order alone
    "auroc": Curve.auroc,
    "ap": Curve.average_precision,
    "eer": lambda curve: curve.eer()[0],
    "tpr_at_1_fpr": lambda curve: curve.tpr_at_fpr(0.01),
    "tpr_at_5_fpr": lambda curve: curve.tpr_at_fpr(0.05),
}


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram: `n` counts its pictures; in `mean_p` and `share_fake` both classes weigh the same, as in ECE."""

    n: int
    mean_p: float
    share_fake: float


def auroc(labels: Any, p_fake: Any) -> float:
    labels, p_fake = checked(labels, p_fake)
    need_both(labels)
    return float(Curve.of(labels, p_fake).auroc()[0])


def reliability(labels: Any, p_fake: Any) -> list[ReliabilityBin]:
    """The bars of a reliability diagram, from 0 to 1, without the empty ones."""
    labels, p_fake = checked(labels, p_fake)
    bin_of, weight = _bin_of(p_fake), 1 / np.bincount(labels)[labels]
    bars = []
    for b in np.unique(bin_of):
        of = bin_of == b
        mean_p, share_fake = (float(np.average(values[of], weights=weight[of])) for values in (p_fake, labels))
        bars.append(ReliabilityBin(int(of.sum()), mean_p, share_fake))
    return bars


def figures(thresholds: Thresholds) -> dict[str, Statistic]:
    """The figures of `summary` by name; `thresholds` make the verdict, one half the answer without an "unsure"."""
    return {
        "accuracy": lambda curve: curve.confusion(HALF).accuracy,
        "precision": lambda curve: curve.confusion(HALF).precision,
        "recall": lambda curve: curve.confusion(HALF).recall,
        "f1": lambda curve: curve.confusion(HALF).f1,
        "fpr": lambda curve: curve.confusion(HALF).fpr,
        **RANKING,
        "ece": Curve.ece,
        "abstain_rate": lambda curve: curve.abstain_rate(thresholds),
        "error_among_answered": lambda curve: curve.error_among_answered(thresholds),
    }


def summary(labels: Any, p_fake: Any, thresholds: Thresholds) -> dict[str, Any]:
    """All figures, ready for JSON; None where one is undefined, as AUROC is with a single class.

    A generator's row joins its fakes with all reals; a real source's row has reals only, and tells their `fpr`.
    """
    curve = Curve.of(labels, p_fake)
    values = {name: float(figure(curve)[0]) for name, figure in figures(thresholds).items()}
    n_real, n_fake = int(curve.n_real[0]), int(curve.n_fake[0])
    return {
        "n": n_real + n_fake,
        "n_real": n_real,
        "n_fake": n_fake,
        "threshold": HALF,
        "confusion": {name: int(count[0]) for name, count in asdict(curve.confusion(HALF)).items()},
        **{name: None if math.isnan(value) else value for name, value in values.items()},
    }


def log_odds(p: Any, edge: float = 1e-7) -> np.ndarray:
    """(n,) probabilities → (n,); none is taken for surer than `edge`, or 0 and 1 would be infinite."""
    p = np.clip(np.asarray(p, np.float64), edge, 1 - edge)
    return np.log(p) - np.log1p(-p)


class Ranking:
    """The order of the scores, found once and used for every draw."""

    def __init__(self, labels: np.ndarray, p_fake: np.ndarray) -> None:
        self.order = np.argsort(-p_fake, kind="stable")
        ranked = p_fake[self.order]
        self.fake = labels[self.order] == FAKE
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # of each run of ties
        self.scores = ranked[self.starts]

    def curve(self, weights: np.ndarray) -> Curve:
        """weights: (draws, n) in the order of the rows, how often each is counted."""
        ranked = np.asarray(weights, dtype=float)[:, self.order]
        fake, real = (np.add.reduceat(np.where(of, ranked, 0.0), self.starts, axis=1) for of in (self.fake, ~self.fake))  # of may be NaN
        return Curve(self.scores, fake, real)


def _bin_of(p_fake: np.ndarray) -> np.ndarray:
    """Which of the bins, low < p_fake ≤ high; the first takes 0 too."""
    low, high = p_fake.min(), p_fake.max()
    if low < 0 or high > 1:
        raise TrainingError(f"Calibration needs probabilities in 0..1. Received: {low:.4g}..{high:.4g}. Calibrate these scores first.")
    return np.digitize(p_fake, np.linspace(0, 1, _BINS + 1)[1:-1], right=True)


def _before(counts: np.ndarray, k: Any) -> np.ndarray:
    """(draws, 1): running counts (draws, m) after the first k scores; k is one number, or (draws, 1)."""
    k = np.broadcast_to(k, (len(counts), 1))
    return np.where(k > 0, np.take_along_axis(counts, np.maximum(k - 1, 0), axis=1), 0)


def _ratio(part: Any, whole: Any) -> Any:
    """part / whole, NaN where the whole is 0."""
    whole = np.asarray(whole, dtype=float)
    return np.asarray(part) / np.where(whole == 0, np.nan, whole)


def need_both(labels: np.ndarray) -> None:
    fakes = int((labels == FAKE).sum())
    if fakes in (0, len(labels)):
        raise TrainingError(
            f"This figure needs both real (0) and fake (1) rows. Received: {len(labels) - fakes} real, {fakes} fake. "
            "Join the fakes with reals, or use `summary`, which leaves out what one class can't tell."
        )


def checked(labels: Any, *scores: Any) -> list[np.ndarray]:
    """The labels and scores as arrays of one length, or a TrainingError that says what is wrong with them."""
    labels = np.asarray(labels)
    scores = [np.asarray(p, dtype=float) for p in scores]
    if labels.ndim != 1 or len(labels) == 0 or any(p.shape != labels.shape for p in scores):
        raise TrainingError(
            f"Expected one label and one score a row, (n,) each with n ≥ 1. Received: labels {labels.shape}, "
            f"scores {', '.join(str(p.shape) for p in scores)}. Take both from the same rows of one table."
        )
    if not np.isin(labels, (REAL, FAKE)).all():
        strange = np.unique(labels[~np.isin(labels, (REAL, FAKE))])[:5].tolist()
        raise TrainingError(f"Labels are 0 (real) and 1 (fake). Received also: {strange}. Turn them round where they are read.")
    for p in scores:
        if not np.isfinite(p).all():
            raise TrainingError(
                f"Expected finite scores. Received: {int((~np.isfinite(p)).sum())} NaN or infinite of {len(p)}. "
                "Look for a failed picture or a head that diverged, and leave those rows out."
            )
    return [labels.astype(int), *scores]
