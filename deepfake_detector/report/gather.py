"""Models, tables, folders and other people's scores → the content of a report: everything that takes time happens here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import bundle, degrade, protocols, registry, robustness, split, table
from deepfake_detector.audit import Audit, audit
from deepfake_detector.bundle import Bundle
from deepfake_detector.comparison import Scored, on_common_pictures, read_scores
from deepfake_detector.datasets import Listing
from deepfake_detector.datasets.folder import scan
from deepfake_detector.embed import Embedder
from deepfake_detector.errors import DatasetError, TrainingError
from deepfake_detector.evaluate import per_picture
from deepfake_detector.extract import embed_samples
from deepfake_detector.report.build import Content
from deepfake_detector.report.words import left_out
from deepfake_detector.types import FAKE, VIEW, Embeddings, Sample
from deepfake_detector.video import Sampling, is_video

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Request:
    """What is asked for. `data` are tables, and folders or manifests as `dataset` reads them; `pictures` finds the files of a table's rows.

    `options` are the data set's own. `embedder` makes one for a model; `bar` makes a progress bar for so many
    pictures, or for who knows how many. `robustness` is the number of pictures to degrade, 0 for none; `head` None means each
    model's own kind.
    """

    models: Sequence[str]
    data: Sequence[str]
    embedder: Callable[[Bundle], Embedder]
    bar: Callable[[int | None], Progress]
    dataset: str = "folder"
    options: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling | None = None
    split: str | None = None
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    scores: Mapping[str, str] = field(default_factory=dict)
    pictures: str | None = None
    protocols: Sequence[str] = ()
    head: str | None = None
    robustness: int = 0
    audit: bool = False
    command: str = ""


def gather(request: Request) -> Content:
    """Load, embed, score, audit, retrain, degrade: as much of it as is asked for."""
    models = _named([bundle.load(folder) for folder in request.models], request)
    source = _Source(request)
    if request.robustness:
        _check_at_hand(source.samples)  # before hours go into embedding
    notes: list[str] = []
    embedded = {name: source.for_model(model) for name, model in models.items()}
    source.check_all_used(models)
    detectors = [_score(name, model, embedded[name], request) for name, model in models.items()]
    _check_names(detectors[0].rows, request)
    detectors += [read_scores(name, file, detectors[0].rows) for name, file in request.scores.items()]
    detectors, unscored = on_common_pictures(detectors)
    learnt = {name: model.has_learnt(one.rows) for (name, model), one in zip(models.items(), detectors, strict=False)}
    notes += [_flatters(name, int(known.sum()), len(known)) for name, known in learnt.items() if known.any()]
    if request.split and request.protocols:
        notes.append("--protocol leaves out in turn, and so uses all pictures of the data, not those of --split alone.")
    if unscored:
        notes.append(f"{unscored} pictures were left out, because not every detector has a score for them.")
    rows = detectors[0].rows
    _check_kinds(rows, request)
    wanted = set(rows["path"])
    samples = [sample for sample in source.samples if sample.name in wanted]
    if request.audit:
        notes += [f"{given} is a stream: its pictures are not in the audit, nor shown." for given in source.streams()]
    if source.has_clips and (request.audit or request.robustness):
        notes.append("Clips are neither audited nor degraded, nor shown.")
    return Content(
        detectors=detectors,
        kinds=request.kinds,
        audit=_audit(samples, source, notes) if request.audit else "nobody asked for it",
        protocols=_protocols(models, embedded, request, notes),
        robustness=_robustness(models, samples, request, notes) if request.robustness else {},
        files={sample.name: sample.path for sample in samples},
        notes=list(dict.fromkeys(notes)),  # models may share a note
        learnt=learnt,
        skipped=source.skipped,
        data=", ".join(Path(given).name for given in request.data) + (f" ({request.split})" if request.split else ""),
        command=request.command,
    )


def is_table(path: str) -> bool:
    """A table of embeddings, as against a folder or a manifest of pictures."""
    return Path(path).is_file() and (Path(path).suffix.lower() == ".parquet" or table.manifest_path(path).is_file())


class _Source:
    """The data as asked for, each table read and each folder listed once."""

    def __init__(self, request: Request):
        table.check_each_once(request.data)
        self.request = request
        self.tables: dict[str, Embeddings] = {given: table.read(given) for given in request.data if self._is_table(given)}
        listed = registry.load("datasets", request.dataset).scan
        self.listings: dict[str, Listing] = {given: listed(given, **request.options) for given in request.data if given not in self.tables}
        self._skipped: dict[tuple[str, str], None] = {}  # as a set that keeps its order

    def _is_table(self, given: str) -> bool:
        """A Parquet file may also be a shard of a data set, which has no manifest beside it."""
        return is_table(given) and (self.request.dataset == "folder" or table.manifest_path(given).is_file())

    def for_model(self, model: Bundle) -> Embeddings:
        """All data as embeddings for this model: the tables that fit it, and every folder embedded."""
        fitting = {given: data for given, data in self.tables.items() if model.fits(data.spec, data.crop)}
        if not fitting and not self.listings:
            for given, data in self.tables.items():
                model.check(data.spec, data.crop, given)
        for given, listing in self.listings.items():
            listing = self._asked_for(listing)
            if not listing.is_stream and not listing.samples:
                continue
            progress = self.request.bar(listing.total if listing.is_stream else len(listing.samples))
            data, skipped = embed_samples(listing, self.request.embedder(model), progress, self.request.sampling)
            model.check_encoder(data.spec, data.crop)
            self._skipped |= dict.fromkeys(skipped)
            fitting[given] = data
        if not fitting:
            raise _nothing_in(self.request, [sample.split for listing in self.listings.values() for sample in listing.samples])
        return table.joined(list(fitting.values()))

    def _asked_for(self, listing: Listing) -> Listing:
        """Of --split its pictures alone, before minutes go into embedding the others; protocols learn from these."""
        if not self.request.split or self.request.protocols or listing.is_stream:
            return listing
        return replace(listing, samples=[sample for sample in listing.samples if sample.split == self.request.split])

    def check_all_used(self, models: dict[str, Bundle]) -> None:
        """Raise TableError for a table that fits none of the models: its pictures must not be missing without a word."""
        for given, data in self.tables.items():
            if not any(model.fits(data.spec, data.crop) for model in models.values()):
                next(iter(models.values())).check(data.spec, data.crop, given)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return list(self._skipped)

    def streams(self) -> list[str]:
        return [given for given, listing in self.listings.items() if listing.is_stream]

    @property
    def has_clips(self) -> bool:
        return any(is_video(sample.path) for sample in self.samples)

    @cached_property
    def samples(self) -> list[Sample]:
        """The pictures themselves, as far as they are at hand: those of a stream are not."""
        listings = [scan(self.request.pictures)] if self.request.pictures else []
        listings += [listing for listing in self.listings.values() if not listing.is_stream]  # a folder's own go before --pictures
        return list({sample.name: sample for listing in listings for sample in listing.samples}.values())


def _nothing_in(request: Request, splits: Iterable[str]) -> DatasetError:
    there = ", ".join(sorted(set(splits) - {""})) or "none"
    return DatasetError(f"{', '.join(request.data)} has no pictures in the split {request.split!r}; there are: {there}. Leave --split out.")


def _flatters(name: str, known: int, pictures: int) -> str:
    return (
        f"{name} learnt from {known} of these {pictures} pictures, so its figures flatter. Measure it on others: by --split test where "
        "the data has one, and otherwise go by what training printed, or by pictures from elsewhere."
    )


def _check_names(rows: pd.DataFrame, request: Request) -> None:
    """Raise DatasetError for a name that stands for two pictures, where something goes by names: a file, --scores, a clip's frames.

    Otherwise pictures are told apart by their content too.
    """
    if not (request.audit or request.robustness or request.scores or "video" in rows):
        return
    twice = rows["path"][rows["path"].duplicated()]
    if len(twice):
        raise DatasetError(
            f"{twice.iloc[0]!r} stands for different pictures in {' and '.join(request.data)}, and pictures are found by their names. "
            "Evaluate these apart, or take the folder above them as one, so that each picture has a name of its own."
        )


def _check_kinds(rows: pd.DataFrame, request: Request) -> None:
    """Raise DatasetError for a kind with a source that there is not, before all that takes long."""
    there = set(rows["generator"])
    for kind, members in request.kinds.items():
        if unknown := sorted(set(members) - there):
            raise DatasetError(f"--kind {kind}: no pictures come from {', '.join(unknown)}; there are: {', '.join(sorted(there))}.")


def _score(name: str, model: Bundle, data: Embeddings, request: Request) -> Scored:
    asked = (data.rows["split"] == request.split).to_numpy() if request.split else np.ones(len(data), bool)
    rows = np.flatnonzero(asked)
    rows = rows[split.in_their_own_right(data.rows.iloc[rows])]
    if not len(rows):
        raise _nothing_in(request, data.rows["split"][data.rows["split"] != VIEW])
    data = data.take(rows)
    scores = model.p_fake_of(data)
    families = _families(model, data, scores) if model.family else None
    return Scored(name, *per_picture(data.rows, scores), model.thresholds, model.manifest, (data.rows, scores), families)


def _families(model: Bundle, data: Embeddings, scores: np.ndarray) -> pd.DataFrame:
    """What the model says is the family of each fake that it calls fake: of a picture with several regions, of the deciding one."""
    asked = np.flatnonzero((data.rows["label"] == FAKE).to_numpy() & model.thresholds.calls_fake(scores))
    asked = asked[np.argsort(-scores[asked], kind="stable")]
    asked = np.sort(asked[~data.rows.iloc[asked].duplicated(["path", "sha256"]).to_numpy()])
    rows = data.rows.iloc[asked]
    learnt = [model.family.learnt_from(generator) for generator in rows["generator"]]
    return rows.assign(answer=model.family.answers(data.X[asked]), learnt_from=learnt)


def _named(models: list[Bundle], request: Request) -> dict[str, Bundle]:
    """By name, or by folder where two have the same name; raises DatasetError where two detectors would still share one."""
    names = [model.name for model in models]
    names = [name if names.count(name) == 1 else folder for name, folder in zip(names, request.models, strict=True)]
    shared = [name for name, count in Counter([*names, *request.scores]).items() if count > 1]
    if shared:
        raise DatasetError(f"Two detectors are called {shared[0]!r}. Give each --model once, and --scores a name that no model has.")
    return dict(zip(names, models, strict=True))


def _one_an_encoder(models: dict[str, Bundle]) -> dict[str, Bundle]:
    """A protocol trains anew, so two models that take the same embeddings, and would get the same head, are the same to it."""
    return {name: model for name, model in {(m.spec, m.crop, m.head_name): (n, m) for n, m in reversed(models.items())}.values()}


def _protocols(models: dict[str, Bundle], embedded: dict[str, Embeddings], request: Request, notes: list[str]) -> list[dict[str, Any]]:
    """Each protocol on all the data (`split` only says what the models are tested on), for each kind of embedding and head."""
    done = []
    for protocol, (name, model) in product(request.protocols, _one_an_encoder(models).items()):
        if model.encoder_weights:
            notes.append(f"{protocol} says nothing of {name}: its encoder was tuned too, and not without what a protocol leaves out.")
            continue
        try:
            settings = {} if request.head else model.manifest["training"].get("settings", {})
            done.append(protocols.run(protocol, embedded[name], request.head or model.head_name, settings=settings))
            notes += left_out(done[-1])
        except TrainingError as error:
            notes.append(f"{protocol} could not be done on the embeddings of {name}: {error}")
    return done


def _audit(samples: list[Sample], source: _Source, notes: list[str]) -> Audit | str:
    """What it found, or why it could not be done."""
    if not samples:
        return "clips are not audited" if source.has_clips else "its pictures were not at hand"
    try:
        return audit(samples, progress=source.request.bar(len(samples)))
    except TrainingError as error:
        notes.append(f"The shortcut audit could not be done: {error}")
        return str(error).rstrip(".")


def _check_at_hand(samples: Iterable[Sample]) -> None:
    """Raise DatasetError where none of them is a picture that can be degraded."""
    if all(is_video(sample.path) for sample in samples):
        raise DatasetError(
            "--robustness degrades pictures, and a table, a clip or a stream has none at hand: give a folder of pictures as --data, or "
            "theirs as --pictures."
        )


def _robustness(models: dict[str, Bundle], samples: list[Sample], request: Request, notes: list[str]) -> dict[str, dict[str, Any]]:
    _check_at_hand(samples)
    chosen = robustness.some(samples, request.robustness)
    if len(chosen) < len(samples):
        notes.append(f"Robustness was measured on {len(chosen)} of {len(samples)} pictures, drawn evenly from every source.")
    measured = {}
    for name, model in models.items():
        bar = request.bar((1 + len(degrade.VIEWS)) * len(chosen))
        try:
            measured[name] = robustness.robustness(model, chosen, request.embedder(model), bar)
        except DatasetError as error:  # reduced to half, no face is large enough any more, say
            notes.append(f"How {name} does on degraded pictures could not be measured: {error}")
    return measured
