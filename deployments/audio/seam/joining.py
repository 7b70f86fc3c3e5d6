"""How a take is joined to what it continues from: what a request says of it, and what was found and done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from deployments.audio.seam.grid import Grid, Lock

SHORTEST_CROSSFADE_S = 0.010
"""Anything shorter is heard as an edge."""


class Align(StrEnum):
    """`none`: the take begins where the generator's new audio does. `phase`: moved by a few milliseconds, so that
    the codec's rendering of the parent lies on the parent. `beat`: then moved, and stretched by a few percent, so
    that its beats lie on the parent's grid."""

    NONE = "none"
    PHASE = "phase"
    BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Joining:
    """`crossfade_s` before the seam the parent's end turns into the take's; 0 for none but 10 ms out and in.
    `match_loudness`: the take begins as loud as the parent ends, and is slowly brought to the line's loudness."""

    align: Align = Align.PHASE
    crossfade_s: float = 0.15
    match_loudness: bool = True

    def to_params(self) -> dict[str, Any]:
        """As a node's parameters keep it."""
        return {**asdict(self), "align": self.align.value}

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> Joining | None:
        """None for parameters without it: nodes that were asked for before there was a choice, and roots."""
        if "align" not in params:
            return None
        return cls(Align(params["align"]), float(params["crossfade_s"]), bool(params["match_loudness"]))


USUAL = Joining()
"""How takes are joined that do not say it."""


@dataclass(frozen=True, slots=True)
class Joint:
    """What was done at a seam; provenance keeps it.

    `lag_s`: by so much later than at the generator's own seam the take begins in its audio. `likeness` -1..1 of
    the codec's rendering and the parent there; None where there is no rendering. `gain_db` is constant,
    `levelled_db` what was added to it by the take's end. `offset` is each channel's DC that was taken away.
    `mended_samples` of a click were interpolated. `target_lufs` is the line's loudness, None where nothing is
    matched or the line is silent; `lock` is None where beats were not aligned, and `grid` the line's beats in
    seconds from the take's beginning, as far as they are known.
    """

    lag_s: float
    likeness: float | None
    gain_db: float
    levelled_db: float
    offset: tuple[float, ...]
    mended_samples: int
    target_lufs: float | None
    lock: Lock | None
    grid: Grid | None

    def to_record(self) -> dict[str, Any]:
        """A JSON-able dict."""
        return {**asdict(self), "offset": list(self.offset)}
