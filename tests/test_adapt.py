"""A model learns a source of real pictures by a few of them, stays the model that it was, and says what it can't learn by."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import adapt as adapting
from deepfake_detector import bundle, cli, recall, split
from deepfake_detector.adapt import adapt
from deepfake_detector.errors import TrainingError
from deepfake_detector.metrics import auroc
from deepfake_detector.train import train
from deepfake_detector.types import FAKE, REAL, VIEW, Embeddings, EncoderSpec
from deepfake_detector.ui.tabs.model import describe
from tests.conftest import draw

DIM = 24
SPEC = EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, DIM)


def pictures(places: dict[str, tuple[int, float, float]], n: int, seed: int = 0) -> Embeddings:
    """`n` of each place (label, trace, content): e0 shows the trace of generation, e1 the content that fakes happen to have more of."""
    rng = np.random.default_rng(seed)
    rows, X = [], []
    for name, (label, trace, content) in places.items():
        x = rng.normal(size=(n, DIM))
        x[:, 0] += trace
        x[:, 1] += content
        X.append(x)
        rows += [(f"{name}/{seed}-{i}", label, name, f"{name}{seed}-{i}", "", f"{name}{seed}-{i}") for i in range(n)]
    frame = pd.DataFrame(rows, columns=["path", "label", "generator", "group", "split", "sha256"])
    return Embeddings(frame, np.concatenate(X).astype(np.float32), SPEC, "whole")


KNOWN = {name: (REAL, 0.0, content) for name, content in (("a", -0.5), ("b", 0.0), ("c", 0.5))} | {
    name: (FAKE, 2.0, content) for name, content in (("g", 2.5), ("h", 3.0), ("i", 3.5))
}
NEW = {"archive": (REAL, 0.0, 3.0)}  # its pictures show what until now only fakes have shown


@pytest.fixture(scope="module")
def model():
    return train(pictures(KNOWN, 150), "logistic", "m").bundle


def test_photographs_that_look_fake_are_not_called_so_once_their_source_is_known_and_fakes_are_still_found(model):
    photographs, others, fakes = pictures(NEW, 40), pictures(NEW, 200, seed=1), pictures({"g": KNOWN["g"]}, 200, seed=2)
    done = adapt(model, photographs, "archive", "mine")
    truth = np.repeat([REAL, FAKE], 200)
    before, after = (auroc(truth, np.concatenate([one.p_fake(others.X), one.p_fake(fakes.X)])) for one in (model, done.bundle))
    assert before < 0.85
    assert after > before + 0.04
    assert (model.p_fake(others.X) >= 0.5).mean() > 0.5
    first, adapted = ((one.p_fake(others.X) >= one.thresholds.fake).mean() for one in (model, done.bundle))
    assert adapted < first / 3
    known = pictures(KNOWN, 200, seed=3)
    assert auroc(known.rows["label"].to_numpy(), done.bundle.p_fake(known.X)) > 0.95
    assert done.before["real"] < done.after["real"]
    assert sum(done.before.values()) == sum(done.after.values()) == 40


def test_what_it_tells_of_its_answers_is_of_photographs_that_it_was_not_shown(model, monkeypatch):
    shown = []
    fit = adapting._fit
    known = set(model.recall.rows["group"])
    monkeypatch.setattr(adapting, "_fit", lambda m, joined, C: shown.append(set(joined.rows["group"]) - known) or fit(m, joined, C))
    twins = pictures(NEW, 20)
    twins.rows["group"] = [f"{i // 2}" for i in range(20)]
    done = adapt(model, twins, "archive", "mine")
    *parts, whole = shown
    assert len(whole) == 10
    assert len(parts) == 5
    assert set.intersection(*parts) == set()
    assert sum(done.after.values()) == 20


def test_an_adapted_model_is_read_back_the_same_and_learns_a_second_source(model, tmp_path):
    done = adapt(model, pictures(NEW, 30), "archive", "mine", "the command")
    bundle.save(done.bundle, tmp_path / "mine")
    read = bundle.load(tmp_path / "mine")
    asked = pictures(KNOWN | NEW, 20, seed=4)
    assert np.array_equal(read.p_fake(asked.X), done.bundle.p_fake(asked.X))
    training = read.manifest["training"]
    assert (read.name, training["adapted_from"], training["command"]) == ("mine", "m", "the command")
    assert training["train"]["real"]["archive"] == 30
    assert training["photographs"]["after"] == dict(done.after)
    assert len(read.recall.rows) == len(model.recall.rows) + 30
    told = describe(read.manifest)
    assert "This model is m, which has learnt archive by 30 photographs." in told
    assert f"{done.after['real']} real, {done.after['unsure']} unsure" in told
    assert "AUROC" not in told, "the figures were of another head"
    again = adapt(read, pictures({"phone": (REAL, 0.0, -4.0)}, 30), "phone", "both").bundle
    assert {"archive", "phone"} <= set(again.manifest["training"]["train"]["real"])
    photographs = pictures(NEW, 200, seed=5).X
    first, both = ((one.p_fake(photographs) >= one.thresholds.fake).mean() for one in (model, again))
    assert both < first / 3, "the first is not forgotten"


def test_with_nothing_new_to_learn_the_model_stays_as_it_is(model):
    asked = pictures(KNOWN, 100, seed=6)
    same = adapt(model, pictures({"more": KNOWN["b"]}, 10, seed=7), "more", "mine").bundle
    assert np.abs(same.p_fake(asked.X) - model.p_fake(asked.X)).mean() < 0.02


def test_it_learns_inside_the_directions_that_it_kept_as_it_would_in_all(model):
    """With as many directions as numbers nothing is lost: adapting is training on both tables."""
    photographs = pictures(NEW, 30)
    learnt = train(pictures(KNOWN, 150), "logistic", "m").bundle
    both = pd.concat([learnt.recall.rows, photographs.rows], ignore_index=True)
    X = np.concatenate([learnt.recall.X, learnt.head.pipeline_[0].transform(photographs.X) @ learnt.recall.basis])
    assert learnt.recall.basis.shape == (DIM, DIM)
    from sklearn.linear_model import LogisticRegression

    whole = LogisticRegression(C=1e-2, max_iter=2000).fit(X, both["label"], split.weights(both))
    asked = learnt.head.pipeline_[0].transform(pictures(NEW, 50, seed=8).X) @ learnt.recall.basis
    adapted = adapt(learnt, photographs, "archive", "mine").bundle
    np.testing.assert_allclose(adapted.head.p_fake(pictures(NEW, 50, seed=8).X), whole.predict_proba(asked)[:, 1], atol=1e-3)


def test_of_many_pictures_whole_groups_are_kept_and_copies_stay_copies(monkeypatch):
    data = pictures(KNOWN, 40)
    data.rows["group"] = [f"{i // 3}" for i in range(240)]
    copies = data.rows.assign(split=VIEW, path=data.rows["path"] + "#augment0")
    data = Embeddings(pd.concat([data.rows, copies], ignore_index=True), np.concatenate([data.X, data.X]), SPEC, "whole")
    monkeypatch.setattr(recall, "MOST_ROWS", 100)
    kept = train(data, "logistic", "m").bundle.recall
    assert 90 < len(kept.rows) <= 100
    assert set(kept.rows.groupby("group").size()) == {6}
    assert (kept.rows["split"] == VIEW).sum() * 2 == len(kept.rows)
    assert kept.learnt_from > 300


def test_what_it_cant_learn_by_is_said(model):
    with pytest.raises(TrainingError, match="at least 10 different photographs from it; there are 9"):
        adapt(model, pictures(NEW, 9), "archive", "mine")
    same = pictures(NEW, 12)
    same.rows["sha256"] = "one picture"
    with pytest.raises(TrainingError, match="there are 1"):
        adapt(model, same, "archive", "mine")
    with pytest.raises(TrainingError, match="has learnt a source 'a' already"):
        adapt(model, pictures(NEW, 12), "a", "mine")
    svm = train(pictures(KNOWN, 30), "svm", "s").bundle
    with pytest.raises(TrainingError, match="The model s keeps nothing of its training pictures"):
        adapt(svm, pictures(NEW, 12), "archive", "mine")


def test_the_command_learns_a_folder_and_the_new_model_judges(model_folder, tmp_path, capsys):
    for i in range(12):
        draw(tmp_path / "phone" / f"{i}.png", 1, 900 + i)  # as blue as the fakes are
    (tmp_path / "phone" / "note.jpg").write_text("no picture")
    base = ["--no-cache", f"--model={model_folder}"]
    assert cli.main(["adapt", str(tmp_path / "phone"), f"--out={tmp_path / 'mine'}", *base]) == 0
    printed = capsys.readouterr()
    assert "Of 12 photographs from phone" in printed.out
    assert "note.jpg" in printed.err
    assert cli.main(["predict", str(tmp_path / "phone" / "3.png"), f"--model={tmp_path / 'mine'}", "--no-cache", "--json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert cli.main(["predict", str(tmp_path / "phone" / "3.png"), *base, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["verdict"] == "fake"
    assert after["p_fake"] < before["p_fake"]
    assert cli.main(["adapt", str(tmp_path / "nowhere"), f"--out={tmp_path / 'x'}", *base]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.fixture(scope="module")
def model_folder(embeddings_csv, tmp_path_factory):
    from deepfake_detector import table

    folder = tmp_path_factory.mktemp("models") / "colours"
    bundle.save(train(table.read(embeddings_csv), "logistic", "colours").bundle, folder)
    return folder
