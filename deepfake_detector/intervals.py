"""How far a figure is to be trusted: intervals by the bootstrap and by Clopper and Pearson, and differences of paired detectors.

    bootstrap(labels, p_fake, figures(thresholds), groups=groups)     95 % intervals of metrics.py's figures, under the same names

Arguments are those of metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import expit

from deepfake_detector.errors import TrainingError
from deepfake_detector.metrics import Ranking, Statistic, checked, log_odds, need_both
from deepfake_detector.types import FAKE, REAL

DRAWS = 1000
FEWEST = 5  # groups of a class that an interval can be told from: of three, even the widest covers the truth 78 times in 100
STRAY = 0.05  # of a class's rows may lie in a group that is the only one of its kind, and so comes up once in every draw
AREAS = ("auroc", "ap")  # figures that are areas under a curve, and near 1 where a detector is any good
CHUNK = 500_000  # counts held at a time (draws × rows), 4 MB an array: small enough to stay in a processor's cache


def bootstrap(
    labels: Any, p_fake: Any, statistics: dict[str, Statistic], draws: int = DRAWS, groups: Any = None
) -> dict[str, tuple[float, float] | None]:
    """95 % intervals by name; None where some draw leaves the figure undefined, or a class that it needs has fewer than FEWEST groups.

    `groups` (n,) are resampled whole, as the frames of one video must be; without, each picture is a group. Draws are
    stratified by the classes in a group, so both are always there. Percentiles are expanded as a t interval is, since few groups
    vary less in draws than in the world (Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015). ECE's
    interval leans upward, as resampling adds noise and every gap counts: a well calibrated model may lie below it.
    AUROC and AP have a t interval in log-odds instead, whose standard error the draws tell: near 1 percentiles of such areas cover the
    truth 8 times in 10 (Qin & Hotilovac, *Statistical Methods in Medical Research*, 2008). Where all draws are alike, as they are where no
    fake scores below a real picture, they tell nothing of how others would be: then AUROC has Newcombe's interval, EER and the TPR at an
    FPR have Clopper and Pearson's, and all else has none.
    """
    labels, p_fake = checked(labels, p_fake)
    groups = _as_groups(labels, groups)
    ranking, fewest = Ranking(labels, p_fake), _fewest(labels, groups)
    curves = map(ranking.curve, _draws(labels, draws, groups))
    values = np.concatenate([[statistic(curve) for statistic in statistics.values()] for curve in curves], axis=1)
    whole = ranking.curve(np.ones((1, len(labels))))
    found: dict[str, tuple[float, float] | None] = {}
    for (name, statistic), drawn in zip(statistics.items(), values, strict=True):
        if not fewest or np.isnan(drawn).any():
            found[name] = None
        elif drawn.min() == drawn.max():
            found[name] = _where_draws_are_alike(name, float(drawn[0]), labels, p_fake, groups)
        elif name in AREAS:
            found[name] = _of_area(float(statistic(whole)[0]), drawn, fewest)
        else:
            found[name] = _percentiles(drawn, fewest)
    return found


def paired_difference(labels: Any, p_a: Any, p_b: Any, groups: Any = None) -> tuple[float, tuple[float, float] | None]:
    """a's AUROC minus b's on the same pictures, and the 95 % interval from drawing both together (see `bootstrap`).

    None where that can't be told, as where both tell all pictures apart, though each in an order of its own.
    """
    labels, *scores = checked(labels, p_a, p_b)
    need_both(labels)
    groups = _as_groups(labels, groups)
    a, b = (Ranking(labels, p) for p in scores)

    def difference(weights: np.ndarray) -> np.ndarray:
        return a.curve(weights).auroc() - b.curve(weights).auroc()

    drawn = np.concatenate([difference(weights) for weights in _draws(labels, DRAWS, groups)])
    fewest, same = _fewest(labels, groups), np.array_equal(a.order, b.order)
    told = fewest and not np.isnan(drawn).any() and (same or drawn.min() < drawn.max())
    return float(difference(np.ones((1, len(labels))))[0]), _percentiles(drawn, fewest) if told else None


def delong(labels: Any, p_a: Any, p_b: Any) -> tuple[float, float, float]:
    """a's AUROC minus b's on the same pictures, its standard error, and the two-sided p value of no difference; NaN where that can't vary.

    DeLong, DeLong & Clarke-Pearson (Biometrics 1988), by mid-ranks as in Sun & Xu (IEEE SPL 2014). The pictures must be
    independent: where they come in groups, use `paired_difference`.
    """
    labels, *scores = checked(labels, p_a, p_b)
    fake = labels == FAKE
    if min(fake.sum(), (~fake).sum()) < 2:
        raise TrainingError(
            f"DeLong's variance needs 2 or more pictures of each class. Received: {(~fake).sum()} real, {fake.sum()} fake. Add some."
        )
    (fake_a, real_a), (fake_b, real_b) = (_placements(p, fake) for p in scores)
    difference = float(fake_a.mean() - fake_b.mean())
    error = math.sqrt(sum(np.var(gap, ddof=1) / len(gap) for gap in (fake_a - fake_b, real_a - real_b)))
    if error < 1e-12:  # a few pictures that are told apart in full say nothing of how others would be
        return difference, 0.0, 1.0 if difference == 0 else math.nan
    return difference, error, math.erfc(abs(difference) / error / math.sqrt(2))


def effective_count(p_fake: np.ndarray, groups: np.ndarray, wrong: np.ndarray | None = None) -> float:
    """As how many independent pictures some count (n,) whose groups (n,) are given: n where each is its own.

    A group of m counts as m / (1 + (m - 1) r), r being how alike the log-odds within groups are (the intraclass correlation of an
    analysis of variance): sixteen frames of one clip that answer the same are one picture, sixteen that answer independently are
    sixteen. Where groups differ in size the larger ones weigh more, as they do in a rate over pictures (Kish, *Survey Sampling*, 1965).
    Of a share, `wrong` (n,) bool are those that make it up: they may come by whole clips though most clips' log-odds are not alike, and
    then they count as fewer.
    """
    _, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) == len(groups):
        return float(len(groups))
    count = _counted_as(log_odds(p_fake), of, sizes)
    return count if wrong is None or wrong.all() or not wrong.any() else min(count, _counted_as(wrong.astype(float), of, sizes))


def _counted_as(z: np.ndarray, of: np.ndarray, sizes: np.ndarray) -> float:
    n, count = len(of), len(sizes)
    means = np.bincount(of, z) / sizes
    within = np.square(z - means[of]).sum() / (n - count)
    typical = (n - np.square(sizes).sum() / n) / max(count - 1, 1)  # size of a group
    between = (sizes * np.square(means - z.mean())).sum() / max(count - 1, 1)
    spread = between + (typical - 1) * within
    alike = np.clip((between - within) / spread, 0, 1) if count > 1 and spread > 0 else 1.0
    return float(n**2 / (sizes * (1 + (sizes - 1) * alike)).sum())


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound of a rate that showed k times in n; 3 / n or so when k is 0. Neither need be whole."""
    if not (n > 0 and 0 <= k <= n):
        raise TrainingError(f"A bound needs n ≥ 1 and 0 ≤ k ≤ n. Received: k={k}, n={n}. Count on at least one picture.")
    from scipy.stats import beta

    return 1.0 if k == n else float(beta.ppf(confidence, k + 1, n - k))


def clopper_pearson_interval(k: float, n: float) -> tuple[float, float]:
    """The exact two-sided 95 % interval of a rate that showed k times in n independent pictures."""
    return 1 - clopper_pearson(n - k, n, 0.975), clopper_pearson(k, n, 0.975)


def newcombe_interval(area: float, reals: float, fakes: float) -> tuple[float, float]:
    """The 95 % interval of an AUROC of so many independent pictures, also where it is 0 or 1.

    It ends at the areas that lie 1.96 standard errors from it, these errors being those of each end and not of what was found
    (Newcombe, *Statistics in Medicine*, 2006, method 5).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    typical, z = (reals + fakes) / 2 - 1, norm.ppf(0.975)

    def beyond(bound: float) -> float:
        variance = bound * (1 - bound) * (1 + typical * ((1 - bound) / (2 - bound) + bound / (1 + bound))) / (reals * fakes)
        return (area - bound) ** 2 - z**2 * variance

    edge = 1e-12
    low = brentq(beyond, edge, area - edge) if area > edge else 0.0
    high = brentq(beyond, area + edge, 1 - edge) if area < 1 - edge else 1.0
    return low, high


def share_interval(share: float, counted_as: float) -> tuple[float, float] | None:
    """The 95 % interval of a share of pictures that count as so many (see effective_count); None where all are of one group."""
    return clopper_pearson_interval(share * counted_as, counted_as) if counted_as > 1 else None


def _as_groups(labels: np.ndarray, groups: Any) -> np.ndarray:
    """(n,) numbers from 0, a picture being a group where None are given."""
    if groups is None:
        return np.arange(len(labels))
    if np.shape(groups) != labels.shape:
        raise TrainingError(f"Expected a group for each of the {len(labels)} rows. Received: {np.shape(groups)}. Take both from one table.")
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def _fewest(labels: np.ndarray, groups: np.ndarray) -> int:
    """In how many groups the class comes that has the fewest, of those that have enough for an interval; 0 where none has."""
    counts = [len(np.unique(groups[labels == label])) for label in np.unique(labels)]
    return min((count for count in counts if count >= FEWEST), default=0)


def _draws(labels: np.ndarray, draws: int, group_of: np.ndarray) -> Iterator[np.ndarray]:
    """How often each row comes up, (some draws, n) at a time: groups drawn with replacement among those of their classes, alike each time.

    NaN for a class of fewer than FEWEST groups: a few pictures, or the frames of a few clips, don't tell how others would vary. The same
    where more than a few of its rows are of a group that is alone of its kind: it comes up once in every draw, and seems sure.
    """
    n, count = len(labels), group_of.max() + 1
    has_fake, has_real = (np.bincount(group_of, labels == label, count) > 0 for label in (FAKE, REAL))
    strata = [np.flatnonzero(members) for members in (has_fake & ~has_real, has_real & ~has_fake, has_fake & has_real)]
    frozen = np.isin(group_of, np.concatenate([np.empty(0, int), *(members for members in strata if len(members) == 1)]))
    rng = np.random.default_rng(0)
    size = max(1, CHUNK // n)
    for start in range(0, draws, size):
        rows = np.arange(min(size, draws - start))[:, None]
        counts = np.zeros((len(rows), count))
        for members in filter(len, strata):
            k = len(members)
            picks = rng.integers(k, size=(len(rows), k)) + rows * k
            counts[:, members] = np.bincount(picks.ravel(), minlength=len(rows) * k).reshape(-1, k)
        drawn = counts[:, group_of]
        for label, of_class in ((FAKE, has_fake), (REAL, has_real)):
            own = labels == label
            if 0 < of_class.sum() < FEWEST or frozen[own].sum() > STRAY * own.sum():
                drawn[:, own] = np.nan
        yield drawn


def _placements(p: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each fake the share of reals below it, for each real the share of fakes above it; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(p)
    below = (ranks[fake] - rankdata(p[fake])) / (~fake).sum()
    above = 1 - (ranks[~fake] - rankdata(p[~fake])) / fake.sum()
    return below, above


def _percentiles(drawn: np.ndarray, groups: int) -> tuple[float, float]:
    """Of a figure's draws (draws,), from so many groups."""
    from scipy.stats import norm

    tail = norm.cdf(-_reach(groups))
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)


def _of_area(area: float, drawn: np.ndarray, groups: int) -> tuple[float, float]:
    """Of AUROC or AP, strictly between 0 and 1, and its draws (draws,)."""
    middle, reach = float(log_odds(area)), _reach(groups) * float(drawn.std(ddof=1)) / (area * (1 - area))
    low, high = (float(expit(bound)) for bound in (middle - reach, middle + reach))
    return low, high


def _where_draws_are_alike(
    name: str, value: float, labels: np.ndarray, p_fake: np.ndarray, groups: np.ndarray
) -> tuple[float, float] | None:
    own = [labels == label for label in (REAL, FAKE)]
    reals, fakes = (effective_count(p_fake[of], groups[of]) if of.any() else 0.0 for of in own)
    if min(reals, fakes) <= 1:
        return None
    if name == "auroc":
        return newcombe_interval(value, reals, fakes)
    if name == "eer":
        return share_interval(value, min(reals, fakes))
    return share_interval(value, fakes) if name.startswith("tpr_at") else None


def _reach(groups: int) -> float:
    """How many standard errors of a bootstrap from so many groups lie on each side of a figure."""
    from scipy.stats import t

    return math.sqrt(groups / (groups - 1)) * float(t.ppf(0.975, groups - 1))
