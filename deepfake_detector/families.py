"""From a generator's name in a table to its family, and to the model line within it: one list of names.

A family is what a generator paints with, since that leaves the traces: a network trained against a critic (GAN), a decoder of
latents behind a diffusion, the diffusion itself (pixel), a decoder of tokens that were foretold step by step (autoregressive), or a
face put into a photograph (face swap). Generators of one line (StyleGAN 1 to 3, Stable Diffusion 1 and 2) share so much that who has
learnt from the one has seen the other: what is to count as unseen leaves out the line.

Not listed, and so without a family: those whose kind is not published (Midjourney, Firefly, GPT image, Ideogram), is none of the five
(Face2Face and NeuralTextures move a face but swap none; CRN, IMLE, SAN, SITD), or is two at once (DALL·E 3 decodes latents by a
diffusion; OpenForensics puts a GAN's faces into photographs), and names that say too little (`dalle`, `diffusion`, `fake`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GAN, LATENT, PIXEL, TOKENS, SWAP = "GAN", "latent diffusion", "pixel diffusion", "autoregressive", "face swap"
KNOWN_BY = {GAN: "StyleGAN", LATENT: "Stable Diffusion", PIXEL: "DALL·E 2", TOKENS: "Janus", SWAP: "DeepFaceLab"}  # one of each

# Family → line → names, as a pattern of whole words of `_words(name)`; of a family's lines the first that fits counts.
_NAMES = {
    GAN: {
        "GAN": "^gan$",
        "ProGAN": "pro_?gan|pg_?gan|progressive_?gan",
        "StyleGAN": r"style_?gan(_?\d)?(_?(ada|xl|t|r))?|whichfaceisreal|thispersondoesnotexist",
        "BigGAN": "big_?gan",
        "CycleGAN": "cycle_?gan",
        "StarGAN": r"star_?gan(_?v?\d)?",
        "GauGAN": r"gau_?gan(_?\d)?|spade",
        "ProjectedGAN": "projected_?gan",
        "GigaGAN": "giga_?gan",
        "AttGAN": "att_?gan",
        "BEGAN": "be_?gan",
        "CramerGAN": "cramer_?gan",
        "DCGAN": "dc_?gan",
        "InfoMaxGAN": "info_?max_?gan",
        "MMDGAN": "mmd_?gan",
        "RelGAN": "rel_?gan",
        "S3GAN": "s3_?gan",
        "SNGAN": "sn_?gan",
        "STGAN": "st_?gan",
        "WGAN": "wgan(_?gp)?",
        "GANformer": "gans?former",
        "repainted": "repainted",  # by a small GAN that is learnt on the photographs (see repaint.py)
    },
    LATENT: {
        # GLID-3-XL is the LDM's text-to-image network, trained on.
        "LDM": "ldm|latent_?diffusion|glid_?3",
        # SD-Turbo is a Stable Diffusion 2; the LCMs are made of 1 and XL.
        "Stable Diffusion 1 and 2": r"sd(?!_?xl|_?v?3)(_?v?\d+)?|stable_?diffusion(?!_?xl|_?v?_?3)(_?v?\d+)?",
        "Stable Diffusion XL": r"sd_?xl(_?\d+)?|stable_?diffusion_?xl",
        "Stable Diffusion 3": r"(sd|stable_?diffusion)_?v?_?3(_?5)?",
        "LCM": "lcm",
        "FLUX": r"flux(_?\d)?(_?(dev|schnell|pro))?",
        "Stable Cascade": "stable_?cascade|wuerstchen",
        "Kandinsky": r"kandinsky(_?[23])?",
        "PixArt": "pixart(_?(alpha|sigma|delta))?",
        "Playground": r"playground_?v?_?2",
        "Kolors": "kolors",
        "DiT": "dit",
        "HunyuanDiT": "hunyuan_?dit",
        "AuraFlow": "aura_?flow",
        "Sana": "sana",
        "Qwen-Image": "qwen_?image",
        "CogView 3 and 4": "cogview_?[34]",
        "Imagen 3": "imagen_?3",
        "VQ-Diffusion": "vqdm|vq_?diffusion",
        "Wukong": "wukong",
        # A reconstruction carries the decoder's traces, which is what a latent diffusion picture carries too (Rajan et al., ICLR
        # 2025), and the autoencoders that the data set `aligned` takes are those of latent diffusion models.
        "TAESD": r"tae(sd|f)\w*",
        "autoencoder": "recon(struction)?s?",
    },
    PIXEL: {
        "ADM": "adm|guided(_?diffusion)?",
        "DDPM": "i?ddpm|pndm",
        "GLIDE": "glide",
        "DeepFloyd IF": "deep_?floyd|if_i{1,2}|^if$",
        "DALL·E 2": "dall_?e_?2",
        "Karlo": "karlo",
        "Imagen": "imagen(?!_?[2-9])",
        "eDiff-I": "ediff_?i",
    },
    TOKENS: {
        "DALL·E 1": "dall_?e_?1",
        "DALL·E mini": "dall_?e_?mini|mini_?dall_?e|craiyon",
        "Taming Transformers": "taming(_?transformers?)?",
        "Parti": "parti",
        "CogView": "cogview(?!_?[34])(_?[12])?",
        "VAR": r"var(_?d\d+)?",
        "LlamaGen": "llama_?gen",
        "Janus": "janus(_?pro)?",
        "Emu3": "emu_?3",
        # They foretell sets of tokens in place of single ones (Li et al., NeurIPS 2024, place them so).
        "MaskGIT": "mask_?git",
        "Muse": "muse",
        "aMUSEd": "amused",
    },
    SWAP: {
        "Deepfakes": "^deepfakes?$",
        "FaceSwap": "face_?swap",
        "FaceShifter": "face_?shifter",
        "DeepFakeDetection": "deep_?fake_?detection|dfd",
        "Celeb-DF": r"celeb_?synthesis|celeb_?df(_?v?\d)?",
        "DFDC": "dfdcp?",
        "DeepFaceLab": "deep_?face_?lab",
        "FSGAN": "fs_?gan",
        "SimSwap": "sim_?swap",
        "inswapper": r"in_?swapper(_?\d+)?|roop",
        # The seam of a face swap, made without one (Shiohara & Yamasaki, CVPR 2022).
        "self-blended": "self_?blend(ed)?",
    },
}
FAMILIES = tuple(_NAMES)
_PATTERNS = [(family, line, re.compile(rf"(?:^|_)(?:{names})(?:_|$)")) for family, lines in _NAMES.items() for line, names in lines.items()]


@dataclass(frozen=True)
class Line:
    """A family, and the model line within it."""

    family: str
    name: str


def line_of(generator: str) -> Line | None:
    """The line of a generator by its name, in whatever spelling; None for one that is not known, or whose name says two families."""
    found = _lines(generator)
    return found[0] if len({line.family for line in found}) == 1 else None


def unseen_with(generator: str) -> str:
    """What has to be left out as a whole for this generator to count as unseen: the line's name or, of one not known, its own.

    A photograph rebuilt has seen the autoencoder, whatever else its name tells (of a decoder learnt anew, say).
    """
    line = line_of(generator)
    if not line and is_remade(generator):
        line = next((one for one in _lines(generator) if one.family == LATENT), None)
    return line.name if line else generator


def is_remade(generator: str) -> bool:
    """Whether its fakes are real pictures remade to learn from (rebuilt, repainted, self-blended), which nobody passes off as others."""
    words = _words(generator)
    return any(pattern.search(words) for _, line, pattern in _PATTERNS if line in ("autoencoder", "self-blended", "repainted"))


def is_repainted(generator: str) -> bool:
    """Whether its fakes are photographs painted anew by a GAN (see repaint.py)."""
    line = line_of(generator)
    return line is not None and line.name == "repainted"


def _lines(generator: str) -> list[Line]:
    words = _words(generator)
    return [Line(family, line) for family, line, pattern in _PATTERNS if pattern.search(words)]


def _words(generator: str) -> str:
    """`stabilityai/stable-diffusion-2-1` → `stabilityai_stable_diffusion_2_1`."""
    return re.sub(r"[^a-z0-9]+", "_", generator.lower()).strip("_")
