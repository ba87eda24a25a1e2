"""A self-blended face: changed in the face alone, the same for the same seed, in every size and position that a detector reports."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from deepfake_detector import self_blend as module
from deepfake_detector.crops.detectors import Face, mtcnn
from deepfake_detector.errors import NoFace
from deepfake_detector.self_blend import self_blend


def portrait(width=240, height=200, grain=1):
    """A drawn head with grain over it, as a detector would box it: 60 to 160 across, 30 to 170 down."""
    picture = Image.new("RGB", (width, height), (90, 120, 150))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((60, 30, 160, 170), fill=(205, 165, 140))
    for x in (90, 130):
        pen.ellipse((x - 8, 78, x + 8, 88), fill=(60, 50, 50))
    pen.ellipse((92, 132, 128, 142), fill=(170, 80, 80))
    noise = np.random.default_rng(grain).normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


FACE = Face((60, 30, 160, 170), 1.0, ((90, 83), (130, 83), (110, 112), (95, 137), (125, 137)))


@pytest.fixture
def found(monkeypatch):
    """Stands in for the detector: what it is called with is what is found."""

    def use(*faces):
        monkeypatch.setattr(module, "faces", lambda picture: list(faces))

    return use


def difference(a, b):
    """(height, width): the largest change of a channel."""
    return np.abs(np.asarray(a, int) - np.asarray(b)).max(axis=2)


def test_only_the_face_changes(found):
    found(FACE)
    picture = portrait()
    for seed in range(30):
        made = self_blend(picture, seed)
        changed = difference(picture, made) > 0
        assert (made.size, made.mode) == (picture.size, "RGB")
        assert changed[60:140, 80:140].mean() > 0.3, "the inner face"
        assert not changed[:, :25].any()
        assert not changed[:, 195:].any()
        assert not changed[195:].any()


def test_the_seed_decides(found):
    found(FACE)
    first, same, other = (np.asarray(self_blend(portrait(), seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_the_picture_given_is_left_alone(found):
    found(FACE)
    picture = portrait()
    self_blend(picture, 0)
    assert not difference(picture, portrait()).any()


def test_every_face_is_blended(found):
    twice = Image.new("RGB", (480, 200))
    twice.paste(portrait(), (0, 0))
    twice.paste(portrait(grain=2), (240, 0))
    right = Face((300, 30, 400, 170), 1.0, tuple((x + 240, y) for x, y in FACE.landmarks))
    found(FACE, right)
    changed = difference(twice, self_blend(twice, 3)) > 0
    assert changed[60:140, 80:140].any()
    assert changed[60:140, 320:380].any()
    assert not changed[:, 195:265].any(), "and nothing between them"


def test_there_is_no_seam_that_the_picture_itself_does_not_have(found):
    """On a grey picture only colours can change, and they do so by small steps: the mask is blurred, nothing is cut out."""
    found(FACE)
    grey = Image.new("RGB", (240, 200), (128, 128, 128))
    for seed in range(20):
        made = np.asarray(self_blend(grey, seed), int)
        assert np.abs(np.diff(made, axis=0)).max() <= 12
        assert np.abs(np.diff(made, axis=1)).max() <= 12


@pytest.mark.parametrize(
    "face",
    [
        Face((-10, -20, 60, 80), 1.0, ((10, 20), (40, 20), (25, 35), (12, 55), (38, 55))),  # partly outside
        Face((200, 150, 240, 200), 1.0, ((210, 165), (232, 168), (222, 178), (212, 190), (230, 191))),
        Face((100, 60, 132, 92), 1.0, ((108, 70), (124, 70), (116, 78), (109, 85), (123, 85))),  # the smallest
        Face((60, 30, 160, 170), 1.0, ((110, 80), (111, 80), (90, 112), (108, 137), (109, 137))),  # in profile
        Face((60, 30, 160, 170), 1.0, ((90, 83), (130, 83), (110, 83), (95, 83), (125, 83))),  # eyes and mouth on one line
        Face((0, 0, 240, 200), 1.0, ((70, 60), (170, 60), (120, 100), (80, 150), (160, 150))),  # as large as the picture
        Face((60, 30, 160, 170), 1.0, ((85, 120), (85, 80), (115, 100), (138, 118), (138, 82))),  # lying on its side
    ],
)
def test_faces_of_all_sorts(found, face):
    found(face)
    for seed in range(5):
        picture = portrait()
        changed = difference(picture, self_blend(picture, seed)) > 0
        assert 0 < changed.mean() < 0.95


def test_a_large_face(found):
    found(Face((240, 120, 640, 680), 1.0, tuple((4 * x, 4 * y) for x, y in FACE.landmarks)))
    picture = portrait().resize((960, 800))
    changed = difference(picture, self_blend(picture, 0)) > 0
    assert changed[240:560, 320:560].mean() > 0.3
    assert not changed[:, :100].any()


def test_no_face_is_said_and_not_passed_off_as_a_fake(found):
    found()
    with pytest.raises(NoFace, match="no face of at least 32 pixels"):
        self_blend(portrait(), 0)


def test_the_detector_reports_where_eyes_and_mouth_are(monkeypatch):
    points = {name: (2 * i, 100 + i) for i, name in enumerate(mtcnn.LANDMARKS)}

    class Detector:
        def detect_faces(self, pixels):
            return [{"box": [0, 90, 60, 70], "confidence": 0.99, "keypoints": points}]

    monkeypatch.setattr(mtcnn, "_detector", Detector)
    (face,) = mtcnn.find(Image.new("RGB", (1280, 960)))
    assert face.landmarks == ((0, 200), (4, 202), (8, 204), (12, 206), (16, 208)), "in the pixels of the picture, not of the search"
