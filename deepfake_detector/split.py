"""Which rows learn and which are kept apart, so that no group, and where asked no source, is on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake_detector.errors import TrainingError
from deepfake_detector.families import is_remade, unseen_with
from deepfake_detector.types import BESIDE, FAKE, LABEL_NAMES, REAL, VIEW

FOLDS = 5


def train_test(rows: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """(rows to learn from, rows to test on, how they were chosen), as index arrays.

    Where the data set has a test split of its own, that is kept. Otherwise 80/20, stratified by class, all pictures of a
    group on one side (a plain stratified split when every picture is its own group). Degraded copies go where their
    picture goes, but are never tested on.
    """
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split

    labels, groups = rows["label"].to_numpy(), whole_groups(rows)
    pictures = np.flatnonzero(rows["split"] != VIEW)
    own = _own_test(rows)
    if own is not None:
        test, how = np.flatnonzero(own), "the data set's own test split"
        leaking = np.isin(groups, groups[test]) & ~own
        if leaking[pictures].any():
            how += f", without {leaking[pictures].sum()} training pictures that share a group or a file with it"
    elif len(np.unique(groups)) < len(pictures):
        count = _fold_count(labels[pictures], groups[pictures])
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        _, test = next(folds.split(pictures, labels[pictures], groups[pictures]))
        share = round(100 / count)
        test, how = pictures[test], f"{100 - share}/{share}, stratified by class, groups kept together"
    else:
        _fold_count(labels[pictures], groups[pictures])  # refuses what can't be parted
        _, test = train_test_split(pictures, test_size=1 / FOLDS, stratify=labels[pictures], random_state=seed)
        how = "80/20, stratified by class"
    learn = np.flatnonzero(~np.isin(groups, groups[test]))
    for name, part in (("train", learn), ("test", test)):
        missing = [LABEL_NAMES[label] for label in (0, 1) if label not in labels[part]]
        if missing:
            raise TrainingError(f"The {name} side of the split has no {missing[0]} pictures. Add pictures of that class, or more groups.")
    return learn, np.sort(test), how


def test_folds(rows: pd.DataFrame, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds (learn, test): where the data set has a test split of its own that alone, otherwise those of group_folds."""
    return group_folds(rows, seed) if _own_test(rows) is None else [train_test(rows, seed)[:2]]


def _own_test(rows: pd.DataFrame) -> np.ndarray | None:
    """(n,) bool, the data set's own test split; None where it has none, or no picture beside it."""
    own = (rows["split"] == "test").to_numpy()
    return own if own.any() and not own[rows["split"] != VIEW].all() else None


def whole_groups(rows: pd.DataFrame) -> np.ndarray:
    """(n,) group numbers in which byte-identical files, where `rows` tell these, count as one group, whatever the table calls theirs.

    So do a photograph and what was made of it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    group = pd.factorize(rows["group"])[0]
    if "sha256" not in rows or rows.empty:
        return group
    files, of = [rows["sha256"]], [group]
    if "made_from" in rows:
        made = (rows["made_from"] != "").to_numpy()
        files.append(rows["made_from"][made])
        of.append(group[made])
    file, of = pd.factorize(pd.concat(files))[0], np.concatenate(of)
    size = group.max() + file.max() + 2
    links = coo_array((np.ones(len(of)), (of, group.max() + 1 + file)), shape=(size, size))
    return connected_components(links, directed=False)[1][group]


def in_their_own_right(rows: pd.DataFrame) -> np.ndarray:
    """(n,) bool, the pictures that stand for what a detector meets: no degraded copies, and no photograph once more as the real picture
    of a pair, where it is there itself.

    Those of pairs may have been enlarged and reduced again as the fakes beside them were. A head that has learnt from others of them
    knows that at sight, so they would flatter it.
    """
    pictures, real = (rows["split"] != VIEW).to_numpy(), (rows["label"] == REAL).to_numpy()
    again = pictures & real & rows["path"].str.contains(f"#[^#]+{BESIDE}$").to_numpy(bool)
    if not again.any():
        return pictures
    groups = whole_groups(rows)
    return pictures & ~(again & np.isin(groups, groups[pictures & real & ~again]))


def weights(rows: pd.DataFrame) -> np.ndarray:
    """(n,) how much each row should count in learning, 1 on average: both classes the same, and their sources by the square root
    of their pictures. A degraded copy counts a fifth of a picture.

    So a generator is not learnt best because most of the fakes are its own, nor a source of few pictures by heart.
    """
    return balanced(rows["label"].to_numpy(), rows["generator"].to_numpy(), amounts(rows))


def amounts(rows: pd.DataFrame) -> np.ndarray:
    """(n,) what each row counts beside the others of its source: 1, and a fifth for a degraded copy.

    Copies teach a head to see through compression, and not to look at what compression takes away. At full weight they cost more on
    clean pictures of new generators and sources than they give on degraded ones (benchmarks/ablation.py).
    """
    return np.where(rows["split"] == VIEW, 0.2, 1.0)


def balanced(classes: np.ndarray, origin: np.ndarray, amount: np.ndarray | None = None) -> np.ndarray:
    """(n,) weights, 1 on average, under which all classes count the same, and a class's origins by the square root of their rows.

    `amount` (n,) is what each row counts beside the others of its origin, 1 each where it is None.
    """
    amount = np.ones(len(classes)) if amount is None else amount
    weight = np.empty(len(classes))
    present = np.unique(classes)
    for one in present:
        own = classes == one
        _, source = np.unique(origin[own], return_inverse=True)
        share = amount[own] * np.bincount(source, amount[own])[source] ** -0.5
        weight[own] = share / share.sum() / len(present) * len(classes)
    return weight


def group_folds(rows: pd.DataFrame, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds (learn, score) over the rows in which every picture is scored once, with its whole group held out."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups, labels = whole_groups(rows), rows["label"].to_numpy()
    folds = StratifiedGroupKFold(_fold_count(labels, groups), shuffle=True, random_state=seed)
    views = (rows["split"] == VIEW).to_numpy()
    return [(learn, score[~views[score]]) for learn, score in folds.split(labels, labels, groups) if len(np.unique(labels[learn])) == 2]


def dealt(groups: np.ndarray, kinds: np.ndarray, count: int) -> np.ndarray:
    """(n,) from 0 to count - 1: whole groups dealt out by chance, those of one kind (n,) as evenly as can be.

    By chance, since what takes turns in a table, as real and fake pictures may, would all fall to the same turns. A group of several
    kinds goes by that of its first row.
    """
    _, first, of = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(first))
    order = shuffled[np.argsort(pd.factorize(kinds, sort=True)[0][first][shuffled], kind="stable")]
    turn = np.empty(len(first), int)
    turn[order] = np.arange(len(first)) % count
    return turn[of]


def _fold_count(labels: np.ndarray, groups: np.ndarray) -> int:
    """As many folds as there are, or as the class with the fewest groups allows; raises TrainingError below two."""
    smallest = min(len(np.unique(groups[labels == label])) for label in (REAL, FAKE))
    if smallest < 2:
        raise TrainingError("Each class needs at least two groups to learn from, so that one can be kept apart; add pictures.")
    return min(FOLDS, smallest)


def paired(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) whether a row's group has real and fake pictures: a picture and its reconstruction, say."""
    return np.isin(groups, np.intersect1d(groups[labels == REAL], groups[labels == FAKE]))


def matched_folds(rows: pd.DataFrame, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The group folds (learn, score), scoring only pictures whose group has both classes; none where there are too few such pairs."""
    groups, labels = whole_groups(rows), rows["label"].to_numpy()
    pairs = paired(labels, groups)
    folds = [(learn, score[pairs[score]]) for learn, score in group_folds(rows, seed)]
    return folds if all(len(np.unique(labels[score])) == 2 for _, score in folds) else []


def real_source_folds(rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds (learn, score) that each hold out one whole source of real pictures; none where there are fewer than three.

    Photographs from a place that it never saw are what a detector meets in use, and where it raises false alarms. A group
    with one member in the scored source gives none to learn from.
    """
    source, labels, groups = rows["generator"].to_numpy(), rows["label"].to_numpy(), whole_groups(rows)
    views = (rows["split"] == VIEW).to_numpy()
    names = sorted(set(source[labels == REAL]))
    if len(names) < 3:
        return []
    folds = []
    for name in names:
        scored = np.flatnonzero((source == name) & (labels == REAL) & ~views)
        learn = np.flatnonzero(~np.isin(groups, groups[scored]))
        if len(np.unique(labels[learn])) == 2:
            folds.append((learn, scored))
    return folds


def generator_folds(rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds (learn, score) that each hold out whole lines of generators, a fifth of them or one.

    Fakes of a generator that it never saw are what a detector meets in use, and what it misses. Real pictures remade for training
    are learnt from, all as one line, but not scored. There are no folds where they would leave fewer than two lines to learn from.
    Groups that have pictures from elsewhere too are scored in two halves, or nothing might be left to learn from.
    """
    lines, labels, groups = kin(rows), rows["label"].to_numpy(), whole_groups(rows)
    pictures = (rows["split"] != VIEW).to_numpy()
    generators = set(rows["generator"][labels == FAKE])
    names = sorted({unseen_with(name) for name in generators if not is_remade(name)})
    if len(names) + any(map(is_remade, generators)) < 3:
        return []
    folds, halves = [], dealt(groups, lines, 2)
    for i in range(min(FOLDS, len(names))):
        new = (labels == FAKE) & np.isin(lines, names[i::FOLDS])
        half = np.where(np.isin(groups, groups[~new]), halves, 0)
        for part in (0, 1):
            scored = new & pictures & (half == part)
            learn = ~new & ~np.isin(groups, groups[scored])
            if scored.any() and len(set(labels[learn])) == 2:
                folds.append((np.flatnonzero(learn), np.flatnonzero(scored)))
    return folds


def kin(rows: pd.DataFrame) -> np.ndarray:
    """(n,) what is left out together, or it would be half known: of a fake its generator's line, of a real picture its source."""
    of = {name: unseen_with(name) for name in set(rows["generator"][rows["label"] == FAKE])}
    return np.where(rows["label"] == FAKE, rows["generator"].map(of), rows["generator"])


def left_out_with(rows: pd.DataFrame, label: int, name: str) -> np.ndarray:
    """(n,) bool, the rows of a class that are left out where a generator or source is: of a generator its whole line."""
    return (rows["label"] == label).to_numpy() & (kin(rows) == (unseen_with(name) if label == FAKE else name))


def generators_to_leave_out(rows: pd.DataFrame) -> list[str]:
    """The names of those that can stand for a generator never learnt from.

    Real pictures remade for training are nobody's fakes, and several kinds of them may share a decoder, so that one left out is known
    from the others: they only stand in where there are fewer than two generators else.
    """
    names = sorted(set(rows["generator"][rows["label"] == FAKE]))
    own = [name for name in names if not is_remade(name)]
    return own if len(own) > 1 else names


def sisters(rows: pd.DataFrame) -> list[list[str]]:
    """Of the generators to leave out those that are of one line, and so are left out together."""
    names = pd.Series(generators_to_leave_out(rows))
    return [list(line) for _, line in names.groupby(names.map(unseen_with)) if len(line) > 1]


@dataclass(frozen=True)
class Unseen:
    """A fold that learns neither from the line of the scored fakes' generator nor from the scored reals' source; index arrays."""

    generator: str
    source: str
    learn: np.ndarray
    score: np.ndarray


def unseen_folds(rows: pd.DataFrame) -> list[Unseen]:
    """A fold for each generator (see generators_to_leave_out) with each real source: the fakes of the one against the reals of the other.

    A fake made of a real picture (it shares its group) is scored beside its own source only. Pairs of which nothing would
    be left to score, or to learn from, give no fold.
    """
    origin, labels, groups = rows["generator"].to_numpy(), rows["label"].to_numpy(), whole_groups(rows)
    pictures = in_their_own_right(rows)
    generators, sources = generators_to_leave_out(rows), sorted(set(origin[labels == REAL]))
    folds = []
    for source in sources:
        reals = (labels == REAL) & (origin == source)
        of_others = np.isin(groups, groups[(labels == REAL) & ~reals])
        for generator in generators:
            fakes = (labels == FAKE) & (origin == generator)
            scored = (reals | (fakes & ~of_others)) & pictures
            learn = ~reals & ~left_out_with(rows, FAKE, generator) & ~np.isin(groups, groups[scored])
            if len(set(labels[scored])) == 2 and len(set(labels[learn])) == 2:
                folds.append(Unseen(generator, source, np.flatnonzero(learn), np.flatnonzero(scored)))
    return folds


@dataclass(frozen=True)
class LeftOut:
    """A fold that learns from none of the named generators' fakes and none of the sources' reals; index arrays.

    `new` are pictures of these; `known` are of generators and sources that it learns from, with their groups kept apart. Of a class
    without names nothing is left out as a whole, and a share of its groups is what is new.
    """

    generators: list[str]
    sources: list[str]
    learn: np.ndarray
    new: np.ndarray
    known: np.ndarray


_KEPT_APART = 3  # of so many groups, one is in some fold's `known`


def left_out_folds(rows: pd.DataFrame, count: int) -> list[LeftOut]:
    """`count` folds that together leave out every generator, with its line, and every real source once, and a third of the groups beside.

    A fake made of a real picture (it shares its group) is new only where that picture's source is left out as well. A class of which not
    even two folds can do so (it has one generator or source, or all fakes belong to one source's pictures) has its groups dealt out
    instead. Raises TrainingError where a fold would have a class missing.
    """
    labels = rows["label"].to_numpy()
    ways = ((FAKE, REAL), (REAL,), (FAKE,))
    whole = next((way for way in ways if _have_both_classes(_folds_without(rows, 2, way), labels)), ())
    folds = _folds_without(rows, count, whole)
    if not _have_both_classes(folds, labels):
        lines = kin(rows)
        of_fakes, sources = (len(set(lines[labels == label])) for label in (FAKE, REAL))
        fewer = "Take fewer folds, or add" if count > 2 else "Add"
        raise TrainingError(
            f"Generators and sources of real pictures (there are {of_fakes} and {sources}; those of one model line count as one), or a "
            f"share of their pictures where these are too few, can't be left out in {count} folds, each with both classes to learn from "
            f"and to score. {fewer} pictures or clips of each class, generators or sources."
        )
    return folds


def _have_both_classes(folds: list[LeftOut], labels: np.ndarray) -> bool:
    return all(len(set(labels[part])) == 2 for fold in folds for part in (fold.learn, fold.new, fold.known))


def _folds_without(rows: pd.DataFrame, count: int, whole: tuple[int, ...]) -> list[LeftOut]:
    """As `left_out_folds`, which may have a class missing; the classes in `whole` are left out by generator or source."""
    origin, labels, groups, lines = rows["generator"].to_numpy(), rows["label"].to_numpy(), whole_groups(rows), kin(rows)
    pictures = in_their_own_right(rows)
    names = {label: sorted(set(lines[labels == label])) if label in whole else [] for label in (FAKE, REAL)}
    turns, folds = dealt(groups, lines, _KEPT_APART * count), []
    for i in range(count):
        share = turns % count == (i + 1) % count  # none of those that are `known`
        fakes, reals = ((labels == label) & (np.isin(lines, names[label][i::count]) if label in whole else share) for label in (FAKE, REAL))
        of_others = np.isin(groups, groups[(labels == REAL) & ~reals])
        new = (reals | (fakes & ~of_others)) & pictures
        learnable = ~reals & ~fakes & ~np.isin(groups, groups[new])
        known = learnable & pictures & (turns == i)
        learn = learnable & ~np.isin(groups, groups[known])
        left = sorted(set(origin[fakes])) if FAKE in whole else []
        folds.append(LeftOut(left, names[REAL][i::count], *(np.flatnonzero(part) for part in (learn, new, known))))
    return folds


def without(generators: list[str], sources: list[str]) -> str:
    """What a fold of `left_out_folds` was without, in words."""
    named = [*(generators or ["a share of the fakes"]), *(sources or ["a share of the real pictures"])]
    return ", ".join(dict.fromkeys(named))  # both classes may come from what has one name
