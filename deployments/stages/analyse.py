"""Analyse a node: its audio to the analyser, what it says kept as a document of the node's own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from deployments.audio.resample import StreamingResampler
from deployments.audio.samples import Samples
from deployments.audio.track import BLOCK_SAMPLES, TrackReader
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import Analyser, AnalysisRequest
from deployments.engines.common.errors import UnknownModel
from deployments.stages.node_audio import NodeSounds
from deployments.stages.watch import watch
from deployments.temporary import temporary_folder
from storage.domain.derivations import Made
from storage.domain.model import NodeAudio
from storage.repositories.analyses import Analyses
from storage.repositories.blobs import Blobs

HIGHEST_RATE_HZ = 48_000
"""No part of an analysis asks for what is above 24 kHz."""

Document = dict[str, Any]
"""An analysis as `Analysis.to_record` gives it."""


class AnalyseStage:
    """`analyser` None: there is none here. Clips are analysed up to `max_duration_s`."""

    def __init__(
        self, blobs: Blobs, analyses: Analyses, analyser: Analyser | None, max_duration_s: float
    ) -> None:
        self._blobs = blobs
        self._sounds = NodeSounds(blobs)
        self._analyses = analyses
        self._analyser = analyser
        self._max_duration_s = max_duration_s

    async def run(self, tenant: str, owner: str, audio: NodeAudio, *, wants_melody: bool) -> Made:
        """The analysis of a stored clip, from the cache where the same audio was analysed before.

        Raises EngineError, BlobCorrupt, StoreError.
        """
        analyser = self._required()
        info = (await analyser.info()).describe()
        name = _cache_name(audio.sha256, info, wants_melody, self._max_duration_s)
        cached = await self._analyses.find(tenant, name)
        if cached is not None:
            return await self._keep(tenant, owner, json.loads(cached), audio.sha256, info)
        with temporary_folder("analyse") as folder:
            await self._sounds.fetch(tenant, audio, folder / "clip.wav")
            reader = await asyncio.to_thread(TrackReader, folder / "clip.wav")
            samples, rate_hz = await asyncio.to_thread(_beginning, reader, self._max_duration_s)
        with watch().stage("analysis"):
            analysis = await self.analyse(owner, samples, rate_hz, wants_melody=wants_melody)
        document = analysis.to_record()
        await self._analyses.keep(tenant, name, _encoded(document))
        return await self._keep(tenant, owner, document, audio.sha256, info)

    async def analyse(
        self, request_id: str, samples: Samples, rate_hz: int, *, wants_melody: bool
    ) -> Analysis:
        """Raises EngineError."""
        beginning = samples[:, : round(self._max_duration_s * rate_hz)]
        return await self._required().analyse(AnalysisRequest(request_id, beginning, rate_hz, wants_melody))

    async def made(
        self,
        tenant: str,
        owner: str,
        analysis: Analysis,
        audio_sha256: str,
        more: Mapping[str, Any],
    ) -> Made:
        """An analysis that was made already, kept; `more` joins the summary. Raises EngineError, StoreError."""
        info = (await self._required().info()).describe()
        made = await self._keep(tenant, owner, analysis.to_record(), audio_sha256, info)
        return Made(made.provenance, document=made.document, summary={**(made.summary or {}), **more})

    def _required(self) -> Analyser:
        if self._analyser is None:
            raise UnknownModel("no analyser is served here")
        return self._analyser

    async def _keep(
        self, tenant: str, owner: str, document: Document, audio_sha256: str, info: Mapping[str, Any]
    ) -> Made:
        return Made(
            provenance={**info, "audio_sha256": audio_sha256},
            document=await self._blobs.put(tenant, owner, _encoded(document)),
            summary=summary_of(document),
        )


def _beginning(reader: TrackReader, longest_s: float) -> tuple[Samples, int]:
    """The clip's first `longest_s` seconds, float32 [channels, samples], and their rate: the clip's own, or
    `HIGHEST_RATE_HZ` for one that has a higher one. Only a block of those lies in memory at a time."""
    rate_hz = min(reader.rate_hz, HIGHEST_RATE_HZ)
    total = min(reader.samples, round(longest_s * reader.rate_hz))
    if rate_hz == reader.rate_hz:
        return reader.read(0, total), rate_hz
    resampler = StreamingResampler(reader.rate_hz, rate_hz, reader.channels)
    blocks = [
        resampler.push(reader.read(start, min(BLOCK_SAMPLES, total - start)))
        for start in range(0, total, BLOCK_SAMPLES)
    ]
    return np.concatenate([*blocks, resampler.finish()], axis=1), rate_hz


def summary_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a chain says of a node's analysis itself; the rest is in the document."""
    rhythm, key, emotion = document["rhythm"], document["key"], document["emotion"]
    return {
        "bpm": rhythm["bpm"],
        "bpm_confidence": rhythm["confidence"],
        "meter": rhythm["meter"],
        "key": key["name"],
        "key_confidence": key["confidence"],
        "camelot": key["camelot"],
        "integrated_lufs": document["level"]["integrated_lufs"],
        "valence": emotion["valence"],
        "arousal": emotion["arousal"],
        "emotion": emotion["label"],
        "style_id": document["style"]["id"],
        "prompt": document["prompt"],
    }


def _encoded(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _cache_name(audio_sha256: str, info: Mapping[str, Any], wants_melody: bool, max_duration_s: float) -> str:
    """By everything that an analysis depends on."""
    what = json.dumps([audio_sha256, info, wants_melody, max_duration_s], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()
