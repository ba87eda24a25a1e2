"""How long a full report takes on 5,000 cached embeddings (target: 60 seconds).

    python benchmarks/report_speed.py

Two logistic models on synthetic embeddings of 768 numbers, ten generators and eight real sources, every figure with its
interval, the comparison and all drawings. Last printed, on two busy cores: "5000 cached embeddings, 2 models: the report took 4.8 s".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from deepfake_detector import bundle, cli, table, train  # noqa: E402
from deepfake_detector.types import EncoderSpec, Sample  # noqa: E402

ROWS, DIM, GENERATORS, SOURCES = 5000, 768, 10, 8


def rows(seed: int):
    """Fakes shifted a little from reals, each source and generator a little from the others; pairs share a group."""
    rng = np.random.default_rng(seed)
    place = rng.normal(0, 0.5, (2, max(GENERATORS, SOURCES), DIM))
    trace = rng.normal(0, 0.06, DIM)
    for i in range(ROWS):
        label = i % 2
        source = (i // 2) % (GENERATORS if label else SOURCES)
        vector = rng.normal(size=DIM) + place[label, source] + label * trace
        sample = Sample(f"{i}.jpg", f"{i}.jpg", label, f"{'generator' if label else 'source'}{source}", f"g{i // 2}")
        yield table.Row(sample, f"{i:064x}", vector.astype(np.float32))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    spec = EncoderSpec("synthetic", "none", "none", "none", 224, "none", False, DIM)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        table.write(root / "t.parquet", rows(0), spec, {"crop": "whole"})
        data = table.read(root / "t.parquet")
        few = data.take(np.arange(0, ROWS) < 1000)
        for seed in (0, 1):
            bundle.save(train.train(few, "logistic", f"model{seed}", seed).bundle, root / f"model{seed}")
        began = time.perf_counter()
        models = [f"--model={root / 'model0'}", f"--model={root / 'model1'}"]
        kinds = ["--kind=faces=source0,source1,generator0,generator1", "--kind=scenes=source2,source3,generator2,generator3"]
        assert cli.evaluate([*models, *kinds, f"--data={root / 't.parquet'}", f"--out={root / 'report'}"]) == 0
        print(f"\n{ROWS} cached embeddings, 2 models: the report took {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
