"""OpenAI's CLIP ViT-L/14 at 224 px by open_clip: the projected, L2-normalised image embedding, 768 numbers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from deepfake_detector import weights
from deepfake_detector.encoders._open_clip import OpenClipTower
from deepfake_detector.types import EncoderSpec

_REPOSITORY, _FILE = "timm/vit_large_patch14_clip_224.openai", "open_clip_model.safetensors"


class Encoder(OpenClipTower):
    """Weights: --weights or $DEEPFAKE_DETECTOR_CLIP_VIT_L14, else the model hub (1.7 GB, kept in the hub's own cache)."""

    # Plain "ViT-L-14" would load the same weights into the wrong activation, with a warning only.
    architecture = "ViT-L-14-quickgelu"

    @cached_property
    def spec(self) -> EncoderSpec:
        return self.projected_spec(f"sha256:{weights.file_sha256(self.weights_file())}", dim=768)

    def weights_file(self) -> Path:
        return weights.local_weights("clip_vit_l14", self.weights) or weights.from_hub("clip_vit_l14", _REPOSITORY, _FILE)
