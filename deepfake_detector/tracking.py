"""From the boxes of a clip's frames, one frame after the other, to tracks: boxes that overlap are the same person.

It is the overlap alone that is looked at, as in SORT (Bewley et al., ICIP 2016) without its motion model: frames are taken
seconds apart, so there is no motion to extrapolate. Where a cut puts somebody else in the same place, the track goes on.
"""

from __future__ import annotations

import numpy as np

MIN_OVERLAP = 0.2  # intersection over union of a person's boxes in two frames (see benchmarks/tracking.py)
PATIENCE = 4  # frames without the person after which a track has ended
NOBODY = np.empty((0, 4), np.int32)  # the boxes of a frame without a person


class Tracker:
    """Gives the boxes of one clip the numbers of their tracks: 0, 1, … in the order in which persons appear."""

    def __init__(self):
        self._boxes: dict[int, np.ndarray] = {}  # the latest of each track that has not ended
        self._missed: dict[int, int] = {}
        self._next = 0

    def update(self, boxes: np.ndarray) -> list[int]:
        """(n, 4) boxes of the next frame as (left, top, right, bottom) → their n tracks; also to be called for a frame with none."""
        from scipy.optimize import linear_sum_assignment

        open_tracks = list(self._boxes)
        tracks = [-1] * len(boxes)
        if open_tracks and len(boxes):
            overlaps = overlap(np.stack([self._boxes[track] for track in open_tracks]), boxes)
            # What overlaps too little counts nothing, lest two such pairs outweigh one that is right.
            for one, other in zip(*linear_sum_assignment(np.where(overlaps < MIN_OVERLAP, 0, overlaps), maximize=True), strict=True):
                if overlaps[one, other] >= MIN_OVERLAP:
                    tracks[other] = open_tracks[one]
        for track in set(open_tracks) - set(tracks):
            self._missed[track] += 1
            if self._missed[track] >= PATIENCE:
                del self._boxes[track], self._missed[track]
        for i, box in enumerate(boxes):
            if tracks[i] < 0:
                tracks[i], self._next = self._next, self._next + 1
            self._boxes[tracks[i]], self._missed[tracks[i]] = np.asarray(box, np.float64), 0
        return tracks


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 4) and (m, 4) boxes → (n, m) intersection over union."""
    corners = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(corners[1] - corners[0], 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float64) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None, :] - shared)
