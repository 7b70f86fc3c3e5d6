"""Generate one node: the context out of the tree, the take out of the generator, its audio into blobs.

The generator gets arrays at its own rate and channels and returns arrays. Everything of the chain's format
(resampling, channels, gain, the cut between lead-in and new material) happens here, on the CPU, as the audio
comes: who listens meanwhile hears the very samples that are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deployments.audio.levels import last_samples, level_step_db
from deployments.audio.resample import mixed_down, resample
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.joiner import Seam
from deployments.audio.wav import encode_wav
from deployments.engines.analysis.adherence import Target, adherence
from deployments.engines.common.errors import EngineError, UnknownModel
from deployments.engines.music.protocol import (
    EngineInfo,
    GenerationMode,
    GenerationProgress,
    GenerationRequest,
    MusicGenerator,
    Prefilled,
    Sampling,
    Segment,
)
from deployments.stages.analyse import AnalyseStage
from deployments.stages.peaks import PeaksStage
from deployments.stages.prompting import SOURCE_S, WISHES, Brief, brief_of, worded
from deployments.stages.render import Lines
from deployments.stages.seam import LineEnd, line_end_s, seam_of, seam_record
from deployments.stages.take import LEAD_IN_S, Sound, Take
from deployments.stages.watch import watch
from storage.domain.derivations import Made
from storage.domain.model import BlobRef, Chain, Node, NodeAudio
from storage.domain.tree import path_to
from storage.repositories.blobs import Blobs

logger = logging.getLogger("segue.generate")

CONDITIONED_ON_AUDIO = (GenerationMode.CONTINUE, GenerationMode.MELODY)


@dataclass(frozen=True, slots=True)
class GeneratedNode:
    """`analysis` is there where a tempo or key was asked for, if the audio could be analysed."""

    audio: NodeAudio
    provenance: Mapping[str, Any]
    analysis: Made | None = None


@dataclass(frozen=True, slots=True)
class _Context:
    """What a model hears of the line that a take continues from, in the chain's format."""

    samples: Samples
    sha256: str
    duration_s: float


OnSound = Callable[[Samples, int], None]
"""Called with each stretch of new audio in the chain's format, float32 [channels, samples], and its rate in Hz."""


class GenerateStage:
    """`generators` are by model name. Without `analyse` nothing can be composed; without `peaks` a take's
    outline is drawn only when somebody asks for it."""

    def __init__(
        self,
        blobs: Blobs,
        generators: Mapping[str, MusicGenerator],
        analyse: AnalyseStage | None = None,
        peaks: PeaksStage | None = None,
    ) -> None:
        self._blobs = blobs
        self._lines = Lines(blobs)
        self._generators = generators
        self._analyse = analyse
        self._peaks = peaks

    async def run(
        self,
        chain: Chain,
        node: Node,
        owner: str,
        on_progress: Callable[[float], None],
        on_sound: OnSound,
        weight: int = 1,
    ) -> GeneratedNode:
        """Make the node's audio and keep it in blobs named after `owner` ({job}-{fence}). `weight` is the
        tenant's share of turns at the generator.

        `on_sound` hears the new audio as it comes: all together, exactly what is kept. Neither callback may
        block. Raises EngineError, BlobCorrupt, StoreError. Cancelling the task stops the generator.
        """
        generator = self._generators.get(str(node.params["model"]))
        if generator is None:
            raise UnknownModel(f"model {node.params['model']} is not served: {', '.join(self._generators)}")
        look = watch()
        info = await generator.info()
        with look.stage("prompt"):
            brief = await self._brief(chain, node, owner)
        node = replace(node, prompt=brief.prompt)
        with look.stage("context"):
            end = await self._line_end(chain, node, info.max_context_s)
            context = await asyncio.to_thread(_context, node, end, info.max_context_s)
            seam = None if end is None else await asyncio.to_thread(seam_of, node, end, info)
        request = replace(
            await asyncio.to_thread(_request, node, info, context, chain.sample_rate_hz, seam),
            client=chain.tenant,
            weight=weight,
        )
        wanted = SoundFormat(chain.sample_rate_hz or info.sample_rate_hz, chain.channels or info.channels)
        take = Take(
            SoundFormat(info.sample_rate_hz, info.channels),
            wanted,
            context.samples if context is not None else None,
            node.duration_s,
            seam,
        )

        def on_samples(samples: Samples) -> None:
            if samples.shape[1]:
                look.audible()
            on_sound(samples, wanted.rate_hz)

        with look.stage("generation"):
            sound = await listen(generator, request, take, on_progress, on_samples)
        if context is not None:
            look.seam(level_step_db(context.samples, sound.new, wanted.rate_hz))
        lead_in: BlobRef | None = None
        if sound.lead_in.shape[1]:
            lead_in = await self._keep(chain.tenant, owner, sound.lead_in, wanted.rate_hz)
        audio = NodeAudio(
            blob=await self._keep(chain.tenant, owner, sound.new, wanted.rate_hz),
            samples=sound.new.shape[1],
            sample_rate_hz=wanted.rate_hz,
            channels=wanted.channels,
            rms_dbfs=sound.rms_dbfs,
            peak_dbfs=sound.peak_dbfs,
            lead_in=lead_in,
        )
        if self._peaks is not None:
            await self._peaks.publish(chain.tenant, audio, [sound.new])
        provenance = _provenance(chain, node, info, context, sound)
        if brief.target == Target():
            return GeneratedNode(audio, provenance)
        provenance["target"] = {"bpm": brief.target.bpm, "key": brief.target.key}
        with look.stage("review"):
            review = await self._review(chain.tenant, owner, audio, sound.new, brief)
        return GeneratedNode(audio, provenance, review)

    async def _brief(self, chain: Chain, node: Node, owner: str) -> Brief:
        """The prompt; of a node that is composed, the analysis of its parent's line is in it."""
        if node.parent_id is None or node.params["mode"] != GenerationMode.COMPOSE.value:
            return worded(node.prompt, node.params) if _has_wishes(node) else Brief(node.prompt, Target())
        if self._analyse is None:
            raise UnknownModel("no analyser is served here")
        line = [ancestor.audio for ancestor in path_to(chain, str(node.parent_id)) if ancestor.audio]
        source = await self._lines.render_tail(chain.tenant, line, SOURCE_S)
        heard = await self._analyse.analyse(owner, source, line[0].sample_rate_hz, wants_melody=False)
        return brief_of(heard, node.prompt, node.params)

    async def _review(
        self, tenant: str, owner: str, audio: NodeAudio, samples: Samples, brief: Brief
    ) -> Made | None:
        """What came out, compared with what was asked for. A take is not lost for want of an analysis."""
        if self._analyse is None:
            return None
        try:
            heard = await self._analyse.analyse(owner, samples, audio.sample_rate_hz, wants_melody=False)
            more = {"adherence": adherence(brief.target, heard).to_record(), "composed_prompt": brief.prompt}
            return await self._analyse.made(tenant, owner, heard, audio.sha256, more)
        except EngineError as error:
            logger.warning("%s: what was made was not analysed: %r", owner, error)
            return None

    async def _line_end(self, chain: Chain, node: Node, longest_s: float) -> LineEnd | None:
        """The end of the tree path to the parent, as an export would render it: what the model may hear of it, and
        what the seam is made with. None for a root, and where neither is wanted."""
        if node.parent_id is None:
            return None
        parent = chain.node(node.parent_id)
        heard_s = _heard_s(node, longest_s) or 0.0
        duration_s = max(heard_s, line_end_s(node, parent))
        line = [ancestor.audio for ancestor in path_to(chain, parent.id) if ancestor.audio is not None]
        if not duration_s or not line:
            return None
        samples = await self._lines.render_tail(chain.tenant, line, duration_s)
        return LineEnd(samples, line[0].sample_rate_hz, parent)

    async def _keep(self, tenant: str, owner: str, samples: Samples, rate_hz: int) -> BlobRef:
        data = await asyncio.to_thread(encode_wav, samples, rate_hz)
        return await self._blobs.put(tenant, owner, data)


async def listen(
    generator: MusicGenerator,
    request: GenerationRequest,
    take: Take,
    on_progress: Callable[[float], None],
    on_sound: Callable[[Samples], None],
) -> Sound:
    """Ask for a take and hear it out. Neither callback may block. Raises EngineError; cancelling the task stops the
    generator at its next step."""
    async with aclosing(generator.generate(request)) as events:  # type: ignore[type-var]
        async for event in events:
            match event:
                case GenerationProgress(fraction):
                    on_progress(fraction)
                case Prefilled(reconstruction):
                    await asyncio.to_thread(take.begin, reconstruction)
                case Segment(samples):
                    on_sound(await asyncio.to_thread(take.hear, samples))
    on_sound(await asyncio.to_thread(take.end))
    return await asyncio.to_thread(take.sound)


def _heard_s(node: Node, longest_s: float) -> float | None:
    """How much of the line's end the model hears; None where it hears nothing of it."""
    if node.parent_id is None or GenerationMode(node.params["mode"]) not in CONDITIONED_ON_AUDIO:
        return None
    return min(float(node.params["prompt_duration_s"]), longest_s)


def _context(node: Node, end: LineEnd | None, longest_s: float) -> _Context | None:
    heard_s = _heard_s(node, longest_s)
    if end is None or heard_s is None:
        return None
    samples = last_samples(end.samples, round(heard_s * end.rate_hz))
    return _Context(samples, _sha256_of(samples), samples.shape[1] / end.rate_hz)


def _has_wishes(node: Node) -> bool:
    return any(node.params.get(name) is not None for name in WISHES)


def _request(
    node: Node,
    info: EngineInfo,
    context: _Context | None,
    chain_rate_hz: int | None,
    seam: Seam | None,
) -> GenerationRequest:
    params = node.params
    audio: Samples | None = None
    if context is not None and chain_rate_hz is not None:
        audio = mixed_down(resample(context.samples, chain_rate_hz, info.sample_rate_hz), info.channels)
    return GenerationRequest(
        request_id=node.job_id or node.id,
        mode=GenerationMode(params["mode"]),
        prompt=node.prompt,
        duration_s=node.duration_s + (0.0 if seam is None else seam.room_s),
        sampling=Sampling(
            seed=node.seed or 0,
            cfg_coef=float(params["cfg_coef"]),
            temperature=float(params["temperature"]),
            top_k=int(params["top_k"]),
            top_p=float(params["top_p"]),
        ),
        context=audio,
    )


def _sha256_of(samples: Samples) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


def _provenance(
    chain: Chain,
    node: Node,
    info: EngineInfo,
    context: _Context | None,
    sound: Sound,
) -> dict[str, Any]:
    parent = chain.find(node.parent_id) if node.parent_id else None
    provenance = {
        **info.describe(),
        "prompt": node.prompt,
        "duration_s": node.duration_s,
        "seed": node.seed,
        "take": node.take,
        "params": dict(node.params),
        "parent_id": node.parent_id,
        "parent_audio_sha256": parent.audio.sha256 if parent is not None and parent.audio else None,
        "context_sha256": context.sha256 if context is not None else None,
        "context_channels": context.samples.shape[0] if context is not None else None,
        "model_channels": info.channels,
        "context_duration_s": context.duration_s if context is not None else None,
        "gain_db": 20.0 * math.log10(sound.gain),
        "lead_in_s": LEAD_IN_S,
    }
    if sound.joint is None:
        return provenance
    lead_in_s = sound.lead_in.shape[1] / (chain.sample_rate_hz or info.sample_rate_hz)
    return {**provenance, "lead_in_s": lead_in_s, "seam": seam_record(sound)}
