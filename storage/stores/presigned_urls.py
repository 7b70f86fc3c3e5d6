"""What a store may offer besides: a URL by which a client fetches an object from the store itself."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Presigns(Protocol):
    async def presigned_url(
        self, key: str, *, expires_s: int, content_disposition: str, media_type: str
    ) -> str:
        """A URL that needs no keys and answers GET `expires_s` seconds long (604800, a week, at most).

        What it answers has the type `media_type` and the Content-Disposition header given. Whether there is
        an object is not looked at.
        """
        ...
