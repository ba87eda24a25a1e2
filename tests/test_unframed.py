"""Bars, frames and what else a screenshot shows are cut off; what belongs to the picture is not."""

import json
import shutil

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from deepfake_detector import crops, degrade
from deepfake_detector.cache import Cache
from deepfake_detector.detect import Detector
from deepfake_detector.embed import Embedder
from deepfake_detector.encoders.colour_histogram import Encoder
from deepfake_detector.panel import Panel
from deepfake_detector.pooling import pool

BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (54, 57, 63)


def photograph(width: int = 320, height: int = 240, seed: int = 0) -> Image.Image:
    """Soft blotches with grain all over, as of a photograph without a plain edge."""
    rng = np.random.default_rng(seed)
    blotches = Image.fromarray(rng.integers(60, 200, (height // 40, width // 40, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.fromarray(np.clip(np.asarray(blotches) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8))


def framed(picture: Image.Image, colour=BLACK, left=0, top=0, right=0, bottom=0) -> Image.Image:
    whole = Image.new("RGB", (left + picture.width + right, top + picture.height + bottom), colour)
    whole.paste(picture, (left, top))
    return whole


def box(picture: Image.Image) -> tuple[int, int, int, int]:
    [region] = crops.load("unframed")(picture)
    assert region.picture.tobytes() == picture.crop(region.box).tobytes()
    assert bool(region.note) == (region.box != (0, 0, *picture.size))
    return region.box


@pytest.mark.parametrize("colour", [BLACK, WHITE, GREY])
@pytest.mark.parametrize(
    "bars", [{"top": 64, "bottom": 50}, {"left": 32, "right": 90}, {"left": 48, "top": 48, "right": 48, "bottom": 48}, {"bottom": 12}]
)
@pytest.mark.parametrize("save", [lambda p: p, lambda p: degrade.jpeg(p, 70), lambda p: degrade.webp(p, 75)])
def test_bars_and_frames_of_one_colour_are_cut_off(colour, bars, save):
    left, top = bars.get("left", 0), bars.get("top", 0)
    found = np.array(box(save(framed(photograph(), colour, **bars))))
    wanted = np.array((left, top, left + 320, top + 240))
    assert abs(found - wanted)[2:].max() <= 8, "compression rings beyond the edge"
    assert (found[:2] % 16 == 0).all()
    assert abs(found - wanted)[:2].max() <= 16


def test_jpegs_grid_begins_where_the_box_does():
    left, top, *_ = box(framed(photograph(), left=37, top=41))
    assert (left, top) == (48, 48)


@pytest.mark.parametrize("seed", range(4))
def test_of_a_screenshot_the_picture_is_looked_at(seed):
    shown = photograph(seed=seed)
    screen = degrade.view("phone")(shown, seed)
    left, top, right, bottom = box(degrade.jpeg(screen, 90))
    above = (screen.height - shown.height) // 2
    assert (left, right) == (0, 320)
    assert above - 8 <= top <= above + 16
    assert abs(bottom - above - 240) <= 8


@pytest.mark.parametrize("size", [(1080, 810), (3000, 2000)])
def test_a_large_picture_is_cut_to_what_surely_lies_in_it(size):
    left, top, right, bottom = box(framed(photograph().resize(size), WHITE, left=100, top=333, right=77, bottom=400))
    assert 100 <= left <= 100 + 16
    assert 333 <= top <= 333 + 16
    assert 0 <= 100 + size[0] - right < 4
    assert 0 <= 333 + size[1] - bottom < 4


def test_words_and_icons_around_a_picture_are_left_out():
    page = framed(photograph(), WHITE, left=60, top=150, right=200, bottom=200)
    draw = ImageDraw.Draw(page)
    for line in range(6):
        draw.text((70, 10 + 20 * line), "What somebody wrote about it, and more of it", BLACK)
        draw.text((70, 420 + 24 * line), "What others answered, and there are many of them", BLACK)
    draw.ellipse((500, 200, 540, 240), fill=(30, 120, 220))
    assert box(page) == (64, 160, 380, 390)


def test_of_two_pictures_side_by_side_both_are_kept():
    both = framed(photograph(), WHITE, left=32, top=32, right=32 + 320 + 32, bottom=32)
    both.paste(photograph(seed=1), (32 + 320 + 32, 32))
    assert box(both) == (32, 32, 32 + 320 + 32 + 320, 32 + 240)


def dark_sky() -> Image.Image:
    """A lit skyline of houses of any height under a black sky."""
    picture = Image.new("RGB", (320, 240))
    lit, rng = photograph(seed=3), np.random.default_rng(1)
    for x, y in zip(range(0, 320, 16), rng.integers(60, 200, 20).tolist(), strict=True):
        picture.paste(lit.crop((x, y, x + 16, 240)), (x, y))
    return picture


def wall() -> Image.Image:
    """Somebody before a studio's wall that is lit from below."""
    light = np.linspace(0, 1, 480) ** 3 * 120
    lit = np.tile(np.array([20, 60, 90]) + light[:, None, None], (1, 320, 1)).astype(np.uint8)
    picture = Image.fromarray(lit)
    picture.paste(photograph(160, 240), (80, 240))
    return picture


def on_white() -> Image.Image:
    """A round thing before a studio's white wall."""
    mask = Image.new("L", (320, 240))
    ImageDraw.Draw(mask).ellipse((80, 40, 240, 200), fill=255)
    return Image.composite(photograph(), Image.new("RGB", (320, 240), WHITE), mask)


@pytest.mark.parametrize(
    "picture",
    [
        photograph(),
        photograph().filter(ImageFilter.GaussianBlur(8)),
        dark_sky(),
        on_white(),
        wall(),
        Image.linear_gradient("L").convert("RGB"),
        Image.radial_gradient("L").convert("RGB"),
        Image.new("RGB", (300, 200), GREY),
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (4000, 1)),
        photograph(80, 80).resize((5, 7)),
    ],
    ids=["photograph", "blurred", "dark sky", "on white", "wall", "gradient", "vignette", "one colour", "a pixel", "a line", "tiny"],
)
def test_what_belongs_to_the_picture_stays(picture):
    assert box(picture) == (0, 0, *picture.size)


def test_a_frame_that_would_leave_next_to_nothing_is_the_picture():
    assert box(framed(photograph(40, 40), left=200, top=200, right=200, bottom=200)) == (0, 0, 440, 440)


def test_what_was_cut_off_is_told_and_remembered(tmp_path):
    path = tmp_path / "p.png"
    framed(photograph(), top=160, bottom=100).save(path)
    embedder = Embedder(Encoder(), "unframed", Cache(tmp_path / "c.sqlite"))
    first, again = (embedder.embed_one(path.read_bytes()) for _ in range(2))
    assert not first.cached
    assert again.cached
    for one in (first, again):
        assert one.remembered.boxes.tolist() == [[0, 160, 320, 400]]
        assert any("looked at were 320 x 240 of its 320 x 500 pixels" in note for note in one.remembered.notes)
    alone = Embedder(Encoder(), "whole").encoder.embed_batch([photograph()])
    np.testing.assert_allclose(first.remembered.vectors, alone, atol=1e-6)


def test_a_clip_in_bars_is_one_picture_from_end_to_end(tmp_path, model):
    """Also where a frame fills the screen, so that its box hardly overlaps the others'."""
    small, full = framed(photograph(), top=1000, bottom=1000), photograph(320, 2240).point(lambda grey: grey // 3)
    with av.open(tmp_path / "clip.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 2240, "yuv420p"
        for shown in (small, small, full, small, full, full):
            container.mux(stream.encode(av.VideoFrame.from_image(shown)))
        container.mux(stream.encode())
    for_unframed = shutil.copytree(model, tmp_path / "model")
    manifest = json.loads((for_unframed / "manifest.json").read_text())
    (for_unframed / "manifest.json").write_text(json.dumps({**manifest, "crop": "unframed"}))
    verdict = Panel([Detector(for_unframed)]).judge_file(tmp_path / "clip.mp4")
    assert len(verdict.frames) == 6
    assert verdict.p_fake == pytest.approx(pool([p for _, p in verdict.frames]), abs=1e-4)
    assert max(p for _, p in verdict.frames) - verdict.p_fake > 1e-4
    assert any("what frames the picture was cut off" in note for note in verdict.notes)
