"""What a listener would notice at a seam, measured against the recording that the line should be."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from deployments.audio.loudness import lufs, weighted_power
from deployments.audio.resample import resample
from deployments.audio.samples import Samples

SHORT_TERM_S = 3.0
_ENVELOPE_HZ = 22_050
_HOP = 32
_REACH_S = 0.08

Values = npt.NDArray[np.float64]


def click_ratio(line: Samples, truth: Samples, seam: int, rate_hz: int) -> float:
    """The largest second difference within 3 ms of the seam, over the 99.9th percentile of the whole line's, or
    over the recording's own there if that is larger: above 1 there is a click."""
    reach = round(0.003 * rate_hz)
    bends, true_bends = (
        np.abs(np.diff(each.astype(np.float64), n=2, axis=1)).max(axis=0) for each in (line, truth)
    )
    near = slice(seam - reach, seam + reach)
    usual = float(np.percentile(bends, 99.9))
    return float(bends[near].max()) / max(usual, float(true_bends[near].max()))


def jump_lu(line: Samples, truth: Samples, seam: int, rate_hz: int) -> float:
    """How much more the loudness of 3 s changes at the seam than it does in the recording."""

    def change(signal: Samples) -> float:
        length = round(SHORT_TERM_S * rate_hz)
        before, after = signal[:, seam - length : seam], signal[:, seam : seam + length]
        return lufs(weighted_power(after, rate_hz)) - lufs(weighted_power(before, rate_hz))

    return change(line) - change(truth)


def loudness_error_lu(line: Samples, truth: Samples, start: int, end: int, rate_hz: int) -> float:
    """How much louder a stretch of the line is than of the recording."""
    return lufs(weighted_power(line[:, start:end], rate_hz)) - lufs(
        weighted_power(truth[:, start:end], rate_hz)
    )


def beat_errors_s(
    line: Samples, truth: Samples, beats_s: Values, rate_hz: int, *, from_s: float = 0.0
) -> Values:
    """By how much each beat of the line is later than planted: where the onset strength around it (librosa's, every
    1.5 ms) is most like the recording's around the same beat. Beats without an onset are left out, and those before
    `from_s`."""
    first = round(from_s * rate_hz)
    beats_s = beats_s[beats_s >= from_s] - from_s
    heard, true = (_onsets(each[:, first:], rate_hz) for each in (line, truth))
    frames_per_s = _ENVELOPE_HZ / _HOP
    reach, half = round(_REACH_S * frames_per_s), round(0.06 * frames_per_s)
    errors = []
    for beat_s in beats_s:
        at = round(beat_s * frames_per_s)
        if at - half - reach < 0 or at + half + reach >= min(len(heard), len(true)):
            continue
        wanted = true[at - half : at + half + 1]
        if wanted.max() < 0.2 * true.max():
            continue
        there = heard[at - half - reach : at + half + reach + 1]
        wanted = wanted - wanted.mean()
        windows = np.lib.stride_tricks.sliding_window_view(there, len(wanted))
        windows = windows - windows.mean(axis=1, keepdims=True)
        likeness = windows @ wanted / (np.linalg.norm(windows, axis=1) * np.linalg.norm(wanted) + 1e-9)
        best = int(np.argmax(likeness))
        shift = 0.0
        if 0 < best < len(likeness) - 1:
            left, top, right = likeness[best - 1 : best + 2]
            bend = left - 2 * top + right
            shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        errors.append((best - reach + shift) / frames_per_s)
    return np.array(errors)


def _onsets(samples: Samples, rate_hz: int) -> Values:
    from librosa.onset import onset_strength

    mono = resample(samples.mean(axis=0, keepdims=True, dtype=np.float32), rate_hz, _ENVELOPE_HZ)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strength: Values = onset_strength(
            y=mono, sr=_ENVELOPE_HZ, hop_length=_HOP, n_fft=512, n_mels=40, fmax=8_000
        )
    return strength
