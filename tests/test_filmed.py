"""What a clip's coding does to pictures, and answers about clips that are calibrated for it."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from deepfake_detector import bundle, cli, looks_filmed, table
from deepfake_detector.calibration import Calibration, Scores, fit_calibration, fit_thresholds, placed
from deepfake_detector.degrade import view
from deepfake_detector.detect import Detector
from deepfake_detector.errors import BundleError, TrainingError
from deepfake_detector.filmed import filmed
from deepfake_detector.frames import shots
from deepfake_detector.heads.logistic import Head
from deepfake_detector.looks_filmed import LooksFilmed
from deepfake_detector.metrics import log_odds
from deepfake_detector.panel import Panel
from deepfake_detector.report.words import of_clips_too
from deepfake_detector.train import Frames, fit_calibrated, train
from deepfake_detector.types import VIEW, Embeddings, EncoderSpec, Thresholds
from tests.clips import draw_clip
from tests.conftest import draw, script

SPEC = EncoderSpec("x", "a", "w", "l", 1, "p", True, 8)
MOVED = 2.0  # how far coding moves a picture towards the fakes, which lie 3 off


def drawn(seed: int, each: int = 150, moved: float = 0.0, crop: str = "whole") -> Embeddings:
    """Three sources of photographs and three generators, which lie apart a little; the same seed gives the same pictures."""
    rng = np.random.default_rng(seed)
    places = [(label, name) for label, names in ((0, ("ffhq", "imagenet", "phone")), (1, ("sdxl", "progan", "glide"))) for name in names]
    X = [rng.normal(size=(each, 8)) + np.r_[3.0 * label, 0.3 * rng.normal(size=7)] for label, _ in places]
    labels, generators = np.repeat([label for label, _ in places], each), np.repeat([name for _, name in places], each)
    names = [f"{seed}/{i}.png" for i in range(len(labels))]
    rows = pd.DataFrame({"path": names, "label": labels, "generator": generators, "group": names, "split": "", "sha256": names})
    return Embeddings(rows, (np.concatenate(X) + np.eye(8)[0] * moved).astype(np.float32), SPEC, crop)


def called(model, data: Embeddings, of_clips: bool) -> tuple[float, float]:
    """The shares of photographs called fake, and of fakes called real."""
    real, p = (data.rows["label"] == 0).to_numpy(), model.p_fake(data.X, of_clips)
    return model.thresholds.calls_fake(p)[real].mean(), model.thresholds.calls_real(p)[~real].mean()


def test_the_coding_is_that_of_a_clip():
    pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1))
    middle = np.asarray(picture.crop((16, 16, 184, 134)), float)
    fine, coarse = (np.asarray(filmed(picture, 3, factor=factor), float) for factor in (18, 36))
    assert fine.shape == middle.shape, "cut by the pan, and even"
    assert 0 < abs(fine - middle).mean() < 0.7 * abs(coarse - middle).mean()
    assert max(filmed(Image.linear_gradient("L").resize((4000, 2500)).convert("RGB"), 0).size) <= 1920


def test_a_poor_coding_leaves_less_of_a_picture():
    picture = Image.fromarray(load_sample_image("china.jpg"))

    def left(name: str) -> float:
        """The mean contrast of neighbours, over some draws, of what is shown at one size."""
        shown = [view(name)(picture, seed).resize((500, 350)) for seed in range(6)]
        return float(np.mean([np.abs(np.diff(np.asarray(one.convert("L"), float))).mean() for one in shown]))

    assert left("poor0") < 0.8 * left("clip0")
    np.testing.assert_array_equal(view("poor0")(picture, 1), view("poor0")(picture, 1))


def test_answers_about_clips_keep_the_promise_and_those_about_pictures_stay():
    learnt = drawn(0)
    plain = train(learnt, "logistic", "plain").bundle
    model = train(learnt, "logistic", "clips", clips=[drawn(0, moved=MOVED, crop="whole+clip0")]).bundle
    new, on_film = drawn(1), drawn(1, moved=MOVED)
    np.testing.assert_array_equal(model.p_fake(new.X), plain.p_fake(new.X))
    assert called(plain, on_film, True)[0] > 0.3, "what coding does, where nobody minds it"
    false_alarms, missed = called(model, on_film, True)
    assert false_alarms <= 0.05
    assert missed <= 0.10
    p = model.p_fake(np.concatenate([new.X, on_film.X]), of_clips=np.repeat([False, True], len(new)))
    np.testing.assert_array_equal(p, np.concatenate([model.p_fake(new.X), model.p_fake(on_film.X, True)]))
    promise = model.manifest["clips"]["any"]["promise"]
    assert promise["real_pictures_from"] == "sources not learnt from"
    assert promise["pictures"]["real"] == model.manifest["promise"]["pictures"]["real"]


def test_the_promise_holds_for_each_coding_that_clips_were_given_in():
    moved = {"clip0": MOVED, "poor0": MOVED + 1.5}
    model = train(drawn(0), "logistic", "m", clips=[drawn(0, moved=far, crop=f"whole+{name}") for name, far in moved.items()]).bundle
    alone = train(drawn(0), "logistic", "m", clips=[drawn(0, moved=MOVED, crop="whole+clip0")]).bundle
    poor = drawn(1, moved=moved["poor0"])
    assert called(model, poor, True)[0] < 0.12 < 0.25 < called(alone, poor, True)[0]
    of_both, of_one = (one.manifest["clips"]["any"]["promise"] for one in (model, alone))
    assert of_both["pictures"]["real"] == 2 * of_one["pictures"]["real"], "each frame stands for itself"
    assert of_both["groups"] == of_one["groups"], "though both are of one picture"


def test_filmed_pictures_are_scored_by_heads_that_have_not_learnt_them():
    """A head that knows its training pictures by heart would find them on film, too; nothing of the others may be learnt."""
    asked = []

    class Watched(Head):
        def learn(self, X, rows, held_out=None):
            self.known_ = set(rows["sha256"])
            return super().learn(X, rows, held_out)

        def p_fake(self, X):
            asked.append((self.known_, len(X)))
            return super().p_fake(X)

    some = drawn(0, each=30)
    film = drawn(0, each=30, moved=MOVED, crop="whole+clip0")
    strangers = replace(film, rows=film.rows.assign(sha256=[f"other {i}" for i in range(len(film))]))
    for given, count in ((film, len(film)), (strangers, 0)):
        asked.clear()
        if count:
            fit_calibrated(Watched, some, 0, frames=Frames(given, ("any",), np.zeros(len(given), int)))
            pairs = list(zip(asked[::2], asked[1::2], strict=True))
            assert all(of == also for of, also in pairs), "of each fold the same pictures, by the same head"
            assert sum(n for (_, n), _ in pairs) >= count
        else:
            with pytest.raises(TrainingError, match="None of the pictures"):
                train(some, "logistic", "m", clips=[given])


def test_photographs_remade_to_learn_from_are_not_asked_about_on_film():
    """Of their traces coding leaves nothing, so that no score about clips would mean anything; where all fakes are such, they are asked."""
    learnt, film = drawn(0), drawn(0, moved=MOVED, crop="whole+clip0")
    photographs, traces = np.flatnonzero(learnt.rows["label"] == 0), np.eye(8, dtype=np.float32)[0] * 3
    again = learnt.rows.iloc[photographs]
    again = again.assign(path=again["path"] + "#recon", sha256=again["sha256"] + "r", label=1, generator="flux2_vae_recon")
    learnt, film = (
        replace(one, rows=pd.concat([one.rows, again], ignore_index=True), X=np.concatenate([one.X, one.X[photographs] + left]))
        for one, left in ((learnt, traces), (film, 0))
    )
    asked = train(learnt, "logistic", "m", clips=[film]).bundle.manifest["clips"]["any"]["promise"]
    assert asked["pictures"]["fake"] == 360, "four fifths of what generators made"
    alone = learnt.take(np.isin(learnt.rows["generator"], ["ffhq", "imagenet", "phone", "flux2_vae_recon"]))
    assert train(alone, "logistic", "m", clips=[film_of(alone)]).bundle.manifest["clips"]["any"]["promise"]["pictures"]["fake"] > 100


def film_of(data: Embeddings) -> Embeddings:
    """The same pictures with the same numbers, as if coding changed nothing."""
    return replace(data, crop="whole+clip0")


def test_it_is_saved_with_the_model_and_damage_is_refused(tmp_path):
    model = train(drawn(0), "logistic", "m", clips=[drawn(0, moved=MOVED, crop="whole+clip0")]).bundle
    bundle.save(model, tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert [Calibration(**manifest["clips"]["any"]["calibration"])] == model.of_clips != [model.calibration]
    for broken in ({"any": {"calibration": {"slope": -1.0, "offset": 0.0}}}, {"any": {"calibration": {"slope": 1.0}}}, []):
        shutil.copytree(tmp_path / "m", tmp_path / "broken", dirs_exist_ok=True)
        place = tmp_path / "broken" / "manifest.json"
        place.write_text(json.dumps(manifest | {"clips": broken}))
        with pytest.raises(BundleError, match="damaged"):
            bundle.load(tmp_path / "broken")


@pytest.mark.parametrize("crop", ["whole", "whole+augment0", "whole+jpeg90+clip0", "faces+clip0"])
def test_a_table_of_something_else_is_refused(crop):
    with pytest.raises(TrainingError, match=r"with the crop whole\+clip0, or poor0, or clip0\+jpeg90; the table given has those of x"):
        train(drawn(0), "logistic", "m", clips=[drawn(0, crop=crop)])


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ((0.1, 0.9), (0.2, 0.8)),
        ((0.1, 0.7), (0.05, 0.6)),
        ((0.1, 0.9), (0.0, 0.8)),
        ((0.1, 0.9), (0.2, 1.0)),
        ((0.5, 0.9), (0.2, 0.5)),
    ],
)
def test_the_thresholds_of_pictures_answer_of_clips_as_their_own_would(own, given):
    own, given, calibration = Thresholds(*own), Thresholds(*given), Calibration(0.7, -1.0)
    moved, scores = placed(calibration, own, given), np.linspace(0.001, 0.999, 997)
    before, after = calibration(scores), moved(scores)
    if "fake" not in given.never:
        np.testing.assert_array_equal(own.calls_fake(before), given.calls_fake(after))
    if "real" not in given.never:
        np.testing.assert_array_equal(own.calls_real(before), given.calls_real(after))
    if given.never:
        assert moved.slope == calibration.slope, "one threshold asks for no stretching"


def test_no_picture_passes_a_threshold_by_rounding():
    """An own threshold lies right beside the picture that it was chosen by."""
    rng, passed = np.random.default_rng(0), 0
    for _ in range(50):
        real, fake = (Scores(1 / (1 + np.exp(-rng.normal(off, 2, 100))), np.arange(100)) for off in (0, rng.uniform(1, 8)))
        given = Thresholds(rng.uniform(0.01, 0.5), rng.uniform(0.5, 0.99))
        calibration = fit_calibration(real, fake)
        before = [calibration(one.p_fake) for one in (real, fake)]
        own = fit_thresholds(*(replace(one, p_fake=p) for one, p in zip((real, fake), before, strict=True)), 0.05, 0.1)
        after = [placed(calibration, own, given)(one.p_fake) for one in (real, fake)]
        passed += given.calls_fake(after[0]).sum() > own.calls_fake(before[0]).sum()
        passed += given.calls_real(after[1]).sum() > own.calls_real(before[1]).sum()
    assert passed == 0


def test_sure_thresholds_keep_their_place():
    """Beyond 1 - 1e-7, too, where log-odds of scores end."""
    own, given, sure = Thresholds(0.5, 1 - 1e-9), Thresholds(0.2, 0.8), Calibration(2.0, 0.0)
    scores = np.array([1 - 1e-5, 1 - 2e-5, 1 - 5e-5])
    np.testing.assert_array_equal(given.calls_fake(placed(sure, own, given)(scores)), own.calls_fake(sure(scores)))


def test_what_asks_for_less_stays_calibrated_and_what_can_not_be_promised_is_said():
    calibration = Calibration(0.7, -1.0)
    assert placed(calibration, Thresholds(0.2, 0.7), Thresholds(0.1, 0.8)) == calibration
    with pytest.raises(TrainingError, match="may say fake of clips can't be promised"):
        placed(calibration, Thresholds(0.2, 1.0), Thresholds(0.1, 0.8))
    with pytest.raises(TrainingError, match="never unsure"):
        placed(calibration, Thresholds(0.2, 0.7), Thresholds(0.5, 0.5))


def test_clips_and_their_parts_are_judged_so_and_pictures_are_not(model, tmp_path):
    clip = draw_clip(tmp_path / "new.mp4", list(range(0, 800, 40)), size=(160, 96), tint=(0, 0, 60))
    picture = tmp_path / "new.png"
    Image.effect_noise((160, 96), 60).convert("RGB").save(picture)
    shutil.copytree(model, tmp_path / "m")
    place = tmp_path / "m" / "manifest.json"
    manifest = json.loads(place.read_text())
    slope, offset = manifest["calibration"]["slope"], manifest["calibration"]["offset"]
    place.write_text(json.dumps(manifest | {"clips": {"any": {"calibration": {"slope": slope, "offset": offset - 1.0}, "promise": {}}}}))
    before, after = Detector(model), Detector(tmp_path / "m")
    odds = [log_odds(np.array([p for _, p in Panel([detector]).judge_file(clip).frames])) for detector in (before, after)]
    told = odds[0] < 6  # the others are rounded to 1
    assert told.sum() > 8
    np.testing.assert_allclose(odds[1][told], odds[0][told] - 1, atol=0.01)
    assert Panel([before]).judge_file(picture).p_fake == Panel([after]).judge_file(picture).p_fake


def test_frames_of_one_clip_are_answered_about_by_one_calibration(model, tmp_path):
    """All were coded alike, whatever one or another of them looks like; in a table, too."""
    clip = draw_clip(tmp_path / "new.mp4", list(range(0, 800, 40)), size=(160, 96), tint=(0, 0, 60))
    detector = Detector(model)
    plain = detector.bundle
    X = np.stack([one.remembered.vectors[0] for one in detector.embedder.embed(shots([str(clip)], str), lambda shot: shot.read())])
    towards = X[0] - X[-1]
    limit = np.quantile(X @ towards, 0.3)
    looks_poor = X @ towards > limit
    weight, found = np.stack([0 * towards, towards]), {"clip0": 0.8, "poor0": 1.0}
    looks = LooksFilmed(tuple(found), weight, np.array([-1.0, -limit]), np.zeros(2), found, mistaken=0.0)
    clips = {
        coding: {"calibration": {"slope": plain.calibration.slope, "offset": plain.calibration.offset - less}, "promise": {}}
        for coding, less in (("clip0", 5.0), ("poor0", 1.0))
    }
    detector.bundle = replace(plain, looks_filmed=looks, manifest=plain.manifest | {"clips": clips})
    before, after = (log_odds(np.array([p for _, p in Panel([one]).judge_file(clip).frames])) for one in (Detector(model), detector))
    told = before < 6  # the others are rounded to 1
    assert min(looks_poor[told].sum(), (~looks_poor)[told].sum()) > 1
    np.testing.assert_allclose(after[told], before[told] - 1, atol=0.01)
    rows = pd.DataFrame({"video": ["new.mp4"] * len(X) + [""] * len(X)})
    of_table = log_odds(detector.bundle.p_fake_of(Embeddings(rows, np.concatenate([X, X]), plain.spec, "whole")))
    np.testing.assert_allclose(of_table[: len(X)][told], before[told] - 1, atol=0.01)
    np.testing.assert_allclose(of_table[len(X) :][told], (before - looks_poor)[told], atol=0.01)


def test_too_few_are_refused_before_a_head_is_learnt():
    film = drawn(0, moved=MOVED, crop="whole+clip0")
    for few, answer, fewest in ((film.rows["label"] == 1, "fake", 59), (film.rows["label"] == 0, "real", 29)):
        with (
            patch("deepfake_detector.train.fit_calibrated", side_effect=AssertionError("learnt")),
            pytest.raises(
                TrainingError, match=f"may say {answer} of clips takes frames of {fewest} .*to learn from [12] look so. Give --clips"
            ),
        ):
            train(drawn(0), "logistic", "m", clips=[film.take(few.to_numpy() | (np.arange(len(film)) % 500 == 0))])


def test_the_scripts_make_and_use_the_table(dataset, embeddings_csv, tmp_path):
    filmed_csv, out = tmp_path / "filmed.csv", tmp_path / "m"
    spec = table.read(embeddings_csv).spec
    assert cli.extract([str(dataset), "--encoder", spec.name, "--crop", "whole+clip0", "--no-cache", "--out", str(filmed_csv)]) == 0
    done = script("train_classifier.py", embeddings_csv, "--head", "logistic", "--clips", filmed_csv, "--out", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Of clips the same" in done.stdout
    assert bundle.load(out).of_clips


def with_mark(data: Embeddings, crop: str = "whole", place: int = 7, moved: float = MOVED) -> Embeddings:
    """The same pictures as if coding left a mark in their last number, or another, beside moving them."""
    mark = np.zeros(8, np.float32)
    mark[[0, place]] = moved, 9
    return replace(data, X=data.X + mark, crop=crop)


def named(data: Embeddings, coding: str = "clip0") -> Embeddings:
    return replace(data, rows=data.rows.assign(path=data.rows["path"] + f"#{coding}"))


def test_stills_out_of_clips_are_known_by_their_looks_and_judged_as_frames(tmp_path):
    model = train(drawn(0), "logistic", "m", clips=[with_mark(drawn(0), "whole+clip0")]).bundle
    looks = model.looks_filmed
    assert looks.found["clip0"] > 0.95
    assert looks.mistaken <= looks_filmed.MISTAKEN
    new, stills = drawn(1), with_mark(drawn(1))
    assert model.taken_for_frames(stills.X).mean() > 0.95
    assert model.taken_for_frames(new.X).mean() < 0.02
    known = model.taken_for_frames(stills.X)
    np.testing.assert_array_equal(model.p_fake(stills.X)[known], model.p_fake(stills.X, of_clips=True)[known])
    assert called(model, stills, False)[0] <= 0.05
    assert called(replace(model, looks_filmed=None), stills, False)[0] > 0.3, "what they would be called without"
    bundle.save(model, tmp_path / "m")
    again = bundle.load(tmp_path / "m")
    np.testing.assert_array_equal(again.p_fake(stills.X), model.p_fake(stills.X))
    assert again.looks_filmed.to_json() == looks.to_json()
    assert any("judged as one" in line for line in of_clips_too(again.manifest))
    place = tmp_path / "m" / "manifest.json"
    manifest = json.loads(place.read_text())
    place.write_text(json.dumps(manifest | {"looks_filmed": looks.to_json() | {"offset": [0.0, 0.0]}}))
    with pytest.raises(BundleError, match="damaged"):
        bundle.load(tmp_path / "m")
    place.write_text(json.dumps(manifest | {"clips": {"poor0": manifest["clips"]["clip0"]}}))
    with pytest.raises(BundleError, match="damaged"):
        bundle.load(tmp_path / "m")
    place.write_text(json.dumps(manifest | {"clips": manifest["clips"]["clip0"]}))
    with pytest.raises(BundleError, match="has one calibration for all clips, so another version .* Train the model again"):
        bundle.load(tmp_path / "m")
    place.write_text(json.dumps(manifest))
    (tmp_path / "m" / "filmed.safetensors").unlink()
    with pytest.raises(BundleError, match="damaged"):
        bundle.load(tmp_path / "m")


def test_what_may_be_a_still_is_fake_only_if_it_would_be_as_one():
    """Of whose mark too little is left to be known by."""
    film, plain = with_mark(drawn(0), "whole+clip0"), drawn(1).X
    assert not train(drawn(0), "logistic", "m", clips=[film]).bundle.looks_filmed.doubted.any(), "where nearly all are known"
    film.X[::4, 7] -= 6.5
    model = train(drawn(0), "logistic", "m", clips=[film]).bundle
    looks, thresholds, stills = model.looks_filmed, model.thresholds, with_mark(drawn(1))
    assert (looks.margins(plain) + looks.doubted > 0).mean() < 2 * looks_filmed.DOUBTED
    stills.X[:, 7] -= np.median(looks.margins(stills.X) + looks.doubted / 2) / looks.weight[0, 7]
    lacking = -looks.margins(stills.X)[:, 0]
    may_be = stills.take((lacking >= 0) & (lacking < looks.doubted[0]))
    assert len(may_be) > 100
    certain = replace(model, looks_filmed=replace(looks, doubted=np.zeros(1)))
    assert called(model, may_be, False)[0] <= 0.05 < 0.3 < called(certain, may_be, False)[0]
    before, now = certain.p_fake(stills.X), model.p_fake(stills.X).round(6)
    fake = thresholds.calls_fake(before)
    np.testing.assert_array_equal(now[~fake], before[~fake].round(6), "what isn't called fake is answered as before")
    assert {thresholds.answer(p) for p in now[fake]} == {"fake", "unsure"}, "nor is anything called real for it"
    never_unsure = [replace(one, thresholds=Thresholds(0.5, 0.5)).p_fake(stills.X) for one in (certain, model)]
    np.testing.assert_array_equal(*never_unsure, "nor where there is no answer between")
    passing = ~model.taken_for_frames(stills.X)
    np.testing.assert_array_equal(model.held_back(stills.X)[passing], (fake & ~thresholds.calls_fake(now))[passing])
    np.testing.assert_array_equal(model.p_fake(stills.X, of_clips=True), certain.p_fake(stills.X, of_clips=True))


def test_stills_that_were_saved_again_are_known_where_such_were_given():
    """Saving a still leaves another mark than coding alone, and neither is told by the other."""
    film = with_mark(drawn(0), "whole+clip0")
    saved = with_mark(drawn(0), "whole+clip0+jpeg90", place=6)
    both, alone = (train(drawn(0), "logistic", "m", clips=given).bundle for given in ([film, saved], [film]))
    stills = with_mark(drawn(1), place=6)
    assert set(both.looks_filmed.found) == {"clip0", "clip0+jpeg90"}
    assert min(both.looks_filmed.found.values()) > 0.95
    assert alone.looks_filmed.mistaken < both.looks_filmed.mistaken <= 0.01, "of all together"
    assert alone.taken_for_frames(stills.X).mean() < 0.1 < 0.9 < both.taken_for_frames(stills.X).mean()
    assert called(both, stills, False)[0] < 0.1 < 0.3 < called(alone, stills, False)[0]
    assert both.taken_for_frames(with_mark(drawn(1)).X).mean() > 0.9
    assert both.taken_for_frames(drawn(1).X).mean() < 0.02
    assert re.search("[0-9.]+ % of frames of clips, [0-9.]+ % of frames of clips saved as jpeg90, and", of_clips_too(both.manifest)[1])
    own = both.manifest["clips"]["clip0"]["promise"]["pictures"]["real"]
    assert f"calibrated by {own} frames of clips of real pictures" in of_clips_too(both.manifest)[0], "stills tell nothing of clips"
    unlike = train(drawn(0), "logistic", "m", clips=[film, replace(film_of(drawn(0)), crop="whole+poor0")]).bundle.looks_filmed
    assert len(unlike.weight) == 1
    assert unlike.found["poor0"] < 0.05 < 0.95 < unlike.found["clip0"], "what leaves no mark is not looked for"


def test_stills_alone_that_were_saved_again_say_nothing_of_clips():
    with pytest.raises(TrainingError, match=r"saved again \(clip3\+jpeg90\) .* Give --clips those that were not, too: clip3\."):
        train(drawn(0), "logistic", "m", clips=[with_mark(drawn(0), "whole+clip3+jpeg90")])


def test_draws_of_one_coding_are_one():
    """Nothing tells them apart: each would be answered about by a part of the frames, if it is not refused as too few."""
    film, again = (with_mark(drawn(0), f"whole+{name}") for name in ("clip0", "clip1"))
    model = train(drawn(0), "logistic", "m", clips=[film, again]).bundle
    assert [*model.manifest["clips"]] == [*model.looks_filmed.found] == ["clip0"]
    assert model.manifest["clips"]["clip0"]["promise"]["pictures"]["real"] == 720


def test_frames_of_a_source_that_is_too_small_to_be_learnt_from_are_looked_at_too(monkeypatch):
    """Of many rows some are learnt from, and of these none may be of a small source."""
    data = drawn(0)
    data.rows.loc[899, "generator"] = "dalle"
    clip, poor = named(with_mark(data)), named(with_mark(data, place=6), "poor0")
    frames = Embeddings(pd.concat([clip.rows, poor.rows], ignore_index=True), np.concatenate([clip.X, poor.X]), SPEC, "whole")
    monkeypatch.setattr(looks_filmed, "_MOST", 600)
    looks, like = looks_filmed.fit(data, frames, 1)
    assert looks.codings == ("clip0", "poor0")
    assert like[(frames.rows["generator"] == "dalle").to_numpy()].tolist() == [0, 1]


def test_frames_that_look_uncoded_were_coded_in_the_mildest_way():
    """Not by chance in the one or the other; and no frame of a clip was saved again."""
    found = {"clip0": 0.9, "clip0+jpeg90": 0.6, "poor0": 1.0}
    looks = LooksFilmed(tuple(found), np.zeros((3, 1)), np.zeros(3), np.zeros(3), found, 0.0)
    margins = np.array([[-3.0, 5.0, -2.0], [1.0, 5.0, 2.0], [1.0, 0.5, -2.0], [-3.0, -5.0, -2.0]])
    assert looks.like(margins, of_clips=True).tolist() == [0, 2, 0, 0]
    assert looks.like(margins, of_clips=False).tolist() == [1, 1, 0, -1]
    assert looks.like(margins, of_clips=np.array([True, False, True, False])).tolist() == [0, 1, 0, -1]
    assert looks.like(margins, of_clips=True, saved_again=True).tolist() == [1, 1, 0, 1], "but one that is known to have been"


def test_each_coding_that_shows_is_answered_about_by_its_own_calibration():
    """A poor coding, of which little can be told, takes nothing from the answers about others."""
    clip, poor = with_mark(drawn(0), "whole+clip0"), with_mark(drawn(0), "whole+poor0", place=6, moved=MOVED + 2)
    both, alone = (train(drawn(0), "logistic", "m", clips=given).bundle for given in ([poor, clip], [clip]))
    assert [*both.manifest["clips"]] == ["clip0", "poor0"]
    new, of_poor = with_mark(drawn(1)), with_mark(drawn(1), place=6, moved=MOVED + 2)
    np.testing.assert_allclose(both.p_fake(new.X, of_clips=True), alone.p_fake(new.X, of_clips=True), atol=0.02)
    assert max(called(both, of_poor, True)) < 0.12 < 0.5 < max(called(alone, of_poor, True))
    mixed = np.concatenate([new.X, drawn(1).X, of_poor.X])
    apart = [both.p_fake(new.X), both.p_fake(drawn(1).X), both.p_fake(of_poor.X)]
    np.testing.assert_array_equal(both.p_fake(mixed), np.concatenate(apart))


def test_copies_that_are_frames_are_not_taken_for_pictures_that_were_never_filmed():
    data, copies = drawn(0), with_mark(drawn(0))
    copies.rows["path"], copies.rows["split"] = copies.rows["path"] + "#clip0", VIEW
    both = Embeddings(pd.concat([data.rows, copies.rows], ignore_index=True), np.concatenate([data.X, copies.X]), SPEC, "whole")
    assert looks_filmed.fit(both, named(with_mark(drawn(0))), 0)[0].found["clip0"] > 0.95
    both.rows["video"] = np.where(both.rows["split"] == VIEW, "a.mp4", "")
    both.rows["split"] = ""
    assert looks_filmed.fit(both, named(with_mark(drawn(0))), 0)[0].found["clip0"] > 0.95, "nor are frames of a data set's own clips"


def test_what_is_not_called_fake_as_it_may_be_out_of_a_clip_says_so(model, tmp_path):
    detector, fake = Detector(model), draw(tmp_path / "fake.png", 1, 7)
    plain = detector.bundle
    assert Panel([detector]).judge_file(fake).verdict == "fake"
    looks = LooksFilmed(("clip0",), np.zeros((1, plain.spec.dim)), np.array([-1.0]), np.array([2.0]), {"clip0": 1.0}, mistaken=0.0)
    for less, answer in ((0.0, "fake"), (99.0, "unsure")):
        calibration = {"slope": plain.calibration.slope, "offset": plain.calibration.offset - less}
        manifest = plain.manifest | {"clips": {"clip0": {"calibration": calibration, "promise": {}}}}
        detector.bundle = replace(plain, looks_filmed=looks, manifest=manifest)
        verdict = Panel([detector]).judge_file(fake)
        assert verdict.verdict == plain.thresholds.answer(verdict.p_fake) == answer
        assert any("may be out of a clip" in note for note in verdict.notes) == (answer == "unsure")


def test_what_filming_does_not_change_is_not_told_by_looks(caplog):
    caplog.set_level(logging.INFO)
    assert train(drawn(0), "logistic", "m", clips=[film_of(drawn(0))]).bundle.looks_filmed is None
    assert "pictures that look filmed" in caplog.text


def test_test_pictures_are_not_learnt_from_as_frames_either():
    data = drawn(0)
    data.rows["split"] = np.where(np.arange(len(data)) % 5 == 0, "test", "train")
    film = with_mark(data, "whole+clip0")
    seen = []
    with patch.object(
        looks_filmed, "fit", side_effect=lambda pictures, frames, seed: seen.append(frames.rows) or (None, np.zeros(len(frames), int))
    ):
        train(data, "logistic", "m", clips=[film])
    [frames] = seen
    assert set(frames["split"]) == {"train"}


def test_a_still_says_that_it_was_taken_for_a_frame(tmp_path):
    """By the shipped model: a photograph as it is, and a frame of a clip made of it."""
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    detector, found = Detector(), []
    for number, picture in enumerate((photograph, filmed(photograph, 0))):
        picture.save(tmp_path / f"{number}.png")
        verdict = Panel([detector]).judge_file(tmp_path / f"{number}.png")
        found.append(any("out of a clip" in note for note in verdict.notes))
        assert bool(verdict.kept_apart) is not found[-1], "those kept apart were no frames, and are judged by another calibration"
    assert found == [False, True]
