"""What botocore's exceptions mean: an error of the store with words for an operator, and whether to try again.

No message carries a key, a token or a signature: what the server said is quoted by its code alone, except
where it gave no code that we know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from storage.stores.object_store import ObjectNotFound, PreconditionFailed, StoreError, StoreUnavailable

FAILURES: tuple[type[Exception], ...] = (ClientError, BotoCoreError, ResponseParserError)
"""All that a call of a boto3 client raises, but for what the caller's own files do."""


class StoreMisconfigured(StoreError):
    """Address, keys, permissions or certificates are wrong: an operator has to change something."""


class BucketMissing(StoreMisconfigured):
    pass


class AccessRefused(StoreMisconfigured):
    """There are no keys, or the server does not accept them, or they may not do this."""


class TlsFailed(StoreMisconfigured):
    """The server's certificate could not be verified."""


class NotImplementedByServer(StoreError):
    """The server does not know the operation, or a condition of it."""


class Fate(Enum):
    """What has become of a call that failed."""

    FINAL = auto()
    """Refused: the same call would fail again."""
    NOT_DONE = auto()
    """Certainly not carried out: it may be repeated, whatever it is."""
    UNKNOWN = auto()
    """Carried out or not: it may be repeated only if twice is as good as once."""


@dataclass(frozen=True, slots=True)
class Failure:
    error: StoreError
    fate: Fate


_BAD_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"}
)
_BAD_REGION = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "PermanentRedirect",
        "TemporaryRedirect",
        "IllegalLocationConstraintException",
    }
)
_BUSY = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_RACE = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_NO_KEYS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)
_NO_TOKEN = (CredentialRetrievalError, TokenRetrievalError, UnauthorizedSSOTokenError)
_NOT_CONNECTED = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
_BROKEN_OFF = (HTTPClientError, ResponseStreamingError, IncompleteReadError, ResponseParserError)

_KEYS_ARE_FOUND = (
    "in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the profile of storage.profile, "
    "or in the role of the machine"
)
_PERMISSIONS = "s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket"


def explain(error: Exception, *, action: str, key: str, bucket: str, server: str) -> Failure:
    """What `error`, one of FAILURES, means for a call that wanted to `action` `key`: `read`, `a/b`."""

    def failure(kind: Callable[[str], StoreError], reason: str, fate: Fate = Fate.FINAL) -> Failure:
        return Failure(kind(f"cannot {action} {key or 'anything'} in bucket {bucket}: {reason}"), fate)

    match error:
        case ClientError():
            return _explain_answer(error, failure, key, bucket, server)
        case SSLError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return failure(
                TlsFailed,
                f"the certificate of {server} cannot be verified: set storage.ca_bundle to the file of the "
                "authority that signed it",
            )
        case SSLError():
            return failure(
                StoreUnavailable,
                f"TLS with {server} failed: does it speak https there, in a version of these years?",
                Fate.UNKNOWN,
            )
        case _ if isinstance(error, _NO_KEYS):
            return failure(
                AccessRefused, f"there are no access keys for {server}: give them {_KEYS_ARE_FOUND}"
            )
        case _ if isinstance(error, _NO_TOKEN):
            return failure(
                StoreUnavailable,
                f"the access keys for {server} could not be fetched ({type(error).__name__}): is the role or "
                "the login of the profile in order?",
                Fate.NOT_DONE,
            )
        case _ if isinstance(error, _NOT_CONNECTED):
            return failure(
                StoreUnavailable,
                f"{server} cannot be reached: check that it runs, storage.endpoint_url and the network",
                Fate.NOT_DONE,
            )
        case ReadTimeoutError():
            return failure(
                StoreUnavailable,
                f"{server} took the request and did not answer within storage.read_timeout_s",
                Fate.UNKNOWN,
            )
        case _ if isinstance(error, _BROKEN_OFF):
            return failure(
                StoreUnavailable,
                f"the connection to {server} broke off, or does not speak S3 ({type(error).__name__})",
                Fate.UNKNOWN,
            )
    return failure(StoreMisconfigured, f"the client refuses to: {error}")


def _explain_answer(
    error: Any, failure: Callable[..., Failure], key: str, bucket: str, server: str
) -> Failure:
    """What an answer of the server means that is no success."""
    code, status, operation = code_of(error), status_of(error), error.operation_name
    if code == "NoSuchBucket" or (operation == "HeadBucket" and status == HTTPStatus.NOT_FOUND):
        return failure(BucketMissing, f"{server} has no such bucket: make it, or correct storage.url")
    if code == "NoSuchKey" or (operation == "HeadObject" and status == HTTPStatus.NOT_FOUND):
        # A put finds no key only if it wanted one to match.
        absent = PreconditionFailed(key) if operation == "PutObject" else ObjectNotFound(key)
        return Failure(absent, Fate.FINAL)
    if status == HTTPStatus.PRECONDITION_FAILED:
        return Failure(PreconditionFailed(key), Fate.FINAL)
    if code in _RACE:
        return failure(StoreUnavailable, "others write it at the same moment", Fate.NOT_DONE)
    if code in _BUSY or status == HTTPStatus.TOO_MANY_REQUESTS:
        return failure(StoreUnavailable, f"{server} asks to slow down ({code})", Fate.NOT_DONE)
    if code in _BAD_KEYS:
        return failure(
            AccessRefused, f"{server} refuses the access keys ({code}): they are looked for {_KEYS_ARE_FOUND}"
        )
    if code == "RequestTimeTooSkewed":
        return failure(AccessRefused, f"the clocks of this machine and of {server} differ too much: set them")
    if code in _BAD_REGION or status == HTTPStatus.MOVED_PERMANENTLY:
        return failure(
            StoreMisconfigured, f"the bucket is elsewhere ({code}): set storage.region to its region"
        )
    if status == HTTPStatus.FORBIDDEN:
        return failure(AccessRefused, f"{server} does not allow it ({code}): the keys need {_PERMISSIONS}")
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return failure(NotImplementedByServer, f"{server} does not implement {operation} as asked ({code})")
    # No such upload: a first try joined the parts, and its reply was lost.
    if code in ("RequestTimeout", "NoSuchUpload") or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return failure(StoreUnavailable, f"{server} failed ({status} {code})", Fate.UNKNOWN)
    return failure(StoreError, f"{server} answered {operation} with {status} {code}")


def code_of(error: Any) -> str:
    """S3's own code in a ClientError (`NoSuchKey`), or the HTTP status where the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
