"""An object store in a bucket of S3, or of a server that speaks its language."""

from storage.stores.s3.store import S3Store

__all__ = ["S3Store"]
