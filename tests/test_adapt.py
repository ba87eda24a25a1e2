"""A model learns a source or a generator by a few pictures, stays the model that it was, and says what it can't learn by."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import adapt as adapting
from deepfake_detector import bundle, cli, recall, split
from deepfake_detector.adapt import adapt
from deepfake_detector.errors import BundleError, TrainingError
from deepfake_detector.heads import logistic
from deepfake_detector.metrics import auroc
from deepfake_detector.train import train
from deepfake_detector.types import FAKE, REAL, VIEW, Embeddings, EncoderSpec, Thresholds
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
    done = adapt(model, photographs, "mine")
    truth = np.repeat([REAL, FAKE], 200)
    before, after = (auroc(truth, np.concatenate([one.p_fake(others.X), one.p_fake(fakes.X)])) for one in (model, done))
    assert before < 0.85
    assert after > before + 0.04
    assert (model.p_fake(others.X) >= 0.5).mean() > 0.5
    first, adapted = ((one.p_fake(others.X) >= one.thresholds.fake).mean() for one in (model, done))
    assert adapted < first - 0.15
    known = pictures(KNOWN, 200, seed=3)
    assert auroc(known.rows["label"].to_numpy(), done.p_fake(known.X)) > 0.95
    [shown] = shown_to(done)
    assert (shown["name"], shown["label"], shown["n"]) == ("archive", "real", 40)
    assert shown["before"].get("real", 0) < shown["after"]["real"]
    assert sum(shown["before"].values()) == sum(shown["after"].values()) == 40


def test_a_generator_that_it_misses_is_found_once_it_was_shown_and_real_pictures_stay_real(model):
    """Its fakes show another trace than those learnt from, along a direction that told nothing until now."""
    unlike = pictures({"new": (FAKE, 0.0, 0.0)}, 240, seed=9)
    unlike.X[:, 5] += 2.5
    done = adapt(model, unlike.take(np.arange(40)), "mine")
    asked, known = unlike.X[40:], pictures(KNOWN, 200, seed=3)
    reals = known.X[known.rows["label"] == REAL]
    truth = np.repeat([REAL, FAKE], [len(reals), len(asked)])
    before, after = (auroc(truth, np.concatenate([one.p_fake(reals), one.p_fake(asked)])) for one in (model, done))
    assert before < 0.7
    assert after > before + 0.1
    assert auroc(known.rows["label"].to_numpy(), done.p_fake(known.X)) > 0.95
    assert (done.p_fake(reals) >= done.thresholds.fake).mean() < 0.1
    [shown] = shown_to(done)
    assert (shown["name"], shown["label"]) == ("new", "fake")
    assert shown["after"].get("real", 0) < shown["before"]["real"]
    assert done.manifest["training"]["train"]["fake"]["new"] == 40


def shown_to(taught) -> list[dict]:
    return taught.manifest["training"]["shown"]


def together(*parts: Embeddings) -> Embeddings:
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    return Embeddings(rows, np.concatenate([part.X for part in parts]), SPEC, "whole")


def test_a_source_and_a_generator_are_learnt_at_once_and_told_apart(model):
    done = adapt(model, together(pictures(NEW, 30), pictures({"new": (FAKE, 2.0, 3.0)}, 20, seed=1)), "mine")
    assert [(one["name"], one["label"], one["n"]) for one in shown_to(done)] == [("archive", "real", 30), ("new", "fake", 20)]
    asked = pictures(NEW | {"new": (FAKE, 2.0, 3.0)}, 200, seed=2)
    before, after = (auroc(asked.rows["label"].to_numpy(), one.p_fake(asked.X)) for one in (model, done))
    assert after > before
    told = describe(done.manifest)
    assert "| archive | 30 real |" in told
    assert "| new | 20 fake |" in told
    right = [sum(one[when].get(one["label"], 0) for one in shown_to(done)) for when in ("before", "after")]
    assert right[1] > right[0]
    assert f"Of these 50 pictures answered rightly: {right[0]} before, {right[1]} now;" in told
    assert "It did not help" not in told
    shown = [{"name": "a", "label": "real", "n": 9, "before": {"unsure": 9}, "after": {"real": 1, "fake": 2, "unsure": 6}}]
    worse = describe({"training": done.manifest["training"] | {"shown": shown}})
    assert "Of these 9 pictures answered rightly: 0 before, 1 now; wrongly: 0 before, 2 now. It did not help." in worse


def test_what_it_tells_of_its_answers_is_of_photographs_that_it_was_not_shown(model, monkeypatch):
    shown = []
    fit = adapting._fit
    known = set(model.recall.rows["group"])
    monkeypatch.setattr(adapting, "_fit", lambda m, old, joined: shown.append(set(joined.rows["group"]) - known) or fit(m, old, joined))
    twins = pictures(NEW, 20)
    twins.rows["group"] = [f"{i // 2}" for i in range(20)]
    done = adapt(model, twins, "mine")
    *parts, whole = shown
    assert len(whole) == 10
    assert len(parts) == 5
    assert set.intersection(*parts) == set()
    assert sum(shown_to(done)[0]["after"].values()) == 20


def row(counted) -> str:
    return ", ".join(str(counted.get(answer, 0)) for answer in ("real", "unsure", "fake"))


def test_an_adapted_model_is_read_back_the_same_and_learns_a_second_source(model, tmp_path):
    bundle.save(model, tmp_path / "m")  # as it is taught in use: from a folder, into another
    done = adapt(bundle.load(tmp_path / "m"), pictures(NEW, 30), "mine", "the command")
    bundle.save(done, tmp_path / "mine")
    read = bundle.load(tmp_path / "mine")
    assert (read.thresholds, read.calibration) == (model.thresholds, model.calibration)
    assert model.kept_apart(0.5)
    assert not read.kept_apart(0.5)  # what was taught may have moved those
    assert done.fingerprint == read.fingerprint, "a report that was kept names the model that was saved"
    asked = pictures(KNOWN | NEW, 20, seed=4)
    assert np.array_equal(read.p_fake(asked.X), done.p_fake(asked.X))
    training = read.manifest["training"]
    assert (read.name, training["adapted_from"], training["command"]) == ("mine", "m", "the command")
    assert training["train"]["real"]["archive"] == 30
    [shown] = training["shown"]
    assert [shown] == shown_to(done)
    assert len(read.recall.rows) == len(model.recall.rows) + 30
    told = describe(read.manifest)
    assert "This model is m, which has learnt" in told
    assert f"| archive | 30 real | {row(shown['before'])} | {row(shown['after'])} |" in told
    assert "AUROC" not in told, "the figures were of another head"
    again = adapt(read, pictures({"phone": (REAL, 0.0, -4.0)}, 30), "both")
    assert {"archive", "phone"} <= set(again.manifest["training"]["train"]["real"])
    photographs = pictures(NEW, 200, seed=5).X
    first, both = ((one.p_fake(photographs) >= one.thresholds.fake).mean() for one in (model, again))
    assert both < first - 0.05, "the first is not forgotten"


def test_with_nothing_new_to_learn_the_model_stays_as_it_is(model):
    asked = pictures(KNOWN, 100, seed=6)
    same = adapt(model, pictures({"more": KNOWN["b"]}, 10, seed=7), "mine")
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
    adapted = adapt(learnt, photographs, "mine")
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


def test_of_long_clips_each_leaves_some_frames_to_learn_by(monkeypatch, tmp_path):
    data = pictures(KNOWN, 40)
    data.rows["group"] = data.rows["generator"]  # one clip each
    monkeypatch.setattr(recall, "MOST_ROWS", 100)
    monkeypatch.setattr(recall, "_OF_ONE_GROUP", 10)
    head = logistic.Head().learn(data.X, data.rows)
    kept = recall.remember(head, data, 0)
    assert dict(kept.rows["generator"].value_counts()) == dict.fromkeys(KNOWN, 10)
    np.testing.assert_array_equal(kept.basis, recall.remember(head, data, 0).basis)
    replace(kept, X=1e6 * kept.X).save(tmp_path)
    assert np.isfinite(recall.Recall.load(tmp_path / recall.FILE).X).all(), "what is too far out is kept as far as half a number reaches"


@pytest.mark.parametrize("damage", ["cut", "nan", "no zip", "other directions", "a pickle"])
def test_what_a_model_keeps_is_refused_in_words_where_it_is_damaged(model, tmp_path, damage):
    bundle.save(model, tmp_path / "m")
    file = tmp_path / "m" / recall.FILE
    with np.load(file) as stored:
        parts = dict(stored)
    if damage == "nan":
        parts["X"][0, 0] = np.nan
    if damage == "other directions":
        parts["basis"] = parts["basis"][:, 1:]
    if damage == "a pickle":  # which would do whatever it holds
        parts["names"] = parts["names"].astype(object)
    np.savez_compressed(file, **parts)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    if damage == "no zip":
        np.save(tmp_path / "other.npy", np.zeros(3))
        (tmp_path / "other.npy").replace(file)
    with pytest.raises(BundleError, match="damaged, or of another version .*Train the model again"):
        bundle.load(tmp_path / "m").recall  # noqa: B018


def test_what_it_cant_learn_by_is_said(model):
    with pytest.raises(TrainingError, match="at least 10 different pictures; archive has 9 real ones"):
        adapt(model, pictures(NEW, 9), "mine")
    few = together(pictures(NEW, 12), pictures({"new": KNOWN["g"]}, 3))
    with pytest.raises(TrainingError, match="new has 3 fake ones"):
        adapt(model, few, "mine")
    same = pictures(NEW, 12)
    same.rows["sha256"] = "one picture"
    with pytest.raises(TrainingError, match="archive has 1 real"):
        adapt(model, same, "mine")
    contradiction = together(pictures(NEW, 12), pictures({"new": KNOWN["g"]}, 12))
    contradiction.rows.loc[[0, 12], "sha256"] = "one picture"
    with pytest.raises(TrainingError, match="1 of the pictures .*fake, byte for byte: 'archive/0-0' and 'new/0-0', for one"):
        adapt(model, contradiction, "mine")
    with pytest.raises(TrainingError, match="has learnt 'a' already"):
        adapt(model, pictures({"a": KNOWN["a"]}, 12), "mine")
    known = pictures({"phone": KNOWN["a"]}, 12)
    known.rows["sha256"] = pictures(KNOWN, 150).rows["sha256"]
    with pytest.raises(TrainingError, match=r"\d of the pictures the model m has learnt from already, 'phone/0-0' for one. Leave them out"):
        adapt(model, known, "mine")
    svm = train(pictures(KNOWN, 30), "svm", "s").bundle
    with pytest.raises(TrainingError, match="The model s keeps nothing of its training pictures"):
        adapt(svm, pictures(NEW, 12), "mine")


def test_what_was_made_of_a_photograph_that_was_learnt_is_known(model):
    rows = pictures(NEW, 3).rows
    assert not model.has_learnt(rows).any()
    learnt = pictures(KNOWN, 150).rows["sha256"][0]
    assert model.has_learnt(rows.assign(made_from=["", learnt, "other"])).tolist() == [False, True, False]
    made = pictures(KNOWN, 150)
    made.rows["made_from"] = [f"photograph {i}" for i in range(len(made))]
    assert train(made, "logistic", "of pairs").bundle.has_learnt(rows.assign(sha256="photograph 0")).all()


def test_the_command_learns_folders_and_the_new_model_judges(model_folder, tmp_path, capsys):
    for i in range(12):
        draw(tmp_path / "phone" / f"{i}.png", 1, 900 + i)  # as blue as the fakes are
        draw(tmp_path / "painter.v6" / f"{i}.png", 1, 950 + i)
    (tmp_path / "phone" / "note.jpg").write_text("no picture")
    phone, painter, mine = tmp_path / "phone", tmp_path / "painter.v6", tmp_path / "mine"
    base = ["--no-cache", f"--model={model_folder}"]
    assert cli.main(["adapt", "--real", str(phone), f"--out={mine}", *base]) == 0
    printed = capsys.readouterr()
    assert "12 real, phone" in printed.out
    assert "note.jpg" in printed.err
    judge = ["predict", str(phone / "3.png"), "--no-cache", "--json"]
    assert cli.main([*judge, f"--model={mine}"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert cli.main([*judge, f"--model={model_folder}"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["verdict"] == "fake"
    assert after["p_fake"] < before["p_fake"]
    assert cli.main(["adapt", "--real", str(phone), "--fake", str(painter), f"--out={mine}", *base]) == 0
    assert "12 fake, painter.v6" in capsys.readouterr().out
    assert bundle.load(mine).manifest["training"]["train"]["fake"]["painter.v6"] == 12


def test_folders_that_cant_be_learnt_are_said_and_leave_no_model(model_folder, tmp_path, capsys):
    phone, text, twin = tmp_path / "phone", tmp_path / "text", tmp_path / "other" / "phone"
    for i in range(12):
        draw(phone / f"{i}.png", 1, 900 + i)
        draw(twin / f"{i}.png", 1, 950 + i)
        draw(tmp_path / "called" / "fake" / f"{i}.png", 1, 970 + i)
    text.mkdir()
    for folder in (phone, text):
        (folder / "note.jpg").write_text("no picture")
    for folders, said in (
        ([], "nothing to learn"),
        (["--real", tmp_path / "nowhere"], "nowhere"),
        (["--real", phone, twin], "Two folders are called 'phone'"),
        (["--real", phone, "--fake", text], "No picture of text can be used; text/note.jpg, for one: not a picture"),
        (["--real", tmp_path / "called"], "no real pictures in"),
    ):
        assert cli.main(["adapt", *map(str, folders), f"--out={tmp_path / 'x'}", "--no-cache", f"--model={model_folder}"]) == 2
        assert said in capsys.readouterr().err
    with patch("deepfake_detector.adapt.embed_samples", side_effect=KeyboardInterrupt):
        assert cli.main(["adapt", "--real", str(twin), f"--out={tmp_path / 'x'}", "--no-cache", f"--model={model_folder}"]) == 130
    gc.collect()
    assert capsys.readouterr().err.endswith("stopped.\n"), "the bar is not drawn again below it"
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def model_folder(embeddings_csv, tmp_path_factory):
    from deepfake_detector import table

    folder = tmp_path_factory.mktemp("models") / "colours"
    # Of so few pictures nothing can be promised, so the thresholds are given.
    bundle.save(replace(train(table.read(embeddings_csv), "logistic", "colours").bundle, thresholds=Thresholds(0.3, 0.7)), folder)
    return folder
