"""Detectors side by side on the same pictures: ours, and anyone's whose scores come in a CSV file."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import split
from deepfake_detector.errors import TableError
from deepfake_detector.intervals import delong, paired_difference
from deepfake_detector.types import Thresholds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A detector's scores by picture: `rows` one a picture, p_fake (n,) in 0..1; `manifest` {} for an external detector.

    `regions` are rows and scores before the most suspicious region of each picture was chosen, None where that is all there is.
    `families` are the fakes that it was asked for the family of, as rows with its `answer` and whether their generator was
    `learnt_from`; None where it has none to give.
    """

    name: str
    rows: pd.DataFrame
    p_fake: np.ndarray
    thresholds: Thresholds = Thresholds(0.5, 0.5)  # of a detector that comes without any
    manifest: dict[str, Any] = field(default_factory=dict)
    regions: tuple[pd.DataFrame, np.ndarray] | None = None
    families: pd.DataFrame | None = None

    def take(self, rows: pd.DataFrame) -> Scored:
        """The same detector on some of its pictures, in the order of `rows`."""
        wanted = _keys(rows)
        p = pd.Series(self.p_fake, _keys(self.rows)).loc[wanted].to_numpy()
        regions = None
        if self.regions:
            left = _keys(self.regions[0]).isin(wanted)
            regions = self.regions[0][left], self.regions[1][left]
        families = None if self.families is None else self.families[_keys(self.families).isin(wanted)]
        return replace(self, rows=rows, p_fake=p, regions=regions, families=families)


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    """What tells one picture from another."""
    return pd.MultiIndex.from_frame(rows[["path", "sha256"]])


def read_scores(name: str, file: str | Path, rows: pd.DataFrame) -> Scored:
    """An external detector's scores (columns path, p_fake) for those of `rows` that the file names.

    Their paths may be below other folders: what comes before the names that both have is left out where no path is in both as it is.
    """
    try:
        given = pd.read_csv(file, dtype={"path": str})
    except (OSError, ValueError) as error:
        raise TableError(
            f"The scores of {name} can't be read from {file} ({error}). Expected a CSV file with the columns path, p_fake."
        ) from error
    if not {"path", "p_fake"} <= set(given.columns):
        raise TableError(f"{file} needs the columns path and p_fake, separated by commas; it has: {', '.join(map(str, given.columns))}.")
    given = given.dropna(subset=["path", "p_fake"])
    given["path"], names = given["path"].str.removeprefix("./"), rows["path"]
    if not names.isin(given["path"]).any():
        given["path"] = _below(given["path"].str.replace("\\", "/"), names)
        if not names.isin(given["path"]).any():
            names = _below(names, given["path"])
    if not pd.api.types.is_numeric_dtype(given["p_fake"]) or not given["p_fake"].between(0, 1).all():
        raise TableError(f"{file}: p_fake should be a number in 0..1, higher meaning fake, in every row. Rescale the scores.")
    twice = given["path"][given["path"].duplicated()]
    if len(twice):
        raise TableError(f"{file} scores {len(twice)} pictures twice (the first: {twice.iloc[0]!r}). Keep one row a picture.")
    there = names.isin(given["path"])
    if not there.any():
        raise TableError(
            f"{file} scores none of these pictures: it names {given['path'].iloc[0] if len(given) else 'none'!r} …, the data "
            f"{rows['path'].iloc[0]!r} …. Paths should be as in the data's table, relative to its folder."
        )
    return Scored(name, rows[there].reset_index(drop=True), given.set_index("path")["p_fake"].loc[names[there]].to_numpy(float))


def _below(paths: pd.Series, known: pd.Series) -> pd.Series:
    """The paths without the folder below which most of them are known, if any is."""
    wanted, below = set(known), Counter()
    for path in paths:
        folder, rest = "", path
        while rest and rest not in wanted:
            above, slash, rest = rest.partition("/")
            folder += above + slash
        if rest and folder:
            below[folder] += 1
    if not below:
        return paths
    [(folder, count)] = below.most_common(1)
    log.info("%d paths are taken to be below %s", count, folder)
    return paths.str.removeprefix(folder)


def on_common_pictures(detectors: list[Scored]) -> tuple[list[Scored], int]:
    """Every detector on the pictures that all of them scored, and how many were left out for that.

    Where tables differ in what they call a group, the one with the fewest groups knows the most.
    """
    keys = [_keys(d.rows) for d in detectors]
    common = sorted(set(keys[0]).intersection(*keys[1:]))
    if not common:
        raise TableError(f"No picture was scored by all of {', '.join(d.name for d in detectors)}; give each the same data.")
    wanted = pd.DataFrame(common, columns=["path", "sha256"])
    matched = [wanted.merge(d.rows, on=["path", "sha256"]) for d in detectors]
    for detector, rows in zip(detectors, matched, strict=True):
        differing = rows["path"][rows["label"] != matched[0]["label"]]
        if len(differing):
            raise TableError(
                f"The data of {detectors[0].name} and {detector.name} label {differing.iloc[0]!r} differently. Correct one of them."
            )
    rows = min(matched, key=lambda rows: rows["group"].nunique())
    return [d.take(rows) for d in detectors], len(set().union(*keys)) - len(rows)


def compare(detectors: list[Scored]) -> list[dict[str, Any]]:
    """Each pair of detectors: the difference in AUROC, paired, overall and for each generator (its fakes among all reals).

    The interval is a bootstrap over whole groups; DeLong's p value is given where every picture is its own group.
    """
    rows = detectors[0].rows
    labels, source = rows["label"].to_numpy(), rows["generator"].to_numpy()
    if len(np.unique(labels)) < 2:
        return []
    tiers = [("overall", np.ones(len(rows), bool))]
    tiers += [(name, (labels == 0) | ((labels == 1) & (source == name))) for name in sorted(set(source[labels == 1]))]
    groups = split.whole_groups(rows)
    done = []
    for a, b in combinations(detectors, 2):
        for tier, chosen in tiers:
            one = labels[chosen], a.p_fake[chosen], b.p_fake[chosen]
            difference, interval = paired_difference(*one, groups=groups[chosen])
            independent = len(np.unique(groups[chosen])) == chosen.sum() and np.bincount(one[0]).min() > 1
            p = delong(*one)[2] if independent else math.nan
            done.append(
                {"a": a.name, "b": b.name, "on": tier, "n": int(chosen.sum()), "difference": difference, "interval": interval}
                | {"delong_p": None if math.isnan(p) else p}
            )
    return done
