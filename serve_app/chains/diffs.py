"""Diffs: two branches of a chain from where they part, bar by bar, and the parameters that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, zip_longest
from typing import Any

from deployments.audio.comparison import SAME_TEMPO, Difference, bars, compare, windows
from deployments.engines.analysis.analysis import Rhythm
from deployments.engines.analysis.protocol import Analyser, AnalysisRequest
from deployments.engines.common.errors import EngineError
from deployments.stages.render import Lines, line_samples
from serve_app.http.problems import Conflict
from storage.domain.model import Node, NodeAudio
from storage.domain.tree import path_to
from storage.repositories.blobs import Blobs
from storage.repositories.chains import Chains

SURE = 0.5
"""The confidence from which a grid of beats is believed."""

MAX_DURATION_S = 900.0
CONCURRENT_DIFFS = 1


class Unit(StrEnum):
    BAR = "bar"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds of each line from its root on; None where one line has ended. Then there are no distances either."""

    a_s: tuple[float, float] | None
    b_s: tuple[float, float] | None
    difference: Difference | None
    changed_s: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class BranchDiff:
    """`parameters` are those in which the two nodes differ: name, a's, b's."""

    ancestor_id: str | None
    unit: Unit
    rows: tuple[Row, ...]
    parameters: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A line, and which of its samples come after the common ancestor."""

    line: Sequence[NodeAudio]
    begin: int
    end: int

    @property
    def duration_s(self) -> float:
        return (self.end - self.begin) / self.line[0].sample_rate_hz


class DiffService:
    """Compares one pair of branches at a time, in a thread; an analyser, where there is one, tells the bars."""

    def __init__(self, chains: Chains, blobs: Blobs, analyser: Analyser | None, analysed_s: float) -> None:
        self._chains = chains
        self._lines = Lines(blobs)
        self._analyser = analyser
        self._analysed_s = analysed_s
        self._turn = asyncio.Semaphore(CONCURRENT_DIFFS)

    async def diff(self, tenant: str, chain_id: str, a_id: str, b_id: str) -> BranchDiff:
        """Raises ChainNotFound, NodeNotFound, Conflict for a node without audio or a branch that is too long,
        BlobCorrupt, StoreError."""
        chain = await self._chains.load(tenant, chain_id)
        paths = path_to(chain, a_id), path_to(chain, b_id)
        common = [one for one, other in zip(*paths, strict=False) if one.id == other.id]
        a, b = (_branch(path, len(common)) for path in paths)
        async with self._turn:
            unit, edges = await self._edges(tenant, a, b)
            rows = [await self._row(tenant, a, b, *spans) for spans in _spans(*edges)]
        ancestor_id = common[-1].id if common else None
        return BranchDiff(ancestor_id, unit, tuple(rows), _parameters(chain.node(a_id), chain.node(b_id)))

    async def _edges(
        self, tenant: str, a: _Branch, b: _Branch
    ) -> tuple[Unit, tuple[Sequence[float], Sequence[float]]]:
        """The boundaries of what is compared, in seconds of each branch. At one tempo both have one grid, so that
        what is equal lies in equal bars."""
        grids = [await self._grid(tenant, branch) for branch in (a, b)]
        one, other = grids
        if one is None or other is None or one.bpm is None or other.bpm is None:
            return Unit.WINDOW, (windows(a.duration_s), windows(b.duration_s))
        is_one = abs(one.bpm - other.bpm) <= SAME_TEMPO * one.bpm
        shared = one if is_one else other
        return Unit.BAR, (bars(one.downbeats_s, a.duration_s), bars(shared.downbeats_s, b.duration_s))

    async def _grid(self, tenant: str, branch: _Branch) -> Rhythm | None:
        """None where no grid is sure, or nobody can tell."""
        if self._analyser is None or branch.begin == branch.end:
            return None
        rate_hz = branch.line[0].sample_rate_hz
        end = min(branch.end, branch.begin + round(self._analysed_s * rate_hz))
        samples = await self._lines.window(tenant, branch.line, branch.begin, end)
        try:
            heard = await self._analyser.analyse(AnalysisRequest("diff", samples, rate_hz, False))
        except EngineError:
            return None
        rhythm = heard.rhythm
        is_sure = rhythm.confidence >= SURE and rhythm.is_steady and len(rhythm.downbeats_s) > 1
        return rhythm if is_sure and rhythm.bpm is not None else None

    async def _row(
        self,
        tenant: str,
        a: _Branch,
        b: _Branch,
        a_span: tuple[float, float] | None,
        b_span: tuple[float, float] | None,
    ) -> Row:
        rate_hz = a.line[0].sample_rate_hz
        a_s, b_s = _in_line(a, a_span), _in_line(b, b_span)
        if a_span is None or b_span is None:
            return Row(a_s, b_s, None, a_s or b_s)
        one, other = [
            await self._lines.window(tenant, branch.line, *_samples(branch, span))
            for branch, span in ((a, a_span), (b, b_span))
        ]
        found = await asyncio.to_thread(compare, one, other, rate_hz)
        first = _samples(a, a_span)[0]
        changed = None if found.changed is None else tuple((first + at) / rate_hz for at in found.changed)
        return Row(a_s, b_s, found, None if changed is None else (changed[0], changed[1]))


def _branch(path: Sequence[Node], common: int) -> _Branch:
    """Raises Conflict."""
    line = [node.audio for node in path if node.audio is not None]
    if len(line) < len(path):
        raise Conflict(f"node {path[-1].id} is {path[-1].status}: it has no audio")
    begin = line_samples(line[:common]) if common else 0
    branch = _Branch(line, begin, line_samples(line))
    if branch.duration_s > MAX_DURATION_S:
        raise Conflict(
            f"the branch of node {path[-1].id} is longer than {MAX_DURATION_S:g} s after the common node"
        )
    return branch


def _spans(
    a_edges: Sequence[float], b_edges: Sequence[float]
) -> list[tuple[tuple[float, float] | None, tuple[float, float] | None]]:
    a_spans, b_spans = (
        [(start_s, end_s) for start_s, end_s in pairwise(edges) if end_s > start_s]
        for edges in (a_edges, b_edges)
    )
    return list(zip_longest(a_spans, b_spans))


def _samples(branch: _Branch, span_s: tuple[float, float]) -> tuple[int, int]:
    """Samples of the line."""
    rate_hz = branch.line[0].sample_rate_hz
    start, end = (min(branch.end, branch.begin + round(at_s * rate_hz)) for at_s in span_s)
    return start, end


def _in_line(branch: _Branch, span_s: tuple[float, float] | None) -> tuple[float, float] | None:
    if span_s is None:
        return None
    start, end = _samples(branch, span_s)
    rate_hz = branch.line[0].sample_rate_hz
    return start / rate_hz, end / rate_hz


def _parameters(a: Node, b: Node) -> tuple[tuple[str, Any, Any], ...]:
    one, other = (
        {"prompt": node.prompt, "seed": node.seed, "duration_s": node.duration_s, **node.params}
        for node in (a, b)
    )
    names = dict.fromkeys((*one, *other))
    return tuple((name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name))
