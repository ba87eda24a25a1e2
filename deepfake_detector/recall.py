"""What a linear model keeps of its training pictures to learn more sources and generators by: where each lies in a few directions.

Continual learning calls this rehearsal; the recall that is a figure has nothing to do with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from deepfake_detector import split
from deepfake_detector.errors import BundleError, kind_and_words
from deepfake_detector.types import VIEW, Embeddings

if TYPE_CHECKING:
    from deepfake_detector.heads.logistic import Head

FILE = "recall.npz"
DIRECTIONS = 64  # of the greatest variance, beside the head's own and each source's: 2.6 MB in models/default
MOST_ROWS = 10_000  # kept
_LARGEST = float(np.finfo(np.float16).max)
_OF_ONE_GROUP = 200  # rows: the frames of a long clip would else leave no room for others
_FOR_VARIANCE = 2_000  # rows are enough for its greatest directions


@dataclass(frozen=True)
class Recall:
    """`basis` (dim, k) has orthonormal columns, in the head's standardised numbers; `X` (n, k) are the head's lessons in it.

    `rows` has label, generator, group, split, sha256 and look of each; `learnt_from` is how many there were.
    """

    basis: np.ndarray
    X: np.ndarray
    rows: pd.DataFrame
    learnt_from: int

    def save(self, folder: Path) -> None:
        names, places = np.unique(self.rows["generator"].to_numpy().astype(str), return_inverse=True)
        parts = {
            "basis": self.basis.astype(np.float16),
            "X": np.clip(self.X, -_LARGEST, _LARGEST).astype(np.float16),
            "label": self.rows["label"].to_numpy().astype(np.uint8),
            "names": names,
            "place": places.astype(np.uint16),
            "group": split.whole_groups(self.rows).astype(np.uint32),
            "view": (self.rows["split"] == VIEW).to_numpy(),
            "look": self.rows["look"].to_numpy().astype(np.uint8),
            "learnt_from": np.array(self.learnt_from),
        }
        np.savez_compressed(folder / FILE, **parts)

    @classmethod
    def load(cls, file: Path) -> Recall:
        """Raises BundleError for a damaged file."""
        try:
            with file.open("rb") as content, np.load(content, allow_pickle=False) as parts:
                group = parts["group"].astype(str)
                rows = pd.DataFrame(
                    {
                        "label": parts["label"].astype(np.int64),
                        "generator": parts["names"][parts["place"]].astype(object),
                        "group": group,
                        "split": np.where(parts["view"], VIEW, "train"),
                        "sha256": np.char.add("recalled ", group),  # equal pictures are in one group already
                        "look": parts["look"].astype(np.int64),
                    }
                )
                basis, X = (parts[name].astype(np.float32) for name in ("basis", "X"))
                if X.shape != (len(rows), basis.shape[1]) or not (np.isfinite(X).all() and np.isfinite(basis).all()):
                    raise ValueError(f"{X.shape} numbers for {len(rows)} rows and {basis.shape[1]} directions, or some that are none")
                return cls(basis, X, rows, int(parts["learnt_from"]))
        except Exception as error:  # zip, zlib and numpy each raise their own
            raise BundleError(f"{file} is damaged, or of another version ({kind_and_words(error)}). Train the model again.") from error

    def joined(self, X: np.ndarray, rows: pd.DataFrame) -> Recall:
        """With more pictures, at these coordinates."""
        return Recall(
            self.basis, np.concatenate([self.X, X]), pd.concat([self.rows, rows], ignore_index=True), self.learnt_from + len(rows)
        )


def remember(head: Head, data: Embeddings, seed: int) -> Recall:
    """Choose the directions and keep the rows of `data`, which the head has learnt from."""
    from sklearn.decomposition import PCA

    kept = _some_groups(split.whole_groups(data.rows), MOST_ROWS, seed)
    rows = data.rows.iloc[kept][["label", "generator", "group", "split", "sha256"]].reset_index(drop=True)
    X, rows = head.lessons(data.X[kept], rows)
    few = np.random.default_rng(seed).permutation(len(X))[:_FOR_VARIANCE]
    count = min(DIRECTIONS, X.shape[1], len(few) - 1)
    places = [X[(rows["generator"] == name).to_numpy()].mean(axis=0) for name in sorted(set(rows["generator"]))]
    variance = PCA(count, svd_solver="randomized", random_state=seed).fit(X[few]).components_
    basis, _ = np.linalg.qr(np.vstack([head.directions, *places, variance]).T)
    return Recall(basis.astype(np.float32), (X @ basis).astype(np.float32), rows, round(len(rows) * len(data) / len(kept)))


def _some_groups(groups: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Indices of all rows, or of at most so many: groups by chance, whole but for very large ones."""
    if len(groups) <= most:
        return np.arange(len(groups))
    turn = pd.Series(groups).groupby(groups).cumcount().to_numpy()
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    sizes = np.minimum(np.bincount(groups, minlength=order.max() + 1), _OF_ONE_GROUP)[order]
    return np.flatnonzero(np.isin(groups, order[np.cumsum(sizes) <= most]) & (turn < _OF_ONE_GROUP))
