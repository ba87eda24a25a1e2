"""What a model still tells of pictures that were made small, as thumbnails and icons are, and saved as JPEGs of quality 85.

    python benchmarks/sizes.py DATA [--split test] [--pictures 120] [--model models/default]

DATA is a folder or a manifest. Printed are, for each number of pixels of the shorter side, the AUROC and how many photographs and fakes
are called fake, unsure and real. The pictures are drawn evenly from every source and generator. A second a picture and size.
"""

from __future__ import annotations

import argparse
import io
from math import ceil

from _input import at_least_one, in_words, opened, pictures
from PIL import Image

from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.metrics import auroc
from deepfake_detector.robustness import some
from deepfake_detector.types import LABEL_NAMES

SIDES = (32, 64, 96, 128, 224)


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split")
    parser.add_argument("--pictures", type=at_least_one, default=120)
    parser.add_argument("--model", default=str(DEFAULT_MODEL))
    arguments = parser.parse_args()
    samples = some(pictures(arguments.data, arguments.split), arguments.pictures)
    detector = Detector(arguments.model)
    for side in SIDES:
        verdicts = []
        for sample in samples:
            picture, content = opened(sample.path), io.BytesIO()
            picture.thumbnail([ceil(length * side / min(picture.size)) for length in picture.size], Image.Resampling.LANCZOS)
            picture.save(content, "JPEG", quality=85)
            verdicts.append(detector.judge(content.getvalue()))
        labels = [sample.label for sample in samples]
        print(f"{side} pixels: AUROC {auroc(labels, [verdict.p_fake for verdict in verdicts]):.3f}")
        for label, name in enumerate(LABEL_NAMES):
            said = [verdict.verdict for verdict, truth in zip(verdicts, labels, strict=True) if truth == label]
            shares = ", ".join(f"{100 * said.count(answer) / len(said):.1f} %" for answer in ("fake", "unsure", "real"))
            print(f"  {len(said)} {name}: called fake, unsure, real {shares}", flush=True)


if __name__ == "__main__":
    main()
