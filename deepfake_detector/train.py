"""A table → a bundle: split by group, fit the head, calibrate it on pictures it never saw, and measure it on others."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import family_head, looks_filmed, registry, split
from deepfake_detector.bundle import Bundle, completed, fingerprints
from deepfake_detector.calibration import (
    CONFIDENCE,
    Calibration,
    Scores,
    allowed_errors,
    fewest_for,
    fit_calibration,
    fit_thresholds,
    percentiles,
    placed,
)
from deepfake_detector.degrade import FRAMES, saved_again
from deepfake_detector.errors import TrainingError
from deepfake_detector.evaluate import per_picture
from deepfake_detector.families import is_remade
from deepfake_detector.family_head import FamilyHead
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.look_alikes import look_alikes
from deepfake_detector.looks_filmed import LooksFilmed
from deepfake_detector.metrics import auroc
from deepfake_detector.recall import Recall, remember
from deepfake_detector.table import joined
from deepfake_detector.twins import in_both_classes
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, VIEW, Embeddings, Thresholds
from deepfake_detector.vectors import Vectors
from deepfake_detector.versions import versions

log = logging.getLogger(__name__)

MIN_ROWS = 40  # a batch of 32 to learn from, and a fifth of the whole kept apart
_LOOKED_AT = 1000  # rows, to see that they differ
_MOST_PAIRS = 20  # of a generator and a real source, held out together in turn to choose settings
FALSE_POSITIVE_RATE, FALSE_NEGATIVE_RATE = 0.05, 0.10  # what a verdict of fake, and of real, promises
# Where the pictures of that promise are from, if there are sources and generators enough to treat each as new.
NEW_SOURCES, NEW_GENERATORS = "sources not learnt from", "generators not learnt from"


@dataclass(frozen=True)
class Training:
    """A finished bundle, the rows it was tested on, and its curves by epoch (empty for heads without epochs).

    `look_alikes` are test pictures that look just like one learnt from, each with that one, by their paths.
    """

    bundle: Bundle
    test: Embeddings
    p_fake: np.ndarray  # (len(test),) calibrated
    history: dict[str, list[float]]
    look_alikes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Sides:
    """What is learnt from and what is kept apart to report on, and how the two were parted."""

    training: Embeddings
    test: Embeddings
    how: str


@dataclass(frozen=True)
class Fitted:
    """A head, what turns its scores into verdicts, and what these promise; both, as the manifest has them, for each coding of clips."""

    head: EmbeddingHead
    calibration: Calibration
    thresholds: Thresholds
    promise: dict[str, Any]
    clips: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """Pictures as frames of clips, and (n,) which of the `codings` each looks like, -1 for what passes for a picture."""

    data: Embeddings
    codings: tuple[str, ...]
    looks_like: np.ndarray


def train(
    data: Embeddings,
    head_name: str,
    name: str,
    seed: int = 0,
    command: str = "",
    choose: bool = False,
    clips: Sequence[Embeddings] = (),
) -> Training:
    """Fit the head on the training side; calibrate and choose thresholds on scores of held-out folds within that side.

    `choose` first chooses the head's settings on generators and sources held out within that side. `clips` have the same pictures, or some
    of them, as frames of clips: by these answers about clips are calibrated, for each coding by itself as far as it shows in a frame.
    The test side is looked at once, to report. Raises TrainingError for a table that can't be learnt from.
    """
    module = registry.load("heads", head_name)
    check_trainable(data, head_name)
    for one in clips:
        check_filmed(one, data)
    sides = two_sides(data, seed)
    training, testing = sides.training, sides.test
    filmed = _to_calibrate_by(clips, training) if clips else None
    chosen, tried = choose_settings(module, head_name, training, seed) if choose else ({}, [])
    watched = (testing.X, testing.rows["label"].to_numpy(np.float32))
    looks, frames = _looks(filmed, training, seed) if filmed is not None else (None, None)
    fitted = fit_calibrated(functools.partial(module.Head, seed=seed, **chosen), training, seed, watched, frames)
    told, alike = alike_in(sides)
    facts = {"seed": seed, "settings": chosen, "settings_tried": tried, "look_alikes": told, "command": command}
    family = family_head.fit(training, seed)
    recall = remember(fitted.head, training, seed) if fitted.head.teachable else None
    return replace(finished(name, head_name, fitted, sides, facts, family=family, recall=recall, looks=looks), look_alikes=alike)


def two_sides(data: Embeddings, seed: int) -> Sides:
    learn, test, how = split.train_test(data.rows, seed)
    return Sides(data.take(learn), data.take(test[split.in_their_own_right(data.rows)[test]]), how)


def alike_in(sides: Sides) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Test pictures that look just like one learnt from: what the manifest tells of them, and each with that one, by their paths."""
    looked_at, rows = look_alikes(sides.test.X, sides.training.X)
    test, learnt = (side.rows["path"] for side in (sides.test, sides.training))
    pairs = [(test.iloc[row], learnt.iloc[other]) for row, other in rows]
    return {"looked_at": looked_at, "found": len(pairs)}, pairs


def finished(
    name: str,
    head_name: str,
    fitted: Fitted,
    sides: Sides,
    facts: dict[str, Any],
    *,
    family: FamilyHead | None = None,
    recall: Recall | None = None,
    looks: LooksFilmed | None = None,
    encoder_weights: Path | None = None,
) -> Training:
    """The model of what was fitted, asked about the test side; `facts` are what its manifest tells of how it came to be.

    The test side may be embedded otherwise than the training side: its spec and crop are those that the model takes.
    """
    told = {
        "split": sides.how,
        "train": counts(sides.training),
        "test": counts(sides.test),
        "views": int((sides.training.rows["split"] == VIEW).sum()),
        "settings": {},
        "settings_tried": [],
    }
    manifest = {"promise": fitted.promise, "training": told | facts, "versions": versions()}
    if fitted.clips:
        manifest["clips"] = fitted.clips
    bundle = Bundle(
        name,
        fitted.head,
        head_name,
        sides.test.spec,
        sides.test.crop,
        fitted.calibration,
        fitted.thresholds,
        manifest,
        family,
        encoder_weights,
        recall,
        learnt=fingerprints(sides.training.rows),
        looks_filmed=looks,
    )
    return Training(completed(bundle), sides.test, bundle.p_fake_of(sides.test), fitted.head.history_)


def fit_calibrated(
    head_of: Callable[[], EmbeddingHead],
    training: Embeddings,
    seed: int,
    watched: tuple[Vectors, np.ndarray] | None = None,
    frames: Frames | None = None,
) -> Fitted:
    """All that is learnt from the training side: a head, its calibration and its thresholds.

    `watched` (X, y) is only looked at for the curves. The `frames`, of pictures of the training side, are scored as these are.
    """
    rows = training.rows
    folds = (split.group_folds(rows, seed), split.real_source_folds(rows), split.generator_folds(rows))
    scored = [_held_out_scores(head_of, training, one, frames and frames.data) for one in folds]
    calibration, thresholds, promise = fit_promise(*held_out(rows, *(scores for scores, _ in scored)))
    log.info("fitting the head on %d pictures", len(training))
    head = head_of().learn(training.X, rows, watched)
    clips = {}
    for i, coding in enumerate(frames.codings if frames else ()):
        own = frames.looks_like == i
        of_clips = held_out(frames.data.rows[own].reset_index(drop=True), *(scores[own] for _, scores in scored))
        clips[coding] = fit_promise_of_clips(*of_clips, thresholds)
    return Fitted(head, calibration, thresholds, promise, clips)


def held_out(rows: pd.DataFrame, known: np.ndarray, new_source: np.ndarray, new_generator: np.ndarray) -> list[Scores]:
    """What `fit_promise` takes, of (n,) scores of the same rows, NaN where there is none."""
    labels, groups, own = rows["label"].to_numpy(), split.whole_groups(rows), split.in_their_own_right(rows)
    asked = ((known, REAL), (new_source, REAL), (known, FAKE), (new_generator, FAKE))
    return [judged(rows, groups, scores, own & (labels == label)) for scores, label in asked]


def fit_promise(real: Scores, new_real: Scores, fake: Scores, new_fake: Scores) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """Calibration, the thresholds that keep the promised rates, and the promise as the manifest says it, from held-out scores.

    What counts are independent pictures: frames of a clip that are right or wrong together are hardly more than one.
    `new_real` and `new_fake` are of sources and generators that the scoring head had not learnt from; where they are too few, the
    others stand in, and the promise says so. Calibration takes fakes of known generators in any case: from those that a detector
    hardly tells from photographs it would learn that no score means anything.
    """
    of_new = len(new_real.p_fake) > 0
    if of_new:
        real = new_real
    asked = fake if allowed_errors(new_fake, FALSE_NEGATIVE_RATE, FAKE) < 0 else new_fake
    if not (len(real.p_fake) and len(fake.p_fake)):
        raise TrainingError("No picture of one of the classes could be held out to calibrate by. Add pictures, in more groups.")
    calibration = fit_calibration(real, fake)
    p_real, p_fake = (replace(scores, p_fake=calibration(scores.p_fake)) for scores in (real, asked))
    thresholds = fit_thresholds(p_real, p_fake, FALSE_POSITIVE_RATE, FALSE_NEGATIVE_RATE)
    promise = {
        "false_positive_rate": FALSE_POSITIVE_RATE,
        "false_negative_rate": FALSE_NEGATIVE_RATE,
        "confidence": CONFIDENCE,
        "real_pictures_from": NEW_SOURCES if of_new else "sources learnt from, but not these pictures",
        "fakes_from": NEW_GENERATORS if asked is new_fake else "generators learnt from, but not these pictures",
        "pictures": {LABEL_NAMES[REAL]: len(real.p_fake), LABEL_NAMES[FAKE]: len(asked.p_fake)},
        "groups": {LABEL_NAMES[REAL]: len(np.unique(real.groups)), LABEL_NAMES[FAKE]: len(np.unique(asked.groups))},
        "percentiles": percentiles(p_real, p_fake),
    }
    return calibration, thresholds, promise


def fit_promise_of_clips(real: Scores, new_real: Scores, fake: Scores, new_fake: Scores, thresholds: Thresholds) -> dict[str, Any]:
    """The calibration under which these thresholds promise of clips what they do of pictures, and that promise, as the manifest has them.

    What a clip's coding leaves in its frames moves all scores: without, a third of the photographs that were filmed would be called fake.
    """
    calibration, own, promise = fit_promise(real, new_real, fake, new_fake)
    del promise["percentiles"]  # nothing is shown beside a clip's answer
    return {"calibration": asdict(placed(calibration, own, thresholds)), "promise": promise}


def judged(rows: pd.DataFrame, groups: np.ndarray, scores: np.ndarray, asked: np.ndarray) -> Scores:
    """Of the rows `asked` about (n,) those that have a score (the others are NaN), one a picture, as a verdict takes it."""
    chosen = asked & ~np.isnan(scores)
    pictures, p_fake = per_picture(rows.assign(group=groups)[chosen], scores[chosen])
    return Scores(p_fake, pictures["group"].to_numpy())


def choose_settings(module: ModuleType, head_name: str, data: Embeddings, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head's settings that do best on what was held out, and all that were tried with their figures.

    Best is the mean of two AUROCs: over generators and real sources held out together and, where some fakes share a group with
    a real picture, over held-out pairs of one content. Raises TrainingError where the head has no choices, or the table too few
    generators and sources to hold any out.
    """
    choices, unseen = getattr(module, "CHOICES", ()), _few_enough(split.unseen_folds(data.rows))
    if not choices:
        raise TrainingError(f"The head {head_name} has no settings to choose among; leave --choose out.")
    if not unseen:
        raise TrainingError("Choosing settings needs at least two generators and two sources of real pictures; leave --choose out.")
    folds = {"unseen_auroc": [(fold.learn, fold.score) for fold in unseen], "matched_auroc": split.matched_folds(data.rows, seed)[:1]}
    labels, tried = data.rows["label"].to_numpy(), []
    for settings in choices:
        log.info("trying %s", settings)
        head_of = functools.partial(module.Head, seed, **settings)
        figures = {
            name: float(np.mean([auroc(labels[score], unseen_scores(head_of, data, learn, score)) for learn, score in of]))
            for name, of in folds.items()
            if of
        }
        tried.append({"settings": settings, **figures})
    return max(tried, key=lambda one: np.mean([one[name] for name in folds if name in one]))["settings"], tried


def _few_enough(folds: list[split.Unseen]) -> list[split.Unseen]:
    """All pairs or, of more than _MOST_PAIRS, as many as it takes for each generator and each source to be held out at least once."""
    if len(folds) <= _MOST_PAIRS:
        return folds
    generators, sources = (sorted({getattr(fold, name) for fold in folds}) for name in ("generator", "source"))
    turns = range(max(len(generators), len(sources)))
    wanted = {(generators[turn % len(generators)], sources[turn % len(sources)]) for turn in turns}
    found = [fold for fold in folds if (fold.generator, fold.source) in wanted]
    for fold in folds:  # some wanted pairs may be none
        if fold.generator not in {one.generator for one in found} or fold.source not in {one.source for one in found}:
            found.append(fold)
    return found


def _held_out_scores(
    head_of: Callable[[], EmbeddingHead], data: Embeddings, folds: list[tuple[np.ndarray, np.ndarray]], filmed: Embeddings | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) scores, each by a head that had not learnt from that row's fold, and those of the `filmed` pictures by the same heads.

    NaN where no fold scores a row.
    """
    scores, of_clips = np.full(len(data), np.nan), np.full(0 if filmed is None else len(filmed), np.nan)
    for i, (learn, score) in enumerate(folds):
        log.info("held-out fold %d of %d: %d pictures to learn from, %d to score", i + 1, len(folds), len(learn), len(score))
        head = _learnt(head_of, data, learn)
        scores[score] = head.p_fake(data.X[score])
        if filmed is not None:
            also = np.flatnonzero(filmed.rows["sha256"].isin(data.rows["sha256"].iloc[score]))
            of_clips[also] = head.p_fake(filmed.X[also])
    return scores, of_clips


def unseen_scores(head_of: Callable[[], EmbeddingHead], data: Embeddings, learn: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(len(score),) a head's own scores of some rows, learnt from others; both index arrays."""
    return _learnt(head_of, data, learn).p_fake(data.X[score])


def _learnt(head_of: Callable[[], EmbeddingHead], data: Embeddings, rows: np.ndarray) -> EmbeddingHead:
    return head_of().learn(data.X[rows], data.rows.iloc[rows])


def check_trainable(data: Embeddings, head_name: str) -> None:
    """Raise TrainingError for degraded copies or one class alone, too few rows, or embeddings that this head can't make sense of."""
    encoder = getattr(registry.load("heads", head_name), "ENCODER", data.spec.name)
    if data.spec.name != encoder:
        raise TrainingError(f"The head {head_name} learns from embeddings of {encoder} alone; the table has those of {data.spec.name}.")
    pictures = data.rows["label"][data.rows["split"] != VIEW]
    if pictures.empty:
        raise TrainingError(
            "The table has degraded copies alone, and these are only learnt from. Give the table of what they were made of, too."
        )
    if pictures.nunique() < 2:
        label = LABEL_NAMES[pictures.iloc[0]]
        raise TrainingError(
            f"All {len(pictures)} pictures are {label}; a detector needs both real and fake ones to learn from. Add some of the others."
        )
    some = np.asarray(data.X[np.arange(min(len(data), _LOOKED_AT))])
    if (some == some[:1]).all():
        raise TrainingError(f"The encoder gave the same numbers for all of the first {len(some)} pictures, so there is nothing to tell.")
    if both := in_both_classes(data.rows):
        names = " and ".join(map(repr, both[0]))
        raise TrainingError(
            f"{len(both)} files are there both as real and as fake, byte for byte: {names}, for one. Remove one of each, "
            "and make the tables again."
        )
    if len(pictures) < MIN_ROWS:
        raise TrainingError(f"There are {len(pictures)} pictures; training needs at least {MIN_ROWS}. Add some.")


def check_filmed(filmed: Embeddings, data: Embeddings) -> None:
    """Raise TrainingError for a table that is not of the same pictures as frames of clips, embedded in the same way."""
    if filmed.spec != data.spec or not re.fullmatch(rf"{re.escape(data.crop)}\+(?:{FRAMES})", filmed.crop):
        raise TrainingError(
            f"The pictures as frames of clips should be embedded by {data.spec.name} with the crop {data.crop}+clip0, or poor0, or "
            f"clip0+jpeg90; the table given has those of {filmed.spec.name} with {filmed.crop}."
        )
    if not filmed.rows["sha256"].isin(data.rows["sha256"]).any():
        raise TrainingError(
            "None of the pictures that the table has as frames of clips is among those to learn from. Make both of the same."
        )


def _to_calibrate_by(clips: Sequence[Embeddings], training: Embeddings) -> Embeddings:
    """Those of the training side, named by their coding, too; without photographs remade to learn from, where there are other fakes.

    Coding leaves next to nothing of such traces: kept, they would have it that no score about a clip means anything.
    """
    codings = [one.crop.removeprefix(f"{training.crop}+") for one in clips]
    if all(map(saved_again, codings)):
        raise TrainingError(
            f"Frames that were saved again ({codings[0]}) don't say what is to be answered about clips. Give --clips those that were not, "
            f"too: {codings[0].partition('+')[0]}."
        )
    named = [one.rows.assign(path=one.rows["path"] + f"#{coding}") for one, coding in zip(clips, codings, strict=True)]
    filmed = joined([replace(one, rows=rows) for one, rows in zip(clips, named, strict=True)])
    own = filmed.rows["sha256"].isin(training.rows["sha256"]).to_numpy()
    fake = own & (filmed.rows["label"] == FAKE).to_numpy()
    remade = fake & filmed.rows["generator"].map(is_remade).to_numpy(bool)
    return filmed.take(own if (remade == fake).all() else own & ~remade)


def _looks(filmed: Embeddings, training: Embeddings, seed: int) -> tuple[LooksFilmed | None, Frames]:
    """What tells such frames from pictures, and which coding each looks like; of no one's own where that can't be told.

    Raises TrainingError, before the heads are learnt, where an answer that can be promised of pictures can't be of clips.
    """
    looks, like = looks_filmed.fit(training, filmed, seed)
    frames = Frames(filmed, looks.codings if looks else ("any",), like)
    for i, coding in enumerate(frames.codings):
        for label, rate, answer in ((REAL, FALSE_POSITIVE_RATE, "fake"), (FAKE, FALSE_NEGATIVE_RATE, "real")):
            of_clips, of_pictures = (
                rows.loc[rows["label"] == label, "group"].nunique() for rows in (filmed.rows[like == i], training.rows)
            )
            if of_clips < (fewest := fewest_for(rate)) <= of_pictures:
                raise TrainingError(
                    f"That it may say {answer} of clips takes frames of {fewest} {LABEL_NAMES[label]} pictures at the very least, each in "
                    f"a group of its own, for each coding ({coding}); to learn from {of_clips} look so. Give --clips tables of more."
                )
    return looks, frames


def counts(data: Embeddings) -> dict[str, dict[str, int]]:
    """Pictures by class and source, each once however many regions it has and whatever was made of it."""
    rows = data.rows[split.in_their_own_right(data.rows)].drop_duplicates(["path", "sha256"])
    return {name: rows[rows["label"] == label]["generator"].value_counts().sort_index().to_dict() for label, name in enumerate(LABEL_NAMES)}


def plot_curves(history: dict[str, list[float]], path: Path) -> None:
    """Loss and accuracy by epoch, of the training side and of the test side, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[quantity]) + 1)
        axes.plot(epochs, history[quantity], label="train")
        if f"val_{quantity}" in history:
            axes.plot(epochs, history[f"val_{quantity}"], label="test")
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.legend(loc="upper right" if quantity == "loss" else "lower right")
    figure.savefig(path, dpi=120)
