"""Which family of generators made a fake: a linear answer, kept only where it holds for generators that it never learnt from.

The unit of all that is measured is the model line (see families.py): each is left out in turn, and judged by what was learnt from
the others. Of those scores come the temperature (Guo et al., ICML 2017) and the threshold below which the answer is "unknown".
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector import split
from deepfake_detector.families import line_of
from deepfake_detector.torch_compat import import_skops
from deepfake_detector.types import FAKE, UNKNOWN, VIEW, Embeddings, Family
from deepfake_detector.vectors import Vectors, batches

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

PRECISION = 0.9  # of the names given to fakes of lines and families left out, the share that is to be right
FEWEST, MOST = 20, 500  # pictures of a line: with fewer its share of right answers says little, more of them teach little
LUCK = 0.05  # the chance at which so many lines as were answered rightly would be so by guessing
_FILE = "family.skops"
_EDGE = 1e-9  # a probability of exactly 0 would have an infinite logarithm


@dataclass(frozen=True)
class FamilyHead:
    """`families` are the pipeline's classes, in their order; `told` those of them that were measured, and that alone are answered.

    `lines` are those learnt from, with their generators as the table names them. `held_out` has for each line left out how often
    it was right, wrong and unknown by a temperature and threshold that were chosen without it, and its accuracy where every answer
    counts; `held_out_families` has the same of whole families left out, where two others were there. `answered`, `right` and
    `strange` (see Family) and the balanced accuracy, with its interval, are means of these.
    """

    pipeline: Pipeline
    families: list[str]
    told: list[str]
    temperature: float
    threshold: float
    answered: float
    right: float
    strange: float | None
    balanced_accuracy: float
    interval: list[float]
    lines: dict[str, list[str]]
    held_out: dict[str, dict[str, Any]]
    held_out_families: dict[str, dict[str, Any]]

    @property
    def width(self) -> int:
        return self.pipeline.n_features_in_

    def answer(self, X: np.ndarray) -> Family:
        """(n, width): a picture, or the frames of one person in a clip, whose log-probabilities are averaged as its scores are."""
        p = _probabilities(self._log_p(X).mean(axis=0, keepdims=True), self.temperature)
        shares = dict(zip(self.families, p[0].round(4).tolist(), strict=True))
        return Family(self._names(p)[0], shares, tuple(self.told), self.answered, self.right, self.strange)

    def answers(self, X: Vectors) -> list[str]:
        """(n, width) → n names, "unknown" among them."""
        return self._names(_probabilities(self._log_p(X), self.temperature))

    def learnt_from(self, generator: str) -> bool:
        """Whether a generator is of a line that was learnt from."""
        line = line_of(generator)
        return line is not None and line.name in self.lines

    def _log_p(self, X: Vectors) -> np.ndarray:
        return _log_p(self.pipeline, X, len(self.families))

    def _names(self, p: np.ndarray) -> list[str]:
        told = np.isin(self.families, self.told)
        return [UNKNOWN if at < 0 else self.families[at] for at in _decided(p, self.threshold, told)]

    def save(self, folder: Path) -> None:
        import_skops().dump(self.pipeline, folder / _FILE)

    def to_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "pipeline"}

    @classmethod
    def load(cls, folder: Path, facts: dict[str, Any]) -> FamilyHead:
        """What `save` and `to_json` gave; raises ValueError, TypeError or what skops does for anything else."""
        head = cls(import_skops().load(folder / _FILE), **facts)
        if list(getattr(head.pipeline, "classes_", ())) != list(range(len(head.families))) or not set(head.told) <= set(head.families):
            raise ValueError(f"{_FILE} does not tell apart {', '.join(head.families)}")
        if not (head.temperature > 0 and 0 <= head.threshold <= 1):
            raise ValueError(f"the families' temperature is {head.temperature} and their threshold {head.threshold}")
        return head


class _NoAnswer(Exception):
    """Why families can't be told, or not better than by guessing."""


def fit(data: Embeddings, seed: int) -> FamilyHead | None:
    """Learn from the fakes of the training side, and measure on lines left out; generators of no known family are not learnt from.

    None where nothing can be measured, or no answer is worth giving; the log says why.
    """
    try:
        head = _fit(_Fakes.of(data, seed), seed)
    except _NoAnswer as why:
        log.info("which family of generators made a fake is not told: %s", why)
        return None
    log.info(
        "which family of generators made a fake is told (%s): right in %s of generators left out, the families counting the same",
        ", ".join(head.told),
        _share(head.balanced_accuracy, head.interval),
    )
    return head


@dataclass(frozen=True)
class _Fakes:
    """What is learnt from: `line` (n,) are names, `family` (n,) numbers in `families`, `groups` (n,) by all that is there."""

    data: Embeddings
    line: np.ndarray
    family: np.ndarray
    families: list[str]
    groups: np.ndarray

    @classmethod
    def of(cls, data: Embeddings, seed: int) -> _Fakes:
        """The fakes whose line is known and has pictures enough, with their degraded copies; of each line some at most."""
        generator, pictures = data.rows["generator"].to_numpy(), (data.rows["split"] != VIEW).to_numpy()
        known = {name: line_of(name) for name in sorted(set(generator[data.rows["label"] == FAKE]))}
        unknown = [name for name, line in known.items() if line is None]
        if len(unknown) == len(known):
            raise _NoAnswer(f"of none of the fakes does the name say by what generator it is; theirs: {', '.join(unknown)}.")
        if unknown:
            log.info("families of generators: of them nothing is learnt from %s, whose family is not known", ", ".join(unknown))
        of_line: dict[str, str] = {line.name: line.family for line in known.values() if line}
        named = {name: line.name for name, line in known.items() if line}
        line = np.where(data.rows["label"] == FAKE, [named.get(name, "") for name in generator], "")
        few = [name for name in of_line if np.sum((line == name) & pictures) < FEWEST]
        if few:
            log.info("families of generators: nothing is learnt from %s, with fewer than %d pictures", ", ".join(sorted(few)), FEWEST)
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero((line == name) & pictures))[:MOST] for name in sorted(of_line) if name not in few]
        chosen = np.concatenate([*rows, np.empty(0, int)])
        copies = (line != "") & ~pictures & data.rows["sha256"].isin(data.rows["sha256"].iloc[chosen]).to_numpy()
        chosen = np.sort(np.concatenate([chosen, np.flatnonzero(copies)]))
        families = sorted({of_line[name] for name in line[chosen]})
        numbers = np.array([families.index(of_line[name]) for name in line[chosen]], int)
        return cls(data.take(chosen), line[chosen], numbers, families, split.whole_groups(data.rows)[chosen])

    def lines(self) -> dict[str, list[str]]:
        """Line → its generators, as the table names them."""
        generator = self.data.rows["generator"].to_numpy()
        return {name: sorted(set(generator[self.line == name])) for name in sorted(set(self.line))}

    def lines_of(self, family: int) -> list[str]:
        return sorted(set(self.line[self.family == family]))

    def learn(self, rows: np.ndarray, seed: int) -> Pipeline:
        """Families count the same in it, and a family's lines by the square root of their pictures."""
        from deepfake_detector.heads.logistic import Head

        weight = split.balanced(self.family[rows], self.line[rows], split.amounts(self.data.rows.iloc[rows]))
        return Head(seed).fit(self.data.X[rows], self.family[rows], weight).pipeline_


def _fit(fakes: _Fakes, seed: int) -> FamilyHead:
    lines = {family: fakes.lines_of(number) for number, family in enumerate(fakes.families)}
    told = [family for family in lines if len(lines[family]) > 1]
    if len(told) < 2:
        there = ", ".join(f"{family} ({', '.join(of)})" for family, of in lines.items()) or "none"
        raise _NoAnswer(
            "it takes two families with two or more model lines each, so that a line can be left out and its answers measured; "
            f"the fakes to learn from are of: {there}."
        )
    scores = _left_out(fakes, [name for family in told for name in lines[family]], seed)
    may = np.isin(fakes.families, told)
    held_out = {
        name: _shares(scores, scores.line == name, scores.learnt, may, fakes.families) for name in sorted(set(scores.line[scores.learnt]))
    }
    strange = {
        fakes.families[family]: _shares(scores, scores.family == family, ~scores.learnt, may, fakes.families)
        for family in sorted(set(scores.family[~scores.learnt]))
    }
    accuracy, interval = _better_than_guessing(held_out, told)
    right, unknown = (_mean(held_out, told, key) for key in ("right", "unknown"))
    temperature, threshold = _calibrate(scores, may)
    if unknown == 1 or threshold > 1:
        raise _NoAnswer(f"on lines left out it is never sure enough for {PRECISION:.0%} of its answers to be right.")
    return FamilyHead(
        pipeline=fakes.learn(np.arange(len(fakes.data)), seed),
        families=fakes.families,
        told=told,
        temperature=temperature,
        threshold=threshold,
        answered=1 - unknown,
        right=min(right / (1 - unknown), 1.0),
        strange=float(np.mean([one["unknown"] for one in strange.values()])) if strange else None,
        balanced_accuracy=accuracy,
        interval=interval,
        lines=fakes.lines(),
        held_out=held_out,
        held_out_families=strange,
    )


@dataclass(frozen=True)
class _Scores:
    """Pictures of what was left out: (n, families) uncalibrated log-probabilities, family, line, and whether its family was learnt from."""

    log_p: np.ndarray
    family: np.ndarray
    line: np.ndarray
    learnt: np.ndarray

    def take(self, which: np.ndarray) -> _Scores:
        return _Scores(self.log_p[which], self.family[which], self.line[which], self.learnt[which])

    @property
    def truth(self) -> np.ndarray:
        """(n,) the family that is the right answer; -1 where none that was learnt is."""
        return np.where(self.learnt, self.family, -1)


def _left_out(fakes: _Fakes, lines: list[str], seed: int) -> _Scores:
    """Each of these lines as others see it; and, where two families are left to learn from, each family as a stranger.

    Where groups have fakes of what is left out and of others (several generators were given the same caption, or photograph), half
    of them are scored, and these are not learnt from at all.
    """
    groups, pictures = fakes.groups, (fakes.data.rows["split"] != VIEW).to_numpy()
    in_half = (np.random.default_rng(seed).random(groups.max() + 1) < 0.5)[groups]
    without = [(name, fakes.line == name, False) for name in lines]
    if len(fakes.families) > 2:
        without += [(family, fakes.family == number, True) for number, family in enumerate(fakes.families)]
    parts = []
    for name, own, stranger in without:
        score = own & pictures
        if np.isin(groups[~own], groups[score]).any():
            score &= in_half
        learn = ~own & ~np.isin(groups, groups[score])
        if not score.any() or len(set(fakes.family[learn])) < len(fakes.families) - stranger:
            raise _NoAnswer(f"without {name}, and what shares its groups, too little is left to learn from or to measure.")
        score, learn = np.flatnonzero(score), np.flatnonzero(learn)
        log.info("families of generators: without %s, %d pictures to learn from, %d to score", name, len(learn), len(score))
        log_p = _log_p(fakes.learn(learn, seed), fakes.data.X[score], len(fakes.families))
        parts.append(_Scores(log_p, fakes.family[score], fakes.line[score], np.full(len(score), not stranger)))
    return _Scores(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Scores)))


def _shares(scores: _Scores, own: np.ndarray, kind: np.ndarray, may: np.ndarray, families: list[str]) -> dict[str, Any]:
    """How the pictures that are `own` and of a `kind` (family learnt from, or not) are answered, by a calibration on those not `own`."""
    temperature, threshold = _calibrate(scores.take(~own), may)
    asked = scores.take(own & kind)
    decided = _decided(_probabilities(asked.log_p, temperature), threshold, may)
    right, unknown = float((decided == asked.family).mean()), float((decided < 0).mean())
    return {
        "family": families[asked.family[0]],
        "n": len(decided),
        "right": right,
        "wrong": max(1 - right - unknown, 0.0),
        "unknown": unknown,
        "accuracy": float((asked.log_p.argmax(axis=1) == asked.family).mean()),
    }


def _better_than_guessing(held_out: dict[str, dict[str, Any]], told: list[str]) -> tuple[float, list[float]]:
    """The balanced accuracy and its 95 % interval, by Welch's t over lines within their family; raises _NoAnswer where it may be luck.

    A line's pictures tend to be answered alike. So few lines can all be right by luck, which their spread can't show: the
    number of lines mostly right must be more than guessing once a line would give.
    """
    from scipy.stats import binomtest, t

    accuracy = {family: np.array([one["accuracy"] for one in held_out.values() if one["family"] == family]) for family in told}
    balanced, guessing = _mean(held_out, told, "accuracy"), 1 / len(told)
    parts = np.array([of.var(ddof=1) / len(of) for of in accuracy.values()]) / len(told) ** 2
    freedom = parts.sum() ** 2 / (parts**2 / [len(of) - 1 for of in accuracy.values()]).sum() if parts.any() else 1.0
    reach = float(t.ppf(0.975, freedom) * parts.sum() ** 0.5)
    interval = [max(balanced - reach, 0.0), min(balanced + reach, 1.0)]
    won = sum(int((of > 0.5).sum()) for of in accuracy.values())
    luck = binomtest(won, len(held_out), guessing, alternative="greater").pvalue
    if interval[0] <= guessing or luck > LUCK:
        raise _NoAnswer(
            f"it is right in {_share(balanced, interval)} of lines left out, the families counting the same, where guessing gives "
            f"{guessing:.0%}; {won} of {len(held_out)} lines were mostly answered rightly, as guessing does with a chance of {luck:.2g}."
        )
    return balanced, interval


def _calibrate(scores: _Scores, may: np.ndarray) -> tuple[float, float]:
    """(temperature, threshold) by what was left out; the threshold is infinite where none will do.

    The temperature is learnt on Platt's smoothed targets (1999), with lines as what is counted: of a few lines no certainty comes.
    For the threshold strangers count as much as a family does, and whatever they are called is wrong.
    """
    from scipy.optimize import minimize_scalar

    known = scores.take(scores.learnt)
    weight, families = split.balanced(known.family, known.line), known.log_p.shape[1]
    doubt = 1 / (len(set(known.line)) + 2)
    target = np.where(np.arange(families) == known.family[:, None], 1 - doubt, doubt / (families - 1))

    def loss(log_temperature: float) -> float:
        p = _probabilities(known.log_p, np.exp(log_temperature))
        return -float(weight @ (target * np.log(p + _EDGE)).sum(axis=1))

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded").x))
    p, weight = _probabilities(scores.log_p, temperature), split.balanced(scores.truth, scores.line)
    best, top = p.argmax(axis=1), p.max(axis=1)
    order = np.flatnonzero(may[best])
    order = order[np.argsort(-top[order], kind="stable")]
    precise = np.cumsum((weight * (best == scores.truth))[order]) / np.cumsum(weight[order]) >= PRECISION
    last = np.r_[top[order][1:] != top[order][:-1], True][: len(order)]  # ties are answered together
    enough = order[precise & last]
    return temperature, float(top[enough[-1]]) if len(enough) else float("inf")


def _decided(p: np.ndarray, threshold: float, may: np.ndarray) -> np.ndarray:
    """(n, families) probabilities → (n,) numbers of families, -1 for unknown."""
    best = p.argmax(axis=1)
    return np.where((p.max(axis=1) >= threshold) & may[best], best, -1)


def _log_p(pipeline: Pipeline, X: Vectors, families: int) -> np.ndarray:
    """(n, width), in memory or on disk → (n, families) log-probabilities, uncalibrated; next to none for a family not learnt from."""
    p = np.zeros((len(X), families))
    for which, part in batches(X):
        p[which, pipeline.classes_] = pipeline.predict_proba(np.ascontiguousarray(part))
    return np.log(np.maximum(p, _EDGE))


def _probabilities(log_p: np.ndarray, temperature: float) -> np.ndarray:
    from scipy.special import softmax

    return softmax(log_p / temperature, axis=1)


def _mean(held_out: dict[str, dict[str, Any]], told: list[str], key: str) -> float:
    """Over families of the mean over their lines."""
    return float(np.mean([np.mean([one[key] for one in held_out.values() if one["family"] == family]) for family in told]))


def _share(value: float, interval: list[float]) -> str:
    return f"{value:.0%} [{interval[0]:.0%}, {interval[1]:.0%}]"
