"""A chain in memory whose nodes are made by the real stage, and generators that continue a known signal."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from deployments.audio.levels import peak_dbfs, rms_dbfs
from deployments.audio.samples import Samples
from deployments.audio.wav import decode_wav, encode_wav
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationEvent,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    MusicGenerator,
    Prefilled,
    Segment,
)
from deployments.stages.generate import GeneratedNode, GenerateStage
from deployments.stages.render import Lines
from storage.domain import edits
from storage.domain.model import BlobRef, Chain, Node, NodeAudio, NodeStatus, Origin
from storage.domain.tree import path_to
from storage.repositories.blobs import Blobs
from storage.stores.memory import MemoryStore

TENANT = "t"
MODEL = "fake"
NOW = datetime(2026, 3, 1, tzinfo=UTC)

Times = npt.NDArray[np.float64]
Signal = Callable[[Times], npt.NDArray[np.float64]]

PARAMS: dict[str, Any] = {
    "mode": "continue",
    "prompt_duration_s": 10.0,
    "cfg_coef": 3.0,
    "temperature": 1.0,
    "top_k": 250,
    "top_p": 0.0,
    "model": MODEL,
}


def engine_info(rate_hz: int = 32_000, channels: int = 1, max_context_s: float = 30.0) -> EngineInfo:
    return EngineInfo(
        model=MODEL,
        engine="fake",
        engine_version="1",
        weights_sha256="0" * 64,
        licence="CC-BY-NC-4.0",
        sample_rate_hz=rate_hz,
        channels=channels,
        max_context_s=max_context_s,
        max_duration_s=30.0,
        modes=tuple(GenerationMode),
        device="cpu",
        dtype="float32",
        reproducible=True,
    )


def chirp(times_s: Times) -> npt.NDArray[np.float64]:
    """From 200 Hz up by 300 Hz a second, so that no two stretches of it are alike."""
    return 0.3 * np.sin(2 * np.pi * (200.0 * times_s + 150.0 * np.square(times_s)))


def tone(times_s: Times) -> npt.NDArray[np.float64]:
    return 0.3 * np.sin(2 * np.pi * 441.0 * times_s)


def noise(level: float = 0.1) -> Signal:
    """Another stretch of noise at every call."""
    luck = np.random.default_rng(1)
    return lambda times_s: level * luck.standard_normal(len(times_s))


def sampled(signal: Signal, start_s: float, samples: int, rate_hz: int, channels: int = 1) -> Samples:
    times_s = start_s + np.arange(samples) / rate_hz
    return np.tile(signal(times_s).astype(np.float32), (channels, 1))


@dataclass
class SignalGenerator:
    """Continues `signal` from `begins_s` on, as a model would that knows it by heart and whose codec changes
    level and phase: the end of the context is reconstructed in whole frames of 20 ms, as MusicGen does."""

    signal: Signal
    begins_s: float = 0.0
    info_: EngineInfo = field(default_factory=engine_info)
    level: float = 1.0
    late_s: float = 0.0
    reconstructs: bool = True
    missing_samples: int = 0
    requests: list[GenerationRequest] = field(default_factory=list)

    async def info(self) -> EngineInfo:
        return self.info_

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        rate_hz = self.info_.sample_rate_hz
        context_samples = 0 if request.context is None else request.context.shape[1]
        frame = rate_hz // 50
        known = min(context_samples, 3 * rate_hz) // frame * frame if self.reconstructs else 0
        count = math.ceil(request.duration_s * rate_hz) - self.missing_samples
        start_s = self.begins_s - self.late_s - known / rate_hz
        audio = sampled(self.signal, start_s, known + count, rate_hz, self.info_.channels)
        audio *= np.float32(self.level)
        yield GenerationProgress(0.5)
        yield Prefilled(audio[:, :known])
        for begin in range(known, known + count, rate_hz):
            yield Segment(audio[:, begin : begin + rate_hz])
        yield GenerationProgress(1.0)


class SeededGenerator:
    """Noise that depends on everything in the request, as a reproducible model's output does."""

    async def info(self) -> EngineInfo:
        return engine_info()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        heard = 0 if request.context is None else int(np.abs(request.context).sum() * 1e6)
        about = (request.prompt, request.mode, request.sampling, request.duration_s, heard)
        luck = np.random.default_rng([ord(letter) for letter in repr(about)])
        count = math.ceil(request.duration_s * 32_000)
        known = 0 if request.context is None else 6_400
        audio = (0.1 * luck.standard_normal((1, known + count))).astype(np.float32)
        yield Prefilled(audio[:, :known])
        yield Segment(audio[:, known:])


class Studio:
    """`chain` is the chain as it is now."""

    chain: Chain

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.blobs = Blobs(self.store)
        self.lines = Lines(self.blobs)

    async def upload(self, samples: Samples, rate_hz: int) -> None:
        """Begin the chain with a root of these samples."""
        audio = await self.keep(samples, rate_hz)
        root = replace(_node("root", None), status=NodeStatus.READY, audio=audio, duration_s=audio.duration_s)
        self.chain = edits.new_chain(chain_id="c", tenant=TENANT, title="", root=root, now=NOW)

    async def keep(self, samples: Samples, rate_hz: int, lead_in: Samples | None = None) -> NodeAudio:
        """Audio as a ready node has it."""
        return NodeAudio(
            blob=await self.blobs.put(TENANT, "upload-c", encode_wav(samples, rate_hz)),
            samples=samples.shape[1],
            sample_rate_hz=rate_hz,
            channels=samples.shape[0],
            rms_dbfs=rms_dbfs(samples),
            peak_dbfs=peak_dbfs(samples),
            lead_in=None
            if lead_in is None
            else await self.blobs.put(TENANT, "upload-c", encode_wav(lead_in, rate_hz)),
        )

    async def begin(self, generator: MusicGenerator, duration_s: float, **params: Any) -> GeneratedNode:
        """Begin the chain with a generated root."""
        root = _node("root", None, duration_s, **params)
        self.chain = edits.new_chain(chain_id="c", tenant=TENANT, title="", root=root, now=NOW)
        return await self._make("root", generator, [])

    async def branch(
        self,
        generator: MusicGenerator,
        duration_s: float = 1.0,
        *,
        parent_id: str = "root",
        name: str = "take",
        progress: list[float] | None = None,
        **params: Any,
    ) -> GeneratedNode:
        """Make one take and publish it as node `name`."""
        node = _node(name, parent_id, duration_s, **params)
        self.chain = edits.add_nodes(self.chain, [node], NOW)
        return await self._make(name, generator, [] if progress is None else progress)

    async def line(self, node_id: str = "take") -> Samples:
        """The whole line to a node as an export renders it."""
        return await self.lines.render(TENANT, self.audio_to(node_id))

    def audio_to(self, node_id: str) -> list[NodeAudio]:
        return [node.audio for node in path_to(self.chain, node_id) if node.audio is not None]

    async def samples(self, ref: BlobRef) -> Samples:
        return decode_wav(await self.blobs.get(TENANT, ref))[0]

    async def _make(self, name: str, generator: MusicGenerator, progress: list[float]) -> GeneratedNode:
        stage = GenerateStage(self.blobs, {MODEL: generator})
        heard: list[Samples] = []
        made = await stage.run(
            self.chain,
            self.chain.node(name),
            f"job-{name}-1",
            progress.append,
            lambda samples, rate_hz: heard.append(samples),
        )
        kept = await self.samples(made.audio.blob)
        assert np.concatenate(heard, axis=1).tobytes() == kept.tobytes()  # heard is kept, whatever the take
        started = edits.start(self.chain, name, 1, NOW)
        self.chain = edits.publish(started, name, 1, made.audio, made.provenance, NOW)
        return made


def _node(name: str, parent_id: str | None, duration_s: float = 0.0, **params: Any) -> Node:
    node_fields = {key: params.pop(key) for key in ("prompt", "seed", "take") if key in params}
    return Node(
        id=name,
        parent_id=parent_id,
        origin=Origin.GENERATION,
        created_at=NOW,
        duration_s=duration_s,
        params={**PARAMS, **params},
        job_id=f"job-{name}",
        **{"prompt": "strings", "seed": 7, **node_fields},
    )
