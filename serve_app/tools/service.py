"""The stateless tools: their stage is called inside the request, and nothing is kept."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.settings import Settings
from deployments.audio.decode.isolated import DecodeLimits, decode_file
from deployments.audio.levels import last_samples
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.tail import TAIL_S, fade_tail
from deployments.audio.wav import decode_wav, encode_wav
from deployments.engines.analysis.adherence import Adherence, Target, adherence
from deployments.engines.analysis.analysis import Analysis
from deployments.engines.analysis.protocol import Analyser, AnalysisRequest
from deployments.engines.common.errors import EngineError
from deployments.engines.music.protocol import MusicGenerator, Sampling
from deployments.stages.clip import Source, make_clip
from deployments.stages.prompting import Brief, brief_of, worded
from deployments.telemetry.spending import MeteredAnalyser, MeteredGenerator, Spending, charged_to
from deployments.temporary import temporary_folder
from deployments.turns import Shares
from serve_app.access.callers import calling
from serve_app.access.quotas import Quotas
from serve_app.http.multipart import ReceivedUpload
from serve_app.http.problems import Forbidden, NotFound, TooManyRequests
from serve_app.tools.log import ToolLog
from serve_app.tools.shared_folder import SharedFolder
from storage.domain.accounts import Amounts
from storage.domain.seeds import SEED_COUNT

STUDIO = SoundFormat(32_000, 2)
"""What `/generate` and `/compose` answer in."""

MOCK = "mock"

logger = logging.getLogger("segue.tools")


@dataclass(frozen=True, slots=True)
class Clip:
    """A WAV in `STUDIO`'s format: `loop_samples`, and a faded tail behind them. `adherence` says how it keeps to
    the tempo and key that were asked for; None where neither was, or nobody could hear it."""

    wav: bytes
    prompt: str
    seed: int
    loop_samples: int
    adherence: Adherence | None
    rate_hz: int = STUDIO.rate_hz


@dataclass(frozen=True, slots=True)
class ContinueRequest:
    audio_path: str
    prompt: str
    duration_s: float
    cfg_coef: float
    prompt_duration_s: float
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Continued:
    audio_path: str
    duration_s: float


class ToolService:
    """Works on at most `tools.concurrent` requests at once, of which no tenant gets the last. `analyser` None:
    there is none here; `quotas` None: nobody's use is counted.

    All methods raise EngineError and TooManyRequests; cancelling their task stops the work.
    """

    def __init__(
        self,
        generator: MusicGenerator,
        analyser: Analyser | None,
        quotas: Quotas | None,
        settings: Settings,
    ) -> None:
        tools, uploads = settings.tools, settings.uploads
        self._generator = MeteredGenerator(generator)
        self._analyser = MeteredAnalyser(analyser) if analyser is not None else None
        self._quotas = quotas
        self._gpu_s_per_audio_s = settings.access.gpu_s_per_audio_s
        self._settings = tools
        self._folder = (
            SharedFolder(Path(tools.folder), uploads.max_bytes) if tools.folder is not None else None
        )
        self._log = ToolLog(tools)
        self._under_way = Shares(tools.concurrent)
        self._short = DecodeLimits.of(uploads, max_duration_s=tools.max_input_s)
        self._long = DecodeLimits.of(uploads)

    async def analyse(self, received: ReceivedUpload, request_id: str, *, wants_melody: bool) -> Analysis:
        """Raises UnsupportedMedia, BadAudio (also for what is too long), NotFound where there is no analyser."""
        async with self._turn("analyze", upload_bytes=received.size_bytes):
            analysis = await self._heard(received.path, request_id, wants_melody=wants_melody)
        await self._log.keep("analyze", request_id, analysis.to_record(), given=received.path)
        return analysis

    async def generate(
        self, text: str, wishes: Mapping[str, Any], duration_s: float, seed: int | None, request_id: str
    ) -> Clip:
        async with self._turn("generate", duration_s):
            clip = await self._made(worded(text, wishes), duration_s, seed, request_id)
        await self._log.keep("generate", request_id, _said(clip), made=clip.wav)
        return clip

    async def compose(
        self,
        received: ReceivedUpload,
        text: str,
        wishes: Mapping[str, Any],
        duration_s: float,
        seed: int | None,
        request_id: str,
    ) -> Clip:
        """A clip as the given one sounds, but for `wishes`. Raises as `analyse`."""
        async with self._turn("compose", duration_s, received.size_bytes):
            heard = await self._heard(received.path, request_id, wants_melody=False)
            clip = await self._made(brief_of(heard, text, wishes), duration_s, seed, request_id)
        await self._log.keep("compose", request_id, _said(clip), given=received.path, made=clip.wav)
        return clip

    async def carry_on(
        self, wanted: ContinueRequest, request_id: str, tenant: str | None = None
    ) -> Continued:
        """A new file beside the given one, with what comes after it: in its rate and channels, `duration_s` long.
        The mock's is a copy of the given file. Paths are those of the shared folder; with a `tenant`, of the folder
        of that name in it.

        Raises Forbidden, NotFound, Unavailable, UnsupportedMedia, BadAudio.
        """
        folder = self._folder
        if folder is None:
            raise Forbidden(
                "/continue is off: the operator has to name the folder it may use (tools.folder)",
                code="continue-off",
            )
        if tenant is not None:
            folder = folder.of_tenant(tenant)
        async with self._turn("continue", wanted.duration_s):
            with temporary_folder("continue") as name:
                return await self._carried_on(folder, wanted, request_id, name)

    async def _carried_on(
        self, folder: SharedFolder, wanted: ContinueRequest, request_id: str, name: Path
    ) -> Continued:
        given, made = name / "given", name / "made.wav"
        await asyncio.to_thread(folder.fetch, wanted.audio_path, given)
        decoded = await decode_file(given, name / "canonical.wav", self._long)
        if (await self._generator.info()).engine == MOCK:
            suffix = Path(wanted.audio_path).suffix
            path = await asyncio.to_thread(folder.put_beside, wanted.audio_path, given, suffix)
            return Continued(path, decoded.samples / decoded.rate_hz)
        samples, rate_hz = await asyncio.to_thread(lambda: decode_wav(decoded.path.read_bytes()))
        source = last_samples(samples, round(wanted.prompt_duration_s * rate_hz))
        new = await make_clip(
            self._generator,
            request_id=request_id,
            prompt=wanted.prompt,
            duration_s=wanted.duration_s,
            sampling=Sampling(_seed(wanted.seed), cfg_coef=wanted.cfg_coef),
            client=calling().tenant,
            weight=calling().weight,
            wanted=SoundFormat(rate_hz, samples.shape[0]),
            source=Source(source, rate_hz),
        )
        await asyncio.to_thread(made.write_bytes, encode_wav(new, rate_hz))
        path = await asyncio.to_thread(folder.put_beside, wanted.audio_path, made, ".wav")
        await self._log.keep("continue", request_id, asdict(wanted) | {"made": path})
        return Continued(path, new.shape[1] / rate_hz)

    async def _heard(self, path: Path, request_id: str, *, wants_melody: bool) -> Analysis:
        if self._analyser is None:
            raise NotFound("no analyser is served here", code="no-analyser")
        samples, rate_hz = await self._decoded(path)
        return await self._analyser.analyse(AnalysisRequest(request_id, samples, rate_hz, wants_melody))

    async def _decoded(self, path: Path) -> tuple[Samples, int]:
        with temporary_folder("tool") as folder:
            decoded = await decode_file(path, folder / "canonical.wav", self._short)
            return await asyncio.to_thread(lambda: decode_wav(decoded.path.read_bytes()))

    async def _made(self, brief: Brief, duration_s: float, seed: int | None, request_id: str) -> Clip:
        chosen = _seed(seed)
        samples = await make_clip(
            self._generator,
            request_id=request_id,
            prompt=brief.prompt,
            duration_s=duration_s + TAIL_S,
            sampling=Sampling(chosen),
            wanted=STUDIO,
            client=calling().tenant,
            weight=calling().weight,
        )
        tail_samples = round(TAIL_S * STUDIO.rate_hz)
        wav = await asyncio.to_thread(lambda: encode_wav(fade_tail(samples, tail_samples), STUDIO.rate_hz))
        kept_to = await self._adherence(brief, samples[:, :-tail_samples], request_id)
        return Clip(wav, brief.prompt, chosen, samples.shape[1] - tail_samples, kept_to)

    async def _adherence(self, brief: Brief, samples: Samples, request_id: str) -> Adherence | None:
        """The clip is not lost because nobody can hear it."""
        if self._analyser is None or brief.target == Target():
            return None
        try:
            heard = await self._analyser.analyse(
                AnalysisRequest(request_id, samples, STUDIO.rate_hz, wants_melody=False)
            )
            return adherence(brief.target, heard)
        except EngineError as error:
            logger.warning("a clip was not analysed: %r", error)
            return None

    @asynccontextmanager
    async def _turn(self, tool: str, audio_s: float = 0.0, upload_bytes: int = 0) -> AsyncIterator[None]:
        """A place for a request, and what it may need of the tenant's quotas; what it took is settled at its
        end."""
        caller = calling()
        if not self._under_way.take(caller.tenant, is_alone=caller.tier is None):
            busy = self._under_way.places - self._under_way.free
            raise TooManyRequests(
                f"{busy} requests of the tools are being worked on already", retry_after_s=5
            )
        try:
            with charged_to(Spending()) as spent:
                if self._quotas is None:
                    yield
                    return
                held = Amounts(1, audio_s * self._gpu_s_per_audio_s, audio_s, 0, upload_bytes)
                async with self._quotas.holding(tool, held) as usage:
                    try:
                        yield
                        usage.take(Amounts(audio_s=audio_s))
                    finally:
                        usage.take(Amounts(1, spent.gpu_s, 0.0, 0, upload_bytes))
        finally:
            self._under_way.give_back(caller.tenant)


def _seed(asked: int | None) -> int:
    return secrets.randbelow(SEED_COUNT) if asked is None else asked


def _said(clip: Clip) -> dict[str, Any]:
    kept_to = clip.adherence.to_record() if clip.adherence is not None else None
    said = {"prompt": clip.prompt, "seed": clip.seed, "loop_samples": clip.loop_samples}
    return {**said, "adherence": kept_to}
