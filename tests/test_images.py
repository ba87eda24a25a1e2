"""open_picture gives an upright RGB picture or a reason, whatever the bytes."""

import base64
import contextlib
import io
import random
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from deepfake_detector import images
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.images import MAX_PIXELS, Picture, _Budget, open_picture, reading
from tests import profiles
from tests.clips import draw_clip

# 64 x 48, red above blue, drawn by Pillow; kept as bytes since our HEIC library only reads.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAWltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABjQ"
    "ABAAAAAAAAACoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA6WlwcnAAAADKaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA"
    "/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAA"
    "AUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAQAAAAAEAAAAwAAAAAQAAAAAAAAAC////8AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAF2lwbWEAAAAAAAAAAQABBIECBIMA"
    "AAAybWRhdAAAACYoAa8TgOUx9/++NT/b7T/EsmZOoMQv+w8+57i/mGyxBvdm34sN/A=="
)
RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)


def halves(mode="RGB", size=(64, 48)):
    """Red above blue."""
    image = Image.new("RGB", size, BLUE)
    image.paste(RED, (0, 0, size[0], size[1] // 2))
    return image.convert(mode)


def noise(size=(64, 48), seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(bits, photometric, data, size=(16, 16), extra=()):
    """A bare little-endian TIFF of one strip, for what Pillow does not write."""
    tags = [(256, 3, size[0]), (257, 3, size[1]), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0), (277, 3, 1)]
    tags += [(278, 3, size[1]), (279, 4, len(data)), *extra]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, start if tag == 273 else value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def png_claiming(width, height):
    """A PNG whose header promises more than its few bytes hold."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def exif(orientation):
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def pixel(picture, x, y):
    return np.array(picture.image.getpixel((x, y)), int)


def is_near(picture, x, y, colour, tolerance=12):
    return np.abs(pixel(picture, x, y) - colour).max() <= tolerance


FILES = {
    "jpeg": lambda: encode(noise(), "JPEG"),
    "progressive": lambda: encode(noise((200, 200)), "JPEG", progressive=True),
    "png": lambda: encode(noise(), "PNG"),
    "palette": lambda: encode(halves().quantize(4), "PNG", transparency=0),
    "apng": lambda: encode(noise(), "PNG", save_all=True, append_images=[noise(seed=1)]),
    "webp": lambda: encode(noise(), "WEBP"),
    "gif": lambda: encode(noise(), "GIF", save_all=True, append_images=[noise(seed=1)]),
    "tiff": lambda: encode(noise(), "TIFF"),
    "lzw": lambda: encode(noise(), "TIFF", compression="tiff_lzw"),
    "bmp": lambda: encode(noise(), "BMP"),
    "avif": lambda: encode(noise(), "AVIF", speed=10),
    "mpo": lambda: encode(noise(), "MPO", save_all=True, append_images=[noise(seed=1)]),
    "heic": lambda: HEIC,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIC"])
def test_every_accepted_format(kind):
    picture = open_picture(HEIC if kind == "HEIC" else encode(halves(), kind))
    assert picture.image.mode == "RGB"
    assert picture.image.size == (64, 48)
    assert picture.notes == ()
    assert is_near(picture, 32, 8, RED)
    assert is_near(picture, 32, 40, BLUE)


@pytest.mark.parametrize(
    "content", [b"hello, I am a .jpg\n" * 20, b"\0" * 500, encode(halves(), "ICO"), encode(halves(), "EPS"), b"%PDF-1.4"]
)
def test_other_files_are_refused(content):
    with pytest.raises(UnusablePicture, match="expected JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP"):
        open_picture(content)


def test_an_empty_file_is_refused():
    with pytest.raises(UnusablePicture, match="empty file"):
        open_picture(b"")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["jpeg", "progressive", "png", "webp", "tiff", "lzw", "bmp", "avif", "heic"])
def test_a_truncated_file_is_refused(kind, share):
    content = FILES[kind]()
    with pytest.raises(UnusablePicture, match="truncated") as refusal:
        open_picture(content[: int(len(content) * share)])
    assert "BytesIO" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_jpeg_that_lacks_its_end_mark_alone_is_whole():
    content = FILES["jpeg"]()
    whole = open_picture(content)
    for cut in (1, 2):
        assert open_picture(content[:-cut]).image.tobytes() == whole.image.tobytes()
    for cut in (5, 20, 200):
        with pytest.raises(UnusablePicture, match="truncated"):
            open_picture(content[:-cut])


def test_a_progressive_jpeg_that_may_lack_whole_scans_is_refused():
    content = FILES["progressive"]()
    for end in (content.rfind(b"\xff\xda"), len(content) - 2):  # before its last scan; without its end mark
        with pytest.raises(UnusablePicture, match="truncated"):
            open_picture(content[:end])


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypcrx ", b"\0\0\0\x18ftypM4A ", b"OggS\0\2"])
def test_sound_and_raw_pictures_are_not_called_videos(start):
    with pytest.raises(UnusablePicture, match="not a picture that can be read"):
        open_picture(start + bytes(100))


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".avi", ".flv", ".ts", ".m2ts", ".mpg", ".wmv"])
def test_a_video_is_called_one(tmp_path, ending):
    path = draw_clip(tmp_path / f"a{ending}", list(range(0, 1000, 40)))
    with pytest.raises(UnusablePicture, match="a video by its content, not a picture"):
        open_picture(path.read_bytes())


@pytest.mark.parametrize("kind", ["gif", "apng", "mpo"])
def test_a_truncated_first_frame_is_refused(kind):
    content = FILES[kind]()
    with pytest.raises(UnusablePicture, match="truncated"):
        open_picture(content[: len(content) // 4])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png_claiming(30_000, 30_000), "too large: 900,000,000 pixels; at most 200,000,000 are read"),
        (png_claiming(15_000, 15_000), "too large: 225,000,000 pixels; at most 200,000,000 are read"),  # where Pillow alone would only warn
        (png_claiming(2_000_000, 20), "too narrow"),
        (png_claiming(65_501, 1400), "too large: 65501 x 1400; a side may have at most 65,500"),
        (png_claiming(65_500, 1400), "truncated"),
        (png_claiming(300, 300), "truncated"),
        (encode(halves(size=(15, 100)), "PNG"), "too small: 15 x 100"),
        (encode(halves(size=(20, 1001)), "PNG"), "too narrow: 20 x 1001"),
    ],
)
def test_sizes_are_checked_before_decoding(content, reason):
    with pytest.raises(UnusablePicture, match=reason):
        open_picture(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_blank_picture_is_refused(kind):
    with pytest.raises(UnusablePicture, match="blank: every pixel has the same colour"):
        open_picture(encode(Image.new("RGB", (40, 30), (255, 255, 255)), kind))


def test_a_picture_seen_through_everywhere_is_refused_as_blank():
    halves_unseen = halves("RGB").convert("RGBA")
    halves_unseen.putalpha(0)
    with pytest.raises(UnusablePicture, match="blank"):
        open_picture(encode(halves_unseen, "PNG"))


def test_one_pixel_of_another_colour_makes_a_picture():
    image = Image.new("RGB", (40, 30), "white")
    image.putpixel((39, 29), (255, 255, 254))
    assert open_picture(encode(image, "PNG")).image.getpixel((39, 29)) == (255, 255, 254)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_size_that_pillow_only_warns_of_is_refused_under_any_warning_filter():
    with pytest.raises(UnusablePicture, match="too large: 15000 x 15000; at most 200,000,000"):
        open_picture(png_claiming(15_000, 15_000))
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS


@pytest.mark.parametrize("size", [(16, 16), (20, 1000)])
def test_sizes_at_the_limits_are_accepted(size):
    assert open_picture(encode(halves(size=size), "PNG")).image.size == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(kind, orientation):
    upright = noise((48, 32)).resize((96, 64), Image.Resampling.NEAREST)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Transpose that leads from upright to how it is stored
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    picture = open_picture(encode(stored, kind, exif=exif(orientation), quality=95))
    assert picture.image.size == upright.size
    assert np.corrcoef(np.asarray(picture.image).ravel(), np.asarray(upright).ravel())[0, 1] > 0.8
    assert ImageOps.exif_transpose(picture.image).size == picture.image.size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "broken", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12", exif(9).tobytes(), exif(6).tobytes()[:-9], b"Exif\0\0"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_turns_nothing(kind, broken):
    assert open_picture(encode(halves(), kind, exif=broken)).image.size == (64, 48)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_is_judged(kind):
    frames = [halves(), halves().rotate(180), noise()]
    picture = open_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    assert picture.notes == ("animated: the first of 3 frames was judged",)
    assert is_near(picture, 32, 8, RED)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_that_fades_in_the_frame_that_shows_most_is_judged(kind):
    blank = Image.new("RGB", (64, 48))
    frames = [blank, Image.new("RGB", (64, 48), "white"), halves().point(lambda level: level // 9), halves()]
    picture = open_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    assert picture.notes == ("animated: frame 4 of 4 was judged, as the first is blank",)
    assert is_near(picture, 32, 8, RED)
    with pytest.raises(UnusablePicture, match="blank"):
        open_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:2], duration=100))


def test_of_a_long_blank_animation_no_more_is_looked_at_than_a_large_picture_holds(monkeypatch):
    dark = [Image.new("RGB", (64, 48), (i, 0, 0)) for i in range(6)]
    content = encode(dark[0], "GIF", save_all=True, append_images=[*dark[1:], halves()])
    assert "frame 7" in open_picture(content).notes[0]
    monkeypatch.setattr("deepfake_detector.images.MAX_PIXELS", 5 * 64 * 48)
    with pytest.raises(UnusablePicture, match="blank"):
        open_picture(content)


def test_of_several_pages_the_first_is_judged():
    picture = open_picture(encode(halves(), "TIFF", save_all=True, append_images=[noise(), noise()]))
    assert picture.notes == ("the first of its pages was judged",)
    assert is_near(picture, 32, 8, RED)


def test_the_pages_of_a_tiff_are_not_counted(monkeypatch):
    """Pillow's time for that goes by the square of their number, and two megabytes hold twenty thousand of them."""
    content = encode(halves(), "TIFF", save_all=True, append_images=[noise(size=(16, 16), seed=i) for i in range(30)])
    sought = []
    seek = TiffImagePlugin.TiffImageFile._seek
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "_seek", lambda self, page: sought.append(page) or seek(self, page))
    assert is_near(open_picture(content), 32, 8, RED)
    assert max(sought) == 1


def test_the_main_picture_of_an_mpo_needs_no_note():
    picture = open_picture(encode(halves(), "MPO", save_all=True, append_images=[noise()]))
    assert picture.notes == ()
    assert is_near(picture, 32, 8, RED)


def cr2():
    """A grey picture below Canon's header, which sets the tags of its preview behind that."""
    plain = tiff(8, 1, bytes(range(256)))
    return plain[:4] + struct.pack("<I", len(plain)) + b"CR\2\0" + plain[12:] + plain[8:]


@pytest.mark.parametrize("content", [tiff(8, 1, bytes(range(256)), extra=[(254, 4, 1)]), cr2()], ids=["dng, nef, arw", "cr2"])
def test_of_a_raw_file_the_preview_is_not_taken_for_the_photograph(content):
    with pytest.raises(UnusablePicture, match="raw file.*save it as a JPEG or PNG"):
        open_picture(content)


def test_a_tag_that_should_tell_a_raw_file_and_says_nothing_costs_no_picture():
    assert open_picture(tiff(8, 1, bytes(range(256)), extra=[(254, 2, ord("a"))])).image.size == (16, 16)


def test_a_file_of_a_rare_kind_is_not_only_called_damaged():
    with pytest.raises(UnusablePicture, match="TIFF file, or one of a rare kind.*save it as a PNG"):
        open_picture(tiff(64, 1, bytes(8 * 1024)))


RAMP = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        encode(Image.fromarray(RAMP), "PNG"),
        encode(Image.fromarray(RAMP), "TIFF"),
        encode(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
        tiff(16, 1, RAMP.tobytes(), RAMP.shape),
        tiff(16, 0, (65535 - RAMP).tobytes(), RAMP.shape),
    ],
    ids=["png", "tiff", "big-endian tiff", "black is zero", "white is zero"],
)
def test_16_bit_grey_is_scaled_and_not_clipped(content):
    image = np.asarray(open_picture(content).image)
    assert np.array_equal(image, np.repeat(np.rint(RAMP / 257).astype(np.uint8)[..., None], 3, 2))


def test_12_bit_grey_is_scaled_by_its_own_white():
    packed = bytes([0xFF, 0xF8, 0x00]) * 128  # two samples in three bytes: white, middle grey
    image = np.asarray(open_picture(tiff(12, 1, packed)).image)
    assert sorted(np.unique(image)) == [128, 255]


def test_16_bit_colour_png():
    row, dark = (b"\0" + struct.pack(">3H", *colour) * 16 for colour in ((0xC8C8, 0x1E1E, 0x1E1E), (0, 0, 0)))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row * 15 + dark)), (b"IEND", b"")]
    packed = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    assert is_near(open_picture(b"\x89PNG\r\n\x1a\n" + packed), 5, 5, RED, tolerance=0)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_without_a_known_white_are_refused(mode):
    with pytest.raises(UnusablePicture, match=f"mode '{mode}'.*save it with 8 or 16 bits"):
        open_picture(encode(halves("L").convert(mode), "TIFF"))


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("L", "JPEG"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("RGBX", "TIFF")]
)
def test_other_colour_modes_become_rgb(mode, kind):
    source = halves(mode)
    picture = open_picture(encode(source, kind))
    assert picture.image.mode == "RGB"
    assert picture.notes == ()
    assert np.abs(np.asarray(picture.image, int) - np.asarray(source.convert("RGB"), int)).max() <= 12


def test_a_ycbcr_tiff_becomes_rgb():
    picture = open_picture(encode(halves("YCbCr"), "TIFF", compression="jpeg"))
    assert is_near(picture, 32, 8, RED)


def test_lab_becomes_rgb():
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    picture = open_picture(encode(ImageCms.applyTransform(halves(), to_lab), "TIFF"))
    assert is_near(picture, 32, 8, RED, tolerance=15)
    assert is_near(picture, 32, 40, BLUE, tolerance=15)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_colours_are_those_that_the_profile_states(kind):
    content = encode(halves(), kind, icc_profile=profiles.RED_AS_BLUE)
    picture = open_picture(content)
    assert is_near(picture, 32, 8, BLUE)
    assert is_near(picture, 32, 40, RED)
    assert picture.notes == ()
    assert reading(content), "or what was remembered of it as it used to be read would be taken"


def test_a_grey_picture_by_its_profile():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    light = (np.arange(256).reshape(16, 16) / 255) ** 1.5
    seen = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    for content in (
        encode(ramp, "PNG", icc_profile=profiles.LIGHT_GREY),
        encode(ramp.convert("LA"), "PNG", icc_profile=profiles.LIGHT_GREY),
        encode(Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257), "PNG", icc_profile=profiles.LIGHT_GREY),
    ):
        assert reading(content)
        assert np.abs(np.asarray(open_picture(content).image, int) - seen[..., None]).max() <= 4


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_by_their_profile(kind):
    inks = Image.new("CMYK", (64, 48), (255, 0, 0, 0))
    inks.paste((0, 0, 0, 0), (0, 0, 64, 24))
    picture = open_picture(encode(inks, kind, icc_profile=profiles.ALL_INKS_GREY))
    assert is_near(picture, 32, 8, WHITE)
    assert is_near(picture, 32, 40, (162, 162, 162), tolerance=6)  # two thirds of the lightness of white


@pytest.mark.parametrize("palette", [False, True])
def test_the_profile_of_a_transparent_picture(palette):
    image, options = (palette_with_hole(), {"transparency": 0}) if palette else (with_hole("RGBA"), {})
    picture = open_picture(encode(image, "PNG", icc_profile=profiles.RED_AS_BLUE, **options))
    assert tuple(pixel(picture, 4, 4)) == WHITE
    assert is_near(picture, 40, 8, RED[::-1])
    assert picture.notes == ("transparent parts were put on white",)


@pytest.mark.parametrize(
    "embedded",
    [
        profiles.SRGB,
        profiles.RED_AS_BLUE[:-300],
        b"x" * 600,
        profiles.ALL_BLACK,
        profiles.ALL_INKS_GREY,
        profiles.LIGHT_GREY,
        b"\0" * 9_000_000,
    ],
    ids=["sRGB", "cut", "garbage", "black", "of inks", "of greys", "large"],
)
def test_a_profile_that_says_nothing_changes_nothing(embedded):
    content = encode(noise(), "WEBP", lossless=True, icc_profile=embedded)
    assert np.array_equal(np.asarray(open_picture(content).image), np.asarray(noise()))
    assert reading(content) == ""


def test_fuzzed_profiles_change_the_colours_or_nothing():
    rng = random.Random(0)
    for _ in range(60):
        broken = bytearray(rng.choice([profiles.RED_AS_BLUE, profiles.ALL_INKS_GREY]))
        for _ in range(rng.randint(1, 6)):
            broken[int(len(broken) * rng.random() ** 2)] = rng.randrange(256)
        for mode in ("RGB", "CMYK"):
            content = encode(noise((16, 16)).convert(mode), "TIFF", icc_profile=bytes(broken))
            assert open_picture(content).image.mode == "RGB"


def with_hole(mode):
    """Red above blue, with a clear square in the upper left corner."""
    image = halves("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 16, 16))
    return image.convert(mode)


def palette_with_hole():
    image = Image.new("P", (64, 48), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 16, 16))
    return image


@pytest.mark.parametrize(
    "content",
    [
        encode(with_hole("RGBA"), "PNG"),
        encode(with_hole("RGBA"), "WEBP", lossless=True),
        encode(with_hole("RGBA"), "TIFF"),
        encode(with_hole("LA"), "PNG"),
        encode(with_hole("PA"), "TIFF"),
        encode(palette_with_hole(), "PNG", transparency=0),
        encode(palette_with_hole(), "PNG", transparency=b"\0\xff"),
        encode(palette_with_hole(), "GIF", transparency=0),
        encode(palette_with_hole().convert("RGB"), "PNG", transparency=(0, 0, 0)),
        encode(Image.fromarray(np.pad(RAMP[16:] | 1, ((16, 0), (16, 0)))), "PNG", transparency=0),
    ],
    ids=["rgba", "webp", "tiff", "la", "pa", "index", "palette alpha", "gif", "rgb key", "16-bit key"],
)
def test_transparency_is_flattened_on_white_with_a_note(content):
    picture = open_picture(content)
    assert picture.notes == ("transparent parts were put on white",)
    assert tuple(pixel(picture, 4, 4)) == WHITE
    assert tuple(pixel(picture, 20, 20)) != WHITE


@pytest.mark.parametrize(
    "content",
    [
        encode(halves("RGBA"), "PNG"),
        encode(halves("LA"), "PNG"),
        encode(halves().quantize(2), "PNG", transparency=200),
        encode(halves(), "PNG", transparency=(1, 2, 3)),
    ],
)
def test_an_unused_alpha_channel_needs_no_note(content):
    assert open_picture(content).notes == ()


def test_premultiplied_alpha_is_undone():
    pixels = bytes([100, 15, 15, 128]) * 255 + bytes(4)  # half-clear red, stored times its alpha
    content = encode(Image.frombytes("RGBA", (16, 16), pixels), "TIFF")
    unassociated, associated = struct.pack("<HHIHH", 338, 3, 1, 2, 0), struct.pack("<HHIHH", 338, 3, 1, 1, 0)
    assert content.count(unassociated) == 1
    assert is_near(open_picture(content.replace(unassociated, associated)), 5, 5, (227, 142, 142), tolerance=2)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it then reads all the same
@pytest.mark.parametrize("kind", FILES)
def test_fuzzed_files_are_read_or_refused(kind):
    content = FILES[kind]()
    rng = random.Random(kind)
    for _ in range(60):
        broken = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            broken[int(len(broken) * rng.random() ** 3)] = rng.randrange(256)  # mostly near the header
        if rng.random() < 0.3:
            del broken[rng.randrange(len(broken)) :]
        with contextlib.suppress(UnusablePicture):
            picture = open_picture(bytes(broken))
            assert isinstance(picture, Picture)
            assert picture.image.mode == "RGB"


def test_a_text_chunk_bomb_is_refused():
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 70_000_000, zip=True)
    with pytest.raises(UnusablePicture, match="PNG"):
        open_picture(encode(halves(), "PNG", pnginfo=text))


def test_too_little_memory_is_a_reason(monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("deepfake_detector.images._to_rgb", fail)
    with pytest.raises(UnusablePicture, match="too large"):
        open_picture(encode(halves(), "PNG"))


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "L", "CMYK"])
def test_a_picture_that_is_converted_in_parts_is_the_same(kind, monkeypatch):
    image = noise((50, 70)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encode(image.convert(kind), "TIFF" if kind == "CMYK" else "PNG")
    whole = open_picture(content)
    monkeypatch.setattr("deepfake_detector.images._BAND", 130)
    parts = open_picture(content)
    assert parts.image.tobytes() == whole.image.tobytes()
    assert parts.notes == whole.notes


def test_no_more_is_decoded_at_once_than_one_picture_may_have(monkeypatch):
    budget, to_rgb, lock = _Budget(10_000), images._to_rgb, threading.Lock()
    now, most = 0, 0

    def counting(image, profile):
        nonlocal now, most
        pixels = image.width * image.height
        with lock:
            now += pixels
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= pixels
        return to_rgb(image, profile)

    monkeypatch.setattr("deepfake_detector.images._budget", budget)
    monkeypatch.setattr("deepfake_detector.images._to_rgb", counting)
    files = [encode(noise((side, side)), "PNG") for side in (100, 40, 60, 20, 100, 30, 90)] * 4 + [FILES["palette"]()[:-40]] * 4
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(outcome_of, files))
    assert sum(isinstance(one, Picture) for one in done) == 28
    assert 5_000 < most <= 10_000


def outcome_of(content):
    try:
        return open_picture(content)
    except UnusablePicture as error:
        return error


def test_many_threads_agree_with_one():
    files = [make() for make in FILES.values()] * 4
    alone = [open_picture(content) for content in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(open_picture, files))
    assert all(a.image.tobytes() == b.image.tobytes() and a.notes == b.notes for a, b in zip(alone, together, strict=True))
