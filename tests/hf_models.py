"""Classifiers in Hugging Face's real format, with some ten thousand numbers in place of 86 million."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 224, "patch_size": 56}


def save(
    folder: Path, labels: tuple[str, ...] = ("Real", "Fake"), kind: str = "vit", processor: dict[str, Any] | None = None, **config: Any
) -> Path:
    """A classifier of untaught weights, as save_pretrained writes it, and its image processor with these settings."""
    from deepfake_detector.encoders.hf_classifier import transformers

    transformers()
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    words = {"id2label": dict(enumerate(labels)), "label2id": {word: i for i, word in enumerate(labels)}}
    made = AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **words, **VIT | config))
    made.save_pretrained(folder)
    ViTImageProcessor(**processor or {}).save_pretrained(folder)
    return folder
