"""How a track is to be separated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_SHIFTS = 20
MIN_SEGMENT_S = 1.0
"""Shorter segments sound worse and cost a network's whole pass each."""


class Rest(StrEnum):
    """What `no_<stem>` is, as Demucs's `--other-method`: the sum of the other sources ("add", its default), or
    the track minus the stem ("minus"), which asks no part that the stem itself does not need."""

    ADD = "add"
    MINUS = "minus"


@dataclass(frozen=True, slots=True)
class SeparationOptions:
    """Defaults are Demucs's, but for its one random shift.

    `stems`: the sources that are wanted, all for None. `two_stems`: this source, and all the rest as
    `no_<source>` (made as `rest` says); excludes `stems`. `shifts`: the mean of that many passes, each shifted
    in time by up to half a second (offsets come from `seed`); 0 is one unshifted pass. `overlap`: of
    neighbouring segments, as a share. `segment_s`: None is each network's own length.
    """

    stems: tuple[str, ...] | None = None
    two_stems: str | None = None
    rest: Rest = Rest.ADD
    shifts: int = 0
    overlap: float = 0.25
    segment_s: float | None = None
    seed: int = 0
