"""A head learns from the first look alone, answers by both, takes no embeddings that have none, and can be taught like any linear one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepfake_detector import bundle, protocols
from deepfake_detector.adapt import adapt
from deepfake_detector.errors import TableError, TrainingError
from deepfake_detector.heads import logistic, two_looks
from deepfake_detector.metrics import log_odds
from deepfake_detector.train import train
from deepfake_detector.types import Embeddings
from tests.test_adapt import KNOWN, NEW, pictures


def looked_at_twice(places: dict[str, tuple[int, float, float]], n: int, seed: int = 0) -> Embeddings:
    """The pictures of test_adapt, and as their second look the same with other noise."""
    one = pictures(places, n, seed)
    again = one.X + np.random.default_rng(99 + seed).normal(0, 0.5, one.X.shape).astype(np.float32)
    spec = replace(one.spec, name=two_looks.ENCODER, dim=2 * one.spec.dim)
    return Embeddings(one.rows, np.hstack([one.X, again]), spec, one.crop)


def test_it_learns_from_the_first_look_alone_and_answers_by_the_mean_of_three_windows():
    data = looked_at_twice(KNOWN, 60)
    first, second = np.split(data.X, 2, axis=1)
    y = data.rows["label"].to_numpy()
    head, plain = two_looks.Head(C=0.1).fit(data.X, y), logistic.Head(C=0.1).fit(first, y)
    expected = (2 * log_odds(plain.p_fake(first)) + log_odds(plain.p_fake(second))) / 3
    np.testing.assert_allclose(log_odds(head.p_fake(data.X)), expected, atol=1e-4)
    other = np.hstack([first, np.zeros_like(second)])
    np.testing.assert_array_equal(two_looks.Head(C=0.1).fit(other, y).p_fake(data.X), head.p_fake(data.X))


def test_a_model_is_saved_loaded_and_taught(tmp_path):
    done = train(looked_at_twice(KNOWN, 150), "two_looks", "m")
    bundle.save(done.bundle, tmp_path / "m")
    model, asked = bundle.load(tmp_path / "m"), looked_at_twice(NEW, 50, seed=8)
    np.testing.assert_array_equal(model.p_fake(asked.X), done.bundle.p_fake(asked.X))
    taught = adapt(model, looked_at_twice(NEW, 30), "taught").bundle
    assert taught.p_fake(asked.X).mean() < model.p_fake(asked.X).mean() - 0.1
    bundle.save(taught, tmp_path / "taught")
    np.testing.assert_allclose(bundle.load(tmp_path / "taught").p_fake(asked.X), taught.p_fake(asked.X), atol=1e-6)
    with pytest.raises(TableError, match="48 numbers.*24"):
        model.p_fake(asked.X[:, :24])


def test_embeddings_without_a_second_look_are_refused():
    data = pictures(KNOWN, 60)  # an even number of numbers, which could be halved all the same
    with pytest.raises(
        TrainingError, match="two_looks learns from embeddings of clip_vit_b16_looks alone; the table has those of colour_hist"
    ):
        train(data, "two_looks", "m")
    with pytest.raises(TrainingError, match="two_looks learns from"):
        protocols.run("leave-one-source-out", data, "two_looks")
