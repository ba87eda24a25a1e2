"""Tuning: what is left out stays out, a killed run ends as if it had not been, and the model works wherever models do."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from deepfake_detector import bundle, cli, split, train, video
from deepfake_detector.calibration import Scores
from deepfake_detector.detect import Detector
from deepfake_detector.encoders import clip_vit_b16, clip_vit_b16_blocks, clip_vit_b16_corners, clip_vit_b16_tuned
from deepfake_detector.errors import BundleError, TrainingError, WeightsUnavailable
from deepfake_detector.finetune import norms
from deepfake_detector.finetune.batches import BATCH, Batches, see_window
from deepfake_detector.finetune.model import Judged, promise_of, told_by_the_others
from deepfake_detector.panel import Panel
from deepfake_detector.report.words import bad_at, tuned_on_too_few
from deepfake_detector.types import FAKE, REAL
from tests import clips, gridded, tiny_clip
from tests.conftest import ROOT
from tests.gridded import GENERATORS, SOURCES

STEPS, KEPT_EVERY = 10, 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small CLIP in ViT-B/16's place."""
    folder = tmp_path_factory.mktemp("tiny")
    _, weights = tiny_clip.make(folder, "tiny-b16", 512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DETECTOR_CLIP_VIT_B16", str(weights))
        patch.setattr(clip_vit_b16_blocks.Encoder, "architecture", "tiny-b16")
        for module in (clip_vit_b16_blocks, clip_vit_b16_corners):
            patch.setattr(module, "BLOCKS", 2)
            patch.setattr(module, "WIDTH", 32)
        patch.setattr(norms, "_KEEP_EVERY", KEPT_EVERY)
        yield folder


@pytest.fixture(scope="module")
def pictures(tiny):
    return gridded.draw(tiny)


def run(pictures, out, *more):
    return cli.finetune([str(pictures), f"--out={out}", f"--steps={STEPS}", "--folds=3", f"--cache={out.parent / 'cache.sqlite'}", *more])


@pytest.fixture(scope="module")
def tuned(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "model"
    assert run(pictures, out) == 0
    return out


def test_the_model_tells_what_it_was_tuned_for(tuned, pictures):
    manifest = json.loads((tuned / "manifest.json").read_text())
    assert manifest["scores"]["overall"]["auroc"] > 0.9
    assert manifest["training"]["test"] == {"real": dict.fromkeys(sorted(SOURCES), 4), "fake": {"again": 12, "diff": 4, "gan": 4}}
    assert sorted(name for run in manifest["training"]["left_out"] for name in run["generators"]) == sorted(GENERATORS)
    assert sorted(name for run in manifest["training"]["left_out"] for name in run["sources"]) == sorted(SOURCES)
    detector = Detector(tuned)
    judged = dict(Panel([detector]).judge_files([str(pictures.parent / "real/lake/3.png"), str(pictures.parent / "fake/gan/3.png")]))
    real, fake = (verdict.p_fake for verdict in judged.values())
    assert real < fake
    assert detector.embedder.encoder.spec.name == "clip_vit_b16_tuned"


def test_only_the_layer_norms_have_moved(tuned, tiny):
    before = {
        name.removeprefix("visual."): array
        for name, array in load_file(tiny / "weights" / "tiny.safetensors").items()
        if name.startswith("visual.")
    }
    after = load_file(tuned / "encoder.safetensors")
    assert set(after) < set(before)
    assert all("ln_" in name for name in after)
    assert all((after[name] != before[name]).any() for name in after)
    assert sum(array.size for array in after.values()) == 2 * 32 * (1 + 2 * 2)


def test_as_many_numbers_are_tuned_as_is_said():
    from deepfake_detector.torch_compat import import_open_clip

    open_clip = import_open_clip()
    import torch

    with torch.device("meta"):
        tower = open_clip.create_model(clip_vit_b16.Encoder.architecture, device="meta", load_weights=False).visual
    count = sum(tensor.numel() for tensor in clip_vit_b16_tuned.tunable(tower).values())
    assert count == 38_400
    for told in (norms.__doc__, (ROOT / "docs" / "training.md").read_text()):
        assert f"{count:,} of " in told


def test_a_killed_run_goes_on_and_ends_the_same(tuned, pictures, tmp_path, monkeypatch):
    keep, kept = norms._Run.keep, []

    def killed(self, file):
        keep(self, file)
        kept.append(file.name)
        if len(kept) == 3:  # in the middle of the second run
            raise KeyboardInterrupt

    out = tmp_path / "model"
    shutil.copy(tuned.parent / "cache.sqlite", tmp_path)
    monkeypatch.setattr(norms._Run, "keep", killed)
    assert run(pictures, out) == 130
    assert [name[:6] for name in kept] == ["fold0-", "fold0-", "fold1-"]
    assert not out.exists()
    learnt, learn = [], norms._Run.learn
    monkeypatch.setattr(norms._Run, "keep", keep)
    monkeypatch.setattr(norms._Run, "learn", lambda self, *batch: learnt.append(self.step) or learn(self, *batch))
    assert run(pictures, out) == 0
    assert learnt[: STEPS - KEPT_EVERY] == list(range(KEPT_EVERY, STEPS)), "the second run goes on where it was kept"
    assert len(learnt) == STEPS - KEPT_EVERY + STEPS + STEPS
    learnt_by_run = sorted(tuned.with_name("model.runs").glob("*.norms.safetensors"))
    assert len(learnt_by_run) == 4
    for file in learnt_by_run:
        again = load_file(tmp_path / "model.runs" / file.name)
        for name, expected in load_file(file).items():
            np.testing.assert_allclose(again[name], expected, atol=1e-5, err_msg=f"{file.name} {name}")
    for name, expected in load_file(tuned / "encoder.safetensors").items():
        np.testing.assert_allclose(load_file(out / "encoder.safetensors")[name], expected, atol=1e-5, err_msg=name)
    ours, theirs = (json.loads((folder / "manifest.json").read_text())["thresholds"] for folder in (out, tuned))
    assert ours == pytest.approx(theirs, abs=1e-3)


def test_another_plan_is_begun_anew(tuned, pictures, tmp_path, monkeypatch, caplog):
    out = tmp_path / "model"
    shutil.copytree(tuned.with_name("model.runs"), tmp_path / "model.runs")
    shutil.copy(tuned.parent / "cache.sqlite", tmp_path)
    learnt, learn = [], norms._Run.learn
    monkeypatch.setattr(norms._Run, "learn", lambda self, *batch: learnt.append(self.step) or learn(self, *batch))
    assert run(pictures, out) == 0
    assert not learnt, "all runs were finished"
    assert "begun anew" not in caplog.text
    assert run(pictures, out, "--seed=1") == 0
    assert len(learnt) == 4 * STEPS
    assert caplog.text.count("begun anew: what") == 4
    learnt.clear()
    assert run(pictures, out) == 0
    assert not learnt, "what the first plan kept is there still"


def test_of_test_pictures_that_look_just_like_one_learnt_from_it_warns(tuned, pictures, tmp_path, monkeypatch, capsys):
    out = tmp_path / "model"
    shutil.copytree(tuned.with_name("model.runs"), tmp_path / "model.runs")
    shutil.copy(tuned.parent / "cache.sqlite", tmp_path)
    sides = []

    def one_found(asked, among):
        sides.append((asked.shape, among.shape))
        return len(asked), [(0, 1)]

    monkeypatch.setattr(train, "look_alikes", one_found)
    assert run(pictures, out) == 0
    [((n, dim), (_, known_dim))] = sides
    assert dim == known_dim == clip_vit_b16_corners.Encoder("cpu").spec.dim
    assert f"WARNING: 1 of {n} test pictures look just like one that was learnt from" in capsys.readouterr().out
    assert bundle.load(out).manifest["training"]["look_alikes"] == {"looked_at": n, "found": 1}


def test_what_a_run_is_without_it_does_not_learn_from():
    rows = frame(sources=4, generators=3, paired=1)
    for count in (2, 3):
        folds = split.left_out_folds(rows, count)
        origin, labels, groups = rows["generator"].to_numpy(), rows["label"].to_numpy(), split.whole_groups(rows)
        assert sorted(name for fold in folds for name in fold.generators) == sorted(set(origin[labels == FAKE]))
        assert sorted(name for fold in folds for name in fold.sources) == sorted(set(origin[labels == REAL]))
        for fold in folds:
            left = [*fold.generators, *fold.sources]
            assert not np.isin(origin[fold.learn], left).any()
            assert np.isin(origin[fold.new], left).all()
            assert not np.isin(origin[fold.known], left).any()
            for judged in (fold.new, fold.known):
                assert set(labels[judged]) == {REAL, FAKE}
                assert not np.isin(groups[fold.learn], groups[judged]).any()
        reals = np.concatenate([fold.new[labels[fold.new] == REAL] for fold in folds])
        assert sorted(reals) == np.flatnonzero(labels == REAL).tolist(), "each real is judged once by a run that knew nothing of its source"
        known = np.concatenate([fold.known for fold in folds])
        assert len(known) == len(set(known)), "and none twice as a known one"


def test_the_verdicts_on_what_a_run_was_without_are_by_thresholds_from_the_other_runs():
    fold = split.LeftOut(["g"], ["s"], *(np.arange(0),) * 3)
    low, high = Scores(np.full(100, 0.1), np.arange(100)), Scores(np.full(100, 0.9), np.arange(100))
    odd = (Scores(np.full(100, p), np.arange(100, 200)) for p in (0.8, 0.85))  # the last run's reals look as others' fakes do
    lowest, highest = odd
    runs = [Judged(fold, low, low, high, high, high), Judged(fold, lowest, lowest, highest, highest, highest)]
    runs.insert(1, Judged(fold, *(Scores(part.p_fake, part.groups + 200) for part in (low, low, high, high, high))))
    first, _, last = told_by_the_others(runs)
    assert last["auroc"] == 1.0
    assert last["reals"] == {"n": 100, "called_fake": 1.0, "called_real": 0.0}
    assert last["fakes"] == {"n": 100, "called_fake": 1.0, "called_real": 0.0}
    assert first["reals"] == {"n": 100, "called_fake": 0.0, "called_real": 1.0}


def test_of_real_pictures_remade_nothing_is_promised():
    fold = split.LeftOut(["g"], ["s"], *(np.arange(0),) * 3)
    low, high = (Scores(np.linspace(*ends, 100), np.arange(100)) for ends in ((0.1, 0.3), (0.7, 0.9)))
    missed = Scores(np.concatenate([high.p_fake, low.p_fake]), np.arange(200))  # half of the new fakes look real
    remade, forged = (promise_of([Judged(fold, low, low, high, missed, promised)]) for promised in (high, missed))
    assert remade[2]["pictures"] == {"real": 100, "fake": 100}
    assert (remade[0](low.p_fake) <= remade[1].real).all()
    assert forged[2]["pictures"] == {"real": 100, "fake": 200}
    assert (forged[0](low.p_fake) <= forged[1].real).mean() < 0.2


def test_what_can_not_be_left_out_is_said(pictures, tmp_path, capsys):
    with pytest.raises(TrainingError, match="there are 3 and 2; .* in 3 folds.*Take fewer folds, or"):
        split.left_out_folds(frame(sources=2, generators=3), 3)
    with pytest.raises(TrainingError, match="in 2 folds, .* score. Add pictures or clips"):
        split.left_out_folds(frame(sources=1, generators=1).iloc[:2], 2)
    assert cli.finetune([str(pictures), f"--out={tmp_path / 'm'}", "--folds=7", "--no-cache"]) == 2
    told = capsys.readouterr().err
    assert "can't be left out in 7 folds" in told
    assert "Take fewer folds, or add pictures" in told
    assert cli.finetune([str(pictures), "--folds=1"]) == 2
    assert "--folds at least 2; received 400 and 1" in capsys.readouterr().err


@pytest.mark.parametrize(("sources", "generators", "left_out"), [(1, 2, (True, False)), (2, 1, (False, True)), (1, 1, (False, False))])
def test_of_one_generator_or_source_a_share_of_the_pictures_is_left_out(sources, generators, left_out):
    rows = frame(sources, generators)
    _check_shares(rows, split.left_out_folds(rows, 2), left_out)


def test_of_fakes_that_all_belong_to_one_source_s_pictures_a_share_is_left_out():
    """As in Celeb-DF: each swap is in the group of the clip that it was put into, and there are other real clips beside these."""
    rows = frame(sources=2, generators=1)
    swaps = rows["label"] == FAKE
    rows.loc[swaps, "group"] = rows.loc[rows["generator"] == "s0", "group"].to_numpy()
    _check_shares(rows, split.left_out_folds(rows, 4), (False, False))


def _check_shares(rows, folds, left_out):
    origin, labels, groups = rows["generator"].to_numpy(), rows["label"].to_numpy(), split.whole_groups(rows)
    for fold in folds:
        assert (bool(fold.generators), bool(fold.sources)) == left_out
        assert not np.isin(groups[fold.learn], groups[np.concatenate([fold.new, fold.known])]).any()
        assert not np.isin(groups[fold.new], groups[fold.known]).any()
        assert not np.isin(origin[fold.learn], [*fold.generators, *fold.sources]).any()
        for part in (fold.learn, fold.new, fold.known):
            assert set(labels[part]) == {REAL, FAKE}
    new = np.concatenate([fold.new for fold in folds])
    assert sorted(new) == list(range(len(rows))), "each picture is judged once by a run that knew nothing of it"


def test_of_what_was_not_left_out_whole_nothing_is_promised_as_new():
    low, high = (Scores(np.linspace(*ends, 100), np.arange(100)) for ends in ((0.1, 0.3), (0.7, 0.9)))
    other = Scores(high.p_fake, high.groups + 100)
    for names, kind in ((["g"], "generators not learnt from"), ([], "generators learnt from, but not these pictures")):
        _, _, promise = promise_of([Judged(split.LeftOut(names, ["s"], *(np.arange(0),) * 3), low, low, high, other, other)])
        assert promise["fakes_from"] == kind
        assert promise["real_pictures_from"] == "sources not learnt from"
        assert promise["pictures"]["fake"] == (100 if names else 200)


def test_clips_are_tuned_on_by_their_frames(tiny, tmp_path, capsys, caplog, monkeypatch):
    """In Celeb-DF's layout, one generator and all fakes made of one source's clips."""
    root, out = tmp_path / "celeb", tmp_path / "m"
    for number in range(12):
        for place, name, blue in (("Celeb-real", "id{}_0000", 0), ("Celeb-synthesis", "id{}_id99_0000", 60)):
            tint = (0, 4 * number, blue)  # frames that are alike to the last bit would be one group
            clips.draw_clip(root / place / f"{name.format(number)}.mp4", [0, 40, 80], size=(96, 64), tint=tint)
    (root / "Celeb-real" / "id77_0000.mp4").write_bytes(b"no clip")
    clips.draw_clip(cut := root / "Celeb-real" / "id78_0000.mkv", list(range(0, 4000, 40)), size=(96, 64))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    asked = [str(root), "--dataset=celeb_df", "--frames=2", f"--out={out}", "--steps=2", "--folds=2", f"--cache={tmp_path / 'c.sqlite'}"]
    assert cli.finetune(asked) == 0
    told, meanwhile = capsys.readouterr()
    assert "26/26" in meanwhile, "how far it is with the clips"
    assert "'Celeb-real/id78_0000.mkv': cut off: " in caplog.text
    assert "skipped 2, such as:" in caplog.text
    assert "'Celeb-real/id77_0000.mp4': " in caplog.text
    assert "WARNING: It was tuned on too few generators or real sources to leave whole ones out" in told
    assert "a share of the fakes, a share of the real pictures" in told
    assert "on generators and real sources held out" not in told
    assert "Whole clips" in told
    model = bundle.load(out)
    assert model.manifest["promise"]["fakes_from"] == "generators learnt from, but not these pictures"
    assert {one["path"] for one in model.manifest["training"]["skipped"]} == {"Celeb-real/id77_0000.mp4", "List_of_testing_videos.txt"}
    assert [one["path"] for one in model.manifest["training"]["notes"]] == ["Celeb-real/id78_0000.mkv"]
    assert tuned_on_too_few(model.manifest["training"])[0] in bad_at(model.manifest)
    kept = [file for file in (tmp_path / "m.runs" / "pictures").rglob("*") if file.is_file()]
    assert len(kept) == 2 * (2 * 12 + 1)
    monkeypatch.setattr(video.Clip, "picture", lambda *_: pytest.fail("a frame that is kept is decoded again"))
    assert cli.finetune(asked) == 0


def test_a_stream_s_pictures_are_kept_to_be_gone_back_to(tiny, pictures, tmp_path):
    table = pd.read_csv(pictures)
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for number, (path, label) in enumerate(zip(table["path"], table["label"], strict=True)):
            for ending, content in (("png", (tiny / path).read_bytes()), ("cls", label.encode())):
                entry = tarfile.TarInfo(f"{number}.{ending}")
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))
    out = tmp_path / "m"
    asked = [str(tmp_path / "0.tar"), "--dataset=webdataset", f"--out={out}", "--steps=2", "--folds=2", f"--cache={tmp_path / 'c.sqlite'}"]
    assert cli.finetune(asked) == 0
    training = bundle.load(out).manifest["training"]
    assert sum(count for side in ("train", "test") for of in training[side].values() for count in of.values()) == len(table)


def test_a_pair_is_seen_alike(pictures, tiny):
    """Same window, same degradation: the real picture and its fake differ by the grid alone."""
    table = pd.read_csv(pictures)
    table = table[table["generator"].isin(["lake", "again"]) & table["group"].str.startswith("lake")].reset_index(drop=True)
    rows = table.assign(label=(table["label"] == "fake").astype(int), sha256=[str(i) for i in range(len(table))])
    looks = [look for number in range(20) for look in Batches(rows, 3).step(number)[:8]]
    paths = [str(tiny / path) for path in rows["path"]]
    for real, fake in zip(looks[::2], looks[1::2], strict=True):
        assert (rows["label"][real.row], rows["label"][fake.row]) == (REAL, FAKE)
        assert rows["group"][real.row] == rows["group"][fake.row]
        assert replace(real, row=fake.row) == fake
        if real.seed is None:
            a, b = (see_window(look, paths[look.row], "whole").astype(int) for look in (real, fake))
            assert abs(a - b).mean() < 13
            assert abs(a.mean() - b.mean()) < 3
    assert {look.seed is None for look in looks} == {True, False}
    assert len({look.window for look in looks}) == len(looks) / 2


def test_both_classes_and_small_sources_are_drawn_often_enough():
    rows = frame(sources=2, generators=2, paired=1, sizes=(400, 25))
    batches = Batches(rows, 0)
    drawn = [look.row for number in range(300) for look in batches.step(number)]
    labels, origin = rows["label"].to_numpy()[drawn], rows["generator"].to_numpy()[drawn]
    assert len(drawn) == 300 * BATCH
    assert labels.mean() == 0.5
    assert 0.15 < (origin[labels == REAL] == "s1").mean() < 0.25, "a fifth by square roots, a seventeenth as they are"
    again = Batches(rows, 0)
    assert batches.step(7) == again.step(7) != batches.step(8)


@pytest.mark.parametrize("paired", [0, 2])
def test_batches_without_pairs_or_without_others(paired):
    rows = frame(sources=2, generators=2, paired=paired)
    looks = Batches(rows, 0).step(0)
    assert len(looks) == BATCH
    assert sum(rows["label"][look.row] for look in looks) == BATCH // 2


def test_other_layer_norms_are_another_encoder(tuned, tmp_path):
    ours = clip_vit_b16_tuned.Encoder("cpu", str(tuned))  # a folder stands for the weights file in it
    norms = load_file(tuned / "encoder.safetensors")
    save_file({name: array * 1.01 for name, array in norms.items()}, tmp_path / "other.safetensors")
    other = clip_vit_b16_tuned.Encoder("cpu", str(tmp_path / "other.safetensors"))
    assert ours.spec.key not in (other.spec.key, clip_vit_b16_corners.Encoder("cpu").spec.key)
    picture = [Image.new("RGB", (300, 250), "teal")]
    assert (ours.embed_batch(picture) != other.embed_batch(picture)).any()


def test_wrong_layer_norms_are_refused(tuned, tiny, tmp_path):
    with pytest.raises(WeightsUnavailable, match="--weights models/NAME"):
        _ = clip_vit_b16_tuned.Encoder("cpu").spec
    cases = {
        "whole": (tiny / "weights" / "tiny.safetensors").read_bytes(),
        "text": b"no weights",
        "cut": (tuned / "encoder.safetensors").read_bytes()[:-9],
    }
    for name, content in cases.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        encoder = clip_vit_b16_tuned.Encoder("cpu", str(tmp_path / f"{name}.safetensors"))
        with pytest.raises(WeightsUnavailable, match="should hold the 10 layer-norm" if name == "whole" else "not a readable weights file"):
            encoder.embed_batch([Image.new("RGB", (64, 64))])


def test_a_model_without_its_layer_norms_is_refused(tuned, tmp_path):
    shutil.copytree(tuned, tmp_path / "m")
    (tmp_path / "m" / "encoder.safetensors").unlink()
    with pytest.raises(BundleError, match="model m lacks the encoder that came with it.*Copy the model's whole folder again"):
        Detector(tmp_path / "m")
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "m" / "encoder.safetensors")
    assert bundle.load(tmp_path / "m").encoder_weights == tmp_path / "m" / "encoder.safetensors"
    with pytest.raises(BundleError, match="encoder.safetensors is damaged or another's .*layer norms sha256.*whole folder again"):
        Detector(tmp_path / "m")


def test_it_is_evaluated_with_its_own_encoder_and_protocols_say_nothing_of_it(tuned, pictures, tmp_path, capsys):
    asked = [f"--model={tuned}", f"--data={pictures}", "--split=test", "--protocol=leave-one-generator-out", f"--out={tmp_path / 'r'}"]
    assert cli.evaluate([*asked, "--no-cache"]) == 0
    assert "says nothing of model: its encoder was tuned too" in capsys.readouterr().out
    found = json.loads((tmp_path / "r" / "report.json").read_text())
    assert found["detectors"]["model"]["overall"]["auroc"] > 0.9
    assert found["protocols"] == []
    for name, cell in (("model_card.md", "| {} |"), ("report.html", "<td>{}</td>")):
        report = (tmp_path / "r" / name).read_text()
        for told in found["detectors"]["model"]["training"]["left_out"]:
            assert cell.format(", ".join(told["generators"] + told["sources"])) in report


def frame(sources, generators, paired=0, sizes=(24, 24, 24, 24)):
    """Rows of so many sources and generators, the last `paired` generators' fakes each made of a real picture."""
    rows = [{"generator": f"s{i}", "label": REAL, "group": f"s{i}-{n}"} for i in range(sources) for n in range(sizes[i])]
    reals = list(rows)
    for i in range(generators):
        groups = [row["group"] for row in reals] if i >= generators - paired else [f"g{i}-{n}" for n in range(24)]
        rows += [{"generator": f"g{i}", "label": FAKE, "group": group} for group in groups]
    names = [f"{i}.jpg" for i in range(len(rows))]
    return pd.DataFrame(rows).assign(path=names, split="train", sha256=[f"{i:064x}" for i in range(len(rows))])
