"""What half precision costs: the same head trained and tested on a table, and on the table rounded to float16.

    python benchmarks/float16.py TABLE.parquet … [--heads logistic svm keras_mlp]

For each, the AUROC on the table's test side under both precisions, their paired difference with its 95 % interval, and the
largest change of a calibrated probability when a head trained on float16 is asked about float32 embeddings, as the page does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _input import in_words

from deepfake_detector import registry, table
from deepfake_detector.intervals import paired_difference
from deepfake_detector.metrics import auroc
from deepfake_detector.train import train


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--heads", nargs="+", default=["logistic", "svm", "keras_mlp"], choices=registry.names("heads"))
    arguments = parser.parse_args()
    for path in map(Path, arguments.tables):
        with tempfile.TemporaryDirectory() as folder:
            half = Path(folder) / "half.parquet"
            rows = table.convert(path, half, float16=True)
            sizes = [file.stat().st_size / 2**20 for file in (path, half)]
            whole, rounded = table.read(path), table.read(half)
        print(f"{path.name}: {rows} rows of {whole.spec.dim} numbers, {sizes[0]:.1f} MiB, as float16 {sizes[1]:.1f} MiB")
        for head in arguments.heads:
            a, b = train(whole, head, "whole"), train(rounded, head, "half")
            labels, groups = a.test.rows["label"].to_numpy(), pd.factorize(a.test.rows["group"])[0]
            areas = [auroc(labels, done.p_fake) for done in (a, b)]
            difference, (low, high) = paired_difference(labels, b.p_fake, a.p_fake, groups=groups)
            served = np.abs(b.bundle.p_fake(a.test.X) - b.p_fake).max()
            print(
                f"  {head:10} AUROC {areas[0]:.4f}, as float16 {areas[1]:.4f}: {difference:+.5f} [{low:+.5f}, {high:+.5f}]; "
                f"asked about float32: p_fake moves by at most {served:.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
