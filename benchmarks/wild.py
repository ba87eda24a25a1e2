"""Pictures from elsewhere: 173 by dozens of generators of 2022 to 2026, and 82 photographs, all out of software packages.

    python benchmarks/wild.py PACKAGES WILD
    python evaluate.py --model models/default --model models/seed_mlp --data WILD/small --out reports/wild
    python -m deepfake_detector predict WILD/found

No model here has learnt from them or was chosen by them. wild.csv lists them: the fakes are what ComfyUI's workflow templates show of
their models' work (MIT; 90 pictures, and the middle frame of 83 clips), without posters, drawings and collages; the photographs are
the samples and wallpapers that were found. The packages are fetched into PACKAGES (0.8 GB) by pip and, for Debian's, by apt-get;
each file's SHA-256 is checked.

WILD/found has them as they are. In WILD/small all have gone the way that the templates' pictures went, and then one more, so that the file
tells nothing: the middle square at 400 pixels as WebP, then at 350 pixels as JPEG. What they show still differs: the fakes are
mostly people in good light, the photographs mostly nature and things.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageOps

LIST = Path(__file__).with_suffix(".csv")
TEMPLATE, SIDE = 400, 350


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="where the packages are kept")
    parser.add_argument("out", type=Path, help="the folder to make")
    arguments = parser.parse_args()
    arguments.packages.mkdir(parents=True, exist_ok=True)
    with LIST.open(newline="") as file:
        listed = list(csv.DictReader(file))
    for package, wanted in groupby(sorted(listed, key=lambda row: row["package"]), key=lambda row: row["package"]):
        rows = {row["file"]: row for row in wanted}
        for name, content in members(fetched(package, arguments.packages)):
            if row := rows.pop(name, None):
                if hashlib.sha256(content).hexdigest() != row["sha256"]:
                    sys.exit(f"{name} of {package} is not the file that {LIST.name} lists. Take the release that has it, or list it anew.")
                stem = Path(row["label"], row["name"], row["sha256"][:16])
                write(arguments.out / "found" / stem.with_suffix(Path(name).suffix), as_found(content))
                write(arguments.out / "small" / stem.with_suffix(".jpg"), made_small(content))
        if rows:
            sys.exit(f"{package} has no {', '.join(rows)}. Take the release that {LIST.name} was made with, or list it anew.")
    print(f"{len(listed)} pictures in {arguments.out}")


def fetched(package: str, folder: Path) -> Path:
    """`pypi:NAME==VERSION` or `debian:NAME` → its file, a wheel or .deb, in the folder."""
    index, name = package.split(":")
    pattern = f"{name.replace('-', '_').replace('==', '-')}-*.whl" if index == "pypi" else f"{name}_*.deb"
    if not (found := list(folder.glob(pattern))):
        if index == "pypi":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", name]
        else:
            command = ["apt-get", "download", "--quiet", name]
        if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{package} could not be fetched. Put its file into {folder}, or see what `{' '.join(command)}` says there.")
        found = list(folder.glob(pattern))
    return found[0]


def members(file: Path) -> Iterator[tuple[str, bytes]]:
    """The name and content of each file in a wheel or .deb."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
        return
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        yield from ((one.name.removeprefix("./"), archive.extractfile(one).read()) for one in archive if one.isfile())


def write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def as_found(content: bytes) -> bytes:
    """The file itself, or the middle frame of a clip."""
    picture = Image.open(io.BytesIO(content))
    return saved(middle_frame(picture), "WEBP", lossless=True) if getattr(picture, "n_frames", 1) > 1 else content


def made_small(content: bytes) -> bytes:
    """The middle square as JPEG of 350 pixels a side, after one of at most 400 as WebP."""
    picture = Image.open(io.BytesIO(content))
    square = fitted(middle_frame(picture), TEMPLATE)
    if picture.format != "WEBP":
        square = Image.open(io.BytesIO(saved(square, "WEBP", quality=80)))
    return saved(fitted(square, SIDE), "JPEG", quality=90)


def middle_frame(picture: Image.Image) -> Image.Image:
    picture.seek(getattr(picture, "n_frames", 1) // 2)
    return ImageOps.exif_transpose(picture).convert("RGB")


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The middle square, at most so many pixels a side."""
    side = min(side, *picture.size)
    return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)


def saved(picture: Image.Image, codec: str, **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, codec, **options)
    return out.getvalue()


if __name__ == "__main__":
    main()
