"""How fast extraction is beside a plain loop and beside clip-retrieval's inference: the same pictures, encoder weights and cores.

    pip install --no-deps --target peer clip-retrieval==2.45.0
    python benchmarks/extraction.py DATA --clip-retrieval peer [--pictures 128] [--rounds 5]

Everything runs in turn in each round; the figures are medians over rounds. Processor time, of all threads and worker processes, suffers
less than the rate where other programs are at work too. The plain loop opens, preprocesses and
encodes one picture at a time in float32. Of clip-retrieval its own reader (4 worker processes), mapper, writer and runner run; only
its loader of models is replaced, so that it gets the same tower. Ours is the whole extraction: cache and table are written too.
All in one process, so what ours asks of the C library's memory helps the others, too. Needs the encoder's weights in the cache folder.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from _input import at_least_one, copied, half_of_each, in_words, opened

FLOAT32 = "clip_vit_b16"
OURS = (FLOAT32, "clip_vit_b16_bf16")
PEER_BATCHES = (256, 32)  # its default, and what ours takes


def normalised(X: np.ndarray) -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True)


class Ours:
    """extract_embeddings.py without its start-up, into a fresh cache and table each time."""

    def __init__(self, encoder: str, folder: Path):
        from deepfake_detector import registry

        self.encoder = registry.load("encoders", encoder).Encoder(device="cpu")
        self.folder = folder
        self.idle: list[float] = []

    def __call__(self) -> np.ndarray:
        from deepfake_detector import table
        from deepfake_detector.cache import Cache
        from deepfake_detector.datasets.folder import scan
        from deepfake_detector.embed import Embedder
        from deepfake_detector.extract import extract

        with tempfile.TemporaryDirectory() as out, Cache(Path(out) / "cache.sqlite") as cache:
            began = time.perf_counter()
            done = extract(scan(str(self.folder)), Embedder(self.encoder, cache=cache), f"{out}/t.parquet")
            self.idle.append(1 - done.timing.encoding / (time.perf_counter() - began))
            embeddings = table.read(f"{out}/t.parquet")
        return embeddings.X[np.argsort(embeddings.rows["path"])]

    def alone(self, picture) -> float:
        """Seconds for one picture in a batch of its own, as the page asks for it: the median of ten."""
        times = []
        for _ in range(10):
            began = time.perf_counter()
            self.encoder.embed_batch([picture])
            times.append(time.perf_counter() - began)
        return statistics.median(times)


class Silent:
    """In place of its logger, which writes statistics and reports them to a web service."""

    def start(self) -> None: ...

    def __call__(self, stats: dict[str, float]) -> None: ...

    def end(self) -> None: ...


def plain_loop(files: list[Path], tower) -> Callable[[], np.ndarray]:
    """Open, preprocess, encode, one at a time."""
    import open_clip
    import torch
    from PIL import Image

    preprocess = open_clip.image_transform(224, is_train=False)

    def run() -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([tower(preprocess(Image.open(file)).unsqueeze(0)).numpy() for file in files])

    return run


def clip_retrieval(package: str, folder: Path, tower, batch_size: int) -> Callable[[], np.ndarray]:
    """Its `clip_inference` with the defaults of its command line, from a folder of files to .npy."""
    import open_clip

    sys.path.insert(0, package)
    # Its own __init__s import the index and the web service; its mapper's first lines import loaders that get the tower elsewhere.
    for name in ("clip_retrieval", "clip_retrieval/clip_inference"):
        module = sys.modules[name.replace("/", ".")] = ModuleType(name)
        module.__path__ = [f"{package}/{name}"]
    model = SimpleNamespace(encode_image=tower, encode_text=None)
    sys.modules["all_clip"] = SimpleNamespace(load_clip=lambda **_: (model, None, None))
    sys.modules["sentence_transformers"] = SimpleNamespace(SentenceTransformer=None)
    stages = (importlib.import_module(f"clip_retrieval.clip_inference.{name}") for name in ("reader", "mapper", "writer", "runner"))
    reader, mapper, writer, runner = stages

    def run() -> np.ndarray:
        with tempfile.TemporaryDirectory() as out:
            runner.Runner(
                lambda sampler: reader.FilesReader(
                    sampler, open_clip.image_transform(224, is_train=False), None, folder, batch_size, 4, enable_text=False
                ),
                lambda: mapper.ClipMapper(True, False, False, False, "the same", False, ""),
                lambda i: writer.NumpyWriter(i, out, False, True, False, 1),
                lambda _: Silent(),
                1,
            )(0)
            return np.load(next(Path(out).glob("img_emb/*.npy"))).astype(np.float32)

    return run


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--clip-retrieval", metavar="FOLDER", help="where pip put it (default: it is left out)")
    parser.add_argument("--pictures", type=at_least_one, default=128)
    parser.add_argument("--rounds", type=at_least_one, default=5)
    arguments = parser.parse_args()
    if arguments.clip_retrieval and not Path(arguments.clip_retrieval, "clip_retrieval").is_dir():
        parser.error(f"--clip-retrieval should be where pip put it; there is no clip_retrieval in {arguments.clip_retrieval}.")

    import torch

    from deepfake_detector.encoders._open_clip import load_tower

    chosen = half_of_each(arguments.data, arguments.pictures)
    for sample in chosen:
        opened(sample.path)  # now, as the loops would stop at one that can't be read
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        copied(chosen, folder)
        files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.relative_to(folder).as_posix())

        ours = {name: Ours(name, folder) for name in OURS}
        tower = load_tower(ours[FLOAT32].encoder.architecture, ours[FLOAT32].encoder.weights_file())
        runs: dict[str, Callable[[], np.ndarray]] = {"plain loop": plain_loop(files, tower), **ours}
        if arguments.clip_retrieval:
            for batch_size in PEER_BATCHES:
                runs[f"clip-retrieval, batches of {batch_size}"] = clip_retrieval(arguments.clip_retrieval, folder, tower, batch_size)

        picture = opened(files[0])
        alone = {name: one.alone(picture) for name, one in ours.items()}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        processor: dict[str, list[float]] = {name: [] for name in runs}
        rows = {}
        for number in range(arguments.rounds):
            order = list(runs)
            for name in order[number % len(order) :] + order[: number % len(order)]:
                began, spent = time.perf_counter(), sum(os.times()[:4])
                rows[name] = normalised(runs[name]())
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(sum(os.times()[:4]) - spent)

    print(f"{len(files)} pictures, {arguments.rounds} rounds, {torch.get_num_threads()} threads; medians (slowest … fastest round):")
    for name in runs:
        rate = [len(files) / s for s in seconds[name]]
        print(f"{name}: {statistics.median(rate):.2f} pictures/s ({min(rate):.2f} … {max(rate):.2f}),", end=" ")
        print(f"{statistics.median(processor[name]) / len(files):.3f} s of processor time a picture", end=" ")
        print(f"(least {min(processor[name]) / len(files):.3f})")
        print(f"  cosine distance to the plain loop: at most {(1 - (rows[name] * rows['plain loop']).sum(1)).max():.1e}")
        if name in ours:
            idle = statistics.median(ours[name].idle)
            print(f"  the encoder idle {100 * idle:.1f} % of the time; a picture alone: {alone[name]:.3f} s")
            for other in sorted(runs.keys() - ours.keys()):
                faster = statistics.median(theirs / own for theirs, own in zip(seconds[other], seconds[name], strict=True))
                less = statistics.median(theirs / own for theirs, own in zip(processor[other], processor[name], strict=True))
                print(f"  {faster:.2f} times as fast as {other}, for 1/{less:.2f} of its processor time")


if __name__ == "__main__":
    main()
