"""A face blended with a slightly changed copy of itself: a fake made of one real photograph, with the seam that face swaps have.

After Shiohara & Yamasaki, *Detecting Deepfakes with Self-Blended Images*, CVPR 2022: the source is the face with its colours
changed and its details lost or sharpened, moved and scaled a little; it is blended into the photograph through a deformed and
blurred mask, by a ratio of 0.25 to 1. The ranges are those of the paper's published code, but for three things:

- The face detector gives five landmarks and not 68, so the mask is no convex hull of a face's outline but an ellipse laid through
  eyes, mouth and box, from the chin to somewhere between brows and hairline. It may miss a cheek or take in some hair. To make up
  for its plain form it is deformed more.
- Always the face is changed, never its surroundings: the paper changes the whole photograph in half of the draws. So a photograph
  and its twin are the same everywhere but in the faces.
- Hue, saturation and value change by a few hundredths. The published code's 0.3 is of 255 steps, which changes nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from deepfake_detector.crops.detectors import Face, mtcnn
from deepfake_detector.errors import NoFace

# Whoever changes what is made counts this up, so that a picture made before is not taken for it.
_SMALLEST = 32  # pixels of a face's longer side
SETTINGS = f"self-blended 1, mtcnn {mtcnn.CONFIDENCE}, {_SMALLEST}"

_CANVAS = 224  # a mask is made in a square of this side, whatever the face's size, so that blurs and waves fit the face
_AROUND = 1.8  # the side of that square for one of the face's height or width
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


def faces(picture: Image.Image) -> list[Face]:
    """The faces that are large enough to be blended, the largest first."""
    return sorted((face for face in mtcnn.find(picture) if face.side >= _SMALLEST), key=lambda face: (-face.side, face.box))


def self_blend(picture: Image.Image, seed: int) -> Image.Image:
    """RGB picture → the same with each of its faces blended with itself; raises NoFace. The same seed gives the same picture."""
    pixels = np.array(picture)  # (height, width, 3) uint8
    rng = np.random.default_rng(seed)
    for face in faces(picture):
        _blend(pixels, face, rng)
    if np.array_equal(pixels, np.asarray(picture)):
        raise NoFace(f"no face of at least {_SMALLEST} pixels found that could be blended with itself; leave this picture out")
    return Image.fromarray(pixels)


def _blend(pixels: np.ndarray, face: Face, rng: np.random.Generator) -> None:
    """Blend one face in place."""
    side = _AROUND * face.side
    centre = np.array([face.box[0] + face.box[2], face.box[1] + face.box[3]]) / 2
    left, top = np.maximum(np.rint(centre - side / 2), 0).astype(int)
    right, bottom = np.rint(centre + side / 2).astype(int)
    target = pixels[top:bottom, left:right]  # cut short at the picture's edge
    moving = _small_move(target.shape, side, rng)
    source = _warp(_change(target, side, rng), moving)
    outline = (_outline(face, rng) - (left, top)) @ moving[:, :2].T + moving[:, 2]
    mask = _mask(outline * _CANVAS / side, [max(1, round(n * _CANVAS / side)) for n in target.shape[:2]], rng)
    mask = _resize(mask * rng.choice(_RATIOS), target.shape[:2])[..., None]
    target[:] = np.rint(mask * source + (1 - mask) * target)  # where the mask is 0, the very same numbers


# ---- what is blended in


def _change(face: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Other colours, and details lost or sharpened: (height, width, 3) uint8 → float32, 0..255."""
    changed = face.astype(np.float32)
    if rng.random() < 0.3:
        changed = np.clip(changed + rng.integers(-20, 21, 3), 0, 255).astype(np.float32)
    hsv = cv2.cvtColor(changed / 255, cv2.COLOR_RGB2HSV)  # 0..360, 0..1, 0..1
    hsv += np.array([360, 1, 1]) * rng.uniform([-0.02, -0.06, -0.06], [0.02, 0.06, 0.06])
    hsv[..., 0] %= 360
    changed = cv2.cvtColor(np.clip(hsv, 0, [360, 1, 1]).astype(np.float32), cv2.COLOR_HSV2RGB) * 255
    contrast, brightness = rng.uniform(0.9, 1.1), 255 * rng.uniform(-0.1, 0.1)
    changed = np.clip(contrast * changed + brightness, 0, 255)
    coarse = max(1.0, side / (2 * _CANVAS))  # on a large face the same change takes more pixels
    if rng.random() < 0.5:
        factor = coarse * rng.choice((2, 4))
        small = cv2.resize(changed, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_NEAREST)
        return _resize(small, face.shape[:2])
    around = cv2.blur(changed, (2 * round(coarse) + 1,) * 2)
    return np.clip(changed + 9 * rng.uniform(0.2, 0.5) * (changed - around), 0, 255)


def _small_move(shape: tuple[int, ...], side: float, rng: np.random.Generator) -> np.ndarray:
    """An affine map (2, 3), in pixels: up to 5 % larger or smaller about the middle, and some 2 % aside."""
    scale = rng.uniform([0.95, 0.95], [1 / 0.95, 1 / 0.95])
    middle = np.array([shape[1], shape[0]]) / 2
    aside = side * rng.uniform([-0.03, -0.015], [0.03, 0.015])
    return np.column_stack([np.diag(scale), middle - scale * middle + aside])


def _warp(pixels: np.ndarray, moving: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(pixels, moving, pixels.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _resize(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)


# ---- where it is blended in


def _outline(face: Face, rng: np.random.Generator) -> np.ndarray:
    """The face's ellipse as a polygon, (n, 2) in the picture's pixels (x, y)."""
    left_eye, right_eye, _, left_mouth, right_mouth = np.array(face.landmarks)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    length = float(np.hypot(*(mouth - eyes)))
    down = (mouth - eyes) / max(length, 1e-6)
    length = max(length, 0.25 * face.side)  # a face that looks up or down has its eyes and mouth close together
    brow, chin = eyes - rng.uniform(0.4, 1.0) * length * down, mouth + rng.uniform(0.6, 0.9) * length * down
    wide = rng.uniform(0.9, 1.1) * min(length, 0.52 * (face.box[2] - face.box[0]))
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)[:, None]
    return (brow + chin) / 2 + np.cos(angles) * (chin - brow) / 2 + np.sin(angles) * wide * np.array([down[1], -down[0]])


def _mask(outline: np.ndarray, shape: list[int], rng: np.random.Generator) -> np.ndarray:
    """The outline filled, deformed, shrunk and blurred: (height, width) float32, 0..1, and 0 outside the deformed outline."""
    mask = np.zeros(shape, np.float32)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1.0)
    waves = [cv2.GaussianBlur(rng.uniform(-1, 1, shape).astype(np.float32), (0, 0), 12) for _ in "xy"]
    reach = rng.uniform(1, 5)  # root mean square, in pixels
    x, y = (
        grid + reach * wave / max(float(np.sqrt((wave**2).mean())), 1e-6)
        for grid, wave in zip(np.meshgrid(*map(np.arange, mask.shape[::-1])), waves, strict=True)
    )
    mask = cv2.remap(mask, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    shrinking, softening = 2 * rng.integers(2, 13, 2) + 1  # kernels of 5 to 25 pixels
    mask = cv2.GaussianBlur(mask, (int(shrinking),) * 2, 0)
    mask = (mask >= mask.max() - 1e-3).astype(np.float32) if mask.any() else mask
    mask = cv2.GaussianBlur(mask, (int(softening),) * 2, rng.uniform(5, 46))
    return mask / max(float(mask.max()), 1e-6)
