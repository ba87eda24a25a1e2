"""A picture part by part: windows over all of it, each judged alone, and drawn over it."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import crops
from deepfake_detector.detect import DEFAULT_MODEL, Detector
from deepfake_detector.encoders.clip_vit_b16_corners import Encoder as CornersEncoder
from deepfake_detector.encoders.clip_vit_b16_looks import Encoder as LooksEncoder
from deepfake_detector.types import Looked, Part, Thresholds
from deepfake_detector.ui.heat_map import attention_map, heat_map
from deepfake_detector.windows import PIXELS, all_over, place, window
from tests.conftest import draw
from tests.signing import noise

THRESHOLDS = Thresholds(0.1, 0.8)


@pytest.mark.parametrize("size", [(448, 448), (640, 448), (300, 1000), (224, 224), (100, 130), (4000, 3000), (16, 800), (448, 449)])
def test_windows_cover_all_of_a_picture_and_overlap_by_half(size):
    boxes = np.array([region.box for region in crops.load("windows")(Image.effect_noise(size, 50).convert("RGB"))])
    covered = np.zeros(size[::-1], int)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        covered[top:bottom, left:right] += 1
    side = place(size, 0, 0)[2]
    if max(size) < 10 * side:
        # what is left over is less than one of JPEG's blocks, in whose steps windows lie
        assert (covered[: max(1, size[1] - 15), : max(1, size[0] - 15)] > 0).all()
    for axis in (0, 1):
        starts = np.unique(boxes[:, axis])
        assert len(starts) <= 24
        if size[axis] < 10 * side:
            assert (np.diff(starts) <= side / 2 + 16).all()


def test_a_square_is_seen_through_nine_windows_each_as_encoders_see_it():
    assert all_over((448, 448)) == [(x, y) for y in (0, 0.5, 1) for x in (0, 0.5, 1)]
    picture = Image.effect_noise((448, 448), 50).convert("RGB")
    regions = crops.load("windows")(picture)
    for region, at in zip(regions, all_over(picture.size), strict=True):
        assert region.picture.size == (PIXELS, PIXELS)
        np.testing.assert_array_equal(np.asarray(region.picture), np.asarray(window(picture, *at)))
        np.testing.assert_array_equal(np.asarray(region.picture), np.asarray(picture.crop(region.box)))


def test_no_window_lies_in_what_frames_a_picture():
    framed = Image.new("RGB", (700, 900), "black")
    framed.paste(Image.effect_noise((600, 480), 90).convert("RGB"), (48, 208))
    boxes = np.array([region.box for region in crops.load("windows")(framed)])
    assert (boxes.min(axis=0)[:2] >= (48, 208)).all()
    assert (boxes.max(axis=0)[2:] <= (648, 688)).all()


@pytest.mark.parametrize("kind", [CornersEncoder, LooksEncoder])
def test_a_window_is_encoded_as_a_picture_that_looks_so_everywhere(kind):
    """A picture of one window's size shows each encoder that window alone, or (as a second look) that at half its size."""
    encoder, picture = kind(device="cpu"), Image.effect_noise((PIXELS, PIXELS), 70).convert("RGB")
    by_window, whole = encoder.by_window(), encoder.embed_batch([picture])
    row = by_window.embed_batch([picture])
    assert row.shape == (1, encoder.spec.dim) == (1, by_window.spec.dim)
    assert by_window.spec.key != encoder.spec.key
    np.testing.assert_allclose(row[:, : 12 * 768], whole[:, : 12 * 768], atol=2e-3)
    np.testing.assert_array_equal(row[:, : 12 * 768], row[:, -12 * 768 :])


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_detector_finds_the_part_that_was_changed(tmp_path, monkeypatch):
    detector = Detector(DEFAULT_MODEL)
    noisy = np.random.default_rng(0).integers(0, 256, (448, 672, 3), np.uint8)
    noisy[224:, 448:] = 128 + noisy[224:, 448:] // 64
    noted = [any("672 x 99 pixels show little" in note for note in detector.judge(png(noisy[:side])).notes) for side in (99, 100)]
    assert noted == [True, False], "of a small picture it is said that it shows little"

    def plain(bundle, X, of_clips=False, of_one=None):  # how smooth a window is, in place of what the model has learnt
        return 1 / (1 + np.exp(-10 * (np.asarray(X) @ direction - middle)))

    smooth, rough = (
        detector._by_window.encoder.embed_batch([Image.fromarray(noisy[at])])[0] for at in (np.s_[224:, 448:], np.s_[:224, :224])
    )
    direction = smooth - rough
    middle = (smooth + rough) @ direction / 2
    monkeypatch.setattr(type(detector.bundle), "p_fake", plain)
    parts = detector.parts(png(noisy))
    assert len(parts) == 15
    assert parts[0].box == (448, 224, 672, 448)
    assert [part.p_fake for part in parts] == sorted((part.p_fake for part in parts), reverse=True)


def test_a_model_that_looks_at_whole_pictures_has_no_parts(model, dataset):
    picture = next(dataset.rglob("*.jpg")).read_bytes()
    assert Detector(model).parts(picture) == ()
    assert heat_map(picture, (), THRESHOLDS) == ""


def drawn(html: str) -> np.ndarray:
    content = base64.b64decode(re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_the_drawing_is_red_where_it_looks_fake_and_green_where_real():
    grey = Image.new("RGB", (960, 480), (120, 120, 120))
    grey.putpixel((0, 0), (0, 0, 0))
    file = io.BytesIO()
    grey.save(file, "PNG")
    parts = (Part((480, 0, 960, 480), 0.97), Part((0, 0, 480, 480), 0.02))
    html = heat_map(file.getvalue(), parts, THRESHOLDS)
    pixels = drawn(html)
    assert pixels.shape == (240, 480, 3)
    left, right = pixels[100, 100], pixels[100, 400]
    assert left[1] > left[0] + 30
    assert right[0] > right[1] + 30
    assert "its 2 overlapping parts have a probability of fake from 2.0 % to 97.0 %" in html
    assert "Green looks real, yellow unsure, red fake." in html
    assert "This decides nothing" in html


def test_what_no_window_shows_is_dark_and_one_part_alone_is_not_drawn():
    content = noise("PNG", size=(400, 300))
    html = heat_map(content, (Part((0, 0, 100, 300), 0.5), Part((50, 0, 150, 300), 0.5)), THRESHOLDS)
    pixels = drawn(html)
    assert pixels[:, 220:].mean() < 0.6 * pixels[:, :150].mean()
    assert heat_map(content, (Part((0, 0, 400, 300), 0.9),), THRESHOLDS) == ""


def test_the_last_pixels_that_no_window_shows_take_after_those_beside_them():
    """Windows lie in steps of 16 pixels; only what frames a picture is to look cut off."""
    grey = Image.new("RGB", (427, 427), (120, 120, 120))
    grey.putpixel((0, 0), (0, 0, 0))
    file = io.BytesIO()
    grey.save(file, "PNG")
    boxes = [region.box for region in crops.load("windows")(grey)]
    assert max(box[2] for box in boxes) < 427
    pixels = drawn(heat_map(file.getvalue(), tuple(Part(box, 0.97) for box in boxes), THRESHOLDS))
    assert abs(pixels[-4:, -4:].mean(axis=(0, 1)) - pixels[200, 200]).max() < 5


def test_the_drawing_is_blue_where_a_model_looked():
    content = noise("PNG", size=(400, 200))
    plain = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    shares = np.full((4, 4), 0.01)
    shares[1, 3] = 0.85

    def bluer(*looked):
        pixels = drawn(attention_map(content, looked))
        return (pixels[..., 2] - pixels[..., 0]) - (plain[..., 2] - plain[..., 0])

    whole = bluer(Looked((0, 0, 400, 200), shares))
    assert whole[65:85, 340:360].mean() > 100
    assert abs(whole[:, :200].mean()) < 10
    beyond = bluer(Looked((100, 50, 140, 90), shares), Looked((390, 190, 430, 230), shares))
    assert beyond[62:68, 132:138].mean() > 60, "in a face's box alone"
    assert abs(beyond[:, 200:380].mean()) < 10
    assert attention_map(content, ()) == ""


@pytest.mark.parametrize("thresholds", [Thresholds(0, 1), Thresholds(-0.1, 1.1), Thresholds(0.3, 0.3)])
def test_thresholds_that_nothing_reaches_do_not_break_it(thresholds):
    html = heat_map(noise(), (Part((0, 0, 50, 80), 0.0), Part((40, 0, 96, 80), 1.0)), thresholds)
    assert drawn(html).shape == (80, 96, 3)


def test_a_small_picture_is_one_part(tmp_path):
    content = draw(tmp_path / "small.png", 0, 1, size=(90, 90)).read_bytes()
    assert len(Detector(DEFAULT_MODEL).parts(content)) == 1


def test_parts_of_a_clip_s_frame_are_judged_as_frames_are(tmp_path):
    content, detector = draw(tmp_path / "frame.png", 0, 1, size=(90, 90)).read_bytes(), Detector(DEFAULT_MODEL)
    ((one,), (framed,)) = (detector.parts(content, of_clip=of_clip) for of_clip in (False, True))
    assert framed.box == one.box
    assert framed.p_fake < one.p_fake, "coding makes photographs look painted, which is taken off"
