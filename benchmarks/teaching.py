"""What a few pictures from elsewhere teach a model: some real and fake pictures of a table are shown to it, and it is asked about the rest.

    python extract_embeddings.py WILD/small --encoder clip_vit_b16_looks --crop unframed --out embeddings/wild.parquet
    python benchmarks/teaching.py embeddings/wild.parquet [--model models/default] [--draws 50]

The table is of pictures that the model has not learnt from, embedded as it takes them (those of wild.py, or your own). No group is both
shown and asked about. Means over the draws of what is shown, with the lowest and highest; thresholds stay the model's own, as for a user.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _input import at_least_one, in_words
from adapting import by_chance

from deepfake_detector import bundle, split, table
from deepfake_detector.adapt import adapt
from deepfake_detector.detect import DEFAULT_MODEL
from deepfake_detector.metrics import auroc
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Embeddings

SHOWN = ((0, 0), (10, 0), (30, 0), (0, 10), (0, 30), (10, 10), (30, 30))  # real and fake pictures


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--draws", type=at_least_one, default=50, help="how often the shown pictures are drawn anew (default: %(default)s)")
    arguments = parser.parse_args()
    model, data = bundle.load(arguments.model), table.read_all([arguments.table])
    model.check(data.spec, data.crop, arguments.table)
    label = data.rows["label"].to_numpy()
    data.rows["generator"] = [f"shown {LABEL_NAMES[one]}" for one in label]  # one place each, as a user shows them
    most = max(max(pair) for pair in SHOWN)
    if min(np.bincount(label, minlength=2)) <= most:
        parser.error(f"{arguments.table} should have more than {most} pictures of each class. Received: {np.bincount(label, minlength=2)}.")
    print(f"{'shown real, fake':20}{'AUROC':>24}{'reals called fake':>24}{'fakes called fake':>24}{'fakes called real':>24}")
    for shown in SHOWN:
        found = np.array([asked_about_the_rest(model, data, label, shown, most, draw) for draw in range(arguments.draws)])
        columns = zip(found.mean(0), found.min(0), found.max(0), strict=True)
        print(
            f"{'{}, {}'.format(*shown):20}" + "".join(f"{f'{mean:.3f} ({low:.3f}-{high:.3f})':>24}" for mean, low, high in columns),
            flush=True,
        )


def asked_about_the_rest(
    model: bundle.Bundle, data: Embeddings, label: np.ndarray, shown: tuple[int, int], most: int, draw: int
) -> tuple[float, ...]:
    """AUROC, and the shares of reals called fake, fakes called fake and fakes called real, on what is never shown in this draw."""
    groups = split.whole_groups(data.rows)
    of_class = {one: by_chance(label == one, groups, draw) for one in (REAL, FAKE)}
    given = np.concatenate([of_class[one][:n] for one, n in zip((REAL, FAKE), shown, strict=True)])
    shown_at_most = np.concatenate([rows[:most] for rows in of_class.values()])
    rest = np.flatnonzero(~np.isin(groups, groups[shown_at_most]))  # the same whatever is shown
    answering = adapt(model, data.take(given), "taught") if len(given) else model
    p_fake, fake = answering.p_fake_of(data.take(rest)), label[rest] == FAKE
    answers = np.array([answering.thresholds.answer(p) for p in p_fake])
    return auroc(label[rest], p_fake), *((answers[of] == said).mean() for of, said in ((~fake, "fake"), (fake, "fake"), (fake, "real")))


if __name__ == "__main__":
    main()
