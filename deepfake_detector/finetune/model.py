"""Pictures → a finished model with an encoder of its own: tuned on all, calibrated by runs that left generators and sources out.

An encoder that has learnt from a picture judges it too surely, whatever head is trained afterwards. So the scores that calibration and
thresholds rest on come from tuned encoders that knew neither the picture's real source nor its generator, or at least, where the data
has too few of these, not the picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detector import registry, split
from deepfake_detector.cache import Cache
from deepfake_detector.calibration import Calibration, Scores
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Embedder
from deepfake_detector.errors import DatasetError
from deepfake_detector.extract import as_files, embed_samples
from deepfake_detector.families import is_remade
from deepfake_detector.finetune.batches import BATCH
from deepfake_detector.finetune.method import Method, Settings, Tuned
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.metrics import auroc
from deepfake_detector.train import Fitted, Training, alike_in, check_trainable, finished, fit_promise, judged, two_sides
from deepfake_detector.types import FAKE, REAL, Embeddings, Sample, Thresholds
from deepfake_detector.video import Sampling, is_video

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """A run's own scores of the generators and sources that it was without, and of held-out pictures of those that it knew.

    `promised` are the new fakes without real pictures remade, of which nothing is promised. Of a class of which no generator or source
    was left out, the "new" ones are other pictures of the same.
    """

    fold: split.LeftOut
    real: Scores
    new_real: Scores
    fake: Scores
    new_fake: Scores
    promised: Scores

    def to_json(self, calibration: Calibration, thresholds: Thresholds) -> dict[str, Any]:
        """`auroc` is of both unseen, `new_generator_auroc` of unseen fakes against known reals, `new_source_auroc` the other way.

        The shares of verdicts are of both unseen too.
        """
        p_real, p_fake = calibration(self.new_real.p_fake), calibration(self.new_fake.p_fake)
        return {
            "generators": self.fold.generators,
            "sources": self.fold.sources,
            "auroc": _auroc(self.new_real, self.new_fake),
            "new_generator_auroc": _auroc(self.real, self.new_fake),
            "new_source_auroc": _auroc(self.new_real, self.fake),
            "known_auroc": _auroc(self.real, self.fake),
            "reals": {
                "n": len(p_real),
                "called_fake": float(thresholds.calls_fake(p_real).mean()),
                "called_real": float(thresholds.calls_real(p_real).mean()),
            },
            "fakes": {
                "n": len(p_fake),
                "called_fake": float(thresholds.calls_fake(p_fake).mean()),
                "called_real": float(thresholds.calls_real(p_fake).mean()),
            },
        }


def promise_of(runs: list[Judged]) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """What the runs' scores together let promise, as `fit_promise` does."""
    parts = (
        [*_as_promised(one.real, one.new_real, one.fold.sources), *_as_promised(one.fake, one.promised, one.fold.generators)]
        for one in runs
    )
    return fit_promise(*map(_together, zip(*parts, strict=True)))


def _as_promised(known: Scores, new: Scores, left_out: list[str]) -> tuple[Scores, Scores]:
    """The same two, unless nothing new was left out: then all are of what is known."""
    return (known, new) if left_out else (_together((known, new)), Scores(new.p_fake[:0], new.groups[:0]))


def _together(parts: tuple[Scores, ...]) -> Scores:
    """Of several runs; each has its own groups, or the same picture in two of them."""
    return Scores(np.concatenate([part.p_fake for part in parts]), np.concatenate([part.groups for part in parts]))


def told_by_the_others(runs: list[Judged]) -> list[dict[str, Any]]:
    """Each run's figures, its verdicts by what the other runs alone would promise: by its own pictures they would flatter."""
    told = []
    for i, run in enumerate(runs):
        calibration, thresholds, _ = promise_of(runs[:i] + runs[i + 1 :])
        told.append(run.to_json(calibration, thresholds))
    return told


def _auroc(real: Scores, fake: Scores) -> float:
    return auroc(np.repeat([REAL, FAKE], [len(real.p_fake), len(fake.p_fake)]), np.concatenate([real.p_fake, fake.p_fake]))


@dataclass(frozen=True)
class _Tuning:
    """What all runs have in common: the method and its `seed`, the pictures by their names, and the folder for what is learnt."""

    method: Method
    seed: int
    crop: str
    cache: Cache | None
    samples: dict[str, Sample]
    kept: Path
    progress: Callable[[int], object]

    def tuned(self, part: Embeddings, file: str) -> Tuned:
        return self.method.tune(part, [self.samples[name].path for name in part.rows["path"]], self.kept / file, self.progress)

    def embedded(self, part: Embeddings, weights: Path, exact: bool = False) -> Embeddings:
        """The same rows, by the encoder with these weights; for thresholds the rounder one will do."""
        encoder = self.method.encoder(weights, exact)
        wanted = Listing([self.samples[name] for name in part.rows["path"].unique()])
        found, _ = embed_samples(wanted, Embedder(encoder, self.crop, self.cache))
        if not found.rows["path"].reset_index(drop=True).equals(part.rows["path"].reset_index(drop=True)):
            raise DatasetError("The pictures have changed since they were embedded. Run the same command again.")
        return replace(part, X=found.X, spec=encoder.spec)

    def head_of(self, one: Tuned, part: Embeddings, exact: bool = False) -> EmbeddingHead:
        """The head that learnt with the encoder, or else one that learns from its embeddings of the same pictures."""
        if one.head:
            return one.head
        X = self.embedded(part, one.weights, exact).X
        return registry.load("heads", self.method.head).Head(self.seed).learn(X, part.rows)

    def judged_without(self, fold: split.LeftOut, training: Embeddings, file: str) -> Judged:
        """What a run on the rest of the training side says of what the fold leaves out."""
        part = training.take(fold.learn)
        one = self.tuned(part, file)
        at = np.concatenate([fold.known, fold.new])
        asked, groups = training.take(at), split.whole_groups(training.rows)[at]
        scores = self.head_of(one, part).p_fake(self.embedded(asked, one.weights).X)
        new, fake = np.arange(len(at)) >= len(fold.known), (asked.rows["label"] == FAKE).to_numpy()
        remade = asked.rows["generator"].map(is_remade).to_numpy(bool)
        which = (~new & ~fake, new & ~fake, ~new & fake, new & fake, new & fake & ~remade)
        return Judged(fold, *(judged(asked.rows, groups, scores, each) for each in which))


def finetune(
    listing: Listing,
    crop: str,
    cache: Cache | None,
    kept: Path,
    name: str,
    method: Method,
    settings: Settings,
    folds: int,
    sampling: Sampling | None = None,
    bar: Callable[[int], Callable[[int], object]] = lambda total: lambda done: None,
    command: str = "",
) -> Training:
    """Tune by `method` on the training side of `listing` and measure on its test side.

    What each of the `folds` runs and the last one has learnt is in the folder `kept`, so the same call goes on where it was
    stopped. So are frames of clips, as `sampling` chooses them, and pictures of a stream, since each is gone back to many times.
    `bar(total)` gives what counts pictures. Raises TrainingError for data that can't be learnt from or left out.
    """
    has_clips = not listing.is_stream and any(is_video(sample.path) for sample in listing.samples)
    if has_clips:
        log.info("keeping frames of the clips")
    listing, notes = as_files(listing, kept / "pictures", sampling, bar(len(listing.samples)) if has_clips else lambda done: None)
    for clip, note in notes[:10]:
        log.info("%r: %s", clip, note)
    samples = {sample.name: sample for sample in listing.samples}
    log.info("looking at %d pictures", len(samples))
    data, skipped = embed_samples(listing, Embedder(method.first_look(), crop, cache), bar(len(samples)))
    if skipped:
        log.info("skipped %d, such as:", len(skipped))
    for path, reason in skipped[:10]:
        log.info("%r: %s", path, reason)
    check_trainable(data, method.head)
    sides = two_sides(data, settings.seed)
    training = sides.training
    told_alike, alike = alike_in(sides)  # by the first look: an encoder that was tuned to real and fake sees no single pictures
    plan = split.left_out_folds(training.rows, folds)  # before hours of work: it may not be possible
    tuning = _Tuning(method, settings.seed, crop, cache, samples, kept, bar((len(plan) + 1) * settings.steps * BATCH))
    runs = []
    for i, fold in enumerate(plan):
        log.info("run %d of %d: without %s", i + 1, len(plan) + 1, split.without(fold.generators, fold.sources))
        runs.append(tuning.judged_without(fold, training, f"fold{i}"))
        log.info("told what it was without apart with AUROC %.3f", _auroc(runs[-1].new_real, runs[-1].new_fake))
    calibration, thresholds, promise = promise_of(runs)
    told = told_by_the_others(runs)
    all_new = all(fold.generators and fold.sources for fold in plan)
    log.info("run %d of %d: all that may be learnt from", len(plan) + 1, len(plan) + 1)
    final = tuning.tuned(training, "all")
    head = tuning.head_of(final, training, exact=True)
    sides = replace(sides, test=tuning.embedded(sides.test, final.weights, exact=True))
    facts = {
        "seed": settings.seed,
        "settings_tried": [{"settings": {}, "unseen_auroc": float(np.mean([one["auroc"] for one in told]))}] if all_new else [],
        "tuned": {**method.facts, "steps": settings.steps, "bfloat16": settings.bfloat16},
        "left_out": told,
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "notes": [{"path": path, "note": note} for path, note in notes],
        "look_alikes": told_alike,
        "command": command,
    }
    fitted = Fitted(head, calibration, thresholds, promise)
    return replace(finished(name, method.head, fitted, sides, facts, encoder_weights=final.weights), look_alikes=alike)
