"""From a head's own scores to a probability that means what it says, and to the two thresholds of a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake_detector.types import Thresholds

_EDGE = 1e-7  # a score of exactly 0 or 1 would have infinite log-odds


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of log-odds: p = sigmoid(slope · logit(score) + offset). Platt, 1999."""

    slope: float
    offset: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n,) scores in 0..1 → (n,) calibrated probabilities of being fake, real and fake being equally likely beforehand."""
        z = self.slope * _logit(scores) + self.offset
        return 0.5 * (1 + np.tanh(0.5 * z))  # the sigmoid, without overflow


def _logit(scores: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """Learn from the scores of pictures that the head was not trained on; both classes weigh the same.

    The slope is kept positive: calibration may not turn a head round.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e3, class_weight="balanced").fit(_logit(scores)[:, None], labels)
    return Calibration(max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0]))


def fit_thresholds(p_fake: np.ndarray, labels: np.ndarray, false_positive_rate: float, false_negative_rate: float) -> Thresholds:
    """The thresholds under which, on such pictures, at most these shares of real are called fake and of fake real.

    Shares are the upper 95 % Clopper–Pearson bounds, not the bare counts, so few pictures make a cautious detector.
    Between the thresholds the answer is unsure; they never cross.
    """
    real, fake = np.sort(p_fake[labels == 0]), np.sort(p_fake[labels == 1])
    allowed = allowed_errors(len(real), false_positive_rate)
    upper = 1.0 if allowed < 0 else float(np.nextafter(real[-1 - allowed], 2))
    allowed = allowed_errors(len(fake), false_negative_rate)
    lower = 0.0 if allowed < 0 else float(np.nextafter(fake[allowed], -1))
    if lower >= upper:  # the classes are so far apart that both promises hold anywhere between
        lower = upper = (lower + upper) / 2
    return Thresholds(real=lower, fake=min(upper, 1.0))


def allowed_errors(count: int, rate: float) -> int:
    """The most errors among `count` whose upper confidence bound is within `rate`; -1 where even none is too many."""
    from deepfake_detector.metrics import clopper_pearson

    allowed = -1
    while allowed + 1 < count and clopper_pearson(allowed + 1, count) <= rate:
        allowed += 1
    return allowed
