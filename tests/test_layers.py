"""A file imports lower layers only, so there are no cycles; `--help` needs no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "deepfake_detector"
LAYERS = [
    {"errors", ""},
    {"vectors"},
    {
        "types",
        "registry",
        "files",
        "database",
        "versions",
        "torch_compat",
        "addresses",
        "once",
        "twins",
        "devices",
        "families",
        "colours",
        "same_names",
        "filmed",
    },
    {
        "answers",
        "images",
        "metrics",
        "cache",
        "table",
        "weights",
        "split",
        "degrade",
        "traces",
        "tracking",
        "neighbours",
        "look_alikes",
        "picture_store",
        "photograph_parts",
        "credentials",
        "windows",
    },
    {"intervals", "pooling", "video", "fetch", "taesd", "redecode", "redraw", "repaint", "file_texts"},
    {"calibration", "crops", "encoders", "heads", "comparison", "provenance"},
    {"family_head", "recall", "looks_filmed"},
    {"embed", "bundle", "evaluate", "reconstruct", "self_blend"},
    {"datasets", "frames"},
    {"known", "extract", "train", "audit"},
    {"detect", "parts", "finetune", "adapt", "adopt"},
    {"protocols", "robustness", "engine_ray", "panel"},
    {"report"},
    {"ui"},
    {"cli"},
    {"__main__"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(module: str) -> str:
    """`deepfake_detector.encoders.clip` → `encoders`."""
    return (module.split(".") + [""])[1]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_imports_lower_layers_only(file: Path):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "")
    for node in ast.walk(ast.parse(file.read_text())):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules = [f"{node.module}.{a.name}" for a in node.names] if node.module == "deepfake_detector" else [node.module]
        for name in (part(m) for m in modules if m.split(".")[0] == "deepfake_detector"):
            name = name if name in LAYER else ""  # `from deepfake_detector import __version__`
            assert name == own or LAYER[name] < LAYER[own], f"{own} (layer {LAYER[own]}) imports {name} (layer {LAYER[name]})"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_module_opens_with_one_sentence(file: Path):
    first = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]
    assert first.endswith((".", "…", "?")), f"{file.name} should open with a sentence; it opens with {first!r}"


@pytest.mark.parametrize("script", ["app", "extract_embeddings", "train_classifier", "evaluate", "finetune", "deepfake_detector.__main__"])
def test_help_imports_no_heavy_library(script):
    check = f"""
import runpy, sys
sys.argv = ["{script}", "--help"]
try:
    runpy.run_module("{script}", run_name="__main__")
except SystemExit as stop:
    heavy = {{"torch", "tensorflow", "keras", "gradio", "pandas", "sklearn", "pyarrow", "numpy", "ray"}} & set(sys.modules)
    sys.exit(f"imported {{heavy}}" if heavy or stop.code else 0)
"""
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
