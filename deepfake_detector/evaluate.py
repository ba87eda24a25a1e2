"""A model's scores on labelled pictures → figures: overall, for every generator and every real source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import split
from deepfake_detector.families import line_of
from deepfake_detector.intervals import bootstrap, clopper_pearson, effective_count, share_interval
from deepfake_detector.metrics import HALF, RANKING, Curve, figures, summary
from deepfake_detector.pooling import by_video
from deepfake_detector.types import FAKE, REAL, UNKNOWN, Thresholds

_SHARES = ("accuracy", "precision", "recall", "fpr", "abstain_rate", "error_among_answered")


def evaluate_scores(
    rows: pd.DataFrame,
    p_fake: np.ndarray,
    thresholds: Thresholds,
    kinds: Mapping[str, Sequence[str]] | None = None,
    regions: tuple[pd.DataFrame, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Everything ready for JSON. `rows` as in Embeddings, p_fake (n,) calibrated; `kinds` names sets of sources.

    A generator's AUROC sets its fakes against all the reals; the shares of answers are of its own pictures alone. A
    generator all of whose fakes share their group with a real picture (its reconstruction, say) is also set against just
    those: the content-matched AUROC. Intervals are 95 %, by bootstrap over whole groups; None where one is undefined.
    Where rows are frames of clips, these figures are of frames, and `videos` holds the same of whole clips, pooled; where each
    is the most suspicious of a frame's `regions`, these (rows and scores) are pooled, each person apart.
    """
    labels, source = rows["label"].to_numpy(), rows["generator"].to_numpy()
    groups = split.whole_groups(rows)
    report: dict[str, Any] = {
        "thresholds": {"real": thresholds.real, "fake": thresholds.fake},
        "overall": _all_figures(labels, p_fake, thresholds, groups),
        "generators": {},
        "real_sources": {},
        "kinds": {},
    }
    for name in sorted(set(source[labels == 1])):
        fakes = (labels == 1) & (source == name)
        matched = (labels == 0) & np.isin(groups, groups[fakes])
        among, pairs = (
            _ranking(labels[chosen], p_fake[chosen], groups[chosen])
            for chosen in (fakes | (labels == 0), fakes | matched if np.isin(groups[fakes], groups[matched]).all() else fakes)
        )
        answers, intervals = _answers(p_fake[fakes], thresholds, groups[fakes])
        report["generators"][name] = {
            "n": int(fakes.sum()),
            **among[0],
            "matched_auroc": pairs[0]["auroc"],
            **answers,
            "intervals": among[1] | {"matched_auroc": pairs[1]["auroc"]} | intervals,
        }
    for name in sorted(set(source[labels == 0])):
        reals = (labels == 0) & (source == name)
        answers, intervals = _answers(p_fake[reals], thresholds, groups[reals])
        report["real_sources"][name] = {"n": int(reals.sum()), **answers, "intervals": intervals}
    for kind, members in (kinds or {}).items():
        chosen = np.isin(source, members)
        report["kinds"][kind] = _all_figures(labels[chosen], p_fake[chosen], thresholds, groups[chosen])
    if "video" in rows and (rows["video"] != "").any():
        clips, pooled = by_video(*(regions or (rows, p_fake)))
        report["videos"] = evaluate_scores(clips.drop(columns="video"), pooled, thresholds)
    return report


def in_short(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Of what `evaluate_scores` found, what a model keeps: AUROC with its interval, and of each class the share of each answer."""
    overall = scores["overall"]
    found = {"auroc": overall["auroc"], "interval": overall["intervals"].get("auroc")}
    for label, places in (("real", scores["real_sources"].values()), ("fake", scores["generators"].values())):
        n = sum(one["n"] for one in places)
        answers = ("fake", "unsure", "real")
        found[label] = {"n": n} | {answer: sum(one["n"] * one[answer] for one in places) / n if n else None for answer in answers}
    return found


def promise_kept(
    rows: pd.DataFrame, p_fake: np.ndarray, thresholds: Thresholds, promised: float, learnt_from: Collection[str]
) -> list[dict[str, Any]]:
    """For each real source: the share called fake, against the false-positive rate that the model promises."""
    labels, source, groups = rows["label"].to_numpy(), rows["generator"].to_numpy(), split.whole_groups(rows)
    kept = []
    for name in sorted(set(source[labels == 0])):
        reals = (labels == 0) & (source == name)
        counted_as = effective_count(p_fake[reals], groups[reals], thresholds.calls_fake(p_fake[reals]))
        answers, intervals = _answers(p_fake[reals], thresholds, groups[reals])
        delivered, interval = answers["fake"], intervals["fake"]
        kept.append(
            {"source": name, "n": int(reals.sum()), "seen_in_training": name in learnt_from, "promised": promised}
            | {"delivered": delivered, "interval": interval, "upper_bound": clopper_pearson(delivered * counted_as, counted_as)}
            | {"answer": promise_answer(delivered, interval, counted_as, promised)}
        )
    return kept


def promise_answer(delivered: float, interval: tuple[float, float] | None, n: float, promised: float, tolerated: float = 1.0) -> str:
    """Whether a rate measured on `n` independent pictures, with its 95 % interval, is what was promised.

    "kept" is at most `tolerated` times that, on enough pictures to expect one error; "broken" is more than promised, and by more
    than chance (95 % interval); "can't tell" is in between, or without an interval (all from one group).
    """
    if interval is None:
        return "can't tell"
    if interval[0] > promised:
        return "broken"
    return "kept" if delivered <= tolerated * promised and n * promised >= 1 else "can't tell"


def family_answers(asked: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For each generator of a known family the shares of right, wrong and unknown among the fakes that were `asked` about (see Scored)."""
    found = {}
    for name, rows in asked.groupby("generator"):
        line = line_of(name)
        if line:
            right, unknown = (float((rows["answer"] == answer).mean()) for answer in (line.family, UNKNOWN))
            shares = {"right": right, "wrong": max(1 - right - unknown, 0.0), "unknown": unknown}
            found[name] = {"family": line.family, "learnt_from": bool(rows["learnt_from"].iloc[0]), "n": len(rows), **shares}
    return found


def per_picture(rows: pd.DataFrame, p_fake: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """One row a picture, where a picture has several regions: as in a verdict, the most suspicious region decides."""
    keys = [rows["path"], rows["sha256"]]
    best = pd.Series(p_fake, rows.index).groupby(keys, sort=False).transform("max").to_numpy()
    first = ~rows.duplicated(["path", "sha256"]).to_numpy()
    return rows[first].reset_index(drop=True), best[first]


def _all_figures(labels: np.ndarray, p_fake: np.ndarray, thresholds: Thresholds, groups: np.ndarray) -> dict[str, Any]:
    return summary(labels, p_fake, thresholds) | {"intervals": intervals_of(labels, p_fake, thresholds, groups)}


def intervals_of(
    labels: np.ndarray, p_fake: np.ndarray, thresholds: Thresholds, groups: np.ndarray, names: Collection[str] | None = None
) -> dict[str, tuple[float, float] | None]:
    """Of the figures of `summary`, or those of these names: of shares Clopper and Pearson's, which hold for 0 and 1 too, of all others
    by bootstrap.

    Empty for one class alone, which has no ranking figures.
    """
    if len(np.unique(labels)) < 2:
        return {}
    wanted = {name: figure for name, figure in figures(thresholds).items() if names is None or name in names}
    called_fake, every = p_fake >= HALF, np.ones(len(labels), bool)
    said_fake, said_real = thresholds.calls_fake(p_fake), thresholds.calls_real(p_fake)
    wrong = np.where(labels == FAKE, said_real, said_fake)
    shares = (
        (every, called_fake == (labels == FAKE)),
        (called_fake, labels == FAKE),
        (labels == FAKE, called_fake),
        (labels == REAL, called_fake),
        (every, ~(said_fake | said_real)),
        (said_fake | said_real, wrong),
    )
    found = {name: _share(which[of], p_fake[of], groups[of]) for name, (of, which) in zip(_SHARES, shares, strict=True) if name in wanted}
    return found | bootstrap(labels, p_fake, {name: figure for name, figure in wanted.items() if name not in found}, groups=groups)


def _share(which: np.ndarray, p_fake: np.ndarray, groups: np.ndarray) -> tuple[float, float] | None:
    return share_interval(float(which.mean()), effective_count(p_fake, groups, which)) if len(which) else None


def _ranking(labels: np.ndarray, p_fake: np.ndarray, groups: np.ndarray) -> tuple[dict[str, float | None], dict[str, Any]]:
    """The figures that compare fakes with reals, and their intervals; all None where a class is missing."""
    if len(np.unique(labels)) < 2:
        return dict.fromkeys(RANKING), dict.fromkeys(RANKING)
    curve = Curve.of(labels, p_fake)
    return {name: float(figure(curve)[0]) for name, figure in RANKING.items()}, bootstrap(labels, p_fake, RANKING, groups=groups)


def _answers(p_fake: np.ndarray, thresholds: Thresholds, groups: np.ndarray) -> tuple[dict[str, float], dict[str, Any]]:
    """The share of each answer among pictures of one class, and the intervals."""
    fake, real = thresholds.calls_fake(p_fake), thresholds.calls_real(p_fake)
    given = {"fake": fake, "real": real, "unsure": ~(fake | real)}
    shares = {name: float(which.mean()) for name, which in given.items()}
    return shares, {name: _share(which, p_fake, groups) for name, which in given.items()}
