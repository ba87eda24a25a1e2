"""Content Credentials: what a file's signed C2PA manifest says of how the picture came about.

C2PA Technical Specification 2.4; a picture's origin is told in the words of IPTC's vocabulary of digital source types.
"""

from __future__ import annotations

import json
import re
import ssl
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_detector.errors import TableError
from deepfake_detector.types import Declaration

WHERE = "Content Credentials"
_GENERATED = {
    "trainedAlgorithmicMedia": "made by a generative model",
    "trainedAlgorithmicData": "made by a generative model",
    "compositeWithTrainedAlgorithmicMedia": "put together with parts by a generative model",
    "compositedWithTrainedAlgorithmicMedia": "put together with parts by a generative model",  # as C2PA's guidance spells it
    "compositeSynthetic": "put together of several pictures, at least one of them by a generative model",
}
_OTHERWISE = {
    "digitalCapture": "taken by a camera",
    "computationalCapture": "taken by a camera, several shots in one",
    "compositeCapture": "put together of photographs",
    "negativeFilm": "scanned from film",
    "positiveFilm": "scanned from film",
    "print": "scanned from paper",
    "screenCapture": "a screenshot",
    "virtualRecording": "recorded from a virtual event",
    "digitalArt": "drawn by a person",
    "digitalCreation": "made by a person with a program",
    "humanEdits": "edited by a person",
    "minorHumanEdits": "edited by a person a little",
    "composite": "put together of several pictures",
    "algorithmicMedia": "made by a program that has learnt nothing",
    "algorithmicallyEnhanced": "enhanced by a program",
    "dataDrivenMedia": "drawn from data",
}
_KNOWN = {name.lower(): name for name in (*_GENERATED, *_OTHERWISE)}
# Nothing is fetched, neither a manifest that is kept elsewhere nor a certificate's state. Without a list of signers, which changes by the
# week, a signature shows that nothing was changed since, and by whom it says it is.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False, "verify_timestamp_trust": False},
    "core": {"allowed_network_hosts": []},
}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[!-~\s]+?-----END CERTIFICATE-----")
_VOUCHED = {None: "", True: " (on the list of signers)", False: " (not on the list of signers)"}
# A seal that has become old is unbroken, and so is one by somebody unknown.
_UNBROKEN = ("signingCredential.expired", "signingCredential.untrusted", "claimSignature.outsideValidity", "timeStamp.")
_PASSED = (".match", ".validated", ".insideValidity", ".trusted", ".accessible", ".notRevoked")  # old files note these among what failed
_PART = "with a part"
_TAKEN_UP = {"parentOf": "made from one", "componentOf": _PART}  # of others, a prompt's say, nothing is in the picture


def read_signers(file: str | Path) -> str:
    """A list of the authorities that may vouch for signers: certificates in PEM, such as C2PA's trust list; raises TableError."""
    store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not Path(file).is_file():
        raise TableError(f"There is no file {file}. It should be a list of certificates in PEM, such as C2PA's trust list.")
    try:
        signers = "\n".join(one.decode() for one in _CERTIFICATE.findall(Path(file).read_bytes()))
        store.load_verify_locations(cadata=signers)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TableError(
            f"{file} should hold certificates in PEM, each from BEGIN CERTIFICATE to END CERTIFICATE, as C2PA's trust list does ({error})."
        ) from error
    held = store.cert_store_stats()
    if own := held["x509"] - held["x509_ca"]:
        raise TableError(
            f"{file} should hold certificates of authorities, which vouch for signers; {own} of its {held['x509']} are signers' own. "
            "Put those in their place that issued them."
        )
    return signers


def credentials(kind: str, file: BinaryIO, signers: str) -> list[Declaration]:
    """What the manifest in a file of this media type declares, then what those of its sources do; [] without one.

    The file is read from its start. `signers` are certificates as `read_signers` gives them; without any, nobody's signature is
    vouched for. Raises nothing: a damaged manifest says that it is damaged.
    """
    import c2pa

    settings = _SETTINGS | {"verify": _SETTINGS["verify"] | {"verify_trust": True}, "trust": {"trust_anchors": signers}}
    try:
        with c2pa.Context.from_dict(settings if signers else _SETTINGS) as context, c2pa.Reader(kind, file, context=context) as reader:
            return _declarations(json.loads(reader.json()), bool(signers))
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported, c2pa.C2paError.Other, c2pa.C2paError.Io):
        return []  # it holds none, or is no such file
    except (c2pa.C2paError, ValueError, KeyError, TypeError, AttributeError) as error:  # what is inside may be of any shape
        if elsewhere := re.search(r"remote manifest\S* from url (\S+)", str(error)):
            return [Declaration(WHERE, f"kept at {elsewhere[1]}, which was not asked: nothing is fetched")]
        return [Declaration(WHERE, f"damaged, so that they say nothing ({error})")]


def origin(source_type: str) -> str:
    """An IPTC digital source type, by its address or its last part → what it says of a picture."""
    name = _term(source_type)
    return _GENERATED.get(name) or _OTHERWISE.get(name) or f"of the source type {name!r}"


def is_generated(source_type: str) -> bool:
    return _term(source_type) in _GENERATED


def _term(source_type: str) -> str:
    """The last part of its address, as the vocabulary spells it where it knows it; a query or fragment names nothing."""
    address = re.split("[?#]", source_type)[0].strip().rstrip("/")
    name = re.split("[/:]", address)[-1]  # IPTC writes digsrctype:NAME, too
    return _KNOWN.get(name.lower(), name)


def _declarations(store: dict[str, Any], checked: bool) -> list[Declaration]:
    """The file's own words, then those of its sources, as far as seals hold; each by its own signer, who answers for nobody else's."""
    checks = _checks(store)
    ahead, seen, found = [(store["active_manifest"], "")], set(), []
    while ahead:
        label, source = ahead.pop(0)
        manifest = store["manifests"].get(label)
        if manifest is None or label in seen:
            continue
        seen.add(label)
        if broken := sorted({code for kind, code, _ in checks[label] if kind == "failure" and not code.startswith(_UNBROKEN)}):
            whose = f"{source} whose own" if source else "of another file, or of this one before it was changed: their"
            found.append(Declaration(WHERE, f"{whose} seal is broken ({', '.join(broken)})"))
            continue
        origins = list(_origins(manifest))
        if origins or not source:
            found.append(_declaration(manifest, origins, source, _is_vouched_for(checks[label]) if checked else None))
        removed = _removed(manifest)
        for ingredient in manifest.get("ingredients") or []:
            taken_up = _TAKEN_UP.get(ingredient.get("relationship"))
            if taken_up and ingredient.get("label") not in removed:
                ahead.append((ingredient.get("active_manifest"), _PART if source == _PART else taken_up))
    return found


def _declaration(manifest: dict[str, Any], origins: list[tuple[str, str]], source: str, vouched_for: bool | None) -> Declaration:
    """What one manifest says under an unbroken seal; `source` is "" for the file's own, else what that file is to this."""
    signature = manifest.get("signature_info") or {}
    signer = signature.get("issuer") or signature.get("common_name") or ""
    which = f"{source} that was " if source else ""
    said = [f"{which}{origin(source_type)}{f' ({agent})' if agent else ''}" for source_type, agent in origins]
    told = "; ".join(dict.fromkeys(said)) or "nothing of how the picture came about"
    program = _program(manifest)
    written = f"; written by {program}" if program else ""
    sealed = f"signed {f'in the name of {signer}' if signer else 'by a nameless signer'}{_VOUCHED[vouched_for]}"
    unchanged = "" if source else ", and unchanged since"
    generated = any(is_generated(source_type) for source_type, _ in origins)
    return Declaration(WHERE, f"{told}{written}; {sealed}{unchanged}", generated, signer or "a nameless signer", vouched_for)


def _checks(store: dict[str, Any]) -> dict[str, set[tuple[str, str, bool]]]:
    """A manifest's label → what was checked of it: ("success" or "failure", the code, whether now).

    Else it is what they noted who took its file up into theirs. Whether that was whole nobody else can know; and what was noted about any
    manifest is not told again now.
    """
    found: dict[str, set[tuple[str, str, bool]]] = defaultdict(set)
    for results, label, now in _results(store):
        deltas = (delta["validationDeltas"] for delta in results.get("ingredientDeltas") or [])
        for checked in (results.get("activeManifest") or {}, *deltas):
            for kind in ("success", "failure"):
                for one in checked.get(kind) or []:
                    about = re.search("/c2pa/([^/]+)", one.get("url") or "")
                    found[about[1] if about else label].add((kind, one["code"], now))
    return found


def _results(store: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """(results of checks, the label of the manifest that they are of where they name none, whether they are of now)."""
    yield store["validation_results"], store["active_manifest"], True
    for manifest in store["manifests"].values():
        for ingredient in manifest.get("ingredients") or []:
            if label := ingredient.get("active_manifest"):
                yield ingredient.get("validation_results") or {}, label, False
                failed = [one for one in ingredient.get("validation_status") or [] if not one["code"].endswith(_PASSED)]
                yield {"activeManifest": {"failure": failed}}, label, False


def _is_vouched_for(checks: set[tuple[str, str, bool]]) -> bool | None:
    """Whether an authority on the list vouches for the signer; None where the certificate has run out, of which it then says nothing.

    That others noted that they trusted it counts where this reading, by our own list, does not object.
    """
    held, failed = ({code for kind, code, _ in checks if kind == wanted} for wanted in ("success", "failure"))
    if ("success", "signingCredential.trusted", True) in checks:
        return True
    if "signingCredential.trusted" in held and "signingCredential.untrusted" not in failed:
        return True
    return None if {"signingCredential.expired", "claimSignature.outsideValidity"} & failed else False


def _origins(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(digital source type, which program) of each action that names one."""
    for action in _actions(manifest):
        if source_type := action.get("digitalSourceType"):
            agent = action.get("softwareAgent") or ""
            yield str(source_type), str(agent.get("name", "") if isinstance(agent, dict) else agent)


def _removed(manifest: dict[str, Any]) -> set[str]:
    """The labels of what was put in and then taken out again."""
    taken = (action.get("parameters") or {} for action in _actions(manifest) if action.get("action") == "c2pa.removed")
    return {str(one.get("url")).rpartition("/")[2] for parameters in taken for one in parameters.get("ingredients") or []}


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from (assertion.get("data") or {}).get("actions") or []


def _program(manifest: dict[str, Any]) -> str:
    for info in manifest.get("claim_generator_info") or []:
        return f"{info.get('name', '')} {info.get('version', '')}".strip()
    return str(manifest.get("claim_generator") or "")
