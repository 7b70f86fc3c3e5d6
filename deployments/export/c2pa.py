"""Content credentials (C2PA): an exported file signed with the operator's key, its takes as signed ingredients.

Nothing is asked of the network: no time stamps, no revocations, no remote manifests. Two signatures of one file are
never equal. The library is an optional extra, imported where it is used.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import ExportError
from deployments.export.formats import FORMATS, Format

MANIFEST_TYPE = "application/c2pa"
MANIFEST_SUFFIX = ".c2pa"
MAX_INGREDIENTS = 100
"""Takes with manifests of their own: the work grows with the square of their number."""

MAX_INSIDE_BYTES = 256 * 2**20
"""Of a file that gets its manifest inside: the library holds such a one in memory whole, twice."""

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TAKE_FACTS = (
    *("node_id", "parent_id", "model", "weights_sha256", "licence", "seed", "take"),
    *("context_sha256", "parent_audio_sha256"),
)
_TAKE = "org.segue.take"
_ANY_TYPE = "application/octet-stream"
"""Of a file beside which the manifest lies: signed as it is, whatever is in it."""

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"backing_store_memory_threshold_in_mb": 16},
}
"""No network; of what is copied, more than so much lies on disk."""


class SigningRefused(ValueError):
    """Exports cannot be signed as the settings want it: one sentence for an operator."""


class SigningFailed(ExportError):
    """The library did not sign a file. Its message is for logs."""


@dataclass(frozen=True, slots=True)
class Take:
    """A node of the line. `facts` is its provenance; without a `model` in it, no model made the audio."""

    title: str
    facts: Mapping[str, Any]

    @property
    def is_generated(self) -> bool:
        return self.facts.get("model") is not None

    def assertion(self) -> dict[str, Any]:
        known = {name: self.facts[name] for name in _TAKE_FACTS if self.facts.get(name) is not None}
        return {"label": _TAKE, "data": known}


@dataclass(frozen=True, slots=True, repr=False)
class FileSigner:
    """An operator's key, and the certificates from its own to the one that others trust, all in PEM."""

    algorithm: str
    key: bytes
    certificates: bytes

    def check(self) -> None:
        """Signs a moment of silence. Raises SigningRefused where the certificate does not allow that."""
        form = FORMATS["wav"]
        silence = io.BytesIO(encode_wav(np.zeros((1, 8), np.float32), 8_000))
        try:
            self.sign(_manifest("", form, [], "composite"), form.mime_type, silence, io.BytesIO())
        except SigningFailed as error:
            raise SigningRefused(
                "The certificate of export.c2pa_certificates may not sign exports: it needs the usages "
                "digitalSignature and emailProtection, an issuer, and to be valid today; docs/export.md has the "
                "commands."
            ) from error

    def sign(self, builder: Any, mime_type: str, source: BinaryIO, target: BinaryIO) -> bytes:
        """The manifest, which is in `target` too where the builder embeds it. Raises SigningFailed."""
        import c2pa

        try:
            signer = c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(self.algorithm, self.certificates, self.key, None)
            )
            with signer, builder:
                manifest: bytes = builder.sign(signer, mime_type, source, target)
        except c2pa.C2paError as error:
            raise SigningFailed(f"no content credentials: {error}") from error
        return manifest


class LineCredentials:
    """Makes the manifest of one file. `add` each of the first `ingredients` takes in their order, then `sign`.

    All raise SigningFailed, OSError.
    """

    def __init__(self, signer: FileSigner, form: Format, title: str, takes: Sequence[Take]) -> None:
        self._signer = signer
        self._form = form
        self._takes = takes
        self.ingredients = len(takes) if len(takes) <= MAX_INGREDIENTS else 0
        """A longer line says itself what its takes are."""
        generated = sum(take.is_generated for take in takes)
        source = "compositeWithTrainedAlgorithmicMedia" if generated else "composite"
        if generated == len(takes):
            source = "trainedAlgorithmicMedia"
        said = [] if self.ingredients else [take.assertion() for take in takes if take.is_generated]
        placed = [_ingredient_id(number) for number in range(self.ingredients)]
        self._builder = _manifest(title, form, said, source, placed)

    def add(self, number: int, wav: Path) -> None:
        """The audio of take `number`, signed as what the model made where it is generated. `wav` is removed."""
        import c2pa

        take, part = self._takes[number], wav
        if take.is_generated:
            part = wav.with_suffix(".signed.wav")
            form = FORMATS["wav"]
            builder = _manifest(take.title, form, [take.assertion()], "trainedAlgorithmicMedia")
            with wav.open("rb") as source, part.open("w+b") as target:
                self._signer.sign(builder, form.mime_type, source, target)
        said = {"title": take.title, "relationship": "componentOf", "instance_id": _ingredient_id(number)}
        try:
            with part.open("rb") as file:
                self._builder.add_ingredient(said, FORMATS["wav"].mime_type, file)
        except c2pa.C2paError as error:
            raise SigningFailed(f"no ingredient of content credentials: {error}") from error
        for path in {wav, part}:
            path.unlink()

    def sign(self, path: Path) -> Path | None:
        """Signs the file in its place; one that has no place for a manifest, or is large, stays as it is, and the
        manifest is the file returned."""
        if self._form.holds_manifest and path.stat().st_size <= MAX_INSIDE_BYTES:
            signed = path.with_suffix(".signed")
            with path.open("rb") as source, signed.open("w+b") as target:
                self._signer.sign(self._builder, self._form.mime_type, source, target)
            signed.replace(path)
            return None
        self._builder.set_no_embed()
        manifest, copy = path.with_suffix(MANIFEST_SUFFIX), path.with_suffix(".copy")
        with path.open("rb") as source, copy.open("w+b") as target:
            manifest.write_bytes(self._signer.sign(self._builder, _ANY_TYPE, source, target))
        copy.unlink()
        return manifest


def load_signer(key: str | None, certificates: str | None) -> FileSigner | None:
    """From two PEM files; None where no key is named. Raises SigningRefused."""
    if key is None or certificates is None:
        return None
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError) as error:
        raise SigningRefused(
            'Signing exports (export.c2pa_key) needs a package more: pip install "segue-server[c2pa]".'
        ) from error
    secret, chain = _read(key, "export.c2pa_key"), _read(certificates, "export.c2pa_certificates")
    private, algorithm = _private_key(key, secret)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningRefused(
            f"The file of export.c2pa_certificates, {certificates}, holds no certificates in PEM."
        ) from error
    if _public(leaf) != _public(private.public_key()):
        raise SigningRefused(
            "The first certificate of export.c2pa_certificates is not that of export.c2pa_key."
        )
    signer = FileSigner(algorithm, secret, chain)
    signer.check()
    return signer


def _private_key(path: str, pem: bytes) -> tuple[Any, str]:
    """The key and the name of its algorithm. Raises SigningRefused."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningRefused(
            f"The file of export.c2pa_key, {path}, is no private key in PEM without a password."
        ) from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key, _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key, "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return key, "ps256"
    raise SigningRefused(
        "The key of export.c2pa_key is of a kind that cannot sign: take P-256, Ed25519 or RSA."
    )


def _public(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _read(path: str, setting: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SigningRefused(f"The file of {setting}, {path}, cannot be read: {error.strerror}.") from error


def _ingredient_id(number: int) -> str:
    return f"take-{number + 1}"


def _manifest(
    title: str, form: Format, assertions: Sequence[Mapping[str, Any]], source: str, placed: Sequence[str] = ()
) -> Any:
    """A builder. `source` is one of IPTC's digital source types, `placed` the ids of the ingredients.
    Raises SigningFailed."""
    import c2pa

    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "digitalSourceType": f"{_SOURCE_TYPES}{source}"}
    ]
    if placed:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": list(placed)}})
    said = {
        "claim_generator_info": [{"name": "Segue"}],
        "title": title,
        "format": form.mime_type,
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}, *assertions],
    }
    try:
        return c2pa.Builder(said, context=c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)))
    except c2pa.C2paError as error:
        raise SigningFailed(f"no manifest for content credentials: {error}") from error
