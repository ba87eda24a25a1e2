"""From the bytes of a file to a checked, upright RGB picture, or the reason why there is none."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageStat, PngImagePlugin

from deepfake_detector import colours
from deepfake_detector.errors import PictureTooLarge, PictureTooSmall, UnusablePicture

MAX_FILE_BYTES = 200 * 2**20
MAX_PIXELS = 200_000_000
MAX_SIDE = 65_500  # what a JPEG holds, and an answer must survive being saved as one
MIN_SIDE = 16
MAX_ASPECT = 50  # encoders bring the short side to 224 pixels, so the long one would then pass 11,200
EXPECTED = "JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP"

# What Pillow may try: no EPS (it starts Ghostscript), no PDF, no icons. HEIF joins when a file asks for it.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # of the several pictures of an MPO or HEIC, the main one is the picture
_FIRST = "animated: the first of {} frames was judged"
_LATER = "animated: frame {} of {} was judged, as the first is blank"
_PAGES = "the first of its pages was judged"
_LOOKED_AT = 30  # frames of an animation that begins with a blank one
_TRANSPARENT = "transparent parts were put on white"
_BROUGHT_TO_SRGB = "srgb 1"
_VIDEO_BRANDS = (b"iso", b"mp4", b"avc", b"hvc", b"qt", b"M4V", b"3g", b"dash", b"f4v", b"MSNV")  # sound and raw pictures have others
_BAND = 2**20  # pixels that are converted at once
_THUMBNAIL = 150  # pixels of its longer side
_SUBFILE, _PREVIEW = 254, 1  # a TIFF's tag for what a picture in it is, and the bit for a smaller version of another
_TURNS = {  # EXIF orientation → what sets the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Set once for the process, since a filter set for each call would not be safe with threads. Pillow only warns up to
# twice its limit, so the warning is made an error.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# A text in a PNG may take what all may together: a graph of ComfyUI's, packed, is more than the 1 MB that Pillow allows it.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, fully decoded, and what a reader of its verdict should know about the file."""

    image: Image.Image
    notes: tuple[str, ...] = ()


class _Budget:
    """So many pixels may be decoded at once; who would exceed that waits until others are done, and those behind for their turn."""

    def __init__(self, pixels: int):
        self._left = pixels
        self._first = threading.Lock()
        self._returned = threading.Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """For no more than there are in all, and by nobody who holds some already."""
        with self._first, self._returned:
            self._returned.wait_for(lambda: pixels <= self._left)
            self._left -= pixels
        try:
            yield
        finally:
            with self._returned:
                self._left += pixels
                self._returned.notify()


_budget = _Budget(MAX_PIXELS)


def check_file_size(size: int) -> None:
    """Refuse so many bytes before they are read: raises UnusablePicture."""
    if size > MAX_FILE_BYTES:
        raise UnusablePicture(f"too large a file ({size / 2**20:.0f} MiB; at most {MAX_FILE_BYTES // 2**20} MiB)")


def open_picture(content: bytes) -> Picture:
    """Decode a file's bytes; raises UnusablePicture. Safe to call from many threads."""
    if not content:
        raise UnusablePicture("empty file: it holds no bytes; get a complete copy")
    formats = formats_of(content[:12])
    try:
        return _decode(content, formats)
    except UnusablePicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # before the header's size can be asked for
        pixels = re.search(r"\d+", str(error))
        came = f"{int(pixels[0]):,}" if pixels else "more"
        raise PictureTooLarge(f"too large: {came} pixels; at most {MAX_PIXELS:,} are read; scale it down first") from error
    except MemoryError as error:
        raise PictureTooLarge("too large for the memory that is free; scale it down first") from error
    except Exception as error:  # fuzzed files make Pillow's decoders raise almost anything
        looks_like = kind_of(content[:16])
        if looks_like is None and begins_as_video(content):
            raise UnusablePicture("a video by its content, not a picture; give it as one, with an ending such as .mp4") from error
        if looks_like is None:
            raise UnusablePicture(f"not a picture that can be read; expected {EXPECTED}") from error
        if looks_like == "JPEG" and (picture := _whole_but_for_its_end(content, formats)):
            return picture
        said = " ".join(str(error).split()) or type(error).__name__  # libheif breaks its lines
        if isinstance(error, Image.UnidentifiedImageError):
            what = f"a truncated or damaged {looks_like} file, or one of a rare kind"
            raise UnusablePicture(f"{what}; get a complete copy, or save it as a PNG") from error
        raise UnusablePicture(f"truncated or damaged {looks_like} file ({said}); get a complete copy") from error


def reading(content: bytes) -> str:
    """Names how a file's pixels are read where they once were read otherwise, so that nobody takes what is remembered of those; else ""."""
    try:
        with Image.open(io.BytesIO(content), formats=formats_of(content[:12])) as file:
            return _BROUGHT_TO_SRGB if colours.profile_of(file) else ""
    except Exception:  # whoever decodes it hears the reason
        return ""


def formats_of(start: bytes) -> tuple[str, ...]:
    """What Pillow may try for a file that begins so."""
    if start[4:8] != b"ftyp":  # the container of HEIC, which AVIF shares
        return _FORMATS
    _register_heif()
    return (*_FORMATS, "HEIF")


def kind_of(start: bytes) -> str | None:
    """The format of a picture whose file begins so (16 bytes); None for what is none that is read."""
    Image.init()
    return next((name for name in formats_of(start) if Image.OPEN[name][1](start)), None)


def begins_as_video(content: bytes) -> bool:
    """By what its file begins with: MP4 and MOV, Matroska and WebM, AVI, FLV, WMV, MPEG, or a transport stream's packets."""
    return (
        (content[4:8] == b"ftyp" and content[8:12].startswith(_VIDEO_BRANDS))
        or content[4:8] in (b"moov", b"mdat")
        or content[8:12] == b"AVI "
        or content.startswith((b"\x1aE\xdf\xa3", b"FLV\1", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba"))
        or any(content[start : start + 3 * size : size] == b"GGG" for start, size in ((0, 188), (4, 192)))
    )


@cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener()


def _decode(content: bytes, formats: tuple[str, ...]) -> Picture:
    with Image.open(io.BytesIO(content), formats=formats) as file:
        _check_size(*file.size)  # from the header, before a pixel is decoded
        _check_not_raw(file, content[8:12])
        with _budget.take(file.width * file.height):
            image, notes = _first_shown(file)
            turn = _TURNS.get(_orientation(file))
            file.close()  # which frees its pixels
            check_not_blank(image)
            if turn is not None:
                image = image.transpose(turn)
    image.info = {}  # its EXIF would have the next reader turn it once more
    return Picture(image, notes)


def _check_not_raw(file: Image.Image, kind: bytes) -> None:
    """Raise UnusablePicture for a camera's raw file (DNG, NEF, ARW, CR2): to Pillow it is a TIFF, of which it would read the preview."""
    if file.format != "TIFF":
        return
    subfile = file.tag_v2.get(_SUBFILE)
    if kind == b"CR\2\0" or (isinstance(subfile, int) and subfile & _PREVIEW):
        raise UnusablePicture("a camera's raw file, of which only the small preview could be read; save it as a JPEG or PNG first")


def _whole_but_for_its_end(content: bytes, formats: tuple[str, ...]) -> Picture | None:
    """The picture of a JPEG that lacks its end mark alone: what is put before a new one changes pixels only where some are missing.

    Not of a progressive one, which may lack whole scans, each of which would make it finer.
    """
    if content.endswith(b"\xff\xd9") or _is_progressive(content):
        return None
    seen = set()
    for filler in (b"", b"\x55\xaa" * 64):
        try:
            picture = _decode(content.rstrip(b"\xff") + filler + b"\xff\xd9", formats)
        except Exception:  # whatever it is, the reason has been found before
            return None
        seen.add(hashlib.sha256(picture.image.tobytes()).digest())
    return picture if len(seen) == 1 else None


def _is_progressive(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as file:
            return "progressive" in file.info
    except Exception:  # whatever it is, the reason has been found before
        return True


def _first_shown(file: ImageFile.ImageFile) -> tuple[Image.Image, tuple[str, ...]]:
    """The first picture in a file, and what to know of it; where that is blank, the one of its next frames that shows the most contrast.

    An animation may fade in, and then the first frame that is not blank hardly shows anything.
    """
    pages = file.format == "TIFF" and _has_pages(file)
    frames = getattr(file, "n_frames", 1) if file.format in _ANIMATED else 1
    profile = colours.profile_of(file)  # of the header alone, as `reading` has it
    most = -1.0
    for at in range(min(frames, _LOOKED_AT, MAX_PIXELS // (file.width * file.height))):  # no more pixels than a single picture may have
        if at:
            file.seek(at)
            _check_size(*file.size)  # which a GIF's frame can exceed
        file.load()
        shown, is_clear = _to_rgb(file, profile)
        begins_with_it = not at and not _is_blank(shown)
        contrast = math.inf if begins_with_it else ImageStat.Stat(shown.convert("L")).stddev[0]
        if contrast > most:
            most, number, image, transparent = contrast, at, shown, is_clear
        if begins_with_it:
            break
    animated = (_LATER.format(number + 1, frames) if number else _FIRST.format(frames)) if frames > 1 else ""
    return image, tuple(filter(None, (animated, pages and _PAGES, transparent and _TRANSPARENT)))


def _is_blank(image: Image.Image) -> bool:
    return image.getcolors(1) is not None  # it stops at the second colour


def check_not_blank(image: Image.Image) -> None:
    """Raise UnusablePicture where every pixel has the same colour: a model would have an answer, about nothing."""
    if _is_blank(image):
        raise UnusablePicture("blank: every pixel has the same colour, so there is nothing to judge; choose one that shows something")


def _has_pages(file: Image.Image) -> bool:
    """Whether there are several; to count them Pillow takes time by their square, and a small file may claim a million."""
    try:
        file.seek(1)
    except EOFError:
        return False
    file.seek(0)
    return True


def _check_size(width: int, height: int) -> None:
    short, long = sorted((width, height))
    if width * height > MAX_PIXELS:
        raise PictureTooLarge(f"too large: {width} x {height}; at most {MAX_PIXELS:,} pixels are read; scale it down first")
    if short < MIN_SIDE:
        raise PictureTooSmall(f"too small: {width} x {height}; each side needs at least {MIN_SIDE} pixels; get a larger copy")
    if long > MAX_ASPECT * short:
        raise UnusablePicture(
            f"too narrow: {width} x {height}; one side may be at most {MAX_ASPECT} times the other; cut out the part that matters"
        )
    if long > MAX_SIDE:
        raise PictureTooLarge(f"too large: {width} x {height}; a side may have at most {MAX_SIDE:,} pixels; scale it down first")


def _orientation(file: Image.Image) -> int:
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF tells nothing, and the pixels are none the worse for it
        return 1


def _to_rgb(image: Image.Image, profile: colours.Profile | None) -> tuple[Image.Image, bool]:
    """The picture in sRGB, and whether anything in it was transparent."""
    if image.mode.startswith("I;16"):
        image = _to_eight_bits(image)
    elif image.mode in ("I", "F"):
        raise UnusablePicture(
            f"samples of mode {image.mode!r} (signed, 32-bit or float) don't say what is white; save it with 8 or 16 bits a channel"
        )
    if image.mode == "RGB" and not image.has_transparency_data and not profile:
        return image.convert("RGB"), False
    shown, transparent = Image.new("RGB", image.size), False
    rows = max(1, _BAND // image.width)  # a large picture would take several times its memory if it were converted as a whole
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        band, is_clear = _flattened(image.crop(box), profile)
        shown.paste(band, box)
        transparent |= is_clear
    return shown, transparent


def _flattened(image: Image.Image, profile: colours.Profile | None) -> tuple[Image.Image, bool]:
    """The same of a part."""
    if not image.has_transparency_data:
        return profile(image) if profile else image.convert("RGB"), False
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if profile:
        rgba = profile(rgba)
        rgba.putalpha(alpha)
    if alpha.getextrema()[0] == 255:
        return rgba.convert("RGB"), False
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"), True


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit (or a TIFF's 12-bit) grey scaled to 8 bits, where Pillow's own conversion would clip at 255."""
    values = np.asarray(image)  # (height, width) uint16
    tags = getattr(image, "tag_v2", {})
    white = 2 ** tags.get(ExifTags.Base.BitsPerSample, (16,))[0] - 1
    scale = np.rint(np.arange(2**16) * (255 / white)).clip(0, 255).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero, which Pillow minds with 8 bits only
        scale = 255 - scale
    grey = scale[values]
    clear = image.info.get("transparency")
    if clear is None:
        return Image.fromarray(grey)
    opaque = np.where(values == clear, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(opaque)))


def thumbnail(content: bytes) -> str:
    """A small JPEG of a picture as a data: address; raises UnusablePicture."""
    return small(open_picture(content).image)


def small(picture: Image.Image) -> str:
    """The same of RGB pixels, which shrink."""
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return as_address(picture)


def as_address(picture: Image.Image) -> str:
    """RGB pixels as a JPEG in a data: address."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
