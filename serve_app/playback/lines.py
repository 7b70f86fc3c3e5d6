"""The audio of a line up to any node, rendered while it is sent: the samples that an export encodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.audio.samples import SoundFormat
from deployments.stages.export.order import RENDERER_VERSION
from deployments.stages.frames import read_frames
from deployments.stages.render import Lines, line_samples
from serve_app.http.problems import Conflict
from serve_app.playback.sample_file import SampleFile, SampleFormat
from storage.domain.model import Chain, NodeAudio
from storage.domain.records import audio_to_record
from storage.domain.tree import path_to
from storage.repositories.blobs import Blobs


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """`etag` names the bytes: it depends on all that they are rendered from."""

    file: SampleFile
    etag: str


class LineAudio:
    """Renders what is asked for and no more: memory holds a piece of the answer and the seams in it."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lines = Lines(blobs)

    def line(self, chain: Chain, node_id: str, wanted: SampleFormat) -> RenderedFile:
        """From the root to the node, whatever the decisions on the way, in the chain's rate and channels; without
        dither or any other change of level. Raises NodeNotFound, Conflict for a node without audio."""
        line = [_audio_of(chain, node.id) for node in path_to(chain, node_id)]

        async def frames(start: int, count: int) -> bytes:
            samples = await self._lines.window(chain.tenant, line, start, start + count)
            return np.ascontiguousarray(samples.T, dtype="<f4").tobytes()

        sound = SoundFormat(line[0].sample_rate_hz, line[0].channels)
        return RenderedFile(
            _checked(SampleFile(wanted, sound, line_samples(line), frames)), _etag(line, wanted)
        )

    def node(self, chain: Chain, node_id: str) -> RenderedFile:
        """The bare samples of one node's own audio. Raises NodeNotFound, Conflict for a node without audio."""
        audio = _audio_of(chain, node_id)

        async def frames(start: int, count: int) -> bytes:
            return await read_frames(self._blobs, chain.tenant, audio, start, count)

        sound = SoundFormat(audio.sample_rate_hz, audio.channels)
        file = SampleFile(SampleFormat.F32, sound, audio.samples, frames)
        return RenderedFile(file, f"{audio.sha256}-f32")


def _audio_of(chain: Chain, node_id: str) -> NodeAudio:
    node = chain.node(node_id)
    if node.audio is None:
        raise Conflict(f"node {node.id} is {node.status}: it has no audio")
    return node.audio


def _checked(file: SampleFile) -> SampleFile:
    try:
        file.size_bytes  # noqa: B018 - a WAV counts its bytes with 32 bits
    except ValueError as error:
        raise Conflict("this line is longer than a WAV can hold; ask for format=f32") from error
    return file


def _etag(line: Sequence[NodeAudio], wanted: SampleFormat) -> str:
    plan = [RENDERER_VERSION, wanted.value, [audio_to_record(audio) for audio in line]]
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
