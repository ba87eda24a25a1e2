"""Pictures → a finished model with an encoder of its own: tuned on all, calibrated by runs that left generators and sources out.

An encoder that has learnt from a picture judges it too surely, whatever head is trained afterwards. So the scores that calibration and
thresholds rest on come from tuned encoders that knew neither the picture's real source nor its generator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_detector import split
from deepfake_detector.bundle import Bundle
from deepfake_detector.cache import Cache
from deepfake_detector.calibration import Calibration
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders import clip_vit_b16_scales, clip_vit_b16_tuned
from deepfake_detector.errors import DatasetError
from deepfake_detector.extract import embed_samples
from deepfake_detector.finetune.batches import BATCH
from deepfake_detector.finetune.norms import Settings, Tuned, tune
from deepfake_detector.metrics import auroc
from deepfake_detector.train import (
    FALSE_NEGATIVE_RATE,
    FALSE_POSITIVE_RATE,
    KNOWN_GENERATORS,
    NEW_SOURCES,
    Training,
    check_trainable,
    counts,
    fit_promise,
)
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Embeddings, Sample, Thresholds
from deepfake_detector.versions import versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What a run made of the generators and sources that it was without, and of those that it knew; scores are the head's own."""

    fold: split.LeftOut
    new_truth: np.ndarray
    new: np.ndarray
    known_truth: np.ndarray
    known: np.ndarray

    def to_json(self, calibration: Calibration, thresholds: Thresholds) -> dict[str, Any]:
        """`auroc` is of both unseen, `new_generator_auroc` of unseen fakes against known reals, `new_source_auroc` the other way.

        The shares of verdicts are of both unseen too.
        """
        real, fake = (self.new[self.new_truth == label] for label in (REAL, FAKE))
        known_real, known_fake = (self.known[self.known_truth == label] for label in (REAL, FAKE))
        p_real, p_fake = calibration(real), calibration(fake)
        return {
            "generators": self.fold.generators,
            "sources": self.fold.sources,
            "auroc": _auroc(real, fake),
            "new_generator_auroc": _auroc(known_real, fake),
            "new_source_auroc": _auroc(real, known_fake),
            "known_auroc": _auroc(known_real, known_fake),
            "reals": {
                "n": len(real),
                "called_fake": float((p_real >= thresholds.fake).mean()),
                "called_real": float((p_real <= thresholds.real).mean()),
            },
            "fakes": {
                "n": len(fake),
                "called_fake": float((p_fake >= thresholds.fake).mean()),
                "called_real": float((p_fake <= thresholds.real).mean()),
            },
        }


def told_by_the_others(runs: list[Judged], scores: np.ndarray, truth: np.ndarray, judge: np.ndarray) -> list[dict[str, Any]]:
    """Each run's figures, its verdicts by what the other runs alone would promise: by its own pictures they would flatter.

    `scores`, (n,), are what the promise rests on; `judge`, (n,), says which run each comes from, -1 where there is none.
    """
    others = [(judge >= 0) & (judge != i) for i in range(len(runs))]
    return [run.to_json(*fit_promise(scores[rest], truth[rest])) for run, rest in zip(runs, others, strict=True)]


def _auroc(real: np.ndarray, fake: np.ndarray) -> float:
    return auroc(np.repeat([REAL, FAKE], [len(real), len(fake)]), np.concatenate([real, fake]))


def finetune(
    listing: Listing,
    crop: str,
    cache: Cache | None,
    kept: Path,
    name: str,
    settings: Settings,
    folds: int,
    bar: Callable[[int], Callable[[int], object]] = lambda total: lambda done: None,
    command: str = "",
) -> Training:
    """Tune on the training side of `listing` and measure on its test side.

    What each of the `folds` runs and the last one has learnt is in the folder `kept`, so the same call goes on where it was
    stopped. `bar(total)` gives what counts pictures. Raises DatasetError for pictures that are no files of their own, TrainingError for
    data that can't be learnt from or left out.
    """
    samples = _files(listing)
    untuned = Embedder(clip_vit_b16_scales.Encoder(settings.device), crop, cache)
    log.info("embedding %d pictures, untuned", len(samples))
    data, skipped = embed_samples(listing, untuned, bar(len(samples)))
    check_trainable(data)
    learn, test, how = split.train_test(data.rows, settings.seed)
    training, testing = data.take(learn), data.take(test)
    plan = split.left_out_folds(training.rows, folds)  # before hours of work: it may not be possible
    progress = bar((len(plan) + 1) * settings.steps * BATCH)

    def tuned(part: Embeddings, file: str) -> Tuned:
        return tune(part, [samples[name].path for name in part.rows["path"]], kept / file, settings, progress)

    def embedded(part: Embeddings, norms: Path, bfloat16: bool = False) -> Embeddings:
        """The same rows, by the encoder with these layer norms."""
        encoder = clip_vit_b16_tuned.Encoder(settings.device, str(norms))
        encoder.bfloat16 = bfloat16  # near enough for thresholds; the model itself computes as it will in use
        wanted = Listing([samples[name] for name in part.rows["path"].unique()])
        found, _ = embed_samples(wanted, Embedder(encoder, crop, cache))
        if not found.rows["path"].reset_index(drop=True).equals(part.rows["path"].reset_index(drop=True)):
            raise DatasetError("The pictures have changed since they were embedded. Run the same command again.")
        return replace(part, X=found.X, spec=encoder.spec)

    held_out = np.full(len(training), np.nan)  # of reals from new sources, and fakes of known generators
    judge = np.full(len(training), -1)  # the run whose score that is
    truth = training.rows["label"].to_numpy()
    left_out = []
    for i, fold in enumerate(plan):
        log.info("run %d of %d: without %s", i + 1, len(plan) + 1, ", ".join([*fold.generators, *fold.sources]))
        one = tuned(training.take(fold.learn), f"fold{i}.safetensors")
        judged = np.concatenate([fold.new, fold.known])
        scores = one.head.p_fake(embedded(training.take(judged), one.norms, settings.bfloat16).X)
        new, known = np.split(scores, [len(fold.new)])
        for rows, found, label in ((fold.new, new, REAL), (fold.known, known, FAKE)):
            wanted = truth[rows] == label
            held_out[rows[wanted]], judge[rows[wanted]] = found[wanted], i
        left_out.append(Judged(fold, truth[fold.new], new, truth[fold.known], known))
        log.info("told what it was without apart with AUROC %.3f", auroc(truth[fold.new], new))
    scored = judge >= 0
    calibration, thresholds = fit_promise(held_out[scored], truth[scored])
    told = told_by_the_others(left_out, held_out, truth, judge)
    log.info("run %d of %d: all that may be learnt from", len(plan) + 1, len(plan) + 1)
    final = tuned(training, "all.safetensors")
    testing = embedded(testing, final.norms)
    chosen = {"steps": settings.steps, "bfloat16": settings.bfloat16}
    manifest: dict[str, Any] = {
        "promise": {
            "false_positive_rate": FALSE_POSITIVE_RATE,
            "false_negative_rate": FALSE_NEGATIVE_RATE,
            "confidence": 0.95,
            "real_pictures_from": NEW_SOURCES,
            "fakes_from": KNOWN_GENERATORS,
            "pictures": {LABEL_NAMES[label]: int((truth[scored] == label).sum()) for label in (0, 1)},
        },
        "training": {
            "seed": settings.seed,
            "split": how,
            "train": counts(training),
            "test": counts(testing),
            "views": 0,
            "settings": chosen,
            "settings_tried": [{"settings": chosen, "unseen_auroc": float(np.mean([one["auroc"] for one in told]))}],
            "left_out": told,
            "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
            "command": command,
        },
        "versions": versions(),
    }
    made = Bundle(name, final.head, "logistic", testing.spec, crop, calibration, thresholds, manifest, encoder_weights=final.norms)
    return Training(made, testing, made.p_fake(testing.X), {})


def _files(listing: Listing) -> dict[str, Sample]:
    """The samples by name; raises DatasetError for a stream or clips, which can't be gone back to again and again."""
    if listing.is_stream or any(sample.video for sample in listing.samples):
        raise DatasetError(
            "Tuning goes back to each picture many times, so each must be a file of its own; this data set is a stream or has clips. "
            "Save its pictures, or frames, in a folder real/… fake/GENERATOR/…, or list them in a manifest CSV."
        )
    return {sample.name: sample for sample in listing.samples}
