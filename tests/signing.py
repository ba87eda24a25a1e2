"""Files with Content Credentials, signed on the spot by a chain of certificates made for that."""

from __future__ import annotations

import datetime
import functools
import io
from pathlib import Path

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "verify_after_sign": False}, "core": {"allowed_network_hosts": []}}


def noise(kind: str = "JPEG", size: tuple[int, int] = (96, 80), **options) -> bytes:
    """A picture's file without a word on its origin."""
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def signed(
    content: bytes,
    source_type: str | None = "trainedAlgorithmicMedia",
    kind: str = "image/jpeg",
    made_of: bytes | None = None,
    relationship: str = "parentOf",
    done: tuple[str, ...] = (),
    signer: str = "Test Studio",
    seconds: float = 1e8,
    elsewhere: str | None = None,
) -> bytes:
    """The file with a manifest that says so, of what else it was made and what was `done` with that; the signer's certificate holds for so
    many `seconds`.

    With an address `elsewhere` the manifest is not put in: the file only says where it is kept.
    """
    manifest = {"claim_generator_info": [{"name": "Test Program", "version": "1"}], "assertions": []}
    if source_type is not None:
        made = {"action": "c2pa.created", "digitalSourceType": IPTC + source_type, "softwareAgent": {"name": "Painter"}}
        actions = [made, *({"action": action, "parameters": {"ingredientIds": ["before"]}} for action in done)]
        manifest["assertions"].append({"label": "c2pa.actions.v2", "data": {"actions": actions}})
    chain, key = _certificates(signer, seconds)

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(_OFFLINE) as context,
        c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, chain, None) as by,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        if made_of is not None:
            if source_type is None:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"title": "before", "relationship": relationship, "label": "before"}, kind, io.BytesIO(made_of))
        if elsewhere:
            builder.set_no_embed()
            builder.set_remote_url(elsewhere)
        builder.sign(by, kind, io.BytesIO(content), out)
    return out.getvalue()


def signed_file(path: Path, content: bytes, **options) -> Path:
    path.write_bytes(signed(content, **options))
    return path


def voucher(signer: str = "Test Studio", seconds: float = 1e8) -> str:
    """The certificate (PEM) of who vouches for this signer."""
    return _one_of(signer, seconds, 1)


def signers_own(signer: str, seconds: float = 1e8) -> str:
    return _one_of(signer, seconds, 0)


def _one_of(signer: str, seconds: float, number: int) -> str:
    end = "-----END CERTIFICATE-----\n"
    return _certificates(signer, seconds)[0].split(end)[number] + end


@functools.cache
def _certificates(organisation: str, seconds: float) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """A signer's certificate and that of who vouches for it (PEM), and the signer's key."""
    now = datetime.datetime.now(datetime.UTC)
    since, until = now - datetime.timedelta(days=1), now + datetime.timedelta(seconds=seconds)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def name(common: str) -> x509.Name:
        named = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(field, value) for field, value in named])

    def certificate(subject: str, number: int, of: ec.EllipticCurvePrivateKey, is_root: bool) -> x509.Certificate:
        use = x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False)
        builder = (
            x509.CertificateBuilder(name("Root"), name(subject), of.public_key(), number, since, until)
            .add_extension(x509.BasicConstraints(is_root, None), True)
            .add_extension(use, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        )
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root_key, hashes.SHA256())

    chain = (certificate("Signer", 2, key, False), certificate("Root", 1, root_key, True))
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in chain), key
