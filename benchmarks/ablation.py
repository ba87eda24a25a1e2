"""What each part of the default's training gives: encoder, pairs, degraded copies and the weights of sources, changed one at a time.

    python benchmarks/ablation.py --table corners=corners.parquet,pairs.parquet --table whole=whole.parquet

The first table (or tables, taken together) is what the default learns from, the corners: the training side alone, with degraded copies
and with pairs (a real picture and its reconstruction in one group). Of it, each part is changed in turn; of any other table (another
encoder on the same pictures) the full recipe is measured. Of numbers by clip_vit_b16_looks the first look alone is taken; what the
second gives is the question of looks.py. What is left out is left out of learning only, so all rows are tested on the same pictures, by
the folds of `evaluate.py --protocol` and `train`:

    unseen generator     mean AUROC over generators, each left out
    both unseen          the same over pairs of a generator and a real source, both left out
    matched              reconstructions against their originals, groups kept apart
    matched, source too  the same, the originals' whole source left out

So that all rows take minutes, each table is standardised and turned to its first 1,024 principal components once, on all its rows, by no
label; the head is the default's logistic regression on these. Figures are therefore near `evaluate.py --protocol`'s, not equal to them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from _input import in_words

from deepfake_detector import split, table
from deepfake_detector.heads import two_looks
from deepfake_detector.metrics import auroc
from deepfake_detector.protocols import PROTOCOLS
from deepfake_detector.types import FAKE, VIEW, Embeddings

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

DIMENSIONS = 1024
PENALTY = 1e-3  # C of models/default
FEW = 4  # of so many pairs one is kept
COLUMNS = ("unseen generator", "both unseen", "matched", "matched, source too")


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", required=True, metavar="NAME=PATH[,PATH]", help="the default's first (repeatable)")
    arguments = parser.parse_args()
    given = [one.partition("=") for one in arguments.table]
    if not all(name and path for name, _, path in given):
        parser.error(f"--table is NAME=PATH or NAME=PATH,PATH. Received: {', '.join(arguments.table)}.")
    head = "| training | rows learnt from | " + " | ".join(COLUMNS) + " | seconds |\n|---|---|" + "---|" * (len(COLUMNS) + 1) + "\n"
    for i, (name, _, path) in enumerate(given):
        data = reduced(table.read_all(path.split(",")))
        for words, fit in recipes(data) if i == 0 else recipes(data)[:1]:
            began = time.perf_counter()
            figures = measure(data, fit)
            numbers = " | ".join(f"{figures[column]:.3f}" for column in COLUMNS)
            print(f"{head}| {name}, {words} | {fit.use.sum()} | {numbers} | {time.perf_counter() - began:.0f} |", flush=True)
            head = ""  # which came with the first row: until then what was given may be refused


def reduced(data: Embeddings) -> Embeddings:
    """The same rows as at most so many principal components of the standardised numbers, (n, DIMENSIONS) float32."""
    X = np.asarray(data.X)
    X = two_looks.first(X) if data.spec.name == two_looks.ENCODER else X
    X = reduction(X.shape).fit_transform(X)
    return Embeddings(data.rows.reset_index(drop=True), X.astype(np.float32), replace(data.spec, dim=X.shape[1]), data.crop)


def reduction(shape: tuple[int, int]) -> Pipeline:
    """What turns numbers of this shape to at most so many components, not fitted yet."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), PCA(min(DIMENSIONS, *shape), svd_solver="randomized", random_state=0, iterated_power=1))


Look = Callable[[np.ndarray], np.ndarray]


def as_they_are(X: np.ndarray) -> np.ndarray:
    return X


@dataclass(frozen=True)
class Fit:
    """Trains on those of the given rows that may be learnt from, scores others: what a protocol asks for.

    `learnt` and `asked` say what of each row's numbers.
    """

    use: np.ndarray  # (n,) bool
    weights: Callable[[pd.DataFrame], np.ndarray] = split.weights
    seed: int = 0
    learnt: Look = as_they_are
    asked: Look = as_they_are
    not_left_out: set[str] = field(default_factory=set)  # which protocols fill

    def __call__(self, data: Embeddings, learn: np.ndarray, score: np.ndarray) -> np.ndarray:
        return self.p_fake(self.head(data, learn), data.X[score])

    def p_fake(self, head: LogisticRegression, X: np.ndarray) -> np.ndarray:
        return head.predict_proba(self.asked(X))[:, 1]

    def head(self, data: Embeddings, learn: np.ndarray) -> LogisticRegression:
        from sklearn.linear_model import LogisticRegression

        learn = learn[self.use[learn]]
        rows = data.rows.iloc[learn]
        head = LogisticRegression(C=PENALTY, max_iter=2000, random_state=self.seed)
        return head.fit(self.learnt(data.X[learn]), rows["label"], self.weights(rows))


def recipes(data: Embeddings) -> list[tuple[str, Fit]]:
    """The full recipe first, then each part that the table has changed."""
    labels, groups = data.rows["label"].to_numpy(), split.whole_groups(data.rows)
    pictures = (data.rows["split"] != VIEW).to_numpy()
    remade = split.paired(labels, groups) & (labels == FAKE)
    few = np.random.default_rng(0).permutation(groups.max() + 1) % FEW == 0  # by group, so that copies go with their picture
    everything = np.ones(len(data), bool)
    found = [("all of it", Fit(everything))]
    if not pictures.all():
        found += [("without degraded copies", Fit(pictures)), ("copies counting as much as pictures", Fit(everything, copies_whole))]
    if remade.any() and len(set(split.kin(data.rows)[(labels == FAKE) & ~remade])) > 1:  # so that one can still be left out
        found += [(f"one of {FEW} pairs", Fit(~remade | few[groups])), ("without pairs", Fit(~remade))]
        generator = data.rows["generator"].to_numpy()
        kinds = sorted(set(generator[remade]))
        found += [(f"without {kind}", Fit(~remade | (generator != kind))) for kind in kinds if len(kinds) > 1]
    return [
        *found,
        ("sources weighing the same", Fit(everything, same)),
        ("sources weighing as many as they are", Fit(everything, as_many)),
    ]


def copies_whole(rows: pd.DataFrame) -> np.ndarray:
    """(n,) weights as in training, but for degraded copies."""
    return split.balanced(rows["label"].to_numpy(), rows["generator"].to_numpy())


def same(rows: pd.DataFrame) -> np.ndarray:
    """(n,) weights: classes the same, and their sources too."""
    amounts = pd.Series(split.amounts(rows), rows.index)
    return _shares(rows, amounts / amounts.groupby([rows["label"], rows["generator"]]).transform("sum"))


def as_many(rows: pd.DataFrame) -> np.ndarray:
    """(n,) weights: classes the same, each picture of a class as any other."""
    return _shares(rows, pd.Series(split.amounts(rows), rows.index))


def _shares(rows: pd.DataFrame, share: pd.Series) -> np.ndarray:
    return (share / share.groupby(rows["label"]).transform("sum") / rows["label"].nunique() * len(rows)).to_numpy()


def measure(data: Embeddings, fit: Fit) -> dict[str, float]:
    """The four figures, each a mean AUROC."""

    def mean(protocol: str) -> float:
        return float(np.mean([row["auroc"] for row in PROTOCOLS[protocol](data, fit)]))

    labels, groups = data.rows["label"].to_numpy(), split.whole_groups(data.rows)
    scorable = split.paired(labels, groups) & (data.rows["split"] != VIEW).to_numpy()
    without_source = []
    for learn, reals in split.real_source_folds(data.rows):
        score = np.flatnonzero(scorable & np.isin(groups, groups[reals]))
        if len(score):
            without_source.append(auroc(labels[score], fit(data, learn, score)))
    figures = (mean("leave-one-generator-out"), mean("leave-both-out"), mean("matched"), float(np.mean(without_source or np.nan)))
    return dict(zip(COLUMNS, figures, strict=True))


if __name__ == "__main__":
    main()
