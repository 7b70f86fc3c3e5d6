"""Notes as a Standard MIDI File (format 1, after the MIDI 1.0 specification). Times are seconds: the
file's own tempo is always 120, and what tempo the music has shows only in where its notes are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DRUM_CHANNEL = 9

_TICKS_PER_S = 1920
_DIVISION = _TICKS_PER_S // 2
_TEMPO_US = 500_000
_LONGEST_DATA = 0x7F


@dataclass(frozen=True, slots=True)
class Note:
    """`pitch` and `velocity` are MIDI's, 0..127 and 1..127."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Voice:
    """The notes of one General MIDI instrument, `program` 0..127; `channel` 9 is drums. `gain` and `pan` are MIDI's
    channel volume and pan, 0..127."""

    name: str
    channel: int
    program: int
    notes: tuple[Note, ...]
    gain: int = 100
    pan: int = 64


def encode(voices: Sequence[Voice], *, end_s: float, tuning_cents: float = 0.0) -> bytes:
    """The file, a track for each voice. It ends at `end_s`; notes that begin later are left out.

    `tuning_cents` (-100..100) goes to every channel but the drums by RPN 1, so that tempo stays as it is.
    """
    tempo = b"\x00\xff\x51\x03" + _TEMPO_US.to_bytes(3) + _end(_ticks(end_s))
    tracks = [tempo, *(_track(voice, end_s, tuning_cents) for voice in voices)]
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), _DIVISION)
    return head + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)


def _track(voice: Voice, end_s: float, tuning_cents: float) -> bytes:
    channel = voice.channel
    control, program = 0xB0 | channel, 0xC0 | channel
    tuning = round((tuning_cents + 100) / 200 * 0x4000)
    begin: list[bytes] = [
        bytes((program, voice.program)),
        bytes((control, 7, voice.gain)),
        bytes((control, 10, voice.pan)),
    ]
    if channel != DRUM_CHANNEL:
        values = ((101, 0), (100, 1), (6, min(tuning >> 7, _LONGEST_DATA)), (38, tuning & _LONGEST_DATA))
        begin += [bytes((control, number, value)) for number, value in values]
    events = [(0, -1, event) for event in begin]
    for note in voice.notes:
        if not 0 <= note.start_s < end_s:
            continue
        start = _ticks(note.start_s)
        end = max(start + 1, _ticks(min(note.end_s, end_s)))
        events.append((start, 1, bytes((0x90 | channel, note.pitch, note.velocity))))
        events.append((end, 0, bytes((0x80 | channel, note.pitch, 0))))
    # At one moment notes end before others begin, or one that is struck again would be silent.
    events.sort(key=lambda event: event[:2])
    return _timed(events) + _end(max(0, _ticks(end_s) - (events[-1][0] if events else 0)))


def _timed(events: Iterable[tuple[int, int, bytes]]) -> bytes:
    parts, now = [], 0
    for at, _, event in events:
        parts += [_length(at - now), event]
        now = at
    return b"".join(parts)


def _end(after: int) -> bytes:
    return _length(after) + b"\xff\x2f\x00"


def _ticks(time_s: float) -> int:
    return round(time_s * _TICKS_PER_S)


def _length(value: int) -> bytes:
    """MIDI's variable length: seven bits a byte, all but the last with the high bit."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))
