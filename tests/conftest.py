"""What the tests share: small drawn data sets, a model trained on one, and the command line as a user runs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for the model hub; the one that is about it says so itself
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # they share the cores: threads that wait for another's take three times as long
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // int(workers)))

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
LONGEST = ("test_page", "test_tuned_transformers", "test_ray", "test_under_way")  # by what each takes


def pytest_configure(config):
    """Those before all others, or one worker would be left with one of them when the others are done."""
    config.option.loadscopereorder = False  # by the number of their tests


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def draw(path: Path, label: int, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A noisy picture, reddish when real, bluish when fake; every seed another one."""
    rng = np.random.default_rng([seed, label])
    tint = (40, 20, 0) if label == 0 else (0, 20, 40)
    pixels = rng.integers(90, 170, (size[1], size[0], 3)) + np.array(tint) + rng.integers(-25, 25, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=92)
    return path


def draw_dataset(root: Path, each: int = 40) -> Path:
    """`each` real pictures of two sources and as many fakes of two generators."""
    for i in range(each):
        draw(root / "real" / f"camera_{i % 2}" / f"{i:03}.jpg", 0, i)
        draw(root / "fake" / f"generator_{i % 2}" / f"{i:03}.jpg", 1, i)
    return root


def script(name: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One of the top-level scripts, or `-m deepfake_detector`, in this process: to load all libraries again would take seconds."""
    from deepfake_detector import cli

    commands = {"deepfake_detector": "main", "extract_embeddings.py": "extract", "train_classifier.py": "train"}
    out, err, typed = io.StringIO(), io.StringIO(), [name, *map(str, arguments)]
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "argv", typed):
        try:
            status = getattr(cli, commands.get(name, name.removesuffix(".py")))(typed[1:])
        except SystemExit as stop:  # argparse's
            status = stop.code
    return subprocess.CompletedProcess(typed, status, out.getvalue(), err.getvalue())


def process(name: str, *arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same as a user runs it, with these settings of the environment."""
    start = ["-m", "deepfake_detector"] if name == "deepfake_detector" else [str(ROOT / name)]
    command = [sys.executable, *start, *map(str, arguments)]
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=120, check=False)


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def locked_folders(monkeypatch):
    """No folder called "locked" can be listed."""
    list_folder = os.scandir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def embeddings_csv(dataset, tmp_path_factory) -> Path:
    """The drawn data set as a table."""
    from deepfake_detector.datasets.folder import scan
    from deepfake_detector.embed import Embedder
    from deepfake_detector.encoders.colour_histogram import Encoder
    from deepfake_detector.extract import extract

    out = tmp_path_factory.mktemp("tables") / "drawn.csv"
    extract(scan(dataset), Embedder(Encoder()), str(out))
    return out


@pytest.fixture(scope="session")
def model(embeddings_csv, tmp_path_factory) -> Path:
    """A logistic head on colour histograms, which tells red from blue.

    Its thresholds are given: from so few pictures nothing could be promised, and it would always be unsure.
    """
    from dataclasses import replace

    from deepfake_detector import bundle, table
    from deepfake_detector.evaluate import evaluate_scores
    from deepfake_detector.train import train
    from deepfake_detector.types import Thresholds

    folder = tmp_path_factory.mktemp("models") / "colours"
    done, thresholds = train(table.read(embeddings_csv), "logistic", "colours"), Thresholds(0.3, 0.7)
    scores = evaluate_scores(done.test.rows, done.p_fake, thresholds)
    bundle.save(replace(done.bundle, thresholds=thresholds, manifest=done.bundle.manifest | {"scores": scores}), folder)
    return folder


# What a model always answers, by an offset that drowns its head's score, and thresholds about it.
ALWAYS = {
    "fake": (9.0, 0.3, 0.7),
    "less surely fake": (5.0, 0.3, 0.7),
    "real": (-9.0, 0.3, 0.7),
    "doubts": (0.0, 0.0, 1.0),
    "leans to fake": (9.0, 0.0, 1.1),
    "leans to real": (-1.0, -0.1, 1.0),
}


def answering(model: Path, folder: Path, answer: str, generator: str = "deepfakes") -> Path:
    """A model that always gives this answer, and has learnt from fakes of this name alone."""
    from deepfake_detector import bundle
    from deepfake_detector.calibration import Calibration
    from deepfake_detector.types import Thresholds

    trained, (offset, real, fake) = bundle.load(model), ALWAYS[answer]
    training = trained.manifest["training"]
    manifest = trained.manifest | {"training": training | {"train": training["train"] | {"fake": {generator: 16}}}}
    made = replace(trained, calibration=Calibration(0.0, offset), thresholds=Thresholds(real, fake), manifest=manifest)
    bundle.save(made, folder)
    return folder


@pytest.fixture(scope="module")
def chromium():
    """Playwright's Chromium and how to start it; tests that need it are skipped where there is none, but for where all are to run."""
    from playwright.sync_api import sync_playwright

    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not place and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine")
    quietly = ("background-networking", "component-update", "sync")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", *(f"--disable-{what}" for what in quietly)]
    with sync_playwright() as playwright:
        yield playwright.chromium, {"executable_path": place, "args": flags}


@pytest.fixture(scope="module")
def browser(chromium):
    """Each page is a new visitor's, whose browser keeps nothing."""
    kind, start = chromium
    with kind.launch(**start) as browser:
        yield browser


@pytest.fixture(scope="module")
def visitor(chromium, tmp_path_factory):
    """All pages are tabs of one visitor's browser, which keeps scripts as it compiled them: half of what a page takes to load."""
    kind, start = chromium
    with kind.launch_persistent_context(tmp_path_factory.mktemp("browser"), viewport={"width": 1200, "height": 900}, **start) as browser:
        yield browser
