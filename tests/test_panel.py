"""Several models, one answer: fake where one says so, real where the first does and none doubts it, and each one's own answer beside it."""

from __future__ import annotations

import gc
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepfake_detector import bundle, provenance
from deepfake_detector.cache import Cache
from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.once import Once
from deepfake_detector.panel import FACE_SWAPS, Panel
from deepfake_detector.types import Progress
from deepfake_detector.ui.tabs.model import describe_all
from deepfake_detector.ui.verdict_card import card
from deepfake_detector.video import Clip, Sampling
from tests.clips import draw_clip
from tests.conftest import answering, script
from tests.signing import signed_file


@pytest.fixture
def picture(dataset) -> Path:
    return sorted((dataset / "real").rglob("*.jpg"))[0]


@pytest.fixture
def panel_of(model, tmp_path):
    return lambda *answers: Panel([Detector(answering(model, tmp_path / f"model{n}", answer)) for n, answer in enumerate(answers)])


@pytest.mark.parametrize(
    ("answers", "together", "deciding"),
    [
        (("real", "real"), "real", "model0"),
        (("real", "fake"), "fake", "model1"),
        (("fake", "real"), "fake", "model0"),
        (("fake", "fake"), "fake", "model0"),
        (("less surely fake", "fake"), "fake", "model1"),
        (("doubts", "fake"), "fake", "model1"),
        (("doubts", "real"), "unsure", "model0"),
        (("real", "leans to real"), "real", "model0"),
        (("real", "leans to fake"), "unsure", "model1"),
        (("fake", "leans to real"), "fake", "model0"),
        (("real", "leans to real", "fake"), "fake", "model2"),
        (("real",), "real", "model0"),
    ],
)
def test_one_answer_is_given_by_the_model_that_decides(panel_of, picture, answers, together, deciding):
    panel = panel_of(*answers)
    verdict = panel.judge(picture.read_bytes())
    assert (verdict.verdict, verdict.model) == (together, deciding)
    assert verdict.thresholds.answer(verdict.p_fake) == together, "its probability is that of its own answer"
    assert sorted([verdict.model, *(other.model for other in verdict.others)]) == [f"model{n}" for n in range(len(answers))]
    [(path, in_batch)] = panel.judge_files([str(picture)])
    assert path == str(picture)
    assert replace(in_batch, seconds=0, others=()) == replace(verdict, seconds=0, others=())


def test_a_folder_is_judged_in_order_and_a_bad_file_costs_itself_alone(panel_of, dataset, tmp_path):
    (tmp_path / "text.jpg").write_text("I am no picture")
    paths = [str(file) for file in sorted(dataset.rglob("*.jpg"))[:40]]
    paths.insert(7, str(tmp_path / "text.jpg"))
    panel = panel_of("real", "fake")
    outcomes = list(panel.judge_files(iter(paths)))
    assert [path for path, _ in outcomes] == paths
    assert [path for path, outcome in outcomes if isinstance(outcome, str)] == [paths[7]]
    with pytest.raises(UnusablePicture, match="not a picture"):
        panel.judge_file(paths[7])
    there = onces()
    gc.disable()
    try:
        list(panel.judge_files([paths[7]]))
        assert onces() <= there, "nor is it held until Python next looks for what holds but itself: it may be large"
    finally:
        gc.enable()


def onces() -> int:
    return sum(type(one) is Once for one in gc.get_objects())


def test_a_frame_is_decoded_once_for_all_models_whatever_the_cache_knows(model, tmp_path, monkeypatch):
    decoded = []
    picture = Clip.picture
    monkeypatch.setattr(Clip, "picture", lambda clip, nth: decoded.append(nth) or picture(clip, nth))
    clip = str(draw_clip(tmp_path / "a.mp4", list(range(0, 1000, 40))))
    folders = [answering(model, tmp_path / f"model{n}", answer) for n, answer in enumerate(("real", "fake"))]
    alone = [Panel([Detector(folder)]).judge_file(clip) for folder in folders]
    decoded.clear()
    together = Panel([Detector(folder) for folder in folders]).judge_file(clip)
    assert sorted(decoded) == list(range(16))
    assert [(one.p_fake, one.frames, one.notes) for one in (*together.others, together)] == [
        (one.p_fake, one.frames, one.notes) for one in alone
    ]
    with Cache(tmp_path / "cache.sqlite") as cache:
        Panel([Detector(folders[0], cache)]).judge_file(clip)
        decoded.clear()
        half_known = Panel([Detector(folders[0], cache), Detector(folders[1])]).judge_file(clip)
    assert sorted(decoded) == list(range(16))
    assert [half_known.cached, *(one.cached for one in half_known.others)] == [False, True]
    assert half_known.frames == together.frames


def test_what_nobody_asks_to_go_on_ends_and_what_was_embedded_is_remembered(model, tmp_path, monkeypatch):
    encoded = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda encoder, prepared: encoded.append(len(prepared)) or encode(encoder, prepared))
    clip = draw_clip(tmp_path / "a.mp4", list(range(0, 2000, 40)))
    folders = [answering(model, tmp_path / f"model{n}", answer) for n, answer in enumerate(("real", "fake"))]
    whole = Panel([Detector(folder) for folder in folders]).judge_file(clip, Sampling(48))
    with Cache(tmp_path / "cache.sqlite") as cache:
        panel = Panel([Detector(folder, cache) for folder in folders])
        encoded.clear()
        judging = panel.judging(clip, Sampling(48))
        assert next(judging) == Progress(1, 48)
        judging.close()
        assert sum(encoded) == 8, "not more than was told of"
        *told, verdict = panel.judging(clip, Sampling(48))
    assert told == [Progress(done, 48) for done in range(9, 49)]
    assert sum(encoded) == 48
    assert verdict.seconds > 0
    assert replace(verdict, seconds=0, others=()) == replace(whole, seconds=0, others=())


def asking_faces(model: Path) -> Path:
    """The model, which then has no answer about what is drawn here."""
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"crop": "faces:detector=mtcnn:padding=0.3:min=32"}))
    return model


@pytest.mark.parametrize("first", ["faces", "whole"])
def test_a_model_that_finds_no_face_is_passed_over(model, tmp_path, picture, first):
    whole, faces = answering(model, tmp_path / "whole", "real"), asking_faces(answering(model, tmp_path / "faces", "real"))
    panel = Panel([Detector(folder) for folder in ([faces, whole] if first == "faces" else [whole, faces])])
    verdict = panel.judge(picture.read_bytes())
    assert (verdict.verdict, verdict.model, verdict.others) == ("real", "whole", ())
    assert verdict.notes == ("faces has no answer: no face of at least 32 pixels found",)
    [(_, in_batch)] = panel.judge_files([str(picture)])
    assert in_batch.notes == verdict.notes
    with pytest.raises(UnusablePicture, match="no face of at least 32 pixels"):
        Panel([Detector(faces)]).judge(picture.read_bytes())


def test_no_note_is_lost_where_the_files_own_word_decides(model, tmp_path):
    whole, faces = answering(model, tmp_path / "whole", "real"), asking_faces(answering(model, tmp_path / "faces", "real"))
    clip = signed_file(tmp_path / "signed.mp4", draw_clip(tmp_path / "clip.mp4", [0, 40, 80]).read_bytes(), kind="video/mp4")
    verdict = Panel([Detector(whole), Detector(faces)]).judge_file(clip)
    assert verdict.by_the_file
    shown = card(verdict)
    for note in ("3 frames were judged", "faces has no answer: no face of at least 32 pixels found"):
        assert note in verdict.notes
        assert shown.count(note) == 1


def test_named_pipes_are_refused_and_nobody_waits_for_them(model, picture, tmp_path):
    """Beside this thread, with a limit: one that opened a pipe would never come back."""
    folder, pipes = tmp_path / "folder", [tmp_path / "pipe.jpg", tmp_path / "pipe.mp4"]
    folder.mkdir()
    shutil.copy(picture, folder / "a.jpg")
    for pipe in pipes:
        os.mkfifo(pipe)
    (folder / "linked.jpg").symlink_to(pipes[0])
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(script, "deepfake_detector", "predict", *pipes, folder, "--model", model, "--no-cache", cwd=tmp_path)
        try:
            done = asked.result(timeout=60)
        finally:
            for pipe in pipes:  # let go of whoever waits
                os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
    assert done.returncode == 1, done.stderr
    *refused_first, judged, refused_last = done.stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in (*refused_first, refused_last)] == [
        f"{path}: not a plain file" for path in (*pipes, folder / "linked.jpg")
    ]
    assert "p_fake" in judged


def test_a_file_that_no_model_can_judge_is_not_asked_what_it_declares(panel_of, picture, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(provenance, "of_file", lambda path, signers: asked.append(path) or ())
    (tmp_path / "text.jpg").write_text("I am no picture")
    list(panel_of("real", "fake").judge_files([str(tmp_path / "text.jpg"), str(picture)]))
    assert asked == [str(picture)]


def test_what_a_model_looks_for_is_told_by_what_it_learnt(model, tmp_path):
    for generator, looks_for in (("self_blended", "face swaps"), ("faceswap", "face swaps"), ("sdxl", "fakes"), ("my_fakes", "fakes")):
        assert bundle.load(answering(model, tmp_path / "m", "real", generator)).looks_for == looks_for
    assert [bundle.load(one).looks_for for one in (DEFAULT_MODEL, FACE_SWAPS)] == ["fakes", "face swaps"]


@pytest.mark.parametrize(("answers", "times"), [(("doubts", "doubts"), 1), (("real", "real"), 0), (("fake", "doubts"), 0)])
def test_who_gets_no_answer_is_told_once_what_may_help(model, tmp_path, picture, answers, times):
    made = [answering(model, tmp_path / f"m{i}", answer) for i, answer in enumerate(answers)]
    shown = card(Panel([Detector(folder) for folder in made]).judge(picture.read_bytes()))
    assert shown.count("Treat it as not judged. What may help: a larger or earlier copy; a reverse image search") == times
    assert shown.count("Treat it as not judged") == times, "what others are unsure of is judged all the same"


def test_the_card_shows_each_models_answer_in_words_of_its_own(model, tmp_path, picture):
    made = [answering(model, tmp_path / "painted", "real", "sdxl"), answering(model, tmp_path / "put in", "fake", "faceswap")]
    panel = Panel([Detector(folder) for folder in made])
    shown = card(panel.judge(picture.read_bytes()))
    assert '<div class="verdict fake" data-verdict="fake"' in shown
    assert "A face in it looks put in" in shown
    assert (
        shown.index("A face in it looks put in")
        < shown.index("painted, which looks for fakes: real")
        < shown.index("no traces of a generator")
    )
    assert "put in on colour_histogram" in shown
    assert "painted on colour_histogram" in shown
    assert card(Detector(made[1]).judge(picture.read_bytes())).count("<section") == 0
    told = describe_all(panel.bundles)
    assert told.index("## painted") < told.index("## put in")
    assert "##" not in describe_all(panel.bundles[:1])


def test_predict_tells_who_decided_and_what_the_others_say(model, tmp_path, picture):
    models = [answering(model, tmp_path / "a", "real"), answering(model, tmp_path / "b", "fake")]
    options = [option for one in models for option in ("--model", one)]
    done = script("deepfake_detector", "predict", picture, *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert (line["verdict"], line["model"], line["looks_for"]) == ("fake", "b", "face swaps")
    assert [(other["model"], other["verdict"]) for other in line["others"]] == [("a", "real")]
    plain = script("deepfake_detector", "predict", picture, *options, cwd=tmp_path).stdout
    assert plain.startswith("fake")
    assert "by b; a: real 0.0001" in plain
    alone = script("deepfake_detector", "predict", picture, *options[:2], "--json", cwd=tmp_path)
    assert "others" not in json.loads(alone.stdout)


def test_a_panel_goes_on_with_the_others_when_its_first_is_taught(panel_of, picture):
    panel = panel_of("real", "fake")
    panel.first.known = SimpleNamespace(most_similar=lambda vectors: ("a known picture",))
    taught = panel.answering_by(replace(panel.first.bundle, name="taught"))
    assert [one.name for one in taught.bundles] == ["taught", "model1"]
    assert [one.name for one in panel.bundles] == ["model0", "model1"]
    verdict = taught.judge(picture.read_bytes())
    assert (verdict.model, verdict.others[0].model) == ("model1", "taught")
    assert verdict.similar == ("a known picture",), "whoever decides"
