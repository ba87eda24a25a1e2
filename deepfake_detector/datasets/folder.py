"""A folder of pictures in any of the usual real/fake layouts, or a CSV manifest, as labelled samples."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from deepfake_detector import video
from deepfake_detector.datasets import Listing
from deepfake_detector.errors import DatasetError
from deepfake_detector.families import line_of
from deepfake_detector.files import cut, name_of
from deepfake_detector.images import formats_of
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Sample

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")

# Folder names as _word() writes them. What may also be called so within either class counts only where nothing plainer is said.
_PLAIN = {
    **dict.fromkeys(("real", "reals", "0_real", "training_real"), REAL),
    **dict.fromkeys(("fake", "fakes", "1_fake", "training_fake"), FAKE),
}
_LABELS = {
    **_PLAIN,
    **dict.fromkeys(("nature", "original", "originals", "authentic", "genuine"), REAL),
    **dict.fromkeys(("ai", "synthetic", "generated", "deepfake", "deepfakes", "manipulated"), FAKE),
}
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_NUMBERS = {"0": REAL, "0.0": REAL, "1": FAKE, "1.0": FAKE}  # as a manifest's labels, also where pandas made them fractions
_LAYOUTS = (
    "real/… and fake/GENERATOR/…, GENERATOR/…/0_real and 1_fake, GENERATOR/train/nature and ai, original and deepfake "
    "(any depth, any case, with or without train, val and test), or a manifest.csv with the columns path and label"
)


def scan(root: str | Path, unlabelled: int | None = None) -> Listing:
    """List a folder or manifest. No picture is opened, so a broken one is a sample like any other.

    Pictures in a folder that are below none that says real or fake get the label `unlabelled`; without it they are left out.
    """
    root = Path(root).expanduser()
    if root.is_file() and root.suffix.lower() == ".csv":
        return _read_manifest(root)
    if not root.is_dir():
        single = "is a single file. Name the folder that the pictures lie in, or save a list of them as .csv"
        what = single if root.exists() else "is missing. Correct the path"
        raise DatasetError(f"Expected a folder of pictures or a CSV manifest; {str(root)!r} {what}.")
    manifest = root / "manifest.csv"
    if manifest.is_file():
        listed = _read_manifest(manifest)
        named = {os.path.realpath(sample.path) for sample in listed.samples}
        beside = sum(os.path.realpath(path) not in named for path, _ in walk(str(root), EXTENSIONS + video.EXTENSIONS, []))
        if beside:
            listed.skipped.append((str(root), f"{beside} other pictures or clips lie here, which manifest.csv does not list"))
        return listed
    return _read_folder(root, unlabelled)


def pictures_of(label: int, root: str | Path) -> Listing:
    """The pictures of one label; of a folder's, all but those that it says are of the other."""
    listed = scan(root, unlabelled=label)
    why = f"called {LABEL_NAMES[1 - label]}; {LABEL_NAMES[label]} pictures are asked for"
    others = [(sample.name, why) for sample in listed.samples if sample.label != label]
    return Listing([sample for sample in listed.samples if sample.label == label], [*listed.skipped, *others])


def named_folders(real: Iterable[str], fake: Iterable[str]) -> Listing:
    """All pictures of folders of real pictures and of folders of fakes, each from the source or generator that is its folder's name.

    Raises DatasetError for two folders of one name, for one without pictures of that label, and for one whose own name says the other.
    """
    together, names = Listing(), set()
    for label, root in [*((REAL, root) for root in real), *((FAKE, root) for root in fake)]:
        source = name_of(Path(root).expanduser().resolve())
        if source in names:
            raise DatasetError(f"Two folders are called {source!r}; a folder's name says where its pictures come from. Rename one.")
        names.add(source)
        if Path(root).expanduser().is_dir() and label_of_word(source) == 1 - label:
            raise DatasetError(
                f"{str(root)!r} is given as a folder of {LABEL_NAMES[label]} pictures, but is called {source!r}. Give it as one of "
                f"{LABEL_NAMES[1 - label]} ones, or rename it."
            )
        try:
            listed = pictures_of(label, root)
        except DatasetError:
            found, _, unread = files_below(str(root))
            if found or unread:  # or it is no folder
                raise
            raise DatasetError(
                f"There are no pictures in {str(root)!r}. Give a folder of {LABEL_NAMES[label]} ones (.jpg, .png, …), and no more."
            ) from None
        if not listed.samples:
            raise DatasetError(
                f"There are no {LABEL_NAMES[label]} pictures in {str(root)!r}: {listed.skipped[0][0]} is {listed.skipped[0][1]}."
            )
        for sample in listed.samples:
            within = {"name": f"{source}/{sample.name}", "group": f"{source}/{sample.group}"}
            together.samples.append(replace(sample, generator=source, **within))
        together.skipped.extend((f"{source}/{name}", why) for name, why in listed.skipped)
    return together


def files_below(root: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """What is below a folder: the paths of pictures and clips, the names of other files, and what can't be read, with the reason.

    Each in the order of their names.
    """
    unread: list[tuple[str, str]] = []
    files = sorted(walk(root, None, unread), key=lambda file: (file[1], file[0]))
    found = [path for path, _ in files if _has_ending(path)]
    others = [name for path, name in files if not _has_ending(path)]
    return found, others, [(os.path.join(root, name), reason) for name, reason in sorted(unread)]


def _has_ending(path: str) -> bool:
    """Whether it is a picture's or a clip's."""
    return os.path.splitext(path)[1].lower() in EXTENSIONS + video.EXTENSIONS


# ---- folders


def _read_folder(root: Path, unlabelled: int | None) -> Listing:
    found = Listing()
    left_out = []
    for path, name in walk(str(root), None, found.skipped):
        sample = from_layout(path, name)
        if not _has_ending(name):
            if _is_picture(path):
                found.skipped.append((name, "a picture by its content, but not by its ending; rename it"))
        elif video.is_video(name):
            found.skipped.append((name, "a clip, and these are pictures; --dataset videos reads clips, celeb_df and others known sets"))
        elif sample:
            found.samples.append(sample)
        elif unlabelled is not None:
            found.samples.append(Sample(path, name, unlabelled, LABEL_NAMES[unlabelled], name))
        else:
            left_out.append(name)
    if not found.samples and not left_out:
        unread = "".join(f" {name or 'Itself'}: {reason}." for name, reason in found.skipped[:5])
        raise DatasetError(f"No picture in {str(root)!r}; expected {' '.join(EXTENSIONS)} in {_LAYOUTS}.{unread}")
    if not found.samples:
        folders = sorted({str(PurePosixPath(name).parent) for name in left_out})
        above = " It says so itself: name the folder above it." if label_of_word(name_of(root.resolve())) is not None else ""
        raise DatasetError(
            f"None of the {len(left_out)} pictures in {str(root)!r} is below a folder that says real or fake. "
            f"Accepted: {_LAYOUTS}. Found pictures in: {', '.join(map(repr, folders[:5]))}{', …' if len(folders) > 5 else ''}.{above}"
        )
    check_words(found.samples)
    found.samples.sort(key=lambda sample: (sample.name, sample.path))
    found.skipped.extend((name, "no real/fake folder above it") for name in left_out)
    found.skipped.sort()
    return found


def label_of_word(word: str) -> int | None:
    """The label that a word such as `real`, `nature` or `1_fake` stands for, None for any other."""
    return _LABELS.get(_word(word))


def split_of_word(word: str) -> str:
    """train, val, test, or "" for a word that means none of them."""
    return _SPLITS.get(_word(word), "")


def split_of_name(name: str) -> str:
    """train, val, test or "", as the words in a shard's name, or in the nearest folder above it, say."""
    words = (word for part in reversed(name.split("/")) for word in re.findall("[A-Za-z]+", part))
    return next((split for word in words if (split := split_of_word(word))), "")


def walk(
    path: str,
    extensions: tuple[str, ...] | None,
    skipped: list[tuple[str, str]],
    prefix: str = "",
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[tuple[str, str]]:
    """Each file below with one of these endings, None for all, as (path, name); but no source code that has a clip's ending.

    Links to folders are followed, but not back to one that we are inside of: `above` are these, and `prefix` is how names in them begin.
    """
    try:
        state = os.stat(path)
        here = (state.st_dev, state.st_ino)
        entries = [] if here in above else list(os.scandir(path))
    except OSError as error:
        skipped.append((prefix, f"the folder can't be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        # A name that isn't UTF-8 is written with escapes, so that a table can hold it.
        name = prefix + entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if os.path.isdir(entry.path):
            yield from walk(entry.path, extensions, skipped, f"{name}/", (*above, here))
        elif not (entry.is_symlink() or entry.is_file()):  # a link may lead to any
            if _has_ending(entry.name):
                skipped.append((name, "not a plain file"))
        elif (extensions is None or os.path.splitext(entry.name)[1].lower() in extensions) and video.may_be_clip(entry.path):
            yield entry.path, name


def from_layout(path: str, name: str) -> Sample | None:
    """What the folders above a file say of it, or None where none of them says real or fake."""
    folders = PurePosixPath(name).parts[:-1]
    words = [_word(folder) for folder in folders]
    deciding = _PLAIN if any(word in _PLAIN for word in words) else _LABELS
    label = next((deciding[word] for word in reversed(words) if word in deciding), None)  # the nearest to the file decides
    if label is None:
        return None
    # The farthest decides, as what is shown may be a train; so none of a test set is learnt from.
    split = next((_SPLITS[word] for word in words if word in _SPLITS), "")
    return Sample(path, name, label, _generator(folders, words, label), name, split)


def _generator(folders: tuple[str, ...], words: list[str], label: int) -> str:
    """The generator of a fake, or the source of a real picture, from the folders around the nearest word for its label."""
    at = max(i for i, word in enumerate(words) if _LABELS.get(word) == label)
    named = [i for i, word in enumerate(words) if word not in _SPLITS and word not in _LABELS]
    above = [folders[i] for i in named if i < at]
    below = [folders[i] for i in named if i > at] or [folders[i] for i in range(at + 1, len(words)) if words[i] in _LABELS]  # fake/nature
    known = [folder for folder in above if line_of(folder)]
    if words[at] == "1_fake" and above:  # CNNSpot, UnivFD: progan/cat/1_fake, perhaps below a folder for all of them
        return (known or above)[0]
    if words[at] == "ai" and above:  # GenImage: …/sdv4/train/ai
        return above[-1]
    if words[at] != LABEL_NAMES[label] and LABEL_NAMES[label] in words[:at]:  # fake/Deepfakes: also the name of a method
        return folders[at]
    if label == FAKE and known and not below:  # StyleGAN2/fake
        return known[-1]
    return below[0] if below else LABEL_NAMES[label]


def check_words(samples: Sequence[Sample]) -> None:
    """Raise DatasetError where folders say real and fake of one picture, and what lies beside it does not tell which of them is meant.

    In deepfakes/original and deepfakes/manipulated the inner word does; but a folder AI with nature in it may hold what it says.
    """
    counts = Counter(sample.label for sample in samples)
    below: dict[str, list[tuple[Sample, str]]] = {}  # the outermost folder that says one → what is in it, and the innermost that says one
    for sample in samples:
        folders = PurePosixPath(sample.name).parts[:-1]
        words = [_word(folder) for folder in folders]
        said = [i for i, word in enumerate(words) if word in _LABELS]
        if said and not any(word in _PLAIN for word in words):
            below.setdefault("/".join(folders[: said[0] + 1]), []).append((sample, folders[said[-1]] if len(said) > 1 else ""))
    for outer, inside in below.items():
        meant = _LABELS[_word(PurePosixPath(outer).name)]
        turned = [(sample.name, inner) for sample, inner in inside if sample.label != meant]
        alone = len(turned) == len(inside) < counts[1 - meant]  # other folders hold that class
        if turned and (alone or not all(inner for _, inner in inside)):
            name, inner = turned[0]
            said = f"{outer!r} says {LABEL_NAMES[meant]}, and {inner!r} below it {LABEL_NAMES[1 - meant]}"
            raise DatasetError(f"What {name!r} is can't be told: {said}. Rename one, or put all below folders called real and fake.")


def _is_picture(path: str) -> bool:
    """Whether a file begins as a picture does, whatever its name."""
    if not os.path.isfile(path):  # to open a named pipe would be to wait for ever
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
        with Image.open(io.BytesIO(start), formats=formats_of(start)):
            return True
    except Exception:  # of as many kinds as there are damaged headers
        return False


def _word(folder: str) -> str:
    return folder.strip().lower().replace("-", "_").replace(" ", "_")


# ---- manifests


def _read_manifest(manifest: Path) -> Listing:
    """Rows are counted as a spreadsheet does: the header is row 1."""
    rows = _rows(manifest)
    columns = {column.strip().lower(): i for i, column in enumerate(rows[0] if rows else [])}  # to their place in a row
    if not {"path", "label"} <= columns.keys():
        has = cut(", ".join(columns)) or "none"
        other = " If it is no list of the pictures beside it, give it another name." if manifest.name == "manifest.csv" else ""
        raise DatasetError(f"{manifest} needs the columns path and label, separated by commas; it has: {has}. Save it so.{other}")
    found = Listing()
    rows_of: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        sample = _from_row(manifest, number, {column: row[i] for column, i in columns.items() if i < len(row)})
        first, label = rows_of.setdefault(sample.name, (number, sample.label))
        if label != sample.label:
            raise DatasetError(
                f"{manifest} calls {sample.name!r} {LABEL_NAMES[label]} in row {first} and {LABEL_NAMES[sample.label]} in row {number}; "
                "remove one of them."
            )
        if first == number:
            found.samples.append(sample)
        else:
            found.skipped.append((sample.name, f"row {number} lists again what row {first} lists"))
    if not found.samples:
        raise DatasetError(f"{manifest} lists no pictures; expected a row for each below the header.")
    found.samples.sort(key=lambda sample: sample.name)
    return found


def _from_row(manifest: Path, number: int, cells: dict[str, str]) -> Sample:
    where = f"{manifest}, row {number}"
    if not cells.get("path", "").strip():
        raise DatasetError(f"{where}: expected a path, got nothing. Fill it in or remove the row.")
    name = PurePosixPath(cells["path"].strip()).as_posix()
    said = cells.get("label", "").strip()
    label = _NUMBERS.get(said, label_of_word(said))
    if label is None:
        raise DatasetError(f"{where}: expected the label 0, 1, real or fake (1 = fake), got {said!r}. Correct it or remove the row.")
    hint = cells.get("split", "")
    split = split_of_word(hint)
    if _word(hint) and not split:
        raise DatasetError(f"{where}: expected the split train, val, test or nothing, got {hint!r}. Correct it or empty it.")
    places = [manifest.parent / name, manifest.parent / "images" / name]
    if "\\" in name and (os.sep == "\\" or not any(map(os.path.exists, places))):  # a list that was made on Windows
        name = name.replace("\\", "/")
        places = [manifest.parent / name, manifest.parent / "images" / name]
    _check_label(where, name, cells.get("label_str", ""), label)
    path = next((place for place in places if os.path.exists(place)), places[0])  # if none exists, extraction says so and skips it
    generator, group = (cells.get(column, "").strip() for column in ("generator", "group"))
    if laid := _laid_out(manifest, name):  # what the cells leave open, the folders may say
        split = split or laid.split
        generator = generator or (laid.generator if laid.label == label else "")
    return Sample(str(path), name, label, generator or LABEL_NAMES[label], group or name, split, video=name if video.is_video(name) else "")


def _laid_out(manifest: Path, name: str) -> Sample | None:
    """What the folders in a row's path say of it, as from_layout does; those above the manifest's own folder say nothing."""
    if Path(name).is_absolute():
        above = manifest.parent.absolute()
        if not Path(name).is_relative_to(above):
            return None
        name = Path(name).relative_to(above).as_posix()
    return from_layout("", "/".join(part for part in PurePosixPath(name).parts if part != ".."))


def _check_label(where: str, name: str, in_words: str, label: int) -> None:
    """Raise DatasetError for a label that the row's own words contradict: some lists (xhlulu's on Kaggle) say 1 for real."""
    folders = [folder for folder in PurePosixPath(name).parts[:-1] if _word(folder) in _PLAIN]
    for word, what in ((in_words, "its label_str is"), (folders[-1] if folders else "", "it lies in a folder called")):
        if label_of_word(word) == 1 - label:
            raise DatasetError(
                f"{where}: the label says {LABEL_NAMES[label]} (1 = fake), but {what} {word!r}. If 1 means real in this list, "
                "turn the column round, or point to the folder of the pictures instead."
            )


def _rows(manifest: Path) -> list[list[str]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise DatasetError(f"{manifest} can't be read as a CSV file in UTF-8 ({error}); save it as one.") from error
