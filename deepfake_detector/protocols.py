"""Generalisation protocols: a head is trained again and again, each time without what it is then asked about.

    leave-one-generator-out    the fakes of a generator, of whose model line it never saw any, among reals that it never saw
    leave-one-source-out       the reals of a source that it never saw: how many are called fake?
    leave-both-out             the fakes of the one among the reals of the other, neither of them ever seen
    matched                    fakes against the real pictures of their own groups (a reconstruction and its original)
    promise-unseen-source      the verdicts on a real source that head, calibration and thresholds never saw: false alarms
    promise-unseen-generator   the same on a generator's fakes: those called real

No group is ever on both sides. Real pictures remade for training (reconstructions, self-blended faces) count as a generator in
`matched`, and elsewhere only where there are fewer than two others. The first four rank by the head's own scores, which need no
calibration. The last two train all that `train` trains, and count verdicts beside what these promise.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from deepfake_detector import registry, split
from deepfake_detector.errors import TrainingError
from deepfake_detector.evaluate import per_picture, promise_answer
from deepfake_detector.intervals import bootstrap, effective_count, share_interval
from deepfake_detector.metrics import RANKING, Curve
from deepfake_detector.train import (
    FALSE_NEGATIVE_RATE,
    FALSE_POSITIVE_RATE,
    NEW_GENERATORS,
    NEW_SOURCES,
    Fitted,
    check_trainable,
    fit_calibrated,
    unseen_scores,
)
from deepfake_detector.types import FAKE, REAL, Embeddings

log = logging.getLogger(__name__)

T = TypeVar("T")

_OF_GENERATORS = ("leave-one-generator-out", "leave-both-out", "promise-unseen-generator")

PROMISED = 0.05  # the false-positive rate on known sources at which a held-out source is judged
TOLERATED = 1.5  # times the promised rate, on what was never seen, still counts as keeping it
PROMISES = {"promise-unseen-source": REAL, "promise-unseen-generator": FAKE}
# Of a class: the wrong verdict, and at most how often; what the manifest says these pictures are from, if each place was new.
_PROMISED_OF = {
    REAL: ("fake", FALSE_POSITIVE_RATE, "real_pictures_from", NEW_SOURCES),
    FAKE: ("real", FALSE_NEGATIVE_RATE, "fakes_from", NEW_GENERATORS),
}


def run(protocol: str, data: Embeddings, head: str, seed: int = 0, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """{"protocol", "head", "rows": [one a held-out thing], "not_left_out": names, "left_out_together": [names of one model line], …},
    ready for JSON; raises TrainingError where it can't be done.

    Beside them stands the rows' "mean_auroc" or, of a promise, "wrong" (the verdict that it is about), "promised" (at most how often
    it is given) and "kept" (for how many rows). `settings` are the head's; degraded copies in `data` are learnt from, never tested on.
    """
    if protocol not in PROTOCOLS:
        raise TrainingError(f"There is no protocol {protocol!r}; there are: {', '.join(PROTOCOLS)}.")
    check_trainable(data, head)
    fit = _Fit(head, seed, settings or {})
    rows = PROTOCOLS[protocol](data, fit)
    done = {"protocol": protocol, "head": head, "settings": dict(settings or {}), "encoder": data.spec.name, "rows": rows}
    done |= {"not_left_out": sorted(fit.not_left_out), "left_out_together": split.sisters(data.rows) if protocol in _OF_GENERATORS else []}
    if protocol in PROMISES:
        wrong, promised, *_ = _PROMISED_OF[PROMISES[protocol]]
        return done | {"wrong": wrong, "promised": promised, "tolerated": TOLERATED, "kept": sum(row["answer"] == "kept" for row in rows)}
    areas = [row["auroc"] for row in rows if row["auroc"] is not None]
    return done | {"mean_auroc": float(np.mean(areas)) if areas else None}


class _Fit:
    """Trains one kind of head on some rows and scores others."""

    def __init__(self, head: str, seed: int, settings: Mapping[str, Any]):
        self.head_of = functools.partial(registry.load("heads", head).Head, seed, **settings)
        self.seed = seed  # of the splits
        self.not_left_out: set[str] = set()  # what turned out to have nothing to test, or to leave nothing to learn from

    def __call__(self, data: Embeddings, learn: np.ndarray, score: np.ndarray) -> np.ndarray:
        log.info("training on %d pictures, scoring %d", len(learn), len(score))
        return unseen_scores(self.head_of, data, learn, score)

    def calibrated(self, data: Embeddings, learn: np.ndarray) -> Fitted:
        log.info("training and calibrating on %d pictures", len(learn))
        return fit_calibrated(self.head_of, data.take(learn), self.seed)


def _leave_one_generator_out(data: Embeddings, fit: _Fit) -> list[dict[str, Any]]:
    return [_ranked(name, pictures, p, FAKE, learnt) for name, pictures, p, learnt in _hold_out(data, fit, FAKE)]


def _leave_one_source_out(data: Embeddings, fit: _Fit) -> list[dict[str, Any]]:
    rows = []
    for name, pictures, p, learnt in _hold_out(data, fit, REAL):
        labels = pictures["label"].to_numpy()
        own = (labels == REAL) & (pictures["generator"] == name).to_numpy()
        known = np.sort(p[(labels == REAL) & ~own])
        keep = (labels == FAKE) | own
        row = _ranked(name, pictures[keep], p[keep], REAL, learnt)
        # The threshold above which at most 5 % of the known sources' test pictures lie; what does it do to this one?
        if len(known):
            threshold = np.nextafter(known[-1 - int(PROMISED * len(known))], 2)
            called_fake = float((p[own] >= threshold).mean())
            interval = share_interval(called_fake, effective_count(p[own], pictures["group"].to_numpy()[own], p[own] >= threshold))
            row |= {"known_reals": len(known), "fpr_at_known_5": called_fake, "fpr_interval": interval}
        rows.append(row)
    return rows


def _hold_out(data: Embeddings, fit: _Fit, label: int) -> list[tuple[str, pd.DataFrame, np.ndarray, int]]:
    """(source, pictures tested, their scores, how many rows were learnt from at most) for each source of a class held out.

    Tested are its pictures, and those from elsewhere; each once, and the latter by the fold that did not learn from their group. So all
    were scored by as many heads: by the mean of several, which varies less, its own would lie apart from the others for that alone.
    """
    labels, groups, done = data.rows["label"].to_numpy(), split.whole_groups(data.rows), []
    origin, reals = data.rows["generator"], (labels == REAL) & split.in_their_own_right(data.rows)
    fakes = (labels == FAKE) & origin.isin(split.generators_to_leave_out(data.rows)).to_numpy()
    folds = split.test_folds(data.rows, fit.seed)
    turns = split.dealt(groups, origin.to_numpy(), len(folds))
    for name in _names(data.rows, label):
        elsewhere = reals if label == FAKE else fakes | (reals & (origin != name).to_numpy())
        scores, learnt = np.full(len(data), np.nan), 0
        for turn, (learnable, testable) in enumerate(folds):
            own, learn = _without(data.rows, groups, label, name, learnable, testable)
            if not len(own):
                continue
            if not np.isin(own, testable).all():
                own = own[turns[own] == turn]
            score = np.union1d(own, testable[elsewhere[testable]])
            scores[score] = fit(data, learn, score)
            learnt = max(learnt, len(learn))
        if learnt:
            tested = np.flatnonzero(~np.isnan(scores))
            done.append((name, *_per_picture(data, groups, tested, scores[tested]), learnt))
        else:
            fit.not_left_out.add(name)
    return _some(done)


def _per_picture(data: Embeddings, groups: np.ndarray, tested: np.ndarray, scores: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Of the rows `tested` (m,) and their scores (m,) one a picture, as a verdict takes it; `groups` (n,) stand in place of the table's."""
    return per_picture(data.rows.assign(group=groups).iloc[tested], scores)


def _some(done: list[T]) -> list[T]:
    if not done:
        raise TrainingError(
            "Nothing can be left out: without any one of them a class is missing, or it has no picture to test. Add others."
        )
    return done


def _names(rows: pd.DataFrame, label: int) -> list[str]:
    """The sources of a class that are left out in turn; raises TrainingError where that can't be done."""
    names = split.generators_to_leave_out(rows) if label == FAKE else sorted(set(rows["generator"][rows["label"] == REAL]))
    if len(names) < 2:
        raise TrainingError(
            f"Leaving one out needs at least two {'generators' if label == FAKE else 'real sources'}; the table has: {', '.join(names)}."
        )
    return names


def _without(
    rows: pd.DataFrame, groups: np.ndarray, label: int, name: str, learnable: np.ndarray, testable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(a source's pictures, the learnable rows without it, its model line and its groups), as index arrays.

    Where its groups take along all that is real (every real picture was rebuilt by that generator), only those of its pictures on
    the test side are; none, where that leaves nothing to test or to learn from.
    """
    labels = rows["label"].to_numpy()
    named = (labels == label) & (rows["generator"] == name).to_numpy()
    left_out, named = split.left_out_with(rows, label, name), named & split.in_their_own_right(rows)
    for own in (np.flatnonzero(named), testable[named[testable]]):
        learn = learnable[~left_out[learnable] & ~np.isin(groups[learnable], groups[own])]
        if len(own) and len(np.unique(labels[learn])) == 2:
            return own, learn
    return own[:0], learn


def _leave_both_out(data: Embeddings, fit: _Fit) -> list[dict[str, Any]]:
    folds = split.unseen_folds(data.rows)
    if not folds:
        raise TrainingError("Leaving out a generator and a real source needs at least two of each; add pictures from other places.")
    groups, done = split.whole_groups(data.rows), []
    for fold in folds:
        tested = _per_picture(data, groups, fold.score, fit(data, fold.learn, fold.score))
        done.append(_ranked(f"{fold.generator} × {fold.source}", *tested, FAKE, len(fold.learn)))
    return done


def _matched(data: Embeddings, fit: _Fit) -> list[dict[str, Any]]:
    """Out-of-fold scores for everything; then each generator's fakes against the reals of their own groups."""
    labels, source, groups = data.rows["label"].to_numpy(), data.rows["generator"].to_numpy(), split.whole_groups(data.rows)
    paired = split.paired(labels, groups)
    if not paired.any():
        raise TrainingError(
            "No fake shares its group with a real picture, so nothing is content-matched. Name the pairs in the group column of the table."
        )
    p = np.full(len(data), np.nan)
    learnt = 0
    for learn, score in split.group_folds(data.rows, fit.seed):
        p[score] = fit(data, learn, score)
        learnt = max(learnt, len(learn))
    usable = paired & ~np.isnan(p)
    rows = []
    for name in sorted(set(source[usable & (labels == FAKE)])):
        own = usable & (labels == FAKE) & (source == name)
        tested = np.flatnonzero(own | (usable & (labels == REAL) & np.isin(groups, groups[own])))
        pictures, scores = _per_picture(data, groups, tested, p[tested])
        wins = pictures.assign(fake=pictures["label"] == FAKE, p=scores).groupby(["group", "fake"])["p"].mean().unstack()
        row = _ranked(name, pictures, scores, FAKE, learnt)
        rows.append(row | {"pairs": len(wins), "pairs_won": float(((wins[True] > wins[False]) + (wins[True] == wins[False]) / 2).mean())})
    return rows


def _promise(data: Embeddings, fit: _Fit, label: int) -> list[dict[str, Any]]:
    """Verdicts on each source of a class, after training as if it did not exist; intervals are Clopper and Pearson's."""
    wrong, promised, place, if_new = _PROMISED_OF[label]
    groups, rows = split.whole_groups(data.rows), []
    learnable, testable, _ = split.train_test(data.rows, fit.seed)
    for name in _names(data.rows, label):
        own, learn = _without(data.rows, groups, label, name, learnable, testable)
        if not len(own):
            fit.not_left_out.add(name)
            continue
        fitted = fit.calibrated(data, learn)
        pictures, p_fake = _per_picture(data, groups, own, fitted.calibration(fitted.head.p_fake(data.X[own])))
        answers = np.array([fitted.thresholds.answer(p) for p in p_fake])
        count, n = Counter(answers.tolist()), len(pictures)
        rate = count[wrong] / n
        counted_as = effective_count(p_fake, pictures["group"].to_numpy(), answers == wrong)
        interval = share_interval(rate, counted_as)
        rows.append(
            {"held_out": name, "n": n, "learnt_from": len(learn), "thresholds": asdict(fitted.thresholds)}
            | {"promised_of_new": fitted.promise[place] == if_new}
            | {answer: count[answer] / n for answer in ("fake", "unsure", "real")}
            | {"interval": interval, "answer": promise_answer(rate, interval, counted_as, promised, TOLERATED)}
        )
    return _some(rows)


def _ranked(name: str, pictures: pd.DataFrame, p: np.ndarray, held_out: int, learnt: int) -> dict[str, Any]:
    labels, groups = pictures["label"].to_numpy(), pictures["group"].to_numpy()
    curve = Curve.of(labels, p)
    values = {key: float(statistic(curve)[0]) for key, statistic in RANKING.items()}
    return {
        "held_out": name,
        "n": int((labels == held_out).sum()),
        "against": int((labels != held_out).sum()),
        "learnt_from": learnt,
        **{key: None if np.isnan(value) else value for key, value in values.items()},
        "intervals": bootstrap(labels, p, RANKING, groups=groups),
    }


PROTOCOLS: dict[str, Callable[[Embeddings, _Fit], list[dict[str, Any]]]] = {
    "leave-one-generator-out": _leave_one_generator_out,
    "leave-one-source-out": _leave_one_source_out,
    "leave-both-out": _leave_both_out,
    "matched": _matched,
    **{name: functools.partial(_promise, label=label) for name, label in PROMISES.items()},
}
