"""A picture classifier in Hugging Face's format, by finetune.py or by others: the numbers that its last layer reads of a picture.

Its last layer is a head like any other (see adopt.py), and another head may be trained in its place.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake_detector import weights
from deepfake_detector.devices import at_a_time, keep_freed_memory, pick_device
from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.errors import WeightsUnavailable, kind_and_words
from deepfake_detector.once import Once
from deepfake_detector.types import EncoderSpec, Looked

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

FILES = CONFIG, PREPROCESSING, WEIGHTS = ("config.json", "preprocessor_config.json", "model.safetensors")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN = ((64, 48), (48, 96))  # sizes of pictures by which it is seen whether all inputs have one shape
_ADAPTER = "adapter_config.json"
# What of transformers reads a folder: nothing is fetched, and no code that lies in it is run, nor is it asked whether to.
AS_IT_LIES = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class LastLayer:
    """(labels, dim) weights and (labels,) offsets, with the labels' own words; `apart` where each label has a probability of its own."""

    weight: np.ndarray
    offset: np.ndarray
    words: list[str]
    apart: bool = False

    def lead(self, label: int) -> tuple[np.ndarray, float]:
        """(dim,) weights and offset of the log-odds of one of two labels."""
        if self.apart:
            return self.weight[label], float(self.offset[label])
        weight, offset = (values[label] - values[1 - label] for values in (self.weight, self.offset))
        return weight, float(offset)


class Encoder(PictureEncoder):
    """`weights` is a folder with config.json, preprocessor_config.json and model.safetensors, a model that holds one, or OWNER/NAME on the
    Hugging Face hub. The classifier's own preprocessing is kept to, and is part of the spec.
    """

    def __init__(self, device: str = "auto", weights: str | None = None):
        super().__init__(device, weights)
        self.processor = Once(self._load_processor)  # its own preprocessing, as transformers has it
        self._loaded = Once(self._load)

    @cached_property
    def folder(self) -> Path:
        """Where its three files are; raises WeightsUnavailable."""
        if not self.weights:
            raise WeightsUnavailable(
                "hf_classifier: no classifier was given. Point to a folder that transformers' save_pretrained made, or to OWNER/NAME on "
                "the hub, with --weights."
            )
        folder = Path(self.weights).expanduser()
        if folder.is_dir():
            inner = folder / "encoder"  # in a model that finetune.py made
            folder = inner if (inner / CONFIG).is_file() else folder
            if missing := [name for name in FILES if not (folder / name).is_file()]:
                raise WeightsUnavailable(
                    f"hf_classifier: {folder} should hold {', '.join(FILES)}, as transformers' save_pretrained writes them for a model and "
                    f"its image processor; it lacks {', '.join(missing)}."
                )
            return _without_adapter(folder)
        if not _HUB_NAME.fullmatch(self.weights):
            raise WeightsUnavailable(f"hf_classifier: there is no folder {folder}, and a model on the hub is named as OWNER/NAME.")
        try:
            for _ in range(2):  # where the hub has moved on since one of them was fetched, all are fetched of what it has now
                folders = {weights.fetch(self.weights, name).parent for name in FILES}
                if len(folders) == 1:
                    return _without_adapter(folders.pop())
            raise WeightsUnavailable(f"the files of {self.weights} change while they are fetched.")
        except WeightsUnavailable as error:
            raise WeightsUnavailable(
                f"hf_classifier: {error} Try again when the hub can be reached, or point to a folder that holds {', '.join(FILES)}."
            ) from error

    @property
    def architecture(self) -> str:
        """As its config.json names it; raises WeightsUnavailable."""
        file = self.folder / CONFIG
        try:
            return json.loads(file.read_text())["architectures"][0]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise WeightsUnavailable(f"hf_classifier: {file} is not as transformers writes it ({kind_and_words(error)}).") from error

    @cached_property
    def spec(self) -> EncoderSpec:
        shape, dim = self.shape(), self._dim()
        return EncoderSpec(
            name="hf_classifier",
            architecture=self.architecture,
            weights=self.content,
            layers="what the last layer reads",
            pixels=shape[-1],
            preprocessing=f"its own, sha256:{weights.file_sha256(self.folder / PREPROCESSING)}",
            normalised=False,
            dim=dim,
        )

    @property
    def content(self) -> str:
        """What tells its weights from others."""
        model, config = (weights.file_sha256(self.folder / name) for name in (WEIGHTS, CONFIG))
        return f"sha256:{model}; config sha256:{config}"

    def prepare(self, picture: Image) -> np.ndarray:
        """RGB picture → (3, height, width) float32, as the classifier's own preprocessing gives it."""
        return np.asarray(self.processor()(images=picture, return_tensors="np")["pixel_values"][0], np.float32)

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 3, height, width) float32 → (n, dim) float32."""
        import torch

        model, device = self._loaded()
        rows = []
        with torch.inference_mode():
            for part in at_a_time(prepared, device):
                try:
                    logits = model(torch.from_numpy(np.ascontiguousarray(part)).to(device)).logits
                except (ValueError, RuntimeError) as error:
                    if isinstance(error, torch.OutOfMemoryError):
                        raise
                    raise WeightsUnavailable(
                        f"hf_classifier: the model in {self.folder} can't take what its preprocessing gives, {part.shape[1:]} "
                        f"({kind_and_words(error)})."
                    ) from error
                rows.append(logits.float().cpu().numpy())
        return np.concatenate(rows)

    def looked_at(self, picture: Image) -> Looked | None:
        """By attention rollout; None for a model, or a preprocessing, of which it can't be told (see _rollout.py)."""
        import torch

        from deepfake_detector.encoders._rollout import rollout, seen

        model, device = self._loaded()
        with torch.inference_mode():
            try:
                told = model(torch.from_numpy(self.prepare(picture))[None].to(device), output_attentions=True).attentions
            except (TypeError, ValueError, AttributeError):  # nothing of attention in it
                return None
        shares = rollout(told, model)
        box = seen(self.prepare, picture.size) if shares is not None else None
        return Looked(box, shares) if box else None

    def last_layer(self) -> LastLayer:
        """The layer that is left to a head; raises WeightsUnavailable."""
        model = load_classifier(self.folder)
        layer, kind = model.get_submodule(last_layer_of(model)), getattr(model.config, "problem_type", None)
        if kind == "regression":
            raise WeightsUnavailable(f"hf_classifier: {self.folder} estimates numbers (its problem_type is {kind}), and tells no labels.")
        words = model.config.id2label
        offset = np.zeros(len(words)) if layer.bias is None else layer.bias.detach().numpy()
        apart = kind == "multi_label_classification"
        return LastLayer(layer.weight.detach().numpy(), offset, [str(words[i]) for i in range(len(words))], apart)

    def _load(self) -> tuple[torch.nn.Module, str]:
        import torch

        device = pick_device(self.device)
        if device == "cpu":
            keep_freed_memory()
        model = load_classifier(self.folder)
        model.set_submodule(last_layer_of(model), torch.nn.Identity())  # so that what it calls logits is what that layer read
        return model.eval().requires_grad_(False).to(device), device

    def _load_processor(self):
        transformers()
        from transformers import AutoImageProcessor

        try:
            return AutoImageProcessor.from_pretrained(self.folder, **AS_IT_LIES)
        except Exception as error:  # of the many kinds that a file not written by transformers leads to
            raise WeightsUnavailable(
                f"hf_classifier: {self.folder / PREPROCESSING} is no image processor that transformers knows ({kind_and_words(error)})."
            ) from error

    def shape(self) -> tuple[int, int, int]:
        """(3, height, width) of what `prepare` gives, the same for all pictures; raises WeightsUnavailable where it is not."""
        from PIL import Image

        try:
            shapes = [self.prepare(Image.new("RGB", size)).shape for size in _SHOWN]
        except Exception as error:  # of the many kinds that odd settings lead to
            raise WeightsUnavailable(f"hf_classifier: {self.folder / PREPROCESSING} can't be gone by ({kind_and_words(error)}).") from error
        if len(set(shapes)) > 1 or len(shapes[0]) != 3 or shapes[0][0] != 3:
            raise WeightsUnavailable(
                f"hf_classifier: {self.folder / PREPROCESSING} should bring all pictures to one size, in three colours; it gives "
                f"{shapes[0]} of one and {shapes[1]} of another. Set its size, or its centre crop, as the classifier was trained."
            )
        return shapes[0]

    def _dim(self) -> int:
        import torch

        transformers()
        from transformers import AutoConfig, AutoModelForImageClassification

        try:
            with torch.device("meta"):  # its form alone
                model = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(self.folder, **AS_IT_LIES))
        except Exception as error:
            raise _no_classifier(self.folder, error) from error
        return model.get_submodule(last_layer_of(model)).in_features


def load_classifier(folder: Path) -> torch.nn.Module:
    """The classifier as transformers builds it, in float32, on the CPU; raises WeightsUnavailable if not every weight is there."""
    import torch

    transformers()
    from transformers import AutoModelForImageClassification

    try:
        model, told = AutoModelForImageClassification.from_pretrained(
            folder,
            **AS_IT_LIES,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="eager",  # the one that can tell of its attention
            ignore_mismatched_sizes=True,  # told of below, in plainer words
            output_loading_info=True,
        )
    except Exception as error:
        raise _no_classifier(folder, error) from error
    if missing := sorted([*told["missing_keys"], *(key[0] for key in told["mismatched_keys"])]):
        # transformers draws them at random, which gives answers that mean nothing.
        raise WeightsUnavailable(
            f"hf_classifier: {folder / WEIGHTS} lacks {len(missing)} weights of this {type(model).__name__} (the first: {missing[0]}). "
            "It has to be a classifier that was trained, not a model to be tuned into one: for that is finetune.py --base."
        )
    return model.eval()


def last_layer_of(model: torch.nn.Module) -> str:
    """The name of the one linear layer that gives a number for each label; raises WeightsUnavailable where there is none, or several."""
    import torch

    labels = model.config.num_labels
    found = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and layer.out_features == labels]
    if len(found) != 1:
        raise WeightsUnavailable(
            f"hf_classifier: {type(model).__name__} should end in one linear layer of {labels} labels; it has {len(found)} of them. "
            "Such a classifier can be measured all the same: write its scores into a CSV, for evaluate.py --scores."
        )
    return found[0]


def transformers() -> None:
    """Make the library ready to import; raises WeightsUnavailable where it is not installed."""
    from deepfake_detector.torch_compat import import_torchvision

    import_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise WeightsUnavailable(
            f"Classifiers in Hugging Face's format are for transformers, which is not installed ({error}): "
            "pip install -r requirements-tune.txt"
        ) from error
    from deepfake_detector.encoders import _spectrum

    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    _spectrum.register()


def _without_adapter(folder: Path) -> Path:
    """The folder; raises WeightsUnavailable where transformers would change the model by an adapter that lies beside it."""
    if (folder / _ADAPTER).exists():
        raise WeightsUnavailable(
            f"hf_classifier: {folder} holds an adapter ({_ADAPTER}), which would go with the model unsaid. Merge the two (peft's "
            "merge_and_unload, then save_pretrained), or take the adapter away."
        )
    return folder


def _no_classifier(folder: Path, error: Exception) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"hf_classifier: transformers can't build a picture classifier from {folder} ({kind_and_words(error)}). Code that a model brings "
        "along is never run."
    )
