"""The texts that stand in a picture's file beside its pixels: by name, as XMP packets, and as EXIF tags; no pixel is decoded for them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from deepfake_detector.images import formats_of

_ROOM = 16 * 2**20  # bytes that are read of one PNG's texts in all, packed or unpacked
_MOST_CHUNKS = 200_000  # of a PNG, which for 200 MB of pixels has some 25,000
_MOST_TEXTS = 1000
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16
_PNG_XMP = "XML:com.adobe.xmp"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_TAGS = (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software, ExifTags.Base.ImageDescription)


@dataclass(frozen=True)
class FileTexts:
    """What a file holds: (name, text) of its own kind's texts, XMP packets, and the EXIF tags that may tell of an origin, "" for none."""

    texts: list[tuple[str, str]]
    xmp: list[str]
    exif: dict[str, str]


def read(file: BinaryIO) -> FileTexts:
    """Raises almost anything where the file is no picture, or a broken one."""
    file.seek(0)
    with Image.open(file, formats=formats_of(file.read(12))) as picture:
        if picture.format == "PNG":
            chunks = list(islice(_png_chunks(file), _MOST_TEXTS))
            for exif in (data for kind, data in chunks if kind == b"eXIf"):
                picture.info["exif"] = b"Exif\0\0" + exif  # Pillow has only one that stands before the pixels
            named = [_named(kind, data) for kind, data in chunks if kind != b"eXIf"]
            texts = [(name, text) for name, text in named if name != _PNG_XMP]
            return FileTexts(texts, [text for name, text in named if name == _PNG_XMP], _exif(picture))
        comment = picture.info.get("comment")  # of a JPEG or GIF
        marked = (data for place, data in getattr(picture, "applist", ()) if place == "APP1" and data.startswith(_JPEG_XMP))
        packets = [data.removeprefix(_JPEG_XMP) for data in marked] or [picture.info.get("xmp")]  # of which Pillow keeps a JPEG's last
        return FileTexts([("comment", _text(comment))], [_xmp(packet) for packet in packets if packet], _exif(picture))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(kind, unpacked content) of those that may tell of an origin, also behind the pixels, where Pillow only comes by decoding these."""
    room = _ROOM
    for kind, length in islice(_png_heads(file), _MOST_CHUNKS):
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") and length <= room:
            data = _unpacked(kind, file.read(length), room)
            room -= max(length, len(data))
            yield kind, data


def has_few_chunks(file: BinaryIO) -> bool:
    """Whether a PNG has no more of them than are read here; who reads on through 200 MB of empty ones takes minutes."""
    return next(islice(_png_heads(file), _MOST_CHUNKS, None), None) is None


def _png_heads(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(kind, bytes) of each chunk, with the file where its content begins."""
    ahead = 8
    while True:
        file.seek(ahead)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, kind = struct.unpack(">I4s", head)
        ahead += 12 + length  # a sum stands behind the content
        yield kind, length


def _unpacked(kind: bytes, data: bytes, room: int) -> bytes:
    """NAME, a zero byte and the text; of iTXt without its languages."""
    if kind in (b"tEXt", b"eXIf"):
        return data
    name, _, text = data.partition(b"\0")
    packed, text = (True, text[1:]) if kind == b"zTXt" else (text[:1] == b"\1", text[2:].split(b"\0", 2)[-1])
    try:
        return name + b"\0" + (zlib.decompressobj().decompress(text, room) if packed else text)
    except zlib.error:
        return name + b"\0"


def _named(kind: bytes, data: bytes) -> tuple[str, str]:
    name, _, text = data.partition(b"\0")
    return name.decode("latin-1"), text.decode("utf-8" if kind == b"iTXt" else "latin-1", "replace")


def _exif(picture: Image.Image) -> dict[str, str]:
    try:
        tags = Image.Image.getexif(picture)  # a PNG's own would decode the pixels, to look behind them
        comment = tags.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception:  # broken EXIF says nothing, and the other texts are none the worse for it
        tags, comment = {}, None
    return {tag.name: _text(tags.get(tag)) for tag in _TAGS} | {"UserComment": _comment(comment)}


def _comment(value: Any) -> str:
    """EXIF's UserComment, which names its coding in eight bytes."""
    if not isinstance(value, bytes):
        return _text(value)
    return _utf16(value[8:]) if value.startswith(b"UNICODE") else value[8:].decode("utf-8", "replace")


def _xmp(packet: Any) -> str:
    """A packet may be in UTF-16, too, and then its first sign "<" has a zero byte."""
    if not isinstance(packet, bytes):
        return _text(packet)
    return _utf16(packet) if b"\0" in packet[:4] or packet.startswith(_MARKS) else packet.decode("utf-8", "replace")


def _utf16(text: bytes) -> str:
    """In the order that its mark says, else in that by which more of it is English, as settings and tags are: writers disagree."""
    if text.startswith(_MARKS):
        return text.decode("utf-16", "replace")
    return text.decode("utf-16-be" if text[::2].count(0) > text[1::2].count(0) else "utf-16-le", "replace")


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")).strip("\0 ")
