"""What README, CONTRIBUTING and docs say is what happens."""

from __future__ import annotations

import functools
import re
import runpy
import shutil
import subprocess
import sys

import pytest

from deepfake_detector import crops, table
from tests.conftest import ROOT, script

README = (ROOT / "README.md").read_text()
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text() for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}


def test_the_worked_example_of_contributing_works(dataset, tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    command = re.search(r"python (extract_embeddings\.py .*mean_colour.*)", text)[1].replace("DATA", str(dataset)).split()
    copy = tmp_path / "clone"
    copy.mkdir()
    shutil.copytree(ROOT / "deepfake_detector", copy / "deepfake_detector")
    shutil.copy(ROOT / "extract_embeddings.py", copy)
    (copy / "deepfake_detector/encoders/mean_colour.py").write_text(code)
    done = subprocess.run([sys.executable, *command], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert table.read(copy / "embeddings/colours.csv").X.shape == (80, 3)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python (\w+\.py)", "".join(PAGES.values())))))
def test_each_option_that_is_named_exists(name):
    for line in re.findall(rf"python {re.escape(name)}(.*)", "\n".join(PAGES.values())):
        data_set = re.findall(r"--dataset (\w+)", line)
        for option in re.findall(r"--[\w-]+", line):
            assert option in help_text(name, *data_set), f"{name} {option}"


@functools.cache
def help_text(name: str, *data_set: str) -> str:
    return script(name, *(["--dataset", *data_set] if data_set else []), "--help", cwd=ROOT).stdout


@pytest.mark.parametrize(("option", "status", "begins"), [("--help", 0, "usage: report_speed.py"), ("--x", 2, "")])
def test_a_benchmark_explains_itself_and_refuses_what_it_does_not_know(monkeypatch, capsys, option, status, begins):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script adds to it
    monkeypatch.setattr(sys, "argv", ["report_speed.py", option])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "benchmarks/report_speed.py"), run_name="__main__")
    told, refused = capsys.readouterr()
    assert stop.value.code == status
    assert told.startswith(begins)
    assert ("arguments: --x" in refused) == (status == 2)


def test_the_space_runs_the_pinned_gradio():
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)[1]
    front = README.split("---")[1]
    assert f"sdk_version: {pinned}" in front
    assert "app_file: app.py" in front
    assert re.search(r'python_version: "?3\.1[12]', front)


def test_a_space_can_install_the_requirements():
    """It is given requirements.txt alone, and adds gradio's extras, which the versions in constraints.txt would rule out."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("-")] == []
    for other in ROOT.glob("requirements-*.txt"):
        if other.name != "requirements-dev.txt":
            assert "-c constraints.txt" in other.read_text()
    assert "-r requirements.txt -c constraints.txt" in (ROOT / "Makefile").read_text()


def test_the_crop_that_the_help_shows_can_be_had():
    shown = re.search(r"faces:\S+", help_text("extract_embeddings.py"))[0]
    assert f"`{shown}`" in PAGES["docs/training.md"]
    crops.load(shown)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_heading_that_a_page_names_is_there(page):
    for place, heading in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", PAGES[page]):
        named = (ROOT / page).parent / place if place else ROOT / page
        assert named.exists(), place
        if heading:
            headings = re.findall(r"^#+ (.+)$", named.read_text(), re.M)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, heading


def test_every_benchmark_finds_what_it_calls():
    """They are run seldom and by hand, so a name that the package no longer has would be noticed late."""
    names = [file.stem for file in sorted((ROOT / "benchmarks").glob("*.py"))]
    run = subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
