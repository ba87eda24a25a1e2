"""Tables taken together: pictures of one name are told apart or kept together by what they show, and go with what was made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepfake_detector import split, table
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.types import Sample

SPEC = Encoder().spec  # 64 numbers


def shown(seed: int, n: int = 6) -> np.ndarray:
    """What n pictures show: numbers that have much in common, as all pictures' have."""
    return (3 + np.random.default_rng(seed).normal(size=(n, 64))).astype(np.float32)


def part(folder: Path, name: str, samples: list[Sample], files: str, X: np.ndarray) -> Path:
    """A table of these samples; `files` has a letter for each, the same for the same file."""
    listed = [table.Row(one, letter * 64, x) for one, letter, x in zip(samples, files, X, strict=True)]
    columns = table.columns(video=any(one.video for one in samples), made=any(one.made_from for one in samples))
    table.write(folder / name, listed, SPEC, {"crop": "whole"}, columns)
    return folder / name


def numbered(label: int, n: int = 6, first: int = 0) -> list[Sample]:
    return [Sample("", f"{i}.jpg", label, "g", f"{i}.jpg") for i in range(first, first + n)]


def groups(*tables: Path) -> list[int]:
    return split.whole_groups(table.read_all(list(tables)).rows).tolist()


def test_other_pictures_of_the_same_names_are_others(tmp_path):
    """Data sets number theirs alike: 1.jpg of the one and of the other are no pair, and need not be on one side."""
    a = part(tmp_path, "a.csv", numbered(0), "abcdef", shown(0))
    copy, alone = Sample("", "0.jpg#view", 1, "g", "0.jpg", "view"), Sample("", "9.jpg", 1, "g", "prompt 7")
    b = part(tmp_path, "b.parquet", [*numbered(1), copy, alone], "ghijkfgl", np.concatenate([shown(1), shown(2, 2)]))
    assert groups(a, b) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 5, 6, 11], "but for the very same file"


def test_tables_without_a_common_name_say_nothing_of_each_other(tmp_path):
    named = [(0, "abcdef"), (0, "ghijkl"), (6, "mnopqr"), (6, "stuvwx")]
    tables = [part(tmp_path, f"{i}.csv", numbered(0, 6, first), files, shown(i)) for i, (first, files) in enumerate(named)]
    assert groups(*tables) == [*range(24)]


def test_pictures_that_differ_in_one_respect_above_all_are_no_copies_for_that(tmp_path):
    """As by day and by night: then many are much alike that have nothing else in common."""
    dark = np.array([1, 1, 1, -1, -1, -1]), np.array([1, 1, -1, -1, -1, 1])
    X = [shown(seed) + 20 * np.eye(64)[0] * one[:, None] for seed, one in enumerate(dark)]
    a, b = (part(tmp_path, f"{files}.csv", numbered(0), files, x) for files, x in zip(("abcdef", "ghijkl"), X, strict=True))
    assert groups(a, b) == [*range(12)]


@pytest.mark.parametrize("label", [0, 1])
def test_the_same_pictures_once_more_stay_together(tmp_path, label):
    """Saved again by a platform, say; or remade by a generator, under the same names."""
    a = part(tmp_path, "a.csv", numbered(0), "abcdef", shown(0))
    b = part(tmp_path, "b.csv", numbered(label), "ghijkl", shown(0) + 0.2 * shown(1))
    c = part(tmp_path, "c.csv", numbered(0), "mnopqr", shown(2))
    assert groups(a, b) == [*range(6), *range(6)]
    assert groups(a, c, b) == [*range(12), *range(6)], "also with others between"


def test_of_few_names_nothing_is_told_and_so_they_stay_together(tmp_path):
    tables = [part(tmp_path, f"{seed}.csv", numbered(0, 4), letters, shown(seed, 4)) for seed, letters in ((0, "abcd"), (1, "efgh"))]
    assert groups(*tables) == [*range(4), *range(4)]


def test_clips_stay_together_as_only_their_frames_are_known(tmp_path):
    """Those of one clip have no hash in common where it was sampled otherwise."""

    def clips(times: list[int]) -> list[Sample]:
        return [Sample("", f"{i}.mp4#t={t}", 0, "p", f"{i}.mp4", video=f"{i}.mp4", time=t) for i in range(6) for t in times]

    a = part(tmp_path, "a.csv", clips([0]), "abcdef", shown(0))
    b = part(tmp_path, "b.csv", clips([1]), "ghijkl", shown(1))
    assert groups(a, b) == [*range(6), *range(6)]


def test_what_was_made_of_a_photograph_goes_with_it_whatever_the_names(tmp_path):
    made = [Sample("", f"1.jpg#x{side}", label, "x", "1.jpg", made_from="a" * 64) for label, side in enumerate((":real", ""))]
    pairs = part(tmp_path, "pairs.csv", made, "pq", shown(0, 2))
    elsewhere = [Sample("", "real/1.jpg", 0, "p", "real/1.jpg"), *numbered(0)]
    photographs = part(tmp_path, "real.csv", elsewhere, "abcdefg", shown(1, 7))
    others = part(tmp_path, "others.csv", numbered(0), "hijklm", shown(2))
    assert groups(pairs, photographs, others) == [0, 0, 0, *range(1, 13)]
    rows = table.read_all([pairs, photographs, others]).rows
    assert split.in_their_own_right(rows).tolist() == [False, *[True] * 14]
    # A table from before that was told goes by the photograph's name, and so with all of that name.
    untold = part(tmp_path, "untold.csv", [Sample("", "1.jpg#x", 1, "x", "1.jpg")], "q", shown(0, 1))
    found = groups(untold, photographs, others)
    assert found[0] == found[3] == found[9]
    assert len(set(found)) == 12
