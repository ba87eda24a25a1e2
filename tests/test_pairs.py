"""Pairs of photographs and fakes made of them: alike in all but the making, made once, and refused with a reason."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin
from torch import nn

from deepfake_detector import photograph_parts, reconstruct, redecode, redraw, repaint, self_blend, taesd
from deepfake_detector.datasets import _pairs, aligned, repainted, self_blended
from deepfake_detector.datasets._pairs import Recipe, pairs
from deepfake_detector.errors import DatasetError, UnusablePicture, WeightsUnavailable
from deepfake_detector.families import is_remade
from deepfake_detector.files import write_atomically
from deepfake_detector.types import FAKE, REAL
from tests.conftest import ROOT, draw, process, script
from tests.test_self_blend import FACE, portrait


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On pictures this small, threads that wait for one another cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_taesd(folder: Path, latents=4, pooled=False) -> Path:
    """Random weights in the project's own files."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(latents)
    torch.save(taesd._encoder(latents, pooled).half().state_dict(), folder / "small_encoder.pth")
    torch.save(taesd._decoder(latents, pooled).half().state_dict(), folder / "small_decoder.pth")
    return folder


@pytest.fixture(scope="module")
def autoencoders(tmp_path_factory) -> Path:
    """Small ones in the formats of the large: kl/vae and tiny of diffusers, pth of TAESD."""
    from deepfake_detector.torch_compat import import_torchvision

    import_torchvision()
    import diffusers

    diffusers.logging.set_verbosity_error()
    root = tmp_path_factory.mktemp("autoencoders")
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    diffusers.AutoencoderKL(block_out_channels=[8, 8], norm_num_groups=4, **blocks).save_pretrained(root / "kl/vae")
    channels = {f"{part}_block_out_channels": [8, 8, 8, 8] for part in ("encoder", "decoder")}
    diffusers.AutoencoderTiny(**channels).save_pretrained(root / "tiny")
    save_taesd(root / "pth")
    return root


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Four of them, the last two small enough to be kept whole."""
    root = tmp_path / "photographs"
    for i, (name, size) in enumerate((("a.jpg", (150, 83)), ("trip/b.png", (80, 130)), ("c.jpg", (64, 48)), ("d.webp", (48, 64)))):
        draw(root / name, 0, i, size)
    return root


def darker(generator="dark", calls=None, settings="1"):
    def make(photograph, seed):
        if calls is not None:
            calls.append(seed)
        return photograph, photograph.point(lambda level: level // 2)

    return Recipe(generator, settings, make)


# ---- a pair


@pytest.mark.parametrize("place", ["kl/vae", "tiny", "pth", "pth/small_decoder.pth"])
def test_every_kind_of_autoencoder(autoencoders, photographs, tmp_path, place):
    found = aligned.scan(photographs, str(autoencoders / place), max_side=100, made=tmp_path / "made")
    name = {"k": "kl", "t": "tiny", "p": "small"}[place[0]] + "_recon"
    assert [(s.name, s.label, s.generator, s.group) for s in found.samples[:2]] == [
        (f"a.jpg#{name}:real", REAL, "real", "a.jpg"),
        (f"a.jpg#{name}", FAKE, name, "a.jpg"),
    ]
    assert [s.group for s in found.samples[::2]] == ["a.jpg", "c.jpg", "d.webp", "trip/b.png"]
    sizes = []
    for real, fake in zip(found.samples[::2], found.samples[1::2], strict=True):
        with Image.open(real.path) as a, Image.open(fake.path) as b:
            assert (a.size, a.mode, a.format, a.info) == (b.size, b.mode, b.format, b.info)
            assert getattr(a, "quantization", None) == getattr(b, "quantization", None)
            assert a.tobytes() != b.tobytes()
            sizes.append(a.size)
    assert sizes == [(96, 48), (64, 48), (48, 64), (48, 96)], "scaled down to 100, cut to multiples of 16"
    assert not found.skipped


def test_the_photograph_keeps_its_place_on_the_grid_of_jpeg(autoencoders, photographs, tmp_path):
    found = aligned.scan(photographs, str(autoencoders / "pth"), made=tmp_path / "made")
    with Image.open(photographs / "trip/b.png") as whole, Image.open(found.samples[-2].path) as cut:
        assert cut.tobytes() == whole.crop((0, 0, 80, 128)).tobytes()


def test_taesd_is_put_together_as_its_files_say(tmp_path):
    """With all weights 0 but one bias of the last layer, every picture comes out in that colour."""
    save_taesd(tmp_path, latents=32, pooled=True)
    for part, some in (
        ("encoder", ("0.weight", "1.conv.4.bias", "2.weight", "6.weight", "10.weight", "13.pool.3.weight", "14.bias")),
        ("decoder", ("1.bias", "3.pool.1.bias", "7.weight", "12.weight", "17.weight", "18.conv.0.bias", "19.weight")),
    ):
        state = torch.load(tmp_path / f"small_{part}.pth", weights_only=True)
        assert set(some) <= state.keys()
        assert len(state) == 79
        state = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        if part == "decoder":
            state["19.bias"] = torch.tensor([0.25, 0.5, 2.0]).half()
        torch.save(state, tmp_path / f"small_{part}.pth")
    made = reconstruct.find(str(tmp_path)).reconstruct(Image.new("RGB", (32, 16), "red"))
    assert made.size == (32, 16)
    assert made.getcolors() == [(512, (64, 128, 255))]


def test_other_weights_are_other_pictures(photographs, tmp_path):
    first = aligned.scan(photographs, str(save_taesd(tmp_path / "ae")), made=tmp_path / "made").samples
    again = aligned.scan(photographs, str(save_taesd(tmp_path / "copy")), made=tmp_path / "made").samples
    other = aligned.scan(photographs, str(save_taesd(tmp_path / "ae", latents=5)), made=tmp_path / "made").samples
    assert first == again, "content decides, not the place"
    assert [s.name for s in first] == [s.name for s in other]
    assert not {s.path for s in first} & {s.path for s in other}


@pytest.fixture
def little_to_learn(monkeypatch):
    for name, value in {"FEWEST": 4, "SIDE": 64}.items():
        monkeypatch.setattr(photograph_parts, name, value)
    for name, value in {"_STEPS": 24, "_BATCH": 4, "_CROP": 32}.items():
        monkeypatch.setattr(redecode, name, value)
    for name, value in {"_STEPS": 60, "_WARM_UP": 40, "_BATCH": 2, "_CROP": 32}.items():
        monkeypatch.setattr(repaint, name, value)


def test_another_decoder_is_learnt_once_and_kept(tmp_path, little_to_learn, caplog):
    for i in range(photograph_parts.FEWEST):
        draw(tmp_path / f"photographs/{i:02}.jpg", 0, i, (80, 70))
    draw(tmp_path / "photographs/small.jpg", 0, 99, (48, 48))
    (tmp_path / "photographs/text.jpg").write_text("no picture")
    place = str(save_taesd(tmp_path / "ae"))

    def scan(folder="photographs", **options):
        return aligned.scan(tmp_path / folder, place, made=tmp_path / "made", **options)

    with caplog.at_level("INFO"):
        own, other = scan(), scan(decoder="stylegan2")
        again = scan(decoder="stylegan2")
    assert caplog.text.count("learning a decoder for small") == 1
    losses = [float(loss) for loss in re.findall(r"loss (\d\.\d+)", caplog.text)]
    assert losses[-1] < 0.7 * losses[0]
    assert [s.name for s in other.samples[:2]] == ["00.jpg#small_stylegan2_recon:real", "00.jpg#small_stylegan2_recon"]
    assert len(other.samples) == len(own.samples) == 2 * (photograph_parts.FEWEST + 1), "a small photograph has its pair, too"
    assert again.samples == other.samples
    assert Path(own.samples[1].path).read_bytes() != Path(other.samples[1].path).read_bytes()
    draw(tmp_path / "more/one.jpg", 0, 7, (64, 64))
    assert len(scan("more", decoder="stylegan2").samples) == 2, "it is there; nothing need be learnt"

    (kept,) = (tmp_path / "made").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-9])
    draw(tmp_path / "more/two.jpg", 0, 8, (64, 64))
    with pytest.raises(WeightsUnavailable, match="holds no learnt decoder.*Delete it"):
        scan("more", decoder="stylegan2")


def test_the_learnt_stages_are_the_same_again(tmp_path, little_to_learn):
    network = taesd.load(*(save_taesd(tmp_path) / f"small_{part}.pth" for part in ("encoder", "decoder")))
    photographs = [lambda i=i: draw_picture(i) for i in range(photograph_parts.FEWEST)]
    for name in ("a", "b"):
        torch.rand(3)  # what was drawn before does not matter
        redecode.learn(network, photographs, tmp_path / name, "cpu")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_detail_is_drawn_anew_and_what_was_learnt_is_kept(tmp_path, little_to_learn, autoencoders, caplog):
    for i in range(photograph_parts.FEWEST):
        draw(tmp_path / f"photographs/{i:02}.jpg", 0, i, (80, 70))
    draw(tmp_path / "photographs/small.jpg", 0, 99, (48, 20))

    def scan(place="pth", **options):
        return aligned.scan(tmp_path / "photographs", str(autoencoders / place), made=tmp_path / "made", **options)

    with caplog.at_level("INFO"):
        plain, drawn, again = scan(), scan(redraw=True), scan(redraw=True)
    assert caplog.text.count("learning what the latents of small look like on 4 photographs") == 1
    assert [s.name for s in drawn.samples[:2]] == ["00.jpg#small_redrawn_recon:real", "00.jpg#small_redrawn_recon"]
    assert again.samples == drawn.samples
    assert len(drawn.samples) == len(plain.samples)
    both = scan(redraw=True, decoder="stylegan2").samples[1]
    assert both.generator == "small_stylegan2_redrawn_recon"
    assert is_remade(both.generator)
    assert scan("kl/vae", redraw=True).samples[1].generator == "kl_redrawn_recon"

    (kept,) = (tmp_path / "made").glob("small_redrawn-*.safetensors")
    kept.write_bytes(b"damaged")
    with pytest.raises(WeightsUnavailable, match="holds nothing learnt of latents.*Delete it"):
        scan(redraw=True)


def test_finer_pairs_are_kept_smaller_than_they_were_rebuilt(photographs, tmp_path, monkeypatch):
    """An autoencoder that changes nothing: then the two pictures of a pair are one, and only the sizes it was given tell."""
    given = []

    class Unchanged(nn.Module):
        def forward(self, pixels):
            given.append(tuple(pixels.shape[:1:-1]))
            return pixels

    unchanged = reconstruct.Autoencoder("unchanged", "0", 8, lambda: nn.Sequential(Unchanged(), nn.Identity()))
    monkeypatch.setattr(reconstruct, "find", lambda place: unchanged)
    monkeypatch.setattr(_pairs.os, "cpu_count", lambda: 1)  # one after the other
    draw(photographs / "large.png", 0, 9, (400, 300))

    def scan(**options):
        return aligned.scan(photographs, "unchanged", max_side=200, made=tmp_path / "made", **options).samples

    found = scan(finer=True)
    assert [s.name for s in found[:2]] == ["a.jpg#unchanged_finer_recon:real", "a.jpg#unchanged_finer_recon"]
    assert {s.split for s in found} == {"view"}, "learnt from, not tested on"
    assert is_remade(found[1].generator)
    times = []
    for real, fake, size in zip(found[::2], found[1::2], given, strict=True):
        with Image.open(real.path) as a, Image.open(fake.path) as b:
            assert a.tobytes() == b.tobytes(), "the real one went through the same"
            times.append(size[0] / a.width)
            assert times[-1] == pytest.approx(size[1] / a.height, rel=0.05)
    assert all(1.45 < one < 2.55 for one in times)
    assert len(set(times)) > 2, "by another factor each"
    assert given[3] == (192, 144), "400 x 300 came down to 200, and was cut to multiples of 16"
    assert all(min(size) > 48 and max(size) <= 200 for size in given), "the small ones were enlarged"
    assert scan(finer=True) == found
    assert not {s.path for s in found} & {s.path for s in scan()}


def test_what_is_decoded_is_what_was_redrawn(tmp_path, little_to_learn):
    """Latents that are the pixels themselves: then the picture shows what became of them."""
    photographs = [lambda i=i: draw_picture(i) for i in range(photograph_parts.FEWEST)]
    plain = reconstruct.Autoencoder("plain", "0", 1, lambda: nn.Sequential(nn.Identity(), nn.Identity()))
    redrawn = plain.with_redrawn_latents(tmp_path, photographs)
    given = draw_picture(9)
    assert plain.reconstruct(given).tobytes() == given.tobytes()
    made = [redrawn.reconstruct(given, seed).tobytes() for seed in (1, 1, 2)]
    assert made[0] == made[1]
    assert len({*made, given.tobytes()}) == 3


def test_what_is_drawn_is_as_likely_as_what_was_there(tmp_path):
    """Latents of a known law: of each band as much comes back as was there, and coarse forms stay, while fine ones change."""
    draws = torch.Generator().manual_seed(0)

    def latents():
        coarse = torch.nn.functional.interpolate(torch.randn(1, 3, 4, 6, generator=draws), size=(32, 48), mode="bicubic")
        return 2 * coarse + 0.3 * torch.randn(1, 3, 32, 48, generator=draws)

    redraw.learn((latents() for _ in range(40)), tmp_path / "kept")
    redrawn = redraw.redrawing(tmp_path / "kept")
    given = [latents() for _ in range(20)]
    made = [redrawn(x, seed) for seed, x in enumerate(given)]
    assert torch.equal(made[0], redrawn(given[0], 0))
    assert not torch.equal(made[0], redrawn(given[0], 1))

    def fine(x):
        return x - torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    def alike(a, b):
        return float(torch.corrcoef(torch.stack([torch.cat([x.flatten() for x in part]) for part in (a, b)]))[0, 1])

    kept_fine = [fine(x) for x in given], [fine(x) for x in made]
    assert 0.9 < (torch.cat(kept_fine[1]).std() / torch.cat(kept_fine[0]).std()).item() < 1.1
    assert alike(given, made) > 0.8
    assert alike(*kept_fine) < 0.6


@pytest.mark.parametrize(("learnt", "drawn"), [((24, 24), (1, 3)), ((4, 4), (30, 20))])
def test_small_latents_are_learnt_from_and_redrawn_too(tmp_path, learnt, drawn):
    draws = torch.Generator().manual_seed(0)
    redraw.learn((torch.randn(1, 2, *learnt, generator=draws) for _ in range(50)), tmp_path / "kept")
    made = redraw.redrawing(tmp_path / "kept")(torch.randn(1, 2, *drawn, generator=draws), 0)
    assert made.shape == (1, 2, *drawn)
    assert 0.3 < made.std().item() < 1.7, "nothing is lost in a band of which nothing was learnt"


def test_photographs_are_painted_anew_by_what_was_learnt_on_them_once(tmp_path, little_to_learn, caplog):
    for i in range(photograph_parts.FEWEST):
        draw(tmp_path / f"photographs/{i:02}.jpg", 0, i, (96, 80))
    draw(tmp_path / "photographs/thin.jpg", 0, 99, (200, 10))

    def scan(folder="photographs", **options):
        return repainted.scan(tmp_path / folder, made=tmp_path / "made", **options)

    with caplog.at_level("INFO"):
        found, again = scan(), scan()
    assert caplog.text.count("learning to paint on 4 photographs") == 1
    off = [float(one) for one in re.findall(r"off by (\d\.\d+)", caplog.text)]
    assert off[-1] < 0.7 * off[0]
    assert [(s.name, s.label, s.generator, s.group) for s in found.samples[:2]] == [
        ("00.jpg#repainted:real", REAL, "real", "00.jpg"),
        ("00.jpg#repainted", FAKE, "repainted", "00.jpg"),
    ]
    assert again.samples == found.samples
    sizes = set()
    for real, fake in zip(found.samples[::2], found.samples[1::2], strict=True):
        with Image.open(real.path) as a, Image.open(fake.path) as b:
            assert (a.size, a.mode, a.format, a.quantization) == (b.size, b.mode, b.format, b.quantization)
            assert a.tobytes() != b.tobytes()
            sizes.add(a.size)
    assert len(sizes) > 1, "painted at sizes of their own"
    assert all(80 <= width <= 97 and 64 <= height <= 81 for width, height in sizes), "and shown as large as they were"

    draw(tmp_path / "more/one.jpg", 0, 7, (64, 64))
    assert len(scan("more").samples) == 2, "it is there; nothing need be learnt"
    with pytest.raises(DatasetError, match="--max-side should be at least 64 pixels; received 63"):
        scan(max_side=63)
    (kept,) = (tmp_path / "made").glob("painter-*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(WeightsUnavailable, match="holds nothing learnt of painting.*Delete it"):
        scan("more")


def test_what_was_learnt_and_breaks_off_without_a_word_is_told_of_all_the_same(tmp_path):
    with (
        pytest.raises(WeightsUnavailable, match=r"holds nothing learnt \(EOFError\)\. Delete it"),
        photograph_parts.reading(tmp_path, "nothing learnt"),
    ):
        raise EOFError


def test_what_is_painted_has_the_photographs_forms_and_a_seeds_detail(tmp_path, little_to_learn):
    photographs = [lambda i=i: draw_picture(i) for i in range(photograph_parts.FEWEST)]
    for name in ("a", "b"):
        torch.rand(3)  # what was drawn before does not matter
        repaint.learn(photographs, tmp_path / name, "cpu")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    paint, given = repaint.painting(tmp_path / "a", "cpu"), draw_picture(9).resize((8, 8)).resize((64, 64))
    made = [paint(given, seed) for seed in (1, 1, 2**70)]
    assert made[0].tobytes() == made[1].tobytes()
    assert made[0].tobytes() != made[2].tobytes()
    assert made[0].size == given.size

    forms = [np.asarray(picture.reduce(repaint.FACTOR), float).ravel() for picture in (given, made[0])]
    assert np.corrcoef(forms)[0, 1] > 0.7


def test_painting_is_not_learnt_from_few_photographs(photographs, tmp_path):
    with pytest.raises(DatasetError, match="Learning to paint takes at least 20 photographs of 192 pixels a side; found 0"):
        repainted.scan(photographs, made=tmp_path / "made")


def test_a_decoder_is_not_learnt_from_few_photographs_nor_for_diffusers(autoencoders, photographs, tmp_path):
    with pytest.raises(DatasetError, match="at least 20 photographs of 192 pixels a side; found 0"):
        aligned.scan(photographs, str(autoencoders / "pth"), decoder="stylegan2", made=tmp_path / "made")
    with pytest.raises(DatasetError, match=r"kl is diffusers'; .*\.pth files only"):
        aligned.scan(photographs, str(autoencoders / "kl/vae"), decoder="stylegan2", made=tmp_path / "made")
    with pytest.raises(DatasetError, match="what latents look like takes at least 20 .*found 0.*without --redraw"):
        aligned.scan(photographs, str(autoencoders / "pth"), redraw=True, made=tmp_path / "made")
    assert not (tmp_path / "made").exists()


def draw_picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (photograph_parts.SIDE, photograph_parts.SIDE, 3), dtype=np.uint8))


def test_self_blended(monkeypatch, tmp_path):
    monkeypatch.setattr(self_blend, "faces", lambda picture: [FACE] if picture.width == 240 else [])
    root = tmp_path / "faces"
    root.mkdir()
    portrait().save(root / "face.jpg", quality=70)
    Image.linear_gradient("L").save(root / "none.jpg")
    found = self_blended.scan(root, made=tmp_path / "made")
    assert [(s.name, s.label, s.generator) for s in found.samples] == [
        ("face.jpg#self_blended:real", REAL, "real"),
        ("face.jpg#self_blended", FAKE, "self_blended"),
    ]
    assert [name for name, reason in found.skipped if "no face" in reason] == ["none.jpg"]
    real, fake = (np.asarray(opened(s.path), int) for s in found.samples)
    assert real.shape == fake.shape == (200, 240, 3)
    assert not (real - fake)[:, :16].any()
    assert (real - fake)[60:140, 80:140].any()


# ---- the files


def opened(path) -> Image.Image:
    """With its pixels read and its file closed."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def save(path: Path, picture: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "kind", "sampling"),
    [
        ("a.jpg", {"quality": 55, "subsampling": 0}, "JPEG", 0),
        ("a.jpg", {"quality": 97, "subsampling": 1, "progressive": True}, "JPEG", 1),
        ("a.png", {}, "PNG", None),
        ("a.bmp", {}, "PNG", None),
        ("a.tif", {}, "PNG", None),
        ("a.webp", {"quality": 80}, "JPEG", 2),
    ],
)
def test_both_files_are_encoded_as_the_photograph(tmp_path, name, options, kind, sampling):
    rng = np.random.default_rng(0)
    photograph = save(tmp_path / "in" / name, Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)), **options)
    real, fake = (opened(s.path) for s in pairs(tmp_path / "in", darker(), tmp_path / "made").samples)
    assert real.format == fake.format == kind
    if kind == "PNG":
        assert real.tobytes() == opened(photograph).convert("RGB").tobytes()
    else:
        original = opened(photograph if name == "a.jpg" else save(tmp_path / "90.jpg", Image.new("RGB", (8, 8)), quality=90))
        assert real.quantization == fake.quantization == original.quantization
        assert JpegImagePlugin.get_sampling(real) == JpegImagePlugin.get_sampling(fake) == sampling


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_of_a_grey_photograph_the_fake_is_grey(tmp_path, name, mode):
    save(tmp_path / "in" / name, Image.linear_gradient("L").convert(mode))
    tinted = Recipe("tint", "1", lambda photograph, seed: (photograph, Image.new("RGB", photograph.size, (90, 120, 60))))
    assert [opened(s.path).mode for s in pairs(tmp_path / "in", tinted, tmp_path / "made").samples] == ["L", "L"]


def test_a_turned_photograph_is_upright_and_says_nothing_of_its_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    save(tmp_path / "in/a.jpg", Image.effect_noise((64, 32), 80).convert("RGB"), exif=exif)
    for sample in pairs(tmp_path / "in", darker(), tmp_path / "made").samples:
        with Image.open(sample.path) as picture:
            assert picture.size == (32, 64)
            assert not picture.getexif()


# ---- which photographs


def test_labels_groups_and_splits_of_a_data_set_are_kept_and_its_fakes_are_left_out(tmp_path):
    for name in ("real/camera/a.png", "train/real/b.png", "fake/gan/c.png", "loose.png"):
        draw(tmp_path / "in" / name, 0, len(name))
    found = pairs(tmp_path / "in", darker(), tmp_path / "made")
    assert [(s.name, s.generator, s.split) for s in found.samples[::2]] == [
        ("loose.png#dark:real", "real", ""),
        ("real/camera/a.png#dark:real", "camera", ""),
        ("train/real/b.png#dark:real", "real", "train"),
    ]
    assert found.skipped == [("fake/gan/c.png", "called fake; real pictures are asked for")]

    (tmp_path / "in/manifest.csv").write_text("path,label,group,split\nloose.png,real,g,test\nfake/gan/c.png,fake,g,test\n")
    found = pairs(tmp_path / "in", darker(), tmp_path / "made")
    assert [(s.name, s.group, s.split) for s in found.samples] == [("loose.png#dark:real", "g", "test"), ("loose.png#dark", "g", "test")]


def test_bad_photographs_are_left_out_with_their_reasons(photographs, tmp_path):
    (photographs / "cut.jpg").write_bytes((photographs / "a.jpg").read_bytes()[:900])
    (photographs / "head.jpg").write_bytes(b"\xff\xd8\xff")
    (photographs / "text.png").write_text("no picture")
    (photographs / "gone.png").symlink_to(tmp_path / "nowhere")

    def make(photograph, seed):
        if photograph.width == 64:
            raise UnusablePicture("it has no sky")
        return photograph, photograph

    found = pairs(photographs, Recipe("sky", "1", make), tmp_path / "made")
    assert len(found.samples) == 6
    assert dict(found.skipped)["c.jpg"] == "it has no sky"
    assert dict(found.skipped).keys() == {"c.jpg", "cut.jpg", "head.jpg", "text.png", "gone.png"}


def test_nothing_at_all_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("no")
    with pytest.raises(DatasetError, match=r"Nothing could be made .*a\.jpg: not a picture.*real photographs"):
        pairs(tmp_path / "in", darker(), tmp_path / "made")
    with pytest.raises(DatasetError, match="is missing"):
        pairs(tmp_path / "nowhere", darker(), tmp_path / "made")


# ---- once


def test_a_second_run_makes_nothing(photographs, tmp_path):
    calls = []
    first = pairs(photographs, darker(calls=calls), tmp_path / "made").samples
    assert len(set(calls)) == 4, "every photograph has its seed"
    (photographs / "a.jpg").rename(photographs / "renamed.jpg")
    draw(photographs / "new.jpg", 0, 99)
    second = pairs(photographs, darker(calls=calls), tmp_path / "made").samples
    assert len(calls) == 5
    assert {s.path for s in first} < {s.path for s in second}
    pairs(photographs, darker(calls=calls, settings="2"), tmp_path / "made")
    assert len(calls) == 10, "other settings, other pictures"


def test_a_killed_run_goes_on(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(_pairs.os, "cpu_count", lambda: 1)
    calls = []

    def make(photograph, seed):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return darker(calls=calls).make(photograph, seed)

    with pytest.raises(KeyboardInterrupt):
        pairs(photographs, Recipe("dark", "1", make), tmp_path / "made")
    kept = sorted((tmp_path / "made").rglob("*-fake.*"))
    assert len(kept) == 2
    kept[0].rename(kept[0].with_name(".x.part"))  # as a kill -9 between the two files leaves it
    assert len(pairs(photographs, darker(calls=calls), tmp_path / "made").samples) == 8
    assert len(calls) == 5
    assert len(list((tmp_path / "made").rglob("*-fake.*"))) == 4


def test_many_at_once_make_the_same(photographs, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: pairs(photographs, darker(), tmp_path / "made").samples, range(4)))
    assert all(run == runs[0] for run in runs)
    assert len([f for f in (tmp_path / "made").rglob("*") if f.is_file()]) == 8


def test_a_folder_that_cannot_be_written(photographs, tmp_path):
    (tmp_path / "made").write_text("a file")
    with pytest.raises(DatasetError, match="can't be written.*--made"):
        pairs(photographs, darker(), tmp_path / "made")


# ---- what is refused


def test_options_that_make_no_sense(photographs, tmp_path):
    with pytest.raises(DatasetError, match="needs an autoencoder.*--autoencoder"):
        aligned.scan(photographs)
    with pytest.raises(DatasetError, match="at least 64 pixels; received 5"):
        aligned.scan(photographs, str(save_taesd(tmp_path / "ae")), max_side=5)


def test_no_autoencoder_there(tmp_path, autoencoders):
    def refused(place, match):
        with pytest.raises(WeightsUnavailable, match=match):
            reconstruct.find(str(place)).reconstruct(Image.new("RGB", (16, 16)))

    refused(tmp_path / "nowhere", "There is no autoencoder .*nowhere.*expected a folder")
    refused("owner/name", r"no folder 'owner/name', and on the hub: owner/name/config\.json is not in the hub cache.*Expected a folder")
    refused("owner/name/vae", r"owner/name/vae/config\.json")
    refused(tmp_path, r"There is no config\.json in")
    refused(autoencoders / "kl", r"There is no config\.json in.*expected a folder")
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel", "block_out_channels": [1]}')
    (tmp_path / "diffusion_pytorch_model.safetensors").write_text("no")
    refused(tmp_path, "describes a UNet2DConditionModel; expected AutoencoderKL or AutoencoderTiny")
    (tmp_path / "config.json").write_text("[]")
    refused(tmp_path, "does not describe an autoencoder")
    (tmp_path / "config.json").write_bytes((autoencoders / "tiny/config.json").read_bytes())
    refused(tmp_path, "can't be loaded as AutoencoderTiny.*Fetch it again")


def test_missing_tensors_are_not_drawn_at_random(tmp_path, autoencoders):
    from safetensors.torch import load_file, save_file

    file = "diffusion_pytorch_model.safetensors"
    (tmp_path / "config.json").write_bytes((autoencoders / "kl/vae/config.json").read_bytes())
    state = load_file(autoencoders / "kl/vae" / file)
    del state["decoder.conv_out.bias"]
    save_file(state, tmp_path / file)
    with pytest.raises(WeightsUnavailable, match=r"lacks 1 tensors .*decoder\.conv_out\.bias"):
        reconstruct.find(str(tmp_path)).reconstruct(Image.new("RGB", (16, 16)))


def test_weights_that_are_not_taesds(tmp_path):
    def refused(match, place=tmp_path):
        with pytest.raises(WeightsUnavailable, match=match):
            reconstruct.find(str(place)).reconstruct(Image.new("RGB", (16, 16)))

    save_taesd(tmp_path)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "small_encoder.pth")
    refused(r"no autoencoder of TAESD's layout.*14\.weight")
    state = taesd._encoder(4, False).state_dict()
    torch.save({**state, "more": torch.zeros(1)}, tmp_path / "small_encoder.pth")
    refused("no autoencoder of TAESD's layout.*more")
    (tmp_path / "small_encoder.pth").write_text("no")
    refused("not a readable weights file")
    (tmp_path / "small_decoder.pth").unlink()
    refused("small_decoder.pth beside its other half")
    (tmp_path / "other_encoder.pth").touch()
    refused("found other_encoder.pth, small_encoder.pth. Point to one")
    (tmp_path / "model.ckpt").touch()
    refused(r"found model\.ckpt", tmp_path / "model.ckpt")


def test_weights_that_give_no_numbers(tmp_path):
    save_taesd(tmp_path)
    state = torch.load(tmp_path / "small_decoder.pth", weights_only=True)
    state["19.bias"][0] = float("nan")
    torch.save(state, tmp_path / "small_decoder.pth")
    with pytest.raises(WeightsUnavailable, match="The autoencoder small makes.*damaged"):
        reconstruct.find(str(tmp_path)).reconstruct(Image.new("RGB", (16, 16)))


def test_without_diffusers_the_command_to_install_it_is_named(autoencoders, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(WeightsUnavailable, match="pip install -r requirements-data.txt"):
        reconstruct.find(str(autoencoders / "tiny")).reconstruct(Image.new("RGB", (16, 16)))


# ---- as a user runs it


def test_extract_embeddings(autoencoders, photographs, tmp_path):
    """Two processes at once: the same table, and no picture is there twice."""
    command = ["extract_embeddings.py", photographs, "--dataset", "aligned", "--autoencoder", autoencoders / "pth"]
    command += ["--encoder", "colour_histogram", "--made", tmp_path / "made", "--no-cache", "--out"]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda out: process(*command, tmp_path / out, cwd=tmp_path, OMP_NUM_THREADS="1"), ("a.csv", "b.csv")))
    assert all(run.returncode == 0 for run in runs), runs[0].stderr + runs[1].stderr
    assert len([f for f in (tmp_path / "made").rglob("*.*") if f.is_file()]) == 8
    assert len({(tmp_path / f"{name}.csv").read_bytes() for name in "ab"}) == 1
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(r["path"], r["label"], r["generator"], r["group"]) for r in rows[:2]] == [
        ("a.jpg#small_recon:real", "0", "real", "a.jpg"),
        ("a.jpg#small_recon", "1", "small_recon", "a.jpg"),
    ]
    assert {r["made_from"] for r in rows[:2]} == {hashlib.sha256((photographs / "a.jpg").read_bytes()).hexdigest()}
    facts = json.loads((tmp_path / "a.csv.json").read_text())["facts"]["made"]
    assert facts["generator"] == "small_recon"
    assert "autoencoder sha256:" in facts["settings"]


def test_a_mistake_is_one_line(photographs, tmp_path):
    done = script("extract_embeddings.py", photographs, "--dataset", "aligned", "--encoder", "colour_histogram", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--autoencoder" in done.stderr


def test_help_of_the_data_set_needs_no_torch():
    check = "import sys; from deepfake_detector.datasets import aligned, repainted, self_blended; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0


def test_of_two_that_learn_at_once_the_first_is_kept(tmp_path):
    file = tmp_path / "learnt.safetensors"
    write_atomically(file, lambda part: part.write_text("first"), first_wins=True)
    write_atomically(file, lambda part: part.write_text("second"), first_wins=True)
    assert file.read_text() == "first"
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_pipe_a_device_or_a_link_is_written_to_and_never_replaced(tmp_path):
    out, into = os.pipe()
    write_atomically(Path(f"/dev/fd/{into}"), lambda part: part.write_text("all"))
    os.close(into)
    with open(out) as pipe:
        assert pipe.read() == "all"
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.touch()
    link.symlink_to(kept)  # as /dev/stdout is one, where that goes into a file
    write_atomically(link, lambda part: part.write_text("all"))
    assert (link.is_symlink(), kept.read_text()) == (True, "all")


@pytest.mark.parametrize("data_set", ["repainted", "aligned"])
def test_that_nothing_can_be_kept_is_found_out_before_anything_is_learnt(photographs, tmp_path, monkeypatch, data_set):
    monkeypatch.setattr(repaint, "learn", None)
    (tmp_path / "file").write_text("no folder")
    options = {"autoencoder": str(tmp_path), "redraw": True} if data_set == "aligned" else {}
    if data_set == "aligned":
        monkeypatch.setattr(reconstruct, "find", lambda place: SimpleNamespace(factor=8))
    with pytest.raises(DatasetError, match="can't be written to: .*--made"):
        {"repainted": repainted, "aligned": aligned}[data_set].scan(photographs, made=tmp_path / "file" / "made", **options)
