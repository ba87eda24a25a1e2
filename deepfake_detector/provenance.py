"""What a file says of its own origin: Content Credentials, XMP, EXIF, and the texts that generators leave in their files.

That it names a generative model is believed: whoever wants to deceive takes that out, and seldom writes it in. That it names none says
nothing, for all of it is gone once a picture is saved anew, sent or cut out. Watermarks in the pixels (SynthID) only their makers read.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from PIL import ExifTags, Image

from deepfake_detector import credentials, video
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.images import formats_of
from deepfake_detector.types import Declaration

_LONGEST = 300  # characters of what a file says
_LONGEST_XMP = 4 * 2**20
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_AIGC = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"  # China's label, which has been required of generators since 2025 (GB 45438-2025)
_CREATOR_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
_GENERATORS = re.compile(
    r"\b(stable.?diffusion|midjourney|dall[-·.]?e|novelai|comfyui|invokeai|automatic1111|fooocus|swarmui|draw things|adobe firefly)\b", re.I
)
_MOST = 20  # properties that are read of one XMP packet, and declarations that are told of one file
_SIGNATURES = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"II*\0": "tiff", b"MM\0*": "tiff"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"qt  ": "video/quicktime"}
_STILL = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def of_bytes(content: bytes, signers: str = "") -> tuple[Declaration, ...]:
    """What a picture's file declares; raises nothing, and asks no network. `signers` are as in credentials.py."""
    return _told(_of_picture(io.BytesIO(content), signers))


def of_file(path: str | Path, signers: str = "") -> tuple[Declaration, ...]:
    """What a file declares, picture or clip; nothing where it can't be read, which whoever judges it will say."""
    try:
        with open(path, "rb") as file:
            return _told(_of_clip(file, str(path), signers) if video.is_video(str(path)) else _of_picture(file, signers))
    except OSError:
        return ()


def _told(found: list[Declaration]) -> tuple[Declaration, ...]:
    """Those that decide first; in one line each, as a file may say anything."""
    lines = [replace(one, says=_line(one.says), signed_by=_line(one.signed_by)) for one in found]
    return tuple(sorted(lines, key=lambda one: not one.generated)[:_MOST])


def _line(text: str) -> str:
    text = text[: 2 * _LONGEST]
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _of_clip(file: BinaryIO, path: str, signers: str) -> list[Declaration]:
    found = _credentials(file, signers)
    try:
        tags = video.tags(path)
    except (UnusablePicture, OSError):
        return found
    return found + [one for name, value in tags.items() if name.upper() == "AIGC" for one in _aigc("Metadata", value)]


def _of_picture(file: BinaryIO, signers: str) -> list[Declaration]:
    found = _credentials(file, signers)
    file.seek(0)
    try:
        with Image.open(file, formats=formats_of(file.read(12))) as picture:  # reads the header, and decodes nothing
            texts = {name: value for name, value in picture.info.items() if isinstance(name, str) and isinstance(value, str)}
            xmp, exif = picture.info.get("xmp") or texts.get("XML:com.adobe.xmp"), _exif(picture)
    except Exception:  # whatever is broken in it, a picture that can be judged is judged all the same
        return found
    return [*found, *_of_xmp(xmp), *_of_texts(texts), *_of_exif(exif)]


def _credentials(file: BinaryIO, signers: str) -> list[Declaration]:
    kind = _kind(file.read(12))
    file.seek(0)
    return credentials.credentials(kind, file, signers) if kind else []


def _kind(start: bytes) -> str | None:
    """The media type by a file's first bytes, of those that can hold Content Credentials."""
    if start[4:8] == b"ftyp":
        return "image/heic" if start[8:12] in _STILL else _BRANDS.get(start[8:12], "video/mp4")
    if start[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(start[8:12])
    return next((f"image/{name}" for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)


def _of_xmp(packet: bytes | str | None) -> list[Declaration]:
    """What an XMP packet says of the source type and the program; IPTC Photo Metadata Standard 2025.1."""
    packet = (packet.encode() if isinstance(packet, str) else packet or b"").strip(b"\0 \n\r\t")
    if not packet or len(packet) > _LONGEST_XMP or b"\0" in packet or b"<!" in packet.replace(b"<!--", b""):  # as no XMP, but a bomb has it
        return []
    try:
        root = ElementTree.fromstring(packet)
    except (ElementTree.ParseError, ValueError, LookupError):
        return []
    found = []
    for name, value in islice(_properties(root), _MOST):
        if not value:
            continue
        if name == f"{_IPTC}DigitalSourceType":
            found.append(Declaration("XMP", f"{credentials.origin(value)}, by IPTC's field for that", credentials.is_generated(value)))
        elif name == f"{_IPTC}AISystemUsed":
            found.append(Declaration("XMP", f"made with {value}, by IPTC's field for the AI system", True))
        elif name == _AIGC:
            found += _aigc("XMP", value)
        elif name == _CREATOR_TOOL and _GENERATORS.search(value):
            found.append(Declaration("XMP", f"made with {value}", True))
    return found


def _properties(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Those that tell of an origin, by name, and their values, which may be ""; XMP may write one as an element or as an attribute."""
    names = (f"{_IPTC}DigitalSourceType", f"{_IPTC}AISystemUsed", _AIGC, _CREATOR_TOOL)
    for element in root.iter():
        if element.tag in names:
            yield element.tag, _inner(element)
        yield from ((name, value) for name, value in element.attrib.items() if name in names)


def _inner(element: ElementTree.Element) -> str:
    """An XMP property's value: its text, that of the items in it, or the address that it points to."""
    resource = element.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource")
    return resource or "".join(element.itertext()).strip()


def _aigc(where: str, value: str) -> list[Declaration]:
    """The label of GB 45438-2025: 1 says generated, 2 and 3 that who passed it on took it for so."""
    label = _json(value)
    if not isinstance(label, dict):
        return []
    kind, producer = str(label.get("Label")), str(label.get("ContentProducer") or "")
    says = {"1": "made by a generative model", "2": "perhaps made by a generative model", "3": "suspected to be made by a generative model"}
    if kind not in says:
        return []
    by = f" (by the code {producer})" if producer else ""
    return [Declaration(where, f"{says[kind]}{by}, by the label that China requires", kind == "1")]


def _of_texts(texts: dict[str, str]) -> list[Declaration]:
    """The settings that a generator wrote into its own file, so that it could make the picture again."""
    found = []
    for program, left in _LEAVES.items():
        if any(left(name, value) for name, value in texts.items()):
            found.append(Declaration("Text in the file", f"the settings by which {program} made or changed it", True))
    for name, value in texts.items():
        if name == "AIGC":
            found += _aigc("Text in the file", value)
        elif name in ("Software", "Source", "Creator") and _GENERATORS.search(value) and not found:
            found.append(Declaration("Text in the file", f"made with {value}", True))
    return found


def _is_webui(name: str, value: str) -> bool:
    steps = re.search(r"\bSteps: \d+, ", value) if name in ("parameters", "UserComment") else None
    return bool(steps and re.search(r"\b(Sampler|Seed|CFG scale): ", value[steps.end() :]))


def _is_comfy(name: str, value: str) -> bool:
    value = value.removeprefix("prompt:").removeprefix("workflow:")
    graph = _json(value) if name in ("prompt", "workflow", "Make", "Model", "UserComment") else None
    nodes = graph.values() if isinstance(graph, dict) else []
    return any(isinstance(node, dict) and "class_type" in node for node in nodes) or (
        isinstance(graph, dict) and isinstance(graph.get("nodes"), list) and "links" in graph
    )


_LEAVES: dict[str, Callable[[str, str], bool]] = {
    "a program for Stable Diffusion": _is_webui,
    "ComfyUI": _is_comfy,
    "InvokeAI": lambda name, _: name in ("invokeai_metadata", "invokeai_graph", "sd-metadata", "Dream"),
    "NovelAI": lambda name, value: name in ("Software", "Title", "Source") and value.startswith("NovelAI"),
    "Fooocus": lambda name, _: name == "fooocus_scheme",
    "SwarmUI": lambda name, value: name in ("parameters", "UserComment") and "sui_image_params" in value,
    "Midjourney": lambda name, value: name == "Description" and bool(re.search(r"\bJob ID: [0-9a-f-]{36}\b", value)),
}


def _of_exif(exif: dict[str, str]) -> list[Declaration]:
    if found := _of_texts({name: value for name, value in exif.items() if name != "Software"}):
        return found  # what stands for a camera then is a workflow
    make, model, software = exif["Make"], exif["Model"], exif["Software"]
    if _GENERATORS.search(software):
        return [Declaration("EXIF", f"made with {software}", True)]
    camera = model if model.startswith(make) else f"{make} {model}".strip()
    said = [*([f"taken by a camera called {camera}"] if camera else []), *([f"saved by {software}"] if software else [])]
    return [Declaration("EXIF", ", ".join(said))] if said else []


def _exif(picture: Image.Image) -> dict[str, str]:
    """The tags that may tell of an origin, "" for one that is not there."""
    tags, base = picture.getexif(), ExifTags.Base
    found = {tag.name: _text(tags.get(tag)) for tag in (base.Make, base.Model, base.Software)}
    return found | {"UserComment": _comment(tags.get_ifd(ExifTags.IFD.Exif).get(base.UserComment))}


def _comment(value: Any) -> str:
    """EXIF's UserComment, which names its coding in eight bytes; writers disagree on the order of UTF-16's."""
    if not isinstance(value, bytes):
        return _text(value)
    coding, text = value[:8], value[8:]
    if not coding.startswith(b"UNICODE"):
        return text.decode("utf-8", "replace")
    return text.decode("utf-16-be" if text[:1] == b"\0" else "utf-16-le", "replace")


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")).strip("\0 ")


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
