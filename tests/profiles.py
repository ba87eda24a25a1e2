"""Small ICC profiles for the tests, which show colours so oddly that nobody can miss it."""

from __future__ import annotations

import itertools
import struct

from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RED_AS_BLUE = SRGB.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")
_D50 = struct.pack(">3i", 63190, 65536, 54061)


def profile(space: bytes, between: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of version 2 from a space to the one between all profiles, with these tags, each of them with its type."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _D50, **tags}
    table, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value.ljust(-(-len(value) // 4) * 4, b"\0")
    header = struct.pack(">I4xI4s4s4s12x4s28x12s", start + len(data), 0x02400000, b"prtr", space, between, b"acsp", _D50)
    return header.ljust(128, b"\0") + table + data


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _lightness(cyan: int, magenta: int, yellow: int, black: int) -> int:
    return 0 if black else 255 - 85 * (cyan + magenta + yellow)


LIGHT_GREY = profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(1.5)})  # less of a curve than sRGB has, so its levels are lighter
ALL_INKS_GREY = profile(
    b"CMYK",
    b"Lab ",
    {
        b"A2B0": b"mft1\0\0\0\0\4\3\2\0"
        + struct.pack(">9i", *[65536, 0, 0, 0] * 2, 65536)
        + bytes(range(256)) * 4
        + b"".join(bytes([_lightness(*inks), 128, 128]) for inks in itertools.product((0, 1), repeat=4))
        + bytes(range(256)) * 3
    },
)
ALL_BLACK = profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">I256H", 256, *[0] * 256)})
