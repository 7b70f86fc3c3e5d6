"""Keys that can sign, and the sentences about those that cannot; lines too long for an ingredient a take."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deployments.audio.wav import encode_wav
from deployments.export import c2pa as credentials_module
from deployments.export.c2pa import MAX_INGREDIENTS, LineCredentials, SigningRefused, Take, load_signer
from deployments.export.formats import FORMATS
from tests.support.credentials import Operator, operator


@pytest.fixture
def signing(tmp_path: Path) -> Operator:
    return operator(tmp_path)


def test_no_key_no_signatures() -> None:
    assert load_signer(None, None) is None


def _missing(signing: Operator, folder: Path) -> None:
    signing.key.unlink()


def _a_certificate_as_key(signing: Operator, folder: Path) -> None:
    signing.key.write_bytes(signing.authority.read_bytes())


def _a_key_as_certificate(signing: Operator, folder: Path) -> None:
    signing.certificates.write_bytes(signing.key.read_bytes())


def _of_another(signing: Operator, folder: Path) -> None:
    signing.certificates.write_bytes(operator(folder).certificates.read_bytes())


def _for_something_else(signing: Operator, folder: Path) -> None:
    operator(signing.key.parent, may_sign=False)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_missing, r"The file of export\.c2pa_key, .*key\.pem, cannot be read: No such file or directory\."),
        (_a_certificate_as_key, r"The file of export\.c2pa_key, .*, is no private key in PEM"),
        (_a_key_as_certificate, r"The file of export\.c2pa_certificates, .*, holds no certificates in PEM\."),
        (
            _of_another,
            r"The first certificate of export\.c2pa_certificates is not that of export\.c2pa_key\.",
        ),
        (_for_something_else, r"The certificate of export\.c2pa_certificates may not sign exports"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_in_one_sentence(
    signing: Operator,
    tmp_path_factory: pytest.TempPathFactory,
    spoil: Callable[[Operator, Path], None],
    sentence: str,
) -> None:
    spoil(signing, tmp_path_factory.mktemp("other"))
    with pytest.raises(SigningRefused, match=sentence):
        load_signer(str(signing.key), str(signing.certificates))


def test_a_large_file_gets_its_manifest_beside(
    signing: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials_module, "MAX_INSIDE_BYTES", 10)
    signer = load_signer(str(signing.key), str(signing.certificates))
    assert signer is not None
    path = tmp_path / "file.wav"
    path.write_bytes(data := encode_wav(np.zeros((1, 100), np.float32), 8_000))
    credentials = LineCredentials(signer, FORMATS["wav"], "Large", [Take("upload", {})])
    (tmp_path / "part.wav").write_bytes(data)
    credentials.add(0, tmp_path / "part.wav")
    manifest = credentials.sign(path)
    assert manifest is not None
    assert path.read_bytes() == data
    for mime_type in ("audio/wav", "application/octet-stream"):
        judged = signing.reader(io.BytesIO(data), mime_type, manifest.read_bytes())
        assert (judged.state, judged.failures) == ("Trusted", [])
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".pem") == [
        "file.c2pa",
        "file.wav",
    ]


def test_a_long_line_says_itself_what_its_takes_are(signing: Operator, tmp_path: Path) -> None:
    signer = load_signer(str(signing.key), str(signing.certificates))
    assert signer is not None
    takes = [Take(f"{seed}", {"model": "mock", "seed": seed}) for seed in range(MAX_INGREDIENTS + 1)]
    credentials = LineCredentials(signer, FORMATS["wav"], "Long", takes)
    path = tmp_path / "file.wav"
    path.write_bytes(encode_wav(np.zeros((1, 100), np.float32), 8_000))
    assert (credentials.ingredients, credentials.sign(path)) == (0, None)
    judged = signing.reader(io.BytesIO(path.read_bytes()), "audio/wav")
    assert (judged.state, len(judged.manifests)) == ("Trusted", 1)
    seeds = [
        each["data"]["seed"]
        for each in judged.manifests[judged.active]["assertions"]
        if each["label"].startswith("org.segue.take")
    ]
    assert seeds == list(range(MAX_INGREDIENTS + 1))
