"""What the shipped models answer alone and together, as `predict` does: real and fake pictures called fake, unsure and real.

    python benchmarks/face_swaps.py …            # makes the folder of swaps that is asked about below
    python benchmarks/together.py SWAPS DATA… [--split test] [--cache FILE]

Each DATA is a folder or a manifest. "Together" is the panel's one answer, "default" and "face_swaps" what each of the two would have said;
of face_swaps only pictures count in which it finds a face.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from _input import in_words, pictures

from deepfake_detector.cache import Cache
from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.panel import FACE_SWAPS, Panel
from deepfake_detector.types import LABEL_NAMES, Verdict


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--split", help="only the pictures of this split")
    parser.add_argument("--cache", help="an embedding cache (default: the usual one)")
    arguments = parser.parse_args()
    cache = Cache(arguments.cache)
    panel = Panel([Detector(model, cache) for model in (DEFAULT_MODEL, FACE_SWAPS)])
    for data in arguments.data:
        samples = {sample.path: sample for sample in pictures(data, arguments.split)}
        counts: dict[tuple[str, int, bool], Counter[str]] = {}
        for path, outcome in panel.judge_files(samples):
            if not isinstance(outcome, Verdict):
                print(f"{path}: {outcome}", file=sys.stderr)
                continue
            answers = {one.model: one.verdict for one in (outcome, *outcome.others)} | {"together": outcome.verdict}
            for who, answer in answers.items():
                for faces_alone in {False, "face_swaps" in answers}:
                    counts.setdefault((who, samples[path].label, faces_alone), Counter())[answer] += 1
        print(f"\n{Path(data).name:30} {'':12} {'n':>5} {'called fake':>12} {'unsure':>7} {'real':>7}")
        for faces_alone in (False, True):
            for label, name in enumerate(LABEL_NAMES):
                for who in ("default", "face_swaps", "together"):
                    found = counts.get((who, label, faces_alone))
                    if found and (faces_alone or who != "face_swaps"):
                        n = found.total()
                        shares = (f"{100 * found[answer] / n:.1f}%" for answer in ("fake", "unsure", "real"))
                        kind = f"{name}, {'a face found' if faces_alone else 'all'}"
                        print(f"{kind:30} {who:12} {n:5} {next(shares):>12} {next(shares):>7} {next(shares):>7}")


if __name__ == "__main__":
    main()
