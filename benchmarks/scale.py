"""What a large data set costs in hours and bytes: rates of one core measured here, and the arithmetic for ELSA-D3.

    python benchmarks/scale.py DATA [--pictures 48] [--encoders clip_vit_b16 clip_vit_l14] [--weights clip_vit_l14=FILE]

Takes pictures of DATA through one thread, stage by stage, in CPU time, so that other programs disturb less, and writes
tables of as many rows as it takes to know a row's size. An encoder without weights at hand gets random ones: their arithmetic takes as
long.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _input import at_least_one, in_words, pictures

ROWS = 2_306_629  # of ELSA-D3's training split: four fakes each, and the address of a real picture
PICTURES = 5 * ROWS
SHARDS = 2.63e12  # bytes
FLOP = {"clip_vit_b16": 35e9, "clip_vit_l14": 162e9}  # a picture


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--pictures", type=at_least_one, default=48)
    parser.add_argument("--encoders", nargs="+", default=[*FLOP], choices=FLOP)
    parser.add_argument("--weights", action="append", default=[], metavar="ENCODER=FILE")
    arguments = parser.parse_args()
    given = dict(one.partition("=")[::2] for one in arguments.weights)
    if not all(given.values()):
        parser.error(f"--weights is ENCODER=FILE. Received: {', '.join(arguments.weights)}.")
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the rates are those of a core
    found = pictures(arguments.data)
    samples = random.Random(0).sample(found, min(arguments.pictures, len(found)))
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        read = reading(samples)
        for name in arguments.encoders:
            stages(name, given, samples, Path(folder), read)


def reading(samples: list) -> float:
    """What one core reads, hashes, decodes and brings to 224 pixels; returns the data set's larger pictures a second, by their bytes."""
    from deepfake_detector.embed import Embedder, read_file
    from deepfake_detector.encoders.clip_vit_b16 import Encoder

    embedder = Embedder(Encoder())
    seconds = [spent(lambda sample=sample: embedder.prepare(sample, lambda s: read_file(s.path))) for sample in samples]
    sizes = [os.path.getsize(sample.path) for sample in samples]
    rate = 1 / statistics.median(seconds)
    size = statistics.mean(sizes)
    speed = f"{rate:.0f} pictures/s a core, {rate * size / 1e6:.1f} MB/s"
    print(f"read, decode, resize: {speed} (median of {len(samples)} files of {size / 1000:.0f} kB)")
    print(f"  the shards' {SHARDS / 1e12} TB at that: {SHARDS / (rate * size) / 3600:,.0f} hours of a core")
    return rate * size * 4 * ROWS / SHARDS


def stages(name: str, given: dict[str, str], samples: list, folder: Path, read: float) -> None:
    import numpy as np
    import torch

    from deepfake_detector import registry
    from deepfake_detector.embed import Embedder, read_file
    from deepfake_detector.errors import DatasetError

    torch.set_num_threads(1)
    module = registry.load("encoders", name)
    encoder = module.Encoder("cpu", given.get(name) or _random_weights(name, folder))
    embedder = Embedder(encoder)
    prepared = [p.prepared for s in samples[:8] if (p := embedder.prepare(s, lambda s: read_file(s.path))).prepared is not None]
    if not prepared:
        raise DatasetError(f"None of the first {len(samples[:8])} pictures by lot can be read, {samples[0].path} for one. Replace them.")
    batch = np.concatenate(prepared)[:8]
    encoder.encode(batch[:1])  # loads the weights
    rate = len(batch) / statistics.median(spent(lambda: encoder.encode(batch)) for _ in range(3))
    print(f"\n{name}: encodes {rate:.2f} pictures/s a core ({FLOP[name] * rate / 1e9:.0f} GFLOP/s)")
    hours = PICTURES / 3600
    both = 1 / (1 / rate + 1 / read)
    print(f"  {PICTURES:,} pictures: {PICTURES:,} / {both:.2f} / 3600 = {hours / both:,.0f} hours of a core, {hours / both / 64:.0f} on 64")
    for sustained in (50e12, 200e12):
        speed = sustained / FLOP[name]
        print(
            f"  extrapolated, a GPU at {sustained / 1e12:.0f} TFLOP/s sustained: {speed:,.0f} pictures/s, {hours / speed:.1f} hours, "
            f"fed by {speed / read:.0f} cores"
        )
    for what, size in sizes(encoder.spec.dim, folder).items():
        print(f"  {what}: {size:,.0f} bytes a row, {size * PICTURES / 1e9:.1f} GB")


def _random_weights(name: str, folder: Path) -> str | None:
    """A file for the encoder of which none can be had here; None where there is one."""
    from deepfake_detector import registry
    from deepfake_detector.errors import WeightsUnavailable

    try:
        registry.load("encoders", name).Encoder("cpu").load()
    except WeightsUnavailable:
        from benchmarks.vit_l14_end_to_end import write_random_weights

        write_random_weights(folder / "random.safetensors")
        return str(folder / "random.safetensors")
    return None


def sizes(dim: int, folder: Path) -> dict[str, float]:
    """Bytes a row of each kind of file, from the growth between 2,000 and 4,000 rows of normalised noise."""
    import numpy as np

    from deepfake_detector import parts, table
    from deepfake_detector.cache import Cache, Remembered, cache_key
    from deepfake_detector.embed import Embedded
    from deepfake_detector.extract import Take
    from deepfake_detector.frames import Shot
    from deepfake_detector.types import EncoderSpec, Sample

    spec = EncoderSpec("noise", "", "", "", 224, "", True, dim)
    rng = np.random.default_rng(0)

    def rows(count: int):
        for i in range(count):
            vector = rng.standard_normal(dim).astype(np.float32)
            sample = Sample("", f"data/train-{i // 800:05}/{i:09}.jpg", int(i % 5 > 0), f"generator {i % 5}", f"{i // 5:09}", "train")
            yield sample, rng.bytes(32).hex(), vector / np.linalg.norm(vector)

    def outcomes(count: int):
        for i, (sample, sha256, vector) in enumerate(rows(count)):
            take = Take(Shot(sample, i, lambda: b""), "", lambda: b"")
            yield Embedded(take, sha256, Remembered(vector[None], np.zeros((1, 4), np.int32)))

    def cached(path: Path, count: int) -> None:
        with Cache(path) as cache:
            for _, sha256, vector in rows(count):
                cache.put("noise", {cache_key(sha256, "whole", spec): Remembered(vector[None], np.zeros((1, 4), np.int32))})

    def tabled(path: Path, count: int, **options) -> None:
        table.write(path, (table.Row(*row) for row in rows(count)), spec, {}, **options)

    kinds: dict[str, tuple[str, Callable[[Path, int], object]]] = {
        "table, Parquet float32": (".parquet", tabled),
        "table, Parquet float16": (".parquet", lambda path, count: tabled(path, count, float16=True)),
        "parts of --engine ray": (".parquet", lambda path, count: parts.write(path, parts.to_table(outcomes(count)), "")),
        "cache": (".sqlite", cached),
    }
    found = {}
    for number, (what, (ending, write)) in enumerate(kinds.items()):
        grown = []
        for count in (2000, 4000):
            path = folder / f"{dim}-{number}-{count}{ending}"
            write(path, count)
            grown.append(path.stat().st_size)
        found[what] = (grown[1] - grown[0]) / 2000
    return found


def spent(call: Callable[[], object]) -> float:
    """Seconds of CPU time."""
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    main()
