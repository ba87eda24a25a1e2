"""A linear model and a few pictures from places new to it → the same model, which has learnt these too.

How the pictures of one camera, archive or platform differ from those of another is far more than what generation leaves in them,
and a model that has never seen a source takes the one for the other; so it does with a generator unlike those that it knows. A few
pictures tell them apart. They are learnt beside what the model keeps of its training pictures (recall.py).

Calibration and thresholds stay the model's own: they were measured on sources and generators left out, and what was kept of the
training pictures can't measure that again, since its directions were chosen by all of them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import split
from deepfake_detector.bundle import Bundle, completed, fingerprints
from deepfake_detector.datasets import Listing
from deepfake_detector.embed import Embedder
from deepfake_detector.errors import TrainingError
from deepfake_detector.extract import embed_samples
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.recall import Recall
from deepfake_detector.twins import in_both_classes
from deepfake_detector.types import LABEL_NAMES, Embeddings
from deepfake_detector.vectors import Vectors
from deepfake_detector.versions import versions

FEWEST = 10


def adapt(model: Bundle, pictures: Embeddings, name: str, command: str = "") -> Bundle:
    """Learn `pictures`, embedded as the model takes them, as new sources of real pictures or new generators.

    What the new model's manifest has of those `shown` to it is how many of each the old and the new one answer real, unsure and fake of.
    The new one's answers are of pictures that it was not shown: each is judged by what was learnt from the others.
    Raises TrainingError for a model that keeps nothing to learn by, too few pictures of a place, a place that the model knows already,
    or a picture that is said to be both real and fake.
    """
    recall = recall_of(model)
    groups = split.whole_groups(pictures.rows)
    labels, origin = pictures.rows["label"].to_numpy(), pictures.rows["generator"].to_numpy()
    _check(model, recall, pictures.rows, groups)
    apart = [f"{place} {group}" for place, group in zip(origin, groups, strict=True)]  # from the groups of the pictures that are kept
    new = pd.DataFrame(
        {"label": labels, "generator": origin, "group": apart, "split": "train", "sha256": pictures.rows["sha256"].to_numpy()}
    )
    looks, lessons = model.head.lessons(pictures.X, new)
    looks = (looks @ recall.basis).astype(np.float32)
    fold, after = split.dealt(groups, origin, split.FOLDS), np.empty(len(new), object)
    of_lesson = lessons["group"].map(dict(zip(apart, fold, strict=True))).to_numpy()
    for i in range(split.FOLDS):
        fitted = _fit(model, recall, recall.joined(looks[of_lesson != i], lessons[of_lesson != i]))
        after[fold == i] = _answers(model, fitted, pictures.X[fold == i])
    before = _answers(model, model.head, pictures.X)
    shown = [
        {
            "name": place,
            "label": LABEL_NAMES[label],
            "n": len(own),
            "before": dict(Counter(before[own])),
            "after": dict(Counter(after[own])),
        }
        for (label, place), own in sorted(pictures.rows.groupby(["label", "generator"]).indices.items())
    ]
    joined = recall.joined(looks, lessons)
    manifest = _manifest(model, shown, command)
    learnt = None if model.learnt is None else np.union1d(model.learnt, fingerprints(pictures.rows))
    head = _fit(model, recall, joined)
    return completed(dataclasses.replace(model, name=name, head=head, manifest=manifest, remembered=joined, learnt=learnt))


def embed_shown(
    model: Bundle, listing: Listing, embedder: Embedder, progress: Callable[[int], object]
) -> tuple[Embeddings, list[tuple[str, str]]]:
    """Embed pictures that a model is to learn → (embeddings, what was skipped as (name, reason)).

    Raises TrainingError where nothing is left of a source or generator: a model without it is not what was asked for.
    """
    pictures, skipped = embed_samples(listing, embedder, progress)
    learnt = model.has_learnt(pictures.rows)
    skipped += [(path, f"{model.name} has learnt it already") for path in pictures.rows["path"][learnt].unique()]
    pictures = pictures.take(~learnt)
    lost = sorted({sample.generator for sample in listing.samples} - set(pictures.rows["generator"]))
    if lost:
        name, reason = next(one for one in skipped if one[0].startswith(f"{lost[0]}/"))
        raise TrainingError(f"No picture of {lost[0]} can be used; {name}, for one: {reason}.")
    return pictures, skipped


def recall_of(model: Bundle) -> Recall:
    """What the model keeps to learn by; raises TrainingError for one that keeps nothing."""
    if model.recall is None:
        raise TrainingError(
            f"The model {model.name} keeps nothing of its training pictures to learn by; linear heads that this version has "
            f"trained do, its head is {model.head_name}. Train one again with --head logistic, or on a second table of your own beside."
        )
    return model.recall


def _check(model: Bundle, recall: Recall, rows: pd.DataFrame, groups: np.ndarray) -> None:
    if both := in_both_classes(rows):
        names = " and ".join(map(repr, both[0]))
        raise TrainingError(
            f"{len(both)} of the pictures are shown both as real and as fake, byte for byte: {names}, for one. Leave one of each out."
        )
    for (label, place), own in rows.assign(number=groups).groupby(["label", "generator"]):
        if (count := own["number"].nunique()) < FEWEST:
            raise TrainingError(
                f"Learning a source or generator takes at least {FEWEST} different pictures; "
                f"{place} has {count} {LABEL_NAMES[label]} ones. Add some."
            )
        if place in set(recall.rows["generator"]):
            raise TrainingError(f"The model {model.name} has learnt {place!r} already. Give these pictures another name.")
    learnt = rows["path"][model.has_learnt(rows)]
    if len(learnt):
        raise TrainingError(
            f"{len(learnt)} of the pictures the model {model.name} has learnt from already, {learnt.iloc[0]!r} for one. Leave them out: "
            "of a place that it knows they teach nothing."
        )


def _manifest(model: Bundle, shown: list[dict[str, Any]], command: str) -> dict[str, Any]:
    """The model's own, without what was measured, since that was another head; what it promises stays, as its thresholds do."""
    manifest = {key: value for key, value in model.manifest.items() if key not in ("scores", "elsewhere")}
    training = manifest["training"]
    counts = {name: dict(training["train"][name]) for name in LABEL_NAMES}
    for one in shown:
        counts[one["label"]][one["name"]] = one["n"]
    changed = training | {"train": counts, "adapted_from": model.name, "shown": shown, "command": command}
    promise = {key: value for key, value in manifest["promise"].items() if key != "percentiles"}
    return manifest | {"promise": promise, "training": changed, "versions": versions()}


def _answers(model: Bundle, head: EmbeddingHead, X: Vectors) -> np.ndarray:
    """(n,) what the model would answer with this head."""
    return np.array([model.thresholds.answer(p) for p in dataclasses.replace(model, head=head).p_fake(X)], object)


def _fit(model: Bundle, recall: Recall, joined: Recall) -> EmbeddingHead:
    """The model's head, learnt anew inside the directions that were kept; `joined` has the new pictures among the others."""
    head = copy.deepcopy(model.head)
    known = np.arange(len(joined.rows)) < len(recall.rows)
    times = recall.learnt_from / len(recall.rows)  # as if all training pictures were there
    head.learn_again(joined.X, joined.rows, known, recall.basis, times)
    return head
