"""Several models asked about one file, each of which looks for fakes of its own kind, and the one answer that they give together."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from deepfake_detector import provenance
from deepfake_detector.bundle import Bundle
from deepfake_detector.detect import MODELS, Detector
from deepfake_detector.embed import embed_by_each
from deepfake_detector.errors import UnusablePicture, cause
from deepfake_detector.frames import shots
from deepfake_detector.types import Declaration, Looked, Part, Progress, Verdict
from deepfake_detector.video import Sampling

FACE_SWAPS = MODELS / "face_swaps"  # asked beside the default model, which has learnt no face swaps


class Panel:
    """One detector or more, asked about bytes or files; what they answer together is a Verdict too.

    It is fake where one of them says so, since each knows but some kinds of fake. It is real where the first says so and none finds a fake
    likelier than not. So what they promise of fakes called real holds, and their shares of photographs called fake add up at worst. The
    verdict is that of the one who decides (of several who say fake the surest), with what the others answer as its `others`. One that can't
    judge the file (there is no face for it to look at, say) is passed over, with a note, as long as another can.

    Where the file itself says that a generative model made it, it is fake, whatever they answer. Saying nothing, or something else, moves
    no answer. `signers` are certificates of those who may vouch for what a file says (see credentials.py).
    """

    def __init__(self, detectors: Sequence[Detector], signers: str = ""):
        self.first, *self._rest = detectors
        self._signers = signers

    @property
    def bundles(self) -> list[Bundle]:
        return [detector.bundle for detector in self._all]

    @property
    def _all(self) -> list[Detector]:
        return [self.first, *self._rest]

    def answering_by(self, bundle: Bundle) -> Panel:
        """This panel with another model for its first, which takes the same embeddings; raises TableError for one that takes others."""
        return Panel([self.first.answering_by(bundle), *self._rest], self._signers)

    def warm(self) -> None:
        """Load everything that the first picture would otherwise wait for."""
        for detector in self._all:
            detector.warm()

    def judge(self, content: bytes) -> Verdict:
        """One picture's bytes → the verdict; raises UnusablePicture."""
        began = time.perf_counter()
        outcomes = [_answer(detector, content) for detector in self._all]
        return self._together(outcomes, partial(provenance.of_bytes, content, self._signers), began)

    def parts(self, content: bytes, of_clip: bool = False) -> tuple[Part, ...]:
        """One picture's bytes, or those of a clip's frame → its parts as the first judges them; raises UnusablePicture."""
        return self.first.parts(content, of_clip)

    def looked_at(self, content: bytes) -> tuple[Looked, ...]:
        """One picture's bytes → where the first looks; raises UnusablePicture."""
        return self.first.looked_at(content)

    def judge_file(self, path: str | Path, sampling: Sampling | None = None) -> Verdict:
        """One file, a picture or a clip → its verdict; raises UnusablePicture."""
        *_, verdict = self.judging(path, sampling)
        return verdict

    def judging(self, path: str | Path, sampling: Sampling | None = None) -> Generator[Progress | Verdict]:
        """As `judge_file`: how far it has come, at each frame that was not remembered, and at last the verdict.

        It goes on only while somebody asks for more. What was embedded until then is remembered.
        """
        for _, outcome in self._judging([str(path)], sampling):
            if isinstance(outcome, str):
                raise UnusablePicture(outcome)
            yield outcome

    def judge_files(self, paths: Iterable[str], sampling: Sampling | None = None) -> Iterator[tuple[str, Verdict | str]]:
        """Many files, batched, in order → (path, verdict), or (path, reason) for one that none of the models can judge.

        Each is read and decoded once for all of them, but for a picture that is judged again as saved again.
        """
        return ((path, outcome) for path, outcome in self._judging(paths, sampling) if not isinstance(outcome, Progress))

    def _judging(self, paths: Iterable[str], sampling: Sampling | None) -> Iterator[tuple[str, Progress | Verdict | str]]:
        """As `judge_files`, and before each outcome how far it has come, as of `judging`."""
        began = time.perf_counter()
        embedded = embed_by_each([detector.embedder for detector in self._all], shots(paths, str, sampling), lambda shot: shot.read())
        for _, of_one in itertools.groupby(zip(*embedded, strict=True), key=lambda by_each: by_each[0].item.number):
            frames = []
            for by_each in of_one:
                frames.append(by_each)
                shot = by_each[0].item
                if not all(one.cached for one in by_each):
                    yield shot.item, Progress(len(frames), shot.of)
            path, streams = shot.item, zip(*frames, strict=True)
            outcomes = [detector.judge_embedded(list(own), began) for detector, own in zip(self._all, streams, strict=True)]
            try:
                yield path, self._together(outcomes, partial(provenance.of_file, path, self._signers), began)
            except UnusablePicture as error:
                yield path, str(error)
            began = time.perf_counter()

    def _together(self, outcomes: Sequence[Verdict | str], declares: Callable[[], tuple[Declaration, ...]], began: float) -> Verdict:
        """Each model's verdict, or the reason why it has none → one; raises UnusablePicture with the first's reason if none has.

        What the file declares is asked only where one has: what no model can read may be no file at all.
        """
        verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
        if not verdicts:
            raise UnusablePicture(str(outcomes[0]))
        deciding = _deciding(verdicts)
        silent = [
            f"{bundle.name} has no answer: {cause(outcome)}"
            for bundle, outcome in zip(self.bundles, outcomes, strict=True)
            if isinstance(outcome, str)
        ]
        together = dataclasses.replace(
            deciding,
            notes=(*deciding.notes, *silent),
            seconds=time.perf_counter() - began,
            cached=all(verdict.cached for verdict in verdicts),
            similar=tuple(itertools.chain.from_iterable(verdict.similar for verdict in verdicts)),
            others=tuple(verdict for verdict in verdicts if verdict is not deciding),
            declared=declares(),
        )
        return dataclasses.replace(together, verdict="fake", others=(deciding, *together.others)) if together.by_the_file else together


def _deciding(verdicts: Sequence[Verdict]) -> Verdict:
    first, *rest = verdicts
    if fakes := [verdict for verdict in verdicts if verdict.verdict == "fake"]:
        return max(fakes, key=attrgetter("p_fake"))
    doubting = [verdict for verdict in rest if verdict.verdict == "unsure" and verdict.p_fake >= 0.5]
    return max(doubting, key=attrgetter("p_fake")) if first.verdict == "real" and doubting else first


def _answer(detector: Detector, content: bytes) -> Verdict | str:
    try:
        return detector.judge(content)
    except UnusablePicture as error:
        return str(error)
