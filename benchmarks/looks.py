"""What the second look of clip_vit_b16_looks gives: one head asked about the first, the second or both, and one that learnt from both.

    python benchmarks/looks.py TABLE [TABLE ...] [--ask TABLE ...]

The tables are of the training side, by clip_vit_b16_looks. Figures are those of ablation.py, by numbers reduced as there: the
components are of the first look, and the second is turned to them. `--ask` are labelled pictures from elsewhere, ranked by heads that
learnt from all rows. The last row shows what it would cost to rank generators that are left out better still: there half of the answer
is by a head that learnt no remade photographs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _input import in_words
from ablation import COLUMNS, Fit, measure, reduction

from deepfake_detector import table
from deepfake_detector.errors import TableError
from deepfake_detector.families import is_remade
from deepfake_detector.heads.two_looks import SHARES, first, second
from deepfake_detector.metrics import auroc
from deepfake_detector.train import check_trainable
from deepfake_detector.types import FAKE, VIEW, Embeddings

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


@in_words
def main() -> None:
    data, others = tables(__doc__)
    for words, fit in recipes(data):
        say(words, fit, data, others)


def tables(description: str) -> tuple[Embeddings, list[Embeddings]]:
    """What the command line names to learn from and to ask about, reduced; prints the columns of what follows."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--ask", nargs="+", default=[], metavar="TABLE")
    arguments = parser.parse_args()
    data = table.read_all(arguments.tables)
    check_trainable(data, "two_looks")
    others = [table.read(one) for one in arguments.ask]
    for name, one in zip(arguments.ask, others, strict=True):
        if one.spec != data.spec:
            raise TableError(f"{name} should be by the encoder of the other tables ({data.spec.differences(one.spec)}). Extract again.")
    columns = [*COLUMNS, *(Path(one).stem for one in arguments.ask)]
    print("| head | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns), flush=True)
    data, *others = reduced(data, others)
    return data, others


def say(words: str, fit: Fit, data: Embeddings, others: list[Embeddings]) -> None:
    """Print what came of one recipe."""
    figures = measure(data, fit)
    head = fit.head(data, np.arange(len(data)))
    areas = [auroc(one.rows["label"].to_numpy(), fit.p_fake(head, one.X)) for one in others]
    print(f"| {words} | " + " | ".join(f"{area:.3f}" for area in [*figures.values(), *areas]) + " |", flush=True)


def reduced(data: Embeddings, others: list[Embeddings]) -> list[Embeddings]:
    """All tables with both looks in the first one's principal components of its first look, (n, 2 · DIMENSIONS) float32."""
    learnt = first(np.asarray(data.X))
    turn = reduction(learnt.shape).fit(learnt)
    turned = [np.hstack([turn.transform(look(np.asarray(one.X))) for look in (first, second)]) for one in (data, *others)]
    return [Embeddings(one.rows, X.astype(np.float32), one.spec, one.crop) for one, X in zip((data, *others), turned, strict=True)]


def recipes(data: Embeddings) -> list[tuple[str, Fit]]:
    every, pictures = np.ones(len(data), bool), (data.rows["split"] != VIEW).to_numpy()
    found = [
        ("learnt from the first look, asked about the first", Fit(every, learnt=first, asked=first)),
        ("asked about the second", Fit(every, learnt=first, asked=second)),
        ("asked about both (two_looks, the first of its regressions)", Fit(every, learnt=first, asked=both)),
    ]
    if not pictures.all():
        found.append(("asked about both, without degraded copies", Fit(pictures, learnt=first, asked=both)))
    remade = (data.rows["generator"].map(is_remade) & (data.rows["label"] == FAKE)).to_numpy(bool)
    return [
        *found,
        ("learnt from both, without degraded copies, asked about both", Fit(pictures, learnt=both, asked=both)),
        ("asked about both, half of it by one that learnt no remade photographs", Halves(every, learnt=first, asked=both, without=remade)),
    ]


@dataclass(frozen=True)
class Halves(Fit):
    """The mean of two heads' log-odds, one of which learnt `without` these rows (n,) bool."""

    without: np.ndarray = field(kw_only=True)

    def head(self, data: Embeddings, learn: np.ndarray) -> LogisticRegression:
        whole, part = super().head(data, learn), super().head(data, learn[~self.without[learn]])
        whole.coef_, whole.intercept_ = (whole.coef_ + part.coef_) / 2, (whole.intercept_ + part.intercept_) / 2
        return whole


def both(X: np.ndarray) -> np.ndarray:
    """What the first regression is asked about."""
    return SHARES[0] * first(X) + (1 - SHARES[0]) * second(X)


if __name__ == "__main__":
    main()
