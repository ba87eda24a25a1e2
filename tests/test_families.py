"""Every name that a data set gives its fakes has the family that its generator is of, or none."""

from __future__ import annotations

import json

import pytest

from deepfake_detector import registry
from deepfake_detector.families import FAMILIES, GAN, LATENT, PIXEL, SWAP, TOKENS, is_remade, line_of, unseen_with
from deepfake_detector.types import FAKE
from tests.elsa import MODELS
from tests.test_layouts import lay_out

NAMES = {
    GAN: """
        progan cyclegan biggan stylegan stylegan2 gaugan stargan whichfaceisreal StyleGAN3-r StyleGAN-XL stylegan2_ada
        style_gan1 StarGANv2 imagenet_ai_0419_biggan BigGAN diff-projectedgan pro_gan AttGAN SPADE gan gansformer
    """,
    LATENT: """
        glid3_xl_ldm latent_diffusion_ldm sd21 sdxl stable_diffusion_v1_beta flux2_vae_recon stable_diffusion_v_1_4
        stable_diffusion_v_1_5 imagenet_ai_0419_sdv4 VQDM wukong Wukong ldm_200_cfg stable-diffusion-v1-4
        stable-diffusion-2-1-base stable-diffusion-xl-base-1.0 SDv1.5 sd-turbo sdxl-turbo sd15 SD-3.5-large
        stable-diffusion-3-medium sd3 lcm-lora-sdv1-5 ldm-text2im-large-256 FLUX.1-dev flux_2 flux1schnell
        sd-vae-ft-mse_recon taesd_recon taef2_recon my_autoencoder_recon stable-diffusion-2-1_recon DiT-XL-2
        PixArt-alpha imagen3 cogview4
    """,
    PIXEL: """
        ADM adm imagenet_ai_0508_adm glide imagenet_glide GLIDE glide_100_27 guided IF-II-L-v1.0 DeepFloyd-IF if ddpm
        iddpm DALL·E_2 dalle2 DALLE2 imagen
    """,
    TOKENS: """
        dalle_mini VAR var-d30 LlamaGen Parti MaskGIT amused muse cogview2 taming_transformer Janus-Pro-7B
    """,
    SWAP: """
        Deepfakes FaceSwap FaceShifter DeepFakeDetection Celeb-synthesis dfdc deepfake self_blended faceswap_gan FSGAN
        simswap
    """,
    None: """
        fake gen3 Midjourney midjourney-v5 imagenet_midjourney dalle dalle3 DALL·E_3 firefly gpt-image-1 Face2Face
        NeuralTextures crn imle san seeingdark openforensics imagenet diffusion diff organ variance sad imagen2
        stylegan_recon ldm_vs_glide generator_0
    """,
}


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in NAMES.items() for name in names.split()])
def test_a_name_has_its_family(family, name):
    line = line_of(name)
    assert (line and line.family) == family


def test_what_is_rebuilt_is_left_out_with_its_autoencoder():
    assert unseen_with("taef2_stylegan2_recon") == unseen_with("taef2_recon") == "TAESD"
    assert unseen_with("stylegan_recon") == "autoencoder"


def test_generators_of_one_line_are_one():
    for names in (
        "stylegan StyleGAN2 stylegan3-t whichfaceisreal",
        "sd21 stable_diffusion_v_1_4 SDv1.5 stable-diffusion-v1-4",
        "sdxl sd_xl SD-XL SDXL1.0 sd_xl_turbo stable-diffusion-xl-base-1.0",
        "ldm_100 ldm_200_cfg glid3_xl_ldm",
        "glide_100_27 GLIDE imagenet_glide",
        "flux2_vae_recon FLUX.1-dev",
    ):
        assert len({line_of(name) for name in names.split()}) == len({unseen_with(name) for name in names.split()}) == 1
    assert line_of("sd21") != line_of("sdxl") != line_of("sd3")
    assert {line_of(name).name for name in ("sd-vae-ft-mse_recon", "mine_recon")} == {"Stable Diffusion 1 and 2", "autoencoder"}


FAKES = {
    ("celeb_df", "Celeb-synthesis/id0_id1_0000.mp4"): SWAP,
    ("cnnspot", "test/progan/cat/1_fake/1.png"): GAN,
    ("cnnspot", "test/deepfake/1_fake/1.png"): SWAP,
    ("cnnspot", "test/crn/1_fake/1.png"): None,
    ("cnnspot", "test/guided/1_fake/1.png"): PIXEL,
    ("faceforensics", "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"): SWAP,
    ("faceforensics", "manipulated_sequences/FaceSwap/c23/videos/000_003.mp4"): SWAP,
    ("faceforensics", "manipulated_sequences/FaceShifter/c23/videos/000_003.mp4"): SWAP,
    ("faceforensics", "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen__ABC.mp4"): SWAP,
    ("faceforensics", "manipulated_sequences/Face2Face/c23/videos/000_003.mp4"): None,
    ("faceforensics", "manipulated_sequences/NeuralTextures/c23/videos/000_003.mp4"): None,
    ("genimage", "ADM/imagenet_ai_0508_adm/train/ai/1.png"): PIXEL,
    ("genimage", "BigGAN/imagenet_ai_0419_biggan/val/ai/1.png"): GAN,
    ("genimage", "glide/imagenet_glide/val/ai/1.png"): PIXEL,
    ("genimage", "Midjourney/imagenet_midjourney/val/ai/1.png"): None,
    ("genimage", "stable_diffusion_v_1_4/imagenet_ai_0419_sdv4/val/ai/1.png"): LATENT,
    ("genimage", "stable_diffusion_v_1_5/imagenet_ai_0424_sdv5/val/ai/1.png"): LATENT,
    ("genimage", "VQDM/imagenet_ai_0419_vqdm/val/ai/1.png"): LATENT,
    ("genimage", "wukong/imagenet_ai_0424_wukong/val/ai/1.png"): LATENT,
    ("kaggle_faces", "real_vs_fake/real-vs-fake/train/fake/1.jpg"): GAN,
    ("kaggle_faces", "Dataset/Train/Fake/1.jpg"): None,
    ("videos", "fake/FaceSwap/a.mp4"): SWAP,
    ("folder", "fake/sdxl/a.jpg"): LATENT,
    ("folder", "deepfake/a.jpg"): None,
}


@pytest.mark.parametrize(("dataset", "file"), FAKES)
def test_what_a_data_set_calls_its_fakes_is_understood(tmp_path, dataset, file):
    [sample] = registry.load("datasets", dataset).scan(lay_out(tmp_path, file)).samples
    assert sample.label == FAKE
    line = line_of(sample.generator)
    assert (line and line.family) == FAKES[dataset, file]


def test_dfdc_and_elsa_d3(tmp_path):
    lay_out(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(json.dumps({"a.mp4": {"label": "FAKE"}}))
    assert line_of(registry.load("datasets", "dfdc").scan(tmp_path).samples[0].generator).family == SWAP
    assert [line_of(model.rpartition("/")[2]).family for model in MODELS] == [PIXEL, LATENT, LATENT, LATENT]


def test_families_are_those_that_are_answered():
    assert FAMILIES == ("GAN", "latent diffusion", "pixel diffusion", "autoregressive", "face swap")


@pytest.mark.parametrize(
    ("name", "remade"),
    [
        ("flux2_vae_recon", True),
        ("taef2_stylegan2_recon", True),
        ("self_blended", True),
        ("repainted", True),
        ("reconnaissance", False),
        ("sdxl", False),
    ],
)
def test_what_is_remade_of_real_pictures_is_known_by_name(name, remade):
    assert is_remade(name) == remade
