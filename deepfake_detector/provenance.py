"""What a file says of its own origin: Content Credentials, XMP, EXIF, and the texts that generators leave in their files.

That it names a generative model is believed: whoever wants to deceive takes that out, and seldom writes it in. That it names none says
nothing, for all of it is gone once a picture is saved anew, sent or cut out. Watermarks in the pixels (SynthID) only their makers read.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from deepfake_detector import credentials, file_texts, video
from deepfake_detector.errors import UnusablePicture
from deepfake_detector.images import check_file_size
from deepfake_detector.types import Declaration

_LONGEST = 300  # characters of what a file says
_LONGEST_TEXT = 4 * 2**20  # of one that is read
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_SOURCE_TYPE, _AI_SYSTEM = f"{_IPTC}DigitalSourceType", f"{_IPTC}AISystemUsed"
_AIGC = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"  # China's label, which has been required of generators since 2025 (GB 45438-2025)
_CREATOR_TOOL = "{http://ns.adobe.com/xap/1.0/}CreatorTool"
_CREDIT, _GOOGLES = "{http://ns.adobe.com/photoshop/1.0/}Credit", "Made with Google AI"  # as Gemini and Imagen credit their pictures
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_NAMES = r"stable.?diffusion|midjourney|dall[-·.]e|novelai|comfyui|invokeai|automatic1111|fooocus|swarmui|draw things|adobe firefly"
_GENERATORS = re.compile(rf"\b(?:{_NAMES})\b", re.I)
_GENERATOR_ALONE = re.compile(rf"(?:{_NAMES})(?:[ /-]+(?:diffusion|xl|turbo|v?\d[\w.]*|[\da-f]{{8}}))*", re.I)  # with its version at most
_NO_SYSTEM = re.compile(
    r"\W*(?:$|(?:none|no|not|non|n\W?a|nil|null|false|0|unknown|kein\w*|aucune?|ningun\w*|nessun\w*|нет|无|無|なし)\b)", re.I
)
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NO_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\da-fA-F]+);)")
_NO_TAG = re.compile(r"<(?![^\W\d]|[/!?:])")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST = 20  # properties that are read of one XMP packet, and declarations that are told of one file
_SIGNATURES = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"II*\0": "tiff", b"MM\0*": "tiff"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"qt  ": "video/quicktime"}
_STILL = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def of_bytes(content: bytes, signers: str = "") -> tuple[Declaration, ...]:
    """What a picture's file declares; raises nothing, and asks no network. `signers` are as in credentials.py."""
    return _told(_of_picture(io.BytesIO(content), signers))


def of_file(path: str | Path, signers: str = "") -> tuple[Declaration, ...]:
    """What a file declares, picture or clip; nothing where it can't be read, which whoever judges it will say."""
    is_clip = video.is_video(str(path))
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode):
            return ()  # opening a named pipe would wait for ever
        if not is_clip:
            check_file_size(state.st_size)
        with open(path, "rb") as file:
            return _told(_of_clip(file, str(path), signers) if is_clip else _of_picture(file, signers))
    except (OSError, ValueError, UnusablePicture):  # a name that no file can have is a ValueError
        return ()


def _told(found: list[Declaration]) -> tuple[Declaration, ...]:
    """Those that decide first; in one line each, as a file may say anything."""
    lines = [replace(one, says=_line(one.says), signed_by=_line(one.signed_by)) for one in found]
    return tuple(sorted(dict.fromkeys(lines), key=lambda one: not one.generated)[:_MOST])


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
    return found + _of_texts(tags.items(), "Metadata")


def _of_picture(file: BinaryIO, signers: str) -> list[Declaration]:
    found = _credentials(file, signers)
    try:
        held = file_texts.read(file)
    except Exception:  # whatever is broken in it, a picture that can be judged is judged all the same
        return found
    return [*found, *_of_xmp(held.xmp), *_of_texts(held.texts), *_of_exif(held.exif)]


def _credentials(file: BinaryIO, signers: str) -> list[Declaration]:
    kind = _kind(file.read(12))
    if kind == "image/png" and not file_texts.has_few_chunks(file):
        return []
    file.seek(0)
    return credentials.credentials(kind, file, signers) if kind else []


def _kind(start: bytes) -> str | None:
    """The media type by a file's first bytes, of those that can hold Content Credentials."""
    if start[4:8] == b"ftyp":
        return "image/heic" if start[8:12] in _STILL else _BRANDS.get(start[8:12], "video/mp4")
    if start[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(start[8:12])
    return next((f"image/{name}" for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)


def _of_xmp(packets: list[str]) -> list[Declaration]:
    """What XMP says of the source type and the program; IPTC Photo Metadata Standard 2025.1."""
    held = [one for packet in packets[:_MOST] for one in islice(_properties(packet), _MOST)]
    unopposed = all(credentials.is_generated(value) for name, value in held if name == _SOURCE_TYPE)
    found = []
    for name, value in held:
        if name == _SOURCE_TYPE:
            found.append(Declaration("XMP", f"{credentials.origin(value)}, by IPTC's field for that", credentials.is_generated(value)))
        elif name == _AI_SYSTEM and not _NO_SYSTEM.match(value):
            found.append(Declaration("XMP", f"made with {value}, by IPTC's field for the AI system", unopposed))
        elif name == _AIGC:
            found += _aigc("XMP", value, labelled=True)
        elif name == _CREATOR_TOOL and _GENERATORS.search(value):
            found.append(Declaration("XMP", f"made with {value}", unopposed))
        elif name == _CREDIT and value.casefold() == _GOOGLES.casefold():
            found.append(Declaration("XMP", f"credited as {value!r}", unopposed))
    return found


def _properties(packet: str) -> Iterator[tuple[str, str]]:
    """Those of the picture that tell of an origin, by name; XMP may write one as an element or as an attribute.

    What stands deeper is not the picture's: it may be of something that was put into it, or the text of its caption.
    """
    root = _root(packet)
    rdf = root if root is None or root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    for description in rdf if rdf is not None else ():
        for name, held in [*description.attrib.items(), *((child.tag, child) for child in description)]:
            if name in (_SOURCE_TYPE, _AI_SYSTEM, _AIGC, _CREATOR_TOOL, _CREDIT):
                value = held.strip() if isinstance(held, str) else _inner(held)
                if value:
                    yield name, value


def _root(packet: str) -> ElementTree.Element | None:
    """The packet as XML, where it is such but for what writers often forget: to escape a "&" or "<" in a caption."""
    packet = _NOT_XML.sub(" ", packet[packet.find("<") : packet.rfind(">") + 1])
    if len(packet) > _LONGEST_TEXT or "<!DOCTYPE" in packet or "<!ENTITY" in packet:  # as no XMP, but a bomb has it
        return None
    try:
        return ElementTree.fromstring(_NO_TAG.sub("&lt;", _NO_ENTITY.sub("&amp;", packet)))
    except (ElementTree.ParseError, ValueError):
        return None


def _inner(element: ElementTree.Element) -> str:
    """An XMP property's value: its text, that of the items in it, or the address that it points to."""
    return (element.get(f"{_RDF}resource") or "".join(element.itertext())).strip()


def _aigc(where: str, value: str, labelled: bool) -> list[Declaration]:
    """The label of GB 45438-2025: 1 says generated, 2 and 3 that who passed it on took it for so.

    A text that is `labelled` AIGC may be it; any may hold it by that name.
    """
    held = _json(value)
    held = held if isinstance(held, dict) else {}
    label = held.get("AIGC", held if labelled else None)
    label = _json(label) if isinstance(label, str) else label
    if not isinstance(label, dict):
        return []
    kind, producer = str(label.get("Label")), str(label.get("ContentProducer") or "")
    says = {"1": "made by a generative model", "2": "perhaps made by a generative model", "3": "suspected to be made by a generative model"}
    if kind not in says:
        return []
    by = f" (by the code {producer})" if producer else ""
    return [Declaration(where, f"{says[kind]}{by}, by the label that China requires", kind == "1")]


def _of_texts(texts: Iterable[tuple[str, str]], where: str = "Text in the file") -> list[Declaration]:
    """The settings that a generator wrote into its own file, so that it could make the picture again; its name; and China's label."""
    texts = [(name.lower(), value) for name, value in texts if len(value) <= _LONGEST_TEXT]
    found = [
        Declaration(where, f"the settings by which {program} made or changed it", True)
        for program, left in _LEAVES.items()
        if any(left(name, value) for name, value in texts)
    ]
    if not found:
        found = [Declaration(where, f"made with {value}", True) for name, value in texts if _is_generator(name, value)]
    return found + [one for name, value in texts for one in _aigc(where, value, labelled=name == "aigc")]


def _is_generator(name: str, value: str) -> bool:
    """Whether a program or source is one; people write sentences, addresses and their own names there, too."""
    if name == "software":
        return bool(_GENERATORS.search(value))
    return name in ("source", "creator") and len(value) <= _LONGEST and bool(_GENERATOR_ALONE.fullmatch(value))


def _is_webui(name: str, value: str) -> bool:
    steps = re.search(r"\bSteps: \d+, ", value) if name in ("parameters", *_COMMENTS) else None
    return bool(steps and re.search(r"\b(Sampler|Seed|CFG scale): ", value[steps.end() :]))


def _is_comfy(name: str, value: str) -> bool:
    """Whether it is a graph of its nodes, as it is called; so it is in EXIF behind that name, and in comments by it, or bare."""
    if name in ("prompt", "workflow"):
        return _is_graph(value)
    if name not in ("make", "model", *_COMMENTS):
        return False
    called, _, graph = value.partition(":")
    if called in ("prompt", "workflow"):
        return _is_graph(graph)
    held = _json(value)
    if not isinstance(held, dict):
        return False
    bare = any(isinstance(node, dict) and {"class_type", "inputs"} <= node.keys() for node in held.values())
    return bare or _is_graph(held.get("prompt")) or _is_graph(held.get("workflow"))


def _is_graph(graph: Any) -> bool:
    graph = _json(graph) if isinstance(graph, str) else graph
    if not isinstance(graph, dict):
        return False
    by_number = any(isinstance(node, dict) and "class_type" in node for node in graph.values())
    return by_number or (isinstance(graph.get("nodes"), list) and "links" in graph)


def _is_dream(name: str, value: str) -> bool:
    """The command by which InvokeAI's first versions would make it again."""
    return name == "dream" and value.startswith('"') and all(re.search(rf" -{setting} ?-?\d", value) for setting in "sS")


def _is_midjourney(name: str, value: str) -> bool:
    job = re.search(rf"\bJob ID: {_UUID}\s*$", value) if name in ("description", "imagedescription") else None
    return bool(job and re.search(r" --(v|version|niji|ar|aspect) \d", value[: job.start()]))


_COMMENTS = ("comment", "usercomment")
_LEAVES: dict[str, Callable[[str, str], bool]] = {
    "a program for Stable Diffusion": _is_webui,
    "ComfyUI": _is_comfy,
    "InvokeAI": lambda name, value: name in ("invokeai_metadata", "invokeai_graph", "sd-metadata") or _is_dream(name, value),
    "NovelAI": lambda name, value: (
        (name, value) == ("title", "NovelAI generated image") or (name == "software" and value.startswith("NovelAI"))
    ),
    "Fooocus": lambda name, _: name == "fooocus_scheme",
    "SwarmUI": lambda name, value: name in ("parameters", *_COMMENTS) and "sui_image_params" in value,
    "Midjourney": _is_midjourney,
}


def _of_exif(exif: dict[str, str]) -> list[Declaration]:
    found = _of_texts((name, value) for name, value in exif.items() if name != "Software")
    if any(one.generated for one in found):
        return found  # what stands for a camera then may be a workflow
    make, model, software = exif["Make"], exif["Model"], exif["Software"]
    if _GENERATORS.search(software):
        return [*found, Declaration("EXIF", f"made with {software}", True)]
    camera = model if model.startswith(make) else f"{make} {model}".strip()
    said = [*([f"taken by a camera called {camera}"] if camera else []), *([f"saved by {software}"] if software else [])]
    return [*found, Declaration("EXIF", ", ".join(said))] if said else found


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
