"""The content credentials of an export: what made its nodes, signed into the file or beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from deployments.export.c2pa import FileSigner, LineCredentials, Take
from deployments.export.media_errors import WrongValue
from deployments.stages.export.order import ExportOrder
from deployments.stages.node_audio import NodeSounds
from deployments.stopping import in_thread
from storage.repositories.blobs import Blobs

T = TypeVar("T")


async def sign_file(
    path: Path, order: ExportOrder, signer: FileSigner | None, blobs: Blobs, tenant: str, folder: Path
) -> Path | None:
    """Signs an order's file; returns the manifest where it lies beside the file. One node's audio at a time is in
    `folder`.

    Raises WrongValue where the server signs no longer, SigningFailed, BlobCorrupt, StoreError, OSError.
    """
    if signer is None or order.documents is None:
        raise WrongValue(
            "The server signed exports when this was asked for, and no longer does; ask for it again."
        )
    said = json.loads(await blobs.get(tenant, order.documents))["provenance"]["nodes"]
    sounding = [
        (node.audio, Take(node.name, facts))
        for node, facts, is_in in zip(order.nodes, said, order.sounding, strict=True)
        if is_in
    ]
    title = "" if order.options.tags is None else order.options.tags.title
    takes = [take for _, take in sounding]
    credentials = await asyncio.to_thread(LineCredentials, signer, order.options.form, title, takes)
    sounds, wav = NodeSounds(blobs), folder / "ingredient.wav"
    for number, (audio, _) in enumerate(sounding[: credentials.ingredients]):
        await sounds.fetch(tenant, audio, wav)
        await _finished(credentials.add, number, wav)
    return await _finished(credentials.sign, path)


async def _finished(work: Callable[..., T], *arguments: Any) -> T:
    """The result of `work` in a thread. Where this task is cancelled, it ends only after the thread, whose files
    nobody removes before."""
    return await in_thread(lambda stop: work(*arguments))
