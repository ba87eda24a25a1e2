"""What ten, thirty or a hundred pictures of something new are worth: AUROC on what a model has not seen, before and after `adapt`.

    python benchmarks/adapting.py TABLE [TABLE ...] [--head two_looks] [--C 0.001] [--draws 5]

For each source of real pictures and each generator a linear head is trained without both; then `adapt` shows it some of the
source's photographs, of the generator's fakes, or of both, drawn by chance, and it ranks others of the generator's fakes among others
of the source. "whole" is the head trained anew with the photographs, which needs the training table. "pairs" are other photographs of
the source against fakes remade of them: a head that had only learnt to know the source by sight would not tell these better. The
last rows leave out the generator alone, and rank among pictures of all sources, a fifth of whose groups are kept apart. Figures
are means over several draws of what is shown and asked, with the lowest and highest mean of a single draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from _input import at_least_one, in_words

from deepfake_detector import registry, split, table
from deepfake_detector.adapt import adapt
from deepfake_detector.bundle import Bundle
from deepfake_detector.calibration import Calibration
from deepfake_detector.errors import TrainingError
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.metrics import auroc
from deepfake_detector.recall import remember
from deepfake_detector.train import check_trainable
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Embeddings, Thresholds

REALS, FAKES, BOTH = (10, 30, 100), (10, 30), 30
COLUMNS = [
    "none",
    *(f"real {n}" for n in REALS),
    f"whole {BOTH}",
    *(f"fake {n}" for n in FAKES),
    f"both {BOTH}",
    "pairs none",
    f"pairs {BOTH}",
]


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--draws", type=at_least_one, default=5, help="how often the shown pictures are drawn anew (default: %(default)s)")
    parser.add_argument("--head", default="two_looks", help="a linear one (default: %(default)s, as models/default)")
    parser.add_argument("--C", type=float, default=1e-3, help="of the head (default: %(default)s, as models/default)")
    arguments = parser.parse_args()
    data = table.read_all(arguments.tables)
    check_trainable(data, arguments.head)
    if not registry.load("heads", arguments.head).Head.teachable:
        parser.error(f"--head should be a linear one, which can be taught more, such as two_looks or logistic. Received: {arguments.head}.")
    training = data.take(split.train_test(data.rows, 0)[0])
    check_enough(training.rows)
    learning = Learning(training, arguments.head, arguments.C)

    print(f"{'real source left out':28}" + "".join(f"{column:>11}" for column in COLUMNS), flush=True)
    found = [one for draw in range(arguments.draws) for one in both_left_out(training, learning, draw)]
    for source in sorted({source for source, _, _ in found}):
        say(source, [areas for name, _, areas in found if name == source])
    say_means([(draw, areas) for _, draw, areas in found])

    print(f"\n{'generator left out':28}{'none':>11}" + "".join(f"{f'fake {n}':>11}" for n in FAKES), flush=True)
    found = [one for draw in range(arguments.draws) for one in generator_left_out(training, learning, draw)]
    for generator in sorted({generator for generator, _, _ in found}):
        say(generator, [areas for name, _, areas in found if name == generator])
    say_means([(draw, areas) for _, draw, areas in found])


def check_enough(rows: pd.DataFrame) -> None:
    """Raise TrainingError unless some of each source and generator can be shown, others asked about, and what is remade told from these."""
    labels, origin, groups = rows["label"].to_numpy(), rows["generator"].to_numpy(), split.whole_groups(rows)
    pictures, sources = split.in_their_own_right(rows), sorted(set(origin[labels == REAL]))
    for label, names, most in ((REAL, sources, max(REALS)), (FAKE, split.generators_to_leave_out(rows), max(FAKES))):
        counts = {name: np.sum(pictures & (labels == label) & (origin == name)) for name in names}
        if len(names) < 2 or min(counts.values()) <= most:
            raise TrainingError(
                f"Expected more than {most} {LABEL_NAMES[label]} pictures to learn from, of each of two places or more. Received: "
                f"{', '.join(f'{count} of {name}' for name, count in counts.items())}. Add some."
            )
    unpaired = sorted(set(sources) - set(origin[split.paired(labels, groups) & (labels == REAL)]))
    if unpaired:
        raise TrainingError(f"Expected fakes remade of photographs of each source, in their groups. None are of {', '.join(unpaired)}.")


def both_left_out(training: Embeddings, learning: Learning, draw: int) -> Iterator[tuple[str, int, list[float]]]:
    """(source, draw, areas of COLUMNS) for each source of real pictures and each generator."""
    labels, origin, groups, pictures = columns(training)
    for source in sorted(set(origin[labels == REAL])):
        reals = by_chance((origin == source) & (labels == REAL) & pictures, groups, draw)
        for generator in split.generators_to_leave_out(training.rows):
            new = (origin == generator) & (labels == FAKE)
            fakes = by_chance(new & pictures & ~np.isin(groups, groups[reals]), groups, draw)
            learn = (
                ~split.left_out_with(training.rows, FAKE, generator)
                & (origin != source)
                & ~np.isin(groups, groups[np.concatenate([reals, fakes])])
            )
            remade = np.flatnonzero(np.isin(groups, groups[reals[max(REALS) :]]) & (labels == FAKE) & pictures)
            yield source, draw, learning.both_left_out(np.flatnonzero(learn), reals, fakes, groups, remade)


def generator_left_out(training: Embeddings, learning: Learning, draw: int) -> Iterator[tuple[str, int, list[float]]]:
    """(generator, draw, areas) for each generator, against a fifth of the groups' real pictures."""
    labels, origin, groups, pictures = columns(training)
    kept = by_chance((labels == REAL) & pictures, groups, draw)
    reals = kept[: len(kept) // 5]
    for generator in split.generators_to_leave_out(training.rows):
        new = (origin == generator) & (labels == FAKE)
        fakes = by_chance(new & pictures, groups, draw)
        learn = ~split.left_out_with(training.rows, FAKE, generator) & ~np.isin(groups, groups[np.concatenate([reals, fakes])])
        yield generator, draw, learning.generator_left_out(np.flatnonzero(learn), reals, fakes, groups)


def columns(training: Embeddings) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(labels, origin, groups, whether a row is a picture in its own right), (n,) each."""
    rows = training.rows
    return rows["label"].to_numpy(), rows["generator"].to_numpy(), split.whole_groups(rows), split.in_their_own_right(rows)


def by_chance(which: np.ndarray, groups: np.ndarray, draw: int) -> np.ndarray:
    """Indices, whole groups after one another, so that few groups are in both of two parts."""
    place = np.random.default_rng(draw).permutation(groups.max() + 1)
    chosen = np.flatnonzero(which)
    return chosen[np.argsort(place[groups[chosen]], kind="stable")]


def say(name: str, rows: list, over=np.mean) -> None:
    print(f"{name:28}" + "".join(f"{area:11.3f}" for area in over(np.array(rows), axis=0)), flush=True)


def say_means(found: list[tuple[int, list[float]]]) -> None:
    """The mean over everything left out, how far the means of single draws lie apart, and the least of all."""
    draws, areas = (np.array(part) for part in zip(*found, strict=True))
    say("mean", areas)
    means = np.array([areas[draws == draw].mean(0) for draw in sorted(set(draws))])
    say("  a draw's mean, lowest", means, np.min)
    say("  a draw's mean, highest", means, np.max)
    say("least", areas, np.min)


class Learning:
    def __init__(self, training: Embeddings, head: str, C: float):
        self.training, self.head, self.C = training, head, C

    def both_left_out(self, learn, reals, fakes, groups, remade) -> list[float]:
        asked_reals, asked_fakes = reals[max(REALS) :], apart(fakes[max(FAKES) :], fakes[: max(FAKES)], groups)
        head = self.fit(learn)
        model = self.model(head, learn)
        adapted = {n: self.shown(model, reals[:n]) for n in REALS}
        others = [
            self.fit(np.concatenate([learn, reals[:BOTH]])),
            *(self.shown(model, fakes[:n]) for n in FAKES),
            self.shown(model, np.concatenate([reals[:BOTH], fakes[:BOTH]])),
        ]
        areas = [self.area(one, asked_reals, asked_fakes) for one in (head, *adapted.values(), *others)]
        return [*areas, self.area(head, asked_reals, remade), self.area(adapted[BOTH], asked_reals, remade)]

    def generator_left_out(self, learn, reals, fakes, groups) -> list[float]:
        asked = apart(fakes[max(FAKES) :], fakes[: max(FAKES)], groups)
        head = self.fit(learn)
        model = self.model(head, learn)
        return [self.area(one, reals, asked) for one in (head, *(self.shown(model, fakes[:n]) for n in FAKES))]

    def fit(self, rows: np.ndarray) -> EmbeddingHead:
        part = self.training.take(rows)
        return registry.load("heads", self.head).Head(C=self.C).learn(part.X, part.rows)

    def model(self, head: EmbeddingHead, learn: np.ndarray) -> Bundle:
        recall = remember(head, self.training.take(learn), seed=0)
        manifest = {"promise": {}, "training": {"train": {name: {} for name in LABEL_NAMES}}}
        spec, crop = self.training.spec, self.training.crop
        return Bundle("m", head, self.head, spec, crop, Calibration(1, 0), Thresholds(0.3, 0.7), manifest, remembered=recall)

    def shown(self, model: Bundle, rows: np.ndarray) -> EmbeddingHead:
        part = self.training.take(rows)
        part = replace(part, rows=part.rows.assign(group=part.rows["path"]))  # a visitor's pictures carry no groups
        return adapt(model, part, "m").head

    def area(self, head: EmbeddingHead, reals: np.ndarray, fakes: np.ndarray) -> float:
        truth = np.repeat([REAL, FAKE], [len(reals), len(fakes)])
        return auroc(truth, head.p_fake(self.training.X[np.concatenate([reals, fakes])]))


def apart(asked: np.ndarray, shown: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Those that share no group, a prompt for one, with what is shown."""
    return asked[~np.isin(groups[asked], groups[shown])]


if __name__ == "__main__":
    main()
