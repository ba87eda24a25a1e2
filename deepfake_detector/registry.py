"""The folder is the registry: `encoders/clip_vit_l14.py` is the encoder `clip_vit_l14`; only the one asked for is imported."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from deepfake_detector.errors import UnknownName

_PACKAGE = Path(__file__).parent


def names(kind: str) -> list[str]:
    """The names of one kind (`encoders`, `heads`, `crops`, `crops/detectors`, `datasets`, `ui/tabs`), sorted; nothing is imported."""
    return sorted(f.stem for f in (_PACKAGE / kind).glob("*.py") if not f.stem.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """Import one of them; raises UnknownName with those there are."""
    if name not in names(kind):
        raise UnknownName(f"There is no {kind.rpartition('/')[2].rstrip('s')} {name!r}; there are: {', '.join(names(kind))}.")
    return importlib.import_module(f"deepfake_detector.{kind.replace('/', '.')}.{name}")
