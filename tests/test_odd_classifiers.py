"""Published classifiers of odd kinds: what they cut off, sigmoid heads, adapters, code that comes along, files that are none."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import adopt as adopting
from deepfake_detector import cli, table
from deepfake_detector import weights as fetching
from deepfake_detector.encoders import _rollout, hf_classifier
from deepfake_detector.encoders.hf_classifier import Encoder
from deepfake_detector.errors import TrainingError, WeightsUnavailable
from deepfake_detector.finetune import bases
from deepfake_detector.finetune.method import Settings
from deepfake_detector.finetune.transformer import Transformer
from tests import hf_models
from tests.signing import noise


def set_in(file: Path, **fields) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def processed(folder: Path, **settings) -> Path:
    """A tiny ViT with these settings of its preprocessing."""
    set_in(hf_models.save(folder) / hf_classifier.PREPROCESSING, **settings)
    return folder


CUT = {"do_center_crop": True, "image_processor_type": "CLIPImageProcessor"}


@pytest.mark.parametrize(
    ("settings", "box"),
    [
        ({}, (0, 0, 512, 256)),
        ({"size": 224}, (0, 0, 512, 256)),
        ({"size": 224, "crop_size": 224, **CUT}, (128, 0, 384, 256)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, **CUT}, (144, 16, 368, 240)),
        (
            {"size": {"height": 256, "width": 256}, "crop_size": 224, **CUT, "image_processor_type": "BeitImageProcessor"},
            (32, 16, 480, 240),
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"}, (144, 16, 368, 240)),
    ],
    ids=["all", "int", "old CLIP", "short side", "BEiT", "ConvNeXT"],
)
def test_where_it_looked_is_told_of_what_its_preprocessing_leaves(tmp_path, settings, box):
    encoder = Encoder("cpu", str(processed(tmp_path, **settings)))
    looked = encoder.looked_at(Image.effect_noise((512, 256), 90).convert("RGB"))
    np.testing.assert_allclose(looked.box, box, atol=1)
    assert looked.shares.shape == (4, 4)


def test_of_a_preprocessing_that_pads_nothing_is_told():
    def padded(picture: Image.Image) -> np.ndarray:
        pixels = np.asarray(picture.resize((224, 112)), np.float32).transpose(2, 0, 1)
        return np.pad(pixels, ((0, 0), (56, 56), (0, 0)))

    assert _rollout.seen(padded, (400, 200)) is None
    assert _rollout.seen(lambda picture: np.zeros((3, 8, 8)), (400, 200)) is None


def test_an_error_without_words_is_told_of_by_its_kind_once(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Encoder, "prepare", fail)
    with pytest.raises(WeightsUnavailable, match=r"can't be gone by \(MemoryError\)\."):
        Encoder("cpu", str(hf_models.save(tmp_path))).shape()


@pytest.mark.parametrize(
    ("kind", "config", "reads"),
    [
        ("vit", {}, "class"),
        ("beit", {"use_mean_pooling": True}, "patches"),
        ("beit", {"use_mean_pooling": False}, "class"),
        ("data2vec-vision", {}, "patches"),
        ("dinov2", {}, "both"),
    ],
)
def test_what_the_last_layer_reads_decides_whose_attention_counts(tmp_path, kind, config, reads):
    import torch

    model = hf_classifier.load_classifier(hf_models.save(tmp_path, kind=kind, **config))
    flow = torch.rand(17, 17, generator=torch.manual_seed(0))
    shares = {"class": flow[0], "patches": flow[1:].mean(0), "both": (flow[0] + flow[1:].mean(0)) / 2}
    torch.testing.assert_close(_rollout._read(flow, model), shares[reads])


@pytest.mark.parametrize("file", [hf_classifier.PREPROCESSING, hf_classifier.CONFIG])
def test_code_that_a_model_brings_along_is_not_run_whatever_is_typed(tmp_path, monkeypatch, dataset, capsys, file):
    folder, mark = hf_models.save(tmp_path / "model"), tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    part, kind = ("AutoImageProcessor", "image_processor_type") if file == hf_classifier.PREPROCESSING else ("AutoConfig", "model_type")
    set_in(folder / file, auto_map={part: "own.Own"}, **{kind: "Own"})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    given = [str(dataset), "--encoder=hf_classifier", f"--weights={folder}", f"--out={tmp_path / 't.csv'}", "--no-cache"]
    assert cli.extract(given) == 2
    assert cli.finetune([str(dataset), "--method=vit", f"--base={folder}", f"--out={tmp_path / 'm'}", "--no-cache"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({"image_mean": [0.5, 0.5]}, {}),
        ({"image_processor_type": "Pix2StructImageProcessor"}, {}),
        ({}, {"num_channels": 1}),
        ({"size": {"height": 160, "width": 160}}, {}),
    ],
    ids=["two colours", "no pixels", "grey", "another size"],
)
def test_files_that_do_not_go_together_are_refused_in_words(tmp_path, dataset, capsys, settings, config):
    folder = hf_models.save(tmp_path / "model", **config)
    set_in(folder / hf_classifier.PREPROCESSING, **settings)
    given = ["--encoder=hf_classifier", f"--weights={folder}", f"--out={tmp_path / 't.csv'}", "--no-cache"]
    assert cli.extract([str(dataset), *given]) == 2
    assert "hf_classifier: " in capsys.readouterr().err


def test_an_adapter_beside_a_model_is_refused(tmp_path):
    folder = hf_models.save(tmp_path)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsUnavailable, match="holds an adapter.*merge_and_unload"):
        _ = Encoder("cpu", str(folder)).folder


def test_files_of_two_states_of_the_hub_are_not_mixed(tmp_path, monkeypatch):
    old, new = (hf_models.save(tmp_path / name) for name in ("old", "new"))
    first = iter([old, new, new])
    monkeypatch.setattr(fetching, "fetch", lambda repository, name: next(first, new) / name)
    assert Encoder(weights="some/vit").folder == new
    turns = iter([old, new] * 9)
    monkeypatch.setattr(fetching, "fetch", lambda repository, name: next(turns) / name)
    with pytest.raises(WeightsUnavailable, match="change while they are fetched"):
        _ = Encoder(weights="some/vit").folder


def test_a_label_with_a_probability_of_its_own_is_asked_for_that(dataset, tmp_path):
    from transformers import pipeline

    folder = hf_models.save(tmp_path / "model", problem_type="multi_label_classification")
    out = tmp_path / "t.csv"
    assert cli.extract([str(dataset), "--encoder=hf_classifier", f"--weights={folder}", f"--out={out}", "--no-cache"]) == 0
    encoder, picture = Encoder("cpu", str(folder)), Image.open(io.BytesIO(noise())).convert("RGB")
    done = adopting.adopt(encoder, table.read(out), "m")
    theirs = {one["label"]: one["score"] for one in pipeline("image-classification", model=str(folder), device="cpu")(picture)}
    assert sum(theirs.values()) != pytest.approx(1, abs=1e-3)
    assert done.bundle.head.p_fake(encoder.embed_batch([picture]))[0] == pytest.approx(theirs["Fake"], abs=1e-5)
    set_in(folder / hf_classifier.CONFIG, problem_type="regression")
    with pytest.raises(WeightsUnavailable, match="estimates numbers"):
        Encoder("cpu", str(folder)).last_layer()


def test_a_base_that_tells_two_labels_already_begins_untaught(tmp_path):
    """In the other order, too: its last layer renamed would be turned round."""
    folder = hf_models.save(tmp_path, ("Fake", "Real"), problem_type="multi_label_classification")
    known = hf_classifier.load_classifier(folder).classifier.weight.detach().numpy()
    model, _ = bases.classifier(str(folder))
    assert model.config.id2label == {0: "real", 1: "fake"}
    assert model.config.problem_type == "single_label_classification"
    assert not np.isin(model.classifier.weight.detach().numpy(), known).any()


def test_another_preprocessing_of_a_base_is_another_base(tmp_path):
    folder = hf_models.save(tmp_path)
    before = bases.identity(str(folder))
    set_in(folder / hf_classifier.PREPROCESSING, image_mean=[0.1, 0.2, 0.3])
    assert bases.identity(str(folder)) != before


def test_what_can_not_be_a_base_is_said_before_a_picture_is_looked_at(tmp_path, dataset, capsys):
    from transformers import ViTMAEConfig, ViTMAEModel

    mae, torn = tmp_path / "mae", hf_models.save(tmp_path / "torn")
    ViTMAEModel(ViTMAEConfig(**hf_models.VIT)).save_pretrained(mae)
    shutil.copyfile(torn / hf_classifier.PREPROCESSING, mae / hf_classifier.PREPROCESSING)
    (torn / hf_classifier.WEIGHTS).write_bytes((torn / hf_classifier.WEIGHTS).read_bytes()[:50])
    sizes = processed(tmp_path / "sizes", size={"shortest_edge": 224}, image_processor_type="CLIPImageProcessor", do_center_crop=False)
    for base, said in ((mae, "can't build a picture classifier"), (torn, "can't build a picture classifier"), (sizes, "to one size")):
        begun = ["--method=vit", f"--base={base}", f"--out={tmp_path / 'm'}", "--steps=1", "--folds=2", "--no-cache"]
        assert cli.finetune([str(dataset), *begun]) == 2
        told = capsys.readouterr().err
        assert said in told, told
        assert "looking at" not in told
        assert "picture/s" not in told
    with pytest.raises(TrainingError, match="CUDA_VISIBLE_DEVICES"):
        Transformer("vit", bases.OWN, Settings(1, 0, False, "cuda:1"))


def test_two_processes_do_not_tune_in_one_place(tmp_path, dataset, capsys):
    from deepfake_detector.files import locked

    (tmp_path / "m.runs").mkdir()
    with locked(tmp_path / "m.runs", TrainingError("busy")):
        assert cli.finetune([str(dataset), f"--out={tmp_path / 'm'}", "--steps=1", "--folds=2", "--no-cache"]) == 2
    assert "Another process is tuning in" in capsys.readouterr().err
