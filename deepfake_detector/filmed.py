"""What a clip's coding does to a picture: a frame of a short pan over it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL.Image import Image as Picture
from PIL.Image import Resampling

_FRAMES, _RATE = 12, 25
_LARGEST = 1920  # pixels of the longer side of a clip
_EDGE = 16  # pixels on each side over which the pan goes


@dataclass(frozen=True)
class Coding:
    """What is drawn of a clip: encoders of FFmpeg, how often each is, and the range of its constant rate factor; and how small it is."""

    codecs: tuple[tuple[str, float, tuple[int, int]], ...]
    least_scale: float
    smallest: int  # pixels of the shorter side of one that is reduced


CLIP = Coding((("libx264", 0.75, (18, 36)), ("libvpx-vp9", 0.25, (20, 50))), 0.5, 240)  # from hardly any loss to much
POOR = Coding((("libx264", 0.75, (32, 46)), ("libvpx-vp9", 0.25, (46, 62))), 0.25, 144)  # as messengers and old sites pass clips on

_OPTIONS = {  # one thread, and no macroblock tree, with which the first frame depends on where in memory it lies
    "libx264": {"preset": "fast", "threads": "1", "x264-params": "mbtree=0"},
    "libvpx-vp9": {"deadline": "good", "cpu-used": "5", "b": "0", "threads": "1"},
}


def filmed(picture: Picture, seed: int, factor: int = 28) -> Picture:
    """A frame of H.264 as many sites pass it on; `factor` is the constant rate factor. Deterministic, as one thread encodes."""
    return frame(_film(picture, seed, "libx264", factor, _FRAMES // 2), _FRAMES // 2)


def filmed_somehow(picture: Picture, seed: int, coding: Coding = CLIP) -> Picture:
    """The same with a codec, a loss, a size and a place in the clip by chance."""
    return frame(*film_somehow(picture, seed, coding))


def film_somehow(picture: Picture, seed: int, coding: Coding = CLIP) -> tuple[bytes, int]:
    """The whole of such a clip, in Matroska, and the number of the frame that shows the middle of the picture."""
    rng = np.random.default_rng(seed)
    codec, _, factors = coding.codecs[rng.choice(len(coding.codecs), p=[share for _, share, _ in coding.codecs])]
    factor, shown = int(rng.integers(factors[0], factors[1] + 1)), int(rng.integers(_FRAMES))
    scale = max(float(np.exp(rng.uniform(np.log(coding.least_scale), 0))), min(1.0, coding.smallest / min(picture.size)))
    if scale < 1:
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Resampling.BICUBIC)
    return _film(picture, int(rng.integers(2**32)), codec, factor, shown), shown


def frame(clip: bytes, number: int) -> Picture:
    """One frame of a clip, counted from 0."""
    import av

    with av.open(io.BytesIO(clip)) as file:
        file.streams.video[0].thread_count = 1
        return next(islice(file.decode(video=0), number, None)).to_image()


def _film(picture: Picture, seed: int, codec: str, factor: int, shown: int) -> bytes:
    """A pan that shows the middle of the picture in the frame number `shown`. What is larger than clips are is brought to their size."""
    import av

    scale = min(1.0, _LARGEST / max(picture.size))
    if scale < 1:
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Resampling.LANCZOS)
    pixels, (width, height) = np.asarray(picture), picture.size
    edge = min(_EDGE, min(width, height) // 8)
    across, down = (side - 2 * edge - side % 2 for side in (width, height))  # even, as its colours are halved
    step = np.random.default_rng(seed).uniform(-edge, edge, 2) / _FRAMES
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as clip:
        stream = clip.add_stream(codec, rate=_RATE, options=_OPTIONS[codec] | {"crf": str(factor)})
        stream.width, stream.height, stream.pix_fmt = across, down, "yuv420p"
        for number in range(_FRAMES):
            left, top = (edge + np.rint(step * (number - shown))).astype(int)
            shot = np.ascontiguousarray(pixels[top : top + down, left : left + across])
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(shot)))
        clip.mux(stream.encode())
    return file.getvalue()
