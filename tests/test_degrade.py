"""The degradations: the same for the same seed, recognisable, and cached as embeddings under names of their own."""

import io

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from deepfake_detector import degrade
from deepfake_detector.cache import Cache
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.errors import UnknownName


@pytest.fixture
def picture():
    image = Image.effect_noise((160, 120), 40).convert("RGB")
    ImageDraw.Draw(image).ellipse((30, 20, 110, 100), fill=(200, 90, 30))
    return image


@pytest.mark.parametrize("name", [*degrade.VIEWS, "augment0", "augment1", "augment17", *(f"clip{number}" for number in range(8))])
def test_a_view_is_a_function_of_picture_and_seed(picture, name):
    before = picture.tobytes()
    once, again = (degrade.view(name)(picture, 5) for _ in range(2))
    assert once.mode == "RGB"
    assert once.tobytes() == again.tobytes()
    assert picture.tobytes() == before  # the original is left alone
    if name == "phone":
        once = once.crop((0, (once.height - picture.height) // 2, picture.width, (once.height + picture.height) // 2))
    small, degraded = (np.asarray(p.resize((1, 1), Image.Resampling.BOX), float) for p in (picture, once))
    assert abs(small - degraded).max() < 40  # still the same picture


@pytest.mark.parametrize("name", degrade.VIEWS)
def test_every_view_changes_something_even_in_tiny_pictures(name):
    tiny = Image.effect_noise((16, 40), 60).convert("RGB")
    degraded = degrade.view(name)(tiny, 0)
    assert min(degraded.size) >= 8
    assert name == "half" or degraded.tobytes() != tiny.tobytes()  # a side below 32 is not halved


def test_resizing_and_cropping_do_what_their_names_say(picture):
    sizes = {name: degrade.VIEWS[name](picture, 0).size for name in ("half", "double", "crop80", "jpeg50", "phone")}
    assert sizes == {"half": (80, 60), "double": (320, 240), "crop80": (128, 96), "jpeg50": (160, 120), "phone": (160, 347)}
    assert degrade.phone(picture.resize((100, 300)), 0).size == (100, 360), "a long picture has bars above and below, too"
    limits = {(4000, 3000): (4096, 3072), (5000, 3000): (5000, 3000)}
    assert {size: degrade.resized(size, 2.0) for size in limits} == limits, "no picture grows beyond 4096 pixels"


# Of what a view gives of one drawn picture: width, height, the mean red of its left and right half, the mean green of its upper and lower
# half, the mean blue, and tenths of a grey level by which neighbours differ. The draws are such that every choice of `augment` is taken.
GIVEN = {
    "webp75": [160, 120, 79.9, 159.8, 200.7, 140.8, 98.6, 36.0],
    "half": [80, 60, 80.0, 160.0, 201.0, 141.0, 99.4, 55.2],
    "blur1": [160, 120, 79.5, 159.5, 200.5, 140.5, 98.9, 21.1],
    "screenshot": [116, 87, 85.2, 165.6, 206.8, 146.5, 103.0, 61.5],
    "social": [110, 82, 81.8, 160.0, 198.5, 139.7, 99.4, 16.1],
    "phone": [160, 347, 194.1, 222.0, 235.9, 215.5, 201.1, 49.0],
    "augment1": [134, 90, 162.7, 96.2, 181.8, 137.3, 97.8, 106.2],
    "augment2": [123, 103, 86.0, 147.5, 200.0, 148.5, 99.2, 49.4],
    "augment5": [167, 119, 180.1, 120.1, 224.1, 182.3, 130.0, 47.5],
    "augment8": [98, 72, 106.3, 149.3, 157.8, 124.7, 103.0, 132.3],
    "augment13": [172, 131, 40.6, 138.4, 207.4, 138.8, 73.8, 162.6],
    "augment21": [110, 82, 53.2, 143.7, 190.2, 120.4, 76.5, 10.2],
    "augment32": [79, 60, 204.7, 98.6, 244.2, 180.5, 127.1, 28.9],
    "augment54": [64, 48, 159.6, 79.7, 200.4, 140.6, 99.7, 12.7],
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_name_goes_on_meaning_what_it_did(name):
    y, x = np.mgrid[:120, :160]
    grain = np.random.default_rng(0).integers(0, 120, x.shape)
    given = np.asarray(degrade.view(name)(Image.fromarray(np.stack([40 + x, 230 - y, 40 + grain], axis=-1).astype(np.uint8)), 5), float)
    height, width, _ = given.shape
    red, green, blue = np.moveaxis(given, -1, 0)
    halves = (red[:, : width // 2], red[:, width // 2 :], green[: height // 2], green[height // 2 :])
    told = [width, height, *(half.mean() for half in halves), blue.mean(), 10 * np.abs(np.diff(given, axis=1)).mean()]
    np.testing.assert_allclose(told, GIVEN[name], rtol=0, atol=0.5, err_msg="else embeddings cached by this name would mean two things")


def test_a_phones_clock_stands_where_it_did():
    screens = [degrade.phone(Image.new("RGB", (400, 300)), seed) for seed in range(8)]
    grounds = [screen.getpixel((0, 0)) for screen in screens]
    assert set(grounds) == {(0, 0, 0), (255, 255, 255)}
    for screen, ground in zip(screens, grounds, strict=True):
        above = screen.crop((0, 0, 400, 280))
        clock = ImageChops.difference(above, Image.new("RGB", above.size, ground)).getbbox()
        np.testing.assert_allclose(clock, (25, 22, 52, 33), rtol=0, atol=2)


@pytest.mark.parametrize("quality", [90, 70, 50, 30])
def test_a_jpeg_has_the_quality_of_its_name(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    assert degrade.VIEWS[f"jpeg{quality}"](picture, 0).tobytes() == Image.open(file).convert("RGB").tobytes()


def test_seeds_and_draws_differ(picture):
    drawn = {degrade.augment(picture, seed).tobytes() for seed in range(8)}
    assert len(drawn) > 4
    assert degrade.view("noise5")(picture, 0).tobytes() != degrade.view("noise5")(picture, 1).tobytes()
    assert len({degrade.view(f"augment{k}")(picture, 3).tobytes() for k in range(8)}) > 4


def test_what_is_too_long_for_webp_is_scaled_down():
    assert degrade.webp(Image.new("RGB", (40, 16400)), 75).size == (39, 16383)


def test_an_unknown_view_names_the_known_ones():
    with pytest.raises(UnknownName, match="jpeg50"):
        degrade.view("jpeg51")
    with pytest.raises(UnknownName, match="augment0"):
        Embedder(Encoder(), "whole+nonsense")


def test_degraded_embeddings_are_cached_under_their_own_name(picture, tmp_path):
    file = io.BytesIO()
    picture.save(file, "PNG")
    with Cache(tmp_path / "cache.sqlite") as cache:
        plain, noisy = (Embedder(Encoder(), crop, cache) for crop in ("whole", "whole+noise5"))
        first = noisy.embed_one(file.getvalue())
        assert not first.cached
        assert not plain.embed_one(file.getvalue()).cached
        again = noisy.embed_one(file.getvalue())
        assert again.cached
        np.testing.assert_array_equal(first.remembered.vectors, again.remembered.vectors)
        assert (first.remembered.vectors != plain.embed_one(file.getvalue()).remembered.vectors).any()


def test_grain_is_the_same_whether_drawn_at_once_or_in_bands(monkeypatch):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 37, 3), dtype=np.uint8))
    whole = degrade.noise(picture, 5.0, 3)
    grain = np.asarray(degrade.noise(Image.new("RGB", (80, 60), (128, 128, 128)), 5.0, 3), float) - 128
    assert abs(grain.mean()) < 0.2
    assert grain.std() == pytest.approx(5, rel=0.05)
    assert not np.array_equal(np.asarray(whole), np.asarray(picture))
    monkeypatch.setattr(degrade, "_AT_ONCE", 100)
    np.testing.assert_array_equal(np.asarray(degrade.noise(picture, 5.0, 3)), np.asarray(whole))
