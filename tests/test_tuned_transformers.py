"""Whole transformers tuned by Hugging Face's Trainer: what learns, what a kill leaves, and that pipelines take what comes of it."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from deepfake_detector import bundle, cli
from deepfake_detector.detect import Detector
from deepfake_detector.encoders import clip_vit_b16, hf_classifier
from deepfake_detector.errors import TrainingError, WeightsUnavailable
from deepfake_detector.finetune import bases, transformer
from deepfake_detector.finetune.batches import BATCH
from deepfake_detector.finetune.method import Settings
from deepfake_detector.heads.blocks import TEMPERATURE, supervised_contrastive
from deepfake_detector.panel import Panel
from tests import gridded, hf_models, tiny_clip

STEPS, KEPT_EVERY = 5, 3
ENOUGH = 30  # steps, to tell real from fake


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small CLIP in ViT-B/16's place."""
    folder = tmp_path_factory.mktemp("tiny")
    _, weights = tiny_clip.make(folder, "tiny-b16-hf", 512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DETECTOR_CLIP_VIT_B16", str(weights))
        patch.setattr(clip_vit_b16.Encoder, "architecture", "tiny-b16-hf")
        patch.setattr(transformer, "_KEEP_EVERY", KEPT_EVERY)
        yield folder


@pytest.fixture(scope="module")
def pictures(tiny):
    return gridded.draw(tiny)


def run(pictures, out: Path, method: str, *more: str) -> int:
    given = [str(pictures), f"--out={out}", f"--method={method}", f"--steps={STEPS}", "--folds=2", f"--cache={out.parent / 'c.sqlite'}"]
    return cli.finetune([*given, *more])


@pytest.fixture(scope="module")
def tuned(pictures, tmp_path_factory):
    """One model of each method, of which vit learns for long enough."""
    folder = tmp_path_factory.mktemp("tuned")
    for method in transformer.RECIPES:
        assert run(pictures, folder / method, method, f"--steps={ENOUGH if method == 'vit' else STEPS}") == 0
    return folder


@pytest.mark.parametrize(("method", "head"), [("vit", "logistic"), ("contrastive", "svm"), ("fusion", "logistic")])
def test_the_model_works_wherever_models_do(tuned, pictures, method, head):
    model = bundle.load(tuned / method)
    training = model.manifest["training"]
    assert (model.head_name, model.spec.name) == (head, "hf_classifier")
    assert training["tuned"].items() >= {"method": method, "base": "clip_vit_b16", "steps": ENOUGH if method == "vit" else STEPS}.items()
    assert sorted(name for one in training["left_out"] for name in one["sources"]) == sorted(gridded.SOURCES)
    file = str(pictures.parent / "fake/gan/3.png")
    (_, verdict), *_ = Panel([Detector(tuned / method)]).judge_files([file])
    assert verdict.encoder == "hf_classifier"
    assert cli.evaluate([f"--model={tuned / method}", f"--data={pictures}", "--split=test", "--no-cache"]) == 0


@pytest.mark.parametrize("method", ["vit", "fusion"])
def test_transformers_own_pipeline_gives_the_model_s_answer(tuned, pictures, method):
    from transformers import pipeline

    own = pipeline("image-classification", model=str(tuned / method / "encoder"), device="cpu")
    shown = [Image.open(pictures.parent / name).convert("RGB") for name in ("real/lake/3.png", "fake/gan/3.png", "fake/diff/7.png")]
    theirs = [{one["label"]: one["score"] for one in answer}["fake"] for answer in own(shown)]
    model = bundle.load(tuned / method)
    np.testing.assert_allclose(model.head.p_fake(model.encoder("cpu").embed_batch(shown)), theirs, atol=1e-5)


def test_it_learns_what_tells_them_apart(tuned):
    assert json.loads((tuned / "vit" / "manifest.json").read_text())["scores"]["overall"]["auroc"] > 0.9


def test_dora_moves_the_attention_and_nothing_else_of_the_tower(tuned, tiny):
    hf_classifier.transformers()
    before = {f"vision_model.{name}": tensor.numpy() for name, tensor in bases.clip_tower().state_dict().items()}
    after = load_file(tuned / "fusion" / "encoder" / "model.safetensors")
    assert set(before) <= set(after), "the changes are in the weights; no adapter is needed to use them"
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {name for name in before if "_proj.weight" in name}
    assert {name.split(".")[0] for name in set(after) - set(before)} == {"spectrum", "joined", "classifier"}


def test_the_merged_tower_answers_as_it_did_with_its_adapter(tiny):
    import torch

    hf_classifier.transformers()
    torch.manual_seed(0)
    model, _ = bases.fusion(bases.OWN)
    learner = transformer._learner(model, transformer.RECIPES["fusion"])
    for name, weights in learner.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.1)
    learner.eval()
    shown = torch.randn(3, 3, 224, 224)
    with torch.inference_mode():
        expected = model(shown).logits
    model.vision_model = model.vision_model.merge_and_unload()
    with torch.inference_mode():
        np.testing.assert_allclose(model(shown).logits.numpy(), expected.numpy(), atol=1e-4)


def test_by_the_contrastive_loss_alone_the_tower_learns_nothing_of_the_last_layer(tiny):
    import torch

    hf_classifier.transformers()
    torch.manual_seed(0)
    model, _ = bases.classifier(bases.OWN)
    learner = transformer._learner(model, transformer.RECIPES["contrastive"])
    shown, labels = torch.randn(8, 3, 224, 224), torch.arange(8) % 2
    slopes = []
    for factor in (1, 100):
        model.classifier.weight.data *= factor
        learner.zero_grad()
        learner(shown, labels)["loss"].backward()
        slopes.append(model.vision_model.encoder.layers[0].mlp.fc1.weight.grad.clone())
        assert model.classifier.weight.grad.abs().sum() > 0, "the last layer learns all the same"
    assert slopes[0].abs().sum() > 0
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("of_one_class", [8, 4, 1])
def test_the_contrastive_loss_is_the_paper_s_whatever_the_classes_sizes(of_one_class):
    """Khosla et al., NeurIPS 2020, equation 2 (L_out), anchor by anchor."""
    import torch

    rng, n = np.random.default_rng(0), 16
    z, y = rng.normal(size=(n, 8)), np.arange(n) < of_one_class
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    each = []
    for i in range(n):
        others = [a for a in range(n) if a != i]
        if alike := [p for p in others if y[p] == y[i]]:
            whole = np.log(sum(np.exp(z[i] @ z[a] / TEMPERATURE) for a in others))
            each.append(-np.mean([z[i] @ z[p] / TEMPERATURE - whole for p in alike]))
    assert float(supervised_contrastive(torch.from_numpy(z), torch.from_numpy(y.astype(int)))) == pytest.approx(np.mean(each))


def test_the_contrastive_loss_is_computed_where_its_input_is():
    import torch

    at = torch.device("meta")  # which refuses, as a GPU does, to go together with what is on the CPU
    assert supervised_contrastive(torch.empty(16, 8, device=at), torch.empty(16, dtype=torch.long, device=at)).device == at


def test_a_killed_run_goes_on_and_ends_the_same(tuned, pictures, tmp_path, monkeypatch, caplog):
    method = "fusion"  # which drops at random while it learns
    out, get = tmp_path / method, transformer._Looks.__getitem__
    shutil.copy(tuned / "c.sqlite", tmp_path)
    seen: list[int] = []

    def killed(self, index):
        seen.append(index)
        if len(seen) == (STEPS + 5) * BATCH:  # in the middle of the second run
            raise KeyboardInterrupt
        return get(self, index)

    monkeypatch.setattr(transformer._Looks, "__getitem__", killed)
    assert run(pictures, out, method) == 130
    assert not out.exists()
    places = {folder.name[:5]: folder for folder in (tmp_path / f"{method}.runs").iterdir()}
    assert [file.name for file in places["fold0"].iterdir()] == ["encoder"]
    assert [file.name for file in places["fold1"].iterdir()] == ["checkpoint-3"]
    (places["fold1"] / "checkpoint-6").mkdir()  # one that a kill cut off
    for number, file in enumerate(transformer._RESUMED_BY, start=7):  # and those that a crash of the machine did
        cut = shutil.copytree(places["fold1"] / "checkpoint-3", places["fold1"] / f"checkpoint-{number}") / file
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    seen.clear()
    monkeypatch.setattr(transformer._Looks, "__getitem__", lambda self, index: seen.append(index) or get(self, index))
    assert run(pictures, out, method) == 0
    assert seen[0] == KEPT_EVERY * BATCH, "the second run goes on where it was kept"
    assert len(seen) == (STEPS - KEPT_EVERY + STEPS) * BATCH
    assert all(f"checkpoint-{number} is not whole ({file})" in caplog.text for number, file in enumerate(transformer._RESUMED_BY, start=7))
    for learnt in (method, f"{method}.runs/{places['fold1'].name}"):  # all, and the run that went on
        ours, expected = (load_file(folder / learnt / "encoder" / "model.safetensors") for folder in (tmp_path, tuned))
        for name, array in ours.items():
            np.testing.assert_allclose(array, expected[name], atol=1e-5, err_msg=name)
    seen.clear()
    assert run(pictures, out, method) == 0
    assert not seen, "all runs were finished"
    weights = places["fold1"] / "encoder" / "model.safetensors"
    expected = weights.read_bytes()
    weights.write_bytes(expected[:-9])
    assert run(pictures, out, method) == 0
    assert weights.read_bytes() == expected, "a finished run that is damaged is done again"


FULL = {
    "safetensors": (SafetensorError, "Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": (RuntimeError, "PytorchStreamWriter failed writing file data/0: file write failed"),
    "torch's container": (RuntimeError, "[enforce fail at inline_container.cc:672] . unexpected pos 9920 vs 9812"),
    "torch's stream": (RuntimeError, "basic_ios::clear: iostream error"),
    "the system": (OSError, errno.ENOSPC, "No space left on device"),
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_disk_is_known_whatever_tells_of_it(tmp_path, kind):
    with pytest.raises(TrainingError, match="can't be written.*Make room, and run the same command again"), transformer._writing(tmp_path):
        raise FULL[kind][0](*FULL[kind][1:])


@pytest.mark.parametrize(("where", "kind"), [("checkpoint", "torch"), ("end", "safetensors")])
def test_a_full_disk_is_said_and_the_run_can_go_on(pictures, tmp_path, monkeypatch, capsys, where, kind):
    from transformers import PreTrainedModel, Trainer

    def full(*_, **__):
        raise FULL[kind][0](*FULL[kind][1:])

    if where == "checkpoint":
        monkeypatch.setattr(Trainer, "_save_checkpoint", full)
    else:
        monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    assert run(pictures, tmp_path / "m", "vit", "--steps=3") == 2
    assert "can't be written" in (told := capsys.readouterr().err)
    assert "Make room, and run the same command again" in told


def test_what_is_no_full_disk_stays_what_it_is_and_what_comes_of_one_is_told_as_one(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2"), transformer._writing(tmp_path):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(SafetensorError), transformer._writing(tmp_path):
        raise SafetensorError("Error while deserializing header: header too small")
    closing = ValueError("I/O operation on closed file")
    closing.__context__ = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(TrainingError, match="Make room"), transformer._writing(tmp_path):
        raise closing


@pytest.mark.parametrize(("method", "library"), [("vit", "transformers"), ("vit", "accelerate"), ("fusion", "peft")])
def test_a_missing_library_is_said_before_any_picture_is_looked_at(pictures, tmp_path, monkeypatch, capsys, method, library):
    monkeypatch.setattr(transformer.Transformer, "first_look", lambda self: pytest.fail("pictures are looked at"))
    monkeypatch.setitem(sys.modules, library, None)
    assert run(pictures, tmp_path / "m", method) == 2
    assert f"{library}, which is not installed" in (told := capsys.readouterr().err)
    assert "pip install -r requirements-tune.txt" in told


def test_what_a_run_can_not_begin_with_is_said_before_any_picture_is_looked_at(pictures, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transformer.Transformer, "first_look", lambda self: pytest.fail("pictures are looked at"))
    assert run(pictures, tmp_path / "m", "vit", "--device=tpu") == 2
    assert "There is no device 'tpu' here" in capsys.readouterr().err
    (tmp_path / "odd.safetensors").write_bytes(b"no weights")
    monkeypatch.setenv("DEEPFAKE_DETECTOR_CLIP_VIT_B16", str(tmp_path / "odd.safetensors"))
    assert run(pictures, tmp_path / "m", "vit") == 2
    assert "not a readable weights file" in capsys.readouterr().err


def test_what_a_method_does_not_learn_by_may_be_missing(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    for method in ("vit", "contrastive"):
        transformer.Transformer(method, bases.OWN, Settings(1, 0, False, "cpu"))


def test_clip_has_the_same_numbers_under_transformers_names(tiny):
    import torch

    hf_classifier.transformers()
    ours, theirs = clip_vit_b16.Encoder("cpu").tower(), bases.clip_tower()
    shown = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        np.testing.assert_allclose(theirs(shown).pooler_output @ ours.proj, ours(shown), atol=1e-5)


def test_a_vit_from_elsewhere_can_be_the_base(pictures, tmp_path):
    """Of another number of labels, and as a backbone without a last layer, as published ones are."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    bare = tmp_path / "bare"
    ViTModel(ViTConfig(**hf_models.VIT)).save_pretrained(bare)
    ViTImageProcessor().save_pretrained(bare)
    for base in (hf_models.save(tmp_path / "three", ("a", "b", "c")), bare):
        model, processor = bases.classifier(str(base))
        assert model.config.id2label == {0: "real", 1: "fake"}
        assert type(processor).__name__ == "ViTImageProcessor"
        kept = load_file(base / "model.safetensors")
        taken = model.get_parameter("vit.layers.0.attention.q_proj.weight").detach().numpy()
        assert any(np.array_equal(taken, array) for array in kept.values())  # under its older name
    assert run(pictures, tmp_path / "model", "vit", f"--base={bare}", "--steps=2") == 0
    assert bundle.load(tmp_path / "model").spec.architecture == "ViTForImageClassification"


def test_of_a_whole_clip_the_image_tower_is_taken(tmp_path):
    """As openai/clip-vit-large-patch14 is published: the text tower beside it, and under other names."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 100}
    whole = CLIPModel(CLIPConfig(vision_config=hf_models.VIT, text_config=text)).eval()
    whole.save_pretrained(tmp_path)
    CLIPImageProcessor().save_pretrained(tmp_path)
    shown = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = whole.vision_model(shown).pooler_output
        for make in (bases.fusion, bases.classifier):
            torch.testing.assert_close(make(str(tmp_path))[0].eval().vision_model(shown).pooler_output, expected)


def test_a_base_of_another_kind_is_refused(pictures, tmp_path, capsys):
    base = hf_models.save(tmp_path / "vit")
    with pytest.raises(WeightsUnavailable, match=r"--base: .* of CLIPVisionModel \(the first: .*Give a model of this kind"):
        bases.fusion(str(base))
    assert run(pictures, tmp_path / "m", "norms", f"--base={base}") == 2
    assert "--base goes with --method vit, contrastive or fusion" in capsys.readouterr().err
    assert run(pictures, tmp_path / "m", "vit", f"--base={tmp_path / 'none'}") == 2
    assert "there is no folder" in capsys.readouterr().err
