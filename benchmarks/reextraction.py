"""What the cache saves: extracting a folder for the first time against extracting it again, both as a user types it.

    python benchmarks/reextraction.py DATA [--encoder clip_vit_b16] [--pictures 100]

Needs the encoder's weights in the cache folder.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _input import at_least_one, by_lot, copied, in_words, pictures

ROOT = Path(__file__).parent.parent


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--encoder", default="clip_vit_b16")
    parser.add_argument("--pictures", type=at_least_one, default=100)
    arguments = parser.parse_args()
    samples = by_lot(pictures(arguments.data), arguments.pictures, f"labelled pictures in {arguments.data}")
    with tempfile.TemporaryDirectory() as folder:
        copied(samples, Path(folder) / "d")
        command = [sys.executable, str(ROOT / "extract_embeddings.py"), "d", "--encoder", arguments.encoder, "--out", "t.csv"]

        def extracted() -> tuple[float, int]:
            began = time.perf_counter()
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            return time.perf_counter() - began, int(re.search(r"encoded (\d+)", done.stdout)[1])

        first, encoded = extracted()
        again = [extracted() for _ in range(5)]
    median = statistics.median(seconds for seconds, _ in again)
    print(f"{arguments.pictures} pictures, {arguments.encoder}, start-up included:")
    print(f"first {first:.1f} s, {encoded} encoded; again {median:.2f} s, {sum(n for _, n in again)} encoded")
    print(f"{first / median:.0f} times faster")


if __name__ == "__main__":
    main()
