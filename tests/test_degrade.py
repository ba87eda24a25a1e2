"""The degradations: the same for the same seed, recognisable, and cached as embeddings under names of their own."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

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
    limits = {(4000, 3000): (4096, 3072), (5000, 3000): (5000, 3000)}
    assert {size: degrade.resized(size, 2.0) for size in limits} == limits, "no picture grows beyond 4096 pixels"


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
