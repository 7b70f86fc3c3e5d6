"""What a package holds, as plain values: the project files are written from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.export.daw.tempo import TempoMap


@dataclass(frozen=True, slots=True)
class SessionClip:
    """A file of the package on a track, from `at` on, `samples` long: times in samples of the line."""

    name: str
    path: str
    at: int
    samples: int


@dataclass(frozen=True, slots=True)
class SessionTrack:
    name: str
    clips: Sequence[SessionClip]
    muted: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    title: str
    rate_hz: int
    channels: int
    samples: int
    tempo: TempoMap
    tracks: Sequence[SessionTrack]
    markers: Sequence[tuple[int, str]] = ()
    """Samples and names."""

    def seconds(self, samples: int) -> float:
        return samples / self.rate_hz

    def beats(self, samples: int) -> float:
        return self.tempo.beat_at(self.seconds(samples))
