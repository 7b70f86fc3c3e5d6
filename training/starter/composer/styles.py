"""What a style allows: tempo, meter, harmony, ways to play, instruments, and the words for them.

`Style.family` is the analyser's style (`deployments.engines.analysis.mood.styles`); a style with another `id` is a
kind of that family. Programs are General MIDI's, counted from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.corpus.drums import CLAP, CLOSED_HAT, OPEN_HAT, RIDE, SHAKER, SNARE, STICK, TAMBOURINE

VOICES = (52, 53, 54)
"""Choir aahs, voice oohs and synth voice: they stand in for a singer."""

INSTRUMENTS = {
    0: "piano",
    1: "bright piano",
    2: "electric grand piano",
    3: "honky-tonk piano",
    4: "electric piano",
    5: "fm electric piano",
    6: "harpsichord",
    7: "clavinet",
    11: "vibraphone",
    12: "marimba",
    14: "bells",
    16: "organ",
    17: "percussive organ",
    18: "rock organ",
    19: "church organ",
    21: "accordion",
    22: "harmonica",
    24: "nylon guitar",
    25: "acoustic guitar",
    26: "jazz guitar",
    27: "clean electric guitar",
    28: "muted guitar",
    29: "overdriven guitar",
    30: "distorted guitar",
    32: "upright bass",
    33: "electric bass",
    34: "picked bass",
    35: "fretless bass",
    36: "slap bass",
    37: "slap bass",
    38: "synth bass",
    39: "deep synth bass",
    40: "violin",
    41: "viola",
    42: "cello",
    43: "contrabass",
    45: "pizzicato strings",
    46: "harp",
    48: "strings",
    49: "slow strings",
    50: "synth strings",
    52: "choir",
    53: "voice",
    54: "synth voice",
    56: "trumpet",
    57: "trombone",
    60: "french horn",
    61: "brass",
    62: "synth brass",
    64: "soprano saxophone",
    65: "alto saxophone",
    66: "tenor saxophone",
    68: "oboe",
    71: "clarinet",
    73: "flute",
    75: "pan flute",
    80: "square lead",
    81: "saw lead",
    84: "synth lead",
    87: "synth lead",
    88: "airy pad",
    89: "warm pad",
    90: "synth pad",
    91: "choir pad",
    94: "shimmering pad",
    95: "sweeping pad",
    98: "crystal bells",
    104: "sitar",
    105: "banjo",
    110: "fiddle",
    114: "steel drums",
}
"""The words for the programs that the styles use."""


@dataclass(frozen=True, slots=True)
class Style:
    """`kits` are drum kits (none: no drums), `kicks` and `snares` are patterns of beats in a bar, `ghosts` how
    often a quiet stroke comes between. `stay` is how many beats a chord may stay. Of `chords`, `bass`, `lead`
    and `pad` one program each is drawn; `pad_share` and `voice_share` say how often there is a pad, and a
    voice in the lead. `density` is the notes per beat that a melody has, `swings` where an eighth may fall in
    its beat."""

    id: str
    family: str
    words: tuple[str, ...]
    bpm: tuple[float, float]
    meters: tuple[int, ...]
    minor_share: float
    sevenths: float
    stay: tuple[int, ...]
    swings: tuple[float, float]
    kits: tuple[int, ...]
    kicks: tuple[tuple[float, ...], ...]
    snares: tuple[tuple[float, ...], ...]
    snare_pitches: tuple[int, ...]
    timekeepers: tuple[int, ...]
    subdivisions: tuple[int, ...]
    ghosts: float
    comping: tuple[str, ...]
    chords: tuple[int, ...]
    basses: tuple[str, ...]
    bass: tuple[int, ...]
    lead: tuple[int, ...]
    pad: tuple[int, ...]
    pad_share: float
    voice_share: float
    density: tuple[float, float]
    jitter_s: tuple[float, float]


_BACKBEAT = ((1.0, 3.0),)

STYLES = (
    Style(
        "ambient", "ambient", ("ambient", "ambient soundscape", "drifting ambient"), (60, 90), (4,), 0.5, 0.5,
        (8,), (0.5, 0.5), (), (), (), (), (), (2,), 0.0, ("whole", "whole", "arpeggio"), (88, 89, 91, 94, 95,
        98, 4, 46), ("wholes",), (38, 39, 35), (88, 98, 11, 75, 73), (88, 89, 90, 91, 94, 95, 50), 0.9, 0.35,
        (0.25, 0.5), (0.005, 0.02),
    ),
    Style(
        "classical", "classical", ("classical", "chamber music", "orchestral"), (60, 140), (4, 4, 3), 0.5, 0.1,
        (2, 4), (0.5, 0.5), (), (), (), (), (), (2,), 0.0, ("arpeggio", "eighths", "quarters", "halves",
        "alberti"), (0, 0, 6, 46, 48, 45, 19), ("quarters", "halves", "wholes"), (42, 43, 43), (40, 41, 42, 68,
        71, 73, 60, 0), (48, 49, 60), 0.4, 0.2, (0.8, 2.0), (0.003, 0.012),
    ),
    Style(
        "house", "electronic", ("electronic", "house", "electronic dance music", "deep house"), (116, 130),
        (4,), 0.65, 0.4, (4, 4, 8), (0.5, 0.56), (24, 25), ((0.0, 1.0, 2.0, 3.0),), _BACKBEAT, (CLAP, SNARE),
        (OPEN_HAT, CLOSED_HAT), (2, 4), 0.0, ("offbeats", "stabs", "whole"), (4, 16, 62, 81, 90, 0),
        ("offbeats", "octaves", "kicks"), (38, 39), (80, 81, 84, 87), (89, 90, 95, 50), 0.5, 0.3, (0.6, 1.6),
        (0.0, 0.0),
    ),
    Style(
        "techno", "electronic", ("electronic", "techno", "driving techno"), (126, 148), (4,), 0.9, 0.1, (8, 16),
        (0.5, 0.5), (25, 24), ((0.0, 1.0, 2.0, 3.0),), ((1.0, 3.0), ()), (CLAP,), (CLOSED_HAT, OPEN_HAT), (4,
        2), 0.1, ("arpeggio16", "stabs", "eighths"), (81, 80, 87, 62), ("sixteenths", "eighths", "offbeats"),
        (38, 39), (80, 81, 87), (89, 95, 90), 0.5, 0.1, (0.8, 2.0), (0.0, 0.0),
    ),
    Style(
        "synthwave", "electronic", ("electronic", "synthwave", "retro eighties synth pop"), (84, 120), (4,),
        0.7, 0.1, (4, 8), (0.5, 0.5), (24, 16), ((0.0, 2.0), (0.0, 1.0, 2.0, 3.0), (0.0, 2.0, 2.5)), _BACKBEAT,
        (SNARE,), (CLOSED_HAT,), (2, 4), 0.0, ("arpeggio", "arpeggio16", "whole"), (81, 90, 62, 50),
        ("eighths", "octaves"), (38, 39), (80, 81, 84), (50, 89, 90), 0.7, 0.25, (0.6, 1.4), (0.0, 0.002),
    ),
    Style(
        "folk", "folk", ("folk", "acoustic folk", "singer-songwriter folk"), (75, 140), (4, 4, 3), 0.35, 0.05,
        (4, 4), (0.5, 0.54), (0, 40), ((0.0,), (0.0, 2.0)), ((), (1.0, 3.0)), (STICK, TAMBOURINE), (SHAKER,),
        (2,), 0.0, ("arpeggio", "strum", "travis"), (24, 25, 25, 105), ("halves", "quarters"), (32, 35), (22,
        40, 73, 25, 21, 110), (48,), 0.1, 0.4, (0.8, 1.6), (0.003, 0.012),
    ),
    Style(
        "funk", "funk", ("funk", "groovy funk", "soul funk"), (88, 122), (4,), 0.6, 1.0, (4, 8), (0.5, 0.55),
        (0, 8), ((0.0, 0.75, 2.5), (0.0, 1.5, 2.25), (0.0, 0.5, 2.75), (0.0, 1.75, 2.5, 3.25)), _BACKBEAT,
        (SNARE,), (CLOSED_HAT,), (4, 2), 0.5, ("scratch", "offbeats", "charleston"), (27, 28, 7, 4, 16),
        ("kicks", "syncopated"), (33, 36, 37), (61, 65, 56, 66, 57), (), 0.0, 0.25, (1.0, 2.2), (0.002, 0.008),
    ),
    Style(
        "disco", "funk", ("funk", "disco", "disco funk"), (108, 126), (4,), 0.6, 0.6, (4,), (0.5, 0.5), (0, 8),
        ((0.0, 1.0, 2.0, 3.0),), _BACKBEAT, (SNARE,), (OPEN_HAT,), (2, 4), 0.2, ("scratch", "offbeats"), (27,
        28, 4, 48), ("octaves", "syncopated"), (33, 36), (61, 40, 65, 56), (48, 50), 0.6, 0.35, (0.8, 1.8),
        (0.001, 0.005),
    ),
    Style(
        "hip-hop", "hip-hop", ("hip-hop", "boom bap hip-hop", "hip hop"), (78, 102), (4,), 0.8, 0.5, (4, 8),
        (0.5, 0.6), (25, 0, 16), ((0.0, 2.5), (0.0, 1.5, 2.75), (0.0, 0.75, 2.5), (0.0, 2.25, 2.5)), _BACKBEAT,
        (SNARE, CLAP), (CLOSED_HAT,), (2, 4), 0.2, ("whole", "halves", "charleston", "stabs"), (0, 4, 11, 48, 45),
        ("kicks", "wholes"), (38, 39, 33), (11, 73, 4, 0, 80), (89, 50), 0.3, 0.25, (0.4, 1.1), (0.0, 0.008),
    ),
    Style(
        "lo-fi", "hip-hop", ("lo-fi", "lo-fi hip-hop", "chill lo-fi", "lofi beat"), (68, 90), (4,), 0.6, 1.0,
        (4, 4, 2), (0.54, 0.62), (0, 40, 25), ((0.0, 2.5), (0.0, 1.5, 2.5), (0.0, 2.25)), _BACKBEAT, (SNARE,
        STICK), (CLOSED_HAT,), (2, 2, 4), 0.2, ("whole", "halves", "charleston"), (4, 4, 5, 0, 26, 24),
        ("kicks", "halves"), (32, 33, 35), (11, 73, 26, 4, 71), (89, 91), 0.3, 0.15, (0.4, 1.0), (0.004, 0.014),
    ),
    Style(
        "trap", "hip-hop", ("hip-hop", "trap", "dark trap"), (64, 80), (4,), 0.95, 0.1, (8, 4), (0.5, 0.5),
        (25, 24), ((0.0, 1.75, 2.5), (0.0, 0.75, 2.25), (0.0, 2.75)), ((1.0, 3.0), (2.0,)), (CLAP, SNARE),
        (CLOSED_HAT,), (4, 8), 0.0, ("arpeggio", "whole", "halves"), (14, 11, 0, 46, 98, 48), ("kicks",
        "wholes"), (39, 38), (75, 80, 14, 98), (91, 89), 0.4, 0.3, (0.5, 1.2), (0.0, 0.0),
    ),
    Style(
        "jazz", "jazz", ("jazz", "swing jazz", "jazz trio"), (90, 180), (4, 4, 4, 3), 0.4, 1.0, (4, 2), (0.62,
        0.68), (32, 40), ((0.0, 1.0, 2.0, 3.0), (0.0, 2.0), ()), ((), ()), (STICK,), (RIDE,), (2,), 0.3,
        ("charleston", "halves", "offbeats"), (0, 0, 26, 11, 4), ("walking",), (32,), (56, 65, 66, 64, 11, 26,
        0, 71), (), 0.0, 0.1, (1.0, 2.0), (0.004, 0.012),
    ),
    Style(
        "bossa nova", "jazz", ("jazz", "bossa nova", "latin jazz"), (108, 144), (4,), 0.5, 1.0, (4, 8), (0.5,
        0.52), (0, 40), ((0.0, 1.5, 2.0, 3.5),), ((0.0, 1.5, 3.0), (1.0, 2.5)), (STICK,), (SHAKER, CLOSED_HAT),
        (2,), 0.0, ("bossa",), (24, 24, 26, 0), ("bossa",), (32,), (73, 65, 66, 11, 24), (48,), 0.2, 0.3, (0.8,
        1.5), (0.002, 0.01),
    ),
    Style(
        "rock", "rock", ("rock", "rock band", "indie rock"), (96, 150), (4,), 0.5, 0.0, (4, 8), (0.5, 0.5),
        (16, 8, 0), ((0.0, 2.0), (0.0, 2.0, 2.5), (0.0, 1.5, 2.0), (0.0, 0.5, 2.0)), _BACKBEAT, (SNARE,),
        (CLOSED_HAT, RIDE, OPEN_HAT), (2, 2, 1), 0.1, ("eighths", "quarters", "power"), (29, 30, 30, 27),
        ("eighths", "kicks", "quarters"), (33, 34), (29, 30, 27, 18), (), 0.0, 0.35, (0.8, 1.6), (0.001, 0.006),
    ),
    Style(
        "punk", "rock", ("rock", "punk rock", "fast punk"), (150, 180), (4,), 0.2, 0.0, (4, 8), (0.5, 0.5),
        (16, 0), ((0.0, 2.0), (0.0, 0.5, 2.0, 2.5)), _BACKBEAT, (SNARE,), (OPEN_HAT, CLOSED_HAT), (2,), 0.0,
        ("power", "eighths"), (30, 29), ("eighths",), (34, 33), (30, 29), (), 0.0, 0.4, (0.8, 1.4), (0.001,
        0.005),
    ),
    Style(
        "ballad", "rock", ("rock ballad", "slow ballad", "power ballad"), (60, 84), (4,), 0.4, 0.2, (4, 2),
        (0.5, 0.5), (8, 0), ((0.0, 2.0), (0.0, 1.5, 2.0), (0.0, 2.0, 2.5)), _BACKBEAT, (SNARE, STICK),
        (CLOSED_HAT, RIDE), (2, 4), 0.1, ("arpeggio", "quarters", "whole"), (0, 0, 25, 27, 4), ("halves",
        "kicks", "wholes"), (33, 35), (29, 27, 40, 66), (48, 50), 0.8, 0.5, (0.6, 1.3), (0.002, 0.01),
    ),
)  # fmt: skip
"""The styles, each with its family."""
