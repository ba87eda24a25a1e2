"""The face crops cut squares of the right place and size, and a picture without a face is skipped with its reason."""

import base64
import dataclasses
import io
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from deepfake_detector import crops
from deepfake_detector.cache import Cache
from deepfake_detector.crops.detectors import Face, haar, mtcnn
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import NoFace, TableError, UnknownName, UnusablePicture, WeightsUnavailable
from tests.conftest import draw


class Stub:
    """Stands in for MTCNN: boxes as (left, top, width, height, confidence) in the pixels that it is shown, the right eye lower."""

    def __init__(self, *boxes):
        self.boxes = boxes

    def detect_faces(self, pixels):
        self.shape = pixels.shape
        return [{"box": list(box[:4]), "confidence": box[4], "keypoints": self.points(*box[:4])} for box in self.boxes]

    def points(self, left, top, width, height):
        at = {"left_eye": (0.3, 0.3), "right_eye": (0.7, 0.7), "nose": (0.5, 0.6), "mouth_left": (0.3, 0.8), "mouth_right": (0.7, 0.8)}
        return {name: (left + x * width, top + y * height) for name, (x, y) in at.items()}


@pytest.fixture
def stub(monkeypatch):
    def use(*boxes):
        detector = Stub(*boxes)
        monkeypatch.setattr(mtcnn, "_detector", lambda: detector)
        return detector

    return use


def landscape(width=320, height=240):
    picture = Image.new("RGB", (width, height), (150, 190, 230))
    pen = ImageDraw.Draw(picture)
    pen.polygon([(0, height), (width // 3, height // 3), (width, height)], fill=(90, 110, 80))
    pen.rectangle((0, height * 3 // 4, width, height), fill=(70, 120, 50))
    return picture.filter(ImageFilter.GaussianBlur(2))


def cut(picture, face, name="faces"):
    return crops.load(name)._cut(picture, face)


def test_a_square_with_its_margin():
    region = cut(Image.new("RGB", (400, 300)), Face((100, 100, 160, 180), 1.0))  # 60 x 80, so a square of 1.3 · 80
    assert region.box == (78, 88, 182, 192)
    assert region.picture.size == (104, 104)


@pytest.mark.parametrize(
    ("face", "box"),
    [
        ((0, 0, 60, 80), (0, 0, 104, 104)),  # moved inside
        ((340, 220, 400, 300), (296, 196, 400, 300)),
        ((0, 0, 400, 300), (0, 0, 400, 300)),  # does not fit
        ((100, 0, 350, 300), (30, 0, 400, 300)),
    ],
)
def test_at_the_edge(face, box):
    region = cut(Image.new("RGB", (400, 300)), Face(face, 1.0))
    left, top, right, bottom = region.box
    assert region.picture.size == (right - left, bottom - top)
    assert 0 <= left <= max(0, face[0])
    assert top <= face[1]
    assert face[2] <= right <= 400
    assert face[3] <= bottom <= 300
    if face[2] - face[0] != 250:
        assert region.box == box


def test_all_faces_the_largest_first(stub):
    stub((10, 10, 40, 40, 0.99), (100, 50, 80, 60, 0.97), (200, 10, 20, 20, 1.0), (250, 150, 50, 50, 0.85))
    found = crops.load("faces")(landscape())
    assert [region.picture.size for region in found] == [(104, 104), (52, 52)], "neither the tiny nor the doubtful one"
    largest = crops.load("largest_face")(landscape())
    assert [region.box for region in largest] == [found[0].box]


def test_boxes_come_back_in_the_pixels_of_a_large_picture(stub):
    detector = stub((100, 50, 40, 40, 1.0))
    (region,) = crops.load("faces")(landscape(2560, 1920))
    assert detector.shape == (480, 640, 3)
    assert region.box == (376, 176, 584, 384)


@pytest.mark.parametrize("crop", ["faces", "largest_face"])
def test_no_face_in_a_drawn_landscape(crop):
    with pytest.raises(NoFace, match="no face of at least 32 pixels found; leave it out, or take a model or a crop that needs none"):
        crops.load(crop)(landscape())


@pytest.mark.parametrize("size", [(16, 16), (16, 700), (1, 1), (2000, 41)])
def test_odd_sizes_and_noise_are_no_faces(size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    with pytest.raises(UnusablePicture):
        crops.load("faces")(Image.fromarray(noise))


def test_from_many_threads():
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: mtcnn.find(landscape()), range(8))) == [[]] * 8


def png(picture):
    import io

    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()


def test_a_picture_without_a_face_is_skipped_with_its_reason_and_the_rest_goes_on(stub, monkeypatch):
    stub((10, 10, 100, 100, 1.0), (150, 100, 60, 60, 1.0))
    two, none = png(landscape()), png(landscape(200, 200))
    monkeypatch.setattr(mtcnn, "find", lambda picture, find=mtcnn.find: find(picture) if picture.width == 320 else [])
    first, second = Embedder(Encoder(), crop="faces").embed([two, none], lambda content: content)
    assert first.remembered.vectors.shape[0] == 2
    assert first.remembered.boxes.tolist()[0] == [0, 0, 130, 130]
    assert "no face" in second.error


# ---- settings


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("whole", "whole"),
        ("faces", "faces:detector=mtcnn:padding=0.3:min=32"),
        ("largest_face:align", "largest_face:detector=mtcnn:padding=0.3:min=32:align"),
        ("faces:min=48:detector=haar:padding=0.20", "faces:detector=haar:padding=0.2:min=48"),
    ],
)
def test_a_name_is_written_with_all_its_settings(given, full):
    assert crops.load(given).name == full
    assert crops.load(full) == crops.load(given)
    assert Embedder(Encoder(), f"{given}+jpeg50").crop == f"{full}+jpeg50"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("faces:pading=0.2", "no setting 'pading'; there are: detector, padding, min, align"),
        ("whole:padding=0.2", "no setting 'padding'; it has none"),
        ("faces:padding", "should be like padding=0.3. Received: padding="),
        ("faces:padding=wide", "should be like padding=0.3. Received: padding=wide"),
        ("faces:padding=1.5", "from 0 to 1. Received: 1.5"),
        ("faces:padding=nan", "from 0 to 1. Received: nan"),
        ("faces:min=0", "at least 1 pixel"),
        ("faces:min=2.5", "should be like min=32"),
        ("faces:align=yes", "a switch"),
        ("faces:min=3:min=4", "min twice"),
        ("faces:detector=eyes", "There is no detector 'eyes'; there are: haar, mediapipe, mtcnn"),
        ("faces:detector=mtcnn@2", "comes in no versions"),
        ("faces:detector=haar:align", "haar: it finds no eyes"),
        ("face", "there are: .*faces, largest_face, unframed, whole"),
    ],
)
def test_a_setting_that_makes_no_sense(name, reason):
    with pytest.raises(UnknownName, match=reason):
        crops.load(name)


def test_padding_and_the_smallest_face(stub):
    stub((10, 10, 40, 40, 0.99), (100, 50, 80, 60, 0.97))
    assert [region.picture.size for region in crops.load("faces:padding=0:min=60")(landscape())] == [(80, 80)]
    assert [region.picture.size for region in crops.load("faces:padding=0.5")(landscape())] == [(120, 120), (60, 60)]
    with pytest.raises(NoFace, match="at least 100 pixels"):
        crops.load("largest_face:min=100")(landscape())


def test_aligned_eyes_are_level(stub):
    stub((100, 60, 100, 100, 1.0))
    picture = Image.new("RGB", (320, 240), "black")
    pen = ImageDraw.Draw(picture)
    for x, y in ((130, 90), (170, 130)):  # where the stub sees the eyes: 45 degrees
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill="white")
    (plain,), (turned,) = crops.load("faces")(picture), crops.load("faces:align")(picture)
    assert turned.box == plain.box
    assert turned.picture.size == plain.picture.size == (130, 130)
    bright = np.asarray(turned.picture.convert("L")) > 128
    left, right = np.argwhere(bright[:, :65]), np.argwhere(bright[:, 65:])
    assert abs(left[:, 0].mean() - right[:, 0].mean()) < 1
    assert right[:, 1].mean() + 65 - left[:, 1].mean() == pytest.approx(40 * 2**0.5, abs=1)


def test_an_aligned_face_at_the_edge_has_no_black_corners(stub):
    stub((0, 0, 60, 60, 1.0))
    (region,) = crops.load("faces:align")(Image.new("RGB", (320, 240), (90, 120, 150)))
    assert np.ptp(np.asarray(region.picture), axis=(0, 1)).tolist() == [0, 0, 0]


def test_haar_searches_too_and_is_quiet_where_there_is_nothing():
    assert haar.find(landscape()) == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: haar.find(landscape(900, 700)), range(8))) == [[]] * 8
    with pytest.raises(NoFace):
        crops.load("faces:detector=haar")(landscape())


def test_haar_without_its_file(monkeypatch):
    monkeypatch.setattr(haar, "CASCADE", "haarcascade_gone.xml")
    with ThreadPoolExecutor(1) as pool, pytest.raises(WeightsUnavailable, match="has no haarcascade_gone.xml.*requirements.txt"):
        pool.submit(haar.find, landscape()).result()


def test_mediapipe_is_only_used_where_it_and_its_very_model_are_installed(monkeypatch, tmp_path):
    from deepfake_detector.crops.detectors import mediapipe

    monkeypatch.setenv("DEEPFAKE_DETECTOR_CACHE", str(tmp_path))
    installed = mediapipe.importlib.util
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailable, match="not installed: pip install"):
        crops.load("faces:detector=mediapipe")
    monkeypatch.setattr(installed, "find_spec", lambda name: name)
    with pytest.raises(WeightsUnavailable, match="needs a model: put blaze_face.*detector=mtcnn"):
        crops.load("faces:detector=mediapipe")
    (tmp_path / "face_detector.tflite").write_bytes(b"a model")
    full = crops.load("faces:detector=mediapipe").name
    assert full == "faces:detector=mediapipe@97ff8a35:padding=0.3:min=32"
    assert crops.load(full).name == full
    (tmp_path / "face_detector.tflite").write_bytes(b"another model")
    with pytest.raises(WeightsUnavailable, match="fingerprint 97ff8a35; .* is another"):
        crops.load(full)


def test_other_settings_are_other_embeddings(stub, tmp_path):
    """The cache tells them apart, and a model refuses a table made with others."""
    stub((100, 50, 80, 60, 0.97))
    with Cache(tmp_path / "cache.sqlite") as cache:
        wide, narrow, again = (
            Embedder(Encoder(), name, cache).embed_one(png(landscape())) for name in ("faces", "faces:padding=0.1", "faces:padding=0.3")
        )
    assert (wide.cached, narrow.cached, again.cached) == (False, False, True)
    assert wide.remembered.boxes.tolist() != narrow.remembered.boxes.tolist()


def test_a_model_keeps_its_crop_with_all_settings(stub, dataset, tmp_path):
    from deepfake_detector import bundle, table
    from deepfake_detector.datasets.folder import scan
    from deepfake_detector.detect import Detector
    from deepfake_detector.extract import extract
    from deepfake_detector.panel import Panel
    from deepfake_detector.train import train

    stub((0, 0, 36, 36, 1.0))
    listing = scan(dataset)
    for name, crop in (("wide", "largest_face"), ("narrow", "largest_face:padding=0")):
        extract(listing, Embedder(Encoder(), crop), str(tmp_path / f"{name}.csv"))
    wide, narrow = (table.read(tmp_path / f"{name}.csv") for name in ("wide", "narrow"))
    bundle.save(train(narrow, "logistic", "m").bundle, tmp_path / "m")
    model = bundle.load(tmp_path / "m")
    assert model.crop == "largest_face:detector=mtcnn:padding=0:min=32"
    with pytest.raises(TableError, match=r"made otherwise \(crop: 'largest_face.*padding=0:min=32' ≠ .*padding=0.3.*--crop largest_face:"):
        model.check(wide.spec, wide.crop, "the table")
    row = narrow.rows["path"].iloc[0]
    verdict = Panel([Detector(tmp_path / "m")]).judge_file(dataset / row)
    assert verdict.p_fake == pytest.approx(float(model.p_fake(narrow.X[:1])[0]), abs=1e-5)


@pytest.fixture
def two_people(stub, model, tmp_path):
    """(a model that looks at faces, a picture of two: one as its real pictures are, right of it a smaller one as its fakes are)."""
    stub((20, 20, 100, 100, 1.0), (180, 20, 80, 80, 1.0))
    shutil.copytree(model, tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(manifest | {"crop": "faces:detector=mtcnn:padding=0:min=32"}))
    both = Image.new("RGB", (300, 140))
    for label, left in ((0, 0), (1, 150)):
        both.paste(Image.open(draw(tmp_path / f"{label}.png", label, 8000, size=(150, 140))), (left, 0))
    both.save(tmp_path / "both.png")
    return tmp_path / "m", tmp_path / "both.png"


def test_of_several_people_each_is_judged_by_themselves(two_people, tmp_path):
    from deepfake_detector.detect import Detector
    from deepfake_detector.panel import Panel

    detector = Detector(two_people[0])
    verdict = Panel([detector]).judge_file(two_people[1])
    assert [face.box for face in verdict.faces] == [(180, 20, 260, 100), (20, 20, 120, 120)], "the most suspicious first"
    assert verdict.faces[0].p_fake == verdict.p_fake > 0.5 > verdict.faces[1].p_fake
    assert verdict.faces == detector.judge(two_people[1].read_bytes()).faces


def test_the_card_shows_who_it_is_about(two_people):
    from deepfake_detector.detect import Detector
    from deepfake_detector.panel import Panel
    from deepfake_detector.ui.verdict_card import card

    verdict = Panel([Detector(two_people[0])]).judge_file(two_people[1])
    shown = card(verdict, two_people[1].read_bytes())
    faces = re.findall(r'<li class="(\w+)"><img alt="a face" src="data:image/jpeg;base64,([^"]+)">(\w+), ([\d.]+) %</li>', shown)
    answers = [verdict.thresholds.answer(face.p_fake) for face in verdict.faces]
    assert [(colour, word) for colour, _, word, _ in faces] == [(answer, answer) for answer in answers], "who sees no colours reads it"
    assert [share for *_, share in faces] == [f"{100 * face.p_fake:.1f}" for face in verdict.faces]
    sizes = [Image.open(io.BytesIO(base64.b64decode(image))).size for _, image, _, _ in faces]
    assert sizes == [(80, 80), (100, 100)]
    assert "<img" not in card(verdict), "without the file there is nothing to show"
    crowd = dataclasses.replace(verdict, faces=verdict.faces * 10)
    assert card(crowd).count("<li") == 12
    assert "the first 12 of 20" in card(crowd)


def test_predict_gives_each_face(two_people, tmp_path, capsys):
    from deepfake_detector.cli import main

    assert main(["predict", str(two_people[1]), "--model", str(two_people[0]), "--json", "--no-cache"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert [face["box"] for face in line["faces"]] == [[180, 20, 260, 100], [20, 20, 120, 120]]
    assert line["faces"][0]["p_fake"] == line["p_fake"]
