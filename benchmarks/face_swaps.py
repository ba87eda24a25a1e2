"""Faces of photographs put into other photographs, by a swap that no model here has learnt from, beside the photographs.

    python benchmarks/face_swaps.py PHOTOS SWAPS
    python evaluate.py --model models/face_swaps --model models/default --data SWAPS/manifest.csv

PHOTOS are photographs of faces, in folders by their source. As FaceSwap (one of FaceForensics++'s four methods) does, but by five
landmarks where that has a face model in three dimensions: the largest face of one photograph is laid over that of another of the same
source by the similarity that its landmarks ask for, between brows and chin. `poisson` blends it in by its gradients (Pérez et al.,
*Poisson Image Editing*, SIGGRAPH 2003), `feathered` by a soft edge, with the colours brought to the mean and deviation of those covered.

Each photograph is saved as its swaps are, JPEG 90, in one group with them. Those without a face of 64 pixels are left out.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from _input import in_words, opened
from PIL import Image

from deepfake_detector.crops.detectors import Face
from deepfake_detector.self_blend import faces

SMALLEST = 64  # pixels of a face's longer side
COLUMNS = ("path", "label", "generator", "group", "split")


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, metavar="PHOTOS")
    parser.add_argument("out", type=Path, metavar="SWAPS", help="the folder to make")
    arguments = parser.parse_args()
    if not arguments.photographs.is_dir():
        parser.error(f"PHOTOS should be a folder of folders of photographs; there is none at {arguments.photographs}.")
    rows = []
    for source in sorted(folder for folder in arguments.photographs.iterdir() if folder.is_dir()):
        found = [(file, *one) for file in sorted(source.glob("*.jpg")) if (one := read(file))]
        if len(found) < 2:
            print(f"{source.name} is left out: {len(found)} of its photographs can be used, and a swap takes two", file=sys.stderr)
            continue
        for number, (file, picture, face) in enumerate(found):
            _, donor, its_face = found[(number + 1) % len(found)]
            made = {source.name: picture} | swaps(picture, face, donor, its_face)
            for kind, pixels in made.items():
                fake = kind != source.name
                path = arguments.out / ("fake" if fake else "real") / kind / f"{source.name}-{file.stem}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path, quality=90, subsampling="4:2:0")
                rows.append([path.relative_to(arguments.out), "fake" if fake else "real", kind, f"{source.name}/{file.name}", "test"])
    if not rows:
        parser.error(f"PHOTOS should hold folders of JPEG files with faces of at least {SMALLEST} pixels; there are none.")
    with (arguments.out / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    print(f"{len(rows) // 3} photographs and {len(rows) // 3 * 2} swaps in {arguments.out / 'manifest.csv'}")


def read(file: Path) -> tuple[np.ndarray, Face] | None:
    """A photograph, (height, width, 3), and its largest face, or None."""
    picture = opened(file)
    face = next((one for one in faces(picture) if one.side >= SMALLEST), None)  # the largest is the first
    return (np.array(picture), face) if face else None


def swaps(picture: np.ndarray, face: Face, donor: np.ndarray, its_face: Face) -> dict[str, np.ndarray]:
    """By kind the picture with the donor's face."""
    to, _ = cv2.estimateAffinePartial2D(np.float32(its_face.landmarks), np.float32(face.landmarks), method=cv2.LMEDS)
    size = picture.shape[1::-1]
    laid = cv2.warpAffine(donor, to, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = outline(face, size)
    inside = mask > 0
    (mean, deviation), (its_mean, its_deviation) = ((part[inside].mean(axis=0), part[inside].std(axis=0)) for part in (picture, laid))
    coloured = np.clip((laid - its_mean) / np.maximum(its_deviation, 1) * deviation + mean, 0, 255)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.03 * face.side)[..., None] / 255
    x, y, width, height = cv2.boundingRect(mask)
    middle = (x + width // 2, y + height // 2)
    return {
        "poisson": cv2.seamlessClone(laid, picture, mask, middle, cv2.NORMAL_CLONE),
        "feathered": np.rint(soft * coloured + (1 - soft) * picture).astype(np.uint8),
    }


def outline(face: Face, size: tuple[int, int]) -> np.ndarray:
    """(height, width) uint8, 255 in the hull of brows, cheeks and chin, which are guessed from the landmarks; 0 at the picture's edge."""
    left_eye, right_eye, nose, left_mouth, right_mouth = np.array(face.landmarks, float)
    down, across = (left_mouth + right_mouth - left_eye - right_eye) / 2, right_eye - left_eye
    brows = [eye - 0.45 * down + side * across for eye, side in ((left_eye, -0.25), (right_eye, 0.25))]
    cheeks = [corner + side * across + share * down for corner, side in ((left_eye, -0.45), (right_eye, 0.45)) for share in (0.0, 0.6)]
    chin = [corner + 0.5 * down for corner in (left_mouth, right_mouth)]
    hull = cv2.convexHull(np.float32([*brows, *cheeks, *chin, nose])).astype(np.int32)
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    mask[:2] = mask[-2:] = 0
    mask[:, :2] = mask[:, -2:] = 0
    return mask


if __name__ == "__main__":
    main()
