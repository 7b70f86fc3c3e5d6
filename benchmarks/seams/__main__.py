"""Seams that nobody should hear: `python -m benchmarks.seams [--quick] [--json FILE]`.

Needs FluidSynth and a sound font (Debian's `fluidsynth` and `fluid-soundfont-gm`); recordings are those of Debian's
`frozen-bubble-data`, or of the folder in `SEGUE_RECORDINGS`, where there are any.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.generator.findings import Findings, Head, Target
from benchmarks.kit import machine
from benchmarks.kit.report import Report, options
from benchmarks.seams.lines import PLAIN_S, plain_line, segue_line, true_line
from benchmarks.seams.measures import beat_errors_s, click_ratio, jump_lu, loudness_error_lu
from benchmarks.seams.music import compose
from benchmarks.seams.oracle import RATE_HZ as MODEL_HZ
from benchmarks.seams.oracle import Faults, Recording, recording_of
from deployments.audio.loudness import weighted_power
from deployments.audio.resample import resample
from deployments.audio.samples import Samples
from training.corpus.clips import corpus_folder
from training.corpus.render import RATE_HZ, RendererMissing, find_sound_font, render_voices

PACKAGES = ("numpy", "scipy", "librosa", "soxr")
RECORDINGS_VARIABLE = "SEGUE_RECORDINGS"
DEBIANS = Path("/usr/share/games/frozen-bubble/snd")
ROOT_S, TAKE_S, RECORDING_AT_S = 20.0, 8.0, 20.0
LONGEST_RECORDING_S = 60.0
LEVEL = 0.01
"""The K-weighted power of all composed pieces: -20.7 LUFS."""

TEMPO = 1.012
CHAIN_TEMPOS = (0.99, 0.996, 1.005, 1.012)

FAULTS = {
    "none": Faults(),
    "gain, -6 dB": Faults(gain_db=-6.0),
    "offset, 11 ms": Faults(late_s=0.011),
    "click": Faults(click=True),
    "DC, 0.05": Faults(dc=0.05),
    "all of these": Faults(gain_db=4.0, late_s=0.006, click=True, dc=-0.03),
    "comes in 30 ms late": Faults(behind_s=0.03),
    "1.2 % too fast": Faults(tempo=TEMPO),
}
OF_THE_BEAT = ("comes in 30 ms late", "1.2 % too fast")
WAYS = ("hard cut", "crossfade, 50 ms", "Segue, phase", "Segue, beat")

SEAMS = Head(
    "seams",
    "One seam",
    "A take of 8 s by an oracle that knows how the music goes on, with a fault planted; the worst of all pieces. "
    "`click`: the largest second difference within 3 ms of the seam over the 99.9th percentile of the file's (or "
    "over the music's own there): above 1 there is a click. `jump`: how much more the loudness of 3 s (K-weighted) "
    "changes at the seam than in the music. `beats`: 95th percentile of how far beats are from where they were "
    "planted, by librosa's onset strength every 1.5 ms (of recordings: where librosa's `beat_track` finds them in "
    "the recording itself). Only pieces whose notes are known can be played too fast.",
)
CHAINS = Head(
    "chains",
    "Twenty takes, each of which goes on from the one before",
    "Faults are drawn for each take: gain within 3 dB, 0 to 10 ms of offset, DC within 0.02, half a dB louder at "
    "its end than at its beginning; for beats gain, a tempo 1 % slow to 1.2 % fast, and in within 30 ms of the "
    "beat. `drift` is the largest difference in loudness of a take and the music, `beats` as above over the whole "
    "line, `at the end` the median over the last twelve beats.",
)


@dataclass(frozen=True, slots=True)
class Piece:
    name: str
    recording: Recording
    start_s: float
    beats_s: npt.NDArray[np.float64]
    """From the recording's beginning on."""
    is_known: bool


@dataclass(frozen=True, slots=True)
class Effort:
    pieces: Sequence[tuple[int, float]]
    recordings: int
    takes: int


FULL = Effort(pieces=((1, 113.0), (2, 92.3)), recordings=2, takes=20)
QUICK = Effort(pieces=((1, 113.0),), recordings=0, takes=3)


def main() -> None:
    arguments = options("benchmarks.seams", "Measure seams with planted faults.").parse_args()
    effort = QUICK if arguments.quick else FULL
    about = machine.describe(PACKAGES)
    findings = Findings()
    try:
        pieces = [*_composed(effort.pieces), *list(_recorded())[: effort.recordings]]
        about["pieces"] = ", ".join(piece.name for piece in pieces)
        _measure_seams(findings, pieces)
        for kind in ("phase", "beat"):
            _measure_chain(findings, kind, effort.takes)
    except RendererMissing as error:
        sys.exit(str(error))
    Report("Seams, measured", about, findings.tables(), arguments.quick).give(arguments.json)


def _composed(wanted: Sequence[tuple[int, float]]) -> Iterator[Piece]:
    for seed, bpm in wanted:
        recording, beats_s = _played(seed, bpm, ROOT_S + TAKE_S + 6.0, (TEMPO,))
        yield Piece(f"MIDI, {bpm:g} BPM", recording, 0.0, beats_s, is_known=True)


def _played(
    seed: int, bpm: float, duration_s: float, tempos: Sequence[float]
) -> tuple[Recording, npt.NDArray[np.float64]]:
    """A piece by FluidSynth at its own tempo and at others, and its beats."""
    score, font = compose(seed, bpm, duration_s), find_sound_font()

    def at(tempo: float) -> Samples:
        played = score.played_at(tempo)
        path = render_voices(
            played.voices,
            f"seams-{seed}",
            corpus_folder(),
            font,
            lead_s=0.0,
            duration_s=played.duration_s,
            tuning_cents=0.0,
        )
        samples = _read(path, played.duration_s)
        # Each file has been brought to one peak: it is loudness that a tempo must not change.
        level = np.sqrt(LEVEL / weighted_power(samples, MODEL_HZ))
        equal: Samples = (samples * level).astype(np.float32)
        return equal

    return recording_of(at(1.0), [(tempo, at(tempo)) for tempo in tempos]), score.beats_s


def _recorded() -> Iterator[Piece]:
    from librosa.beat import beat_track

    folder = Path(os.environ.get(RECORDINGS_VARIABLE, DEBIANS))
    for path in sorted(folder.glob("*.ogg")):
        if soundfile.info(path).duration < LONGEST_RECORDING_S:
            continue
        samples = _read(path, LONGEST_RECORDING_S)
        mono = resample(samples, MODEL_HZ, 22_050)[0]
        _, beats_s = beat_track(y=mono, sr=22_050, units="time")
        yield Piece(path.stem, recording_of(samples), RECORDING_AT_S, np.asarray(beats_s), is_known=False)


def _read(path: Path, duration_s: float) -> Samples:
    """Mono, float32 [1, samples] at the oracle's rate."""
    rate_hz = soundfile.info(path).samplerate
    samples: Samples = soundfile.read(path, round(duration_s * rate_hz), dtype="float32", always_2d=True)[0]
    return resample(np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32)[None]), rate_hz, MODEL_HZ)


def _joined(way: str, piece: Piece, faults: Sequence[Faults]) -> Samples:
    if way.startswith("Segue"):
        line, _ = asyncio.run(
            segue_line(
                piece.recording,
                faults,
                root_s=ROOT_S,
                take_s=TAKE_S,
                rate_hz=RATE_HZ,
                start_s=piece.start_s,
                align=way.removeprefix("Segue, "),
                crossfade_s=0.15,
                match_loudness=True,
            )
        )
        return line
    crossfade_s = 0.0 if way == "hard cut" else PLAIN_S
    return plain_line(
        piece.recording,
        faults,
        root_s=ROOT_S,
        take_s=TAKE_S,
        rate_hz=RATE_HZ,
        crossfade_s=crossfade_s,
        start_s=piece.start_s,
    )


def _measure_seams(findings: Findings, pieces: Sequence[Piece]) -> None:
    seam = round(ROOT_S * RATE_HZ)
    worst: dict[str, list[tuple[float, float, float]]] = {}
    for name, fault in FAULTS.items():
        for way in WAYS:
            if way == "Segue, beat" and name not in OF_THE_BEAT:
                continue
            measured = []
            for piece in pieces:
                if fault.tempo != 1.0 and not piece.is_known:
                    continue
                truth = true_line(piece.recording, ROOT_S + TAKE_S, RATE_HZ, piece.start_s)
                line = _joined(way, piece, [fault])
                beats_s = piece.beats_s - piece.start_s
                errors_s = beat_errors_s(line, truth, beats_s, RATE_HZ, from_s=ROOT_S)
                measured.append(
                    (
                        click_ratio(line, truth, seam, RATE_HZ),
                        abs(jump_lu(line, truth, seam, RATE_HZ)),
                        1000 * float(np.percentile(np.abs(errors_s), 95)),
                    )
                )
            click, jump, beats = (max(each) for each in zip(*measured, strict=True))
            findings.add(
                SEAMS, {"fault": name, "joined by": way, "click": click, "jump, LU": jump, "beats, ms": beats}
            )
            if way == ("Segue, beat" if name in OF_THE_BEAT else "Segue, phase"):
                worst.setdefault("beat" if name in OF_THE_BEAT else "phase", []).append((click, jump, beats))
    every = [each for rows in worst.values() for each in rows]
    findings.targets += [
        Target.at_most("click: at any seam", 1.0, max(click for click, _, _ in every)),
        Target.at_most("jump in loudness, LU", 0.5, max(jump for _, jump, _ in every)),
        Target.at_most("beats, `beat`, ms (p95)", 10.0, max(beats for _, _, beats in worst["beat"])),
    ]


def _measure_chain(findings: Findings, align: str, takes: int) -> None:
    duration_s = ROOT_S + takes * TAKE_S
    recording, beats_s = _played(5, 107.0, duration_s + 6.0, CHAIN_TEMPOS if align == "beat" else ())
    piece = Piece("chain", recording, 0.0, beats_s, is_known=True)
    luck = np.random.default_rng(3)
    faults = []
    for _ in range(takes):
        gain_db = float(luck.uniform(-3, 3))
        if align == "phase":
            late_s, dc = float(luck.uniform(0.0, 0.01)), float(luck.uniform(-0.02, 0.02))
            faults.append(Faults(gain_db=gain_db, late_s=late_s, dc=dc, swell_db=0.5))
        else:
            tempo, behind_s = float(luck.choice(CHAIN_TEMPOS)), float(luck.uniform(-0.03, 0.03))
            faults.append(Faults(gain_db=gain_db, tempo=tempo, behind_s=behind_s))
    truth = true_line(recording, duration_s, RATE_HZ)
    for way in ("crossfade, 50 ms", f"Segue, {align}"):
        line = _joined(way, piece, faults)
        edges = [round((ROOT_S + index * TAKE_S) * RATE_HZ) for index in range(takes + 1)]
        errors_lu = [loudness_error_lu(line, truth, start, end, RATE_HZ) for start, end in pairwise(edges)]
        errors_s = beat_errors_s(line, truth, beats_s, RATE_HZ, from_s=ROOT_S)
        drift_lu = float(np.abs(errors_lu).max())
        p95_ms = 1000 * float(np.percentile(np.abs(errors_s), 95))
        findings.add(
            CHAINS,
            {
                "faults": "level and place" if align == "phase" else "tempo and beat",
                "joined by": way,
                "drift, LU": drift_lu,
                "beats, ms": p95_ms,
                "at the end, ms": 1000 * float(np.median(errors_s[-12:])),
            },
        )
    findings.targets += [
        Target.at_most(f"{takes} takes, `{align}`: drift, LU", 1.0, drift_lu),
        Target.at_most(f"{takes} takes, `{align}`: beats, ms (p95)", 10.0, p95_ms),
    ]


if __name__ == "__main__":
    main()
