"""A million rows of 512 numbers: written, read, converted, trained on and evaluated; the seconds and the peak memory of each.

    python benchmarks/million_rows.py [--rows 1000000] [--dim 512] [--float16] [--csv] [--heads logistic keras_mlp] [--folder /tmp]

Each step is a program of its own, as a user would start it, measured from outside; "peak" is its resident memory at most, the
parts of files that it mapped included. The rows are synthetic: two standard deviations along one direction tell a fake from a
real picture; six generators, four real sources, pairs share a group, a fifth is the test split. Of `keras_mlp`
one epoch of its twenty is trained each time. Needs three times the table's size on disk (2 GB for a million rows), with --csv six times.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _input import at_least_one, in_words

ROOT = Path(__file__).parent.parent

GENERATORS, SOURCES, SIGNAL = 6, 4, 2.0
READ = "import sys; from deepfake_detector import table; data = table.read(sys.argv[1]); print(data.X.shape, type(data.X).__name__)"
ONE_EPOCH = "from deepfake_detector import cli; from deepfake_detector.heads import keras_mlp; keras_mlp.EPOCHS = 1; cli.train()"


def rows(count: int, dim: int):
    from deepfake_detector import table
    from deepfake_detector.types import Sample

    rng = np.random.default_rng(0)
    place = rng.normal(0, 0.1, (2, max(GENERATORS, SOURCES), dim))
    trace = rng.normal(0, SIGNAL / dim**0.5, dim)
    for start in range(0, count, 4096):
        vectors = rng.standard_normal((min(4096, count - start), dim), dtype=np.float32)
        for i, vector in enumerate(vectors, start):
            label = i % 2
            source = (i // 2) % (GENERATORS if label else SOURCES)
            vector += place[label, source] * (source % 2) + label * trace
            name, split = f"{'generator' if label else 'source'}{source}", "test" if i % 10 < 2 else "train"
            sample = Sample(f"{name}/{i:07}.jpg", f"{name}/{i:07}.jpg", label, name, f"g{i // 2}", split)
            yield table.Row(sample, f"{i * 0x9E3779B97F4A7C15 % 2**64:064x}", vector)


def write(out: str, count: int, dim: int, float16: bool) -> None:
    from deepfake_detector import table
    from deepfake_detector.types import EncoderSpec

    spec = EncoderSpec("synthetic", "none", "none", "none", 224, "none", False, dim)
    table.write(out, rows(count, dim), spec, {"crop": "whole"}, float16=float16)


def measured(what: str, arguments: list[str], folder: str) -> None:
    """Run a step and print its seconds, its peak memory and, where it has one, the AUROC that it printed."""
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        step = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(step.pid, 0)
        step.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        said.seek(0)
        words = said.read()
    if step.returncode:
        raise subprocess.CalledProcessError(step.returncode, [what], stderr=words)
    area = re.search(r"AUROC (\d\.\d+)", words)
    peak = usage.ru_maxrss / 2**20
    busy = usage.ru_utime + usage.ru_stime
    print(f"{what:32} {seconds:7.0f} s {busy:9.0f} s {peak:7.2f} GiB   {f'AUROC {area[1]}' if area else ''}", flush=True)


@in_words
def main() -> None:
    from deepfake_detector import registry

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=at_least_one, default=1_000_000)
    parser.add_argument("--dim", type=at_least_one, default=512)
    parser.add_argument("--float16", action="store_true")
    parser.add_argument("--csv", action="store_true", help="also convert to CSV and back")
    parser.add_argument("--heads", nargs="*", default=["logistic", "keras_mlp"], choices=registry.names("heads"))
    parser.add_argument("--folder", help="where the tables are made, and deleted again")
    parser.add_argument("--write", metavar="TABLE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write, arguments.rows, arguments.dim, arguments.float16)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        shape = [f"--rows={arguments.rows}", f"--dim={arguments.dim}", *(["--float16"] if arguments.float16 else [])]
        print(f"{arguments.rows} rows of {arguments.dim} numbers{' (float16)' if arguments.float16 else ''}")
        print(f"{'':32} {'took':>9} {'processor':>11} {'peak':>11}")
        measured("write Parquet", [__file__, *shape, "--write=t.parquet"], folder)
        measured("read", ["-c", READ, "t.parquet"], folder)
        if arguments.csv:
            measured("Parquet → CSV", ["-m", "deepfake_detector", "convert", "t.parquet", "t.csv"], folder)
            measured("CSV → Parquet", ["-m", "deepfake_detector", "convert", "t.csv", "again.parquet"], folder)
            for name in ("t.csv", "again.parquet"):
                (Path(folder) / name).unlink()
        for head in arguments.heads:
            start = ["-c", ONE_EPOCH] if head == "keras_mlp" else [str(ROOT / "train_classifier.py")]
            measured(f"train {head}", [*start, "t.parquet", f"--head={head}", f"--out=models/{head}"], folder)
            test = ["--data", "t.parquet", "--split=test"]
            measured(f"evaluate {head} on the test split", [str(ROOT / "evaluate.py"), f"--model=models/{head}", *test], folder)


if __name__ == "__main__":
    main()
