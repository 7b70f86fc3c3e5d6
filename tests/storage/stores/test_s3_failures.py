"""What an operator reads when S3 does not do what it should: soon, clear, and without a secret."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from configs.settings import StorageSettings
from storage.stores.object_store import IfAbsent, StoreError, StoreUnavailable
from storage.stores.s3 import S3Store
from storage.stores.s3.failures import (
    AccessRefused,
    BucketMissing,
    NotImplementedByServer,
    StoreMisconfigured,
    TlsFailed,
)
from tests.storage.stores.s3_proxy import Answer, Fault, Proxy, running_proxy
from tests.storage.stores.s3_servers import BUCKET, S3Server
from tests.support.ports import free_port

KEY = "tenants/t/blobs/b"
SECRET = "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY"  # noqa: S105  # invented
PATIENCE_S = 60.0

Call = Callable[[S3Store], Awaitable[object]]


async def _list(store: S3Store) -> list[str]:
    return [info.key async for info in store.list("tenants/")]


CALLS: dict[str, Call] = {
    "get": lambda store: store.get(KEY),
    "get_range": lambda store: store.get_range(KEY, 0, 4),
    "get_nothing": lambda store: store.get_range(KEY, 0, 0),
    "head": lambda store: store.head(KEY),
    "put": lambda store: store.put(KEY, b"data"),
    "create": lambda store: store.put(KEY, b"data", IfAbsent()),
    "put_file": lambda store: store.put_file(KEY, Path(__file__)),
    "delete": lambda store: store.delete(KEY),
    "list": _list,
    "list_folders": lambda store: store.list_folders("tenants/"),
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


@pytest.fixture(autouse=True)
def a_secret_to_keep(
    s3_settings: StorageSettings, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is found wherever it turns up; ministack takes any, a real server only its own."""
    if not s3_server.is_real:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with running_proxy(s3_server.endpoint_url) as running:
        yield running


@asynccontextmanager
async def opened(settings: StorageSettings, **changes: object) -> AsyncIterator[S3Store]:
    store = S3Store(settings.model_copy(update=changes))
    yield store
    await store.close()


async def failure_of(call: Call, settings: StorageSettings, **changes: object) -> StoreError:
    """The error that the call ends with, within bounded time, and that gives away no secret."""
    async with opened(settings, **changes) as store, asyncio.timeout(PATIENCE_S):
        with pytest.raises(StoreError) as caught:
            await call(store)
    told = "".join(traceback.format_exception(caught.value))
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", SECRET) not in told
    return caught.value


class TestBuckets:
    async def test_a_missing_bucket_is_named_whatever_is_asked(
        self, s3_settings: StorageSettings, call: Call
    ) -> None:
        error = await failure_of(call, s3_settings, url="s3://nobody-made-this-bucket/x")
        assert isinstance(error, BucketMissing)
        assert "nobody-made-this-bucket" in str(error)
        assert "storage.url" in str(error)


class TestKeys:
    async def test_without_keys_it_says_where_they_are_looked_for(
        self, s3_settings: StorageSettings, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        error = await failure_of(call, s3_settings)
        assert isinstance(error, AccessRefused)
        assert "AWS_ACCESS_KEY_ID" in str(error)

    async def test_a_profile_that_is_not_there(self, s3_settings: StorageSettings) -> None:
        error = await failure_of(CALLS["get"], s3_settings, profile="nobody")
        assert isinstance(error, AccessRefused)
        assert "storage.profile" in str(error)

    async def test_keys_come_from_a_profile(
        self, s3_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        keys = [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        credentials = tmp_path / "credentials"
        credentials.write_text(
            f"[studio]\naws_access_key_id = {keys[0]}\naws_secret_access_key = {keys[1]}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        async with opened(s3_settings, profile="studio") as store:
            await store.put(KEY, b"data")
            assert (await store.get(KEY)).data == b"data"

    @pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    async def test_wrong_keys_at_a_real_server(
        self,
        s3_settings: StorageSettings,
        s3_server: S3Server,
        wrong: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if not s3_server.is_real:
            pytest.skip("ministack accepts any key")
        monkeypatch.setenv(wrong, SECRET)
        for name, call in CALLS.items():
            error = await failure_of(call, s3_settings)
            assert isinstance(error, AccessRefused), name

    @pytest.mark.parametrize(
        ("status", "code", "kind", "advice"),
        [
            (403, "InvalidAccessKeyId", AccessRefused, "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", AccessRefused, "AWS_SECRET_ACCESS_KEY"),
            (400, "ExpiredToken", AccessRefused, "role"),
            (403, "RequestTimeTooSkewed", AccessRefused, "clocks"),
            (403, "AccessDenied", AccessRefused, "s3:PutObject"),
            (400, "AuthorizationHeaderMalformed", StoreMisconfigured, "storage.region"),
            (501, "NotImplemented", NotImplementedByServer, "does not implement"),
            (400, "EntityTooLarge", StoreError, "EntityTooLarge"),
            (500, "InternalError", StoreUnavailable, "InternalError"),
            (503, "SlowDown", StoreUnavailable, "slow down"),
        ],
    )
    async def test_what_the_server_refuses_is_told_with_what_to_do(
        self,
        s3_settings: StorageSettings,
        proxy: Proxy,
        status: int,
        code: str,
        kind: type[StoreError],
        advice: str,
    ) -> None:
        proxy.treat = lambda _: Answer(status, code)
        for name in ("get", "put", "create", "list", "delete"):
            error = await failure_of(
                CALLS[name], s3_settings, endpoint_url=proxy.endpoint_url, max_attempts=2
            )
            assert type(error) is kind, name
            assert advice in str(error)
            assert BUCKET in str(error)

    async def test_what_is_refused_is_not_asked_again(
        self, s3_settings: StorageSettings, proxy: Proxy
    ) -> None:
        proxy.treat = lambda _: Answer(403, "AccessDenied")
        await failure_of(CALLS["put"], s3_settings, endpoint_url=proxy.endpoint_url)
        assert len(proxy.requests) == 1


class TestNetwork:
    async def test_an_endpoint_where_nobody_listens(self, s3_settings: StorageSettings, call: Call) -> None:
        endpoint_url = f"http://127.0.0.1:{free_port()}"
        error = await failure_of(call, s3_settings, endpoint_url=endpoint_url, max_attempts=2)
        assert type(error) is StoreUnavailable
        assert f"{endpoint_url} cannot be reached" in str(error)

    async def test_a_host_without_an_address(self, s3_settings: StorageSettings) -> None:
        error = await failure_of(
            CALLS["get"], s3_settings, endpoint_url="http://nowhere.invalid:9000", max_attempts=1
        )
        assert type(error) is StoreUnavailable
        assert "cannot be reached" in str(error)

    async def test_a_server_that_comes_back_is_found_again(
        self, s3_settings: StorageSettings, proxy: Proxy
    ) -> None:
        luck = iter([Fault.REQUEST_LOST, Fault.REQUEST_LOST])
        proxy.treat = lambda _: next(luck, None)
        async with opened(s3_settings, endpoint_url=proxy.endpoint_url) as store:
            await store.put(KEY, b"data")
        assert len(proxy.requests) == 3

    async def test_a_server_that_accepts_and_never_answers(
        self, s3_settings: StorageSettings, call: Call
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            error = await failure_of(
                call,
                s3_settings,
                endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
                read_timeout_s=0.2,
                max_attempts=1,
            )
        assert type(error) is StoreUnavailable
        assert "did not answer within storage.read_timeout_s" in str(error)

    async def test_something_that_is_not_s3(self, s3_settings: StorageSettings, call: Call) -> None:
        async def talk_of_something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<p>hi</p>")
            writer.close()

        server = await asyncio.start_server(talk_of_something_else, "127.0.0.1", 0)
        endpoint_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, opened(s3_settings, endpoint_url=endpoint_url, max_attempts=1) as store:
            if call in (CALLS["delete"], CALLS["list"], CALLS["list_folders"]):
                await call(store)  # nothing in the answer tells; the probe at the start has told already
                return
            with pytest.raises(StoreError):
                await call(store)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and the certificate for 127.0.0.1 that it has signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "key-and-certificate.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return path


class TestTls:
    @pytest.fixture
    def tls_proxy(self, s3_server: S3Server, certificate: Path) -> Iterator[Proxy]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with running_proxy(s3_server.endpoint_url, context) as running:
            yield running

    async def test_a_certificate_of_an_unknown_authority_is_refused(
        self, s3_settings: StorageSettings, tls_proxy: Proxy, call: Call
    ) -> None:
        error = await failure_of(call, s3_settings, endpoint_url=tls_proxy.endpoint_url)
        assert isinstance(error, TlsFailed)
        assert "storage.ca_bundle" in str(error)

    async def test_with_its_authority_in_the_bundle_it_is_accepted(
        self, s3_settings: StorageSettings, tls_proxy: Proxy, certificate: Path
    ) -> None:
        async with opened(
            s3_settings, endpoint_url=tls_proxy.endpoint_url, ca_bundle=str(certificate)
        ) as store:
            etag = await store.put(KEY, b"data", IfAbsent())
            assert (await store.head(KEY)).stamp == etag

    async def test_a_bundle_that_is_not_there(self, s3_settings: StorageSettings, tls_proxy: Proxy) -> None:
        error = await failure_of(
            CALLS["get"], s3_settings, endpoint_url=tls_proxy.endpoint_url, ca_bundle="/nowhere/ca.pem"
        )
        assert isinstance(error, StoreMisconfigured)
        assert "/nowhere/ca.pem" in str(error)

    async def test_a_server_that_speaks_no_tls(self, s3_settings: StorageSettings, proxy: Proxy) -> None:
        error = await failure_of(
            CALLS["get"],
            s3_settings,
            endpoint_url=proxy.endpoint_url.replace("http:", "https:"),
            max_attempts=1,
        )
        assert isinstance(error, StoreUnavailable)
        assert "TLS" in str(error)


class TestSettings:
    @pytest.mark.parametrize(
        "endpoint_url", ["minio:9000", "ftp://host", "http://user:secret@host", "http://host/path", "http://"]
    )
    def test_an_endpoint_is_a_plain_http_url(self, endpoint_url: str) -> None:
        with pytest.raises(ValueError, match="endpoint_url"):
            StorageSettings(url="s3://bucket", endpoint_url=endpoint_url)

    def test_keys_are_no_settings(self) -> None:
        with pytest.raises(ValueError, match="secret_access_key"):
            StorageSettings.model_validate({"url": "s3://bucket", "secret_access_key": SECRET})
