"""What every way of tuning an encoder offers: the contract that finetune/model.py calibrates and measures it by."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.types import Embeddings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a run depends on beside its pictures. `bfloat16`: products in that type."""

    steps: int
    seed: int
    bfloat16: bool
    device: str


@dataclass(frozen=True)
class Tuned:
    """The tuned weights, a file or folder, and the head that learnt with them; None where one is yet to be trained on its embeddings."""

    weights: Path
    head: EmbeddingHead | None


class Method(ABC):
    """`head` is the kind of head that its model has, `facts` are what the manifest tells of the method."""

    head: str
    facts: dict[str, Any]

    @abstractmethod
    def first_look(self) -> PictureEncoder:
        """By whose embeddings a run begins."""

    @abstractmethod
    def tune(self, data: Embeddings, paths: list[str], kept: Path, progress: Callable[[int], object]) -> Tuned:
        """Learn from all rows of `data`, embeddings by `first_look` of the pictures at `paths` (alike in order).

        What is learnt is kept at `kept`, or in places named after it: a run that was killed goes on from there, and a finished one is
        not done again. `progress` counts pictures.
        """

    @abstractmethod
    def encoder(self, weights: Path, exact: bool) -> PictureEncoder:
        """The encoder with tuned weights; not `exact` where a rounder, faster one will do."""


def place_of(kept: Path, plan: str, ending: str = "") -> Path:
    """Where a run of this plan keeps what it learns; where only others are kept, says that it begins anew, as hours may be lost by that."""
    place = kept.with_name(f"{kept.name}-{plan[:12]}{ending}")
    if not place.exists() and any(kept.parent.glob(f"{kept.name}-*")):
        log.warning("begun anew: what %s has of this run was learnt from other pictures or by other settings", kept.parent)
    return place
