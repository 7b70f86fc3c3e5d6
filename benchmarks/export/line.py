"""A committed line for measurements: nodes in a store on disk, each continuing the one before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import find_ffmpeg
from deployments.export.plan import ExportOptions
from deployments.export.tags import Tags
from deployments.stages.export.order import ExportOrder, LineNode
from deployments.stages.export.stage import ExportStage
from storage.domain.model import BlobRef, NodeAudio
from storage.repositories.blobs import Blobs
from storage.repositories.exports import Exports
from storage.stores.local_folder import LocalFolderStore
from tests.support.clips import music

RATE_HZ = 44_100
LEAD_IN_S = 3.0
TENANT = "bench"
TIMEOUT_S = 3_600.0
SEEDS = 4
"""So many different nodes; a longer line has them again."""


@dataclass(frozen=True, slots=True)
class Line:
    """`files` are the nodes' own WAVs, for programs that know no store."""

    nodes: tuple[LineNode, ...]
    files: tuple[Path, ...]
    store: LocalFolderStore

    def order(self, options: ExportOptions) -> ExportOrder:
        return ExportOrder(self.nodes, options, f"line{options.form.suffix}")

    async def export(self, options: ExportOptions) -> int:
        """The file's bytes; made anew each time."""
        stage = ExportStage(Blobs(self.store), Exports(self.store), find_ffmpeg(), TIMEOUT_S)
        order = self.order(options)
        await self.store.delete(f"tenants/{TENANT}/exports/{order.plan().hash()}.json")
        return (await stage.run(TENANT, order)).blob.size_bytes


async def make_line(folder: Path, nodes: int, node_s: float) -> Line:
    """Stereo at 44.1 kHz, as float32; every node but the first with a lead-in of 3 s."""
    store = LocalFolderStore(folder / "store")
    blobs, made, files = Blobs(store), list[LineNode](), list[Path]()
    lead_in = await _put(blobs, encode_wav(music(LEAD_IN_S, RATE_HZ, seed=99), RATE_HZ))
    kept: list[tuple[BlobRef, Path]] = []
    for seed in range(min(SEEDS, nodes)):
        data = encode_wav(music(node_s, RATE_HZ, seed=seed), RATE_HZ)
        file = folder / f"node-{seed}.wav"
        file.write_bytes(data)
        kept.append((await _put(blobs, data), file))
    for index in range(nodes):
        blob, file = kept[index % len(kept)]
        audio = NodeAudio(blob, round(node_s * RATE_HZ), RATE_HZ, 2, -20.0, -3.0, lead_in if index else None)
        made.append(LineNode(audio, f"Node {index + 1}"))
        files.append(file)
    return Line(tuple(made), tuple(files), store)


def options(name: str) -> ExportOptions:
    return ExportOptions(name, RATE_HZ, 2, tags=Tags(title="A line"))


async def _put(blobs: Blobs, data: bytes) -> BlobRef:
    return await blobs.put(TENANT, f"upload-{hashlib.sha256(data).hexdigest()[:8]}", data)
