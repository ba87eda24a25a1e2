"""Which pictures a tuning step learns from, and what becomes of each before the encoder sees it.

A real picture and a fake of the same content go through the same degradation, and are seen through the same window, so that
nothing but the generator's traces tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL.Image import Image

from deepfake_detector import crops, degrade, split
from deepfake_detector.embed import read_file
from deepfake_detector.errors import TrainingError, UnusablePicture
from deepfake_detector.images import open_picture
from deepfake_detector.types import FAKE, REAL
from deepfake_detector.windows import window

BATCH = 16  # pictures a step: 4 pairs, 4 other fakes, 4 more reals
_PAIRS = 4
_DEGRADED = 0.5  # of the pictures


@dataclass(frozen=True)
class Look:
    """A row's picture as one step sees it: through degrade.augment with `seed` (None: as it is), and for some through one window."""

    row: int
    seed: int | None
    window: tuple[float, float]  # across, down
    region: float  # which of the crop's regions, as a share of their number


class Batches:
    """Draws the batches of each step from (n,) rows; a step's batch depends on the seed and its number alone.

    Both classes are drawn as often, and of a class its sources by the square root of their pictures.
    """

    def __init__(self, rows: pd.DataFrame, seed: int):
        self.seed = seed
        labels, groups = rows["label"].to_numpy(), split.whole_groups(rows)
        share = split.weights(rows)
        in_pairs = split.paired(labels, groups)
        self.reals = _Drawn(np.flatnonzero(labels == REAL), share)
        alone = np.flatnonzero((labels == FAKE) & ~in_pairs)
        self.fakes = _Drawn(alone if len(alone) else np.flatnonzero(labels == FAKE), share)
        self.paired = _Drawn(np.flatnonzero((labels == REAL) & in_pairs), share)
        order = np.flatnonzero((labels == FAKE) & in_pairs)
        self.made_of = {group: order[groups[order] == group] for group in np.unique(groups[order])}
        self.groups = groups

    def step(self, number: int) -> list[Look]:
        rng = np.random.default_rng([self.seed, number])
        pairs = _PAIRS if len(self.paired) else 0
        looks = []
        for real in self.paired.draw(pairs, rng) if pairs else ():
            look = _look(real, rng)
            looks += [look, Look(int(rng.choice(self.made_of[self.groups[real]])), look.seed, look.window, look.region)]
        each = BATCH // 2 - pairs
        return looks + [_look(row, rng) for kind in (self.reals, self.fakes) for row in kind.draw(each, rng)]


class _Drawn:
    def __init__(self, rows: np.ndarray, share: np.ndarray):
        self.rows = rows
        self.share = share[rows] / share[rows].sum() if len(rows) else share[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        return rng.choice(self.rows, count, p=self.share).tolist()


def _look(row: int, rng: np.random.Generator) -> Look:
    degraded, seed = rng.random() < _DEGRADED, int(rng.integers(2**31))
    place = (float(rng.random()), float(rng.random()))
    return Look(row, seed if degraded else None, place, float(rng.random()))


def see(look: Look, path: str, crop: str) -> Image:
    """The region that the step sees, RGB; raises TrainingError when the picture, embedded before, can no longer be read."""
    try:
        picture = open_picture(read_file(path)).image
        if look.seed is not None:
            picture = degrade.augment(picture, look.seed)
        try:
            regions = crops.load(crop)(picture)
        except UnusablePicture:  # a face that is no longer found in the degraded picture
            regions = crops.load(crop)(open_picture(read_file(path)).image)
    except (OSError, UnusablePicture) as error:
        raise TrainingError(f"{path} was embedded, but can't be read again ({error}). Run the same command again.") from error
    return regions[int(look.region * len(regions))].picture


def see_window(look: Look, path: str, crop: str) -> np.ndarray:
    """(3, 224, 224) uint8, one window of that region; raises TrainingError as `see` does."""
    return np.asarray(window(see(look, path, crop), *look.window)).transpose(2, 0, 1)
