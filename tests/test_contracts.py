"""Every encoder, head, crop and tab keeps its folder's contract; a new file is tested without editing this one.

What published data sets have in common is in test_layouts.py.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from deepfake_detector import crops, registry
from deepfake_detector.errors import TableError, UnknownName
from deepfake_detector.metrics import auroc
from deepfake_detector.types import EncoderSpec, Sample
from tests.conftest import draw_dataset


def pictures(count: int) -> list[Image.Image]:
    """Grain of an own size and colour each, so that their embeddings are unlike."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(40, 400, (count, 2))
    return [Image.fromarray(rng.integers(0, rng.integers(10, 256, 3), (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.mark.parametrize("kind", ["encoders", "heads", "crops", "crops/detectors", "datasets", "ui/tabs"])
def test_an_unknown_name_is_told_the_known_ones(kind):
    with pytest.raises(UnknownName, match=registry.names(kind)[0]):
        registry.load(kind, "no_such_thing")


@pytest.mark.parametrize(
    "name", [n for n in registry.names("encoders") if not n.startswith(("clip_vit_l14", "clip_vit_b16_tuned", "hf_classifier"))]
)
def test_encoder(name):
    encoder = registry.load("encoders", name).Encoder(device="cpu")
    assert isinstance(encoder.spec, EncoderSpec)
    assert encoder.spec.name == name
    assert encoder.embed_batch([]).shape == (0, encoder.spec.dim)
    shown = pictures(3)
    together = encoder.embed_batch(shown)
    assert together.shape == (3, encoder.spec.dim)
    assert together.dtype == np.float32
    alone = np.concatenate([encoder.embed_batch([p]) for p in shown])
    cosine = (together * alone).sum(1) / np.linalg.norm(together, axis=1) / np.linalg.norm(alone, axis=1)
    assert (1 - cosine).max() <= 1e-4
    assert len({row.tobytes() for row in together}) == 3


@pytest.mark.parametrize("name", registry.names("heads"))
def test_head(name, tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    X = rng.normal(size=(120, 16)).astype(np.float32)
    X[:, 3] += 4 * y
    module = registry.load("heads", name)
    head = module.Head(seed=3).fit(X, y)
    p = head.p_fake(X)
    assert p.shape == (120,)
    assert p.dtype == np.float64
    assert ((p >= 0) & (p <= 1)).all()
    assert auroc(y, p) > 0.98, "higher means fake"
    head.save(tmp_path)
    np.testing.assert_allclose(module.Head.load(tmp_path).p_fake(X), p, atol=1e-6)
    np.testing.assert_array_equal(module.Head(seed=3).fit(X, y).p_fake(X), p, "the same seed gives the same head")
    with pytest.raises(TableError, match="16 numbers.*17"):
        head.p_fake(np.zeros((2, 17), np.float32))
    assert head.p_fake(np.zeros((0, 16), np.float32)).shape == (0,)


def looks_for_faces(crop: str) -> bool:
    return "detector" in {field.name for field in fields(registry.load("crops", crop).Crop)}


@pytest.mark.parametrize("name", [n for n in registry.names("crops") if not looks_for_faces(n)])
def test_crop(name):
    for picture in pictures(3):
        regions = crops.load(name)(picture)
        assert regions
        for region in regions:
            left, top, right, bottom = region.box
            assert 0 <= left < right <= picture.width
            assert 0 <= top < bottom <= picture.height
            assert region.picture.mode == "RGB"


@pytest.mark.parametrize("name", ["folder"])
def test_dataset(name, tmp_path):
    found = registry.load("datasets", name).scan(draw_dataset(tmp_path, each=4)).samples
    assert len(found) == 8
    assert all(isinstance(s, Sample) and s.label in (0, 1) and s.generator and s.group for s in found)


@pytest.mark.parametrize("name", registry.names("ui/tabs"))
def test_tab_builds_with_no_model_loaded(name):
    import gradio as gr

    from deepfake_detector.ui.tabs import Visitor
    from deepfake_detector.ui.warming import Warming

    def load():
        raise AssertionError("building a tab must not load the model")

    tab = registry.load("ui/tabs", name)
    assert tab.TITLE
    assert isinstance(tab.ORDER, int)
    with gr.Blocks():
        tab.build(gr, Warming(load), Visitor(gr.State(), gr.State({}), gr.Checkbox(), gr.Markdown()))
