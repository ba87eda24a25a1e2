"""What ten, thirty or a hundred photographs from a new source are worth: AUROC with its pictures and a generator both unseen.

    python benchmarks/adapting.py TABLE [TABLE ...] [--C 0.001]

For each source of real pictures and each generator a logistic head is trained without both; then `adapt` shows it some of the
source's photographs, drawn by chance, and it ranks the generator's fakes among others of the source. "whole" is the head trained
anew with the thirty, which needs the training table. "pairs" are other photographs of the source against fakes remade of them: a
head that had only learnt to know the source by sight would not tell these better.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from deepfake_detector import split, table  # noqa: E402
from deepfake_detector.adapt import adapt  # noqa: E402
from deepfake_detector.bundle import Bundle  # noqa: E402
from deepfake_detector.calibration import Calibration  # noqa: E402
from deepfake_detector.families import is_remade  # noqa: E402
from deepfake_detector.heads.logistic import Head  # noqa: E402
from deepfake_detector.metrics import auroc  # noqa: E402
from deepfake_detector.recall import remember  # noqa: E402
from deepfake_detector.types import FAKE, REAL, VIEW, Embeddings, Thresholds  # noqa: E402

SHOWN = (10, 30, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--C", type=float, default=1e-3, help="of the head (default: %(default)s, as models/default)")
    arguments = parser.parse_args()
    data = table.read_all(arguments.tables)
    training = data.take(split.train_test(data.rows, 0)[0])
    labels, origin = training.rows["label"].to_numpy(), training.rows["generator"].to_numpy()
    groups, pictures = split.whole_groups(training.rows), (training.rows["split"] != VIEW).to_numpy()
    generators = sorted(name for name in set(origin[labels == FAKE]) if not is_remade(name))
    columns = ["none", *(f"adapt {n}" for n in SHOWN), f"whole {SHOWN[1]}", "pairs none", f"pairs {SHOWN[1]}"]
    print(f"{'real source left out':24}" + "".join(f"{column:>11}" for column in columns), flush=True)
    found = []
    for source in sorted(set(origin[labels == REAL])):
        of_source = np.random.default_rng(0).permutation(np.flatnonzero((origin == source) & (labels == REAL) & pictures))
        shown, asked = of_source[: SHOWN[-1]], of_source[SHOWN[-1] :]
        for generator in generators:
            fakes = np.flatnonzero((origin == generator) & (labels == FAKE) & pictures & ~np.isin(groups, groups[shown]))
            apart = np.isin(groups, groups[np.concatenate([of_source, fakes])])
            learn = np.flatnonzero(~apart & (origin != generator) & (origin != source))
            remade = np.flatnonzero(np.isin(groups, groups[asked]) & (labels == FAKE) & pictures)
            found.append((source, *_areas(training, learn, shown, asked, fakes, remade, arguments.C)))
        rows = np.array([row[1:] for row in found if row[0] == source])
        print(f"{source:24}" + "".join(f"{area:11.3f}" for area in rows.mean(axis=0)), flush=True)
    rows = np.array([row[1:] for row in found])
    for name, figures in (("mean", rows.mean(axis=0)), ("least", rows.min(axis=0))):
        print(f"{name:24}" + "".join(f"{area:11.3f}" for area in figures))


def _areas(
    training: Embeddings, learn: np.ndarray, shown: np.ndarray, asked: np.ndarray, fakes: np.ndarray, remade: np.ndarray, C: float
) -> list[float]:
    def fit(rows: np.ndarray) -> Head:
        part = training.take(rows)
        return Head(C=C).fit(part.X, part.rows["label"].to_numpy(), split.weights(part.rows))

    def area(head: Head, against: np.ndarray) -> float:
        truth = np.repeat([REAL, FAKE], [len(asked), len(against)])
        return auroc(truth, head.p_fake(training.X[np.concatenate([asked, against])]))

    head = fit(learn)
    recall = remember(head, training.take(learn), seed=0)
    manifest = {"training": {"train": {"real": {}}}}
    model = Bundle(
        "m", head, "logistic", training.spec, training.crop, Calibration(1, 0), Thresholds(0.3, 0.7), manifest, remembered=recall
    )
    adapted = [adapt(model, training.take(shown[:n]), "new", "m").bundle.head for n in SHOWN]
    whole = fit(np.concatenate([learn, shown[: SHOWN[1]]]))
    return [*(area(one, fakes) for one in (head, *adapted, whole)), area(head, remade), area(adapted[1], remade)]


if __name__ == "__main__":
    main()
