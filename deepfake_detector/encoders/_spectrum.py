"""A classifier with two branches, in transformers' own terms: CLIP's image tower, and a small CNN on the picture's spectrum.

What a generator's upsampling leaves are peaks in the spectrum that CLIP, whose patches are flattened into a few hundred numbers, need not
see (Durall et al., "Watch your Up-Convolution", CVPR 2020). Both branches' numbers are joined before the last layers.
"""

from __future__ import annotations

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

_CHANNELS = (16, 32, 64)
_PLACES, _WIDTH = 4, 128  # the spectrum is told of in 4×4 parts, by 128 numbers
_JOINED = 256
_GREY = (0.299, 0.587, 0.114)


class SpectrumFusionConfig(PreTrainedConfig):
    """`vision_config` is that of the tower; preprocessing takes `mean` off the colours, and divides them by `deviation`."""

    model_type = "clip_spectrum_fusion"
    sub_configs = {"vision_config": CLIPVisionConfig}
    vision_config: dict | CLIPVisionConfig | None = None
    mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self, **kwargs):
        if not isinstance(self.vision_config, CLIPVisionConfig):
            self.vision_config = CLIPVisionConfig(**(self.vision_config or {}))
        super().__post_init__(**kwargs)


class SpectrumFusion(PreTrainedModel):
    """The tower's class token and the spectrum's numbers → 256 numbers → labels."""

    config_class = SpectrumFusionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: SpectrumFusionConfig):
        super().__init__(config)
        self.vision_model = CLIPVisionModel._from_config(config.vision_config)
        self.spectrum = _Spectrum(config.mean, config.deviation)
        width = config.vision_config.hidden_size + _WIDTH
        self.joined = torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, _JOINED), torch.nn.GELU())
        self.classifier = torch.nn.Linear(_JOINED, config.num_labels)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Layers keep what torch draws for them."""

    def forward(self, pixel_values: torch.Tensor, **asked) -> ImageClassifierOutput:
        """(n, 3, height, width) preprocessed → logits (n, labels), and of the tower what else is asked for."""
        seen = self.vision_model(pixel_values, **asked)
        features = self.joined(torch.cat([seen.pooler_output, self.spectrum(pixel_values)], dim=-1))
        return ImageClassifierOutput(logits=self.classifier(features), attentions=seen.attentions)


class _Spectrum(torch.nn.Module):
    """The logarithm of the grey picture's Fourier magnitudes, the zero frequency in the middle, through three convolutions."""

    def __init__(self, mean, deviation):
        super().__init__()
        # Grey of the picture itself, from preprocessed colours: what the two differ in is a factor and an offset of each colour.
        self.shares = [grey * scale for grey, scale in zip(_GREY, deviation, strict=True)]
        self.offset = sum(grey * off for grey, off in zip(_GREY, mean, strict=True))
        layers: list[torch.nn.Module] = []
        for before, after in zip((1, *_CHANNELS), _CHANNELS, strict=False):
            layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.GroupNorm(8, after), torch.nn.GELU()]
        # A peak is narrow, and where it lies says which frequency it is of.
        layers += [torch.nn.AdaptiveMaxPool2d(_PLACES), torch.nn.Flatten(), torch.nn.Linear(_CHANNELS[-1] * _PLACES**2, _WIDTH)]
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) → (n, 128)."""
        with torch.autocast(pixel_values.device.type, enabled=False):  # magnitudes reach over more than half precision holds
            grey = sum(share * channel for share, channel in zip(self.shares, pixel_values.float().unbind(1), strict=True)) + self.offset
            magnitude = torch.fft.fftshift(torch.fft.fft2(grey).abs(), dim=(-2, -1)).log1p()
            return self.layers(magnitude[:, None])


def register() -> None:
    """Let transformers' Auto classes build it by its name."""
    AutoConfig.register(SpectrumFusionConfig.model_type, SpectrumFusionConfig, exist_ok=True)
    AutoModelForImageClassification.register(SpectrumFusionConfig, SpectrumFusion, exist_ok=True)
