"""Each notebook runs from top to bottom, on another's pictures, and leaves a model that works."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from deepfake_detector.detect import Detector
from deepfake_detector.panel import Panel
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_runs_from_top_to_bottom(notebook, dataset, tmp_path):
    (tmp_path / "notebook.py").write_text("\n\n".join(cells(notebook)))
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "data" / "real" / "broken.jpg").write_text("no picture")
    (tmp_path / "data" / "whole").symlink_to(dataset)
    relative, out = os.path.relpath(tmp_path / "data", ROOT), tmp_path / "made" / "out"  # the README's command is typed in its folder
    asked = {"DATA": relative, "ENCODER": "colour_histogram", "HEAD": "logistic", "OUT": str(out), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, tmp_path / "notebook.py"],
        cwd=ROOT / "notebooks",
        env=os.environ | asked,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "80 rows of 64 numbers; left out: 1\nreal/broken.jpg: not a picture" in done.stdout
    assert "mean AUROC" in done.stdout
    assert ", never fake, unsure otherwise" in done.stdout
    assert "It will never say fake: that at most 5 %" in done.stdout, "nothing is promised of an answer that is never given"
    assert "Promised: at most 10 % of fakes called real (measured on generators" in done.stdout
    assert (out / "scores.png").stat().st_size > 1000
    picture = next(dataset.rglob("fake/**/*.jpg"))
    assert Panel([Detector(out / "model")]).judge_file(picture).p_fake > 0.5


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_is_kept_without_what_it_printed(notebook):
    kept = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in kept)
