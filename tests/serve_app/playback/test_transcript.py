"""What a listener was given, and what of another recording is still to be given."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.playback.transcript import Diverged, Transcript

SOUND = random.Random(1).randbytes(400)

cuts = st.lists(st.integers(0, len(SOUND)), max_size=6).map(sorted)


def _pieces(sound: bytes, at: list[int]) -> list[memoryview]:
    return [memoryview(sound)[start:end] for start, end in zip([0, *at], [*at, len(sound)], strict=True)]


@given(recordings=st.lists(st.tuples(cuts, st.integers(0, 7)), min_size=1, max_size=4))
def test_recordings_that_break_off_give_the_sound_once(recordings: list[tuple[list[int], int]]) -> None:
    """Each recording is cut in its own way and ends after some of its pieces; the last one goes to the end."""
    transcript, given_bytes = Transcript(), b""
    for at, count in recordings:
        transcript.begin_recording()
        for piece in _pieces(SOUND, at)[:count]:
            given_bytes += bytes(transcript.take(piece))
        assert given_bytes == SOUND[: transcript.given_bytes]
    transcript.begin_recording()
    given_bytes += bytes(transcript.take(memoryview(SOUND)))
    assert given_bytes == SOUND
    assert transcript.given_bytes == transcript.position_bytes == len(SOUND)


@given(at=cuts, other_at=cuts, wrong=st.integers(0, len(SOUND) - 1))
def test_another_sound_is_found_out_before_anything_of_it_is_given(
    at: list[int], other_at: list[int], wrong: int
) -> None:
    transcript = Transcript()
    for piece in _pieces(SOUND, at):
        transcript.take(piece)
    other = bytearray(SOUND + b"more")
    other[wrong] ^= 1
    transcript.begin_recording()
    given_bytes: list[bytes] = []
    with pytest.raises(Diverged):
        given_bytes.extend(bytes(transcript.take(piece)) for piece in _pieces(bytes(other), other_at))
    assert b"".join(given_bytes) == b""


def test_it_is_found_out_within_the_first_stretch_that_differs() -> None:
    transcript = Transcript()
    transcript.take(memoryview(SOUND[:10]))
    transcript.take(memoryview(SOUND[10:]))
    transcript.begin_recording()
    with pytest.raises(Diverged):
        transcript.take(memoryview(b"another sound"))
