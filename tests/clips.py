"""Small clips for the tests, drawn and encoded on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from scipy import ndimage

from deepfake_detector.crops.detectors import Face

MILLISECOND = Fraction(1, 1000)


def shade(number: int) -> int:
    """How grey the frame with this number is, so that a test can tell which one it got."""
    return 20 + 10 * (number % 20)


def draw_clip(
    path: Path,
    times: list[int],
    size: tuple[int, int] = (64, 32),
    rotation: float = 0,
    tint: tuple[int, int, int] = (0, 0, 0),
    black: int = 0,
    stretch: Fraction | None = None,
    sound: float = 0,
    **options,
) -> Path:
    """Grey frames at these times in milliseconds, the left quarter red; `rotation` goes into the file's metadata only.

    The first `black` frames are black all over. `stretch` is how much wider than high a pixel is to be shown;
    `sound` so many seconds of silence that go with it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=25, options={"crf": "10", **options})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if path.suffix != ".avi":
            stream.codec_context.time_base = MILLISECOND
        if stretch:
            stream.codec_context.sample_aspect_ratio = stretch
        if rotation:
            stream.set_display_rotation(rotation)
        silence = container.add_stream("aac", rate=16000) if sound else None
        for number, time in enumerate(times):
            pixels = np.full((height, width, 3), shade(number)) + np.array(tint)
            pixels[:, : width // 4] = (200, 20, 20)
            pixels *= number >= black
            frame = av.VideoFrame.from_ndarray(pixels.clip(0, 255).astype(np.uint8))
            if path.suffix != ".avi":
                frame.pts, frame.time_base = time, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if silence:
            _be_silent(container, silence, round(sound * 16000))
    return path


def copy_clip(source: Path, path: Path, **options) -> Path:
    """The same pictures, not coded anew, in another container or one with other options."""
    with av.open(source) as old, av.open(path, "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return path


def draw_hdr(path: Path, light: np.ndarray, curve: int) -> Path:
    """Two frames of (height, width, 3) light in BT.709's primaries, 1 for the white of paper, coded in BT.2020 by PQ (16) or HLG (18)."""
    light = light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
    if curve == 16:
        power = (light * 203 / 10_000) ** 0.1593017578125
        codes = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = light * 0.2649  # what HLG shows with 75 % of its signal
        codes = np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)
    pixels = np.rint(codes.clip(0, 1) * 65535).astype("<u2")
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = light.shape[:2]
        stream.pix_fmt = "yuv444p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = curve, 9, 9, 1
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
            container.mux(stream.encode(frame.reformat(format="yuv444p10le", dst_colorspace=9, dst_color_range=1)))
        container.mux(stream.encode())
    return path


def draw_sound(path: Path) -> Path:
    """A tenth of a second of silence, and no pictures."""
    with av.open(path, "w") as container:
        _be_silent(container, container.add_stream("aac", rate=16000), 1600)
    return path


def _be_silent(container: av.container.OutputContainer, stream: av.AudioStream, samples: int) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 16000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def draw_people(path: Path, frames: list[list[tuple[int, int, int, tuple[int, int, int]]]], size: tuple[int, int] = (320, 192)) -> Path:
    """Ten frames a second of a dark room, each with squares (left, top, side, colour): the persons that `find_people` finds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for squares in frames:
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[-16:] = 30  # the floor; a frame that is black all over is not looked at
            for left, top, side, colour in squares:
                pixels[top : top + side, left : left + side] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def find_people(picture: Image.Image) -> list[Face]:
    """Stands in for a face detector: whatever is bright is a face."""
    labels, count = ndimage.label(np.asarray(picture).max(axis=2) > 60)
    spans = ndimage.find_objects(labels, count)
    return [Face((x.start, y.start, x.stop, y.stop), 1.0) for y, x in spans if x.stop - x.start > 16]
