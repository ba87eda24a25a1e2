"""Picture → verdict: the one path that the page, the command line, the notebooks and the tests share."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detector import bundle as bundles
from deepfake_detector import crops
from deepfake_detector.cache import Cache
from deepfake_detector.devices import CPU_AT_ONCE
from deepfake_detector.embed import Embedded, Embedder, read_file
from deepfake_detector.errors import UnusablePicture, cause
from deepfake_detector.frames import Shot
from deepfake_detector.images import open_picture
from deepfake_detector.pooling import pool_tracks
from deepfake_detector.tracking import NOBODY, Tracker
from deepfake_detector.types import Answer, Family, Looked, Part, Person, Verdict

if TYPE_CHECKING:
    from deepfake_detector.bundle import Bundle
    from deepfake_detector.known import Known  # which loads the search for neighbours, where it is asked for

MODELS = Path(__file__).parent.parent / "models"
DEFAULT_MODEL = MODELS / "default"
SAVED_AGAIN = "jpeg70"  # the mild re-encoding, as by a messenger, that an answer about a picture must survive
_SMALL = 100  # pixels of the shorter side: what looks through windows tells little of smaller pictures (benchmarks/sizes.py)
_FILMED = "it looks as if it were out of a clip, or had been saved with as much loss, and is judged as a frame of one"
_MAY_BE_FILMED = "it may be out of a clip, and as a frame of one it would not be called fake"


class Detector:
    """A model with its encoder and the cache; made once, used from any thread.

    `cache` None means that nothing is remembered. The encoder's weights load at the first unknown picture, or in `warm`. `known`
    are pictures to set beside a new one; they must have been embedded as the model takes them.

    Real or fake is answered of a picture only if it would lie on the same side of even odds when saved again as a JPEG; else unsure.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        cache: Cache | None = None,
        device: str = "auto",
        weights: str | None = None,
        known: Known | None = None,
    ):
        self.bundle = bundles.load(model)
        encoder = self.bundle.encoder(device, weights)
        # On any device: who waits for a batch is told of none of its pictures before all are done.
        self.embedder = Embedder(encoder, self.bundle.crop, cache, batch_size=CPU_AT_ONCE)
        self.bundle.check_encoder(encoder.spec, self.embedder.crop)
        by_window = encoder.by_window()
        self._by_window = Embedder(by_window, "windows") if by_window else None
        self.saved_again = dataclasses.replace(self.embedder, crop=f"{self.embedder.crop}+{SAVED_AGAIN}")
        if known:
            self.bundle.check(known.spec, known.crop, "the table of known pictures")
        self.known = known

    def answering_by(self, bundle: Bundle) -> Detector:
        """This detector with another model, which takes the same embeddings; raises TableError for one that takes others."""
        bundle.check(self.embedder.encoder.spec, self.embedder.crop, "the encoder at hand")
        other = copy.copy(self)
        other.bundle = bundle
        return other

    def warm(self) -> None:
        """Load everything that the first picture would otherwise wait for."""
        from PIL import Image

        self.bundle.p_fake(self.embedder.encoder.embed_batch([Image.new("RGB", (64, 64))]))

    def judge(self, content: bytes) -> Verdict:
        """One picture's bytes → its verdict; raises UnusablePicture."""
        began = time.perf_counter()
        return self._picture_verdict(self.embedder.embed_one(content), lambda: content, began)

    def parts(self, content: bytes, of_clip: bool = False) -> tuple[Part, ...]:
        """One picture's bytes → windows over all of it, each judged as if all of the picture looked so, the most suspicious first.

        `of_clip` says that it is a frame of one. Empty for an encoder that does not look through windows. Raises UnusablePicture.
        """
        if self._by_window is None:
            return ()
        embedded = self._by_window.embed_one(content)
        return _parts(embedded, self._of_one(embedded.remembered.vectors, of_clip))

    def looked_at(self, content: bytes) -> tuple[Looked, ...]:
        """One picture's bytes → where in each of its regions the encoder looks; empty where it can't tell. Raises UnusablePicture."""
        found = []
        for region in crops.load(self.bundle.crop)(open_picture(content).image):
            if looked := self.embedder.encoder.looked_at(region.picture):
                across, down = ((region.box[i + 2] - region.box[i]) / region.picture.size[i] for i in (0, 1))
                left, top, right, bottom = looked.box
                box = (left * across, top * down, right * across, bottom * down)
                found.append(Looked(tuple(round(side) + region.box[i % 2] for i, side in enumerate(box)), looked.shares))
        return tuple(found)

    def judge_embedded(self, parts: list[Embedded[Shot[str]]], began: float) -> Verdict | str:
        """One file's verdict, or the reason why it has none, by what became of all its shots, of which the first was begun then."""
        shot = parts[0].item
        if shot.time is not None:
            return self._clip_verdict(parts, began)
        if parts[0].error:
            return parts[0].error
        try:
            return self._picture_verdict(parts[0], lambda: read_file(shot.item), began)
        except (OSError, UnusablePicture) as error:
            return f"can't be read again ({error})"

    def _steady(self, verdict: Verdict, filmed: bool, content: bytes, began: float) -> Verdict:
        """Unsure in place of an answer that saving the picture again would turn round. `filmed` says that it was judged as a frame."""
        try:
            again = self.saved_again.embed_one(content)
        except UnusablePicture as error:  # its face is no longer found, say
            turned, cached, why = True, False, f"no answer: {cause(str(error))}"
        else:
            # As a frame if it was judged as one, since saved: its copy may no longer look so.
            p_fake = float(self.bundle.p_fake(again.remembered.vectors, filmed, saved_again=True).max())
            turned, cached = (p_fake >= 0.5) != (verdict.p_fake >= 0.5), again.cached
            why = f"a probability of {p_fake:.2f}"
        notes = (f"by the thresholds {verdict.verdict}, but saved again as a JPEG of quality 70 it has {why}",) if turned else ()
        return dataclasses.replace(
            verdict,
            verdict="unsure" if turned else verdict.verdict,
            cached=verdict.cached and cached,
            seconds=time.perf_counter() - began,
            notes=(*verdict.notes, *notes),
            family=None if turned else verdict.family,
            withheld="it changes when the picture is saved again" if turned else "",
        )

    def _clip_verdict(self, parts: list[Embedded[Shot[str]]], began: float) -> Verdict | str:
        """One verdict from all frames that could be judged, or the reason of the first where none could."""
        whole = [one for one in parts if not one.error]
        if not whole:
            return parts[0].error
        scores = self._of_one(np.concatenate([one.remembered.vectors for one in whole]), of_clip=True)
        counts = [0 if one.error else len(one.remembered.vectors) for one in parts]
        of_frames = np.split(scores, np.cumsum(counts)[:-1])
        judged = [(one.item.time, self._verdict(one, p, began)) for one, p in zip(parts, of_frames, strict=True) if not one.error]
        persons, faces, passing = self._persons(parts, of_frames)
        worst = max(persons, key=lambda person: person.p_fake)
        missing = [one for one in parts if one.error]
        notes = (
            [f"{len(judged)} of {len(parts)} frames were judged: {cause(missing[0].error)}"]
            if missing
            else [f"{len(parts)} frames were judged" if len(parts) > 1 else "1 frame was judged"]
        )
        if passing:
            notes.append(f"faces seen only in passing were left out: {passing}")
        clip = parts[0].item
        noted = [own for _, verdict in judged if (own := [note for note in verdict.notes if note not in clip.notes])]
        if noted:
            which = "each" if len(noted) == len(judged) else f"{len(noted)} of them"
            example = "" if all(own == noted[0] for own in noted) else ", for example"
            notes.append(f"of {which}{example}: {'; '.join(noted[0])}")
        too_few = len(judged) < len(parts) / 2
        return dataclasses.replace(
            judged[0][1],
            verdict="unsure" if too_few else worst.verdict,
            p_fake=worst.p_fake,
            cached=all(verdict.cached for _, verdict in judged),
            seconds=time.perf_counter() - began,
            sha256=clip.sha256,
            notes=(*notes, *clip.notes),
            frames=tuple((seconds, verdict.p_fake) for seconds, verdict in judged),
            persons=tuple(persons) if self.embedder.tracked else (),
            family=None if too_few else self._family(worst.verdict, np.stack(faces[worst.track])),
            withheld=f"only {len(judged)} of {len(parts)} frames can be judged" if too_few and worst.verdict != "unsure" else "",
        )

    def _persons(
        self, parts: list[Embedded[Shot[str]]], of_frames: list[np.ndarray]
    ) -> tuple[list[Person], dict[int, list[np.ndarray]], int]:
        """Those who count, in the order in which they appear; the embeddings of each's sightings; and how many do not count.

        `of_frames` has what was answered of each frame, nothing of one that could not be judged. A whole picture counts as one person all
        along, wherever in its frame it is.
        """
        tracker, seen, faces = Tracker(), {}, {}
        for one, answers in zip(parts, of_frames, strict=True):
            if one.error:
                tracker.update(NOBODY)
                continue
            p_fake, boxes = answers.tolist(), one.remembered.boxes.tolist()
            tracks = tracker.update(one.remembered.boxes) if self.embedder.tracked else [0] * len(boxes)
            for track, p, box, face in zip(tracks, p_fake, boxes, one.remembered.vectors, strict=True):
                seen.setdefault(track, []).append((one.item.time, p, tuple(box)))
                faces.setdefault(track, []).append(face)
        persons = []
        for track, pooled in pool_tracks({track: [p for _, p, _ in frames] for track, frames in seen.items()}).items():
            frames = tuple((seconds, round(p, 6), box) for seconds, p, box in seen[track])
            persons.append(Person(track, self.bundle.thresholds.answer(pooled), round(pooled, 6), frames))
        return persons, faces, len(seen) - len(persons)

    def _family(self, verdict: Answer, vectors: np.ndarray) -> Family | None:
        """(n, dim) of what decided the verdict → the family of its generator, for fakes and where the model tells it."""
        return self.bundle.family.answer(vectors) if self.bundle.family and verdict == "fake" else None

    def _picture_verdict(self, embedded: Embedded, read: Callable[[], bytes], began: float) -> Verdict:
        """With all that stands beside it; of a clip's frames nobody looks at that. The file is read for an answer that must be steady."""
        vectors = embedded.remembered.vectors
        p_fake = self.bundle.p_fake(vectors)
        deciding = vectors[[p_fake.argmax()]]
        filmed = bool(self.bundle.taken_for_frames(deciding)[0])
        told = [_FILMED if filmed else _MAY_BE_FILMED] if filmed or self.bundle.held_back(deciding)[0] else []
        if self._by_window:
            left, top, right, bottom = embedded.remembered.boxes[0].tolist()
            if min(right - left, bottom - top) < _SMALL:
                told.append(f"{right - left} x {bottom - top} pixels show little to tell by; get a larger copy")
        verdict = self._verdict(embedded, p_fake, began)
        similar = self.known.most_similar(vectors) if self.known else ()
        verdict = dataclasses.replace(
            verdict,
            notes=(*verdict.notes, *told),
            faces=_parts(embedded, p_fake) if self.embedder.tracked else (),
            similar=similar,
            family=self._family(verdict.verdict, deciding),
            # Those pictures were never frames of clips, which have a calibration of their own.
            kept_apart=None if filmed else self.bundle.kept_apart(verdict.p_fake),
        )
        return verdict if verdict.verdict == "unsure" else self._steady(verdict, filmed, read(), began)

    def _of_one(self, vectors: np.ndarray, of_clip: bool) -> np.ndarray:
        """(n, dim) of the frames of one clip, or of the parts of one picture → (n,), all by one calibration, as all were coded alike."""
        return self.bundle.p_fake(vectors, of_clip, of_one=np.zeros(len(vectors), int))

    def _verdict(self, embedded: Embedded, scores: np.ndarray, began: float) -> Verdict:
        """By the most suspicious of its regions: one swapped face makes a picture fake."""
        p_fake = float(scores.max())
        return Verdict(
            verdict=self.bundle.thresholds.answer(p_fake),  # before it is rounded: 1 is a threshold that no picture may reach
            p_fake=round(p_fake, 6),
            thresholds=self.bundle.thresholds,
            model=self.bundle.name,
            encoder=self.bundle.spec.name,
            sha256=embedded.sha256,
            cached=embedded.cached,
            seconds=time.perf_counter() - began,
            notes=embedded.remembered.notes,
            looks_for=self.bundle.looks_for,
        )


def _parts(embedded: Embedded, p_fake: np.ndarray) -> tuple[Part, ...]:
    parts = [Part(tuple(box), round(p, 6)) for box, p in zip(embedded.remembered.boxes.tolist(), p_fake.tolist(), strict=True)]
    return tuple(sorted(parts, key=lambda part: -part.p_fake))
