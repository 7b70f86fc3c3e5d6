"""One job's tracks, by name, on this machine's disk while its stages work on them."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deployments.audio.levels import decibels_of_power
from deployments.audio.track import TrackReader, TrackWriter
from storage.domain.model import BlobRef, Track
from storage.repositories.blobs import Blobs

MIX = "mix"
"""The track that everything is made from."""

FLOAT_WAV = "wav"


class Workspace:
    """All that is made goes into `folder`, which is somebody else's to remove, and is stored as `owner`'s. What is
    stored need not stay in the folder: it is fetched again when it is read."""

    def __init__(self, folder: Path, blobs: Blobs, tenant: str, owner: str) -> None:
        self.folder = folder
        self._blobs = blobs
        self._tenant = tenant
        self._owner = owner
        self._stored: dict[str, BlobRef] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tracks that are stored, the mix first, in the order in which they came."""
        return tuple(self._stored)

    def add(self, name: str, blob: BlobRef) -> None:
        """A track that is in the store already; it is fetched when it is first read."""
        self._stored[name] = blob

    async def read(self, name: str) -> TrackReader:
        """Raises KeyError for a name that is not there, BlobCorrupt, StoreError."""
        path = self.path(name)
        if not path.exists():
            await self._blobs.fetch(self._tenant, self._stored[name], path)
        return await asyncio.to_thread(TrackReader, path)

    def create(self, name: str, rate_hz: int, channels: int) -> TrackWriter:
        """A new track, or one that replaces what an attempt left half made."""
        return TrackWriter(self.path(name), rate_hz, channels)

    async def store(self, name: str, facts: Mapping[str, Any] | None = None) -> Track:
        """Keep a track that was written; from now on it is among `names`. Raises StoreError."""
        made = await asyncio.to_thread(_measure, self.path(name))
        blob = await self._blobs.put_file(self._tenant, self._owner, self.path(name), made.sha256)
        self.add(name, blob)
        return made.track(name, blob, FLOAT_WAV, facts or {})

    async def store_file(self, name: str, path: Path, format_name: str, facts: Mapping[str, Any]) -> Track:
        """Keep an encoded copy of a track. Its levels are those of what was encoded. Raises StoreError."""
        made = await asyncio.to_thread(_measure, self.path(name))
        sha256 = await asyncio.to_thread(_sha256_of, path)
        blob = await self._blobs.put_file(self._tenant, self._owner, path, sha256)
        return made.track(name, blob, format_name, facts)

    def drop(self, *names: str) -> None:
        """Free the disk that these tracks take here."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Free the disk that all takes here: what a stage has left, too."""
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.wav"


class _Measured:
    """A float WAV's hash, length and levels."""

    def __init__(self, reader: TrackReader, sha256: str, rms_dbfs: float, peak_dbfs: float) -> None:
        self._reader = reader
        self.sha256 = sha256
        self._rms_dbfs = rms_dbfs
        self._peak_dbfs = peak_dbfs

    def track(self, name: str, blob: BlobRef, format_name: str, facts: Mapping[str, Any]) -> Track:
        return Track(
            name=name,
            blob=blob,
            format=format_name,
            samples=self._reader.samples,
            sample_rate_hz=self._reader.rate_hz,
            channels=self._reader.channels,
            rms_dbfs=self._rms_dbfs,
            peak_dbfs=self._peak_dbfs,
            facts=facts,
        )


def _measure(path: Path) -> _Measured:
    reader, energy, peak = TrackReader(path), 0.0, 0.0
    for block in reader.blocks():
        energy += float(np.square(block, dtype=np.float64).sum())
        peak = max(peak, float(np.abs(block).max()))
    power = energy / max(1, reader.samples * reader.channels)
    return _Measured(reader, _sha256_of(path), decibels_of_power(power), decibels_of_power(math.pow(peak, 2)))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
