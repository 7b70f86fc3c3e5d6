from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.levels import matching_gain, rms_dbfs
from deployments.audio.samples import Samples
from deployments.audio.seam.line import (
    LineRenderer,
    Piece,
    PieceLength,
    plan_window,
    render_line,
    render_tail,
)

RATE_HZ = 8000
LEAD_IN_SAMPLES = 480  # 60 ms


def _noise(samples: int, channels: int = 1, seed: int = 0, level: float = 0.1) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


def _music(samples: int, channels: int = 2, phase: float = 0.0) -> Samples:
    """A chord with a little noise, so that the second differences have a scale of their own."""
    t = np.arange(samples) / RATE_HZ + phase
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (110.0, 277.2, 659.3))
    return (0.15 * np.tile(chord, (channels, 1)) + _noise(samples, channels, level=0.002)).astype(np.float32)


def _continued(signal: Samples) -> Piece:
    """`signal` as a codec gives it: its beginning renders the end of `before`."""
    return Piece(signal[:, LEAD_IN_SAMPLES:], signal[:, :LEAD_IN_SAMPLES])


@st.composite
def pieces_of_a_line(draw: st.DrawFn) -> list[Piece]:
    """Pieces and lead-ins from nothing at all to longer than everything before them."""
    channels = draw(st.integers(1, 2))
    length = st.one_of(st.integers(0, 5), st.integers(0, 1200))
    pieces = []
    for index in range(draw(st.integers(1, 6))):
        lead_in_samples = draw(st.one_of(st.none(), st.integers(0, 100), st.integers(0, 1500)))
        lead_in = None if lead_in_samples is None else _noise(lead_in_samples, channels, 100 + index)
        pieces.append(Piece(_noise(draw(length), channels, index), lead_in))
    return pieces


@settings(max_examples=150, deadline=None)
@given(pieces_of_a_line())
def test_a_line_is_as_long_as_its_pieces_and_finite(pieces: list[Piece]) -> None:
    line = render_line(pieces, RATE_HZ)
    assert line.shape == (pieces[0].samples.shape[0], sum(piece.samples.shape[1] for piece in pieces))
    assert line.dtype == np.float32
    assert np.isfinite(line).all()


@settings(max_examples=300, deadline=None)
@given(pieces_of_a_line(), st.integers(1, 700), st.data())
def test_any_part_of_a_line_that_comes_in_blocks_is_the_same_bit_for_bit(
    pieces: list[Piece], block: int, data: st.DataObject
) -> None:
    channels = pieces[0].samples.shape[0]
    lengths = [
        PieceLength(piece.samples.shape[1], 0 if piece.lead_in is None else piece.lead_in.shape[1])
        for piece in pieces
    ]
    total = sum(length.samples for length in lengths)
    first = data.draw(st.integers(0, total) | st.just(0), label="first")
    last = data.draw(st.integers(first, total) | st.just(total), label="last")
    window = plan_window(lengths, RATE_HZ, first, last)
    renderer = LineRenderer(window, channels)
    longest = 2 * round(0.01 * RATE_HZ) + max(length.lead_in_samples for length in lengths)
    given, taken, finished = 0, 0, []
    for planned in window.stretches:
        piece = pieces[planned.piece]
        renderer.begin(piece.lead_in)
        for start in range(planned.start, planned.end + 1, block):
            stretch = piece.samples[:, start : min(start + block, planned.end)]
            finished.append(renderer.push(stretch))
            given += finished[-1].shape[1]
            taken += stretch.shape[1]
            assert taken - given <= longest * (1 if (first, last) == (0, total) else len(pieces))
    line = np.concatenate([np.zeros((channels, 0), np.float32), *finished], axis=1)
    assert line.tobytes() == render_line(pieces, RATE_HZ)[:, first:last].tobytes()


def test_a_piece_of_another_length_than_announced_is_refused() -> None:
    window = plan_window([PieceLength(10), PieceLength(10)], RATE_HZ, 0, 20)
    renderer = LineRenderer(window, 1)
    renderer.begin(None)
    with pytest.raises(ValueError, match="longer"):
        renderer.push(_noise(11))
    renderer = LineRenderer(window, 1)
    renderer.begin(None)
    renderer.push(_noise(9))
    with pytest.raises(ValueError, match="not as long"):
        renderer.begin(None)


@settings(max_examples=300, deadline=None)
@given(pieces_of_a_line(), st.integers(0, 4000))
def test_the_tail_is_the_end_of_the_line_bit_for_bit(pieces: list[Piece], tail_samples: int) -> None:
    line = render_line(pieces, RATE_HZ)
    tail = render_tail(pieces, RATE_HZ, tail_samples / RATE_HZ)
    expected = line[:, line.shape[1] - min(tail_samples, line.shape[1]) :]
    assert tail.shape == expected.shape
    assert tail.tobytes() == expected.tobytes()


def test_the_tail_needs_no_piece_that_does_not_sound_in_it() -> None:
    first, second = _noise(RATE_HZ), _noise(RATE_HZ, seed=1)
    unreadable = np.full((1, RATE_HZ), np.nan, dtype=np.float32)
    continued = _continued(_noise(RATE_HZ, seed=2))
    tail = render_tail([Piece(unreadable), Piece(first), Piece(second), continued], RATE_HZ, 1.5)
    assert np.isfinite(tail).all()
    assert np.array_equal(tail, render_tail([Piece(first), Piece(second), continued], RATE_HZ, 1.5))


def test_one_piece_is_rendered_untouched_and_its_lead_in_is_not_heard() -> None:
    samples = _noise(100)
    rendered = render_line([Piece(samples, _noise(50, seed=1))], RATE_HZ)
    assert np.array_equal(rendered, samples)
    rendered[:] = 0.0
    assert samples.any()


def test_new_material_is_untouched_after_a_lead_in_and_so_is_what_lies_before_it() -> None:
    before = _noise(4000)
    piece = _continued(_noise(4000, seed=1))
    line = render_line([Piece(before), piece], RATE_HZ)
    assert np.array_equal(line[:, 4000:], piece.samples)
    assert np.array_equal(line[:, : 4000 - LEAD_IN_SAMPLES], before[:, :-LEAD_IN_SAMPLES])


def test_at_the_seam_the_line_is_the_codecs_signal() -> None:
    before, signal = _music(4000), 0.8 * _music(4000, phase=0.3)
    piece = _continued(signal.astype(np.float32))
    line = render_line([Piece(before), piece], RATE_HZ)
    assert piece.lead_in is not None
    assert np.allclose(line[:, 3996:4000], piece.lead_in[:, -4:], atol=1e-4)


def test_a_perfect_reconstruction_is_not_heard() -> None:
    whole = _music(8000)
    pieces = [Piece(whole[:, :4000]), Piece(whole[:, 4000:], whole[:, 4000 - LEAD_IN_SAMPLES : 4000])]
    assert np.abs(render_line(pieces, RATE_HZ) - whole).max() < 1e-6


@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.9, 1.0])
def test_power_neither_dips_nor_bulges_in_a_crossfade(likeness: float) -> None:
    """Over many seams, each tenth of the crossfade has the power of the signals that it joins."""
    powers = []
    for seed in range(60):
        before, other = _noise(2000, 2, seed), _noise(LEAD_IN_SAMPLES, 2, 1000 + seed)
        lead_in = likeness * before[:, -LEAD_IN_SAMPLES:] + np.sqrt(1 - likeness**2) * other
        line = render_line([Piece(before), Piece(_noise(10, 2), lead_in.astype(np.float32))], RATE_HZ)
        faded = line[:, 2000 - LEAD_IN_SAMPLES : 2000]
        powers.append(np.square(faded).reshape(2, 10, -1).mean(axis=(0, 2)))
    decibels = 10 * np.log10(np.mean(powers, axis=0) / 0.1**2)
    assert np.abs(decibels).max() < 0.5


def test_an_offset_of_the_codec_goes_over_without_a_bulge() -> None:
    before, lead_in = np.zeros((1, 4000), np.float32), np.full((1, LEAD_IN_SAMPLES), 0.2, np.float32)
    line = render_line([Piece(before), Piece(lead_in, lead_in)], RATE_HZ)
    assert (np.diff(line[0]) >= 0).all()
    assert line.max() == pytest.approx(0.2)


def _second_differences(line: Samples) -> np.ndarray:
    return np.abs(np.diff(line.astype(np.float64), n=2, axis=1)).max(axis=0)


@pytest.mark.parametrize("with_lead_in", [True, False])
def test_a_seam_does_not_click(with_lead_in: bool) -> None:
    """Pieces that do not fit together at all: other phase, other offset."""
    pieces = [Piece(_music(RATE_HZ))]
    for index in range(1, 5):
        signal = _music(RATE_HZ + LEAD_IN_SAMPLES, phase=0.37 * index) + np.float32(0.05 * (-1) ** index)
        piece = _continued(signal)
        pieces.append(piece if with_lead_in else Piece(piece.samples))
    differences = _second_differences(render_line(pieces, RATE_HZ))
    usual = np.percentile(differences, 99.9)
    for seam in range(RATE_HZ, 5 * RATE_HZ, RATE_HZ):
        assert differences[seam - 3 : seam + 2].max() <= usual


def test_without_any_joining_the_same_seams_would_click() -> None:
    raw = np.concatenate([_music(RATE_HZ), _music(RATE_HZ, phase=0.37) + np.float32(0.05)], axis=1)
    differences = _second_differences(raw)
    assert differences[RATE_HZ - 3 : RATE_HZ + 2].max() > np.percentile(differences, 99.9)


@pytest.mark.parametrize("with_lead_in", [True, False])
def test_loudness_does_not_jump_at_a_seam(with_lead_in: bool) -> None:
    before = _noise(2 * RATE_HZ, level=0.1)
    quiet_copy = _noise(2 * RATE_HZ + LEAD_IN_SAMPLES, seed=1, level=0.02)
    signal = (quiet_copy * matching_gain(before, quiet_copy)).astype(np.float32)
    piece = _continued(signal)
    line = render_line([Piece(before), piece if with_lead_in else Piece(piece.samples)], RATE_HZ)
    seam = 2 * RATE_HZ
    levels = [rms_dbfs(line[:, seam - RATE_HZ : seam]), rms_dbfs(line[:, seam : seam + RATE_HZ])]
    assert abs(levels[0] - levels[1]) < 1.0


def test_a_lead_in_longer_than_the_line_so_far_is_used_from_its_end() -> None:
    before, lead_in = _noise(100), _noise(1000, seed=1)
    after = _noise(500, seed=2)
    line = render_line([Piece(before), Piece(after, lead_in)], RATE_HZ)
    assert np.allclose(line[:, 97:100], lead_in[:, -3:], atol=0.01)
    assert np.array_equal(line, render_line([Piece(before), Piece(after, lead_in[:, -100:])], RATE_HZ))


def test_a_lead_in_reaches_over_several_short_pieces() -> None:
    short = [Piece(_music(100, phase=0.1 * index)) for index in range(8)]
    last = _continued(_music(2000))
    line = render_line([*short, last], RATE_HZ)
    assert not np.array_equal(line[:, 400:480], render_line(short, RATE_HZ)[:, 400:480])
    assert np.array_equal(line[:, :320], render_line(short, RATE_HZ)[:, :320])


def test_pieces_of_a_few_samples_do_not_stick_out() -> None:
    long, spikes = _music(2000, 1), np.full((1, 3), 0.9, dtype=np.float32)
    line = render_line([Piece(long), Piece(spikes), Piece(spikes), Piece(long)], RATE_HZ)
    assert line.shape[1] == 4006
    assert np.abs(line[:, 1990:2016]).max() < 0.3


def test_a_line_needs_a_piece() -> None:
    with pytest.raises(ValueError, match="at least one piece"):
        render_line([], RATE_HZ)


def test_the_pieces_themselves_stay_as_they_are() -> None:
    pieces = [Piece(_noise(500, seed=index), _noise(200, seed=10 + index)) for index in range(3)]
    copies = [piece.samples.copy() for piece in pieces]
    first, second = (render_line(pieces, RATE_HZ) for _ in range(2))
    assert np.array_equal(first, second)
    assert all(np.array_equal(piece.samples, copy) for piece, copy in zip(pieces, copies, strict=True))


def test_longer_tails_contain_shorter_ones() -> None:
    pieces = [Piece(_noise(700, seed=index), _noise(480, seed=10 + index)) for index in range(5)]
    tails = [render_tail(pieces, RATE_HZ, length / RATE_HZ) for length in (1, 10, 690, 710, 1400, 3000, 9000)]
    for shorter, longer in pairwise(tails):
        assert np.array_equal(longer[:, longer.shape[1] - shorter.shape[1] :], shorter)
    assert tails[-1].shape[1] == 3500


@settings(max_examples=300, deadline=None)
@given(pieces_of_a_line(), st.data())
def test_a_window_is_that_part_of_the_line_bit_for_bit(pieces: list[Piece], data: st.DataObject) -> None:
    line = render_line(pieces, RATE_HZ)
    start = data.draw(st.integers(0, line.shape[1]))
    end = data.draw(st.integers(start, line.shape[1]))
    lengths = [
        PieceLength(piece.samples.shape[1], 0 if piece.lead_in is None else piece.lead_in.shape[1])
        for piece in pieces
    ]
    window = plan_window(lengths, RATE_HZ, start, end)
    stretches = [pieces[each.piece].samples[:, each.start : each.end] for each in window.stretches]
    if not stretches:
        assert start == end
        return
    lead_ins = {index: lead_in for index in window.lead_ins if (lead_in := pieces[index].lead_in) is not None}
    assert window.render(stretches, lead_ins).tobytes() == line[:, start:end].tobytes()
