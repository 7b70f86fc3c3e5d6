"""Keys and certificates of a test's own authority, and the library's reader as the judge of what they signed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True)
class Operator:
    """Files in PEM: a key, its certificate with the authority's behind it, and the authority's alone."""

    key: Path
    certificates: Path
    authority: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"c2pa_key": str(self.key), "c2pa_certificates": str(self.certificates)}

    def reader(self, data: Any, mime_type: str, manifest: bytes | None = None) -> Judged:
        """What the library's reader finds in an open file, for somebody who trusts the authority."""
        trusting = {
            "trust": {"trust_anchors": self.authority.read_text()},
            "verify": {"verify_trust": True, "remote_manifest_fetch": False},
        }
        context = c2pa.Context(c2pa.Settings.from_dict(trusting))
        with c2pa.Reader(mime_type, data, manifest, context=context) as reader:
            said = json.loads(reader.json())
            failures = [each["code"] for each in reader.get_validation_results()["activeManifest"]["failure"]]
            return Judged(said["manifests"], said["active_manifest"], reader.get_validation_state(), failures)


@dataclass(frozen=True)
class Judged:
    manifests: dict[str, Any]
    active: str
    state: str
    failures: list[str]

    @property
    def ingredients(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.manifests[self.active]["ingredients"]
        return found

    def assertion(self, manifest: str, label: str) -> dict[str, Any]:
        data: dict[str, Any] = next(
            each["data"] for each in self.manifests[manifest]["assertions"] if each["label"].startswith(label)
        )
        return data


def operator(folder: Path, *, may_sign: bool = True) -> Operator:
    """`may_sign` False: a certificate for something else."""
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Authority", authority, "Authority", authority, is_authority=True)
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION if may_sign else ExtendedKeyUsageOID.SERVER_AUTH
    own = _certificate("Operator", leaf, "Authority", authority, usage=usage)
    made = Operator(folder / "key.pem", folder / "chain.pem", folder / "authority.pem")
    made.key.write_bytes(leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made.certificates.write_bytes(own.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))
    made.authority.write_bytes(root.public_bytes(Encoding.PEM))
    return made


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
    usage: x509.ObjectIdentifier | None = None,
) -> x509.Certificate:
    wanted = {"key_cert_sign", "crl_sign"} if is_authority else {"digital_signature"}
    today = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**{name: name in wanted for name in _USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Segue's tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )
