"""Pictures of the test side that are learnt from in other files: found, told, and no others for them."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector import table, vectors
from deepfake_detector.look_alikes import look_alikes
from deepfake_detector.types import EncoderSpec, Sample
from tests.conftest import script

DIM = 300


def drawn(count: int, seed: int) -> np.ndarray:
    """Embeddings that have much in common, as all pictures do."""
    return (5 + np.random.default_rng(seed).normal(size=(count, DIM))).astype(np.float32)


@pytest.mark.parametrize("on_disk", [False, True])
def test_copies_are_found_and_others_are_not(on_disk, monkeypatch, tmp_path):
    known, asked = drawn(500, 0), drawn(40, 1)
    asked[[3, 17]] = known[[450, 2]] + 0.1 * drawn(2, 2) - 0.5
    if on_disk:
        monkeypatch.setattr(vectors, "IN_MEMORY", 1)
        collected = vectors.Collector(known.shape, tmp_path)
        collected.add(known)
        known = collected.finish()
        assert isinstance(known, vectors.OnDisk)
    assert look_alikes(asked, known) == (40, [(3, 450), (17, 2)])


def test_of_many_some_are_looked_at_and_of_a_few_numbers_none():
    known = drawn(400, 0)
    looked_at, found = look_alikes(np.tile(known, (5, 1)), known)
    assert looked_at == len(found) == 1000
    assert look_alikes(known[:, :64], known[:, :64]) == (0, [])


def test_training_says_so(tmp_path):
    X = drawn(120, 0)
    X[100:105] = X[:5] + 0.01
    spec = EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, DIM)
    rows = (
        table.Row(Sample("", f"{i}.png", i % 2, "sdxl" if i % 2 else "phone", str(i), "test" if i >= 100 else "train"), f"{i:064x}", x)
        for i, x in enumerate(X)
    )
    table.write(tmp_path / "t.parquet", rows, spec, {"crop": "whole"})
    done = script("train_classifier.py", "t.parquet", "--head", "logistic", "--out", "m", cwd=tmp_path)
    assert "WARNING: 5 of 20 test pictures look just like one that was learnt from, and may be the same, saved again: " in done.stdout
    assert "'100.png' and '0.png', for one" in done.stdout


def test_an_encoder_that_sees_one_direction_a_class_tells_nothing():
    """Such as one that was tuned to real and fake."""
    collapsed = np.repeat([[1.0], [-1.0]], 50, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(100, DIM))
    assert look_alikes(collapsed, collapsed) == (0, [])
