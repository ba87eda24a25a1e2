"""A photograph through an autoencoder and back: the traces of a latent diffusion model's decoder on the same content.

Rajan et al., *Aligned Datasets Improve Detection of Latent Diffusion-Generated Images*, ICLR 2025.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from deepfake_detector import redecode, redraw, taesd
from deepfake_detector.devices import pick_device
from deepfake_detector.errors import DatasetError, DetectorError, WeightsUnavailable
from deepfake_detector.photograph_parts import MOST, random_parts
from deepfake_detector.torch_compat import import_torchvision
from deepfake_detector.weights import fetch, file_sha256

log = logging.getLogger(__name__)

_CLASSES = ("AutoencoderKL", "AutoencoderTiny")
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_ACCEPTED = (
    f"a folder of diffusers' with {_CONFIG} and {_WEIGHTS}, the TAESD project's NAME_encoder.pth beside NAME_decoder.pth "
    "(either file, or their folder), or a model of the hub as OWNER/NAME or OWNER/NAME/vae"
)


class Autoencoder:
    """An encoder and a decoder that only load when a picture is first reconstructed.

    `sha256` stands for everything that decides what is made; the sides of a picture must be multiples of `factor` pixels.
    """

    def __init__(
        self,
        name: str,
        sha256: str,
        factor: int,
        load: Callable[[], nn.Sequential],
        between: Callable[[torch.Tensor, int], torch.Tensor] | None = None,
    ):
        """`load` gives encoder and decoder; `between` may change (latents, seed) before they are decoded."""
        self.name = re.sub(r"[^\w.-]+", "_", name)
        self.sha256 = sha256
        self.factor = factor
        self._load, self._between = load, between
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _network(self) -> tuple[nn.Sequential, str]:
        """Encoder and decoder, (1, 3, h, w) in 0..1 → latents → about the same, and the device that they are on."""
        device = pick_device("auto")
        # As pictures come, so that convolutions on a CPU need not reorder.
        network = self._load().to(device, torch.float32, memory_format=torch.channels_last)
        return network.eval().requires_grad_(False), device

    def reconstruct(self, picture: Image.Image, seed: int = 0) -> Image.Image:
        """RGB picture → another of its size, the seed for what may be drawn; from any thread.

        Raises WeightsUnavailable, or DetectorError for want of memory.
        """
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]  # (1, 3, h, w)
        try:
            with self._one_at_a_time, torch.inference_mode():
                (encoder, decoder), device = self._network
                latents = encoder(pixels.to(device) / 255)
                made = decoder(self._between(latents, seed) if self._between else latents)
                if made.shape != pixels.shape or not made.isfinite().all():
                    raise WeightsUnavailable(
                        f"The autoencoder {self.name} makes {tuple(made.shape)} of {tuple(pixels.shape)} or has numbers that are none; "
                        "its weights are damaged or of another kind. Fetch them again."
                    )
                levels = (made.clamp(0, 1) * 255).round().byte()
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):  # the latter of a CPU
                raise
            raise DetectorError(
                f"Too little memory to put {picture.width} x {picture.height} pixels through {self.name}; choose a smaller --max-side."
            ) from error
        return Image.fromarray(levels[0].permute(1, 2, 0).cpu().numpy())

    def with_learnt_decoder(self, folder: Path, photographs: Sequence[Callable[[], Image.Image | None]]) -> Autoencoder:
        """The same encoder with a decoder that upsamples in another way (see redecode.py).

        It is kept in the folder, and learnt on the photographs (each called for, None where unusable) if it is not there yet.
        Raises DatasetError where there are too few, or where this is no autoencoder of the TAESD project's.
        """
        name = f"{self.name}_stylegan2"
        kept = folder / f"{name}-{_hash([self.sha256, redecode.RECIPE])[:12]}.safetensors"
        if not kept.is_file():
            network = self._load()
            if isinstance(network[0], _DiffusersEncoder):
                raise DatasetError(f"{self.name} is diffusers'; another decoder can be learnt for the TAESD project's .pth files only.")
            log.info("learning a decoder for %s on up to %d photographs, once; minutes", self.name, MOST)
            redecode.learn(network, photographs, kept, pick_device("auto"))
        sha256 = _hash([self.sha256, file_sha256(kept)])
        return Autoencoder(name, sha256, self.factor, lambda: redecode.redecoded(self._load(), kept))

    def with_redrawn_latents(self, folder: Path, photographs: Sequence[Callable[[], Image.Image | None]]) -> Autoencoder:
        """The same, but what it decodes has its detail drawn anew (see redraw.py); arguments as for with_learnt_decoder."""
        name = f"{self.name}_redrawn"
        kept = folder / f"{name}-{_hash([self.sha256, redraw.RECIPE])[:12]}.safetensors"
        if not kept.is_file():
            parts = random_parts(photographs, "what latents look like", "reconstruct without --redraw")
            log.info("learning what the latents of %s look like on %d photographs, once", self.name, len(parts))
            (encoder, _), device = self._network
            with torch.inference_mode():
                redraw.learn((encoder(part.to(device) / 255) for part in parts), kept)
        sha256 = _hash([self.sha256, redraw.RECIPE, file_sha256(kept)])
        return Autoencoder(name, sha256, self.factor, self._load, redraw.redrawing(kept))


def find(place: str) -> Autoencoder:
    """The autoencoder in a folder, in a file or on the model hub; raises WeightsUnavailable."""
    path = Path(place).expanduser()
    if path.is_file() or (path.is_dir() and any(path.glob("*_encoder.pth"))):
        return _from_taesd(path)
    if path.is_dir():
        return _from_diffusers(path, _named(path.resolve().parts))
    owner, name, *below = place.split("/") if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", place) else ("", "")
    if not owner:
        raise WeightsUnavailable(f"There is no autoencoder {place!r}; expected {_ACCEPTED}.")
    try:
        files = [fetch(f"{owner}/{name}", "/".join([*below, file])) for file in (_CONFIG, _WEIGHTS)]
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"There is no folder {place!r}, and on the hub: {error} Expected {_ACCEPTED}.") from error
    return _from_diffusers(files[0].parent, _named((name, *below)))


def _named(parts: tuple[str, ...]) -> str:
    """The last of them, but for `vae`, which is what every pipeline calls its own."""
    return next((part for part in reversed(parts) if part != "vae"), "vae")


def _from_taesd(path: Path) -> Autoencoder:
    encoders = sorted(path.glob("*_encoder.pth")) if path.is_dir() else [path]
    name = re.fullmatch(r"(.+)_(?:en|de)coder\.pth", encoders[0].name)
    if len(encoders) > 1 or not name:
        raise WeightsUnavailable(f"Expected {_ACCEPTED}; found {', '.join(file.name for file in encoders)}. Point to one of them.")
    pair = [encoders[0].with_name(f"{name[1]}_{part}.pth") for part in ("encoder", "decoder")]
    missing = [file for file in pair if not file.is_file()]
    if missing:
        raise WeightsUnavailable(f"Expected {missing[0]} beside its other half; it is missing. Fetch it, too.")
    return Autoencoder(name[1], _hash(map(file_sha256, pair)), taesd.FACTOR, partial(taesd.load, *pair))


def _from_diffusers(folder: Path, name: str) -> Autoencoder:
    missing = [file for file in (_CONFIG, _WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise WeightsUnavailable(f"There is no {missing[0]} in {folder}; expected {_ACCEPTED}.")
    text = (folder / _CONFIG).read_bytes()
    try:
        config = json.loads(text)
        kind, factor = config["_class_name"], 2 ** (len(config.get("block_out_channels") or config["decoder_block_out_channels"]) - 1)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsUnavailable(f"{folder / _CONFIG} does not describe an autoencoder of diffusers' ({error!r}).") from error
    if kind not in _CLASSES:
        raise WeightsUnavailable(f"{folder / _CONFIG} describes a {kind}; expected {' or '.join(_CLASSES)}. A pipeline has one in vae/.")
    sha256 = _hash([hashlib.sha256(text).hexdigest(), file_sha256(folder / _WEIGHTS)])
    return Autoencoder(name, sha256, factor, partial(_load_diffusers, folder, kind))


def _hash(parts: Any) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def _load_diffusers(folder: Path, kind: str) -> nn.Sequential:
    try:
        import_torchvision()
        import diffusers
    except ImportError as error:
        raise WeightsUnavailable(
            f"{folder} is for diffusers, which is not installed ({error}); run: pip install -r requirements-data.txt"
        ) from error
    diffusers.logging.set_verbosity_error()  # it warns of what its own files hold; what matters is raised below
    try:
        model, info = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True
        )
    except Exception as error:  # diffusers, safetensors and torch each raise their own
        said = " ".join(str(error).split())[:200]
        raise WeightsUnavailable(f"{folder} can't be loaded as {kind} ({said}). Fetch it again or point to another.") from error
    if info["missing_keys"]:  # diffusers would go on with random numbers in their place
        first = ", ".join(sorted(info["missing_keys"])[:3])
        raise WeightsUnavailable(
            f"{folder / _WEIGHTS} lacks {len(info['missing_keys'])} tensors of its {_CONFIG} ({first} …). Fetch both again."
        )
    return nn.Sequential(_DiffusersEncoder(model), _DiffusersDecoder(model))


class _DiffusersEncoder(nn.Module):
    """diffusers' models take and give -1..1; of a distribution over latents the mode is taken, so nothing is drawn."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        encoded = self.model.encode(2 * pixels - 1)
        return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents


class _DiffusersDecoder(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return (self.model.decode(latents).sample + 1) / 2
