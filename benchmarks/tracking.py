"""How the faces of real clips become tracks, and what the smallest overlap and the sampling of frames do to them.

    python benchmarks/tracking.py DATA/videos --crop faces

reads every clip below DATA/videos: frames with a face, boxes, tracks that last and boxes in passing, at several numbers of
frames. What it printed last stands at the end of this file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from _input import at_least_one, in_words

from deepfake_detector import crops, tracking
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.pooling import pool_tracks
from deepfake_detector.video import EXTENSIONS, Clip, Sampling, is_video

OVERLAPS = (0.1, 0.2, 0.3, 0.5)


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--crop", default="faces")
    parser.add_argument("--frames", type=at_least_one, nargs="+", default=[8, 16, 64])
    arguments = parser.parse_args()
    crop = crops.load(arguments.crop)
    clips = sorted(file for file in arguments.videos.rglob("*") if is_video(str(file)))
    if not clips:
        parser.error(f"Expected a folder with clips ({' '.join(EXTENSIONS)}) in it. There are none in {arguments.videos}.")
    print(crop.name)
    overlaps = "  ".join(f"at {o}" for o in OVERLAPS)
    print(f"{'clip':36} {'frames':>6} {'with a face':>11} {'boxes':>5}  {overlaps}  (persons+passing, at an overlap of)")
    for path in clips:
        for frames in arguments.frames:
            try:
                clip = Clip(str(path), Sampling(frames))
            except UnusablePicture as error:
                print(f"{path.name} is left out: {error}", file=sys.stderr)
                break
            boxes = [boxes_in(crop, clip, nth) for nth in range(len(clip.times))]
            cells = []
            for tracking.MIN_OVERLAP in OVERLAPS:
                tracker, seen = tracking.Tracker(), {}
                for found in boxes:
                    for track in tracker.update(found):
                        seen.setdefault(track, []).append(0.5)
                lasting = len(pool_tracks(seen)) if seen else 0
                cells.append(f"{f'{lasting}+{len(seen) - lasting}':>6}")
            shown = sum(len(found) > 0 for found in boxes)
            print(f"{path.name:36} {len(boxes):6} {shown:11} {sum(map(len, boxes)):5}  " + "  ".join(cells), flush=True)


def boxes_in(crop: crops.PictureCrop, clip: Clip, nth: int) -> np.ndarray:
    """(faces, 4) in the nth frame."""
    try:
        return np.array([region.box for region in crop(clip.picture(nth).image)])
    except UnusablePicture:  # it shows no face, or is damaged
        return tracking.NOBODY


if __name__ == "__main__":
    main()

# Printed last, on one clip of FaceForensics++ and its Deepfakes version: one person each, one track each, whatever the settings.
# So two clips alone choose nothing. MIN_OVERLAP is low because frames are taken seconds apart and people move meanwhile; what two
# persons side by side share is less.
#
# faces:detector=mtcnn:padding=0.3:min=32
# clip                                 frames with a face boxes  at 0.1  at 0.2  at 0.3  at 0.5  (persons+passing, at an overlap of)
# ffpp_deepfakes_519_515.mp4                8           8     8     1+0     1+0     1+0     1+0
# ffpp_deepfakes_519_515.mp4               16          16    16     1+0     1+0     1+0     1+0
# ffpp_deepfakes_519_515.mp4               64          64    64     1+0     1+0     1+0     1+0
# ffpp_519.mp4                              8           8     8     1+0     1+0     1+0     1+0
# ffpp_519.mp4                             16          16    16     1+0     1+0     1+0     1+0
# ffpp_519.mp4                             64          64    64     1+0     1+0     1+0     1+0
