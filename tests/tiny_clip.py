"""A real open_clip architecture of 100 thousand parameters, where the real thing's size would only cost time."""

from __future__ import annotations

import json
from pathlib import Path


def make(folder: Path, name: str, embed_dim: int):
    """→ (the model, a file with its weights): two blocks, 32 wide, known to open_clip by this name."""
    from deepfake_detector.torch_compat import import_open_clip

    open_clip = import_open_clip()
    import torch
    from safetensors.torch import save_file

    vision = {"image_size": 224, "layers": 2, "width": 32, "head_width": 16, "patch_size": 56}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    architecture = {"embed_dim": embed_dim, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{name}.json").write_text(json.dumps(architecture))
    open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    model = open_clip.create_model(name, load_weights=False).eval()
    file = folder / "weights" / "tiny.safetensors"
    file.parent.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    return model, file
