"""A trained model on disk: the head's own files, and a manifest that says which embeddings it takes and what its answers mean."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector import registry
from deepfake_detector.calibration import Calibration, kept_apart
from deepfake_detector.encoders import PictureEncoder, hf_classifier
from deepfake_detector.errors import BundleError, TableError, kind_and_words
from deepfake_detector.families import SWAP, line_of
from deepfake_detector.family_head import FamilyHead
from deepfake_detector.files import check_folder, locked, sync, write_bytes
from deepfake_detector.heads import EmbeddingHead
from deepfake_detector.looks_filmed import LooksFilmed
from deepfake_detector.recall import FILE as _RECALL
from deepfake_detector.recall import Recall
from deepfake_detector.types import LABEL_NAMES, Embeddings, EncoderSpec, KeptApart, Sought, Thresholds, made_differently
from deepfake_detector.vectors import Vectors

_FORMAT = 1
_ENCODER, _ENCODER_FOLDER = "encoder.safetensors", "encoder"  # a file, or a folder in transformers' format
_LEARNT = "learnt.npy"
_LEAST = 1e-3  # by which probabilities differ as the page tells them
_OWN_FILE = re.compile(rf"manifest\.json|{_ENCODER_FOLDER}|(head|family|encoder|filmed)\.\w+|{_LEARNT}|{_RECALL}|curves\.png")


@dataclass(frozen=True)
class Bundle:
    """`manifest` is the whole of manifest.json; the other fields are what of it is acted upon.

    `family` tells the families of generators apart; None where training found no answer worth giving. `encoder_weights` is the file, or
    the folder, of an encoder that was tuned for this model, None where the encoder is one for all. `remembered` is what it may
    learn another source or generator by, or the file that has it. `learnt` are the `fingerprints` of its training pictures, None where
    nobody kept them. `looks_filmed` tells stills out of clips, which are then answered about as these are; None where nothing does.
    """

    name: str
    head: EmbeddingHead
    head_name: str
    spec: EncoderSpec
    crop: str
    calibration: Calibration
    thresholds: Thresholds
    manifest: dict[str, Any]
    family: FamilyHead | None = None
    encoder_weights: Path | None = None
    remembered: Recall | Path | None = None
    learnt: np.ndarray | None = None
    looks_filmed: LooksFilmed | None = None

    @cached_property
    def recall(self) -> Recall | None:
        """What it may learn another source or generator by, read when it is first asked for; raises BundleError if it can't be."""
        return Recall.load(self.remembered) if isinstance(self.remembered, Path) else self.remembered

    @cached_property
    def of_clips(self) -> list[Calibration]:
        """The calibrations for frames of clips, by the coding that they look like; none where that of pictures serves."""
        return [Calibration(**_numbers(one["calibration"])) for one in self.manifest.get("clips", {}).values()]

    @property
    def looks_for(self) -> Sought:
        """Face swaps where all fakes that it learnt from are such by their names, else fakes of any kind."""
        lines = [line_of(generator) for generator in self.manifest["training"].get("train", {}).get("fake", {})]
        return "face swaps" if lines and all(line and line.family == SWAP for line in lines) else "fakes"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its manifest, and so of manifest.json as `save` writes it."""
        return hashlib.sha256(_as_text(self.manifest).encode()).hexdigest()

    def encoder(self, device: str, weights: str | None = None) -> PictureEncoder:
        """The encoder whose embeddings it takes; `weights` is a local file in place of the published weights.

        Raises BundleError where one came with it, and is gone.
        """
        given = weights or (str(self.encoder_weights) if self.encoder_weights else None)
        if not given and {"tuned", "adopted"} & self.manifest["training"].keys():
            raise BundleError(
                f"The model {self.name} lacks the encoder that came with it ({_ENCODER}, or the folder {_ENCODER_FOLDER}). Copy the "
                "model's whole folder again."
            )
        return registry.load("encoders", self.spec.name).Encoder(device=device, weights=given)

    def p_fake(
        self, X: Vectors, of_clips: bool | np.ndarray = False, saved_again: bool = False, of_one: np.ndarray | None = None
    ) -> np.ndarray:
        """X: (n, spec.dim) float32 → (n,) calibrated probabilities of being fake.

        `of_clips` says which are frames of clips, and `saved_again` that these were saved since; others that look as if they had been are
        taken for such, too, and those that nearly do are fake only where they would be as such, and unsure else. What has the same number
        in `of_one` (n,), as the frames of one clip, was coded in the same way.
        """
        scores = self.head.p_fake(X)
        p_fake = self.calibration(scores)
        if self.of_clips:
            like, nearly = self._like(X, of_clips, saved_again, of_one)
            unsure = self.thresholds.fake - _LEAST
            if unsure <= self.thresholds.real:  # where nothing is unsure, it would be called real
                nearly = like
            for i, calibration in enumerate(self.of_clips):
                own, doubted = like == i, (like < 0) & (nearly == i) & self.thresholds.calls_fake(p_fake)
                p_fake[own] = calibration(scores[own])
                p_fake[doubted] = np.clip(calibration(scores[doubted]), unsure, p_fake[doubted])
        return p_fake

    def p_fake_of(self, data: Embeddings) -> np.ndarray:
        """(n,) the same of a table, whose rows say which are frames of clips, and of which."""
        if "video" not in data.rows:
            return self.p_fake(data.X)
        video = data.rows["video"]
        clips, alone = pd.factorize(video)[0], np.arange(len(data)) + len(data)
        of_clips = (video != "").to_numpy()
        return self.p_fake(data.X, of_clips, of_one=np.where(of_clips, clips, alone))

    def taken_for_frames(self, X: Vectors) -> np.ndarray:
        """X: (n, spec.dim) float32 → (n,) bool, of which pictures the answer is one about a frame of a clip, by their looks."""
        return self._like(X, of_clips=False)[0] >= 0

    def held_back(self, X: Vectors) -> np.ndarray:
        """X: (n, spec.dim) float32 → (n,) bool, which pictures would be called fake were it plain that they were not filmed."""
        return self.thresholds.calls_fake(self.calibration(self.head.p_fake(X))) & ~self.thresholds.calls_fake(self.p_fake(X))

    def _like(
        self, X: Vectors, of_clips: bool | np.ndarray, saved_again: bool = False, of_one: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n,) by which of the calibrations for frames each is answered about, -1 by that for pictures, and by which it nearly would be."""
        if self.looks_filmed:
            margins = self.looks_filmed.margins(X)
            if of_one is not None:
                _, which = np.unique(of_one, return_inverse=True)
                margins = (np.stack([np.bincount(which, column) for column in margins.T], axis=1) / np.bincount(which)[:, None])[which]
            return self.looks_filmed.like(margins, of_clips, saved_again), self.looks_filmed.nearly_like(margins)
        like = np.where(np.broadcast_to(of_clips, len(X)), 0, -1)
        return like, like

    def has_learnt(self, rows: pd.DataFrame) -> np.ndarray:
        """(n,) bool, of which rows it is known to have learnt the file, or the photograph that it was made of."""
        if self.learnt is None:
            return np.zeros(len(rows), bool)
        files = _files(rows)
        known = set(itertools.compress(files, np.isin(_hashed(files), self.learnt)))
        return np.any([rows[name].isin(known) for name in ("sha256", "made_from") if name in rows], axis=0)

    def kept_apart(self, p_fake: float) -> KeptApart | None:
        """Where a picture's probability lies among those of the pictures that training kept apart."""
        return kept_apart(self.manifest["promise"], p_fake)

    def fits(self, spec: EncoderSpec, crop: str) -> bool:
        """Whether embeddings of this spec and crop are those that the head was trained on."""
        return spec == self.spec and crop == self.crop

    def check_encoder(self, spec: EncoderSpec, crop: str) -> None:
        """Raise BundleError where the encoder that came with it is not what it was, and TableError where another does not fit."""
        differences = made_differently(self.spec, self.crop, spec, crop)
        if differences and self.encoder_weights:
            raise BundleError(
                f"The model {self.name} takes embeddings by the encoder that came with it; {self.encoder_weights} is damaged or another's "
                f"({differences}). Copy the model's whole folder again, and give no other --weights."
            )
        self.check(spec, crop, "the encoder at hand")

    def check(self, spec: EncoderSpec, crop: str, what: str) -> None:
        """Raise TableError, saying what differs, unless such embeddings fit."""
        if differences := made_differently(self.spec, self.crop, spec, crop):
            raise TableError(
                f"The model {self.name} takes embeddings of {self.spec.name}; {what} was made otherwise "
                f"({differences}). Extract again with --encoder {self.spec.name} --crop {self.crop}, "
                "or train a model on this table."
            )


def fingerprints(rows: pd.DataFrame) -> np.ndarray:
    """The SHA-256s of the rows' files, and of the photographs that some were made of, each once: (k,) uint64, sorted.

    The 8 bytes of one say whether a file is among them and nothing else.
    """
    return np.sort(_hashed(_files(rows)))


def _files(rows: pd.DataFrame) -> list[str]:
    return sorted({*rows["sha256"], *rows.get("made_from", ())} - {""})


def _hashed(files: list[str]) -> np.ndarray:
    return np.frombuffer(b"".join(hashlib.blake2b(file.encode(), digest_size=8).digest() for file in files), "<u8")


def check_target(folder: Path) -> None:
    """Raise BundleError where no model can be saved, before hours are spent on one.

    An older model is replaced, but not one with something beside it, such as the cards of the shipped ones: that would be lost.
    """
    check_folder(folder.parent)
    if not folder.parent.exists():
        return
    with locked(folder.parent):
        _put_back(folder)
        _check_replaceable(folder)


def _put_back(folder: Path) -> None:
    """Finish what a kill cut off between the two renames of `save`: the new model is whole by then. To be called under the lock."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*/replaced"):
        fresh = left.parent / folder.name
        if fresh.is_dir() and not folder.exists():
            fresh.rename(folder)
            shutil.rmtree(left.parent)


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    try:
        own = json.loads((folder / "manifest.json").read_text())["label_order"] == list(LABEL_NAMES)
    except (OSError, ValueError, KeyError, TypeError):
        own = False
    if not own:
        raise BundleError(f"{folder} exists and is no model (it has no manifest.json of one); choose another --out.")
    foreign = sorted(file.name for file in folder.iterdir() if not _OWN_FILE.fullmatch(file.name))
    if foreign:
        raise BundleError(f"{folder} holds more than a model ({', '.join(foreign[:3])}), which would be lost; choose another --out.")


def completed(bundle: Bundle) -> Bundle:
    """The same with the whole of manifest.json as its manifest: what is acted upon may be missing there, or another model's."""
    fields = {
        "format": _FORMAT,
        "name": bundle.name,
        "head": bundle.head_name,
        "label_order": list(LABEL_NAMES),
        "encoder": bundle.spec.to_json(),
        "crop": bundle.crop,
        "calibration": asdict(bundle.calibration),
        "thresholds": asdict(bundle.thresholds),
    }
    parts = {"family": bundle.family, "looks_filmed": bundle.looks_filmed}
    fields |= {name: part.to_json() for name, part in parts.items() if part}
    rest = {key: value for key, value in bundle.manifest.items() if key not in (*fields, *parts)}
    return replace(bundle, manifest=fields | rest)


def save(bundle: Bundle, folder: str | Path, draw: Callable[[Path], object] = lambda place: None) -> None:
    """Write the bundle; an older one under the same name is replaced only once the new one is complete. Raises BundleError.

    `draw` may put its curves into the folder that it is given, so that they come with the model that they are of.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_target(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as part:
        fresh = Path(part) / folder.name
        fresh.mkdir()
        _write(completed(bundle), fresh)
        draw(fresh)
        for written in (*fresh.rglob("*"), fresh):
            sync(written)
        with locked(folder.parent):  # others may save a model there at the same time, or write its card
            _check_replaceable(folder)
            if folder.exists():
                folder.rename(Path(part) / "replaced")
            fresh.rename(folder)


def _write(bundle: Bundle, folder: Path) -> None:
    """All of its files into an empty folder."""
    bundle.head.save(folder)
    if bundle.encoder_weights and bundle.encoder_weights.is_dir():
        (folder / _ENCODER_FOLDER).mkdir()
        for name in hf_classifier.FILES:
            shutil.copyfile(bundle.encoder_weights / name, folder / _ENCODER_FOLDER / name)
    elif bundle.encoder_weights:
        shutil.copyfile(bundle.encoder_weights, folder / _ENCODER)
    for part in (bundle.recall, bundle.family, bundle.looks_filmed):
        if part:
            part.save(folder)
    if bundle.learnt is not None:
        np.save(folder / _LEARNT, bundle.learnt)
    (folder / "manifest.json").write_text(_as_text(bundle.manifest))


def _as_text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2) + "\n"


def keep_figures(folder: str | Path, name: str, figures: dict[str, Any]) -> None:
    """Add to a model's manifest how it does on pictures from elsewhere, in place of what it had under this name. Raises BundleError."""
    place = Path(folder) / "manifest.json"
    try:
        with locked(place.parent):  # another may keep its own at the same time
            manifest = json.loads(place.read_text())
            manifest["elsewhere"] = manifest.get("elsewhere", {}) | {name: figures}
            write_bytes(place, _as_text(manifest).encode())
    except OSError as error:
        raise BundleError(f"{place} can't be written ({error.strerror or error}), so the model keeps no figures of {name!r}.") from error


def load(folder: str | Path) -> Bundle:
    """Read a bundle; raises BundleError naming what is missing or wrong."""
    folder = Path(folder)
    if not folder.exists() and folder.parent.is_dir():
        with suppress(OSError), locked(folder.parent):  # a folder that may not be listed, or written
            _put_back(folder)
    manifest = read_manifest(folder)
    try:
        _check_fields(manifest)
        head = registry.load("heads", manifest["head"]).Head.load(folder)
        bundle = Bundle(
            name=folder.resolve().name,
            head=head,
            head_name=manifest["head"],
            spec=EncoderSpec.from_json(manifest["encoder"]),
            crop=manifest["crop"],
            calibration=Calibration(**_numbers(manifest["calibration"])),
            thresholds=Thresholds(**_numbers(manifest["thresholds"])),
            manifest=manifest,
            family=FamilyHead.load(folder, manifest["family"]) if "family" in manifest else None,
            encoder_weights=_encoder_weights(folder),
            remembered=folder / _RECALL if (folder / _RECALL).is_file() else None,
            learnt=np.load(folder / _LEARNT, allow_pickle=False) if (folder / _LEARNT).is_file() else None,
            looks_filmed=LooksFilmed.load(folder, manifest["looks_filmed"]) if "looks_filmed" in manifest else None,
        )
    except ImportError as error:
        raise BundleError(f"The head {manifest['head']} needs {error.name}: pip install -r requirements.txt.") from error
    except Exception as error:  # what reads them (zip, keras, skops, safetensors, numpy) raises almost anything
        raise BundleError(f"The model at {folder} is damaged ({kind_and_words(error)}). Train it again.") from error
    filmed = [bundle.looks_filmed.weight.shape[1]] if bundle.looks_filmed else []
    for width in (head.width_, *([bundle.family.width] if bundle.family else []), *filmed):
        if width != bundle.spec.dim:
            raise BundleError(f"The head at {folder} takes {width} numbers, its encoder gives {bundle.spec.dim}. Train the model again.")
    try:
        answer = bundle.p_fake(np.zeros((1, bundle.spec.dim), np.float32))
    except Exception as error:  # its files are of different models, say
        raise BundleError(f"The model at {folder} gives no answer ({kind_and_words(error)}). Train it again.") from error
    if not np.isfinite(answer).all():
        raise BundleError(f"The model at {folder} is damaged: its head gives no answer. Train it again.")
    return bundle


def read_manifest(folder: Path) -> dict[str, Any]:
    """Of a format that is known; raises BundleError."""
    place = folder / "manifest.json"
    try:
        manifest = json.loads(place.read_text())
    except NotADirectoryError:
        packed = "Unpack it, and name the folder" if folder.suffix == ".zip" else "Name that"
        raise BundleError(f"{folder} is a file; a model is a folder, as train_classifier.py makes one. {packed}.") from None
    except FileNotFoundError:
        siblings = sorted(f.parent.name for f in folder.parent.glob("*/manifest.json")) if folder.parent.is_dir() else []
        known = f"; in {folder.parent} there are: {', '.join(siblings)}" if siblings else ""
        raise BundleError(f"There is no model at {folder} (no manifest.json){known}. Train one with train_classifier.py.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{place} can't be read ({error}). Train the model again.") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{place} should hold a JSON object; it holds a {type(manifest).__name__}. Train the model again.")
    if manifest.get("format") != _FORMAT or manifest.get("label_order") != list(LABEL_NAMES):
        raise BundleError(
            f"{place} should have format {_FORMAT} and label_order {list(LABEL_NAMES)}; it has {manifest.get('format')!r} and "
            f"{manifest.get('label_order')!r}. Train the model again."
        )
    if isinstance(clips := manifest.get("clips"), dict) and "calibration" in clips:
        raise BundleError(
            f"{place} has one calibration for all clips, so another version of this program made it; expected one for each coding. "
            "Train the model again."
        )
    return manifest


def _encoder_weights(folder: Path) -> Path | None:
    if (folder / _ENCODER).is_file():
        return folder / _ENCODER
    return folder / _ENCODER_FOLDER if (folder / _ENCODER_FOLDER).is_dir() else None


def _check_fields(manifest: dict[str, Any]) -> None:
    """One of the errors that mean damage where what is shown beside every answer, or decides it, is not what it has to be."""
    kept_apart(manifest["promise"], 0.5)
    learnt = manifest["training"].get("train", {})
    if not isinstance(manifest["crop"], str):
        raise TypeError(f"crop should be a name, and is {manifest['crop']!r}")
    if not isinstance(learnt, dict) or not all(isinstance(learnt.get(name, {}), dict) for name in LABEL_NAMES):
        raise TypeError("training.train should count the pictures of each source of a class")
    if type(manifest["encoder"]["dim"]) is not int:
        raise TypeError(f"encoder.dim should be a whole number, and is {manifest['encoder']['dim']!r}")
    thresholds = _numbers(manifest["thresholds"])
    clips = manifest.get("clips", {})
    if "looks_filmed" in manifest and [*clips] != manifest["looks_filmed"]["codings"]:
        raise ValueError(f"calibrations for {[*clips]}, and answers to what looks like {manifest['looks_filmed']['codings']}")
    calibrations = [one["calibration"] for one in (manifest, *clips.values())]
    if thresholds["real"] > thresholds["fake"] or any(Calibration(**_numbers(one)).slope < 0 for one in calibrations):
        raise ValueError(f"thresholds {thresholds} that cross, or a calibration that turns the head round")


def _numbers(fields: dict[str, Any]) -> dict[str, float]:
    """All of them as finite numbers, or one of the errors that mean damage: now, rather than at the first picture."""
    numbers = {name: float(value) for name, value in fields.items()}
    if not np.isfinite(list(numbers.values())).all():
        raise ValueError(f"not all of {numbers} are finite")
    return numbers
