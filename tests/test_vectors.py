"""Rows on disk are the rows that they would be in memory, for whatever learns from them or asks about them."""

from __future__ import annotations

import os

import numpy as np
import pytest

from deepfake_detector import protocols, registry, table, vectors
from deepfake_detector.errors import TableError, TrainingError
from deepfake_detector.evaluate import evaluate_scores
from deepfake_detector.train import train
from deepfake_detector.vectors import Collector, OnDisk, batches, joined


@pytest.fixture
def small(monkeypatch):
    """Nothing fits into memory, and a batch holds a few rows."""
    monkeypatch.setattr(vectors, "IN_MEMORY", 0)
    monkeypatch.setattr(vectors, "BATCH", 4000)


@pytest.fixture
def both(embeddings_csv, small, monkeypatch):
    """The same table in memory and on disk."""
    on_disk = table.read(embeddings_csv)
    with monkeypatch.context() as large:
        large.setattr(vectors, "IN_MEMORY", 2**30)
        return table.read(embeddings_csv), on_disk


def collected(X: np.ndarray, folder, dtype=np.float32):
    rows = Collector(X.shape, folder, dtype)
    for start in range(0, len(X), 7):
        rows.add(X[start : start + 7])
    return rows.finish()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_are_picked_as_from_an_array(small, tmp_path, dtype):
    X = np.random.default_rng(0).normal(size=(100, 12)).astype(dtype).astype(np.float32)
    kept = collected(X, tmp_path, dtype)
    assert isinstance(kept, OnDisk)
    assert (len(kept), kept.shape, kept.ndim) == (100, (100, 12), 2)
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    order = np.random.default_rng(1).permutation(100)
    for which in (slice(None), slice(20, 60), order, order[:5], order > 30):
        picked = np.asarray(kept[which])
        assert picked.dtype == np.float32
        np.testing.assert_array_equal(picked, X[which])
    np.testing.assert_array_equal(np.asarray(kept[order][10:50][order[:40] % 2 == 0]), X[order][10:50][order[:40] % 2 == 0])
    found = list(batches(kept[order]))
    assert [which for which, _ in found] == [which for which, _ in batches(X)]
    assert len(found) == 2
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), X[order])
    np.testing.assert_array_equal(kept.mapped(), X)


def test_what_is_small_stays_in_memory_and_parts_are_joined_where_there_is_room(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    assert isinstance(collected(X, tmp_path), np.ndarray)
    assert joined([X]) is X
    np.testing.assert_array_equal(joined([X, X[:3]]), np.concatenate([X, X[:3]]))
    monkeypatch.setattr(vectors, "IN_MEMORY", 4 * X.size)
    more = joined([X, X[:3]])
    assert isinstance(more, OnDisk)
    np.testing.assert_array_equal(np.asarray(more), np.concatenate([X, X[:3]]))


def test_a_disk_without_room_is_told_in_words(small, tmp_path, monkeypatch):
    with pytest.raises(TableError, match=r"30 rows of 4 numbers.*nowhere.*Make room"):
        Collector((30, 4), tmp_path / "nowhere")
    if os.path.exists("/dev/full"):
        rows = Collector((30, 4), tmp_path)
        with open("/dev/full", "r+b", buffering=0) as full, monkeypatch.context() as patched:
            patched.setattr(rows._scratch, "file", full)
            with pytest.raises(TableError, match="No space left"):
                rows.add(np.ones((30, 4), np.float32))


@pytest.mark.parametrize("head", ["logistic", "keras_mlp"])
def test_a_head_learns_the_same_from_memory_and_from_disk(both, head, monkeypatch):
    if head == "keras_mlp":  # two epochs at least, since each has an order of its own
        monkeypatch.setattr(registry.load("heads", head), "EPOCHS", 4)
    in_memory, on_disk = both
    assert isinstance(in_memory.X, np.ndarray)
    assert isinstance(on_disk.X, OnDisk)
    a, b = (train(data, head, "m") for data in both)
    np.testing.assert_array_equal(a.p_fake, b.p_fake)
    np.testing.assert_array_equal(a.bundle.p_fake(in_memory.X), b.bundle.p_fake(on_disk.X))
    assert (a.bundle.calibration, a.bundle.thresholds, a.history) == (b.bundle.calibration, b.bundle.thresholds, b.history)
    assert evaluate_scores(a.test.rows, a.p_fake, a.bundle.thresholds)["overall"]["auroc"] > 0.95


def test_a_head_that_learns_from_a_part_of_each_row_learns_the_same_from_disk(both):
    from deepfake_detector.heads.two_looks import Head

    y = both[0].rows["label"].to_numpy()
    a, b = (Head().fit(data.X, y).p_fake(data.X) for data in both)
    np.testing.assert_array_equal(a, b)


def test_protocols_and_views_work_from_disk(both):
    done = [protocols.run("leave-one-generator-out", data, "logistic") for data in both]
    assert done[0] == done[1]
    assert all(data.pictures() is data for data in both)


@pytest.mark.parametrize("head", ["svm", "knn"])
def test_a_head_that_needs_all_rows_at_once_says_so(both, head):
    with pytest.raises(TrainingError, match="51 rows of 64 out of a larger one.*logistic or keras_mlp"):
        train(both[1], head, "m")


def test_the_logistic_head_is_scikit_learns(embeddings_csv):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from deepfake_detector.heads.logistic import Head

    data = table.read(embeddings_csv)
    y = data.rows["label"].to_numpy()
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)).fit(data.X, y)
    np.testing.assert_allclose(Head().fit(data.X, y).p_fake(data.X), plain.predict_proba(data.X)[:, 1], atol=1e-4)
