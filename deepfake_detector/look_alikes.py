"""Pictures that may be the same as others that are learnt from, saved again: files that differ, and embeddings that hardly do."""

from __future__ import annotations

import numpy as np

from deepfake_detector.vectors import Vectors, batches, unit

# Cosine, as seen from the mean of all, from which two pictures may be one, saved twice. Of 560 pictures of ten sources none was nearer to
# another than 0.88 by the embeddings of either shipped model of whole pictures; copies saved as JPEG of quality 90 lay at 0.98 and above.
ALIKE = 0.95
_TOO_MANY = 0.01  # of all pairs, if as near: an encoder that was tuned to real and fake sees one direction a class, and no single pictures
_FEWEST_NUMBERS = 256  # of an embedding, that it tells such a thing: of a few colours pictures are alike by chance
_ASKED = 1000


def look_alikes(asked: Vectors, among: Vectors) -> tuple[int, list[tuple[int, int]]]:
    """Of (m, dim) and (n, dim) how many of the former were looked at, and which look just like one of the latter, as (row, row).

    Of many some are looked at, from all over; none where embeddings can't tell: they have too few numbers, or too much is alike to them.
    """
    if asked.shape[1] < _FEWEST_NUMBERS:
        return 0, []
    rows = np.linspace(0, len(asked) - 1, min(_ASKED, len(asked))).astype(int)
    mean = sum(X.sum(axis=0, dtype=np.float64) for _, X in batches(among)) / len(among)
    wanted = unit(np.asarray(asked[rows], np.float32) - mean)
    nearest, cosine, alike = np.zeros(len(rows), int), np.full(len(rows), -1.0), 0
    for which, X in batches(among):
        cosines = wanted @ unit(X - mean).T
        alike += int((cosines >= ALIKE).sum())
        at = cosines.argmax(axis=1)
        best = cosines[np.arange(len(rows)), at]
        nearest, cosine = np.where(best > cosine, which.start + at, nearest), np.maximum(best, cosine)
    if alike > _TOO_MANY * len(rows) * len(among):
        return 0, []
    return len(rows), [(int(row), int(other)) for row, other, c in zip(rows, nearest, cosine, strict=True) if c >= ALIKE]
