"""A whole track through a separator, segment by segment, in memory that does not grow with the track."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from heapq import merge
from uuid import uuid4

import numpy as np

from deployments.audio.samples import Samples
from deployments.engines.common.errors import BadRequest, EngineBroken, EngineBusy
from deployments.engines.separation.checks import check_options
from deployments.engines.separation.level import Level, Track, measure_level
from deployments.engines.separation.mixing import Mixture, PassSum
from deployments.engines.separation.options import Rest, SeparationOptions
from deployments.engines.separation.passes import Pass, Stretch, plan_passes
from deployments.engines.separation.protocol import (
    Estimates,
    SegmentRequest,
    Separator,
    SeparatorInfo,
)

IN_FLIGHT = 2
TRIES = 3
"""How often a segment is asked for before a separator's failure is the track's."""
_RETRY_AFTER_S = 0.2
_BUSY_WAIT_S = 0.05
_LONGEST_BUSY_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class SeparationProgress:
    """Segments that have come back, of all that the track needs."""

    done: int
    total: int

    @property
    def fraction(self) -> float:
        return self.done / self.total


@dataclass(frozen=True, slots=True)
class _Work:
    stretch: Stretch
    part: int
    sources: tuple[str, ...]
    into: PassSum


async def separate_track(
    separator: Separator,
    track: Track,
    *,
    options: SeparationOptions | None = None,
    on_progress: Callable[[SeparationProgress], None] | None = None,
    in_flight: int = IN_FLIGHT,
    request_id: str = "",
) -> AsyncGenerator[dict[str, Samples]]:
    """The wanted stems of a track, stretch after stretch without a gap: float32 [channels, samples] by name, all
    of one length, in the track's order; together they are as long as the track.

    The track has the model's rate and channels. Stems are at the track's own level; nothing is rescaled or
    limited. Stems come in the model's order; with `two_stems` the named one and `no_<name>`.

    At most `in_flight` segments are at the separator at any time. A segment that fails with EngineBroken is
    tried again, `TRIES` times in all; EngineBusy is waited for. Closing the iterator, or cancelling the task
    that runs it, asks for no further segment and cancels those in flight. The bytes do not depend on
    `in_flight`, nor on which replica answers when. `request_id` names the track at the separator, where tracks take
    turns; one is drawn if it is empty.

    Raises BadRequest (naming the field, before any segment), EngineError, OSError.
    """
    options, request_id = options or SeparationOptions(), request_id or uuid4().hex
    info = await separator.info()
    check_options(options, info)
    if (track.rate_hz, track.channels) != (info.sample_rate_hz, info.channels):
        raise BadRequest(
            f"track must have {info.channels} channels at {info.sample_rate_hz} Hz, "
            f"not {track.channels} at {track.rate_hz} Hz"
        )
    if track.samples == 0:
        return
    wanted = _wanted(options, info)
    passes = plan_passes(
        info.parts,
        wanted=wanted,
        track_samples=track.samples,
        rate_hz=info.sample_rate_hz,
        overlap=options.overlap,
        segment_s=options.segment_s,
        shifts=options.shifts,
        seed=options.seed,
    )
    mixture = Mixture(passes, [part.weights for part in info.parts], wanted, info.channels)
    level = await asyncio.to_thread(measure_level, track)
    total = sum(each.count() for of_part in passes for each in of_part)

    async def ask(work: _Work) -> Estimates:
        stretch = work.stretch
        samples = await asyncio.to_thread(
            level.normalised, track, stretch.padded_start, stretch.padded_samples
        )
        return await _ask(separator, SegmentRequest(request_id, work.part, samples, work.sources))

    stems = _Stems(track, level, wanted, options, info)
    works = _works(passes, mixture, info)
    asked: deque[tuple[_Work, asyncio.Task[Estimates]]] = deque()
    try:
        for done in range(1, total + 1):
            while len(asked) < in_flight and (work := next(works, None)) is not None:
                asked.append((work, asyncio.create_task(ask(work))))
            work, answer = asked[0]
            estimates = await answer
            asked.popleft()
            finished = await asyncio.to_thread(_add, mixture, work, estimates)
            del estimates, answer
            if on_progress is not None:
                on_progress(SeparationProgress(done, total))
            if finished is not None:
                yield await asyncio.to_thread(stems.next, finished)
    finally:
        await _give_up([answer for _, answer in asked])


def _wanted(options: SeparationOptions, info: SeparatorInfo) -> tuple[int, ...]:
    """The sources that must be estimated, as indices in the model's order."""
    if options.two_stems is not None:
        names: tuple[str, ...] = info.sources if options.rest is Rest.ADD else (options.two_stems,)
    else:
        names = info.sources if options.stems is None else options.stems
    return tuple(index for index, source in enumerate(info.sources) if source in names)


def _works(passes: list[list[Pass]], mixture: Mixture, info: SeparatorInfo) -> Iterator[_Work]:
    """All segments of all passes, by where they begin: the passes go forward together, so that little has to
    be kept of any."""
    return merge(
        *(
            _works_of(each, mixture.sum_of(part, shift), info)
            for part, of_part in enumerate(passes)
            for shift, each in enumerate(of_part)
        ),
        key=lambda work: work.stretch.start,
    )


def _works_of(of: Pass, into: PassSum, info: SeparatorInfo) -> Iterator[_Work]:
    sources = tuple(info.sources[source] for source in into.sources)
    for stretch in of.stretches():
        yield _Work(stretch, of.part, sources, into)


async def _ask(separator: Separator, request: SegmentRequest) -> Estimates:
    failures, wait_s = 0, _BUSY_WAIT_S
    while True:
        try:
            return _checked(await separator.separate(request), request)
        except EngineBusy:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_BUSY_WAIT_S)
        except EngineBroken:
            failures += 1
            if failures == TRIES:
                raise
            await asyncio.sleep(_RETRY_AFTER_S * failures)


def _checked(estimates: Estimates, request: SegmentRequest) -> Estimates:
    shape = (len(request.sources), *request.samples.shape)
    if estimates.shape != shape or estimates.dtype != np.float32:
        raise EngineBroken(f"estimates are {estimates.dtype} {list(estimates.shape)}, not {list(shape)}")
    return estimates


def _add(mixture: Mixture, work: _Work, estimates: Estimates) -> Estimates | None:
    work.into.add(work.stretch, estimates)
    return mixture.finished()


class _Stems:
    """Estimates of a track's next stretch, as stems at the track's level."""

    def __init__(
        self,
        track: Track,
        level: Level,
        wanted: tuple[int, ...],
        options: SeparationOptions,
        info: SeparatorInfo,
    ) -> None:
        self._track = track
        self._level = level
        self._names = tuple(info.sources[source] for source in wanted)
        self._options = options
        self._position = 0

    def next(self, estimates: Estimates) -> dict[str, Samples]:
        start, count = self._position, estimates.shape[-1]
        self._position += count
        stems = {name: self._level.restored(own) for name, own in zip(self._names, estimates, strict=True)}
        stem = self._options.two_stems
        if stem is None:
            return stems
        own = stems.pop(stem)
        if self._options.rest is Rest.MINUS:
            return {stem: own, f"no_{stem}": self._track.read(start, count) - own}
        rest = np.zeros_like(own)
        for other in stems.values():
            rest += other
        return {stem: own, f"no_{stem}": rest}


async def _give_up(answers: list[asyncio.Task[Estimates]]) -> None:
    for answer in answers:
        answer.cancel()
    await asyncio.gather(*answers, return_exceptions=True)
