"""Segue's analyser: signal processing for what can be measured, and a critic for what must be judged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

from deployments.engines.analysis.analysis import Analysis, Melody
from deployments.engines.analysis.catalog import AnalyserEntry, AnalyserKind, AnalyserOptions, MelodyModel
from deployments.engines.analysis.checks import check_request
from deployments.engines.analysis.clip import LISTENING_RATE_HZ, Clip
from deployments.engines.analysis.energy import energy_curve
from deployments.engines.analysis.level import measure_level
from deployments.engines.analysis.mood.critic import Critic, Evidence
from deployments.engines.analysis.mood.timbre import describe_timbre
from deployments.engines.analysis.pitch.chroma import find_peaks
from deployments.engines.analysis.pitch.key import key_of
from deployments.engines.analysis.pitch.melody import PitchTracker
from deployments.engines.analysis.prompt import write_prompt
from deployments.engines.analysis.protocol import AnalyserInfo, AnalysisRequest
from deployments.engines.analysis.rhythm.estimate import analyse_rhythm, moved_by
from deployments.engines.analysis.sections import find_sections, placed_in
from deployments.engines.common.device import Device
from deployments.engines.common.errors import EngineBroken, EngineBusy, EngineError

# Counted up with every change that gives another answer for the same clip.
VERSION_OF_RESULTS = 3

_CLOSE_TIMEOUT_S = 30.0
_WARM_UP_S = 2.0
_MOST_LANES = 2

_T = TypeVar("_T")


class SignalAnalyser:
    """Satisfies `AnalyserEngine`. The constructor loads what the entry and the options name, and blocks
    meanwhile (a download, for the hub's).

    Clips are worked on by `options.lanes` threads, first come first served. A cancelled clip is dropped where
    it waits, else given up after the part that is being worked on. A clip that takes longer than
    `stuck_after_s` makes the engine unhealthy.

    Raises ModelUnavailable.
    """

    def __init__(
        self,
        entry: AnalyserEntry,
        *,
        cache_dir: Path,
        options: AnalyserOptions,
        stuck_after_s: float = 300.0,
    ) -> None:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = options.threads or processors
        lanes = options.lanes or min(processors, _MOST_LANES)
        _cap_memory(options)
        self._critic = _load_critic(entry, cache_dir, options.device)
        self._tracker = _load_tracker(MelodyModel(options.melody), options.device)
        self._stuck_after_s = stuck_after_s
        self._most_unfinished = lanes + options.waiting
        self._unfinished = 0
        self._counting = threading.Lock()
        self._busy_since_s: dict[int, float] = {}
        self._is_closed = False
        digests = [self._critic.weights_sha256, *([self._tracker.weights_sha256] if self._tracker else [])]
        self._info = AnalyserInfo(
            model=entry.name,
            engine_version=_version(entry, self._tracker),
            methods={
                "rhythm": "signal",
                "key": "signal",
                "emotion": self._critic.method,
                "style": self._critic.method,
                "melody": self._tracker.method if self._tracker else "none",
            },
            weights_sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
            device=_device_name(options.device),
        )
        self._pool = ThreadPoolExecutor(
            lanes, f"analyser {entry.name}", initializer=_share_threads, initargs=(max(1, threads // lanes),)
        )

    async def analyse(self, request: AnalysisRequest) -> Analysis:
        check_request(request)
        self._check_open()
        given_up = threading.Event()
        with self._counting:
            if self._unfinished >= self._most_unfinished:
                raise EngineBusy(f"{self._unfinished} clips are being worked on or waiting already")
            self._unfinished += 1
        work = self._pool.submit(self._work, request, given_up)
        work.add_done_callback(self._count_as_finished)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            given_up.set()
            task = asyncio.current_task()
            if self._is_closed and task is not None and not task.cancelling():
                raise EngineBroken("the engine is closed") from None
            raise

    async def info(self) -> AnalyserInfo:
        return self._info

    async def warm_up(self) -> None:
        time_s = np.arange(round(_WARM_UP_S * LISTENING_RATE_HZ)) / LISTENING_RATE_HZ
        tone = 0.1 * np.sin(2 * np.pi * 220.0 * time_s) * np.exp(-8 * (time_s % 0.5))
        await self.analyse(AnalysisRequest("warm-up", tone.astype(np.float32)[None], LISTENING_RATE_HZ))

    async def check_health(self) -> None:
        self._check_open()
        busy_since_s = min(list(self._busy_since_s.values()), default=None)
        if busy_since_s is not None and time.monotonic() - busy_since_s > self._stuck_after_s:
            raise EngineBroken(f"a clip has taken {time.monotonic() - busy_since_s:.0f} s so far")

    async def close(self) -> None:
        """Refuses what waits, and waits for the clips that are being worked on."""
        self._is_closed = True
        closing = threading.Thread(
            target=self._pool.shutdown, kwargs={"cancel_futures": True}, name="analyser close", daemon=True
        )
        closing.start()
        await asyncio.to_thread(closing.join, _CLOSE_TIMEOUT_S)

    def _count_as_finished(self, _: object) -> None:
        with self._counting:
            self._unfinished -= 1

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineBroken("the engine is closed")

    def _work(self, request: AnalysisRequest, given_up: threading.Event) -> Analysis:
        lane = threading.get_ident()
        self._busy_since_s[lane] = time.monotonic()
        try:
            return self._listen(request, given_up)
        finally:
            del self._busy_since_s[lane]

    def _listen(self, request: AnalysisRequest, given_up: threading.Event) -> Analysis:
        def part(name: str, work: Callable[[], _T]) -> _T:
            if given_up.is_set():
                raise _GivenUp
            with _failures_of(name):
                return work()

        clip = Clip(request.samples, request.rate_hz)
        # Silence around the music says nothing of it.
        music = part("resampling", lambda: clip.sounding)
        mono = part("resampling", lambda: music.listening)
        rhythm = part("rhythm", lambda: analyse_rhythm(mono))
        peaks = part("pitches", lambda: find_peaks(mono))
        key = part("key", lambda: key_of(peaks, rhythm))
        energy = part("energy", lambda: energy_curve(clip.in_silence, LISTENING_RATE_HZ))
        level = part("level", lambda: measure_level(request.samples, request.rate_hz))
        timbre = part("timbre", lambda: describe_timbre(mono))
        evidence = Evidence(rhythm, key, energy, timbre, peaks)
        impression = part("mood and style", lambda: self._critic.judge(music, evidence))
        sections = part("sections", lambda: find_sections(timbre, peaks, music.duration_s))
        rhythm = moved_by(rhythm, clip.sounding_from_s)
        sections = placed_in(sections, clip.sounding_from_s, clip.duration_s)
        tracker = self._tracker if request.wants_melody else None
        melody: Melody | None = None
        if tracker is not None:
            melody = part("melody", lambda: _follow(tracker, clip, given_up))
        return Analysis(
            duration_s=clip.duration_s,
            rhythm=rhythm,
            key=key,
            energy=energy,
            level=level,
            emotion=impression.emotion,
            style=impression.style,
            melody=melody,
            sections=sections,
            prompt=write_prompt(
                rhythm=rhythm, key=key, energy=energy, emotion=impression.emotion, style=impression.style
            ),
        )


class _GivenUp(EngineError):
    """Nobody waits for the clip any more."""


def _follow(tracker: PitchTracker, clip: Clip, given_up: threading.Event) -> Melody:
    melody = tracker.follow(clip, is_given_up=given_up.is_set)
    if melody is None:
        raise _GivenUp
    return melody


@contextmanager
def _failures_of(part: str) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineBroken(f"{part} failed: {type(error).__name__}: {error}") from error


def _load_critic(entry: AnalyserEntry, cache_dir: Path, device: Device) -> Critic:
    if entry.engine is AnalyserKind.CLAP:
        from deployments.engines.analysis.mood.clap import ClapCritic

        return ClapCritic(entry, cache_dir=cache_dir, device=device)
    from deployments.engines.analysis.mood.adapter import AdapterCritic

    return AdapterCritic()


def _load_tracker(model: MelodyModel, device: Device) -> PitchTracker | None:
    if model is MelodyModel.NONE:
        return None
    from deployments.engines.analysis.pitch.crepe import Crepe
    from deployments.engines.analysis.pitch.leading_voice import LeadingVoice

    return LeadingVoice(Crepe(model.value.removeprefix("crepe-"), device=device))


def _version(entry: AnalyserEntry, tracker: PitchTracker | None) -> str:
    """With the versions of what networks run on, where there are any."""
    packages = ["torch"] if tracker is not None or entry.engine is AnalyserKind.CLAP else []
    packages += ["transformers"] if entry.engine is AnalyserKind.CLAP else []
    return "+".join([str(VERSION_OF_RESULTS), *(f"{package}{version(package)}" for package in packages)])


def _cap_memory(options: AnalyserOptions) -> None:
    if options.gpu_memory_fraction is not None and options.device is not Device.CPU:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(options.gpu_memory_fraction)


def _share_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _device_name(device: Device) -> str:
    """What torch would use, where something here uses torch."""
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    return "cuda" if has_gpu and device is not Device.CPU else "cpu"
