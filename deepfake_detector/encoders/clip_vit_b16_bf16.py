"""clip_vit_b16 with its blocks in bfloat16: about twice as fast on a CPU that has AVX512-BF16."""

from __future__ import annotations

from deepfake_detector.encoders import clip_vit_b16


class Encoder(clip_vit_b16.Encoder):
    """The same weights; rows are within a cosine distance of 1e-3 of clip_vit_b16's, yet are not mixed with them."""

    bfloat16 = True
