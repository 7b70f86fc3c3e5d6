"""The names of the 24 keys, and what they are to each other."""

from __future__ import annotations

from dataclasses import dataclass

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")

_OTHER_SPELLINGS = {
    "Db": "C#",
    "D#": "Eb",
    "Gb": "F#",
    "G#": "Ab",
    "A#": "Bb",
    "Cb": "B",
    "E#": "F",
    "Fb": "E",
    "B#": "C",
}


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """`tonic` is a pitch class, 0..11 from C; `mode` is one of `MODES`."""

    tonic: int
    mode: str

    def __str__(self) -> str:
        return f"{TONICS[self.tonic]} {self.mode}"

    @property
    def camelot(self) -> str:
        """Its place on the Camelot wheel: neighbours there are a fifth apart, and A and B are relatives."""
        major = self.tonic if self.mode == "major" else (self.tonic + 3) % 12
        return f"{(major * 7 + 7) % 12 + 1}{'B' if self.mode == 'major' else 'A'}"

    @property
    def relative(self) -> KeyName:
        """The key of the other mode with the same notes."""
        if self.mode == "major":
            return KeyName((self.tonic + 9) % 12, "minor")
        return KeyName((self.tonic + 3) % 12, "major")


ALL_KEYS = tuple(KeyName(tonic, mode) for mode in MODES for tonic in range(12))
"""The majors from C upwards, then the minors."""


def parse_key(text: str) -> KeyName | None:
    """The key that a person writes as "F# minor", "Gbm", "c maj" or "Bb"; None where it is none."""
    words = text.strip().replace("♯", "#").replace("♭", "b")
    if not words:
        return None
    length = 2 if words[1:2] in ("#", "b") else 1
    spelled, mode = words[0].upper() + words[1:length], words[length:].strip(" -_")
    spelled = _OTHER_SPELLINGS.get(spelled, spelled)
    if spelled not in TONICS:
        return None
    if mode in ("M",) or mode.lower() in ("", "maj", "major"):
        return KeyName(TONICS.index(spelled), "major")
    if mode.lower() in ("m", "min", "minor"):
        return KeyName(TONICS.index(spelled), "minor")
    return None
