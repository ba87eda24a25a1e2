"""The audit's sentence is right where a shortcut was planted, and where there is none."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from deepfake_detector import audit as audits
from deepfake_detector.audit import COLOUR, FACTS, LOW_LEVEL, Finding, _at_most, audit, baselines, conclude
from deepfake_detector.errors import TrainingError
from deepfake_detector.images import _register_heif
from deepfake_detector.traces import file_facts, low_level
from deepfake_detector.types import Sample
from tests.test_images import HEIC


def draw(seed: int, size: tuple[int, int] | None = None, tint: float = 0.0) -> Image.Image:
    """A little scene: shapes of any colour on a gradient, slightly blurred, with grain."""
    rng = np.random.default_rng(seed)
    width, height = size or rng.integers(100, 160, 2).tolist()
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for _ in range(8):
        x, y, w, h = rng.integers(0, 100, 4).tolist()
        pen.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 255, 3).tolist()))
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.5))))
    grain = rng.normal(0, rng.uniform(2, 6), (height, width, 3)) + np.array([tint, 0, -tint])
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def build(folder, real, fake, count: int = 40, sources: int = 1) -> list[Sample]:
    """`real` and `fake` are functions (path without ending, number) that save one picture and return its path."""
    samples = []
    for label, save in ((0, real), (1, fake)):
        for i in range(count):
            path = save(folder / f"{label}-{i}", label * 1000 + i)
            samples.append(Sample(str(path), path.name, label, f"{'gen' if label else 'src'}{i % sources}", path.name))
    return samples


def saver(ending: str = ".jpg", make=draw, **options):
    def save(stem, number):
        path = stem.with_suffix(ending)
        make(number).save(path, **({"quality": 85} if ending == ".jpg" else {}) | options)
        return path

    return save


@pytest.fixture
def fewer_trees(monkeypatch):
    """Where what is planted is plain to see, or nothing is asked of it; what must not be seen is looked for by all of them."""
    monkeypatch.setattr(audits, "_TREES", 10)


def test_one_process_for_both_classes_is_trusted(tmp_path):
    done = audit(build(tmp_path, saver(), saver(), count=50, sources=2))
    assert done.trust == "yes", done.sentence
    assert not any(f.found for f in done.classes)
    assert all(f.interval[0] <= f.auroc <= f.interval[1] for f in done.classes)
    assert set(done.controls) == {"src0 / src1"}
    assert {(f.features, f.stage) for f in baselines(done).values()} == {(COLOUR, "raw"), (FACTS, "raw")}
    assert (done.pictures, done.classes[0].a, done.classes[0].b) == (100, 50, 50)


@pytest.mark.usefixtures("fewer_trees")
def test_a_real_source_of_one_group_is_left_out_of_the_control_alone(tmp_path):
    samples = build(tmp_path, saver(".png"), saver(".png"), count=45, sources=3)
    clip = [replace(s, group="clip") if s.generator == "src2" else s for s in samples]
    done = audit(clip)
    assert (done.pictures, done.classes[0].a, done.classes[0].b) == (90, 45, 45)
    assert {name: {(f.a, f.b) for f in found} for name, found in done.controls.items()} == {"src0 / src1": {(15, 15)}}


def test_the_common_size_goes_by_pictures_of_all_formats_whatever_was_opened_before(tmp_path, monkeypatch):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    _register_heif.cache_clear()
    samples = build(tmp_path, *[lambda stem, _: (path := stem.with_suffix(".heic")).write_bytes(HEIC) and path] * 2, count=2)
    assert "short side to 64 px" in audit(samples).re_encoding, "they are 64 x 48"


def test_pictures_of_many_sizes_leave_nothing_of_each_in_memory():
    pictures = [Image.effect_noise((256 + number, 512), 20).convert("RGB") for number in range(40)]
    tracemalloc.start()
    for picture in pictures:
        low_level(picture)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 12 * 2**20, "what is worked out for one of these sizes takes some 0.7 MiB"


PLANTED = {
    "format": (saver(), saver(".png"), "file format"),
    "size": (saver(), saver(make=lambda n: draw(n, (128, 128))), "picture size"),
    "quality": (saver(), saver(quality=70), "JPEG quality"),
}


@pytest.mark.usefixtures("fewer_trees")
@pytest.mark.parametrize("shortcut", PLANTED)
def test_a_planted_file_shortcut_is_named(tmp_path, shortcut):
    real, fake, name = PLANTED[shortcut]
    done = audit(build(tmp_path, real, fake))
    assert done.trust == "no"
    assert name in done.sentence
    assert max(f.auroc for f in done.classes if f.features == name and f.stage == "raw") > 0.9


@pytest.mark.usefixtures("fewer_trees")
def test_a_colour_shortcut_survives_the_common_re_encoding(tmp_path):
    done = audit(build(tmp_path, saver(".png"), saver(".png", make=lambda n: draw(n, tint=35.0))))
    assert done.trust in ("no", "with care")
    assert "colour" in done.sentence
    assert "files alone" not in done.sentence
    assert next(f for f in done.classes if (f.features, f.stage) == (COLOUR, "re-encoded")).found


def marked(picture: Image.Image) -> Image.Image:
    ImageDraw.Draw(picture).rectangle((2, 2, 12, 8), fill="white")
    return picture


PUT_IN = {
    "brightness": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.85),
    "a mark": marked,
    "upside down": lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
}


@pytest.mark.usefixtures("fewer_trees")
@pytest.mark.parametrize("matched", [False, True])
@pytest.mark.parametrize("shortcut", PUT_IN)
def test_what_was_done_to_all_fakes_alike_is_no_trace_of_generation(tmp_path, shortcut, matched):
    fake = saver(make=lambda n: PUT_IN[shortcut](draw(n - 1000 if matched else n)))
    samples = build(tmp_path, saver(), fake, count=60, sources=1 if matched else 2)  # of pairs nothing rests on the real sources
    pairs = [replace(s, group=s.name.split("-")[1]) for s in samples]
    done = audit(pairs if matched else samples)
    assert done.trust in ("no", "with care"), done.sentence


@pytest.mark.parametrize("first", [5_000, 15_000])
def test_clean_sets_are_not_suspected(tmp_path, first):
    clean = saver(make=lambda n: draw(n + first))
    assert audit(build(tmp_path, clean, clean)).trust == "yes"


@pytest.mark.usefixtures("fewer_trees")
def test_an_earlier_compression_hidden_in_png_is_seen(tmp_path):
    def was_jpeg(number):
        path = tmp_path / "once.jpg"
        draw(number).save(path, quality=40)
        with Image.open(path) as again:
            return again.convert("RGB")

    done = audit(build(tmp_path, saver(".png"), saver(".png", make=was_jpeg)))
    assert done.trust != "yes", done.sentence
    assert next(f for f in done.classes if (f.features, f.stage) == (LOW_LEVEL, "raw")).auroc > 0.9


def finding(features, stage, auroc, half=0.05):
    return Finding(features, stage, auroc, None if half is None else (auroc - half, min(1.0, auroc + half)), 100, 100)


def nothing_but(**aurocs):
    base = {("file format", "raw"): 0.5, (FACTS, "raw"): 0.5, (COLOUR, "raw"): 0.5, (LOW_LEVEL, "raw"): 0.5}
    base |= {(COLOUR, "re-encoded"): 0.5, (LOW_LEVEL, "re-encoded"): aurocs.get("low", 0.5)}
    base[LOW_LEVEL, "raw"] = max(0.5, aurocs.get("low", 0.5), aurocs.get("raw", 0.5))
    return [finding(*key, value) for key, value in base.items()]


def test_low_level_traces_are_judged_by_the_control():
    ordinary = {"a / b": [finding(LOW_LEVEL, "re-encoded", 0.52)]}
    telling = {"a / b": [finding(LOW_LEVEL, "re-encoded", 0.9)]}
    assert conclude(nothing_but(low=0.9), ordinary, False)[0] == "yes"
    trust, sentence = conclude(nothing_but(low=0.9), telling, False)
    assert trust == "with care"
    assert "which source" in sentence
    assert conclude(nothing_but(low=0.9), {}, False)[0] == "with care"
    trust, sentence = conclude(nothing_but(low=0.9), {}, True)
    assert trust == "yes"
    assert "low-level statistics reach 0.90" in sentence
    assert "compression" in conclude(nothing_but(raw=0.9), ordinary, False)[1]
    assert conclude([], {}, False)[0] == "can't tell"
    assert conclude([finding(f.features, f.stage, f.auroc, 0.21) for f in nothing_but()], {}, False)[0] == "can't tell"
    first, *others = nothing_but()
    assert conclude([replace(first, interval=None), *others], {}, False)[0] == "yes"


@pytest.mark.parametrize(("area", "half"), [(0.78, 0.28), (0.99, None)])
def test_a_control_of_too_few_pictures_does_not_speak_for_true_traces(area, half):
    trust, sentence = conclude(nothing_but(low=0.9), {"a / b": [finding(LOW_LEVEL, "re-encoded", area, half)]}, False)
    assert trust == "with care"
    assert "too few pictures" in sentence


@pytest.mark.parametrize(
    ("features", "said"),
    [(COLOUR, "colour histogram alone: AUROC 0.93), so"), (FACTS, "(all file facts) tell real from fake with AUROC 0.93, so")],
)
def test_what_tells_the_classes_apart_in_the_files_as_they_are_is_no_reason_for_trust(features, said):
    classes = [replace(f, auroc=0.93, interval=(0.9, 0.95)) if (f.features, f.stage) == (features, "raw") else f for f in nothing_but()]
    trust, sentence = conclude(classes, {}, False)
    assert trust == "no"
    assert said in sentence


def test_the_sentence_is_one_sentence():
    for low in (0.5, 0.9):
        for matched in (True, False):
            sentence = conclude(nothing_but(low=low), {}, matched)[1]
            assert sentence.count(". ") == 0
            assert sentence.endswith(".")


def test_bad_pictures_are_skipped_by_name_and_too_few_are_said_to_be(tmp_path):
    samples = build(tmp_path, saver(), saver(), count=6)
    (tmp_path / "0-3.jpg").write_bytes(b"not a picture")
    done = audit(samples)
    assert done.trust == "can't tell"
    assert [name for name, _ in done.skipped] == ["0-3.jpg"]
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(TrainingError, match="None of the 1"):
        audit([Sample(str(tmp_path / "empty.jpg"), "empty.jpg", 0, "s", "g")])


def test_the_quality_is_read_off_the_tables(tmp_path):
    for quality in (30, 75, 95):
        path = tmp_path / "q.jpg"
        draw(1).save(path, quality=quality)
        assert abs(file_facts(path.read_bytes(), (100, 100))["JPEG quality"][0] - quality) <= 2


def test_low_level_statistics_are_finite_for_flat_and_tiny_pictures():
    shapes = {low_level(p).shape for p in (Image.new("RGB", (16, 16)), Image.new("RGB", (700, 20), "white"), draw(0, (600, 600)))}
    assert len(shapes) == 1
    assert np.isfinite(low_level(Image.new("RGB", (16, 16)))).all()


def test_a_sample_of_many_keeps_groups_whole_and_sources_even():
    samples = [Sample(f"{i}", f"{i}", i % 2, f"{i % 2}{'rare' if i < 40 else ''}", f"g{i // 4}") for i in range(1000)]
    kept = _at_most(200, samples)
    assert 190 <= len(kept) <= 200
    groups = {s.group for s in kept}
    assert sum(s.group in groups for s in samples) == len(kept)
    assert kept == _at_most(200, samples)


def test_a_large_group_leaves_room_for_others():
    samples = [Sample("", f"{i}", i % 2, "x", "clip" if i < 300 else f"{i}") for i in range(400)]
    assert len(_at_most(200, samples)) == 100
