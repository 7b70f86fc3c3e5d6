"""A tempo map as a standard MIDI file: tempo, bars, key and markers, and a click on each beat.

The click is needed: some workstations import the map only as far as notes span it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from deployments.export.daw.tempo import TempoMap

TICKS_PER_BEAT = 960
_CLICK_TICKS = TICKS_PER_BEAT // 8
_CLICK_CHANNEL, _DOWNBEAT_NOTE, _BEAT_NOTE = 9, 76, 77

_SHARPS = {
    "C": 0,
    "G": 1,
    "D": 2,
    "A": 3,
    "E": 4,
    "B": 5,
    "F#": 6,
    "C#": 7,
    "F": -1,
    "Bb": -2,
    "Eb": -3,
    "Ab": -4,
}
_SHARPS |= {"Db": -5, "Gb": -6, "Cb": -7, "G#": 8, "D#": 9, "A#": 10}
_KEY = re.compile(r"\s*([A-G])([#b]?)\s*(maj.*|min.*|m)?\s*", re.IGNORECASE)

_Event = tuple[int, int, bytes]
"""Tick, order among those of a tick, bytes."""


def write_midi(
    tempo: TempoMap, markers: Sequence[tuple[float, str]] = (), *, title: str = "", key: str = ""
) -> bytes:
    """Each beat is at its time within 1 µs: a tempo is whole microseconds, and what rounding leaves is given to the
    next one. `markers` are times in seconds and names; they lie on the nearest tick.
    """
    conductor: list[_Event] = [(0, 0, _text(0x03, title or "Tempo map"))]
    sent_us = 0
    for beat in range(len(tempo.times_s) - 1):
        step_us = round(tempo.times_s[beat + 1] * 1e6) - sent_us
        sent_us += step_us
        conductor.append((beat * TICKS_PER_BEAT, 1, b"\xff\x51\x03" + step_us.to_bytes(3, "big")))
    if tempo.pickup_beats:
        conductor.append((0, 0, _meter(min(255, tempo.pickup_beats))))
    conductor.append((tempo.pickup_beats * TICKS_PER_BEAT, 0, _meter(tempo.beats_per_bar)))
    if (signature := _key_signature(key)) is not None:
        conductor.append((0, 0, signature))
    for time_s, name in markers:
        conductor.append((round(tempo.beat_at(time_s) * TICKS_PER_BEAT), 2, _text(0x06, name)))
    clicks: list[_Event] = [(0, 0, _text(0x03, "Click"))]
    for beat in range(len(tempo.times_s) - 1):
        down = (beat - tempo.pickup_beats) % tempo.beats_per_bar == 0
        note, start = _DOWNBEAT_NOTE if down else _BEAT_NOTE, beat * TICKS_PER_BEAT
        clicks.append((start, 1, bytes([0x90 | _CLICK_CHANNEL, note, 112 if down else 80])))
        clicks.append((start + _CLICK_TICKS, 0, bytes([0x80 | _CLICK_CHANNEL, note, 0])))
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, 2, TICKS_PER_BEAT)
    end = (len(tempo.times_s) - 1) * TICKS_PER_BEAT
    return header + _track(conductor, end) + _track(clicks, end)


def _track(events: list[_Event], end: int) -> bytes:
    body, at = bytearray(), 0
    for tick, _, data in sorted(events, key=lambda event: event[:2]):
        body += _variable(max(0, tick - at)) + data
        at = max(at, tick)
    body += _variable(max(0, end - at)) + b"\xff\x2f\x00"
    return struct.pack(">4sI", b"MTrk", len(body)) + body


def _variable(value: int) -> bytes:
    """Seven bits a byte, the highest first."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _text(kind: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return bytes([0xFF, kind]) + _variable(len(data)) + data


def _meter(beats: int) -> bytes:
    return bytes([0xFF, 0x58, 0x04, beats, 2, 24, 8])


def _key_signature(key: str) -> bytes | None:
    """Sharps or flats. None for what is no key, and for one with more than seven of them."""
    found = _KEY.fullmatch(key.replace("♯", "#").replace("♭", "b"))
    if found is None:
        return None
    tonic = found[1].upper() + found[2].lower()
    minor = bool(found[3]) and not found[3].lower().startswith("maj")
    sharps = _SHARPS.get(tonic)
    if sharps is None:
        return None
    sharps -= 3 * minor
    return bytes([0xFF, 0x59, 0x02, sharps % 256, minor]) if -7 <= sharps <= 7 else None
