"""The face crops cut squares of the right place and size, and a picture without a face is skipped with its reason."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from deepfake_detector import registry
from deepfake_detector.crops import _mtcnn
from deepfake_detector.crops._mtcnn import Face, cut
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import NoFace, UnusablePicture


class Stub:
    """Stands in for the detector: boxes as (left, top, width, height, confidence) in the pixels that it is shown."""

    def __init__(self, *boxes):
        self.boxes = boxes

    def detect_faces(self, pixels):
        self.shape = pixels.shape
        return [{"box": list(box[:4]), "confidence": box[4]} for box in self.boxes]


@pytest.fixture
def stub(monkeypatch):
    def use(*boxes):
        detector = Stub(*boxes)
        monkeypatch.setattr(_mtcnn, "_detector", lambda: detector)
        return detector

    return use


def landscape(width=320, height=240):
    picture = Image.new("RGB", (width, height), (150, 190, 230))
    pen = ImageDraw.Draw(picture)
    pen.polygon([(0, height), (width // 3, height // 3), (width, height)], fill=(90, 110, 80))
    pen.rectangle((0, height * 3 // 4, width, height), fill=(70, 120, 50))
    return picture.filter(ImageFilter.GaussianBlur(2))


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
    found = registry.load("crops", "faces").crop(landscape())
    assert [region.picture.size for region in found] == [(104, 104), (52, 52)], "neither the tiny nor the doubtful one"
    largest = registry.load("crops", "largest_face").crop(landscape())
    assert [region.box for region in largest] == [found[0].box]


def test_boxes_come_back_in_the_pixels_of_a_large_picture(stub):
    detector = stub((100, 50, 40, 40, 1.0))
    (region,) = registry.load("crops", "faces").crop(landscape(2560, 1920))
    assert detector.shape == (480, 640, 3)
    assert region.box == (376, 176, 584, 384)


@pytest.mark.parametrize("crop", ["faces", "largest_face"])
def test_no_face_in_a_drawn_landscape(crop):
    with pytest.raises(NoFace, match="no face of at least 32 pixels.*'whole'"):
        registry.load("crops", crop).crop(landscape())


@pytest.mark.parametrize("size", [(16, 16), (16, 700), (1, 1), (2000, 41)])
def test_odd_sizes_and_noise_are_no_faces(size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    with pytest.raises(UnusablePicture):
        registry.load("crops", "faces").crop(Image.fromarray(noise))


def test_from_many_threads():
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: _mtcnn.find(landscape()), range(8))) == [[]] * 8


def png(picture):
    import io

    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()


def test_a_picture_without_a_face_is_skipped_with_its_reason_and_the_rest_goes_on(stub, monkeypatch):
    stub((10, 10, 100, 100, 1.0), (150, 100, 60, 60, 1.0))
    two, none = png(landscape()), png(landscape(200, 200))
    monkeypatch.setattr(_mtcnn, "find", lambda picture, find=_mtcnn.find: find(picture) if picture.width == 320 else [])
    first, second = Embedder(Encoder(), crop="faces").embed([two, none], lambda content: content)
    assert first.remembered.vectors.shape[0] == 2
    assert first.remembered.boxes.tolist()[0] == [0, 0, 130, 130]
    assert "no face" in second.error


def test_the_settings_are_part_of_the_cache_key(monkeypatch):
    faces, largest = (Embedder(Encoder(), crop=crop)._crop_key for crop in ("faces", "largest_face"))
    assert faces != largest
    assert _mtcnn.SETTINGS in faces
    assert Embedder(Encoder())._crop_key == "whole", "what was remembered before there were faces stays known"
