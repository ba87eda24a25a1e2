"""What the CLIP encoders share: the image tower of an open_clip model and its preprocessing."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from deepfake_detector.devices import at_a_time, keep_freed_memory, pick_device
from deepfake_detector.encoders import PictureEncoder
from deepfake_detector.errors import WeightsUnavailable
from deepfake_detector.types import EncoderSpec
from deepfake_detector.windows import PIXELS

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image as Picture

PREPROCESSING = "shorter side to 224 (bicubic), centre 224x224, OpenAI mean and deviation"
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class OpenClipTower(PictureEncoder):
    """An image tower: the projected, L2-normalised embedding, unless a subclass reads something else off.

    A subclass names its `architecture` and says where its weights are; with `bfloat16` the blocks' products are computed in that
    type, which shows in the spec.
    """

    architecture: str
    bfloat16 = False

    def projected_spec(self, weights: str, dim: int) -> EncoderSpec:
        """The spec of what `read` gives, under the name of the subclass's file; `weights` names them by content."""
        return EncoderSpec(
            name=type(self).__module__.rpartition(".")[2],
            architecture=f"{self.architecture}, blocks in bfloat16" if self.bfloat16 else self.architecture,
            weights=weights,
            layers="projection",
            pixels=PIXELS,
            preprocessing=PREPROCESSING,
            normalised=True,
            dim=dim,
        )

    def weights_file(self) -> Path:
        """The local file to load, fetched if need be; raises WeightsUnavailable."""
        raise NotImplementedError

    def tower(self) -> torch.nn.Module:
        """The image tower with its weights, as open_clip builds it."""
        return load_tower(self.architecture, self.weights_file())

    def read(self, tower: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) normalised input → (n, dim)."""
        import torch

        return torch.nn.functional.normalize(tower(batch).float(), dim=-1)

    def prepare(self, picture: Picture) -> np.ndarray:
        """RGB picture → (3, 224, 224) uint8; the same pixels as open_clip's own transform, without needing torch."""
        width, height = picture.size
        if width <= height:
            width, height = PIXELS, int(PIXELS * height / width)
        else:
            width, height = int(PIXELS * width / height), PIXELS
        left, top = round((width - PIXELS) / 2), round((height - PIXELS) / 2)
        small = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(small.crop((left, top, left + PIXELS, top + PIXELS))).transpose(2, 0, 1)

    def encode(self, prepared: np.ndarray) -> np.ndarray:
        """(n, 3, 224, 224) uint8 → (n, dim) float32."""
        import torch

        tower, device = self.load()
        with torch.inference_mode():
            return np.concatenate([self.forward(tower, device, part).cpu().numpy() for part in at_a_time(prepared, device)])

    def forward(self, tower: torch.nn.Module, device: str, prepared: np.ndarray) -> torch.Tensor:
        """(n, 3, 224, 224) uint8 → (n, dim) float32 on the device, through which gradients flow where they are asked for."""
        import torch

        # As the spec says and no other: a device that computed in half precision unasked would share a cache with those that do not.
        batch = torch.from_numpy(np.ascontiguousarray(prepared)).to(device).float().div_(255)
        batch = (batch - batch.new_tensor(_MEAN).view(3, 1, 1)) / batch.new_tensor(_DEVIATION).view(3, 1, 1)
        return self.read(tower, batch).float()

    def load(self) -> tuple[torch.nn.Module, str]:
        """The tower in evaluation mode on its device, loaded once for all who read it, even when several threads ask at the same time."""
        with _LOADING:
            if not hasattr(self, "_tower"):
                from deepfake_detector.encoders._blocks import lean

                device = pick_device(self.device)
                if device == "cpu":
                    keep_freed_memory()
                identity = (self.spec.architecture, self.spec.weights, device)
                tower = _LOADED.get(identity) or lean(self.tower(), self.bfloat16).to(device)
                _LOADED[identity] = tower
                self._tower = (tower, device)
            return self._tower


_LOADING = threading.Lock()
_LOADED: WeakValueDictionary[tuple[str, str, str], torch.nn.Module] = WeakValueDictionary()


def load_tower(architecture: str, weights: Path) -> torch.nn.Module:
    """The image tower of an open_clip architecture with weights from a file (of the tower, or of the whole CLIP)."""
    from deepfake_detector.torch_compat import import_open_clip, undrawn

    open_clip = import_open_clip()
    logging.disable(logging.WARNING)  # open_clip warns of random weights, which the file is about to replace
    try:
        with undrawn():
            tower = open_clip.create_model(architecture, load_weights=False).visual
    finally:
        logging.disable(logging.NOTSET)
    try:
        state = open_clip.factory.load_state_dict(str(weights), device="cpu")
    except Exception as error:  # safetensors, pickle and zip readers each raise their own
        raise WeightsUnavailable(f"{weights} is not a readable weights file ({error}). Fetch it again or point to another.") from error
    state = {name.removeprefix("visual."): tensor.float() for name, tensor in state.items() if name.startswith("visual.")}
    wanted = tower.state_dict()
    wrong = [n for n in wanted if n not in state or state[n].shape != wanted[n].shape]
    if wrong or len(state) != len(wanted):
        raise WeightsUnavailable(
            f"{weights} does not fit {architecture}: expected {len(wanted)} image-tower tensors named visual.…, found {len(state)}, "
            f"{len(wrong)} missing or of another shape (the first: {', '.join(wrong[:3]) or 'none'}). Point to a file of this architecture."
        )
    tower.load_state_dict(state, assign=True)
    return tower.eval().requires_grad_(False)
