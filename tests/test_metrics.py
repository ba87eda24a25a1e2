"""The figures against scikit-learn, against tiny cases done by hand, and their intervals against simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from deepfake_detector import intervals, metrics
from deepfake_detector.errors import TrainingError
from deepfake_detector.metrics import Confusion, Curve, Ranking
from deepfake_detector.types import Thresholds

THRESHOLDS = Thresholds(real=0.3, fake=0.7)


def ece(labels, p) -> float:
    return Curve.of(labels, p).ece()[0]


def confusion(labels, p, threshold: float) -> Confusion:
    counts = Curve.of(labels, p).confusion(threshold)
    return Confusion(*(count[0] for count in (counts.tn, counts.fp, counts.fn, counts.tp)))


def eer(labels, p) -> tuple[float, float]:
    rate, threshold = Curve.of(labels, p).eer()
    return rate[0], threshold[0]


def tpr_at_fpr(labels, p, fpr: float) -> float:
    return Curve.of(labels, p).tpr_at_fpr(fpr)[0]


def average_precision(labels, p) -> float:
    return Curve.of(labels, p).average_precision()[0]


def pictures(n: int = 400, seed: int = 0, decimals: int = 17, shift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities, tied where rounded to few decimals; AUROC is Φ(shift / √2)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    return labels, (1 / (1 + np.exp(-rng.normal(labels * shift, 1)))).round(decimals)


@pytest.fixture(params=[17, 2, 1, 0], ids=["no ties", "some ties", "many ties", "two scores"])
def tied(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return pictures(decimals=request.param)


# against scikit-learn


def test_areas_match_scikit_learn(tied):
    assert metrics.auroc(*tied) == pytest.approx(sk.roc_auc_score(*tied), abs=1e-12)
    assert average_precision(*tied) == pytest.approx(sk.average_precision_score(*tied), abs=1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_answers_match_scikit_learn(tied, threshold):
    labels, p = tied
    ours, called = confusion(labels, p, threshold), p >= threshold
    assert [ours.tn, ours.fp, ours.fn, ours.tp] == sk.confusion_matrix(labels, called).ravel().tolist()
    assert ours.accuracy == pytest.approx(sk.accuracy_score(labels, called))
    assert ours.recall == pytest.approx(sk.recall_score(labels, called))
    assert ours.precision == pytest.approx(sk.precision_score(labels, called))
    assert ours.f1 == pytest.approx(sk.f1_score(labels, called))
    assert ours.fpr == pytest.approx(called[labels == 0].mean())


@pytest.mark.parametrize("target", [0.0, 0.01, 0.05, 0.29, 1.0])
def test_tpr_at_fpr_is_the_best_point_allowed(tied, target):
    fpr, tpr, _ = sk.roc_curve(*tied, drop_intermediate=False)
    assert tpr_at_fpr(*tied, target) == tpr[fpr <= target].max()


def test_eer_is_where_the_roc_meets_the_diagonal(tied):
    fpr, tpr, _ = sk.roc_curve(*tied, drop_intermediate=False)
    grid = np.linspace(0, 1, 100_001)
    straight = grid[np.argmin(np.abs(1 - np.interp(grid, fpr, tpr) - grid))]
    rate, threshold = eer(*tied)
    assert rate == pytest.approx(straight, abs=1e-4)
    there = confusion(*tied, threshold)
    assert there.fpr >= 1 - there.recall  # at the threshold FPR has reached FNR …
    above = confusion(*tied, np.nextafter(threshold, 2))
    assert above.fpr < 1 - above.recall  # … and just above it has not


def test_reliability_matches_scikit_learn_and_adds_up_to_ece(tied):
    """Scikit-learn's knows no weights, so it is shown as many of each class, some pictures of the rarer class more than once."""
    from sklearn.calibration import calibration_curve

    labels, p = tied
    fakes, reals = int(labels.sum()), int((1 - labels).sum())
    even = np.repeat(np.arange(len(p)), np.where(labels == 1, reals, fakes))
    share, mean = calibration_curve(labels[even], p[even], n_bins=15)
    rows = metrics.reliability(*tied)
    np.testing.assert_allclose([row.share_fake for row in rows], share)
    np.testing.assert_allclose([row.mean_p for row in rows], mean, atol=1e-12)
    assert sum(row.n for row in rows) == len(p)
    counts = np.unique(np.digitize(p[even], np.linspace(0, 1, 16)[1:-1], right=True), return_counts=True)[1]
    assert ece(labels, p) == pytest.approx(np.average(np.abs(share - mean), weights=counts))


def test_ece_is_the_same_whatever_the_mix():
    labels, p = pictures(400)
    mixed = np.r_[np.arange(400), np.tile(np.flatnonzero(labels == 0), 9)]
    assert ece(labels[mixed], p[mixed]) == pytest.approx(ece(labels, p))


# by hand


def test_four_pictures_by_hand():
    labels, p = [0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]  # of four pairs three are won, one is tied
    assert metrics.auroc(labels, p) == 3.5 / 4
    assert average_precision(labels, p) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert tpr_at_fpr(labels, p, 0.49) == 0.5
    assert tpr_at_fpr(labels, p, 0.5) == 1.0
    assert eer(labels, p) == (0.25, 0.4)  # halfway along the tie, from (0, 1/2) to (1/2, 1)
    assert confusion(labels, p, 0.4) == Confusion(tn=1, fp=1, fn=0, tp=2)
    assert ece(labels, p) == pytest.approx((0.1 + 2 * abs(0.4 - 1 / 2) + abs(0.8 - 1)) / 4)


def test_perfect_reversed_and_constant_scores():
    labels = np.array([0, 0, 1, 1])
    assert [f(labels, labels) for f in (metrics.auroc, average_precision, ece)] == [1, 1, 0]
    assert eer(labels, labels) == (0, 1)
    assert tpr_at_fpr(labels, labels, 0) == 1
    assert metrics.auroc(labels, 1 - labels) == 0
    assert eer(labels, 1 - labels) == (1, 1)
    same = np.full(4, 0.5)
    assert [metrics.auroc(labels, same), average_precision(labels, same), eer(labels, same)[0]] == [0.5] * 3
    assert tpr_at_fpr(labels, same, 0.99) == 0


def test_summary_by_hand():
    labels, p = [0, 0, 1, 1, 1, 0], [0.3, 0.8, 0.7, 0.5, 0.1, 0.4]
    row = metrics.summary(labels, p, THRESHOLDS)
    assert json.loads(json.dumps(row)) == row
    assert (row["n"], row["n_real"], row["n_fake"]) == (6, 3, 3)
    assert row["confusion"] == {"tn": 2, "fp": 1, "fn": 1, "tp": 2}
    assert row["abstain_rate"] == pytest.approx(2 / 6)  # 0.4 and 0.5; the thresholds themselves are answers
    assert row["error_among_answered"] == pytest.approx(2 / 4)
    assert row["fpr"] == pytest.approx(1 / 3)
    assert row["auroc"] == metrics.auroc(labels, p)


@pytest.mark.parametrize("thresholds", [THRESHOLDS, Thresholds(0.5, 0.5), Thresholds(0, 1), Thresholds(-1, 2)])
def test_abstention_agrees_with_the_verdicts(tied, thresholds):
    labels, p = tied
    answers = np.array([thresholds.answer(q) for q in p])
    answered = answers != "unsure"
    row = metrics.summary(labels, p, thresholds)
    assert row["abstain_rate"] == pytest.approx((~answered).mean())
    wrong = (answers == "fake") != labels
    assert row["error_among_answered"] == (pytest.approx(wrong[answered].mean()) if answered.any() else None)


# what can't be measured


def test_one_class_leaves_out_what_needs_two():
    needs_two = {"precision", "f1", "auroc", "ap", "eer", "tpr_at_1_fpr", "tpr_at_5_fpr", "ece"}
    for label, also in ((0, "recall"), (1, "fpr")):
        labels, p = np.full(20, label), np.linspace(0, 1, 20)
        row = metrics.summary(labels, p, THRESHOLDS)
        assert {name for name, value in row.items() if value is None} == needs_two | {also}
        between = intervals.bootstrap(labels, p, metrics.figures(THRESHOLDS), draws=20)
        assert {name for name, value in between.items() if value is None} == needs_two | {also}


def test_no_picture_called_fake_has_no_precision():
    row = metrics.summary([0, 1], [0.1, 0.2], THRESHOLDS)
    assert row["precision"] is None
    assert row["f1"] == 0


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([1, 1], [0.1, 0.2], "0 real, 2 fake"),
        ([0, 1], [0.1, math.nan], "1 NaN or infinite of 2"),
        ([0, 1, 1], [0.1, 0.2], r"labels \(3,\), scores \(2,\)"),
        ([], [], "n ≥ 1"),
        ([-1, 1], [0.1, 0.2], r"also: \[-1\]"),
    ],
)
def test_unusable_input_is_refused(labels, p, message):
    with pytest.raises(TrainingError, match=message):
        metrics.auroc(labels, p)


def test_calibration_needs_probabilities():
    assert metrics.auroc([0, 1], [-3, 4]) == 1  # ranks need none
    for figure in (ece, metrics.reliability):
        for low, high in ((-3, 4), (-3, 1), (0, 4)):
            with pytest.raises(TrainingError, match=rf"{low}\.\.{high}"):
                figure([0, 1], [low, high])


def test_comparisons_refuse_unusable_input():
    with pytest.raises(TrainingError, match="1 real, 2 fake"):
        intervals.delong([0, 1, 1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    with pytest.raises(TrainingError, match="0 real, 2 fake"):
        intervals.paired_difference([1, 1], [0.1, 0.2], [0.1, 0.2])
    with pytest.raises(TrainingError, match="a group for each of the 2 rows"):
        intervals.bootstrap([0, 1], [0.1, 0.2], {"auroc": Curve.auroc}, groups=["a"])


# the bootstrap


def test_a_weighted_row_is_a_repeated_row(tied):
    labels, p = tied
    weights = np.random.default_rng(1).integers(0, 4, (3, len(p)))
    together = Ranking(labels, p).curve(weights)
    for name, figure in metrics.figures(THRESHOLDS).items():
        alone = [figure(Curve.of(np.repeat(labels, w), np.repeat(p, w)))[0] for w in weights]
        np.testing.assert_allclose(figure(together), alone, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(together.eer()[1], [eer(np.repeat(labels, w), np.repeat(p, w))[1] for w in weights])


def test_draws_keep_the_classes_and_the_groups():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1])
    groups = np.array(list("aabgccdheeff"))  # a, b, g real; c, d, h fake; e, f both
    for weights in intervals._draws(labels, 200, np.arange(len(labels))):
        assert weights.shape == (200, 12)
        assert (weights[:, labels == 0].sum(axis=1) == 6).all()
        assert (weights[:, labels == 1].sum(axis=1) == 6).all()
    for weights in intervals._draws(labels, 200, np.unique(groups, return_inverse=True)[1]):
        for group in "acef":
            assert (np.ptp(weights[:, groups == group], axis=1) == 0).all()
        assert (weights @ labels > 0).all()
        assert (weights @ (1 - labels) > 0).all()
        np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), 3)


def test_a_clip_that_is_alone_of_its_kind_has_no_interval():
    """It would come up once in every draw, and its frames seem sure."""
    labels = np.r_[np.tile([0, 0, 1, 1], 10), np.zeros(200, int), np.ones(200, int)]
    groups = np.r_[np.arange(10).repeat(4), np.full(200, 10), np.full(200, 11)]
    p = np.random.default_rng(0).uniform(size=len(labels))
    assert intervals.bootstrap(labels, p, {"auroc": Curve.auroc}, draws=50, groups=groups)["auroc"] is None
    assert intervals.bootstrap(labels[:40], p[:40], {"auroc": Curve.auroc}, draws=50, groups=groups[:40])["auroc"]


def test_bootstrap_is_repeatable_in_chunks_and_holds_the_figure(monkeypatch):
    labels, p = pictures(300)
    named = metrics.figures(THRESHOLDS)
    between = intervals.bootstrap(labels, p, named, draws=200)
    row = metrics.summary(labels, p, THRESHOLDS)
    for name in named.keys() - {"ece"}:
        low, high = between[name]
        assert low < row[name] < high, name
    assert intervals.bootstrap(labels, p, named, draws=200) == between
    monkeypatch.setattr(intervals, "CHUNK", 300 * 7)
    assert sum(len(weights) for weights in intervals._draws(labels, 200, np.arange(len(labels)))) == 200
    chunked = intervals.bootstrap(labels, p, named, draws=200)
    assert chunked["auroc"] == pytest.approx(between["auroc"], abs=0.01)


def test_one_group_alone_has_no_interval():
    assert intervals.bootstrap([0, 1], [0.1, 0.2], {"auroc": Curve.auroc}, groups=["a", "a"]) == {"auroc": None}
    assert intervals.bootstrap([0], [0.9], {"fpr": lambda curve: curve.confusion(0.5).fpr}) == {"fpr": None}
    assert intervals.paired_difference([0, 1, 1], [0.1, 0.2, 0.3], [0.2, 0.2, 0.1], groups=["a"] * 3) == (0.75, None)


def test_a_class_of_one_group_has_no_interval_where_it_is_needed():
    labels, p = np.repeat([0, 1], [50, 16]), np.random.default_rng(0).random(66)
    groups = [*range(50), *["one clip"] * 16]
    figures = {"auroc": Curve.auroc, "fpr": lambda curve: curve.confusion(0.5).fpr, "recall": lambda curve: curve.confusion(0.5).recall}
    found = intervals.bootstrap(labels, p, figures, groups=groups)
    assert (found["auroc"], found["recall"]) == (None, None)
    assert found["fpr"] is not None  # which fakes have no part in


def test_few_groups_of_a_class_widen_the_interval():
    """Clips of eight frames that are much alike, against many photographs; without widening, five of them cover 86 %."""
    clips, truth, runs, covered = 5, 0.5 * math.erfc(-1.0 / 2), 200, 0
    labels, groups = np.repeat([0, 1], [100, clips * 8]), np.concatenate([np.arange(100), 100 + np.arange(clips).repeat(8)])
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        fakes = 1.0 + 0.9 * rng.normal(size=clips).repeat(8) + (1 - 0.9**2) ** 0.5 * rng.normal(size=clips * 8)
        p = 0.5 * (1 + np.tanh(np.concatenate([rng.normal(size=100), fakes]) / 2))
        low, high = intervals.bootstrap(labels, p, {"auroc": Curve.auroc}, draws=100, groups=groups)["auroc"]
        covered += low <= truth <= high
    assert covered / runs >= 0.92


@pytest.mark.parametrize("k", [0, 1, 20])
def test_the_interval_of_a_share_has_a_width_where_the_share_has_none(k):
    p = np.where(np.arange(20) < k, 0.9, 0.1)
    low, high = intervals.share_interval(k / 20, intervals.effective_count(p, np.arange(20)))
    assert (low, high) == intervals.clopper_pearson_interval(k, 20)
    assert high - low > 0.1
    assert intervals.share_interval(k / 20, intervals.effective_count(p, np.zeros(20))) is None


def test_interval_covers_the_true_auroc():
    truth, runs = 0.5 * math.erfc(-1.5 / 2), 400
    found = (intervals.bootstrap(*pictures(200, seed), {"auroc": Curve.auroc}, draws=100)["auroc"] for seed in range(runs))
    covered = sum(low <= truth <= high for low, high in found) / runs
    assert 0.925 <= covered <= 0.965


def test_interval_covers_an_auroc_near_one():
    """Percentiles of the draws cover it 82 times in 100, and have no width where the sample happens to be told apart in full."""
    shift, runs, covered = 2.9, 300, 0
    labels = np.repeat([0, 1], [19, 29])
    for seed in range(runs):
        p = 0.5 * (1 + np.tanh((np.random.default_rng(seed).normal(size=48) + shift * labels) / 2))
        low, high = intervals.bootstrap(labels, p, {"auroc": Curve.auroc}, draws=100)["auroc"]
        covered += low <= 0.5 * math.erfc(-shift / 2) <= high
    assert 0.94 <= covered / runs <= 0.995


def test_pictures_told_apart_in_full_leave_a_doubt():
    labels, p = np.repeat([0, 1], [20, 32]), np.linspace(0, 1, 52)
    found = intervals.bootstrap(labels, p, metrics.figures(THRESHOLDS) | {"ap": Curve.average_precision}, draws=50)
    assert found["auroc"] == pytest.approx((0.9181, 1), abs=1e-4)
    assert found["eer"] == intervals.clopper_pearson_interval(0, 20)
    assert found["tpr_at_1_fpr"] == intervals.clopper_pearson_interval(32, 32)
    assert found["ap"] is None
    clips = np.arange(52) // 4
    assert intervals.bootstrap(labels, p, {"auroc": Curve.auroc}, draws=50, groups=clips)["auroc"][0] < found["auroc"][0]
    other = np.r_[p[19::-1], p[20:]]
    assert intervals.paired_difference(labels, p, other) == (0.0, None)
    assert intervals.paired_difference(labels, p, p) == (0.0, (0.0, 0.0))


def test_bounds_of_newcombe_lie_as_many_of_their_own_standard_errors_away():
    low, high = intervals.newcombe_interval(0.8932, 58, 51)
    for bound in (low, high):
        q = (58 + 51) / 2 - 1
        error = bound * (1 - bound) * (1 + q * ((1 - bound) / (2 - bound) + bound / (1 + bound))) / (58 * 51)
        assert abs(0.8932 - bound) == pytest.approx(1.959964 * error**0.5)
    assert low < 0.8932 < high
    assert intervals.newcombe_interval(0, 19, 29) == pytest.approx([1 - bound for bound in intervals.newcombe_interval(1, 19, 29)[::-1]])


def test_groups_widen_the_interval_of_repeated_pictures():
    labels, p = pictures(100)
    once = intervals.bootstrap(labels, p, {"auroc": Curve.auroc})["auroc"]
    frames, groups = [np.repeat(column, 9) for column in (labels, p)], np.repeat(np.arange(100), 9)
    naive, grouped = (intervals.bootstrap(*frames, {"auroc": Curve.auroc}, groups=g)["auroc"] for g in (None, groups))
    assert np.ptp(grouped) == pytest.approx(np.ptp(once), rel=0.15)
    assert np.ptp(naive) == pytest.approx(np.ptp(once) / 3, rel=0.15)


# two detectors on the same pictures


def detectors(n: int = 300, decimals: int = 17) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the correlated scores of a good and a worse detector."""
    labels, a = pictures(n, decimals=17)
    b = 0.7 * a + 0.3 * np.random.default_rng(9).random(n)
    return labels, a.round(decimals), b.round(decimals)


@pytest.mark.parametrize("decimals", [17, 1])
def test_delong_agrees_with_the_definition_and_the_paired_bootstrap(decimals):
    labels, a, b = detectors(decimals=decimals)
    difference, error, p_value = intervals.delong(labels, a, b)
    assert difference == pytest.approx(sk.roc_auc_score(labels, a) - sk.roc_auc_score(labels, b))

    wins = [np.sign(p[labels == 1][:, None] - p[labels == 0]) / 2 + 0.5 for p in (a, b)]  # (fakes, reals): 0, ½ or 1
    gap = wins[0] - wins[1]
    variance = sum(gap.mean(axis=axis).var(ddof=1) / gap.shape[1 - axis] for axis in (0, 1))
    assert error == pytest.approx(math.sqrt(variance))
    assert p_value == pytest.approx(math.erfc(difference / error / math.sqrt(2)))

    paired, (low, high) = intervals.paired_difference(labels, a, b)
    assert paired == pytest.approx(difference)
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.1)


def test_delong_is_fair_to_equals():
    labels, a, b = detectors()
    assert intervals.delong(labels, a, a) == (0, 0, 1)
    assert intervals.delong(labels, a, a**3) == (0, 0, 1)  # the same ranks
    assert intervals.delong(labels, b, a)[0] == -intervals.delong(labels, a, b)[0]
    *certain, p_value = intervals.delong([0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0])
    assert certain == [1, 0]
    assert math.isnan(p_value)  # four pictures prove nothing
    rng = np.random.default_rng(0)
    p_values = [intervals.delong(labels, *(labels + rng.normal(size=(2, len(labels)))))[2] for _ in range(300)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09


def test_paired_difference_takes_groups():
    labels, a, b = detectors()
    assert intervals.paired_difference(labels, a, a) == (0, (0, 0))
    alone, (low, high) = intervals.paired_difference(labels, a, b)
    difference, (lowest, highest) = intervals.paired_difference(labels, a, b, groups=np.arange(300) // 3)
    assert difference == alone == metrics.auroc(labels, a) - metrics.auroc(labels, b)
    assert low < difference < high
    assert lowest < difference < highest
    assert (lowest, highest) != (low, high)


# a promise about a rate


def test_the_two_sided_interval_is_the_exact_one():
    for k, n in ((0, 20), (3, 50), (20, 20)):
        exact = binomtest(k, n).proportion_ci(0.95, "exact")
        assert intervals.clopper_pearson_interval(k, n) == pytest.approx((exact.low, exact.high))


def test_clopper_pearson_by_hand():
    assert intervals.clopper_pearson(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert intervals.clopper_pearson(7, 7) == 1
    bound = intervals.clopper_pearson(3, 50, confidence=0.9)
    at_most_3 = sum(math.comb(50, k) * bound**k * (1 - bound) ** (50 - k) for k in range(4))
    assert at_most_3 == pytest.approx(0.1)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_clopper_pearson_refuses_impossible_counts(k, n):
    with pytest.raises(TrainingError, match=f"k={k}, n={n}"):
        intervals.clopper_pearson(k, n)
