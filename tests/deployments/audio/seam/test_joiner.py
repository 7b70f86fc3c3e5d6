"""A take joined to its parent: the same to the bit however it comes, and nothing that a listener would notice."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.seams.lines import plain_line, segue_line, true_line
from benchmarks.seams.measures import beat_errors_s, click_ratio, jump_lu, loudness_error_lu
from benchmarks.seams.music import compose, synthesised
from benchmarks.seams.oracle import RATE_HZ as MODEL_HZ
from benchmarks.seams.oracle import Faults, Recording, recording_of
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.joiner import Joiner, Seam
from deployments.audio.seam.joining import Align, Joining
from deployments.audio.seam.leveller import SLOPE_DB_PER_S, Leveller
from tests.support.clips import music

RATE_HZ = 16_000
BPM = 113.0
ROOT_S, TAKE_S, TAKES = 12.0, 4.0, 20

FAULTS = {
    "none": Faults(),
    "gain": Faults(gain_db=-6.0),
    "offset": Faults(late_s=0.0107),
    "click": Faults(click=True),
    "DC": Faults(dc=0.05),
    "all": Faults(gain_db=4.0, late_s=0.004, click=True, dc=-0.03),
}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recording_of(synthesised(compose(1, BPM, ROOT_S + TAKES * TAKE_S + 6.0), MODEL_HZ))


def _joined(
    recording: Recording, faults: list[Faults], **params: Any
) -> tuple[Samples, list[dict[str, Any]]]:
    wanted = {**Joining().to_params(), **params}
    return asyncio.run(segue_line(recording, faults, root_s=ROOT_S, take_s=TAKE_S, rate_hz=RATE_HZ, **wanted))


@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_hears_the_seam(recording: Recording, fault: str) -> None:
    line, (seam,) = _joined(recording, [FAULTS[fault]])
    truth, at = true_line(recording, ROOT_S + TAKE_S, RATE_HZ), round(ROOT_S * RATE_HZ)
    assert line.shape == truth.shape
    assert click_ratio(line, truth, at, RATE_HZ) <= 1.0
    assert abs(jump_lu(line, truth, at, RATE_HZ)) < 0.5
    assert abs(float(line[:, at:].mean())) < 0.003
    after = slice(at + 2_000, at + 10_000)
    assert np.abs(line[:, after] - truth[:, after]).max() < 0.1 * np.abs(truth[:, after]).max()
    assert seam["likeness"] > 0.9


def test_a_hard_cut_and_a_plain_crossfade_are_heard(recording: Recording) -> None:
    truth, at = true_line(recording, ROOT_S + TAKE_S, RATE_HZ), round(ROOT_S * RATE_HZ)
    for crossfade_s in (0.0, 0.05):
        line = plain_line(
            recording, [FAULTS["all"]], root_s=ROOT_S, take_s=TAKE_S, rate_hz=RATE_HZ, crossfade_s=crossfade_s
        )
        assert click_ratio(line, truth, at, RATE_HZ) > 1.0
        assert abs(jump_lu(line, truth, at, RATE_HZ)) > 2.0


def test_a_chain_of_twenty_neither_rises_nor_fades_nor_drifts(recording: Recording) -> None:
    """Every take is off in gain, place and DC, and grows louder by 0.25 dB."""
    luck = np.random.default_rng(3)
    faults = [
        Faults(
            gain_db=float(luck.uniform(-3, 3)),
            late_s=float(luck.uniform(0.0, 0.01)),
            dc=float(luck.uniform(-0.02, 0.02)),
            swell_db=0.25,
        )
        for _ in range(TAKES)
    ]
    line, _ = _joined(recording, faults)
    truth = true_line(recording, ROOT_S + TAKES * TAKE_S, RATE_HZ)
    assert line.shape == truth.shape
    starts = [round((ROOT_S + index * TAKE_S) * RATE_HZ) for index in range(TAKES)]
    length = round(TAKE_S * RATE_HZ)
    errors = [loudness_error_lu(line, truth, start, start + length, RATE_HZ) for start in starts]
    assert np.abs(errors).max() < 1.0
    beats_s = np.arange(ROOT_S + 1.0, ROOT_S + TAKES * TAKE_S, 60 / BPM)
    assert np.percentile(np.abs(beat_errors_s(line, truth, beats_s, RATE_HZ)), 95) < 0.010


@pytest.mark.parametrize("tempo", [1.0, 1.012])
def test_beats_are_locked_to_the_parents(recording: Recording, tempo: float) -> None:
    """A model that comes in 30 ms late, and plays too fast; the beats are planted, the judge is librosa."""
    score = compose(1, BPM, ROOT_S + 12.0)
    faster = recording_of(recording(1.0), [(tempo, synthesised(score.played_at(tempo), MODEL_HZ))])
    faults = [Faults(tempo=tempo, behind_s=0.03)] * 2
    truth = true_line(recording, ROOT_S + 2 * TAKE_S, RATE_HZ)
    errors_s = {}
    for align in ("phase", "beat"):
        line, seams = _joined(faster, faults, align=align)
        assert line.shape == truth.shape
        errors_s[align] = np.percentile(np.abs(beat_errors_s(line, truth, score.beats_s[20:], RATE_HZ)), 95)
        assert [seam["lock"] is not None for seam in seams] == [align == "beat"] * 2
    assert errors_s["beat"] < 0.010
    assert errors_s["phase"] > 0.025
    assert seams[1]["grid"]["period_s"] == pytest.approx(60 / BPM, rel=2e-4)


def test_what_is_not_asked_for_is_not_done(recording: Recording) -> None:
    faults = [Faults(gain_db=-6.0, late_s=0.01)]
    line, (seam,) = _joined(recording, faults, align="none", match_loudness=False, crossfade_s=0.0)
    truth, at = true_line(recording, ROOT_S + TAKE_S, RATE_HZ), round(ROOT_S * RATE_HZ)
    assert (seam["lag_s"], seam["gain_db"], seam["target_lufs"]) == (0.0, 0.0, None)
    assert jump_lu(line, truth, at, RATE_HZ) == pytest.approx(-6.0, abs=0.5)
    assert np.array_equal(line[:, : at - 160], truth[:, : at - 160])


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 3 * MODEL_HZ), max_size=6),
    rendered=st.sampled_from([0, 640, 32_000]),
    joining=st.builds(
        Joining, st.sampled_from([Align.NONE, Align.PHASE]), st.sampled_from([0.0, 0.06, 0.4]), st.booleans()
    ),
    wanted=st.builds(SoundFormat, st.sampled_from([4_000, 32_000, 44_100]), st.integers(1, 2)),
)
def test_however_a_take_is_cut_the_same_bits_come_out(
    cuts: list[int], rendered: int, joining: Joining, wanted: SoundFormat
) -> None:
    signal = music((rendered + 3 * MODEL_HZ) / MODEL_HZ, MODEL_HZ, 1)
    seam = Seam(joining, 0.5 * music(2.0, wanted.rate_hz, wanted.channels), room_s=0.5)
    before, new = np.split(signal, [rendered], axis=1)
    takes = []
    for pieces in ([new], np.split(new, sorted(cuts), axis=1)):
        joiner = Joiner(
            before,
            given=SoundFormat(MODEL_HZ, 1),
            wanted=wanted,
            seam=seam,
            new_samples=round(2.5 * wanted.rate_hz),
            find_grid=lambda samples, rate_hz: None,
        )
        heard = [*(joiner.push(piece) for piece in pieces), joiner.finish()]
        takes.append((np.concatenate(heard, axis=1), joiner.lead_in, joiner.joint()))
    (whole, lead_in, joint), (came, other_lead_in, other_joint) = takes
    assert whole.shape == (wanted.channels, round(2.5 * wanted.rate_hz))
    assert came.tobytes() == whole.tobytes()
    assert other_lead_in.tobytes() == lead_in.tobytes()
    assert other_joint == joint
    assert lead_in.shape[1] <= round(joining.crossfade_s * wanted.rate_hz)


def test_a_leveller_is_never_quick() -> None:
    quiet = music(8.0, RATE_HZ, 1) * np.float32(0.1)
    leveller = Leveller(RATE_HZ, quiet, target_lufs=-10.0)
    levelled = leveller.push(quiet)
    gains_db = 20 * np.log10(np.abs(levelled[0, 1:] / quiet[0, 1:]))
    assert gains_db[0] == pytest.approx(0.0, abs=0.01)
    assert np.diff(gains_db[::RATE_HZ]).max() <= SLOPE_DB_PER_S + 0.01
    assert leveller.gain_db == pytest.approx(8 * SLOPE_DB_PER_S, abs=0.05)
