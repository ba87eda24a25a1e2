"""A head learns from the first look alone, answers by both, takes no embeddings that have none, and can be taught like any linear one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import bundle, protocols, split
from deepfake_detector.adapt import adapt
from deepfake_detector.errors import TableError, TrainingError
from deepfake_detector.heads import logistic, two_looks
from deepfake_detector.metrics import auroc, log_odds
from deepfake_detector.recall import remember
from deepfake_detector.train import train
from deepfake_detector.types import FAKE, REAL, VIEW, Embeddings
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


def opposite(n: int, seed: int = 0, gan: str = "repainted") -> Embeddings:
    """The known places, and fakes whose trace is the opposite of theirs."""
    return looked_at_twice(KNOWN | {gan: (FAKE, -3.0, 0.0)}, n, seed)


def test_photographs_painted_anew_are_learnt_apart_since_what_they_show_is_the_opposite_of_other_fakes():
    asked = opposite(200, seed=3)
    truth, gan = asked.rows["label"].to_numpy(), (asked.rows["generator"] == "repainted").to_numpy()
    apart, together = (
        two_looks.Head().learn(data.X, data.rows).p_fake(asked.X) for data in (opposite(150), opposite(150, gan="as any other"))
    )
    assert auroc(truth[(truth == REAL) | gan], together[(truth == REAL) | gan]) < 0.6
    assert auroc(truth[(truth == REAL) | gan], apart[(truth == REAL) | gan]) > 0.85
    assert auroc(truth[~gan], apart[~gan]) > 0.85
    assert auroc(truth, apart) > auroc(truth, together) + 0.05


def test_what_painting_shows_in_the_corners_alone_is_learnt_though_the_middle_shows_the_opposite():
    """By both looks nothing tells such pairs; by the first they tell fakes that show the same everywhere."""
    data, half = opposite(150), looked_at_twice(KNOWN, 1).spec.dim // 2
    data.X[data.rows["generator"] == "repainted", half] = 3.0
    asked = looked_at_twice(KNOWN | {"new": (FAKE, -3.0, 0.0)}, 200, seed=3)
    new = (asked.rows["label"] == REAL) | (asked.rows["generator"] == "new")
    truth, p_fake = asked.rows["label"].to_numpy(), two_looks.Head().learn(data.X, data.rows).p_fake(asked.X)
    assert auroc(truth[new], p_fake[new]) > 0.85


def test_degraded_copies_of_photographs_are_not_taken_for_painted():
    """Copies lose in the corners part of what painting loses, and differ from it in something else."""
    whole = opposite(150)
    copies = looked_at_twice({name: (label, -2.0, content) for name, (label, _, content) in KNOWN.items() if label == REAL}, 150, seed=1)
    copies.X[:, 2] += 3.0
    together = pd.concat([whole.rows, copies.rows.assign(split=VIEW)], ignore_index=True)
    knows = two_looks.Head().learn(np.concatenate([whole.X, copies.X]), together)
    knows_none = two_looks.Head().learn(whole.X, whole.rows)
    asked, truth = np.concatenate([copies.X, opposite(150, seed=2).X[-150:]]), np.repeat([REAL, FAKE], [len(copies), 150])
    assert auroc(truth, knows.p_fake(asked)) > auroc(truth, knows_none.p_fake(asked)) + 0.05


def test_the_second_look_teaches_nothing_of_other_fakes_or_copies():
    data = opposite(60)
    data.rows["split"] = np.where(np.arange(len(data)) % 3 == 0, VIEW, data.rows["split"])
    of_copies_and_others = (data.rows["split"] == VIEW) | ~data.rows["generator"].isin(["a", "b", "c", "repainted"])
    other = data.X.copy()
    other[of_copies_and_others.to_numpy(), data.spec.dim // 2 :] = np.nan
    head, same = (two_looks.Head().learn(X, data.rows) for X in (data.X, other))
    asked = opposite(20, seed=5).X
    np.testing.assert_array_equal(head.p_fake(asked), same.p_fake(asked))


def test_where_all_fakes_are_painted_anew_they_are_fakes_like_any_other():
    data = looked_at_twice({name: KNOWN[name] for name in "abc"} | {"repainted": (FAKE, -3.0, 0.0)}, 60)
    head, plain = two_looks.Head().learn(data.X, data.rows), two_looks.Head().learn(data.X, data.rows.replace("repainted", "g"))
    np.testing.assert_array_equal(head.p_fake(data.X), plain.p_fake(data.X))
    taught = adapt(train(data, "two_looks", "m").bundle, looked_at_twice({"h": KNOWN["h"]}, 30), "taught")
    asked = looked_at_twice({name: KNOWN[name] for name in "abch"}, 100, seed=4)
    assert auroc(asked.rows["label"].to_numpy(), taught.p_fake(asked.X)) > 0.85


def test_taught_nothing_a_head_that_learnt_both_apart_answers_as_before():
    """Also where a solver stopped short, and of rows that are kept rounded."""
    data, asked = opposite(150), opposite(50, seed=8)
    head = two_looks.Head().learn(data.X, data.rows)
    before, kept = head.p_fake(asked.X), remember(head, data, seed=0)
    assert set(kept.rows["look"]) == {1, 2}
    assert len(kept.rows) > 200
    head.learn_again(kept.X.round(1), kept.rows, np.ones(len(kept.rows), bool), kept.basis, 1.0)
    np.testing.assert_allclose(head.p_fake(asked.X), before, atol=1e-5)


@pytest.mark.parametrize("scaling", [0.1, 3.0])
def test_an_intercept_that_is_held_back_is_that_of_liblinear(scaling):
    from sklearn.linear_model import LogisticRegression

    data = pictures({name: KNOWN[name] for name in "abc"} | {"repainted": (FAKE, -3.0, 0.0)}, 40)
    y, weight = data.rows["label"].to_numpy(), split.weights(data.rows)
    ours = logistic.with_held_intercept(0.1, scaling, 0, data.X, y, weight)
    theirs = LogisticRegression(C=0.1, solver="liblinear", intercept_scaling=scaling, tol=1e-8).fit(data.X, y, weight)
    np.testing.assert_allclose(ours.decision_function(data.X), theirs.decision_function(data.X), atol=5e-3)
    free = logistic.regression(0.1, 0).fit(data.X, y, weight)
    assert abs(ours.intercept_[0]) < abs(free.intercept_[0])


def test_taught_in_all_directions_a_regression_with_its_intercept_held_back_is_as_if_it_had_learnt_all():
    """With as many directions as numbers nothing is lost, so that the penalty must be the same in both."""
    known, new = pictures(KNOWN, 40), pictures(NEW, 30)
    rows, X = pd.concat([known.rows, new.rows], ignore_index=True), np.concatenate([known.X, new.X]).astype(np.float64)
    taught, whole = (
        logistic.with_held_intercept(0.1, 0.2, 0, Z, some["label"].to_numpy(), split.weights(some))
        for Z, some in ((X[: len(known)], known.rows), (X, rows))
    )
    logistic.learn_within(taught, X, rows, np.arange(len(X)) < len(known), np.eye(X.shape[1]), 1.0)
    np.testing.assert_allclose(taught.decision_function(X), whole.decision_function(X), atol=1e-4)


def test_a_head_that_learnt_both_apart_is_saved_loaded_and_taught(tmp_path):
    """The new source's photographs show what until now only those painted anew have shown."""
    done = train(opposite(150), "two_looks", "m")
    bundle.save(done.bundle, tmp_path / "m")
    model = bundle.load(tmp_path / "m")
    new = {"archive": (REAL, -3.0, 3.0)}
    asked = looked_at_twice(new, 50, seed=8)
    np.testing.assert_array_equal(model.p_fake(asked.X), done.bundle.p_fake(asked.X))
    taught = adapt(model, looked_at_twice(new, 30), "taught")
    assert taught.p_fake(asked.X).mean() < model.p_fake(asked.X).mean() - 0.1
    known = opposite(100, seed=9)
    assert auroc(known.rows["label"].to_numpy(), taught.p_fake(known.X)) > 0.85
    bundle.save(taught, tmp_path / "taught")
    np.testing.assert_allclose(bundle.load(tmp_path / "taught").p_fake(asked.X), taught.p_fake(asked.X), atol=1e-6)


def test_a_model_is_saved_loaded_and_taught(tmp_path):
    done = train(looked_at_twice(KNOWN, 150), "two_looks", "m")
    bundle.save(done.bundle, tmp_path / "m")
    model, asked = bundle.load(tmp_path / "m"), looked_at_twice(NEW, 50, seed=8)
    np.testing.assert_array_equal(model.p_fake(asked.X), done.bundle.p_fake(asked.X))
    taught = adapt(model, looked_at_twice(NEW, 30), "taught")
    assert taught.p_fake(asked.X).mean() < model.p_fake(asked.X).mean() - 0.1
    bundle.save(taught, tmp_path / "taught")
    np.testing.assert_allclose(bundle.load(tmp_path / "taught").p_fake(asked.X), taught.p_fake(asked.X), atol=1e-6)
    with pytest.raises(TableError, match="48 numbers.*24"):
        model.p_fake(asked.X[:, :24])


def test_real_pictures_are_learnt_and_taught_whatever_their_source_is_called():
    named = looked_at_twice({"repainted walls" if name == "a" else name: place for name, place in KNOWN.items()}, 60)
    plain = looked_at_twice(KNOWN, 60)
    one, other = train(plain, "two_looks", "m").bundle, train(named, "two_looks", "m").bundle
    asked = looked_at_twice(KNOWN, 20, seed=5).X
    np.testing.assert_allclose(one.p_fake(asked), other.p_fake(asked), atol=0.02)
    (source,) = NEW
    shown = [looked_at_twice({name: NEW[source]}, 20, seed=6) for name in ("archive", "my repainted house")]
    taught = [adapt(one, pictures, "mine").p_fake(asked) for pictures in shown]
    np.testing.assert_allclose(*taught, atol=1e-3)


def test_embeddings_without_a_second_look_are_refused():
    data = pictures(KNOWN, 60)  # an even number of numbers, which could be halved all the same
    with pytest.raises(
        TrainingError, match="two_looks learns from embeddings of clip_vit_b16_looks alone; the table has those of colour_hist"
    ):
        train(data, "two_looks", "m")
    with pytest.raises(TrainingError, match="two_looks learns from"):
        protocols.run("leave-one-source-out", data, "two_looks")
