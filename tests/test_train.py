"""Training: splits that don't leak, the document's recipe, promises that hold, and words for what can't be learnt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

from deepfake_detector import bundle, registry, split, table
from deepfake_detector.calibration import Calibration, Scores, allowed_errors, fit_calibration, fit_thresholds, kept_apart
from deepfake_detector.errors import BundleError, TableError, TrainingError
from deepfake_detector.evaluate import per_picture
from deepfake_detector.intervals import clopper_pearson, effective_count
from deepfake_detector.train import _few_enough, fit_promise, judged, train
from deepfake_detector.types import VIEW, Embeddings, EncoderSpec, Sample, Thresholds
from tests.conftest import ROOT, script


def rows(labels, groups=None, generators=None, splits=None, sha=None) -> pd.DataFrame:
    n = len(labels)
    return pd.DataFrame(
        {
            "path": [f"{i}.jpg" for i in range(n)],
            "label": labels,
            "generator": generators if generators is not None else ["g"] * n,
            "group": groups if groups is not None else [str(i) for i in range(n)],
            "split": splits if splits is not None else [""] * n,
            "sha256": sha if sha is not None else [f"sha{i}" for i in range(n)],
        }
    )


def test_plain_split_is_80_20_and_stratified():
    r = rows([0] * 100 + [1] * 50)
    learn, test, how = split.train_test(r, seed=0)
    assert (len(learn), len(test)) == (120, 30)
    assert r["label"].iloc[test].sum() == 10
    assert how == "80/20, stratified by class"
    assert set(learn) | set(test) == set(range(150))


def test_groups_stay_on_one_side_and_so_do_identical_files():
    groups = [str(i // 5) for i in range(200)]
    sha = [f"s{i}" for i in range(200)]
    sha[0] = sha[199]  # a copy under another group's name ties the two groups together
    r = rows([0, 1, 1, 1, 1] * 40, groups, sha=sha)
    for seed in range(5):
        learn, test, how = split.train_test(r, seed)
        assert not {groups[i] for i in learn} & {groups[i] for i in test}
        assert not {sha[i] for i in learn} & {sha[i] for i in test}
        assert "groups kept together" in how
        assert 0.15 < len(test) / 200 < 0.25


def test_few_groups_are_parted_as_far_as_they_go_and_one_is_refused():
    few = rows([0, 1] * 40, [f"{i % 2}{i % 8 // 4}" for i in range(80)])  # two groups of each class
    learn, test, how = split.train_test(few, 0)
    assert (len(learn), len(test)) == (40, 40)
    assert how == "50/50, stratified by class, groups kept together"
    for labels, groups in (([0, 1] * 40, ["a", "b"] * 40), ([0] * 60 + [1], None)):
        with pytest.raises(TrainingError, match="at least two groups"):
            split.train_test(rows(labels, groups), 0)


def test_the_data_sets_own_test_split_is_kept_and_what_leaks_is_left_out():
    splits = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    learn, test, how = split.train_test(rows([0, 1] * 50, splits=splits), seed=0)
    assert list(test) == list(range(80, 100))
    assert how == "the data set's own test split"
    groups = [str(i) for i in range(100)]
    groups[99] = groups[0]
    learn, test, how = split.train_test(rows([0, 1] * 50, groups, splits=splits), seed=0)
    assert 0 not in learn
    assert (len(learn), len(test)) == (79, 20)
    assert "without 1 training pictures" in how
    assert split.train_test(rows([0, 1] * 50, splits=["test"] * 100), seed=0)[2] == "80/20, stratified by class", "nothing else is there"


def test_a_held_out_real_source_takes_its_reconstructions_with_it():
    labels = [0] * 60 + [1] * 60
    generators = ["a", "b", "c"] * 20 + ["recon"] * 60
    groups = [str(i % 60) for i in range(120)]  # each fake is the reconstruction of a real
    for learn, scored in split.real_source_folds(rows(labels, groups, generators)):
        assert len({generators[i] for i in scored}) == 1
        assert not {groups[i] for i in learn} & {groups[i] for i in scored}
    assert split.real_source_folds(rows([0] * 10 + [1] * 10, generators=["a", "b"] * 10)) == []


def test_a_held_out_generator_is_not_learnt_from_and_real_pictures_remade_are_learnt_from_but_not_scored():
    labels = [0] * 60 + [1] * 60
    generators = ["photo"] * 60 + ["g", "h", "i", "vae_recon"] * 15
    groups = [str(i % 60) if i % 4 == 3 else str(i) for i in range(120)]
    r = rows(labels + [1], [*groups, groups[60]], [*generators, "g"], [""] * 120 + ["view"], [str(i) for i in range(120)] + ["60"])
    folds = split.generator_folds(r)
    assert [{generators[i] for i in scored} for _, scored in folds] == [{"g"}, {"h"}, {"i"}]
    for learn, scored in folds:
        assert len(scored) == 15
        assert not {r["generator"][i] for i in learn} & {generators[i] for i in scored}
        assert {"photo", "vae_recon"} <= {r["generator"][i] for i in learn}
        assert not {r["group"][i] for i in learn} & {groups[i] for i in scored}
    two = r[r["generator"] != "i"].reset_index(drop=True)
    assert [{two["generator"][i] for i in scored} for _, scored in split.generator_folds(two)] == [{"g"}, {"h"}]
    for too_few in (["h", "i"], ["i", "vae_recon"]):
        assert split.generator_folds(r[~r["generator"].isin(too_few)]) == []


def test_where_every_group_has_all_generators_a_held_out_one_leaves_most_groups_to_learn_from():
    labels, generators = [0, 1, 1, 1, 1] * 100, ["photo", "a", "b", "c", "d"] * 100
    groups = [str(i // 5) for i in range(500)]
    folds = split.generator_folds(rows(labels, groups, generators))
    assert len(folds) == 8
    assert sorted(i for _, scored in folds for i in scored) == [i for i in range(500) if labels[i]]
    for learn, scored in folds:
        assert {generators[i] for i in learn} == set(generators) - {generators[i] for i in scored}
        assert not {groups[i] for i in learn} & {groups[i] for i in scored}
        assert len({groups[i] for i in learn}) + len(scored) == 100
        assert len(scored) == 50


def test_many_generators_are_held_out_in_five_folds():
    names = [f"g{i:02}" for i in range(13)]
    folds = split.generator_folds(rows([0] * 13 + [1] * 13, generators=["photo"] * 13 + names))
    assert len(folds) == 5
    assert sorted(i for _, scored in folds for i in scored) == list(range(13, 26))


def test_generators_of_one_line_are_held_out_together():
    names = ["sd14", "stable_diffusion_v1_5", "progan", "glide"]
    origin = ["photo"] * 12 + names * 3
    table = rows([0] * 12 + [1] * 12, generators=origin)
    held_out = [{origin[i] for i in scored} for _, scored in split.generator_folds(table)]
    assert sorted(map(sorted, held_out)) == [["glide"], ["progan"], ["sd14", "stable_diffusion_v1_5"]]
    assert split.generator_folds(table[table["generator"] != "glide"]) == []  # nothing but one line would be learnt from
    both = rows([0] * 60 + [1] * 60, generators=["a"] * 30 + ["b"] * 30 + names * 15)
    beside = both.assign(generator=["progan"] * 30 + both["generator"].tolist()[30:])  # a source named for the fakes beside it
    assert np.flatnonzero(split.left_out_with(beside, 0, "progan")).tolist() == list(range(30))
    for fold in split.left_out_folds(both, 2):
        assert {"sd14", "stable_diffusion_v1_5"} <= set(fold.generators) or not {"sd14", "stable_diffusion_v1_5"} & set(fold.generators)


def test_folds_do_not_go_by_the_order_of_rows():
    """Real and fake pictures in turns, as a list of pairs has them: by turns of the rows each fold would have one class."""
    labels = np.tile([0, 1], 60)
    origin = np.where(labels == 0, np.repeat(["a", "b"], 60), np.tile(np.repeat(["sdxl", "glide"], 2), 30))
    for fold in split.left_out_folds(rows(labels.tolist(), generators=origin.tolist()), 2):
        assert labels[fold.known].tolist().count(0) == labels[fold.known].tolist().count(1) == 5, "a sixth of what is learnt from otherwise"
    groups = np.arange(120).repeat(3)
    turns = split.dealt(groups, origin.repeat(3), 5)
    assert all(len(set(turns[groups == group])) == 1 for group in range(120)), "a group keeps together"
    for name in set(origin):
        counts = np.bincount(turns[origin.repeat(3) == name], minlength=5)
        assert np.ptp(counts) <= 3, "each source in each fold alike"


def test_files_of_both_classes_are_refused():
    both = rows([0] * 30 + [1] * 30, sha=[f"file {i % 58}" for i in range(60)])
    data = Embeddings(
        both, np.eye(60, 64, dtype=np.float32), EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, 64), "whole"
    )
    with pytest.raises(TrainingError, match=r"2 files are there both as real and as fake, byte for byte: '0.jpg' and '58.jpg', for one"):
        train(data, "logistic", "m")


def apart(p_fake: np.ndarray) -> Scores:
    """Scores of pictures that have nothing to do with each other."""
    return Scores(p_fake, np.arange(len(p_fake)))


def test_the_promise_about_fakes_rests_on_new_generators_where_these_are_enough():
    real, fake, new = (apart(np.linspace(*ends, 100)) for ends in ((0.05, 0.3), (0.7, 0.95), (0.2, 0.9)))
    none = apart(np.arange(0.0))
    calibration, thresholds, promise = fit_promise(real, real, fake, new)
    assert (calibration(new.p_fake) <= thresholds.real).mean() < 0.1
    assert promise["fakes_from"] == "generators not learnt from"
    assert promise["pictures"] == {"real": 100, "fake": 100}
    alike, wider, promise = fit_promise(
        real, real, fake, apart(new.p_fake[:28])
    )  # 28 without a miss don't show that a tenth is never passed
    assert promise["fakes_from"] == "generators learnt from, but not these pictures"
    assert alike == calibration
    assert wider.real > thresholds.real
    assert fit_promise(real, none, fake, new)[2]["real_pictures_from"] == "sources learnt from, but not these pictures"
    for held_out in ((none, none, fake, new), (real, real, none, none)):
        with pytest.raises(TrainingError, match="No picture of one of the classes"):
            fit_promise(*held_out)


def test_an_answer_is_set_beside_the_pictures_that_the_promise_rests_on():
    known, new = (apart(np.random.default_rng(seed).beta(*shape, 400)) for seed, shape in enumerate([(2, 5), (2, 4)]))
    fake, missed = (apart(1 - scores.p_fake) for scores in (known, new))
    calibration, _, promise = fit_promise(known, new, fake, missed)
    for p_fake in (0.1, 0.3, 0.6):
        beside = kept_apart(promise, p_fake)
        for share, scores in ((beside.real, new), (beside.fake, missed)):
            assert share == pytest.approx((calibration(scores.p_fake) >= p_fake).mean(), abs=0.01)
    assert kept_apart(promise, 1.0).fake == kept_apart(promise, 1.0).real == 0
    assert kept_apart(promise, 0.0).fake == kept_apart(promise, 0.0).real == 1
    assert (beside.real_from, beside.fake_from) == ("sources not learnt from", "generators not learnt from")
    assert kept_apart({"real_pictures_from": "an older model"}, 0.5) is None


def test_classes_weigh_the_same_and_their_sources_by_the_square_root_of_their_pictures():
    origin = ["a"] * 40 + ["b"] * 10 + ["g"] * 900 + ["h"] * 9
    table = rows([0] * 50 + [1] * 909, generators=origin)
    weight = split.weights(table)
    assert weight.mean() == pytest.approx(1)
    of = {name: weight[table["generator"] == name] for name in "abgh"}
    assert of["a"].sum() == pytest.approx(2 * of["b"].sum())
    assert of["g"].sum() == pytest.approx(10 * of["h"].sum())
    assert of["a"].sum() + of["b"].sum() == pytest.approx(of["g"].sum() + of["h"].sum())


def test_a_degraded_copy_weighs_a_fifth_of_its_picture_and_changes_no_balance():
    table = rows([0] * 50 + [1] * 100, generators=["a"] * 40 + ["b"] * 10 + ["g"] * 100)
    copies = table[table["generator"].isin(["a", "g"])].assign(split="view")
    both = pd.concat([table, copies], ignore_index=True)
    weight, copied = split.weights(both), (both["split"] == "view").to_numpy()
    assert weight.mean() == pytest.approx(1)
    assert weight[both["label"] == 0].sum() == pytest.approx(weight[both["label"] == 1].sum())
    own = both["generator"] == "a"
    assert weight[own & copied][0] == pytest.approx(weight[own & ~copied][0] / 5)
    assert weight[own].sum() == pytest.approx((48 / 10) ** 0.5 * weight[both["generator"] == "b"].sum())


@pytest.mark.parametrize("name", registry.names("heads"))
def test_a_head_heeds_the_weights(name):
    X = np.repeat([[0.0], [1.0], [1.0]], 10, axis=0).astype(np.float32) + np.zeros((30, 8), np.float32)
    y = np.repeat([0, 1, 0], 10)
    few = registry.load("heads", name).Head().fit(X, y, np.repeat([1.0, 1.9, 0.1], 10)).p_fake(X[-1:])
    many = registry.load("heads", name).Head().fit(X, y, np.repeat([1.0, 0.1, 1.9], 10)).p_fake(X[-1:])
    assert few > 0.5 > many


def test_neither_generator_nor_source_of_a_fold_is_learnt_from_and_a_reconstruction_stays_beside_its_own_source():
    origin = ["a", "b", "g", "g", "made", "made", "a", "g"]
    labels = [0, 0, 1, 1, 1, 1, 0, 1]
    groups = ["a0", "b0", "g0", "g1", "a0", "b0", "a0", "g0"]
    splits = ["", "", "", "", "", "", "view", "view"]
    table = rows(labels, groups, origin, splits)
    folds = {(fold.generator, fold.source): (list(fold.learn), list(fold.score)) for fold in split.unseen_folds(table)}
    assert folds == {
        ("g", "a"): ([1, 5], [0, 2, 3]),
        ("g", "b"): ([0, 4, 6], [1, 2, 3]),
        ("made", "a"): ([1, 2, 3, 7], [0, 4]),
        ("made", "b"): ([0, 2, 3, 6, 7], [1, 5]),
    }


def test_settings_are_chosen_on_what_was_held_out_and_all_that_were_tried_are_told():
    rng = np.random.default_rng(0)
    origin = np.repeat(list("abcghi"), 30)
    labels = np.isin(origin, list("ghi")).astype(int)
    # a faint trace of generation in every number, and a loud one of the source
    X = rng.normal(0.25 * labels[:, None], 1, (180, 60)) + 8 * np.eye(60)[pd.factorize(origin)[0]]
    spec = EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, 60)
    data = Embeddings(rows(labels, generators=origin), X.astype(np.float32), spec, "whole")
    done = train(data, "logistic", "chosen", choose=True)
    told = done.bundle.manifest["training"]
    assert [one["settings"] for one in told["settings_tried"]] == list(registry.load("heads", "logistic").CHOICES)
    assert told["settings"] == max(told["settings_tried"], key=lambda one: one["unseen_auroc"])["settings"]
    assert told["settings"]["C"] == done.bundle.head.C
    with pytest.raises(TrainingError, match="keras_mlp has no settings"):
        train(data, "keras_mlp", "chosen", choose=True)
    with pytest.raises(TrainingError, match="two generators and two sources"):
        train(data.take(data.rows["generator"].isin(["a", "g", "h"]).to_numpy()), "logistic", "chosen", choose=True)


def test_pairs_of_one_content_are_scored_where_there_are_some():
    labels = [0, 1] * 30
    assert split.matched_folds(rows(labels), 0) == []
    paired = rows(labels, groups=[str(i // 2 if i < 40 else i) for i in range(60)])
    scored = np.concatenate([score for _, score in split.matched_folds(paired, 0)])
    assert sorted(scored) == list(range(40))


def test_degraded_copies_follow_their_picture_and_are_never_scored():
    labels, generators = [0] * 60 + [1] * 60, ["a", "b", "c"] * 20 + ["g"] * 60
    groups, sha = [str(i // 2) for i in range(120)], [f"s{i}" for i in range(120)]
    r = rows(labels * 2, groups * 2, generators * 2, [""] * 120 + ["view"] * 120, sha * 2)
    learn, test, _ = split.train_test(r, seed=0)
    assert test.max() < 120 <= learn.max()
    assert not {groups[i % 120] for i in learn} & {groups[i % 120] for i in test}
    assert len(learn) + 2 * len(test) == 240
    assert list(split.train_test(r, seed=0)[1]) == list(test), "the same every time"
    assert [list(score) for _, score in split.group_folds(r, 0)] == [list(score) for _, score in split.group_folds(r, 0)]
    for folds in (split.group_folds(r, 0), split.real_source_folds(r)):
        assert folds
        for learn, score in folds:
            assert score.max() < 120 <= learn.max()
            assert not {groups[i % 120] for i in learn} & {groups[i % 120] for i in score}


def test_views_are_extracted_for_training_pictures_only(dataset, tmp_path):
    done = script("extract_embeddings.py", dataset, "--encoder", "colour_histogram", "--views", "2", "--out", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = table.read(tmp_path / "t.csv")
    assert (data.rows["split"] == "view").sum() == 160
    assert len(data.pictures()) == 80
    first, copies = data.X[::3], data.X[1::3]
    assert list(data.rows["path"][1::3]) == [f"{path}#augment0" for path in data.rows["path"][::3]]
    assert list(data.rows["sha256"][2::3]) == list(data.rows["sha256"][::3])
    assert (np.abs(first - copies).sum(1) > 0).mean() > 0.9
    done = train(data, "logistic", "m")
    assert len(done.test) == 16
    assert done.bundle.manifest["training"]["views"] == 128


def test_views_are_asked_for_by_name_or_by_their_number(dataset, tmp_path):
    options = ["--encoder", "colour_histogram", "--no-cache", "--out", "t.csv"]
    done = script("extract_embeddings.py", dataset, *options, "--views", "augment1,jpeg30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = table.read(tmp_path / "t.csv").rows["path"].str.partition("#")[2]
    assert set(names) == {"", "augment1", "jpeg30"}
    assert json.loads((tmp_path / "t.csv.json").read_text())["views"] == ["augment1", "jpeg30"]
    for asked, said in (("augment", "There is no view 'augment'"), ("-1", "no view '-1'"), ("clip0,clip0", "once"), ("", "no view ''")):
        refused = script("extract_embeddings.py", dataset, *options, f"--views={asked}", cwd=tmp_path)
        assert refused.returncode == 2
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr


def test_calibration_makes_probabilities_of_distorted_ones():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.02, 0.98, 20_000)
    labels = (rng.uniform(size=20_000) < truth).astype(int)
    distorted = Calibration(3.0, 1.5)(truth)
    real, fake = (apart(distorted[labels == label]) for label in (0, 1))
    np.testing.assert_allclose(fit_calibration(real, fake)(distorted), truth, atol=0.03)
    assert Calibration(1.0, 0.0)(np.array([0.0, 1.0])) == pytest.approx([0, 1], abs=1e-6)


def test_a_few_pictures_far_apart_are_no_certainty():
    """What Platt's smoothed targets are for: of 16 of either class, told apart without an error, one in fifty may still be wrong."""
    odds = np.random.default_rng(0).normal(8, 1, 16)
    p = 1 / (1 + np.exp(-odds))
    real, fake = apart(1 - p), apart(p)
    assert 0.93 < fit_calibration(real, fake)(p).mean() < 0.99
    alike = fit_calibration(apart(np.full(8, 0.1)), apart(np.full(16, 0.9)))
    assert alike(np.array([0.1, 0.9])) == pytest.approx([1 / 10, 17 / 18], abs=1e-3), "as Platt has it"
    one_clip = replace(fake, groups=np.zeros(16))
    assert fit_calibration(real, one_clip)(p).mean() < 0.9, "sixteen frames of one clip are one"


def test_pictures_that_an_encoder_tells_nothing_of_are_refused():
    rows_ = rows([0, 1] * 40)
    data = Embeddings(rows_, np.ones((80, 4), np.float32), EncoderSpec("x", "a", "w", "l", 1, "p", True, 4), "whole")
    for head in ("logistic", "knn"):
        with pytest.raises(TrainingError, match="same numbers for all"):
            train(data, head, "m")


def test_calibration_never_turns_a_head_round():
    scores = np.linspace(0.1, 0.9, 100)
    calibration = fit_calibration(apart(scores[scores >= 0.5]), apart(scores[scores < 0.5]))
    assert calibration.slope > 0
    assert calibration.says_nothing
    np.testing.assert_allclose(calibration(scores), 0.5, atol=0.01, err_msg="what is told the wrong way round is told no way at all")


@pytest.mark.parametrize(("reals", "fakes"), [(200, 16), (40, 200), (200, 200), (59, 29)])
def test_a_verdict_never_contradicts_its_probability(reals, fakes):
    """Of two classes far apart, one perhaps too small to promise anything by: what lies between them is unsure."""
    real, fake = apart(np.linspace(0.0001, 0.0006, reals)), apart(np.linspace(0.9991, 0.9999, fakes))
    thresholds = fit_thresholds(real, fake, 0.05, 0.1)
    said = {p: thresholds.answer(p) for p in (0.0007, 0.3, 0.7, 0.9989)}
    assert "fake" not in (said[0.0007], said[0.3])
    assert "real" not in (said[0.7], said[0.9989])
    assert thresholds.answer(0.00005) == ("real" if fakes >= 29 else "unsure")
    assert thresholds.answer(0.99995) == ("fake" if reals >= 59 else "unsure")


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_the_promised_rates_hold_on_fresh_pictures(rate):
    """Over many draws the promise is broken about as rarely as its confidence says."""
    rng = np.random.default_rng(1)

    def draw(n, shift):
        return 0.5 * (1 + np.tanh(rng.normal(shift, 1, n)))

    broken = 0
    for _ in range(200):
        t = fit_thresholds(apart(draw(400, -1)), apart(draw(400, 1)), rate, rate)
        assert t.real <= t.fake
        broken += (draw(20_000, -1) >= t.fake).mean() > rate
    assert broken / 200 < 0.1


def test_frames_of_few_clips_are_few_pictures():
    """A hundred clips of sixteen frames that are nearly alike: the promise holds on fresh clips of the same kind."""
    rng = np.random.default_rng(0)

    def draw(clips, shift, frames=16):
        z = rng.normal(shift, 1, clips).repeat(frames) + rng.normal(0, 0.1, clips * frames)
        return Scores(0.5 * (1 + np.tanh(z)), np.arange(clips).repeat(frames))

    broken = 0
    for _ in range(100):
        t = fit_thresholds(draw(100, -1), draw(100, 1), 0.05, 0.05)
        broken += (draw(5_000, -1, 1).p_fake >= t.fake).mean() > 0.05
    assert broken / 100 < 0.1


def test_several_faces_of_a_picture_count_as_a_verdict_takes_them():
    """The most suspicious decides, so the promise is about the highest of a picture's scores; a picture in two tables is one."""
    one = rows([0] * 4, groups=["a", "a", "b", "a"]).assign(path=["a", "a", "b", "a"], sha256=["1", "1", "2", "1"])
    found = judged(one, split.whole_groups(one), np.array([0.1, 0.6, 0.3, np.nan]), np.ones(4, bool))
    assert found.p_fake.tolist() == [0.6, 0.3]
    assert len(set(found.groups)) == 2


def test_errors_allowed_are_the_most_that_the_bound_allows():
    rng = np.random.default_rng(0)
    for groups in (np.arange(300), np.arange(300) // 4, rng.integers(0, 90, 300)):
        for label, worst in ((0, -1), (1, 1)):
            pictures = Scores(rng.uniform(size=300), groups)
            order = np.argsort(worst * pictures.p_fake)

            def bound(errors, pictures=pictures, order=order):
                count = effective_count(pictures.p_fake, pictures.groups, np.isin(np.arange(300), order[:errors]))
                return clopper_pearson(errors / 300 * count, count)

            allowed = allowed_errors(pictures, 0.1, label)
            assert bound(allowed) <= 0.1 < bound(allowed + 1)


def test_errors_that_come_by_whole_clips_count_as_clips():
    """Most clips' frames are right independently, a few are wrong as a whole: the log-odds alone would count every frame."""
    broken = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), 16)
        odds = 3 * (rng.random(40) < 0.08)[groups] + rng.normal(size=len(groups)) - 3
        pictures = Scores(1 / (1 + np.exp(-odds)), groups)
        allowed = allowed_errors(pictures, 0.05, 0)
        threshold = np.sort(odds)[-1 - allowed] + 3 if allowed >= 0 else np.inf
        delivered = 0.08 * norm.sf(threshold - 3) + 0.92 * norm.sf(threshold)
        broken += delivered > 0.05
    assert broken <= 6


def test_pictures_count_as_many_as_they_are_independent():
    rng = np.random.default_rng(0)
    groups = np.r_[np.arange(30).repeat(16), np.arange(30, 1030)]  # clips among photographs
    own = rng.uniform(size=len(groups))
    alike = rng.uniform(size=1030)[groups]
    assert effective_count(own[480:], groups[480:]) == 1000
    assert 1100 < effective_count(own, groups) <= 1480
    assert effective_count(own[:32], groups[:32]) > 8, "two clips of which no two frames are alike"
    # by hand: 2 within groups and 32 between them, so that 30 of 34 parts are alike
    assert effective_count(expit([1.0, 3, 5, 7, 9, 11]), np.arange(6) // 2) == pytest.approx(6 / (1 + 30 / 34))
    for wrong in (np.ones(1480, bool), np.zeros(1480, bool)):
        assert effective_count(own, groups, wrong) == effective_count(own, groups), "all, or none, do not come by clips"
    assert effective_count(alike, groups) == pytest.approx(1480**2 / (30 * 16**2 + 1000))
    assert effective_count(alike[:16], groups[:16]) == 1


def test_few_pictures_make_a_cautious_detector():
    thresholds = fit_thresholds(apart(np.array([0.1, 0.2] * 5)), apart(np.array([0.8, 0.9] * 5)), 0.05, 0.05)
    assert (thresholds.real, thresholds.fake) == (0.0, 1.0)
    assert {thresholds.answer(p) for p in Calibration(50.0, 0.0)(np.array([0.0, 1.0]))} == {"unsure"}  # however sure the head is


def test_the_mlp_is_the_documents():
    import keras

    from deepfake_detector.heads.keras_mlp import Head

    rng = np.random.default_rng(0)
    head = Head().fit(rng.normal(size=(64, 20)).astype(np.float32), np.arange(64) % 2)
    layers = [(type(layer).__name__, layer.units, layer.activation.__name__) for layer in head.model_.layers]
    assert layers == [("Dense", 512, "relu"), ("Dense", 256, "relu"), ("Dense", 128, "relu"), ("Dense", 1, "sigmoid")]
    assert isinstance(head.model_.optimizer, keras.optimizers.Adam)
    assert head.model_.loss == "binary_crossentropy"
    assert int(head.model_.optimizer.iterations) == 20 * 2, "20 epochs of two batches of 32"
    assert len(head.history_["loss"]) == 20


def test_a_network_trained_under_tensorflow_answers_the_same_under_torch(tmp_path):
    code = """
import sys, numpy as np
from pathlib import Path
from deepfake_detector.heads import keras_mlp
from deepfake_detector.heads.keras_mlp import Head
import keras
keras_mlp.EPOCHS = 2
X = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
head = Head().fit(X, np.arange(64) % 2)
assert keras.config.backend() == "tensorflow"
head.save(Path(sys.argv[1]))
np.save(Path(sys.argv[1]) / "p.npy", head.p_fake(X))
"""
    settings = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    from deepfake_detector.heads.keras_mlp import Head

    X = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
    np.testing.assert_allclose(Head.load(tmp_path).p_fake(X), np.load(tmp_path / "p.npy"), atol=1e-6)


def test_a_model_of_faces_promises_and_is_measured_by_whole_pictures(tmp_path):
    """Five faces a picture: fresh pictures of the same kind break the promise no more often than single ones would."""
    rng = np.random.default_rng(0)
    spec = EncoderSpec("colour_histogram", "none", "none", "none", 1, "none", False, 4)

    def pictures(name, n=150, faces=5):
        for label in (0, 1):
            for i in range(n):
                sample = Sample("", f"{name}{label}/{i}", label, f"{'sg'[label]}{i % 3}", f"{name}{label}/{i}")
                for _ in range(faces):
                    yield table.Row(sample, f"{name}{label}/{i}", (rng.normal(size=4) + [3 * label, 0, 0, 0]).astype(np.float32))

    for name in ("learnt", "fresh"):
        table.write(tmp_path / f"{name}.csv", pictures(name), spec, {"crop": "faces", "versions": {}})
    done = script("train_classifier.py", "learnt.csv", "--head", "logistic", "--out", "m", cwd=tmp_path)
    assert "(30 real, 30 fake)" in done.stdout, done.stderr
    made = bundle.load(tmp_path / "m")
    assert made.manifest["promise"]["pictures"] == {"real": 120, "fake": 120}
    fresh = table.read(tmp_path / "fresh.csv")
    _, p_fake = per_picture(fresh.rows, made.p_fake(fresh.X))
    assert (p_fake[:150] >= made.thresholds.fake).mean() <= 0.05


def test_the_script_trains_prints_and_draws(embeddings_csv, tmp_path, monkeypatch):
    monkeypatch.setattr(registry.load("heads", "keras_mlp"), "EPOCHS", 4)
    done = script("train_classifier.py", embeddings_csv, "--out", "models/m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (
        "precision",
        "Confusion matrix",
        "Accuracy",
        "AUROC",
        "AP",
        ", never fake, unsure otherwise.",
        "never say fake",
        "takes 59 real pictures",
    ):
        assert words in done.stdout
    files = {f.name for f in (tmp_path / "models/m").iterdir()}
    assert files == {"manifest.json", "head.keras", "learnt.npy", "curves.png"}
    data = table.read(embeddings_csv)
    again = train(data, "keras_mlp", "m").bundle
    np.testing.assert_array_equal(bundle.load(tmp_path / "models/m").p_fake(data.X), again.p_fake(data.X), "the same seed, the same model")
    assert again.thresholds == bundle.load(tmp_path / "models/m").thresholds


def test_what_cant_be_learnt_is_said(embeddings_csv, tmp_path):
    data = table.read(embeddings_csv)
    labels = data.rows["label"].to_numpy()
    with pytest.raises(TrainingError, match="All 40 pictures are fake"):
        train(data.take(labels == 1), "logistic", "m")
    few = data.take(np.arange(20, 60)[::2])
    copies = Embeddings(data.rows.assign(split=VIEW), data.X, data.spec, data.crop)
    with pytest.raises(TrainingError, match="There are 20 pictures; training needs at least 40"):
        train(table.joined([few, copies]), "logistic", "m")
    with pytest.raises(TrainingError, match="degraded copies alone"):
        train(copies, "logistic", "m")
    one_group = Embeddings(data.rows.assign(group=np.where(labels == 0, "same", data.rows["group"])), data.X, data.spec, data.crop)
    with pytest.raises(TrainingError):
        train(one_group, "logistic", "m")
    for arguments, words in (
        ([embeddings_csv, "--head", "oracle"], "there are: blocks, keras_mlp"),
        (["none.csv"], "There is no table none.csv"),
    ):
        failed = script("train_classifier.py", *arguments, cwd=tmp_path)
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_model_refuses_embeddings_that_are_not_its_own(model, embeddings_csv):
    loaded, data = bundle.load(model), table.read(embeddings_csv)
    loaded.check(data.spec, data.crop, "the table")
    with pytest.raises(TableError, match="weights: 'none' ≠ 'other'"):
        loaded.check(replace(data.spec, weights="other"), data.crop, "the table")
    with pytest.raises(TableError, match="crop: 'whole' ≠ 'faces'"):
        loaded.check(data.spec, "faces", "the table")


def test_damaged_models_are_refused(model, tmp_path):
    import json
    import shutil

    with pytest.raises(BundleError, match="There is no model at.*there are: colours"):
        bundle.load(model.parent / "colors")
    for damage, words in (
        (lambda m: m | {"label_order": ["fake", "real"]}, "label_order"),
        (lambda m: {k: v for k, v in m.items() if k != "calibration"}, "damaged"),
        (lambda m: m | {"encoder": m["encoder"] | {"dim": 65}}, "takes 64 numbers"),
        (lambda m: [], "should hold a JSON object; it holds a list"),
        (lambda m: m | {"thresholds": m["thresholds"] | {"real": "a"}}, "damaged.*'a'"),
        (lambda m: m | {"thresholds": m["thresholds"] | {"fake": None}}, "damaged"),
        (lambda m: m | {"calibration": []}, "damaged"),
        (lambda m: m | {"thresholds": m["thresholds"] | {"real": float("nan")}}, "damaged.*finite"),
        (lambda m: {k: v for k, v in m.items() if k != "promise"}, "damaged.*promise"),
        (lambda m: m | {"promise": m["promise"] | {"percentiles": {"real": ["much"]}}}, "damaged.*much"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(model, copy, dirs_exist_ok=True)
        manifest = json.loads((model / "manifest.json").read_text())
        (copy / "manifest.json").write_text(json.dumps(damage(manifest)))
        with pytest.raises(BundleError, match=words):
            bundle.load(copy)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "head.skops").write_bytes(b"PK not really")
    with pytest.raises(BundleError, match="damaged"):
        bundle.load(copy)


def test_saving_over_something_that_is_no_model_is_refused(model, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/work.txt").write_text("mine")
    with pytest.raises(BundleError, match="is no model"):
        bundle.save(bundle.load(model), tmp_path / "precious")
    assert (tmp_path / "precious/work.txt").read_text() == "mine"
    (tmp_path / "precious/manifest.json").write_text('{"name": "a web application, say"}')
    with pytest.raises(BundleError, match="is no model"):
        bundle.save(bundle.load(model), tmp_path / "precious")
    assert (tmp_path / "precious/work.txt").read_text() == "mine"
    bundle.save(bundle.load(model), tmp_path / "new")
    bundle.save(bundle.load(model), tmp_path / "new")
    (tmp_path / "new/README.md").write_text("a card")
    with pytest.raises(BundleError, match=r"holds more than a model \(README.md\), which would be lost"):
        bundle.save(bundle.load(model), tmp_path / "new")
    assert {f.name for f in tmp_path.iterdir()} == {"precious", "new"}


def test_a_model_that_several_save_at_once_is_that_of_one_of_them(model, tmp_path):
    loaded = bundle.load(model)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bundle.save(loaded, tmp_path / "m"), range(60)))
    assert bundle.load(tmp_path / "m").thresholds == loaded.thresholds
    assert [f.name for f in tmp_path.iterdir()] == ["m"]


def keep(folder, name):
    bundle.keep_figures(folder, name, {"auroc": 0.5})


def test_figures_that_several_keep_at_once_are_all_kept(model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(keep, [tmp_path / "m"] * 12, [f"n{i}" for i in range(12)]))
    assert set(bundle.load(tmp_path / "m").manifest["elsewhere"]) == {f"n{i}" for i in range(12)}


def test_a_head_that_gives_no_answer_is_refused_when_it_is_loaded(model, tmp_path):
    loaded = bundle.load(model)
    loaded.head.pipeline_[-1].coef_[:] = np.nan
    bundle.save(loaded, tmp_path / "m")
    with pytest.raises(BundleError, match="is damaged: its head gives no answer"):
        bundle.load(tmp_path / "m")


def test_what_goes_wrong_without_words_is_told_of_by_its_kind(model, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(bundle.Bundle, "p_fake", fail)
    with pytest.raises(BundleError, match=r"gives no answer \(MemoryError\)\."):
        bundle.load(model)


def test_a_model_made_of_a_loaded_one_is_saved_with_what_it_acts_upon(model, tmp_path):
    loaded = bundle.load(model)
    changed = replace(loaded, thresholds=Thresholds(0.125, 0.875), calibration=Calibration(2.0, 0.5))
    bundle.save(changed, tmp_path / "changed")
    again = bundle.load(tmp_path / "changed")
    assert (again.thresholds, again.calibration) == (changed.thresholds, changed.calibration)
    assert again.manifest["scores"] == loaded.manifest["scores"]


def test_a_model_whose_saving_was_killed_between_two_renames_is_there(embeddings_csv, tmp_path):
    done = train(table.read(embeddings_csv), "logistic", "m").bundle
    bundle.save(done, tmp_path / "m")
    killed = """
import os, pathlib, signal, sys
from deepfake_detector import bundle, table
from deepfake_detector.train import train
data = table.read(sys.argv[1])
made, rename = train(data, "logistic", "m").bundle, pathlib.Path.rename
assert (made.p_fake(data.X) == bundle.load("m").p_fake(data.X)).all(), "another process learns the same"
def once(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.rename = once
bundle.save(made, "m")
"""
    command = [sys.executable, "-c", killed, str(embeddings_csv)]
    run = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert run.returncode == -9
    assert not (tmp_path / "m").exists()
    X = table.read(embeddings_csv).X
    np.testing.assert_array_equal(bundle.load(tmp_path / "m").p_fake(X), done.p_fake(X))
    assert {file.name for file in tmp_path.iterdir()} == {"m"}, "and nothing is left beside it"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("thresholds", {"real": 0.9, "fake": 0.1}, "that cross"),
        ("calibration", {"slope": -1.0, "offset": 0.0}, "turns the head round"),
        ("training", {"train": None}, "should count the pictures"),
        ("training", None, "AttributeError"),
        ("crop", 5, "crop should be a name"),
    ],
)
def test_a_manifest_that_was_meddled_with_is_refused(embeddings_csv, tmp_path, field, value, said):
    bundle.save(train(table.read(embeddings_csv), "logistic", "m").bundle, tmp_path / "m")
    place = tmp_path / "m" / "manifest.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {field: value}))
    with pytest.raises(BundleError, match=f"is damaged .*{said}.*Train it again"):
        bundle.load(tmp_path / "m")


def test_each_generator_and_source_is_held_out_where_there_are_many_pairs():
    nothing = np.array([])
    pairs = [split.Unseen(f"g{i}", f"s{j}", nothing, nothing) for i in range(6) for j in range(5) if (i, j) != (0, 0)]
    found = _few_enough(pairs)
    assert len(found) < len(pairs)
    assert ({one.generator for one in found}, {one.source for one in found}) == ({f"g{i}" for i in range(6)}, {f"s{j}" for j in range(5)})
    assert _few_enough(pairs[:20]) == pairs[:20]
