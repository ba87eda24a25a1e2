"""From a head's own scores to a probability that means what it says, and to the two thresholds of a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake_detector.types import Thresholds

CONFIDENCE = 0.95  # of what is promised
_NEVER = 1e-15
_EDGE = 1e-7  # a score of exactly 0 or 1 would have infinite log-odds


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of log-odds: p = sigmoid(slope · logit(score) + offset). Platt, 1999."""

    slope: float
    offset: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n,) scores in 0..1 → (n,) calibrated probabilities of being fake, real and fake being equally likely beforehand."""
        z = self.slope * _logit(scores) + self.offset
        p = 0.5 * (1 + np.tanh(0.5 * z))  # the sigmoid, without overflow
        return np.clip(p, _NEVER, 1 - _NEVER)  # short of 0 and 1, which are the thresholds where nothing can be promised


def _logit(scores: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(scores, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)


@dataclass(frozen=True)
class Scores:
    """(n,) scores of pictures of one class, by heads that had not learnt from them, and (n,) which belong together."""

    p_fake: np.ndarray
    groups: np.ndarray


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """Learn from the scores of pictures that the head was not trained on; both classes weigh the same.

    The slope is kept positive: calibration may not turn a head round.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e3, class_weight="balanced").fit(_logit(scores)[:, None], labels)
    return Calibration(max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0]))


def fit_thresholds(real: Scores, fake: Scores, false_positive_rate: float, false_negative_rate: float) -> Thresholds:
    """The thresholds under which, on such pictures, at most these shares of real are called fake and of fake real.

    Shares are the upper 95 % Clopper–Pearson bounds, not the bare counts, so few pictures, or many of a few groups, make a cautious
    detector. Between the thresholds the answer is unsure; they never cross.
    """
    reals, fakes = np.argsort(-real.p_fake), np.argsort(fake.p_fake)  # the likeliest errors first
    allowed = allowed_errors(real.groups[reals], false_positive_rate)
    upper = 1.0 if allowed < 0 else float(np.nextafter(real.p_fake[reals[allowed]], 2))
    allowed = allowed_errors(fake.groups[fakes], false_negative_rate)
    lower = 0.0 if allowed < 0 else float(np.nextafter(fake.p_fake[fakes[allowed]], -1))
    if lower >= upper:  # the classes are so far apart that both promises hold anywhere between
        lower = upper = (lower + upper) / 2
    return Thresholds(real=lower, fake=upper)


def allowed_errors(groups: np.ndarray, rate: float) -> int:
    """The most errors whose upper confidence bound is within `rate`, of pictures whose groups (n,) are given, the likeliest error first.

    -1 where even none is too many. As how many pictures they count is what metrics.effective_count says, for each number of errors.
    """
    from scipy.stats import beta

    n = len(groups)
    if not n:
        return -1
    _, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wrong = np.arange(n)  # if so many are
    share = wrong / n
    earlier = pd.Series(of).groupby(of).cumcount().to_numpy()  # of the same group, wrong as well
    squares = np.r_[0, np.cumsum(2 * earlier + 1)[:-1]]  # over the groups, of their errors
    weighted = np.r_[0, np.cumsum(sizes[of])[:-1]]  # … of errors times size
    spread = squares - 2 * share * weighted + share**2 * np.square(sizes).sum()
    least = n**2 / np.square(sizes).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.clip(np.where(wrong > 0, n * n * share * (1 - share) / spread, least), least, n)
    bound = beta.ppf(CONFIDENCE, share * count + 1, count * (1 - share))
    return int(np.argmax(np.r_[bound > rate, True])) - 1
