"""Classifiers in Hugging Face's format: the same answers as transformers' own pipeline gives, and nothing of them is taken on trust."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import adopt as adopting
from deepfake_detector import bundle, cli
from deepfake_detector.detect import Detector
from deepfake_detector.encoders import hf_classifier
from deepfake_detector.encoders.hf_classifier import FILES, Encoder, LastLayer
from deepfake_detector.errors import TrainingError, WeightsUnavailable
from deepfake_detector.panel import Panel
from deepfake_detector.types import EncoderSpec
from deepfake_detector.ui.heat_map import attention_map
from tests import hf_models
from tests.conftest import ROOT
from tests.hub import hub


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return hf_models.save(tmp_path_factory.mktemp("hf") / "vit")


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    sizes = rng.integers(60, 400, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def pipeline(folder):
    from transformers import pipeline

    return pipeline("image-classification", model=str(folder), device="cpu")


def test_it_keeps_the_contract_of_encoders(classifier):
    encoder = Encoder("cpu", str(classifier))
    assert isinstance(encoder.spec, EncoderSpec)
    assert (encoder.spec.name, encoder.spec.dim, encoder.spec.pixels) == ("hf_classifier", 32, 224)
    assert encoder.embed_batch([]).shape == (0, 32)
    together = encoder.embed_batch(pictures(11))
    alone = np.concatenate([encoder.embed_batch([picture]) for picture in pictures(11)])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "beit"])
def test_rows_and_last_layer_are_the_answer_of_transformers_own_pipeline(kind, tmp_path):
    folder = hf_models.save(tmp_path, kind=kind)
    encoder, shown = Encoder("cpu", str(folder)), pictures(3)
    layer = encoder.last_layer()
    logits = encoder.embed_batch(shown) @ layer.weight.T + layer.offset
    ours = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    theirs = [{one["label"]: one["score"] for one in answer} for answer in pipeline(folder)(shown)]
    np.testing.assert_allclose(ours, [[answer[word] for word in layer.words] for answer in theirs], atol=1e-5)


def test_other_weights_or_another_preprocessing_are_another_spec(classifier, tmp_path):
    same, other, brighter = (shutil.copytree(classifier, tmp_path / name) for name in "abc")
    settings = json.loads((brighter / "preprocessor_config.json").read_text())
    (brighter / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.4, 0.4, 0.4]}))
    from safetensors.numpy import load_file, save_file

    save_file({name: array + 0.01 for name, array in load_file(other / "model.safetensors").items()}, other / "model.safetensors")
    specs = [Encoder("cpu", str(folder)).spec for folder in (classifier, same, other, brighter)]
    assert specs[0] == specs[1]
    assert "weights" in specs[0].differences(specs[2])
    assert specs[0].differences(specs[3]).startswith("preprocessing")


def test_from_the_hub_its_three_files_are_fetched_once(classifier, tmp_path):
    code = "from deepfake_detector.encoders.hf_classifier import Encoder; print(Encoder('cpu', 'some/vit').content)"
    with hub("some/vit", classifier) as (endpoint, asked):
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        first = script_line(code, settings)
        fetched = [path.rpartition("/")[2] for method, path, sent in asked if method == "GET" and "/resolve/" in path]
    assert sorted(fetched) == sorted(FILES)
    assert first == Encoder("cpu", str(classifier)).content == Encoder("cpu", str(classifier)).spec.weights
    assert script_line(code, settings) == first, "a second start needs no hub"


def script_line(code: str, settings: dict[str, str]) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_it_looks_is_what_its_attention_took_most_from(tmp_path):
    """A class token that hears one patch alone: in the first block of one head, by weights set so."""
    import torch

    folder = hf_models.save(tmp_path, num_hidden_layers=1, num_attention_heads=1, hidden_size=8)
    model = hf_classifier.load_classifier(folder)
    block = model.vit.layers[0]
    with torch.no_grad():
        model.vit.embeddings.cls_token.zero_()
        model.vit.embeddings.position_embeddings.zero_()
        model.vit.embeddings.patch_embeddings.projection.weight.fill_(1e-3)
        model.vit.embeddings.patch_embeddings.projection.weight[::2].mul_(-1)  # or the norm would take all that they share off
        block.attention.q_proj.weight.zero_()
        block.attention.q_proj.bias.fill_(1.0)
        block.attention.k_proj.weight.copy_(100 * torch.eye(8) * (torch.arange(8) % 2))  # bright patches are heard
    model.save_pretrained(folder)
    picture = Image.new("RGB", (400, 200))
    picture.paste((255, 255, 255), (300, 50, 400, 100))  # the second row's last patch of four by four
    looked = Encoder("cpu", str(folder)).looked_at(picture)
    assert looked.box == (0, 0, 400, 200)
    assert looked.shares.shape == (4, 4)
    assert looked.shares.sum() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(looked.shares.argmax(), (4, 4)) == (1, 3)
    assert looked.shares[1, 3] > 0.9


def test_what_the_preprocessing_cuts_off_was_not_looked_at(tmp_path):
    folder = hf_models.save(tmp_path)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 256}, "do_center_crop": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"crop_size": {"height": 224, "width": 224}}))
    assert Encoder("cpu", str(folder)).looked_at(Image.new("RGB", (1024, 512))).box == (288, 32, 736, 480)


def test_a_model_without_attention_tells_nothing_of_where_it_looked(tmp_path):
    convnext = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 8], "num_hidden_layers": 4, "patch_size": 4}
    assert Encoder("cpu", str(hf_models.save(tmp_path, kind="convnext", **convnext))).looked_at(pictures(1)[0]) is None


def test_what_is_no_finished_classifier_is_refused(classifier, tmp_path):
    with pytest.raises(WeightsUnavailable, match="no classifier was given.*--weights"):
        _ = Encoder().spec
    with pytest.raises(WeightsUnavailable, match="there is no folder .*OWNER/NAME"):
        _ = Encoder(weights="nowhere").spec
    with pytest.raises(WeightsUnavailable, match="could not be fetched|not in the hub cache"):
        _ = Encoder(weights="no_such_owner/no_such_model").spec
    bare = hf_models.save(tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsUnavailable, match="it lacks preprocessor_config.json"):
        _ = Encoder(weights=str(bare)).spec
    with pytest.raises(WeightsUnavailable, match="bring all pictures to one size, in three colours; it gives"):
        _ = Encoder(weights=str(hf_models.save(tmp_path / "any", processor={"do_resize": False}))).spec
    broken = shutil.copytree(classifier, tmp_path / "broken")
    (broken / "config.json").write_text("[]")
    with pytest.raises(WeightsUnavailable, match=r"config.json is not as transformers writes it"):
        _ = Encoder(weights=str(broken)).architecture
    for torn in ("model.safetensors", "preprocessor_config.json"):
        cut = shutil.copytree(classifier, tmp_path / torn)
        (cut / torn).write_bytes((cut / torn).read_bytes()[:50])
        with pytest.raises(WeightsUnavailable, match="can't build a picture classifier|no image processor"):
            Encoder("cpu", str(cut)).embed_batch(pictures(1))


def test_a_model_that_would_answer_at_random_is_refused(classifier, tmp_path):
    """A backbone without a trained last layer: transformers draws one, warns, and goes on."""
    from safetensors.numpy import load_file, save_file

    bare = shutil.copytree(classifier, tmp_path / "bare")
    kept = {name: array for name, array in load_file(bare / "model.safetensors").items() if not name.startswith("classifier")}
    save_file(kept, bare / "model.safetensors", {"format": "pt"})
    odd = shutil.copytree(classifier, tmp_path / "odd")
    (odd / "config.json").write_text((odd / "config.json").read_text().replace('"intermediate_size": 64', '"intermediate_size": 48'))
    with pytest.raises(WeightsUnavailable, match="lacks 6 weights of this ViTForImageClassification"):
        Encoder("cpu", str(odd)).embed_batch(pictures(1))
    with pytest.raises(WeightsUnavailable, match=r"lacks 2 weights of this ViTForImageClassification \(the first: classifier.bias\)"):
        Encoder("cpu", str(bare)).embed_batch(pictures(1))


def test_without_transformers_it_is_said_what_to_install(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsUnavailable, match=r"pip install -r requirements-tune\.txt"):
        _ = Encoder(weights=str(classifier)).spec


@pytest.fixture(scope="module")
def table(classifier, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("adopt") / "drawn.csv"
    given = [str(dataset), "--encoder=hf_classifier", f"--weights={classifier}", f"--out={out}", f"--cache={out.parent / 'c.sqlite'}"]
    assert cli.extract(given) == 0
    return out


def test_an_adopted_classifier_answers_as_it_does_elsewhere(classifier, table, dataset, tmp_path, capsys):
    out = tmp_path / "theirs"
    assert cli.main(["adopt", str(classifier), str(table), f"--out={out}"]) == 0
    assert "AUROC" in capsys.readouterr().out
    model = bundle.load(out)
    assert model.manifest["training"]["adopted"] == {"from": str(classifier), "labels": ["Real", "Fake"], "fake": "Fake"}
    assert model.manifest["promise"]["real_pictures_from"].startswith("sources learnt from")
    files = [str(dataset / name) for name in ("real/camera_0/000.jpg", "fake/generator_1/001.jpg")]
    theirs = [{one["label"]: one["score"] for one in answer}["Fake"] for answer in pipeline(classifier)(files)]
    ours = [verdict.p_fake for _, verdict in Panel([Detector(out)]).judge_files(files)]
    np.testing.assert_allclose(ours, model.calibration(np.array(theirs)), atol=1e-4)
    assert sorted(file.name for file in (out / "encoder").iterdir()) == sorted(FILES)
    html = attention_map(Path(files[0]).read_bytes(), Detector(out).looked_at(Path(files[0]).read_bytes()))
    assert "Where it looked" in html
    out.rename(tmp_path / "moved")  # it has its classifier with it
    [(_, verdict)] = Panel([Detector(tmp_path / "moved")]).judge_files(files[:1])
    assert verdict.p_fake == pytest.approx(ours[0])


def test_the_word_for_fake_decides_and_is_asked_for_where_it_says_nothing(classifier, dataset, tmp_path, capsys):
    turned, silent, three = (
        hf_models.save(tmp_path / name, labels)
        for name, labels in (("turned", ("Fake", "Real")), ("silent", ("hum", "art")), ("three", ("real", "gan", "sd")))
    )
    tables = {}
    for folder in (turned, silent, three):
        tables[folder] = str(folder.with_suffix(".csv"))
        given = ["--encoder=hf_classifier", f"--weights={folder}", f"--out={tables[folder]}", "--no-cache"]
        assert cli.extract([str(dataset), *given]) == 0

    def adopt(folder, *more):
        return cli.main(["adopt", str(folder), tables[folder], f"--out={tmp_path / 'model'}", *more])

    assert adopt(turned) == 0
    one = bundle.load(tmp_path / "model")
    layer = Encoder(weights=str(turned)).last_layer()
    row = np.random.default_rng(0).normal(size=(1, 32)).astype(np.float32)
    logits = (row @ layer.weight.T + layer.offset)[0]
    assert one.head.p_fake(row)[0] == pytest.approx(1 / (1 + np.exp(logits[1] - logits[0])), abs=1e-6)
    capsys.readouterr()
    assert adopt(silent) == 2
    assert "'hum' and 'art', and these words don't say which means fake. Choose one with --fake-label" in capsys.readouterr().err
    assert adopt(silent, "--fake-label=hum") == 0
    assert bundle.load(tmp_path / "model").manifest["training"]["adopted"]["fake"] == "hum"
    capsys.readouterr()
    assert adopt(silent, "--fake-label=fake") == 2
    assert "--fake-label fake is neither" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="these words don't say"):
        adopting._fake_label(LastLayer(np.zeros((2, 1)), np.zeros(2), ["real", "original"]), ())
    for words, fake in ((["Realism", "Deepfake"], 1), (["art", "human", "real"][::2], 0), (["ai", "hum"], 0)):
        assert adopting._fake_label(LastLayer(np.zeros((2, 1)), np.zeros(2), words), ()) == fake
    assert adopt(three) == 2
    assert "it tells 3: real, gan, sd" in capsys.readouterr().err
    assert cli.main(["adopt", str(classifier), tables[turned], f"--out={tmp_path / 'm'}"]) == 2
    assert "The table was not made by this classifier" in capsys.readouterr().err
