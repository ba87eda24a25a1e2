"""What tuning begins with: an image tower in transformers' own terms, and the preprocessing that goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.encoders import hf_classifier
from deepfake_detector.encoders.clip_vit_b16 import Encoder as ClipEncoder
from deepfake_detector.errors import WeightsUnavailable, kind_and_words
from deepfake_detector.types import LABEL_NAMES
from deepfake_detector.weights import file_sha256

if TYPE_CHECKING:
    import torch
    from transformers import BaseImageProcessor, CLIPVisionModel, PreTrainedModel

OWN = "clip_vit_b16"  # needs no hub
_LABELS = {
    "num_labels": len(LABEL_NAMES),
    "id2label": dict(enumerate(LABEL_NAMES)),
    "label2id": {name: i for i, name in enumerate(LABEL_NAMES)},
    "problem_type": "single_label_classification",
}


def folder_of(base: str) -> Path | None:
    """The folder of a base model: `base` itself, or what is fetched of OWNER/NAME on the hub; None for clip_vit_b16.

    Raises WeightsUnavailable.
    """
    return None if base == OWN else hf_classifier.Encoder(weights=base).folder


def identity(base: str) -> str:
    """What tells one base model from another: its weights and preprocessing by content. Raises WeightsUnavailable."""
    if base == OWN:
        return ClipEncoder().spec.weights
    encoder = hf_classifier.Encoder(weights=base)
    encoder.shape()  # one that gives pictures of several sizes can't be learnt from in batches
    return f"{encoder.content}; preprocessing sha256:{file_sha256(encoder.folder / hf_classifier.PREPROCESSING)}"


def classifier(base: str) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """A classifier of real and fake whose last layer is untaught: of CLIP it reads the mean of the patches' tokens, of a ViT the class
    token. Raises WeightsUnavailable.
    """
    hf_classifier.transformers()
    import torch
    from transformers import AutoModelForImageClassification, CLIPConfig, CLIPForImageClassification

    if folder := folder_of(base):
        try:
            model, told = AutoModelForImageClassification.from_pretrained(
                folder,
                **hf_classifier.AS_IT_LIES,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **_LABELS,
            )
        except Exception as error:
            raise _no_base(folder, "a picture classifier", error) from error
        last = hf_classifier.last_layer_of(model)
        _check_told(model, told, folder, last)
        model.get_submodule(last).reset_parameters()  # it may tell two labels already, and in another order
        return model, _processor(folder)
    tower = clip_tower()
    model = CLIPForImageClassification(CLIPConfig(vision_config=tower.config.to_dict(), **_LABELS))
    model.vision_model = tower
    return model, _clip_processor()


def fusion(base: str) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """CLIP's image tower with a branch for the spectrum; everything but the tower is untaught."""
    hf_classifier.transformers()
    import torch
    from transformers import CLIPVisionModel

    from deepfake_detector.encoders._spectrum import SpectrumFusion, SpectrumFusionConfig

    if folder := folder_of(base):
        try:
            tower, told = CLIPVisionModel.from_pretrained(
                folder, **hf_classifier.AS_IT_LIES, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise _no_base(folder, "CLIP's image tower", error) from error
        _check_told(tower, told, folder)
        processor = _processor(folder)
        if not (processor.image_mean and processor.image_std):
            raise WeightsUnavailable(
                f"--base: {folder / hf_classifier.PREPROCESSING} should have image_mean and image_std, by which the spectrum's branch "
                "finds the colours again; it lacks one. Put in those that the model was trained with."
            )
    else:
        tower, processor = clip_tower(), _clip_processor()
    model = SpectrumFusion(
        SpectrumFusionConfig(
            vision_config=tower.config.to_dict(), mean=list(processor.image_mean), deviation=list(processor.image_std), **_LABELS
        )
    )
    model.vision_model = tower
    return model, processor


def clip_tower() -> CLIPVisionModel:
    """The image tower of clip_vit_b16, which needs no hub, as transformers has it: the same numbers under other names."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    ours = ClipEncoder().tower()
    blocks = ours.transformer.resblocks
    width, _, patch, _ = ours.conv1.weight.shape
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=blocks[0].mlp.c_fc.out_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads,
        image_size=224,
        patch_size=patch,
        hidden_act="quick_gelu",
    )
    theirs = CLIPVisionModel(config)
    theirs.load_state_dict(_renamed(ours.state_dict()), strict=True)
    return theirs.eval()


def _renamed(ours: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's names → transformers': the tower without its projection; queries, keys and values apart."""
    names = {
        "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight",
        "conv1.weight": "embeddings.patch_embedding.weight",
    }
    parts = {
        "ln_pre": "pre_layrnorm",
        "ln_post": "post_layernorm",
        "transformer.resblocks": "encoder.layers",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    theirs = {}
    for name, tensor in ours.items():
        if name == "proj":
            continue
        new = names.get(name, name)
        for old, other in parts.items():
            new = new.replace(old, other)
        if "attn.in_proj_" in new:
            for part, share in zip("qkv", tensor.chunk(3), strict=True):
                theirs[new.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = share
        else:
            theirs[new] = tensor
    return theirs


def _clip_processor() -> BaseImageProcessor:
    """CLIP's colours; the whole picture to 224×224, so that nothing of a face is cut off."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"height": 224, "width": 224}, do_center_crop=False)


def _processor(folder: Path) -> BaseImageProcessor:
    return hf_classifier.Encoder(weights=str(folder)).processor()


def _no_base(folder: Path, what: str, error: Exception) -> WeightsUnavailable:
    return WeightsUnavailable(f"--base: transformers can't build {what} from {folder} ({kind_and_words(error)}).")


def _check_told(model: PreTrainedModel, told: dict, folder: Path, untaught: str = "-") -> None:
    """Raise WeightsUnavailable where more than the last layer is not in the file, and would begin as noise."""
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(untaught))
    missing += [key[0] for key in told["mismatched_keys"] if not key[0].startswith(untaught)]
    if missing:
        raise WeightsUnavailable(
            f"--base: {folder} lacks {len(missing)} weights of {type(model).__name__} (the first: {missing[0]}). Give a model of this "
            "kind, as transformers' save_pretrained writes it."
        )
