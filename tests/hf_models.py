"""Classifiers in Hugging Face's real format, with some ten thousand numbers in place of 86 million."""

from __future__ import annotations

from pathlib import Path

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 224, "patch_size": 56}


def save(folder: Path, labels: tuple[str, ...] = ("Real", "Fake"), kind: str = "vit", processor: bool = True, **settings) -> Path:
    """A classifier of untaught weights, as save_pretrained writes it, and its image processor."""
    from deepfake_detector.encoders.hf_classifier import transformers

    transformers()
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, id2label=dict(enumerate(labels)), label2id={word: i for i, word in enumerate(labels)}, **VIT)
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    if processor:
        ViTImageProcessor(**settings).save_pretrained(folder)
    return folder
