"""Pictures of one name in several tables: the same once more, or others, of a data set that numbers its own alike?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from deepfake_detector.vectors import Vectors, unit

_MOST = 200  # names by which two tables are compared
_FEWEST = 5  # of fewer nothing can be told, and one group too many parts nothing that belongs together


def told_apart(rows: pd.DataFrame, X: Vectors, part: np.ndarray) -> pd.Series:
    """(n,) the rows' groups, told apart where one that is but a picture's name stands for quite another picture in another part (n,).

    Two photographs are not of one content because both are called 0001.jpg, unless those of one name look alike throughout two tables:
    one has the other's pictures once more, saved otherwise, or what was made of them. What was made of a picture here, in a table without
    it, is told by `made_from`; without that it could be of either, and the group stays as it is. So do those of clips, which are only known
    by their frames.
    """
    nothing = pd.Series("", rows.index)
    video, made_from = (rows.get(name, nothing) for name in ("video", "made_from"))
    named = rows[["group", "sha256"]].assign(part=part, row=np.arange(len(rows)))
    own = (rows["group"] == rows["path"]) & (video == "")
    files = named[own].drop_duplicates(["group", "part", "sha256"])
    by_group = files.groupby("group")
    others = (by_group["part"].transform("nunique") > 1) & (by_group["sha256"].transform("nunique") == by_group["sha256"].transform("size"))
    if not others.any():
        return rows["group"]
    of_one = pd.MultiIndex.from_frame(files[["group", "part"]])
    unclear = named["group"][~pd.MultiIndex.from_frame(named[["group", "part"]]).isin(of_one) & (made_from == "").to_numpy()]
    clashing = files[others & ~files["group"].isin(set(unclear))].drop_duplicates(["group", "part"])
    stands_for = _without_copies(X, clashing.pivot(index="group", columns="part", values="row"))
    of = np.array([stands_for.get(number, number) for number in range(part.max() + 1)])[part]
    renamed = rows["group"].isin(set(clashing["group"]))
    return rows["group"].where(~renamed, "table " + pd.Series(of, rows.index).astype(str) + ": " + rows["group"])


def _without_copies(X: Vectors, row_of: pd.DataFrame) -> dict[int, int]:
    """Part → the first part that has the same pictures, itself where none has. `row_of` has a line a name, and a column a part."""
    first = {part: part for part in row_of.columns}
    for a, b in combinations(row_of.columns, 2):
        both = row_of[[a, b]].dropna().to_numpy(int)
        if 0 < len(both) < _FEWEST or len(both) and _look_alike(X, both):
            first[b] = first[a]
    return first


def _look_alike(X: Vectors, both: np.ndarray) -> bool:
    """(m, 2) rows → whether the two of a line are more alike than those of different lines are."""
    both = both[np.linspace(0, len(both) - 1, min(_MOST, len(both))).astype(int)]
    one, other = (np.asarray(X[rows], np.float32) for rows in both.T)
    mean = np.concatenate([one, other]).mean(axis=0)
    one, other = unit(one - mean), unit(other - mean)
    return bool(np.median((one * other).sum(axis=1)) > np.quantile((one * np.roll(other, 1, axis=0)).sum(axis=1), 0.95))
