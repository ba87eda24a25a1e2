"""An answer about a picture must survive that the picture is saved again; else the detector is unsure, and says why."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from deepfake_detector import bundle
from deepfake_detector.calibration import Calibration
from deepfake_detector.detect import Detector
from deepfake_detector.errors import NoFace, UnusablePicture
from deepfake_detector.looks_filmed import LooksFilmed
from deepfake_detector.panel import Panel
from deepfake_detector.types import Thresholds
from deepfake_detector.ui.verdict_card import card
from deepfake_detector.video import Clip
from tests.clips import draw_clip


@pytest.fixture
def detector(model):
    return Detector(model)


@pytest.fixture
def files(dataset):
    return sorted((dataset / "real").rglob("*.jpg"))[0], sorted((dataset / "fake").rglob("*.jpg"))[0]


def test_a_steady_answer_stands(detector, files):
    assert [Panel([detector]).judge_file(file).verdict for file in files] == ["real", "fake"]
    assert Panel([detector]).judge_file(files[0]).notes == ()


@pytest.mark.parametrize("label", [0, 1])
def test_an_answer_that_saving_again_turns_round_becomes_unsure_at_every_door(detector, files, label):
    other = files[1 - label].read_bytes()
    before = Panel([detector]).judge_file(files[label])
    detector.saved_again = SimpleNamespace(embed_one=lambda content: detector.embedder.embed_one(other))
    verdict = detector.judge(files[label].read_bytes())
    assert verdict.verdict == "unsure"
    assert verdict.p_fake == before.p_fake
    assert f"by the thresholds {before.verdict}" in verdict.notes[-1]
    assert f"The answer would be {before.verdict}, but it changes when the picture is saved again" in card(verdict)
    [(_, in_batch)] = Panel([detector]).judge_files([str(files[label])])
    assert (in_batch.verdict, in_batch.notes) == (verdict.verdict, verdict.notes)


def test_a_face_that_is_not_found_again_is_no_answer(detector, files):
    def lost(content):
        raise NoFace("no face found")

    detector.saved_again = SimpleNamespace(embed_one=lost)
    verdict = Panel([detector]).judge_file(files[1])
    assert verdict.verdict == "unsure"
    assert "no face found" in verdict.notes[-1]


def test_a_file_that_is_gone_before_it_is_read_again_costs_its_own_verdict_only(detector, files, tmp_path, monkeypatch):
    from deepfake_detector import detect

    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(detect, "read_file", gone)
    [(_, outcome)] = Panel([detector]).judge_files([str(files[0])])
    assert "can't be read again" in outcome


def test_where_nothing_can_be_promised_no_picture_gets_an_answer(model, tmp_path, files):
    """Its thresholds are then 0 and 1, which no probability may reach by being rounded."""
    trained = bundle.load(model)
    bundle.save(replace(trained, thresholds=Thresholds(0.0, 1.0), calibration=Calibration(40.0, 0.0)), tmp_path / "m")
    detector = Detector(tmp_path / "m")
    detector.saved_again = None  # where there is no answer nothing is asked of a copy
    verdicts = [Panel([detector]).judge_file(file) for file in files]
    assert [round(one.p_fake) for one in verdicts] == [0, 1]
    assert [one.verdict for one in verdicts] == ["unsure", "unsure"]
    assert not any("The answer would be" in card(one) for one in verdicts), "nothing was withheld: it never has an answer"


@pytest.mark.parametrize(("whole", "withheld"), [(7, "only 7 of 16 frames can be judged"), (8, "")])
def test_of_a_clip_that_is_mostly_damaged_nothing_is_answered(detector, tmp_path, monkeypatch, whole, withheld):
    clip, picture = draw_clip(tmp_path / "clip.mp4", list(range(0, 4000, 40)), size=(160, 96), tint=(0, 0, 60)), Clip.picture
    undamaged = Panel([detector]).judge_file(clip)
    assert undamaged.verdict != "unsure"

    def damaged(self, nth):
        if nth < 16 - whole:
            raise UnusablePicture("damaged: parts of this frame are missing")
        return picture(self, nth)

    monkeypatch.setattr(Clip, "picture", damaged)
    verdict = Panel([detector]).judge_file(clip)
    assert verdict.withheld == withheld
    assert verdict.frames == undamaged.frames[-whole:]
    assert (verdict.verdict == "unsure") == bool(withheld)
    assert f"{whole} of 16 frames were judged" in verdict.notes[0]
    assert ("The answer would be" in card(verdict)) == bool(withheld)


def test_the_copy_of_a_still_is_judged_as_a_frame_too(detector, files):
    """Saved again it may no longer look as if it had been a frame: another calibration would turn an answer round, or let one stand."""
    still, copy = (detector.embedder.embed_one(file.read_bytes()) for file in files)
    towards = np.concatenate([one.remembered.vectors for one in (still, copy)])
    weight = (towards[0] - towards[1])[None]
    looks = LooksFilmed(("clip0",), weight, -weight @ towards.mean(axis=0), np.zeros(1), {"clip0": 1.0}, 0.0)
    never_real = {"clip0": {"calibration": {"slope": 0.1, "offset": -9.0}}}
    detector.bundle = replace(detector.bundle, looks_filmed=looks, manifest=detector.bundle.manifest | {"clips": never_real})
    assert detector.bundle.taken_for_frames(towards).tolist() == [True, False]
    detector.saved_again = SimpleNamespace(embed_one=lambda content: copy)
    verdict = detector.judge(files[0].read_bytes())
    assert verdict.verdict == "real", "by the calibration of frames its copy is, too; by that of pictures it would be fake"
    assert len(verdict.notes) == 1


def test_the_copy_of_a_still_is_known_to_have_been_saved_again(detector, files):
    """A still that had been saved as JPEG before is judged as such, and so is its copy, not as a frame that never was."""
    still, copy = (detector.embedder.embed_one(file.read_bytes()) for file in files)
    found = {"clip0": 1.0, "clip0+jpeg90": 0.6}
    looks = LooksFilmed(tuple(found), np.zeros((2, still.remembered.vectors.shape[1])), np.array([-1.0, 1.0]), np.zeros(2), found, 0.0)
    clips = {"clip0": {"calibration": {"slope": 0.1, "offset": 9.0}}, "clip0+jpeg90": {"calibration": {"slope": 0.1, "offset": -9.0}}}
    detector.bundle = replace(detector.bundle, looks_filmed=looks, manifest=detector.bundle.manifest | {"clips": clips})
    detector.saved_again = SimpleNamespace(embed_one=lambda content: copy)
    verdict = detector.judge(files[0].read_bytes())
    assert verdict.verdict == "real", "by the calibration of frames that were never saved again it would be fake"
    assert len(verdict.notes) == 1
