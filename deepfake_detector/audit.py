"""The shortcut audit asks whether a benchmark can be passed by files, colours, layout or noise, without knowing a fake from a photograph.

A small forest of trees learns from each family of trivial features alone, by grouped cross-validation: from the files as they
are, and after one common re-encoding of all. As a control the same features try to tell real sources from each other.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from deepfake_detector.embed import read_file
from deepfake_detector.encoders.colour_histogram import Encoder as ColourHistogram
from deepfake_detector.errors import TrainingError, UnusablePicture
from deepfake_detector.files import listed
from deepfake_detector.images import formats_of, open_picture
from deepfake_detector.intervals import bootstrap
from deepfake_detector.metrics import Curve
from deepfake_detector.split import group_folds, whole_groups
from deepfake_detector.traces import file_facts, layout, low_level, tones
from deepfake_detector.types import FAKE, REAL, Sample

COLOUR, TONES, LAYOUT = "colour histogram", "brightness and contrast", "layout and corners"
LOW_LEVEL, FACTS = "low-level statistics", "all file facts"
_SHOWN = (COLOUR, TONES, LAYOUT)  # what a picture shows; all else that is raw is of its file, or noise and spectrum
_WIDER = 3.09 / 1.96  # a dozen families are tried, so each has to stand out at 99.9 % where one alone would at 95 %
QUALITY = 90  # of the common re-encoding
ENOUGH = 15  # pictures of each side before a family is tried
LIMIT = 2000  # pictures looked at; more would change the figures little
_PAIRS = 6  # of real sources, told from each other
_TREES = 60  # of a forest
_SEED = 0  # of what is drawn, of folds and forests

Trust = Literal["yes", "with care", "no", "can't tell"]


@dataclass(frozen=True)
class Finding:
    """How well one family of features tells two sides apart: AUROC with its 95 % interval; `a` and `b` are the sides' counts."""

    features: str
    stage: Literal["raw", "re-encoded"]
    auroc: float
    interval: tuple[float, float] | None
    a: int
    b: int

    @property
    def found(self) -> bool:
        """Beyond chance, and by enough to matter."""
        return self.interval is not None and self.auroc >= 0.6 and self.auroc - _WIDER * (self.auroc - self.interval[0]) > 0.55


@dataclass(frozen=True)
class Audit:
    """`classes`: real against fake. `controls`: by pair of real sources. `sentence` says what follows, `trust` in a word."""

    classes: list[Finding]
    controls: dict[str, list[Finding]]
    trust: Trust
    sentence: str
    pictures: int
    re_encoding: str
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit(samples: Sequence[Sample], progress: Callable[[int], object] = lambda done: None) -> Audit:
    """Audit labelled pictures; raises TrainingError where a class is missing or all of a class is one group."""
    chosen = _at_most(LIMIT, samples)
    rows, features, side, skipped = _measure(chosen, progress)
    labels = rows["label"].to_numpy()
    classes = _tell_apart(rows, features) if min(np.bincount(labels, minlength=2)) >= ENOUGH else []
    controls = dict(_controls(rows, features))
    trust, sentence = conclude(classes, controls, _matched(rows))
    re_encoding = f"short side to {side} px (Lanczos), JPEG quality {QUALITY} 4:2:0"
    return Audit(classes, controls, trust, sentence, len(rows), re_encoding, skipped)


def conclude(classes: list[Finding], controls: dict[str, list[Finding]], matched: bool) -> tuple[Trust, str]:
    """Whether a benchmark with these findings is to be trusted, and why, in one sentence.

    `matched` says that every fake has its real counterpart in the set, so that content can't tell them apart.
    """
    if not classes:
        return "can't tell", f"Whether this benchmark is to be trusted can't be told: each class needs at least {ENOUGH} pictures."
    found = sorted((f for f in classes if f.found), key=lambda f: -f.auroc)
    files = [f for f in found if f.stage == "raw" and f.features not in (*_SHOWN, LOW_LEVEL)]
    content = [f for f in found if f.features in _SHOWN or (f.stage == "re-encoded" and f.features != LOW_LEVEL)]
    if files:
        single = [f.features for f in files if f.features != FACTS] or [FACTS]
        return "no", (
            f"This benchmark is not to be trusted as it stands: the files alone ({listed(single)}) tell real from fake with AUROC "
            f"{files[0].auroc:.2f}, so a detector can score high on it without having seen a trace of generation; bring both classes "
            "through the same size, format and quality first."
        )
    if content:
        trust: Trust = "no" if content[0].auroc >= 0.8 and not matched else "with care"
        even = " even after one common re-encoding" if content[0].stage == "re-encoded" else ""
        advice = "look for what was done to all pictures of one class" if matched else "prefer content-matched figures to the overall one"
        return trust, (
            f"This benchmark is {'not to be trusted' if trust == 'no' else 'to be trusted with care'}: real and fake pictures differ in "
            f"what they show ({listed(dict.fromkeys(f.features for f in content))} alone: AUROC {content[0].auroc:.2f}{even}), "
            f"so {advice}."
        )
    if max((f.interval[1] - f.interval[0] for f in classes if f.interval), default=1.0) > 0.4:
        return "can't tell", "Whether this benchmark is to be trusted can't be told: it has too few pictures for the audit to see anything."
    if any(f.features == LOW_LEVEL for f in found) and not matched:
        return _on_low_level(classes, controls)
    best = max((f for f in classes if f.features != LOW_LEVEL), key=lambda f: f.auroc)
    most = f", at most {best.interval[1]:.2f}" if best.interval else ""
    traces = max(f.auroc for f in classes if f.features == LOW_LEVEL)
    beside = f"; low-level statistics reach {traces:.2f}, but each fake stands beside its own real picture" if matched else ""
    return "yes", (
        "This benchmark is to be trusted: neither the files nor what the pictures show tell real from fake (the best of them, "
        f"{best.features}: AUROC {best.auroc:.2f}{most}{beside}), so a high score must come from something else."
    )


def _on_low_level(classes: list[Finding], controls: dict[str, list[Finding]]) -> tuple[Trust, str]:
    """What it means that noise and spectrum alone tell the classes apart, where files and colours don't."""
    raw, after = (next(f for f in classes if (f.features, f.stage) == (LOW_LEVEL, stage)) for stage in ("raw", "re-encoded"))
    between_reals = [f for pair in controls.values() for f in pair if (f.features, f.stage) == (LOW_LEVEL, "re-encoded")]
    told = [f.auroc for f in between_reals if f.found]
    reach = f"low-level statistics alone reach AUROC {after.auroc:.2f} after one common re-encoding"
    if not after.found:
        return "with care", (
            "This benchmark is to be trusted with care: low-level statistics tell the classes apart in the files as they are "
            f"(AUROC {raw.auroc:.2f}) but not reliably after one common re-encoding ({after.auroc:.2f}), as a difference in "
            "compression would, so look at the figures after re-encoding too."
        )
    if told:
        return "with care", (
            f"This benchmark is to be trusted with care: {reach}, but they also tell real sources from each other (up to {max(told):.2f}), "
            'so "which source" may pass for "fake".'
        )
    if not between_reals:
        return "with care", (
            f"This benchmark is to be trusted with care: {reach}, and without two real sources to compare it can't be told whether "
            "these are traces of generation or of a source."
        )
    if any(f.interval is None or f.interval[1] >= after.auroc for f in between_reals):
        return "with care", (
            f"This benchmark is to be trusted with care: {reach}, and the real sources have too few pictures to tell whether these are "
            "traces of generation or of a source."
        )
    return "yes", (
        f"This benchmark is to be trusted: files, colours and layout tell nothing, and though {reach}, they do not tell the real sources "
        "from each other, which speaks for true traces of generation."
    )


def baselines(audited: Audit) -> dict[str, Finding]:
    """What a detector must beat: the findings for the colour histogram and for all file facts together, raw."""
    return {f.features: f for f in audited.classes if f.stage == "raw" and f.features in (COLOUR, FACTS)}


# ---- features


def _measure(
    samples: Sequence[Sample], progress: Callable[[int], object]
) -> tuple[pd.DataFrame, dict[tuple[str, str], np.ndarray], int, list[tuple[str, str]]]:
    """(rows, features by (family, stage), short side of the common re-encoding, skipped)."""
    skipped: list[tuple[str, str]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shorts = [short for short in pool.map(_short_side, samples) if short]
        # Never enlarged, but for a few stragglers: enlarging would leave traces of its own.
        side = int(np.clip(np.quantile(shorts, 0.05), 64, 256)) if shorts else 256
        kept, measured = [], []
        for sample, outcome in zip(samples, pool.map(lambda sample: _features(sample, side), samples), strict=True):
            progress(1)
            if isinstance(outcome, str):
                skipped.append((sample.name, outcome))
            else:
                kept.append(sample)
                measured.append(outcome)
    if not kept:
        raise TrainingError(
            f"None of the {len(samples)} pictures could be read (the first: {skipped[0][1] if skipped else 'there are none'})."
        )
    rows = pd.DataFrame(
        {
            "path": [s.name for s in kept],
            "label": [s.label for s in kept],
            "generator": [s.generator for s in kept],
            "group": [s.group for s in kept],
            "split": [s.split for s in kept],
            "sha256": [str(m["sha256"]) for m in measured],
        }
    )
    families = [key for key in measured[0] if key != "sha256"]
    features = {key: np.stack([m[key] for m in measured]) for key in families}
    facts = [features[key] for key in families if key[1] == "raw" and key[0] not in (*_SHOWN, LOW_LEVEL)]
    features[FACTS, "raw"] = np.hstack(facts)
    return rows, features, side, skipped


def _short_side(sample: Sample) -> int:
    try:
        with open(sample.path, "rb") as content, Image.open(content, formats=formats_of(content.read(12))) as file:  # the header alone
            return min(file.size)
    except Exception:  # whatever is wrong with it is reported when it is decoded
        return 0


def _features(sample: Sample, side: int) -> dict[Any, Any] | str:
    try:
        content = read_file(sample.path)
        picture = open_picture(content).image
        facts = file_facts(content, picture.size)
    except UnusablePicture as error:
        return str(error)
    except OSError as error:
        return f"can't be read ({error.strerror or error})"
    again, size = _re_encode(picture, side)
    histogram = ColourHistogram()
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        **{(name, "raw"): values for name, values in facts.items()},
        (COLOUR, "raw"): histogram.embed_batch([picture])[0],
        (TONES, "raw"): tones(picture),
        (LAYOUT, "raw"): layout(picture),
        (LOW_LEVEL, "raw"): low_level(picture),
        ("bits per pixel", "re-encoded"): np.array([8 * size / (again.width * again.height)]),
        (COLOUR, "re-encoded"): histogram.embed_batch([again])[0],
        (TONES, "re-encoded"): tones(again),
        (LAYOUT, "re-encoded"): layout(again),
        (LOW_LEVEL, "re-encoded"): low_level(again),
    }


def _re_encode(picture: Image.Image, side: int) -> tuple[Image.Image, int]:
    """The picture after the common re-encoding, and the bytes that it took."""
    factor = side / min(picture.size)
    resized = picture.resize([max(side, round(length * factor)) for length in picture.size], Image.Resampling.LANCZOS)
    file = io.BytesIO()
    resized.save(file, "JPEG", quality=QUALITY, subsampling=2)
    with Image.open(file) as again:
        return again.convert("RGB"), len(file.getvalue())


# ---- telling apart


def _tell_apart(rows: pd.DataFrame, features: dict[tuple[str, Any], np.ndarray]) -> list[Finding]:
    """For each family, out-of-fold scores by a forest → AUROC. `rows["label"]` are the two sides, whatever they are."""
    labels, groups, folds = rows["label"].to_numpy(), whole_groups(rows), group_folds(rows, _SEED)
    a, b = np.bincount(labels, minlength=2).tolist()
    findings = []
    for (name, stage), X in features.items():
        scores = _cross_validated(X, labels, folds)
        interval = bootstrap(labels, scores, {"auroc": Curve.auroc}, draws=400, groups=groups)["auroc"]
        findings.append(Finding(name, stage, float(Curve.of(labels, scores).auroc()[0]), interval, a, b))
    return findings


def _cross_validated(X: np.ndarray, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(n,) scores in 0..1 of X (n, dim), each by a forest that has not seen the row's group."""
    from sklearn.ensemble import ExtraTreesClassifier

    scores = np.full(len(X), 0.5)
    if np.ptp(X, axis=0).max() == 0:
        return scores  # nothing to learn from
    for learn, score in folds:
        forest = ExtraTreesClassifier(_TREES, min_samples_leaf=3, class_weight="balanced", random_state=_SEED)
        scores[score] = forest.fit(X[learn], labels[learn]).predict_proba(X[score])[:, 1]
    return scores


def _controls(rows: pd.DataFrame, features: dict[tuple[str, str], np.ndarray]) -> Iterator[tuple[str, list[Finding]]]:
    """Real source against real source, the largest ones first; of a single group (one clip, say) none could be kept apart."""
    real = (rows["label"] == REAL).to_numpy()
    source = rows["generator"].to_numpy()
    counts = rows[real]["generator"].value_counts()
    groups = pd.Series(whole_groups(rows[real])).groupby(source[real]).nunique()
    for a, b in list(combinations((name for name, n in counts.items() if n >= ENOUGH and groups[name] > 1), 2))[:_PAIRS]:
        chosen = real & np.isin(source, (a, b))
        two = rows[chosen].assign(label=(source[chosen] == b).astype(int))
        wanted = ((FACTS, "raw"), (COLOUR, "re-encoded"), (LOW_LEVEL, "raw"), (LOW_LEVEL, "re-encoded"))
        yield f"{a} / {b}", _tell_apart(two, {key: features[key][chosen] for key in wanted})


def _matched(rows: pd.DataFrame) -> bool:
    """Whether every fake shares its group with a real picture, and the other way round for nearly all."""
    with_real, with_fake = (set(rows[rows["label"] == label]["group"]) for label in (REAL, FAKE))
    return with_fake <= with_real and len(with_real - with_fake) <= 0.05 * len(with_real)


def _at_most(limit: int, samples: Sequence[Sample]) -> list[Sample]:
    """Whole groups drawn by chance, taking turns between the sources, in the old order."""
    if len(samples) <= limit:
        return list(samples)
    rows = pd.DataFrame({"group": [s.group for s in samples], "source": [(s.label, s.generator) for s in samples]})
    groups = rows.groupby("group", sort=False).agg(n=("source", "size"), source=("source", "first")).sample(frac=1, random_state=_SEED)
    turn = groups.groupby("source").cumcount()
    drawn, kept, left = groups.iloc[np.argsort(turn.to_numpy(), kind="stable")], set(), limit
    for group, n in drawn["n"].items():
        if n <= left:  # one that is too large leaves room for others
            kept.add(group)
            left -= n
    return [s for s in samples if s.group in kept]
