"""From the fields that a data set keeps about a picture to a labelled sample: which field says what, and which label means fake."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from deepfake_detector.datasets.folder import label_of_word
from deepfake_detector.errors import DatasetError
from deepfake_detector.files import cut, spelt_out
from deepfake_detector.types import FAKE, LABEL_NAMES, REAL, Sample


@dataclass(frozen=True)
class Fields:
    """Where to look. `all_are` (a label's name) or `label` says the label, `fakes` which of its values mean fake."""

    label: str | None = None
    generator: str | None = None
    group: str | None = None
    fakes: Collection[str] = ()
    all_are: str | None = None
    source: str | None = None


def add_options(parser: argparse.ArgumentParser, label: str) -> None:
    """The options that fill a Fields; `label` says which field holds the label unless told."""
    parser.add_argument("--label-field", metavar="FIELD", help=f"which field holds the label (default: {label})")
    parser.add_argument(
        "--fake-label",
        action="append",
        default=[],
        metavar="VALUE",
        help="this label means fake, and those not named real (repeatable; default: as the words say, such as fake, real)",
    )
    parser.add_argument("--all-are", choices=LABEL_NAMES, help="there is no label: all pictures are real, or all are fake")
    parser.add_argument("--generator-field", metavar="FIELD", help="which field names the generator, or the real picture's source")
    parser.add_argument("--source", metavar="NAME", help="the generator or source of all pictures")
    parser.add_argument("--group-field", metavar="FIELD", help="pictures that have the same here belong together (default: none do)")


def count(text: str) -> int:
    """A number from 0, as an option's type."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {number}")
    return number


class Reader:
    """Makes samples by the fields named; `names` are those of numbered labels, where the data set has them.

    A picture without a group is alone, also beside other data sets' pictures of its name: `origin` tells them apart.
    Raises DatasetError for labels of which nobody has said what they mean: at once where there are names, else with the
    first picture that has one.
    """

    def __init__(self, fields: Fields, origin: str, names: Collection[str] | None = None):
        if fields.all_are and (fields.fakes or fields.label):
            raise DatasetError("--all-are says that there is no label to read, so it goes without --label-field and --fake-label.")
        self._fields, self._origin = fields, origin
        self._fakes = {_text(value) for value in fields.fakes}
        self.unseen = set(self._fakes)
        self._names = list(names) if names else None
        if self._names and not fields.all_are:
            unknown = self._fakes - {_text(name) for name in self._names}
            labels = {self._label(name) for name in self._names}
            if unknown or len(labels) < 2:
                said = f"--fake-label {', '.join(sorted(unknown))} is none" if unknown else f"all of them mean {LABEL_NAMES[labels.pop()]}"
                raise DatasetError(f"The labels are {', '.join(map(repr, self._names))}; {said}. Choose with --fake-label.")

    def sample(self, row: Mapping[str, Any], name: str, split: str, content: bytes, there: Collection[str] | None = None) -> Sample | str:
        """The sample, or the reason why there is none. `there` are the picture's fields, where the row has those alone that are read."""
        fields = self._fields
        if fields.all_are:
            label, word = LABEL_NAMES.index(fields.all_are), fields.all_are
        else:
            said = row.get(fields.label)
            if self._names is not None and isinstance(said, int):
                said = self._names[said] if 0 <= said < len(self._names) else None
            if _is_missing(said):
                there = row if there is None else there
                instead = f" (there are: {cut(', '.join(there)) or 'none'}; see --label-field and --all-are)"
                return f"no label in {fields.label!r}{'' if fields.label in there else instead}"
            label, word = self._label(said), spelt_out(str(said))
            self.unseen.discard(_text(said))
        # A label that is no mere number or word for real or fake is a name.
        plain = label_of_word(word) is not None or _is_number(word)
        generator = _filled(row, fields.generator) or fields.source or (LABEL_NAMES[label] if plain else word)
        group = _filled(row, fields.group) or f"{self._origin}/{name}"
        return Sample(name, name, label, generator, group, split, content=content)

    def _label(self, value: Any) -> int:
        if self._fakes:
            return FAKE if _text(value) in self._fakes else REAL
        label = label_of_word(str(value))
        if label is None:
            among = f" (the labels are {', '.join(map(repr, self._names))})" if self._names else ""
            raise DatasetError(
                f"Whether the label {value!r} means real or fake can't be told{among}. Say which one is fake with --fake-label."
            )
        return label


def _filled(row: Mapping[str, Any], field: str | None) -> str:
    """What stands in a field, "" where nothing or no number does."""
    said = row.get(field) if field else None
    return "" if said is None or said != said else spelt_out(str(said)).strip()


def _is_missing(label: Any) -> bool:
    """Nothing, no number, or -1, by which the hub's test splits say that they keep their labels to themselves."""
    return label is None or label == "" or isinstance(label, int | float) and not label >= 0


def _text(value: Any) -> str:
    """A label as it is compared: numbers and truth values too, without regard to case."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _is_number(word: str) -> bool:
    return word.lower() in ("true", "false") or word.replace(".", "", 1).lstrip("-").isdigit()
