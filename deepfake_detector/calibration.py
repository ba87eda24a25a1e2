"""From a head's own scores to a probability that means what it says, and to the two thresholds of a verdict."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from deepfake_detector.errors import TrainingError
from deepfake_detector.intervals import clopper_pearson, effective_count
from deepfake_detector.metrics import log_odds
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, KeptApart, Thresholds

CONFIDENCE = 0.95  # of what is promised
_NEVER = 1e-15
_FLAT = 1e-3  # the least slope: from there on a score hardly says anything


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of log-odds: p = sigmoid(slope · logit(score) + offset). Platt, 1999."""

    slope: float
    offset: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(n,) scores in 0..1 → (n,) calibrated probabilities of being fake, real and fake being equally likely beforehand."""
        p = expit(self.slope * log_odds(scores) + self.offset)
        return np.clip(p, _NEVER, 1 - _NEVER)  # short of 0 and 1, which are the thresholds where nothing can be promised

    @property
    def says_nothing(self) -> bool:
        """Whether the head told what it had not learnt from no better than by guessing, or the wrong way round."""
        return self.slope <= _FLAT


@dataclass(frozen=True)
class Scores:
    """(n,) scores of pictures of one class, by heads that had not learnt from them, and (n,) which belong together."""

    p_fake: np.ndarray
    groups: np.ndarray


def fit_calibration(real: Scores, fake: Scores) -> Calibration:
    """Learn from pictures that the head was not trained on; both classes weigh the same.

    By Platt's targets, each short of certainty by one in two more than there are groups of its class: from a few pictures that are well
    apart no certainty comes. The slope is kept positive: calibration may not turn a head round. One that would have to be is as good as
    guessing, and every probability is then about a half.
    """
    from sklearn.linear_model import LogisticRegression

    by_class = [log_odds(scores.p_fake) for scores in (real, fake)]
    z, weights, targets = [], [], []
    for label, (odds, scores) in enumerate(zip(by_class, (real, fake), strict=True)):
        doubt = 1 / (len(np.unique(scores.groups)) + 2)
        for target, share in ((label, 1 - doubt), (1 - label, doubt)):
            z.append(odds)
            targets.append(np.full(len(odds), target))
            weights.append(np.full(len(odds), share / len(odds)))
    weight = np.concatenate(weights)
    weight *= sum(map(len, by_class)) / weight.sum()
    fitted = LogisticRegression(C=1e3).fit(np.concatenate(z)[:, None], np.concatenate(targets), weight)
    slope = float(fitted.coef_[0, 0])
    if slope > _FLAT:
        return Calibration(slope, float(fitted.intercept_[0]))
    return Calibration(_FLAT, -_FLAT * float(np.mean([odds.mean() for odds in by_class])))


def placed(calibration: Calibration, own: Thresholds, given: Thresholds) -> Calibration:
    """The calibration under which `given` thresholds answer as the `own` ones do under this one.

    Where these ask for less on both sides already it stays as it is. One that never answers fake, or real, asks for nothing there.
    Raises TrainingError where no calibration will do.
    """
    sides = [side for side in ("real", "fake") if side not in given.never]
    if set(own.never) & set(sides):
        raise TrainingError(
            f"That it may say {' or '.join(own.never)} of clips can't be promised from so few pictures as frames of clips. Give it more."
        )
    asks_less = {"real": own.real >= given.real, "fake": own.fake <= given.fake}
    if all(asks_less[side] for side in sides):
        return calibration
    before, after = _odds_within(own, sides, 1), _odds_within(given, sides, -1)
    stretch = float((after[1] - after[0]) / (before[1] - before[0])) if len(sides) == 2 else 1.0
    if stretch <= 0:
        raise TrainingError("Of pictures it is never unsure, and of the same as frames of clips it has to be. Leave --clips out.")
    return Calibration(stretch * calibration.slope, float(stretch * (calibration.offset - before[0]) + after[0]))


def _odds_within(thresholds: Thresholds, sides: list[str], way: int) -> np.ndarray:
    """(k,) log-odds of the thresholds, a hair further out (1) or in (-1), as a picture next to one may not pass it by rounding."""
    p = np.array([getattr(thresholds, side) for side in sides])
    hair = 4 * np.finfo(float).eps / (p * (1 - p))
    return log_odds(p, edge=0) + way * hair * [-1 if side == "real" else 1 for side in sides]


def fit_thresholds(real: Scores, fake: Scores, false_positive_rate: float, false_negative_rate: float) -> Thresholds:
    """The thresholds under which, on such pictures, at most these shares of real are called fake and of fake real.

    Shares are the upper 95 % Clopper–Pearson bounds, not the bare counts, so few pictures, or many of a few groups, make a cautious
    detector. Between the thresholds the answer is unsure. No fake is called so that is less likely one than not, nor a real picture
    that is: where few pictures of a class leave it without an answer, the other's threshold alone would say nothing of those between.
    """
    reals, fakes = np.sort(real.p_fake), np.sort(fake.p_fake)
    allowed = allowed_errors(real, false_positive_rate, REAL)
    upper = 1.0 if allowed < 0 else float(np.nextafter(reals[-1 - allowed], 2))
    allowed = allowed_errors(fake, false_negative_rate, FAKE)
    lower = 0.0 if allowed < 0 else float(np.nextafter(fakes[allowed], -1))
    return Thresholds(real=min(lower, 0.5), fake=max(upper, 0.5))


def percentiles(real: Scores, fake: Scores) -> dict[str, list[float]]:
    """Of the probabilities of each class's pictures all percentiles, from the least (0) to the greatest (100)."""
    return {
        label: np.percentile(scores.p_fake, range(101)).round(6).tolist() for label, scores in zip(LABEL_NAMES, (real, fake), strict=True)
    }


def kept_apart(promise: dict[str, Any], p_fake: float) -> KeptApart | None:
    """Where a probability lies among those of the pictures that a promise rests on; None where it does not say what those were."""
    if "percentiles" not in promise:
        return None
    shares = {label: float((np.array(promise["percentiles"][label], float) >= p_fake).mean()) for label in LABEL_NAMES}
    counts = {f"{label}_count": int(promise["pictures"][label]) for label in LABEL_NAMES}
    return KeptApart(**shares, real_from=promise["real_pictures_from"], fake_from=promise["fakes_from"], **counts)


def fewest_for(rate: float) -> int:
    """How many independent pictures it takes to promise a rate, none of them being wrong."""
    return next(n for n in itertools.count(1) if clopper_pearson(0, n, CONFIDENCE) <= rate)


def allowed_errors(pictures: Scores, rate: float, label: int) -> int:
    """The most errors among these pictures of one class whose upper confidence bound is within `rate`; -1 where even none is too many."""
    n = len(pictures.p_fake)
    if not n:
        return -1
    worst_first = np.argsort(pictures.p_fake if label == FAKE else -pictures.p_fake, kind="stable")

    def bound(errors: int) -> float:
        wrong = np.zeros(n, bool)
        wrong[worst_first[:errors]] = True
        count = effective_count(pictures.p_fake, pictures.groups, wrong)
        return clopper_pearson(errors / n * count, count, CONFIDENCE)

    return bisect_right(range(n), rate, key=bound) - 1
