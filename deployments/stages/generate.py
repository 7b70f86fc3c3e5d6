"""Generate one node: the context out of the tree, the take out of the generator, its audio into blobs.

The generator gets arrays at its own rate and channels and returns arrays. Everything of the chain's format
(resampling, channels, gain, the cut between lead-in and new material) happens here, on the CPU.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from deployments.audio.levels import matching_gain, peak_dbfs, rms_dbfs, soft_limit
from deployments.audio.resample import resample, to_channels
from deployments.audio.samples import Samples
from deployments.audio.wav import encode_wav
from deployments.engines.protocols import (
    EngineBroken,
    EngineInfo,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    MusicGenerator,
    Prefilled,
    Sampling,
    Segment,
    UnknownModel,
)
from deployments.stages.lines import Lines
from storage.blobs import Blobs
from storage.chain.model import BlobRef, Chain, Node, NodeAudio
from storage.chain.tree import path_to

LEAD_IN_S = 0.06
"""How much of the codec's reconstruction is kept to be mixed over the parent's tail."""

CONDITIONED_ON_AUDIO = (GenerationMode.CONTINUE, GenerationMode.MELODY)


@dataclass(frozen=True, slots=True)
class GeneratedNode:
    audio: NodeAudio
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Context:
    """The end of the line that a take goes on from, in the chain's format; None for a root."""

    samples: Samples
    sha256: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Take:
    """What the generator gave, at its own rate: [channels, samples]; the new audio begins after the
    reconstruction, without a gap."""

    reconstruction: Samples
    new: Samples


@dataclass(frozen=True, slots=True)
class _Sound:
    """A take as the chain keeps it: [channels, samples] in the chain's format."""

    lead_in: Samples
    new: Samples
    gain: float
    rms_dbfs: float
    peak_dbfs: float


class GenerateStage:
    """`generators` are by model name."""

    def __init__(self, blobs: Blobs, generators: Mapping[str, MusicGenerator]) -> None:
        self._blobs = blobs
        self._lines = Lines(blobs)
        self._generators = generators

    async def run(
        self,
        chain: Chain,
        node: Node,
        owner: str,
        on_progress: Callable[[float], None],
    ) -> GeneratedNode:
        """Make the node's audio and keep it in blobs named after `owner` ({job}-{fence}).

        Raises EngineError, BlobCorrupt, StoreError. Cancelling the task stops the generator.
        """
        generator = self._generators.get(str(node.params["model"]))
        if generator is None:
            raise UnknownModel(f"model {node.params['model']} is not served: {', '.join(self._generators)}")
        info = await generator.info()
        context = await self._context(chain, node, info.max_context_s)
        request = await asyncio.to_thread(_request, node, info, context, chain.sample_rate_hz)
        take = await _listen(generator, request, on_progress)
        rate_hz = chain.sample_rate_hz or info.sample_rate_hz
        channels = chain.channels or info.channels
        sound = await asyncio.to_thread(_in_chain_format, take, info, node, context, rate_hz, channels)
        lead_in: BlobRef | None = None
        if sound.lead_in.shape[1]:
            lead_in = await self._keep(chain.tenant, owner, sound.lead_in, rate_hz)
        audio = NodeAudio(
            blob=await self._keep(chain.tenant, owner, sound.new, rate_hz),
            samples=sound.new.shape[1],
            sample_rate_hz=rate_hz,
            channels=channels,
            rms_dbfs=sound.rms_dbfs,
            peak_dbfs=sound.peak_dbfs,
            lead_in=lead_in,
        )
        return GeneratedNode(audio, _provenance(chain, node, info, context, sound.gain))

    async def _context(self, chain: Chain, node: Node, longest_s: float) -> _Context | None:
        """The end of the tree path to the parent, as an export would render it; no more than fits the model."""
        mode = GenerationMode(node.params["mode"])
        if node.parent_id is None or mode not in CONDITIONED_ON_AUDIO:
            return None
        line = [ancestor.audio for ancestor in path_to(chain, node.parent_id) if ancestor.audio is not None]
        duration_s = min(float(node.params["prompt_duration_s"]), longest_s)
        samples = await self._lines.render_tail(chain.tenant, line, duration_s)
        digest = await asyncio.to_thread(_sha256_of, samples)
        return _Context(samples, digest, samples.shape[1] / line[-1].sample_rate_hz)

    async def _keep(self, tenant: str, owner: str, samples: Samples, rate_hz: int) -> BlobRef:
        data = await asyncio.to_thread(encode_wav, samples, rate_hz)
        return await self._blobs.put(tenant, owner, data)


async def _listen(
    generator: MusicGenerator,
    request: GenerationRequest,
    on_progress: Callable[[float], None],
) -> _Take:
    reconstruction: Samples | None = None
    segments: list[Samples] = []
    async with aclosing(generator.generate(request)) as events:  # type: ignore[type-var]
        async for event in events:
            match event:
                case GenerationProgress(fraction):
                    on_progress(fraction)
                case Prefilled(samples):
                    reconstruction = samples
                case Segment(samples):
                    segments.append(samples)
    if reconstruction is None or not segments:
        raise EngineBroken("the generator ended without audio")
    take = _Take(reconstruction, np.concatenate(segments, axis=1))
    if not (np.isfinite(take.reconstruction).all() and np.isfinite(take.new).all()):
        raise EngineBroken("the generator gave samples that are not numbers")
    return take


def _request(
    node: Node,
    info: EngineInfo,
    context: _Context | None,
    chain_rate_hz: int | None,
) -> GenerationRequest:
    params = node.params
    audio: Samples | None = None
    if context is not None and chain_rate_hz is not None:
        audio = to_channels(resample(context.samples, chain_rate_hz, info.sample_rate_hz), info.channels)
    return GenerationRequest(
        request_id=node.job_id or node.id,
        mode=GenerationMode(params["mode"]),
        prompt=node.prompt,
        duration_s=node.duration_s,
        sampling=Sampling(
            seed=node.seed or 0,
            cfg_coef=float(params["cfg_coef"]),
            temperature=float(params["temperature"]),
            top_k=int(params["top_k"]),
            top_p=float(params["top_p"]),
        ),
        context=audio,
    )


def _in_chain_format(
    take: _Take,
    info: EngineInfo,
    node: Node,
    context: _Context | None,
    rate_hz: int,
    channels: int,
) -> _Sound:
    """The take in the chain's format and at its level, lead-in and new audio cut from one continuous signal.

    The new audio is exactly round(duration_s * rate_hz) samples; the lead-in ends where it begins.
    """
    gain = 1.0
    if context is not None:
        rates_hz = (rate_hz, info.sample_rate_hz)
        gain = matching_gain(context.samples, take.reconstruction, rates_hz=rates_hz)
    joined = np.concatenate([take.reconstruction, take.new], axis=1) * np.float32(gain)
    sound = soft_limit(to_channels(resample(joined, info.sample_rate_hz, rate_hz), channels))
    seam = round(take.reconstruction.shape[1] * rate_hz / info.sample_rate_hz)
    new_samples = round(node.duration_s * rate_hz)
    new = sound[:, seam : seam + new_samples]
    if new.shape[1] < new_samples:
        missing = new_samples - new.shape[1]
        if missing > math.ceil(rate_hz / info.sample_rate_hz) + 1:
            raise EngineBroken(f"the generator gave {missing} samples too few")
        new = np.pad(new, ((0, 0), (0, missing)), mode="edge")  # resampling rounds the last sample away
    lead_in = sound[:, max(0, seam - round(LEAD_IN_S * rate_hz)) : seam]
    return _Sound(
        lead_in=np.ascontiguousarray(lead_in),
        new=np.ascontiguousarray(new),
        gain=gain,
        rms_dbfs=rms_dbfs(new),
        peak_dbfs=peak_dbfs(new),
    )


def _sha256_of(samples: Samples) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def _provenance(
    chain: Chain,
    node: Node,
    info: EngineInfo,
    context: _Context | None,
    gain: float,
) -> dict[str, Any]:
    parent = chain.find(node.parent_id) if node.parent_id else None
    return {
        **info.describe(),
        "prompt": node.prompt,
        "duration_s": node.duration_s,
        "seed": node.seed,
        "take": node.take,
        "params": dict(node.params),
        "parent_id": node.parent_id,
        "parent_audio_sha256": parent.audio.blob.sha256 if parent is not None and parent.audio else None,
        "context_sha256": context.sha256 if context is not None else None,
        "context_duration_s": context.duration_s if context is not None else None,
        "gain_db": 20.0 * math.log10(gain),
        "lead_in_s": LEAD_IN_S,
    }
