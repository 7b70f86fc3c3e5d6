"""The S3 server and its settings, as fixtures."""

from tests.storage.stores.s3_servers import s3_server, s3_settings

__all__ = ["s3_server", "s3_settings"]
