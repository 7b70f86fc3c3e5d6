"""Audio blobs: immutable, written once before any document points at them, checked against their hash.

A name is `{owner}-{sha256}`, the owner `{job}-{fence}` or `upload-{id}`. So writing twice is writing the same,
and what an abandoned attempt leaves behind is garbage, never damage.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage import paths
from storage.domain.model import BlobRef
from storage.stores.object_store import ObjectNotFound, ObjectStore, StoreError
from storage.stores.presigned_urls import Presigns

_VERIFY_CHUNK_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
_REMEMBERED = 4096


class BlobCorrupt(StoreError):
    """A blob's bytes are not those of its hash, or are gone."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A blob that was whole once: the object's stamp then, and the hash of each of its pieces."""

    stamp: str
    pieces: tuple[bytes, ...]


class Blobs:
    """`on_stored` is called with the size of every blob that was written."""

    def __init__(
        self, store: ObjectStore, on_stored: Callable[[int], None] = lambda size_bytes: None
    ) -> None:
        self._store = store
        self._on_stored = on_stored
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    async def put(self, tenant: str, owner: str, data: bytes) -> BlobRef:
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        ref = BlobRef(f"{owner}-{sha256}", sha256, len(data))
        await self._store.put(paths.blob(tenant, ref.name), data)
        self._on_stored(ref.size_bytes)
        return ref

    async def put_file(self, tenant: str, owner: str, path: Path, sha256: str) -> BlobRef:
        """Keep a file whose hash is known, without holding it in memory."""
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        ref = BlobRef(f"{owner}-{sha256}", sha256, size_bytes)
        await self._store.put_file(paths.blob(tenant, ref.name), path)
        self._on_stored(ref.size_bytes)
        return ref

    async def get(self, tenant: str, ref: BlobRef) -> bytes:
        """The whole blob, checked. Raises BlobCorrupt."""
        try:
            data = (await self._store.get(paths.blob(tenant, ref.name))).data
        except ObjectNotFound as error:
            raise BlobCorrupt(f"blob {ref.name} is gone") from error
        if await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest()) != ref.sha256:
            raise BlobCorrupt(f"blob {ref.name} is not what was written")
        return data

    async def fetch(self, tenant: str, ref: BlobRef, path: Path) -> None:
        """Copy the whole blob into a file, checked, a few MiB at a time. After an error there is no file.

        Raises BlobCorrupt, OSError.
        """
        key, digest = paths.blob(tenant, ref.name), hashlib.sha256()

        def keep(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        with removed_after_an_error(path), path.open("wb") as file:
            try:
                for start in range(0, ref.size_bytes, _VERIFY_CHUNK_BYTES):
                    await asyncio.to_thread(
                        keep, await self._store.get_range(key, start, _VERIFY_CHUNK_BYTES)
                    )
            except ObjectNotFound as error:
                raise BlobCorrupt(f"blob {ref.name} is gone") from error
            if digest.hexdigest() != ref.sha256:
                raise BlobCorrupt(f"blob {ref.name} is not what was written")

    async def delete(self, tenant: str, ref: BlobRef) -> None:
        """For a blob that nothing needs any more; again is no error."""
        await self._store.delete(paths.blob(tenant, ref.name))

    async def read(self, tenant: str, ref: BlobRef, start: int, length: int) -> bytes:
        """A part of the blob. The whole is checked at the first read in this process and whenever the object has
        been written to since; what is returned is checked every time, by the pieces it lies in.

        Raises BlobCorrupt.
        """
        verified = await self._verify(tenant, ref)
        end = min(start + length, ref.size_bytes)
        if start >= end:
            return b""
        first, last = start // _PIECE_BYTES, (end - 1) // _PIECE_BYTES
        begin = first * _PIECE_BYTES
        try:
            data = await self._store.get_range(
                paths.blob(tenant, ref.name), begin, (last + 1) * _PIECE_BYTES - begin
            )
        except ObjectNotFound as error:
            raise BlobCorrupt(f"blob {ref.name} is gone") from error
        if await asyncio.to_thread(_hashes, data) != verified.pieces[first : last + 1]:
            raise BlobCorrupt(f"blob {ref.name} is not what was written")
        return data[start - begin : end - begin]

    async def presigned_url(
        self, tenant: str, ref: BlobRef, *, expires_s: int, content_disposition: str, media_type: str
    ) -> str | None:
        """A URL of the store itself for the blob, as `Presigns` has it; None where the store has none."""
        if not isinstance(self._store, Presigns):
            return None
        return await self._store.presigned_url(
            paths.blob(tenant, ref.name),
            expires_s=expires_s,
            content_disposition=content_disposition,
            media_type=media_type,
        )

    async def _verify(self, tenant: str, ref: BlobRef) -> _Verified:
        key = paths.blob(tenant, ref.name)
        digest, pieces = hashlib.sha256(), list[bytes]()
        try:
            info = await self._store.head(key)
            known = self._verified.get(key)
            if known is not None and known.stamp == info.stamp:
                return known
            if info.size_bytes != ref.size_bytes:
                raise BlobCorrupt(f"blob {ref.name} is not what was written")
            for start in range(0, ref.size_bytes, _VERIFY_CHUNK_BYTES):
                chunk = await self._store.get_range(key, start, _VERIFY_CHUNK_BYTES)
                await asyncio.to_thread(digest.update, chunk)
                pieces += await asyncio.to_thread(_hashes, chunk)
        except ObjectNotFound as error:
            raise BlobCorrupt(f"blob {ref.name} is gone") from error
        if digest.hexdigest() != ref.sha256:
            raise BlobCorrupt(f"blob {ref.name} is not what was written")
        verified = self._verified[key] = _Verified(info.stamp, tuple(pieces))
        while len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return verified


def _hashes(data: bytes) -> tuple[bytes, ...]:
    """Of each piece; the first one begins with `data`."""
    return tuple(
        hashlib.sha256(data[start : start + _PIECE_BYTES]).digest()
        for start in range(0, len(data), _PIECE_BYTES)
    )


@contextmanager
def removed_after_an_error(path: Path) -> Iterator[None]:
    """Leaves no half of a file behind."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
