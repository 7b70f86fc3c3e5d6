"""Where in S3 a store lies: `s3://BUCKET` or `s3://BUCKET/PREFIX`, the prefix of one or more components."""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.stores.keys import check_key
from storage.stores.object_store import BadKey

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@dataclass(frozen=True, slots=True)
class S3Address:
    bucket: str
    folder: str
    """What every key in the bucket begins with: empty, or the prefix and a slash."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.folder}".rstrip("/")

    @staticmethod
    def parse(url: str) -> S3Address:
        """Raises ValueError for what is no such URL."""
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.removesuffix("/")
        if scheme != "s3" or not _BUCKET.fullmatch(bucket):
            raise ValueError(f"storage URL {url!r} is not s3://BUCKET or s3://BUCKET/PREFIX")
        if not prefix:
            return S3Address(bucket, "")
        try:
            check_key(prefix)
        except BadKey as error:
            raise ValueError(f"storage URL {url!r} has a prefix that cannot begin a key") from error
        return S3Address(bucket, f"{prefix}/")
