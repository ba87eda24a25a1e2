"""Hemg/deepfake-and-real-images on the hub, or a local copy of its Parquet shards: faces, labelled 0 = Fake and 1 = Real."""

from __future__ import annotations

import argparse

from deepfake_detector.datasets import Listing, _hub
from deepfake_detector.datasets._fields import Fields
from deepfake_detector.datasets._hub import Wanted, open_repository
from deepfake_detector.datasets.hub import pictures
from deepfake_detector.errors import DatasetError

NAMES = ["Fake", "Real"]  # of the labels 0 and 1: the other way round than ours


def add_options(parser: argparse.ArgumentParser) -> None:
    _hub.add_sampling(parser)


def scan(root: str, *, limit: int | None = None, shuffle_buffer: int = 0, seed: int = 0) -> Listing:
    """Stream the pictures, all of which are in one split, `train`."""
    repository = open_repository(root, Wanted(limit=limit, shuffle_buffer=shuffle_buffer, seed=seed))
    feature = repository.features.get("label")
    found = getattr(feature, "names", None) or (NAMES if feature is None or feature.dtype.startswith(("int", "uint")) else feature.dtype)
    if found != NAMES:
        raise DatasetError(f"{repository.origin} should have the labels {NAMES}, as it is published, but has {found}. Use --dataset hub.")
    return pictures(repository, "image", Fields("label", fakes=["Fake"]), NAMES)
