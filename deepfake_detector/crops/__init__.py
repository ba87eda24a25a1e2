"""A picture → the regions to embed: one file a crop, each with a class `Crop`, whose settings are part of its name.

A name such as `faces:padding=0.2:align` asks for a crop and its settings; what is written down is the full name, with every
setting: `faces:detector=mtcnn:padding=0.2:min=32:align`. It is the crop's whole identity: the cache's key, and what tables and models
compare. So a name must never change what it does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from PIL.Image import Image

from deepfake_detector import registry
from deepfake_detector.errors import UnknownName


@dataclass(frozen=True)
class Region:
    """A part of a picture: RGB pixels, its box (left, top, right, bottom) in the oriented picture's pixels, and what to tell of it."""

    picture: Image
    box: tuple[int, int, int, int]
    note: str = ""


@dataclass(frozen=True)
class PictureCrop(ABC):
    """The contract: call it with an RGB picture for its regions, at least one. The fields of a crop are its settings."""

    tracked: ClassVar[bool] = False  # whether its regions are persons, to be followed through a clip

    @abstractmethod
    def __call__(self, picture: Image) -> list[Region]:
        """RGB picture → regions; called from several threads at once. May raise UnusablePicture."""

    @property
    def name(self) -> str:
        """With every setting spelled out, but for switches that are off."""
        kind = type(self).__module__.rpartition(".")[2]
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return ":".join([kind, *(_written(key, value) for key, value in settings.items() if value is not False)])


def load(name: str) -> PictureCrop:
    """`faces:padding=0.2:align` → that crop, the other settings at their defaults; raises UnknownName with what there is."""
    kind, *given = name.split(":")
    made = registry.load("crops", kind).Crop
    known = {field.name: field.default for field in fields(made)}
    settings: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if key not in known:
            there = f"there are: {', '.join(known)}" if known else "it has none"
            raise UnknownName(f"The crop {kind} has no setting {key!r}; {there}.")
        if key in settings:
            raise UnknownName(f"The crop {name!r} has the setting {key} twice; keep one of them.")
        settings[key] = _read(key, known[key], value if equals else None)
    return made(**settings)


def _written(key: str, value: object) -> str:
    return key if value is True else f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"


def _read(key: str, default: object, value: str | None) -> object:
    """A setting's value as its default is: a switch stands alone, the others after an equals sign."""
    if isinstance(default, bool):
        if value is not None:
            raise UnknownName(f"A crop's setting {key} is a switch: write it without a value, or leave it out. Received: {value!r}.")
        return True
    try:
        return type(default)(value or "")
    except ValueError:
        raise UnknownName(f"A crop's setting should be like {_written(key, default)}. Received: {key}={value or ''}.") from None
