"""Labelled pictures as clips: a short pan over each, coded as clips are, and a still out of it.

    python benchmarks/clips.py DATA OUT [--poor]
    python evaluate.py --model models/default --data OUT/clips --dataset videos --frames 2
    python evaluate.py --model models/default --data OUT/stills
    python evaluate.py --model models/default --data OUT/jpegs
    python evaluate.py --model models/default --data OUT/webps

DATA is a folder that extract_embeddings.py takes. Coding, its loss, the size and the way of the pan are drawn for each (see
deepfake_detector/filmed.py), with --poor out of small sizes and much loss. OUT/clips has the clips, OUT/stills a frame of each as a PNG,
which says nothing of having been in one, OUT/jpegs the same saved as JPEG 90, and OUT/webps as WebP 80. What can't be read is told, and
left out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from _input import in_words
from tqdm import tqdm

from deepfake_detector.datasets.folder import scan
from deepfake_detector.embed import read_file
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.filmed import CLIP, POOR, film_somehow, frame
from deepfake_detector.images import open_picture
from deepfake_detector.types import LABEL_NAMES


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--poor", action="store_true", help="small clips, coded with much loss")
    arguments = parser.parse_args()
    for sample in tqdm(scan(arguments.data).samples, unit="picture"):
        try:
            content = read_file(sample.path)
            picture = open_picture(content).image
        except (OSError, UnusablePicture) as error:
            print(f"{sample.name} is left out: {error}", file=sys.stderr)
            continue
        digest = hashlib.sha256(content).hexdigest()
        clip, shown = film_somehow(picture, int(digest[:8], 16), POOR if arguments.poor else CLIP)
        still = frame(clip, shown)
        for kind, ending, quality in (("clips", ".mkv", 0), ("stills", ".png", 0), ("jpegs", ".jpg", 90), ("webps", ".webp", 80)):
            file = arguments.out / kind / LABEL_NAMES[sample.label] / sample.generator / f"{digest[:16]}{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(clip) if kind == "clips" else still.save(file, quality=quality)  # which a PNG has no use for


if __name__ == "__main__":
    main()
