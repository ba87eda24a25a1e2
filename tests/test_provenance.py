"""What a file says of its own origin: read from each kind of file, believed where it is unbroken, and never at the cost of a verdict."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from deepfake_detector import cli, credentials, file_texts, images, provenance
from deepfake_detector.detect import Detector
from deepfake_detector.errors import TableError
from deepfake_detector.images import open_picture
from deepfake_detector.panel import Panel
from deepfake_detector.types import Declaration
from deepfake_detector.ui.verdict_card import card
from tests import signing
from tests.clips import draw_clip
from tests.conftest import answering, json_lines, script
from tests.signing import IPTC, noise, signed, signed_file, signers_own, voucher

XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    '{}>{}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
SOURCE_TYPE = f'Iptc4xmpExt:DigitalSourceType="{IPTC}{{}}"'
WEBUI = "a castle\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: v1-5"
COMFY = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})


def only(content: bytes) -> Declaration:
    [one] = provenance.of_bytes(content)
    return one


def changed(content: bytes, at: int = -100) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def png(**texts: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        chunks.add_itxt(name, value)
    return noise("PNG", pnginfo=chunks)


def behind_the_pixels(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these (kind, content) where Pillow comes only by decoding it."""
    content = noise("PNG")
    end = content.index(b"IEND") - 4
    made = [struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held)) for kind, held in chunks]
    return content[:end] + b"".join(made) + content[end:]


def with_xmp(packet: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", packet)
    return noise("PNG", pnginfo=chunks)


def exif(kind: str = "JPEG", comment: bytes | None = None, **tags: str) -> bytes:
    held = Image.Exif()
    for name, value in tags.items():
        held[{"make": 0x010F, "model": 0x0110, "software": 0x0131, "description": 0x010E}[name]] = value
    if comment is not None:
        held.get_ifd(0x8769)[0x9286] = comment
    return noise(kind, exif=held)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_credentials_are_read_from_every_kind_of_picture(kind):
    assert provenance.of_bytes(noise(kind)) == ()
    one = only(signed(noise(kind), kind=f"image/{kind.lower()}"))
    assert (one.where, one.generated, one.signed_by) == ("Content Credentials", True, "Test Studio")
    assert one.says.startswith("made by a generative model (Painter); written by Test Program 1; signed in the name of Test Studio")


@pytest.mark.parametrize(
    ("source_type", "generated", "says"),
    [
        ("trainedAlgorithmicMedia", True, "made by a generative model"),
        ("compositeWithTrainedAlgorithmicMedia", True, "put together with parts by a generative model"),
        ("digitalCapture", False, "taken by a camera"),
        ("digitalCreation", False, "made by a person with a program"),
        ("compositeSynthetic", True, "put together of several pictures, at least one of them by a generative model"),
        ("compositedWithTrainedAlgorithmicMedia", True, "put together with parts by a generative model"),
        ("TrainedAlgorithmicMedia/?lang=en#top", True, "made by a generative model"),
        ("digitalcapture#", False, "taken by a camera"),
        ("somethingNew", False, "of the source type 'somethingNew'"),
    ],
)
def test_a_source_type_is_told_in_words_and_some_mean_generated(source_type, generated, says):
    one = only(signed(noise(), source_type))
    assert (one.generated, one.says.split(" (")[0]) == (generated, says)
    told = only(noise(xmp=XMP.format(SOURCE_TYPE.format(source_type), "").encode()))
    assert (told.where, told.generated, told.says, told.signed_by) == ("XMP", generated, f"{says}, by IPTC's field for that", "")


def test_what_a_picture_was_made_of_counts_but_not_what_it_was_made_after():
    painted = signed(noise())
    source, own = provenance.of_bytes(signed(noise(), None, made_of=painted, signer="Editor Inc"))
    assert (source.generated, source.signed_by, own.generated, own.signed_by) == (True, "Test Studio", False, "Editor Inc")
    assert source.says.startswith("made from one that was made by a generative model (Painter)")
    part, own = provenance.of_bytes(signed(noise(), "compositeCapture", made_of=painted, relationship="componentOf"))
    assert (part.generated, own.generated) == (True, False)
    assert part.says.startswith("with a part that was made by a generative model (Painter)")
    assert own.says.startswith("put together of photographs (Painter)")
    looked_at = only(signed(noise(), "digitalCapture", made_of=painted, relationship="inputTo"))
    assert not looked_at.generated


def test_what_was_put_into_a_picture_and_taken_out_again_does_not_count():
    def pasted(*done: str) -> list[bool]:
        content = signed(noise(), "digitalCapture", made_of=signed(noise()), relationship="componentOf", done=done)
        return [one.generated for one in provenance.of_bytes(content)]

    assert pasted("c2pa.placed") == [True, False]
    assert pasted("c2pa.placed", "c2pa.removed") == [False]


def test_each_signer_answers_for_its_own_words_alone(tmp_path):
    camera = signed(noise(), "digitalCapture", signer="Camera Maker (forged)")
    edited = signed(noise(), None, made_of=camera, signer="Editor Inc")
    (tmp_path / "signers.pem").write_text(voucher("Editor Inc"))
    own, source = provenance.of_bytes(edited, credentials.read_signers(tmp_path / "signers.pem"))
    assert (own.signed_by, own.vouched_for) == ("Editor Inc", True)
    assert own.says.startswith("nothing of how the picture came about; written by Test Program 1; signed in the name of Editor Inc (on the")
    assert (source.signed_by, source.vouched_for) == ("Camera Maker (forged)", False)
    assert source.says.startswith("made from one that was taken by a camera (Painter)")
    assert source.says.endswith("signed in the name of Camera Maker (forged) (not on the list of signers)")

    (tmp_path / "signers.pem").write_text(voucher("Editor Inc") + voucher("Camera Maker (forged)"))
    both = provenance.of_bytes(edited, credentials.read_signers(tmp_path / "signers.pem"))
    assert [one.vouched_for for one in both] == [True, True]
    assert [one.vouched_for for one in provenance.of_bytes(edited)] == [None, None]


def test_that_a_signer_trusted_a_source_is_no_reason_to(monkeypatch):
    monkeypatch.setattr(signing, "_OFFLINE", signing._OFFLINE | {"trust": {"trust_anchors": voucher("Camera Maker")}})
    edited = signed(noise(), None, made_of=signed(noise(), "digitalCapture", signer="Camera Maker"), signer="Editor Inc")
    own, source = provenance.of_bytes(edited, voucher("Editor Inc"))
    assert (own.vouched_for, source.vouched_for) == (True, False)
    assert [one.vouched_for for one in provenance.of_bytes(edited, voucher("Editor Inc") + voucher("Camera Maker"))] == [True, True]


@pytest.mark.parametrize("relationship", ["parentOf", "componentOf"])
def test_a_source_whose_own_seal_is_broken_decides_nothing(relationship):
    own, source = provenance.of_bytes(signed(noise(), "digitalCapture", made_of=changed(signed(noise())), relationship=relationship))
    assert (own.generated, source.generated, source.signed_by) == (False, False, "")
    assert source.says.endswith("whose own seal is broken (assertion.dataHash.mismatch)")
    inside = signed(noise(), None, made_of=changed(signed(noise()), -200), signer="Editor Inc")
    assert not any(one.generated for one in provenance.of_bytes(signed(noise(), None, made_of=inside)))
    behind = signed(noise(), None, made_of=changed(signed(noise(), None, made_of=signed(noise()))))
    assert not any(one.generated for one in provenance.of_bytes(behind)), "what a broken one names as its source says nothing either"


def test_a_source_that_was_changed_after_it_was_taken_up_leaves_the_files_own_seal_whole():
    content = signed(noise(), "digitalCapture", made_of=signed(noise(), signer="Inner"), relationship="componentOf")
    own, source = provenance.of_bytes(changed(content, content.index(b"Inner")))
    assert own.says.startswith("taken by a camera")
    assert (own.signed_by, source.generated) == ("Test Studio", False)
    assert source.says == "with a part whose own seal is broken (claimSignature.mismatch, ingredient.manifest.mismatch)"


def test_old_files_note_what_failed_of_a_source_in_a_list_of_its_own():
    ours = {"activeManifest": {"success": [], "failure": []}}
    made = {
        "label": "c2pa.actions",
        "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": f"{IPTC}trainedAlgorithmicMedia"}]},
    }

    def told(*noted: str) -> list[bool]:
        source = {"relationship": "parentOf", "active_manifest": "b", "validation_status": [{"code": code} for code in noted]}
        store = {
            "active_manifest": "a",
            "validation_results": ours,
            "manifests": {"a": {"ingredients": [source, {"relationship": "parentOf"}, source]}, "b": {"assertions": [made]}},
        }
        return [one.generated for one in credentials._declarations(store, False)]

    assert told() == told("claimSignature.validated", "assertion.dataHash.match", "signingCredential.untrusted") == [False, True]
    assert told("claimSignature.validated", "assertion.dataHash.mismatch") == [False, False]


def test_a_broken_seal_says_so_and_decides_nothing():
    content = signed(noise())
    broken = only(changed(content))
    assert (broken.generated, broken.signed_by) == (False, "")
    assert "their seal is broken (assertion.dataHash.mismatch)" in broken.says
    start = end = content.index(b"\xff\xeb")
    while content[end : end + 2] == b"\xff\xeb":  # the segments that hold the manifest
        end += 2 + int.from_bytes(content[end + 2 : end + 4])
    manifest = content[start:end]
    taken_over = only(b"\xff\xd8" + manifest + noise(size=(96, 88))[2:])
    assert not taken_over.generated
    assert "of another file" in taken_over.says


@pytest.fixture(scope="module", autouse=True)
def short_lived() -> tuple[bytes, str, float]:
    """A signed picture and its signer's certificate, and when they will have run out; made first, so that others need not be waited for."""
    return signed(noise(), seconds=4), voucher(seconds=4), time.monotonic() + 5


def test_a_seal_whose_certificate_has_run_out_is_unbroken(short_lived):
    content, signers, over = short_lived
    time.sleep(max(0, over - time.monotonic()))
    assert only(content).generated
    [one] = provenance.of_bytes(content, signers)
    assert (one.generated, one.vouched_for) == (True, None), "the list says nothing of a certificate that has run out"


def test_a_list_of_signers_says_whose_signature_is_really_theirs(model, tmp_path, capsys):
    signers = tmp_path / "signers.pem"
    signers.write_text(voucher("Camera Maker") + voucher("Test Studio"))
    content, vouched = signed(noise(), "digitalCapture", signer="Camera Maker"), credentials.read_signers(signers)
    [known] = provenance.of_bytes(content, vouched)
    assert known.vouched_for is True
    assert "signed in the name of Camera Maker (on the list of signers), and unchanged since" in known.says
    [stranger] = provenance.of_bytes(signed(noise(), "digitalCapture", signer="Camera Maker", seconds=2e8), vouched)
    assert stranger.vouched_for is False, "by the same name, with another key"
    assert "Camera Maker (not on the list of signers)" in stranger.says
    assert only(content).vouched_for is None
    [broken] = provenance.of_bytes(changed(content), vouched)
    assert "their seal is broken" in broken.says

    picture, made = signed_file(tmp_path / "a.jpg", noise()), str(answering(model, tmp_path / "m", "real"))
    assert cli.main(["predict", str(picture), f"--model={made}", f"--signers={signers}", "--json", "--no-cache"]) == 0
    assert json.loads(capsys.readouterr().out)["declared"][0]["vouched_for"] is True
    panel = Panel([Detector(made)], vouched)
    assert "is really that of Test Studio, by the list of signers" in card(panel.judge(picture.read_bytes()))
    assert "Who signed as Camera Maker is not on the list" in card(panel.judge(signed(noise(), signer="Camera Maker", seconds=2e8)))


def test_what_stands_between_the_certificates_of_a_list_does_not_matter(tmp_path):
    (tmp_path / "signers.pem").write_text(
        "\ufeff# Müller Kamera GmbH\r\n" + voucher().replace("\n", "\r\n") + "# Schluß\n", encoding="utf-8"
    )
    [one] = provenance.of_bytes(signed(noise()), credentials.read_signers(tmp_path / "signers.pem"))
    assert one.vouched_for is True


def test_a_signers_own_certificate_vouches_for_nobody(tmp_path):
    (tmp_path / "signers.pem").write_text(voucher("A") + signers_own("B"))
    with pytest.raises(TableError, match="1 of its 2 are signers' own"):
        credentials.read_signers(tmp_path / "signers.pem")


@pytest.mark.parametrize("held", ["", "I hold no certificates", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_a_list_of_signers_that_holds_none_is_refused(model, tmp_path, capsys, held):
    (tmp_path / "signers.pem").write_text(held)
    picture, signers = signed_file(tmp_path / "a.jpg", noise()), f"--signers={tmp_path / 'signers.pem'}"
    assert cli.main(["predict", str(picture), f"--model={model}", signers, "--no-cache"]) == 2
    assert "should hold certificates in PEM" in capsys.readouterr().err


def test_nothing_is_fetched():
    asked = socket.create_server(("127.0.0.1", 0))
    asked.settimeout(0.3)
    place = f"http://127.0.0.1:{asked.getsockname()[1]}/manifest.c2pa"
    with asked:
        one = only(signed(noise(), elsewhere=place))
        with pytest.raises(TimeoutError):
            asked.accept()
    assert (one.generated, one.says) == (False, f"kept at {place}, which was not asked: nothing is fetched")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    "packet",
    [
        XMP.format(SOURCE_TYPE.format("trainedAlgorithmicMedia"), ""),
        XMP.format("", f"<Iptc4xmpExt:DigitalSourceType>{IPTC}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"),
        XMP.format("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{IPTC}trainedAlgorithmicMedia"/>'),
        XMP.format("", '<TC260:AIGC>{"Label":"1","ContentProducer":"001191610133596325171T12566"}</TC260:AIGC>'),
        XMP.format('xmp:CreatorTool="Adobe Firefly"', ""),
        XMP.format("", "<Iptc4xmpExt:AISystemUsed>Painter 3</Iptc4xmpExt:AISystemUsed>"),
        XMP.format("", "<photoshop:Credit>Made with Google AI</photoshop:Credit>"),
    ],
    ids=["attribute", "element", "resource", "china", "tool", "system", "credit"],
)
def test_xmp_says_it_in_every_form_and_kind_of_file(kind, packet):
    saved = {"PNG": with_xmp, "TIFF": lambda packet: noise("TIFF", tiffinfo={700: packet.encode()})}
    content = saved[kind](packet) if kind in saved else noise(kind, xmp=packet.encode())
    one = only(content)
    assert (one.where, one.generated, one.signed_by) == ("XMP", True, "")


FIELD = f"<Iptc4xmpExt:DigitalSourceType>{IPTC}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"


@pytest.mark.parametrize(
    "packet",
    [
        XMP.format("", f"{FIELD}<xmp:Label><![CDATA[R&D <1>]]></xmp:Label>"),
        XMP.format("", f"<xmp:Label>R&D, Q&A; 1 < 2 &nbsp;&amp; I <3 it \x02</xmp:Label>{FIELD}"),
        XMP.format("", FIELD).encode("utf-16"),
        XMP.format("", FIELD).encode("utf-16-be"),
        XMP.format("", FIELD.replace(IPTC, "digsrctype:")),
        XMP.format(SOURCE_TYPE.format("trainedAlgorithmicMedia "), ""),
        "\ufeff" + XMP.format("", FIELD) + " " * 50 + "\0<",
    ],
    ids=["CDATA", "unescaped", "UTF-16", "UTF-16 without a mark", "short name", "space", "rest"],
)
def test_xmp_is_read_as_programs_write_it(packet):
    assert only(noise("WEBP", xmp=packet if isinstance(packet, bytes) else packet.encode())).generated


def test_all_xmp_packets_of_a_file_are_read():
    painted, camera = XMP.format("", FIELD), XMP.format('xmp:Label="7"', "")
    segments = [b"http://ns.adobe.com/xap/1.0/\0" + packet.encode() for packet in (painted, painted, camera)]
    jpeg = noise()
    assert only(jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in segments) + jpeg[2:]).generated
    chunks = [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode()) for packet in (painted, camera)]
    assert only(behind_the_pixels(*chunks)).generated


def test_broken_exif_silences_nothing_else():
    assert only(noise("WEBP", exif=b"Exif\0\0no header", xmp=XMP.format("", FIELD).encode())).generated


@pytest.mark.parametrize(
    "held",
    [
        f"<xmp:Label>{FIELD}</xmp:Label>",
        f"<xmp:Label>{FIELD.replace('<', '&lt;')}</xmp:Label>",
        f"<xmp:Label><![CDATA[{FIELD}]]></xmp:Label>",
        f"<xmp:Label>Q&A: what is {FIELD}, and is 1 < 2?</xmp:Label>",
        f"<xmp:Pantry><rdf:Bag><rdf:li><rdf:Description>{FIELD}</rdf:Description></rdf:li></rdf:Bag></xmp:Pantry>",
        f"<!-- {FIELD} -->",
    ],
)
def test_a_caption_or_what_was_put_into_a_picture_does_not_speak_for_it(held):
    assert provenance.of_bytes(with_xmp(XMP.format("", held))) == ()


@pytest.mark.parametrize("value", ["Jane Doe", "Google AI", "Jane Doe, not made with Google AI", "Made with Google AI Studio's help"])
def test_any_other_credit_is_no_declaration(value):
    assert provenance.of_bytes(with_xmp(XMP.format(f'photoshop:Credit="{value}"', ""))) == ()


@pytest.mark.parametrize("value", ["None", "none used", "No", "No AI", "n/a", "N.A.", "-", "false", "0", "Not applicable", "Keine", "无"])
def test_no_system_is_no_declaration(value):
    assert provenance.of_bytes(with_xmp(XMP.format("", f"<Iptc4xmpExt:AISystemUsed>{value}</Iptc4xmpExt:AISystemUsed>"))) == ()


@pytest.mark.parametrize(
    "said", ["<Iptc4xmpExt:AISystemUsed>Topaz Denoise</Iptc4xmpExt:AISystemUsed>", "<xmp:CreatorTool>Adobe Firefly</xmp:CreatorTool>"]
)
@pytest.mark.parametrize("source_type", ["algorithmicallyEnhanced", "digitalCapture"])
def test_a_system_decides_nothing_against_the_source_type(said, source_type):
    told = provenance.of_bytes(with_xmp(XMP.format(SOURCE_TYPE.format(source_type), said)))
    assert [one.generated for one in told] == [False, False]
    assert all(one.generated for one in provenance.of_bytes(with_xmp(XMP.format(SOURCE_TYPE.format("trainedAlgorithmicMedia"), said))))


@pytest.mark.parametrize(
    ("label", "generated", "says"), [("1", True, "made by"), ("2", False, "perhaps made by"), ("3", False, "suspected to be made by")]
)
def test_chinas_label_knows_degrees(label, generated, says):
    one = only(png(AIGC=json.dumps({"Label": label, "ContentProducer": "ACME"})))
    assert (one.generated, one.says) == (generated, f"{says} a generative model (by the code ACME), by the label that China requires")


NESTED = '{"AIGC": {"Label": "1", "ContentProducer": "ACME"}}'


@pytest.mark.parametrize(
    "content",
    [
        png(AIGC=NESTED),
        png(AIGC=json.dumps({"AIGC": '{"Label": "1", "ContentProducer": "ACME"}'})),
        with_xmp(XMP.format("", f"<TC260:AIGC>{NESTED}</TC260:AIGC>")),
        exif(comment=b"ASCII\0\0\0" + NESTED.encode()),
        exif("WEBP", comment=b"UNICODE\0" + NESTED.encode("utf-16-be")),
        exif(description=NESTED),
        noise(comment=NESTED.encode()),
        noise("GIF", comment=NESTED.encode()),
    ],
    ids=["text", "text in text", "XMP", "EXIF comment", "UTF-16", "EXIF description", "JPEG comment", "GIF comment"],
)
def test_chinas_label_is_found_where_it_may_stand(content):
    one = only(content)
    assert (one.generated, one.says) == (True, "made by a generative model (by the code ACME), by the label that China requires")


def test_a_label_beside_a_camera_leaves_that_in_its_place():
    label, camera = provenance.of_bytes(exif(comment=b"ASCII\0\0\0" + NESTED.replace("1", "2").encode(), make="Canon"))
    assert (label.generated, camera.says) == (False, "taken by a camera called Canon")


@pytest.mark.parametrize("content", [noise(comment=b'{"Label": "1"}'), exif(description='{"Label": "1"}'), noise(comment=b'{"AIGC": 1}')])
def test_what_is_not_called_so_is_no_label(content):
    assert provenance.of_bytes(content) == ()


@pytest.mark.parametrize("value", ["", "{", "[]", "7", '{"Label": "4"}', '{"Label": 1, "x": }', "\0"])
def test_a_label_of_another_shape_says_nothing(value):
    assert provenance.of_bytes(with_xmp(XMP.format("", f"<TC260:AIGC>{value}</TC260:AIGC>".replace("\0", "")))) == ()


@pytest.mark.parametrize(
    ("content", "program"),
    [
        (png(parameters=WEBUI), "a program for Stable Diffusion"),
        (exif(comment=b"UNICODE\0" + WEBUI.encode("utf-16-be")), "a program for Stable Diffusion"),
        (exif("WEBP", comment=b"UNICODE\0" + WEBUI.encode("utf-16-le")), "a program for Stable Diffusion"),
        (exif(comment=b"ASCII\0\0\0" + WEBUI.encode()), "a program for Stable Diffusion"),
        *(
            (exif(comment=b"UNICODE\0" + f"{one}猫, замок, {WEBUI}".encode(coding)), "a program for Stable Diffusion")
            for one in ("", "\ufeff")
            for coding in ("utf-16-be", "utf-16-le")
        ),
        (noise(comment=WEBUI.encode()), "a program for Stable Diffusion"),
        (png(prompt=COMFY), "ComfyUI"),
        (png(workflow=json.dumps({"nodes": [], "links": []})), "ComfyUI"),
        (exif("WEBP", make=f"workflow:{COMFY}"), "ComfyUI"),
        (exif(comment=b"UNICODE\0" + COMFY.encode("utf-16-be")), "ComfyUI"),
        (png(invokeai_metadata="{}"), "InvokeAI"),
        (png(Software="NovelAI", Comment="{}"), "NovelAI"),
        (png(Title="NovelAI generated image"), "NovelAI"),
        (png(Dream='"a castle" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms'), "InvokeAI"),
        (png(Dream='"a lady riding a camel" -n2 -s150 -S 416354203'), "InvokeAI"),
        (png(Description="a cat --v 6 Job ID: 1c2b3a4d-1111-2222-3333-444455556666"), "Midjourney"),
    ],
)
def test_a_generators_settings_give_it_away(content, program):
    one = only(content)
    assert one.generated
    assert one.says == f"the settings by which {program} made or changed it"


TEXT = b"parameters\0" + WEBUI.encode()


@pytest.mark.parametrize(
    "chunk",
    [
        (b"tEXt", TEXT),
        (b"zTXt", b"parameters\0\0" + zlib.compress(WEBUI.encode())),
        (b"iTXt", b"parameters\0\0\0en\0\0" + WEBUI.encode()),
        (b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(WEBUI.encode())),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format("", FIELD).encode()),
        (b"eXIf", b"MM\0\x2a\0\0\0\x08\0\1\x01\x31\0\2\0\0\0\x0b\0\0\0\x1a\0\0\0\0Midjourney\0"),
    ],
    ids=["tEXt", "zTXt", "iTXt", "packed iTXt", "XMP", "EXIF"],
)
def test_what_stands_behind_the_pixels_of_a_png_is_read_and_they_are_not_decoded(chunk, monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert only(behind_the_pixels(chunk)).generated
    assert only(behind_the_pixels((b"zTXt", b"workflow\0\0broken"), chunk)).generated


@pytest.mark.parametrize(
    "content",
    [
        png(parameters="sharpness 3, contrast 2"),
        png(prompt="What do you see?", Description="Imagen de una catedral", Software="Adobe Photoshop 26"),
        png(prompt="[1, 2]", workflow='{"nodes": 3}'),
        png(prompt='{"lens": {"focus": 3}}'),
        noise(comment=b'{"nodes": [], "links": []}'),
        exif(comment=b'ASCII\0\0\0{"0": {"class_type": "car", "score": 0.9}}'),
        png(Title="Midjourneys of a pilgrim"),
        png(Creator="Francesca Dalle Carbonare", Source="https://www.theverge.com/midjourney-lawsuit"),
        png(Creator="Stable Diffusion of gases, a thesis", Source="Midjourney, the hotel", Software="Dalle Carbonare Foto 2"),
        png(Title="NovelAI - The AI Storyteller - Mozilla Firefox"),
        png(Description="Print proof. Job ID: 1c2b3a4d-1111-2222-3333-444455556666"),
        png(Description="a cat --v 6 Job ID: 1c2b3a4d-1111-2222-3333-444455556666 is how Midjourney signs"),
        png(Dream="Martin Luther King's speech"),
        png(Dream='"I have a dream", with a lens -s50'),
    ],
)
def test_ordinary_texts_say_nothing(content):
    assert provenance.of_bytes(content) == ()


@pytest.mark.parametrize("name", ["Midjourney", "DALL·E 3", "NovelAI Diffusion V4.5 4BDE2A90", "Stable Diffusion XL C1E1DE52"])
def test_a_source_that_is_a_generators_name_and_nothing_else_is_believed(name):
    assert only(png(Source=name)) == Declaration("Text in the file", f"made with {name}", True)


def test_exif_names_the_camera_and_the_program_but_anyone_can_write_that():
    one = only(exif(make="Canon", model="Canon EOS R5", software="Adobe Photoshop 26"))
    assert one == Declaration("EXIF", "taken by a camera called Canon EOS R5, saved by Adobe Photoshop 26")
    assert only(exif(make="Canon", model="EOS R5")).says == "taken by a camera called Canon EOS R5"
    assert only(exif(software="Midjourney v7")) == Declaration("EXIF", "made with Midjourney v7", True)


def test_what_decides_comes_first_and_in_one_short_line():
    content = signed(exif(make="Canon", model="EOS\x1b[31m\nR5" + 500 * "x"))
    first, second = provenance.of_bytes(content)
    assert first.generated
    assert second.says.startswith("taken by a camera called Canon EOS [31m R5xxx")
    assert len(second.says) < 310


def test_an_xml_bomb_is_not_opened():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>' + XMP.format(
        "", "<xmp:CreatorTool>&b; Midjourney</xmp:CreatorTool>"
    )
    assert provenance.of_bytes(with_xmp(bomb)) == ()
    commented = XMP.format(SOURCE_TYPE.format("trainedAlgorithmicMedia"), "<!-- by hand -->")
    assert only(with_xmp(commented)).generated


@pytest.mark.parametrize(
    "content",
    [
        png(parameters="Steps: 1, " * 100_000),
        png(prompt="[" * 500_000, workflow='{"a":' * 200_000),
        png(AIGC="[" * 500_000),
        with_xmp(XMP.format("", "<xmp:CreatorTool>" * 100_000 + "</xmp:CreatorTool>" * 100_000)),
        with_xmp(XMP.format("", "<a>" * 100_000 + "</a>" * 100_000)),
        with_xmp(XMP.format("", "<xmp:CreatorTool>Midjourney</xmp:CreatorTool>" * 20_000)),
        noise("WEBP", xmp=XMP.format('xmp:CreatorTool="Midjourney"', "").encode("utf-16")),
        noise("WEBP", xmp=b'<?xml version="1.0" encoding="x-none"?><a/>'),
        with_xmp(f"<a>{'&' * 1_000_000}{'< ' * 500_000}</a>"),
        behind_the_pixels(*[(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000)))] * 20),
        behind_the_pixels(*[(b"tEXt", TEXT)] * 100_000),
        behind_the_pixels(*[(b"teXt", b"")] * 2_000_000),
        png(Description="--v 6 Job ID: 1c2b3a4d-1111-2222-3333-444455556666 " * 20_000 + "x", Dream='"' + " -s 1" * 200_000),
        png(Source="midjourney" + " 1" * 400_000 + "!", Creator="midjourney " + "1." * 140 + "!"),
    ],
    ids=["steps", "deep JSON", "deep label", "nested properties", "nested", "many", "UTF-16", "unknown encoding"]
    + ["unescaped", "packed zeros", "many texts", "empty chunks", "jobs", "versions"],
)
def test_files_made_to_take_for_ever_do_not(content):
    assert len(provenance.of_bytes(content)) <= 20


def test_of_a_png_of_very_many_parts_no_credentials_are_read(monkeypatch):
    monkeypatch.setattr(file_texts, "_MOST_CHUNKS", 2)
    assert provenance.of_bytes(signed(noise("PNG"), kind="image/png")) == (), "who looks for them there takes minutes"


def test_broken_files_raise_nothing():
    rng = random.Random(0)
    whole = [signed(exif(make="A", comment=b"UNICODE\0" + WEBUI.encode("utf-16-be"))), png(prompt=COMFY), noise("WEBP", xmp=XMP.encode())]
    for content in whole:
        for _ in range(150):
            broken = bytearray(content[: rng.randrange(len(content))])
            for _ in range(min(len(broken), 6)):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            assert all(isinstance(one, Declaration) for one in provenance.of_bytes(bytes(broken)))
    assert provenance.of_bytes(b"") == provenance.of_bytes(b"I am a text") == ()


def test_of_a_clip_credentials_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)  # of a picture; a clip may be larger
    plain = draw_clip(tmp_path / "plain.mp4", [0, 40, 80, 120])
    assert provenance.of_file(plain) == ()
    [one] = provenance.of_file(signed_file(tmp_path / "signed.mp4", plain.read_bytes(), kind="video/mp4"))
    assert one.generated
    assert provenance.of_file(tmp_path / "none.mp4") == ()
    (tmp_path / "text.mp4").write_text("I am no clip")
    assert provenance.of_file(tmp_path / "text.mp4") == ()


@pytest.mark.parametrize("name", ["pipe.jpg", "pipe.mp4", "no\0name.jpg"])
def test_what_is_no_plain_file_is_not_opened(tmp_path, name):
    if "\0" not in name:
        os.mkfifo(tmp_path / name)
    with ThreadPoolExecutor(1) as aside:
        told = aside.submit(provenance.of_file, tmp_path / name)
        try:
            assert told.result(20) == ()
        except TimeoutError:
            os.close(os.open(tmp_path / name, os.O_WRONLY | os.O_NONBLOCK))  # so that who waits for a writer ends
            raise


def test_a_picture_that_is_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    picture = signed_file(tmp_path / "a.jpg", noise())
    assert len(provenance.of_file(picture)) == 1
    monkeypatch.setattr(images, "MAX_FILE_BYTES", picture.stat().st_size - 1)
    assert provenance.of_file(picture) == ()


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AIGC", '{"Label": "1"}', "made by a generative model, by the label that China requires"),
        ("AIGC", NESTED, "made by a generative model (by the code ACME), by the label that China requires"),
        ("comment", NESTED, "made by a generative model (by the code ACME), by the label that China requires"),
        ("comment", WEBUI, "the settings by which a program for Stable Diffusion made or changed it"),
        ("comment", json.dumps({"prompt": COMFY, "CreationTime": "now"}), "the settings by which ComfyUI made or changed it"),
        ("comment", json.dumps({"workflow": {"nodes": [], "links": []}}), "the settings by which ComfyUI made or changed it"),
        ("prompt", COMFY, "the settings by which ComfyUI made or changed it"),
        ("comment", "Filmed by the 3 prompt workflow, Steps: 20", None),
    ],
)
def test_the_tags_of_a_clip_are_read_as_the_texts_of_a_picture(tmp_path, ending, name, value, says):
    plain, tagged = draw_clip(tmp_path / "plain.mp4", [0, 40, 80, 120]), tmp_path / f"tagged{ending}"
    with av.open(plain) as source, av.open(tagged, "w", options={"movflags": "use_metadata_tags"} if ending == ".mp4" else {}) as out:
        out.metadata[name] = value
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert provenance.of_file(tagged) == ((Declaration("Metadata", says, True),) if says else ())


@pytest.fixture
def panel(model, tmp_path):
    return Panel([Detector(answering(model, tmp_path / answer, answer)) for answer in ("real", "leans to real")])


def test_a_file_that_says_it_was_generated_is_fake_whatever_the_models_say(panel, tmp_path):
    verdict = panel.judge(signed(noise()))
    assert (verdict.verdict, verdict.by_the_file) == ("fake", True)
    assert [(one.model, one.verdict) for one in verdict.others] == [("real", "real"), ("leans to real", "unsure")]
    path = signed_file(tmp_path / "a.jpg", noise())
    assert panel.judge_file(path).verdict == "fake"
    clip = signed_file(tmp_path / "a.mp4", draw_clip(tmp_path / "b.mp4", [0, 40, 80, 120]).read_bytes(), kind="video/mp4")
    assert (panel.judge_file(clip).verdict, len(panel.judge_file(clip).frames)) == ("fake", 4)


@pytest.mark.parametrize("content", [noise(), signed(noise(), "digitalCapture"), exif(make="Canon", model="EOS R5")])
def test_anything_else_that_a_file_says_moves_no_answer(panel, content):
    verdict = panel.judge(content)
    assert (verdict.verdict, verdict.by_the_file, verdict.model) == ("real", False, "real")
    assert len(verdict.others) == 1


def test_a_picture_that_can_not_be_judged_is_still_refused(panel):
    from deepfake_detector.errors import UnusablePicture

    with pytest.raises(UnusablePicture, match="too small"):
        panel.judge(signed(noise(size=(12, 12))))


def test_the_card_tells_what_the_file_says_and_what_that_is_worth(panel):
    silent = card(panel.judge(noise()))
    assert "says nothing of its own origin" in silent
    told = card(panel.judge(signed(noise(), signer="<b>Studio</b>")))
    assert (
        told.index(">Fake</h2>")
        < told.index("It says itself that a generative model made it")
        < told.index("What can be seen in the picture itself")
    )
    assert "signed in the name of &lt;b&gt;Studio&lt;/b&gt;" in told
    assert "is really that of &lt;b&gt;Studio&lt;/b&gt; was not checked" in told
    assert told.count("<section") == 2
    assert "real, which looks for face swaps: real" in told
    camera = card(panel.judge(exif(make="Canon", model="<i>EOS")))
    assert camera.index(">Real<") < camera.index("taken by a camera called Canon &lt;i&gt;EOS")
    assert "anyone can write into a file" in camera


def test_predict_tells_it_in_words_and_in_json(model, tmp_path):
    picture = signed_file(tmp_path / "a.jpg", noise())
    options = ("--model", answering(model, tmp_path / "m", "real"))
    plain = script("deepfake_detector", "predict", picture, *options, cwd=tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.startswith("fake")
    assert "by its own word; m: real 0.0001  Content Credentials: made by a generative model (Painter)" in plain.stdout
    [line] = json_lines(script("deepfake_detector", "predict", picture, *options, "--json", cwd=tmp_path).stdout)
    assert (line["verdict"], line["declared"][0]["generated"], line["declared"][0]["signed_by"]) == ("fake", True, "Test Studio")
    assert [(other["model"], other["verdict"]) for other in line["others"]] == [("m", "real")]


def test_the_pixels_of_a_signed_file_are_judged_as_those_of_an_unsigned_one(panel):
    plain = noise()
    content = signed(plain)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain))), np.asarray(Image.open(io.BytesIO(content))))
    assert panel.judge(content).p_fake == panel.judge(plain).p_fake


def test_a_long_graph_that_is_packed_is_read_and_its_picture_too():
    graph, text = json.dumps({"nodes": list(range(500_000)), "links": []}), PngImagePlugin.PngInfo()
    text.add_itxt("workflow", graph, zip=True)
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG", pnginfo=text)
    assert len(graph) > 3 * 2**20
    assert open_picture(file.getvalue()).image.size == (256, 256)
    assert [one.generated for one in provenance.of_bytes(file.getvalue())] == [True]
