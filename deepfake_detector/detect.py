"""Picture → verdict: the one path that the page, the command line, the notebooks and the tests share."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepfake_detector import bundle as bundles
from deepfake_detector import registry
from deepfake_detector.cache import Cache
from deepfake_detector.embed import Embedded, Embedder, read_file
from deepfake_detector.types import Verdict

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "default"


class Detector:
    """A model with its encoder and the cache; made once, used from any thread.

    `cache` None means that nothing is remembered. The encoder's weights load at the first unknown picture, or in `warm`.
    """

    def __init__(self, model: str | Path = DEFAULT_MODEL, cache: Cache | None = None, device: str = "auto", weights: str | None = None):
        self.bundle = bundles.load(model)
        encoder = registry.load("encoders", self.bundle.spec.name).Encoder(device=device, weights=weights)
        self.bundle.check(encoder.spec, self.bundle.crop, "the encoder at hand")
        self.embedder = Embedder(encoder, self.bundle.crop, cache)

    def warm(self) -> None:
        """Load everything that the first picture would otherwise wait for."""
        from PIL import Image

        self.bundle.p_fake(self.embedder.encoder.embed_batch([Image.new("RGB", (64, 64))]))

    def judge(self, content: bytes) -> Verdict:
        """One picture's bytes → its verdict; raises UnusablePicture."""
        began = time.perf_counter()
        return self._verdict(self.embedder.embed_one(content), began)

    def judge_file(self, path: str | Path) -> Verdict:
        """One file → its verdict; raises UnusablePicture or OSError."""
        return self.judge(read_file(str(path)))

    def judge_files(self, paths: Iterable[str]) -> Iterator[tuple[str, Verdict | str]]:
        """Many files, batched, in order → (path, verdict), or (path, reason) for one that can't be judged."""
        began = time.perf_counter()
        for embedded in self.embedder.embed(paths, read_file):
            yield embedded.item, embedded.error or self._verdict(embedded, began)
            began = time.perf_counter()

    def _verdict(self, embedded: Embedded, began: float) -> Verdict:
        # Of several regions the most suspicious one decides: one swapped face makes a picture fake.
        p_fake = round(float(self.bundle.p_fake(embedded.remembered.vectors).max()), 6)
        return Verdict(
            verdict=self.bundle.thresholds.answer(p_fake),
            p_fake=p_fake,
            thresholds=self.bundle.thresholds,
            model=self.bundle.name,
            encoder=self.bundle.spec.name,
            sha256=embedded.sha256,
            cached=embedded.cached,
            seconds=time.perf_counter() - began,
            notes=embedded.remembered.notes,
        )
