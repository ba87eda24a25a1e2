"""The values that travel between the stages: frozen, and carrying their own identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from deepfake_detector.vectors import Vectors

REAL, FAKE = 0, 1  # label 1 is fake, everywhere
LABEL_NAMES = ("real", "fake")
VIEW = "view"  # the split of a degraded copy
BESIDE = ":real"  # ends the name of the real picture of a pair, a photograph written anew as the fake beside it was
UNKNOWN = "unknown"  # in place of a family of generators

Answer = Literal["real", "fake", "unsure"]
Sought = Literal["fakes", "face swaps"]  # what a model has learnt to look for
METHODS = ("norms", "vit", "contrastive", "fusion")  # of tuning an encoder (finetune/)
PROTOCOLS = (
    "leave-one-generator-out",
    "leave-one-source-out",
    "leave-both-out",
    "matched",
    "promise-unseen-source",
    "promise-unseen-generator",
)


@dataclass(frozen=True)
class Sample:
    """One labelled picture of a dataset.

    `path` is where its bytes are; `name` is how the table calls it (relative to the data set's root). All
    pictures of a `group` land on one side of every split. `split` is the data set's own hint: train, val, test or "";
    VIEW marks a degraded copy, which is only ever learnt from.
    `video` names the clip that the picture is a frame of, "" for none. Where `path` is the clip itself, the sample stands
    for all its frames; each then has a sample of its own, with its `time` in seconds from where that begins. With a crop that finds
    persons, `track` numbers the one whom the region shows, within its clip; -1 for nobody.
    A picture out of a stream has no file: it carries its bytes as `content`, and `path` only says where it came from.
    `made_from` is the SHA-256 of the photograph that it was made of, "" for what was not made here: it tells them together wherever the
    photograph itself comes from.
    """

    path: str
    name: str
    label: int
    generator: str
    group: str
    split: str = ""
    video: str = ""
    time: float | None = None
    track: int = -1
    made_from: str = ""
    content: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class EncoderSpec:
    """What makes two embeddings comparable: everything that changes the numbers, and nothing else.

    `weights` names the weights by content (`sha256:…`), `layers` the outputs taken, `preprocessing` the way from
    picture to input, `dim` the width of a row.
    """

    name: str
    architecture: str
    weights: str
    layers: str
    pixels: int
    preprocessing: str
    normalised: bool
    dim: int

    @property
    def key(self) -> str:
        """A short hash of all fields: equal keys mean interchangeable embeddings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> EncoderSpec:
        return cls(**fields)

    def differences(self, other: EncoderSpec) -> str:
        """The fields in which two specs differ, as `field: mine ≠ theirs`, for an error message; of other encoders the names will do."""
        if self.name != other.name:
            return f"name: {self.name!r} ≠ {other.name!r}"
        mine, theirs = asdict(self), asdict(other)
        return "; ".join(f"{f}: {mine[f]!r} ≠ {theirs[f]!r}" for f in mine if mine[f] != theirs[f])


@dataclass(frozen=True)
class Embeddings:
    """A table that was read: one row an embedded picture.

    `rows` has the columns path, label, generator, group, split, sha256, with frames of clips also video and time, where those were
    cropped to persons also track, and where some were made of photographs also made_from; `X` is (n, spec.dim) float32 in the same order,
    in memory or, where it is too large for that, on disk (see vectors.py).
    """

    rows: pd.DataFrame
    X: Vectors
    spec: EncoderSpec
    crop: str

    def __len__(self) -> int:
        return len(self.rows)

    def pictures(self) -> Embeddings:
        """The rows without degraded copies: what may be tested on."""
        views = (self.rows["split"] == VIEW).to_numpy()
        return self.take(~views) if views.any() else self

    def take(self, which: np.ndarray) -> Embeddings:
        """The rows that an index array or boolean mask picks out; numbers on disk stay there."""
        return Embeddings(self.rows[which] if which.dtype == bool else self.rows.iloc[which], self.X[which], self.spec, self.crop)


def made_differently(spec: EncoderSpec, crop: str, other_spec: EncoderSpec, other_crop: str) -> str:
    """What two sets of embeddings differ in, so that they can't be mixed; empty where they can."""
    differences = [spec.differences(other_spec)] * (spec != other_spec) + [f"crop: {crop!r} ≠ {other_crop!r}"] * (crop != other_crop)
    return "; ".join(differences)


@dataclass(frozen=True)
class Thresholds:
    """Probabilities of being fake: at or below `real` the answer is real, at or above `fake` it is fake, else unsure."""

    real: float
    fake: float

    def answer(self, p_fake: float) -> Answer:
        return "fake" if self.calls_fake(p_fake) else "real" if self.calls_real(p_fake) else "unsure"

    @property
    def never(self) -> list[Answer]:
        """The answers that are never given: a threshold is 1 or 0 where nothing can be promised."""
        return [*["fake"] * (self.fake >= 1), *["real"] * (self.real <= 0)]

    def calls_fake(self, p_fake: Any) -> Any:
        """Of one or (n,) whether the answer is fake."""
        return (p_fake >= self.fake) & ("fake" not in self.never)

    def calls_real(self, p_fake: Any) -> Any:
        """Of one or (n,) whether the answer is real; fake goes first where both would be."""
        return (p_fake <= self.real) & (p_fake < self.fake) & ("real" not in self.never)


@dataclass(frozen=True)
class Person:
    """One person of a clip, numbered as in a table.

    `frames` holds each sighting as (seconds, p_fake, box), and p_fake is pooled over them.
    """

    track: int
    verdict: Answer
    p_fake: float
    frames: tuple[tuple[float, float, tuple[int, int, int, int]], ...]

    def to_json(self) -> dict[str, Any]:
        frames = [{"time": seconds, "p_fake": p_fake, "box": list(box)} for seconds, p_fake, box in self.frames]
        return {"track": self.track, "p_fake": self.p_fake, "verdict": self.verdict, "frames": frames}


@dataclass(frozen=True)
class Part:
    """A face or a window of a picture: its box (left, top, right, bottom) in the upright picture's pixels, and its own probability."""

    box: tuple[int, int, int, int]
    p_fake: float


@dataclass(frozen=True)
class Looked:
    """Where in a box (left, top, right, bottom) an encoder looked: (rows, columns) shares, 1 in all."""

    box: tuple[int, int, int, int]
    shares: np.ndarray


@dataclass(frozen=True)
class Similar:
    """A known picture beside a new one: its name, label and generator or source, their cosine, and its file where that is at hand."""

    path: str
    label: int
    generator: str
    cosine: float
    file: str | None = None

    def __str__(self) -> str:
        return f"{LABEL_NAMES[self.label]} {self.path} ({self.cosine:.2f})"


@dataclass(frozen=True)
class Family:
    """The likeliest family of generators behind a fake: its `name`, or "unknown", and the calibrated probabilities of all learnt ones.

    Names are given to `told` alone. For fakes of generators that were not learnt from, a name was given to the share `answered`,
    and of these the share `right` was right; of those of families that were not learnt, the share `strange` was unknown (None where
    there were too few families to leave one out).
    """

    name: str
    probabilities: dict[str, float]
    told: tuple[str, ...]
    answered: float
    right: float
    strange: float | None

    def __str__(self) -> str:
        return f"{self.name} ({100 * self.probabilities[self.name]:.0f} %)" if self.name in self.probabilities else self.name


@dataclass(frozen=True)
class KeptApart:
    """What shares of the pictures that training kept apart are as suspicious as a new one or more: of the `real` and of the `fake`.

    `real_from` and `fake_from` say how these were kept apart: by source, or by picture alone, as their promise does; `real_count` and
    `fake_count` how many they are.
    """

    real: float
    fake: float
    real_from: str
    fake_from: str
    real_count: int
    fake_count: int


@dataclass(frozen=True)
class Declaration:
    """What a file says of its own origin (see provenance.py): `where` in it that stands, and what it `says`, in words.

    `generated` is whether it says, unbroken, that a generative model made the picture or a part of it. `signed_by` is the name in a
    signature that holds, "" for what anyone can write; `vouched_for` whether a list of trusted signers says that it is really theirs, None
    without such a list.
    """

    where: str
    says: str
    generated: bool = False
    signed_by: str = ""
    vouched_for: bool | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.says}"


class Progress(NamedTuple):
    """How many of a file's frames are `done`, `of` how many; a picture is one."""

    done: int
    of: int


@dataclass(frozen=True)
class Verdict:
    """What every door shows for one picture.

    `p_fake` is calibrated, in 0..1; `sha256` is the file's; `seconds` is the time from bytes to verdict; `cached` says that the encoder was
    not run; `notes` are things the reader should know about the file (an animation's first frame, say). Of a clip,
    `frames` holds each judged frame as (seconds, p_fake), and p_fake is pooled over them; with a crop that finds persons it is
    the highest of `persons`, and of a picture that of `faces`, the most suspicious first. `similar` are the known pictures that it is most
    like, where known pictures were given. `family` is there for fakes alone, and where the model tells it. `kept_apart` is there for
    pictures, and where the model knows it.
    `looks_for` is what the model has learnt to find; `others` are the verdicts of models that were asked beside it (see panel.py).
    `withheld` says why there is no answer where the thresholds would give one, "" elsewhere.
    `declared` is what the file says of itself. Where that is that a generative model made it, it is fake by that, and the verdicts of all
    models are among `others`.
    """

    verdict: Answer
    p_fake: float
    thresholds: Thresholds
    model: str
    encoder: str
    sha256: str
    cached: bool
    seconds: float
    notes: tuple[str, ...] = ()
    frames: tuple[tuple[float, float], ...] = ()
    persons: tuple[Person, ...] = ()
    faces: tuple[Part, ...] = ()
    similar: tuple[Similar, ...] = ()
    family: Family | None = None
    kept_apart: KeptApart | None = None
    looks_for: Sought = "fakes"
    others: tuple[Verdict, ...] = ()
    declared: tuple[Declaration, ...] = ()
    withheld: str = ""

    @property
    def by_the_file(self) -> bool:
        """Whether it is the file's own word that decides, and not a model."""
        return any(one.generated for one in self.declared)

    @property
    def in_short(self) -> str:
        return f"{self.model}: {self.verdict} {self.p_fake:.4f}"

    def to_json(self) -> dict[str, Any]:
        """What `predict --json` and the API say of it; what there is none of is left out."""
        always = ("model", "encoder", "looks_for", "p_fake", "verdict", "cached", "notes", "sha256")
        fields: dict[str, Any] = {name: getattr(self, name) for name in always} | {"thresholds": asdict(self.thresholds)}
        if self.frames:
            fields["frames"] = [{"time": seconds, "p_fake": p_fake} for seconds, p_fake in self.frames]
        if self.persons:
            fields["persons"] = [person.to_json() for person in self.persons]
        fields |= {name: asdict(value) for name in ("family", "kept_apart") if (value := getattr(self, name))}
        fields |= {name: [asdict(one) for one in several] for name in ("similar", "faces", "declared") if (several := getattr(self, name))}
        for one in fields.get("similar", ()):
            del one["file"]  # who asks over the network need not know where a data set lies on this machine; `path` names the picture
        if self.others:
            fields["others"] = [other.to_json() for other in self.others]
        return fields
