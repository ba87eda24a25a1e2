"""What the two regressions of two_looks that learn the photographs painted anew give, and each constant that they are built with.

    python benchmarks/apart.py TABLE [TABLE ...] [--ask TABLE ...]

The tables are of the training side, by clip_vit_b16_looks, some of them of `--dataset repainted`. Figures are those of ablation.py, by
numbers reduced as in looks.py. `--ask` are labelled pictures from elsewhere, and faces by gan_faces.py, ranked by heads that learnt
from all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from _input import in_words
from ablation import PENALTY, Fit
from looks import say, tables
from sklearn.preprocessing import StandardScaler

from deepfake_detector import families
from deepfake_detector.errors import TrainingError
from deepfake_detector.heads import two_looks
from deepfake_detector.types import Embeddings
from deepfake_detector.vectors import Vectors

# What is told of a change, and the constants of two_looks that it changes.
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {"C_APART": two_looks.C_APART},
    "C of the one on both looks 0.003": {"C_APART": 3e-3},
    "C of the one on both looks 1": {"C_APART": 1.0},
    "asked about all three windows alike": {"SHARES": (2 / 3, 2 / 3, 2 / 3)},
    "their intercepts free": {"INTERCEPT_SCALINGS": (100.0, 100.0)},
    "their intercepts at zero": {"INTERCEPT_SCALINGS": (0.01, 0.01)},
    "no reserves": {"RESERVES": (0.0, 0.0)},
    "reserves 0.3": {"RESERVES": (0.3, 0.3)},
    "reserves 0.8": {"RESERVES": (0.8, 0.8)},
}
# Which of the three regressions are asked.
PARTS = {"without the one on corners alone": [0, 2], "without the one on both looks": [0, 1]}


@in_words
def main() -> None:
    data, others = tables(__doc__)
    painted = data.rows["generator"].map(families.is_repainted).to_numpy(bool)
    if not painted.any():
        raise TrainingError("No table has photographs painted anew; `extract_embeddings.py --dataset repainted` makes them.")
    two_looks.standardiser = centred
    fits = {words: Apart(np.ones(len(data), bool), changed=changed) for words, changed in CHANGES.items()}
    none = replace(fits["as it is"], use=~painted)
    parts = {words: replace(fits["as it is"], kept=kept) for words, kept in PARTS.items()}
    for words, fit in {"none learnt apart": none, **parts, **fits}.items():
        say(words, fit, data, others)


@dataclass(frozen=True)
class Apart(Fit):
    """Trains all regressions."""

    changed: dict[str, Any] = field(default_factory=dict)
    kept: list[int] = field(default_factory=lambda: [0, 1, 2])

    def p_fake(self, head: two_looks.Head, X: np.ndarray) -> np.ndarray:
        return head.p_fake(X)

    def head(self, data: Embeddings, learn: np.ndarray) -> two_looks.Head:
        learn = learn[self.use[learn]]
        with patch.multiple(two_looks, **self.changed):
            head = two_looks.Head(self.seed, PENALTY).learn(data.X[learn], data.rows.iloc[learn])
        if len(head.experts_) > 1:
            head.experts_ = [head.experts_[i] for i in self.kept]
            head.shares_, head.placed_ = head.shares_[self.kept], head.placed_[:, self.kept]
        return head


def centred(X: Vectors, look: Callable[[np.ndarray], np.ndarray]) -> StandardScaler:
    """Components keep their sizes, as the numbers that they are made of were standardised, but not their middle.

    That was of all rows: seen from there, photographs of a source that is left out lie away from those that are learnt from.
    """
    return StandardScaler(with_std=False).fit(look(np.asarray(X)))


if __name__ == "__main__":
    main()
