"""clip_vit_b16_corners with layer norms that finetune.py has tuned: a file of 160 KB, which --weights points to."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector import weights
from deepfake_detector.encoders.clip_vit_b16_corners import Encoder as CornersEncoder
from deepfake_detector.errors import WeightsUnavailable

if TYPE_CHECKING:
    import torch

    from deepfake_detector.types import EncoderSpec


class Encoder(CornersEncoder):
    """The other weights are clip_vit_b16's: $DEEPFAKE_DETECTOR_CLIP_VIT_B16, else those that are fetched once."""

    @cached_property
    def spec(self) -> EncoderSpec:
        base = super().spec
        tuned = f"layer norms sha256:{weights.file_sha256(self._norms())}"
        return replace(base, weights=f"{base.weights}; {tuned}")

    def given_weights(self) -> Path | None:
        return weights.local_weights("clip_vit_b16", None)

    def tower(self) -> torch.nn.Module:
        from safetensors.torch import load_file

        tower, file = super().tower(), self._norms()
        wanted = tunable(tower)
        try:
            tuned = load_file(file)
        except Exception as error:  # safetensors raises its own kinds
            raise WeightsUnavailable(f"{file} is not a readable weights file ({error}). Run finetune.py again.") from error
        if {name: tensor.shape for name, tensor in tuned.items()} != {name: tensor.shape for name, tensor in wanted.items()}:
            raise WeightsUnavailable(
                f"{file} should hold the {len(wanted)} layer-norm tensors of {self.architecture} that finetune.py writes; it holds "
                f"{len(tuned)}, the first {next(iter(tuned), 'none')}. Point to a model's encoder.safetensors."
            )
        for name, tensor in wanted.items():
            tensor.copy_(tuned[name])
        return tower

    def _norms(self) -> Path:
        given = weights.local_weights("clip_vit_b16_tuned", self.weights)
        if given is None:
            raise WeightsUnavailable(
                "clip_vit_b16_tuned: no tuned layer norms were given. They belong to a model that finetune.py made: point to its folder, "
                "as in --weights models/NAME."
            )
        return given


def tunable(tower: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The scales and shifts of the layer norms on the way to the blocks' class tokens, by name."""
    norms = ("ln_pre.", ".ln_1.", ".ln_2.")
    return {name: tensor for name, tensor in tower.named_parameters() if any(norm in name for norm in norms)}
