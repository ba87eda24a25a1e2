"""What the second look of clip_vit_b16_looks gives: one head asked about the first, the second or both, and one that learnt from both.

    python benchmarks/looks.py TABLE [TABLE ...] [--ask TABLE ...]

The tables are of the training side, by clip_vit_b16_looks. Figures are those of ablation.py, by numbers reduced as there: the
components are of the first look, and the second is turned to them. `--ask` are labelled pictures from elsewhere, ranked by heads that
learnt from all rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from ablation import COLUMNS, DIMENSIONS, PENALTY, measure  # noqa: E402

from deepfake_detector import split, table  # noqa: E402
from deepfake_detector.metrics import auroc  # noqa: E402
from deepfake_detector.types import VIEW, Embeddings  # noqa: E402

Look = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--ask", nargs="+", default=[], metavar="TABLE")
    arguments = parser.parse_args()
    data, *others = reduced(table.read_all(arguments.tables), [table.read(one) for one in arguments.ask])
    print(
        "| head | "
        + " | ".join([*COLUMNS, *(Path(one).stem for one in arguments.ask)])
        + " |\n|---|"
        + "---|" * (len(COLUMNS) + len(others)),
        flush=True,
    )
    everything = np.arange(len(data))
    for words, fit in recipes(data):
        figures = measure(data, fit)
        head = fit.head(data, everything)
        areas = [auroc(one.rows["label"].to_numpy(), head.predict_proba(fit.asked(one.X))[:, 1]) for one in others]
        print(f"| {words} | " + " | ".join(f"{area:.3f}" for area in [*figures.values(), *areas]) + " |", flush=True)


def reduced(data: Embeddings, others: list[Embeddings]) -> list[Embeddings]:
    """All tables with both looks in the first one's principal components of its first look, (n, 2 · DIMENSIONS) float32."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(DIMENSIONS, len(data), data.spec.dim // 2)
    turn = make_pipeline(StandardScaler(), PCA(components, svd_solver="randomized", random_state=0, iterated_power=1))
    turn.fit(first(np.asarray(data.X)))
    turned = [np.hstack([turn.transform(look(np.asarray(one.X))) for look in (first, second)]) for one in (data, *others)]
    return [Embeddings(one.rows, X.astype(np.float32), one.spec, one.crop) for one, X in zip((data, *others), turned, strict=True)]


def first(X: np.ndarray) -> np.ndarray:
    return X[:, : X.shape[1] // 2]


def second(X: np.ndarray) -> np.ndarray:
    return X[:, X.shape[1] // 2 :]


def both(X: np.ndarray) -> np.ndarray:
    """As heads/two_looks.py asks."""
    return (2 * first(X) + second(X)) / 3


@dataclass(frozen=True)
class Fit:
    """Trains on one look, scores by one: what a protocol asks for."""

    learnt: Look
    asked: Look
    use: np.ndarray  # (n,) bool, the rows that may be learnt from
    seed: int = 0

    def head(self, data: Embeddings, learn: np.ndarray):
        from sklearn.linear_model import LogisticRegression

        learn = learn[self.use[learn]]
        rows = data.rows.iloc[learn]
        head = LogisticRegression(C=PENALTY, max_iter=2000, random_state=self.seed)
        return head.fit(self.learnt(data.X[learn]), rows["label"], split.weights(rows))

    def __call__(self, data: Embeddings, learn: np.ndarray, score: np.ndarray) -> np.ndarray:
        return self.head(data, learn).predict_proba(self.asked(data.X[score]))[:, 1]


def recipes(data: Embeddings) -> list[tuple[str, Fit]]:
    everything, pictures = np.ones(len(data), bool), (data.rows["split"] != VIEW).to_numpy()
    found = [
        ("learnt from the first look, asked about the first", Fit(first, first, everything)),
        ("asked about the second", Fit(first, second, everything)),
        ("asked about both (two_looks)", Fit(first, both, everything)),
    ]
    if not pictures.all():
        found.append(("asked about both, without degraded copies", Fit(first, both, pictures)))
    return [*found, ("learnt from both, without degraded copies, asked about both", Fit(both, both, pictures))]


if __name__ == "__main__":
    main()
